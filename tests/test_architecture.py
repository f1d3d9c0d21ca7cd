"""Architecture: which package imports from which, and what pure packages may not know.

`python -m tests.test_architecture` prints the import map.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from segqa_dicom.docs import PAGES

PACKAGE = Path(__file__).resolve().parents[1] / "segqa_dicom"
DOCS = PACKAGE.parent / "docs" / "reference"
BASE = {"errors", "digests", "progress", "jit", "model"}
MAY_IMPORT = {
    # in the order of the way through the house: a room imports from those above it
    "errors": set(),
    "digests": set(),
    "progress": set(),
    "jit": {"errors"},
    "log": set(),
    "sqlite_files": {"errors"},
    "inbox": set(),
    "model": set(),
    "dicom": {"errors", "digests"},
    "config": {"errors", "dicom"},
    "anatomy": BASE,
    "measures": BASE | {"anatomy"},
    "assessment": BASE,
    "checks": BASE | {"anatomy", "measures", "assessment"},
    "rendering": BASE | {"anatomy"},
    "report": BASE | {"anatomy", "measures", "checks", "rendering"},
    "pipeline": BASE | {"anatomy", "measures", "checks", "report"},
    "reading": BASE | {"dicom"},
    "sr": BASE | {"dicom", "anatomy", "measures", "assessment", "checks", "report"},
    "phantoms": BASE | {"dicom", "anatomy"},
    "selftest": BASE | {"dicom", "anatomy", "checks", "report", "pipeline", "reading", "phantoms", "log"},
    "local": BASE | {"config", "log", "dicom", "measures", "checks", "report", "pipeline", "reading", "sr"},
    "archive": BASE | {"dicom", "log", "sqlite_files"},
    "ledger": {"errors"},
    "findings": BASE | {"dicom", "assessment", "checks", "sr", "archive", "log", "sqlite_files"},
    "pictures": BASE
    | {"dicom", "anatomy", "measures", "assessment", "rendering", "report", "reading", "archive", "log"},
    "reviews": BASE
    | {"dicom", "assessment", "checks", "sr", "archive", "ledger", "findings", "pictures", "config", "log"},
    "node": BASE | {"dicom", "inbox", "config", "log"},
    "viewer": {"errors"},
    "web": BASE
    | {"dicom", "assessment", "checks", "rendering", "sr", "reading", "inbox", "archive", "findings", "pictures"}
    | {"reviews", "viewer", "config", "log"},
    "service": BASE
    | {"dicom", "measures", "checks", "pipeline", "local", "reading", "sr", "phantoms", "config", "log", "inbox"}
    | {"archive", "ledger", "findings", "pictures", "reviews", "node", "web", "assessment"},
}
PURE = ("model", "anatomy", "measures", "assessment", "checks", "rendering", "report", "pipeline")
FORBIDDEN_IN_PURE = {
    "pydicom", "highdicom", "celery", "requests", "socket", "time", "datetime", "random", "logging", "pathlib",
}  # fmt: skip


def modules() -> list[tuple[str, Path]]:
    return [(path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path) for path in sorted(PACKAGE.rglob("*.py"))]


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_rooms_import_only_what_they_may(room: str) -> None:
    for name, path in modules():
        if name == room:
            ours = {module.split(".")[1] for module in imported(path) if module.startswith("segqa_dicom.")}
            assert ours - MAY_IMPORT[room] - {room, "__version__"} == set(), path


@pytest.mark.parametrize("room", PURE)
def test_pure_rooms_know_no_clock_disk_or_network(room: str) -> None:
    for name, path in modules():
        if name == room:
            found = {module.split(".")[0] for module in imported(path)} & FORBIDDEN_IN_PURE
            assert found == set(), path


@pytest.mark.parametrize(("face", "users"), [("cli", {"__main__"}), ("web", {"service"}), ("docs", set())])
def test_interfaces_are_imported_only_where_they_are_started(face: str, users: set[str]) -> None:
    found = {
        name
        for name, path in modules()
        if f"segqa_dicom.{face}" in {".".join(m.split(".")[:2]) for m in imported(path)}
    }
    assert found - {face} <= users


def test_rooms_import_only_from_rooms_above_them() -> None:
    rooms = list(MAY_IMPORT)
    later = {
        room: sorted(other for other in allowed if rooms.index(other) >= rooms.index(room))
        for room, allowed in MAY_IMPORT.items()
    }
    assert {room: others for room, others in later.items() if others} == {}


def test_only_sr_imports_highdicom_sr() -> None:
    users = {name for name, path in modules() if any(module.startswith("highdicom.sr") for module in imported(path))}
    assert users <= {"sr"}


@pytest.mark.parametrize("page", PAGES)
def test_made_pages_are_up_to_date(page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == PAGES[page](), "run: python -m segqa_dicom.docs docs/reference"


def test_no_file_has_more_than_400_lines() -> None:
    lines = {path.name: path.read_text(encoding="utf-8").count("\n") for _, path in modules()}
    assert {name: count for name, count in lines.items() if count > 400} == {}


def import_map() -> str:
    """The rooms in order, each with those that it imports from."""
    lines = []
    for room in MAY_IMPORT:
        used = {
            module.split(".")[1]
            for name, path in modules()
            if name == room
            for module in imported(path)
            if module.startswith("segqa_dicom.")
        }
        lines.append(f"{room:<13}{' '.join(other for other in MAY_IMPORT if other in used - {room})}".rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    print(import_map())
