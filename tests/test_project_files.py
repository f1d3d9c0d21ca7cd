"""Files beside the code that other programs read."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml

import segqa_dicom

ROOT = Path(__file__).resolve().parents[1]


def test_citation_names_version_licence_and_authors_of_the_package() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert citation["version"] == segqa_dicom.__version__
    assert citation["license"] == project["license"]
    assert [one["name"] for one in citation["authors"]] == [one["name"] for one in project["authors"]]


def test_hooks_are_local_and_run_programs_of_the_environment() -> None:
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert repo["repo"] == "local"
    assert {hook["entry"].split()[0] for hook in repo["hooks"]} == {".venv/bin/ruff", ".venv/bin/mypy"}
    assert {hook["language"] for hook in repo["hooks"]} == {"system"}


def test_pictures_of_the_documentation_are_small_and_used() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
    for picture in (ROOT / "docs").rglob("*.png"):
        assert picture.stat().st_size <= 200_000, picture
        assert picture.name in pages, picture
