"""The recipe "How to add a metric" of CONTRIBUTING.md."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydicom import dcmread

from tests.contributing.recipes import copy_with, recipe


def test_a_metric_as_in_the_recipe_is_in_the_json_and_in_the_sr(phantom: Path, tmp_path: Path) -> None:
    copy, out = copy_with(recipe("How to add a metric"), tmp_path / "copy"), tmp_path / "out"
    copy.passes("tests/measures/test_extent.py")
    assert "| `EXTENT` |" in (copy.folder / "docs" / "reference" / "codes.md").read_text()
    copy.run("segqa_dicom", "review", phantom, "--out", out, "--json", out / "review.json")
    (case,) = json.loads((out / "review.json").read_text())["cases"]
    segments = [one for segmentation in case["segmentations"] for one in segmentation["segments"]]
    expected = [one["extent"] for one in segments if one["extent"] is not None]
    assert expected
    for one in segments:
        if one["bounding_box"] is not None:
            sizes = zip(one["bounding_box"]["start"], one["bounding_box"]["stop"], strict=True)
            voxels = 1
            for start, stop in sizes:
                voxels *= stop - start
            assert one["extent"] == pytest.approx(one["voxel_count"] / voxels, abs=1e-6)
    written = [
        float(child.MeasuredValueSequence[0].NumericValue)
        for path in out.glob("report_*.dcm")
        for item in dcmread(path).iterall()
        if item.keyword == "ContentSequence"
        for child in item
        if child.ValueType == "NUM" and child.ConceptNameCodeSequence[0].CodeValue == "EXTENT"
    ]
    assert sorted(written) == pytest.approx(sorted(expected), abs=1e-5)
