"""Two real CT with 13 real results of TotalSegmentator: every number equals what other code computed from the sources."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.command import segqa
from tests.shared import shared

pytestmark = [pytest.mark.shared, pytest.mark.servers]

CASES = ["A", "B"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    found = {}
    for case in CASES:
        out = tmp_path_factory.mktemp(f"case{case}")
        ran = segqa(
            "review", shared("data", f"case_{case}"), "--out", out, "--json", out / "x.json", "--html", out / "x.html"
        )
        assert ran.code == 0
        result = json.loads((out / "x.json").read_text())
        assert result["not_reviewed"] == []
        (found[case],) = result["cases"]
    return found


def by_name(case: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["series_description"].split(" case ")[0]: one for one in case["segmentations"]}


def table(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(shared("data", name).read_text().splitlines()))


def decimals(text: str) -> float:
    """Half a unit of the last digit that is stated, and a little for rounding."""
    return 0.501 * 10 ** -len(text.partition(".")[2])


@pytest.mark.parametrize("case", CASES)
def test_every_structure_has_the_expected_numbers(results: dict[str, dict[str, Any]], case: str) -> None:
    expected: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)
    for row in table("expected_structures.csv"):
        if row["case"] == case:
            expected[row["result"]][row["structure"]] = row
    found = by_name(results[case])
    assert set(found) == set(expected)
    for name, one in found.items():
        segments = {segment["label"]: segment for segment in one["segments"]}
        assert set(segments) == set(expected[name])
        for label, row in expected[name].items():
            segment = segments[label]
            assert segment["voxel_count"] == int(row["voxels"])
            assert segment["volume_ml"] == pytest.approx(float(row["volume_ml"]), abs=decimals(row["volume_ml"]))
            assert segment["mean_hu"] == pytest.approx(float(row["mean_hu"]), abs=decimals(row["mean_hu"]))
            centroid = [float(row[f"centroid_{axis}_lps"]) for axis in "xyz"]
            assert segment["centroid_mm"] == pytest.approx(centroid, abs=0.01)
            assert segment["structure"]["type"]["value"] == row["type_code"]


@pytest.mark.parametrize("case", CASES)
def test_every_pair_has_the_expected_dice(results: dict[str, dict[str, Any]], case: str) -> None:
    labels = {}
    names = {}
    for name, one in by_name(results[case]).items():
        names[one["sop_instance_uid"]] = name
        labels[name] = {segment["segment_number"]: segment["label"] for segment in one["segments"]}
    found = {}
    for pair in results[case]["comparisons"]:
        evaluated, reference = names[pair["evaluated"]], names[pair["reference"]]
        assert pair["reference"] < pair["evaluated"]
        for segment in pair["segments"]:
            label = labels[evaluated][segment["evaluated_segment"]]
            found[frozenset((evaluated, reference)), label] = segment["dice"]
    expected = {
        (frozenset((row["result_1"], row["result_2"])), row["structure"]): float(row["dice"])
        for row in table("expected_dice.csv")
        if row["case"] == case
    }
    assert set(found) == set(expected)
    assert all(found[key] == pytest.approx(value, abs=1e-6) for key, value in expected.items())


def test_the_wrongly_numbered_ribs_stand_out(results: dict[str, dict[str, Any]]) -> None:
    """In ts2.0_fast the left ribs are numbered two levels too low: no other result agrees with any of them."""
    segments = {segment["label"]: segment for segment in by_name(results["A"])["ts2.0_fast"]["segments"]}
    left = [segments[f"rib_left_{number}"]["mean_dice"] for number in (7, 8, 9, 10)]
    right = [segments[f"rib_right_{number}"]["mean_dice"] for number in (8, 9, 10, 11)]
    assert max(left) < 0.05
    assert min(right) > 0.6
    named = {label for label, segment in segments.items() if "X4" in segment["named_by"]}
    assert named == {f"rib_left_{number}" for number in range(5, 11)}
    assert {segments[label]["verdict"] for label in named} == {"unusable"}


def test_the_only_error_of_the_real_cases_is_the_true_one(results: dict[str, dict[str, Any]]) -> None:
    """As `docs/explanation/findings_real_cases.md` says: truncation, a metal hip and partial organs raise none."""
    errors = []
    for case in results.values():
        by_uid = {one["sop_instance_uid"]: name for name, one in by_name(case).items()}
        findings = [*case["findings"], *(f for one in case["segmentations"] for f in one["findings"])]
        errors += [(f["rule"], *map(by_uid.get, f["sop_instance_uids"])) for f in findings if f["severity"] == "error"]
        checks = [check for one in case["segmentations"] for s in one["segments"] for check in s["checks"]]
        errors += [(check["rule"],) for check in checks if check["severity"] == "error"]
        warned = {check["rule"] for check in checks if check["severity"] == "warning" and check["outcome"] != "pass"}
        assert warned == {"T2"}
    assert errors == [("X4", "ts2.0_fast")]


def test_documents_are_chosen_as_the_contract_says(results: dict[str, dict[str, Any]]) -> None:
    for case, count in (("A", 6), ("B", 7)):
        kinds = [entry["kind"] for entry in results[case]["documents"]]
        assert kinds.count("report") == count
        assert kinds.count("compare") == count - 1


def test_malformed_dicom_passes_through(tmp_path: Path) -> None:
    folder = shared("bad_inputs")
    ran = segqa("review", folder, "--out", tmp_path, "--json", "--quiet")
    assert ran.code in (1, 2)
    assert len(ran.json["not_reviewed"]) > 100  # CT series without segmentation have one entry each
    assert all(entry["reason"] for entry in ran.json["not_reviewed"])


def test_malformed_dicom_does_not_disturb_a_real_case(tmp_path: Path, results: dict[str, dict[str, Any]]) -> None:
    ran = segqa("review", shared("bad_inputs"), shared("data", "case_B"), "--out", tmp_path, "--json", "--quiet")
    found = [case for case in ran.json["cases"] if case["ct_series_uid"] == results["B"]["ct_series_uid"]]
    assert found == [results["B"]]
