"""The recipe "How to add an archive" of CONTRIBUTING.md."""

from __future__ import annotations

from pathlib import Path

from tests.contributing.recipes import copy_with, recipe


def test_an_archive_as_in_the_recipe_keeps_the_promises(tmp_path: Path) -> None:
    copy = copy_with(recipe("How to add an archive"), tmp_path / "copy")
    copy.passes("tests/archive/test_memory.py")
