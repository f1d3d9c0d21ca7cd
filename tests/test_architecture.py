"""The rules of the house that a program can check."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from segqa_dicom.docs import PAGES

PACKAGE = Path(__file__).resolve().parents[1] / "segqa_dicom"
DOCS = PACKAGE.parent / "docs"
BASE = {"errors", "uids", "progress", "jit"}
MAY_IMPORT = {
    "model": BASE,
    "anatomy": BASE | {"model"},
    "measures": BASE | {"model", "anatomy"},
    "checks": BASE | {"model", "anatomy", "measures"},
    "report": BASE | {"model", "anatomy", "measures", "checks"},
    "pipeline": BASE | {"model", "anatomy", "measures", "checks", "report"},
    "reading": BASE | {"model"},
    "sr": BASE | {"model", "anatomy", "measures", "checks", "report"},
    "phantoms": BASE | {"model", "anatomy"},
    "inbox": set(),
    "sqlite_files": {"errors"},
    "archive": BASE | {"reading", "log", "sqlite_files"},
    "ledger": {"errors"},
    "findings": BASE | {"model", "anatomy", "checks", "reading", "archive", "sr", "log", "sqlite_files", "report"},
    "pictures": BASE | {"model", "anatomy", "measures", "report", "reading", "archive", "log"},
    "reviews": BASE | {"model", "measures", "checks", "report", "sr", "reading", "archive", "findings", "ledger",
                       "pictures", "config", "log"},
    "node": BASE | {"reading", "inbox", "config", "log"},
    "viewer": {"errors"},
    "web": BASE | {"model", "checks", "report", "reading", "inbox", "archive", "findings", "viewer", "reviews",
                   "pictures", "config", "log"},
    "service": BASE | {"model", "measures", "checks", "pipeline", "reading", "sr", "phantoms", "batch", "config", "log",
                       "inbox", "archive", "findings", "ledger", "node", "web", "reviews",
                       "pictures"},
    "selftest": BASE | {"model", "anatomy", "checks", "report", "pipeline", "reading", "phantoms", "log"},
}  # fmt: skip
PURE = ("model", "anatomy", "measures", "checks", "report", "pipeline")
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


@pytest.mark.parametrize(
    "face", ["cli", "cli_service", "cli_findings", "cli_viewer", "cli_agreement", "cli_reviews", "web"]
)
def test_faces_are_imported_by_those_who_start_them_only(face: str) -> None:
    users = {
        name
        for name, path in modules()
        if f"segqa_dicom.{face}" in {".".join(m.split(".")[:2]) for m in imported(path)}
    }
    assert users <= {face, "cli", "__main__", "service"}


def test_only_sr_imports_highdicom_sr() -> None:
    users = {name for name, path in modules() if any(module.startswith("highdicom.sr") for module in imported(path))}
    assert users <= {"sr"}


@pytest.mark.parametrize("page", PAGES)
def test_made_pages_are_up_to_date(page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == PAGES[page](), "run: python -m segqa_dicom.docs docs"
