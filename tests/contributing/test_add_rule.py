"""The recipe "How to add a rule" of CONTRIBUTING.md."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydicom import dcmread

from tests.contributing.recipes import Copy, copy_with, recipe

COMPLETE = (
    "test_every_rule_has_a_scene_that_fires_it_and_one_that_does_not",
    "test_every_rule_is_in_the_rule_set_and_the_other_way_round",
    "test_titles_fit_a_code_meaning",
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return copy_with(recipe("How to add a rule"), tmp_path_factory.mktemp("rule") / "copy")


def test_a_rule_as_in_the_recipe_is_run_and_documented(copy: Copy) -> None:
    copy.passes("tests/checks/test_constant_hu.py", *(f"tests/checks/test_rules.py::{name}" for name in COMPLETE))
    assert "**Constant HU**" in (copy.folder / "docs" / "reference" / "rules.md").read_text()
    assert "H5" in {rule["rule"] for rule in json.loads(copy.run("segqa_dicom", "rules", "--json"))["rules"]}


def test_its_outcome_is_in_the_json_and_in_the_sr(copy: Copy, phantom: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "strict.toml").write_text("[rules.H5]\nmin_sd_hu = 10000\n")
    copy.run(
        "segqa_dicom",
        "review",
        phantom,
        "--out",
        out,
        "--json",
        out / "review.json",
        "--ruleset",
        tmp_path / "strict.toml",
    )
    (case,) = json.loads((out / "review.json").read_text())["cases"]
    checks = [
        check
        for segmentation in case["segmentations"]
        for segment in segmentation["segments"]
        for check in segment["checks"]
        if check["rule"] == "H5"
    ]
    assert checks
    assert {(check["outcome"], check["severity"], check["limit"]) for check in checks} == {
        ("warning", "warning", 10_000)
    }
    names = {
        (name.CodeValue, name.CodeMeaning, code.CodeValue)
        for path in out.glob("report_*.dcm")
        for item in dcmread(path).iterall()
        if item.keyword == "ContentSequence"
        for child in item
        if child.ValueType == "CODE"
        for name, code in zip(child.ConceptNameCodeSequence, child.ConceptCodeSequence, strict=True)
    }
    assert ("CHK-H5", "Check: Constant HU", "WARN") in names
