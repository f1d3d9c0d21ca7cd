"""Recipes of CONTRIBUTING.md as edits, and copies of the package that they are applied to."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_BLOCK = re.compile(
    r"^`(?P<path>[^`]+)`, (?P<how>new|at the end|below `(?P<anchor>[^`]+)`):\n\n```\w+\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_BEING_WRITTEN = shutil.ignore_patterns("*.pyc*", "*.tmp.*")
"""Bytecode, and compiled kernels that another process has not finished."""


@dataclass(frozen=True)
class Edit:
    """A code block with the file that it belongs to.

    anchor : the line that it follows; empty for the end of the file, None for a new file
    """

    path: str
    anchor: str | None
    code: str

    def apply(self, folder: Path) -> None:
        file = folder / self.path
        if self.anchor is None:
            assert not file.exists(), f"{self.path} is not new"
            file.write_text(self.code)
            return
        text = file.read_text()
        if self.anchor:
            line = f"{self.anchor}\n"
            assert text.count(line) == 1, f"{self.path} has not one line {self.anchor!r}"
            file.write_text(text.replace(line, line + self.code))
        else:
            gap = "\n\n" if self.path.endswith(".py") else "\n"
            file.write_text(text + gap + self.code)


def recipe(heading: str) -> list[Edit]:
    """The edits below a heading of CONTRIBUTING.md."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    found = []
    for match in _BLOCK.finditer(section):
        anchor = None if match["how"] == "new" else match["anchor"] or ""
        found.append(Edit(match["path"], anchor, match["code"]))
    assert len(found) == section.count("\n```") // 2, "a code block without the name of its file"
    return found


@dataclass(frozen=True)
class Copy:
    """A copy of the project with a recipe's edits."""

    folder: Path
    edits: list[Edit]

    def run(self, *arguments: str | Path) -> str:
        """Run ``python -m ARGUMENTS`` in the copy; returns what it prints."""
        done = subprocess.run(
            [sys.executable, "-m", *map(str, arguments)],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(self.folder)},
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    def passes(self, *tests: str) -> None:
        """Check the style of what was edited, make the pages again, and run tests."""
        changed = sorted({edit.path for edit in self.edits if edit.path.endswith(".py")})
        if changed:
            self.run("ruff", "format", "--check", *changed)
            self.run("ruff", "check", *changed)
        self.run("segqa_dicom.docs", "docs/reference")
        self.run("pytest", "-p", "no:randomly", "-p", "no:cacheprovider", "tests/test_architecture.py", *tests)


def copy_with(edits: list[Edit], folder: Path) -> Copy:
    """The project in `folder`, edited. Compiled kernels are copied with their times, so that numba takes them."""
    for name in ("segqa_dicom", "tests", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=_BEING_WRITTEN)
    shutil.copy2(ROOT / "pyproject.toml", folder)
    for edit in edits:
        edit.apply(folder)
    return Copy(folder, edits)
