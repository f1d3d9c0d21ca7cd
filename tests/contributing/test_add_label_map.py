"""The recipe "How to add a label map" of CONTRIBUTING.md."""

from __future__ import annotations

from pathlib import Path

from tests.contributing.recipes import copy_with, recipe


def test_a_label_map_as_in_the_recipe_is_found_and_documented(tmp_path: Path) -> None:
    copy = copy_with(recipe("How to add a label map"), tmp_path / "copy")
    copy.passes("tests/anatomy/test_my_model.py", "tests/anatomy/test_label_maps.py")
    assert "| `my_model` | My model | 4 |" in (copy.folder / "docs" / "reference" / "structures.md").read_text()
