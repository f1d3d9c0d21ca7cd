"""``segqa review`` from files to files."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest

from segqa_dicom.checks.ruleset import default_ruleset
from segqa_dicom.config import Settings
from segqa_dicom.local import batch
from segqa_dicom.local.processes import Processes
from segqa_dicom.reading.grouping import group
from segqa_dicom.reading.scan import scan
from tests.command import Ran, segqa
from tests.phantom_studies import phantom_study
from tests.scenes import LIVER, Part, box, case, segmentation

pytestmark = pytest.mark.servers

SHAPE = (64, 80, 96)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    phantom_study(folder, SHAPE)
    return folder


@pytest.fixture(scope="module")
def reviewed(study: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ran, Path]:
    out = tmp_path_factory.mktemp("out")
    return segqa("review", study, "--out", out, "--json", out / "all.json", "--html", out / "all.html"), out


@pytest.fixture
def result(reviewed: tuple[Ran, Path]) -> dict[str, Any]:
    return json.loads((reviewed[1] / "all.json").read_text())


def segments(result: dict[str, Any], model: str) -> dict[str, dict[str, Any]]:
    (found,) = [one for one in result["cases"][0]["segmentations"] if one["model"]["name"] == model]
    return {segment["label"]: segment for segment in found["segments"]}


def rules_failed(segment: dict[str, Any]) -> set[str]:
    return {check["rule"] for check in segment["checks"] if check["severity"] != "info"}


# What comes out


def test_it_ends_with_0_whatever_the_findings(reviewed: tuple[Ran, Path]) -> None:
    assert reviewed[0].code == 0
    assert "Model A 1.0" in reviewed[0].out
    assert "sides are swapped" in reviewed[0].out


def test_json_has_exactly_the_keys_that_others_rely_on(result: dict[str, Any]) -> None:
    case = result["cases"][0]
    seg = case["segmentations"][0]
    assert {"segqa_version", "ruleset", "cases", "not_reviewed"} <= set(result)
    assert set(result["ruleset"]) == {"version", "hash"}
    assert {
        "study_uid", "ct_series_uid", "shape", "spacing_mm", "findings", "segmentations", "comparisons", "documents",
    } <= set(case)  # fmt: skip
    assert {"sop_instance_uid", "series_uid", "series_description", "model", "findings", "segments"} <= set(seg)
    assert {
        "segment_number", "label", "structure", "voxel_count", "volume_ml", "mean_hu", "sd_hu", "min_hu", "max_hu",
        "median_hu", "component_count", "largest_component_fraction", "centroid_mm", "truncated", "verdict", "checks",
    } <= set(seg["segments"][0])  # fmt: skip
    assert set(seg["segments"][0]["structure"]) == {"key", "type", "modifier", "region", "region_modifier"}
    check = {"rule", "outcome", "severity", "message", "value", "limit", "location_mm"}
    assert set(seg["segments"][0]["checks"][0]) == check
    assert set(seg["findings"][0]) == check | {"sop_instance_uids", "structure_keys"}
    assert set(case["comparisons"][0]["segments"][0]) == {
        "structure_key", "evaluated_segment", "reference_segment", "dice", "iou", "nsd", "tolerance_mm", "hd_mm",
        "hd95_mm", "assd_mm", "volume_difference_percent",
    }  # fmt: skip
    assert set(case["documents"][0]) == {"kind", "path", "sop_instance_uid", "references"}


def test_json_values_have_the_stated_types(result: dict[str, Any]) -> None:
    case = result["cases"][0]
    assert case["shape"] == list(SHAPE)
    assert case["spacing_mm"][0] == pytest.approx(640 / 64)
    kidney = segments(result, "Model A")["kidney_left"]
    assert kidney["structure"]["key"] == "64033007.SCT|7771000.SCT||"
    assert kidney["structure"]["type"] == {"value": "64033007", "scheme": "SCT", "meaning": "Kidney"}
    assert kidney["centroid_mm"][0] > 0
    assert kidney["truncated"] is False
    assert {s["verdict"] for one in case["segmentations"] for s in one["segments"]} <= {"usable", "review", "unusable"}


def test_the_injected_errors_are_found(result: dict[str, Any]) -> None:
    a, b = segments(result, "Model A"), segments(result, "Model B")
    assert "L1" in rules_failed(b["kidney_left"])
    assert "L1" in rules_failed(b["kidney_right"])
    assert "F3" in rules_failed(b["spleen"])
    assert "T1" in rules_failed(b["rib_right_8"]) | rules_failed(b["rib_right_7"])
    assert "T1" in rules_failed(a["vertebrae_T9"])
    assert a["liver"]["component_count"] == 2
    assert "T4" in rules_failed(a["aorta"])
    assert "gallbladder" not in b
    assert not rules_failed(a["kidney_left"])
    assert a["kidney_left"]["verdict"] == "usable"
    assert b["kidney_left"]["verdict"] == "unusable"


def test_every_document_is_there_and_cites_its_segmentations(
    reviewed: tuple[Ran, Path], result: dict[str, Any]
) -> None:
    seg_uids = {one["sop_instance_uid"] for one in result["cases"][0]["segmentations"]}
    kinds = [entry["kind"] for entry in result["cases"][0]["documents"]]
    assert sorted(kinds) == ["compare", "keyimg", "keyimg", "report", "report"]
    for entry in result["cases"][0]["documents"]:
        assert entry["path"] == f"{entry['kind']}_{entry['sop_instance_uid']}.dcm"
        assert set(entry["references"]) <= seg_uids
        dataset = pydicom.dcmread(reviewed[1] / entry["path"])
        assert str(dataset.SOPInstanceUID) == entry["sop_instance_uid"]
        assert str(dataset.StudyInstanceUID) == result["cases"][0]["study_uid"]
        assert str(dataset.PatientID) == "SEGQA-PHANTOM"


def test_the_page_is_self_contained(reviewed: tuple[Ran, Path]) -> None:
    page = (reviewed[1] / "all.html").read_text()
    assert "kidney_left" in page
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org/", "")
    assert "https://" not in page
    assert "SEGQA-PHANTOM" not in page


def test_two_runs_give_the_same_bytes(study: Path, reviewed: tuple[Ran, Path], tmp_path: Path) -> None:
    segqa("review", study, "--out", tmp_path, "--quiet", "--jobs", "2")
    mine, its = (sorted(folder.glob("*.dcm")) for folder in (tmp_path, reviewed[1]))
    assert [path.name for path in mine] == [path.name for path in its]
    assert all(one.read_bytes() == other.read_bytes() for one, other in zip(mine, its, strict=True))


def test_json_to_standard_output_is_nothing_but_json(study: Path, reviewed: tuple[Ran, Path], tmp_path: Path) -> None:
    ran = segqa("review", study, "--out", tmp_path, "--json")
    assert ran.code == 0
    assert ran.json["cases"] == json.loads((reviewed[1] / "all.json").read_text())["cases"]
    assert "Model A" in ran.err


def test_documents_can_be_chosen(study: Path, tmp_path: Path) -> None:
    ran = segqa("review", study, "--out", tmp_path, "--json", "--compare", "none", "--quiet")
    assert {entry["kind"] for entry in ran.json["cases"][0]["documents"]} == {"report", "keyimg"}
    assert ran.json["cases"][0]["comparisons"]


def test_without_documents_the_numbers_are_the_same_and_nothing_is_written(
    study: Path, result: dict[str, Any], tmp_path: Path
) -> None:
    ran = segqa("review", study, "--out", tmp_path / "none", "--json", "--no-documents", "--quiet")
    assert ran.code == 0
    assert not (tmp_path / "none").exists()
    assert [{**case, "documents": []} for case in result["cases"]] == ran.json["cases"]


def test_a_profile_says_what_each_step_cost(study: Path, tmp_path: Path) -> None:
    ran = segqa("review", study, "--out", tmp_path, "--json", "--profile")
    steps = {cost["step"]: cost for cost in ran.json["cases"][0]["profile"]}
    assert {"reading CT", "reading SEG", "measuring segments", "comparing segmentations", "checking rules"} <= set(
        steps
    )
    assert "writing documents" in steps
    assert all(cost["cpu_s"] >= 0 and cost["wall_s"] >= 0 and cost["peak_rss_mb"] > 10 for cost in steps.values())
    assert all(step in ran.err for step in steps)
    assert "looking for DICOM objects" in ran.err


def test_the_reference_can_be_chosen_by_file(study: Path, tmp_path: Path) -> None:
    for name in ("model_a.dcm", "model_b.dcm"):
        uid = str(pydicom.dcmread(study / name, stop_before_pixels=True).SOPInstanceUID)
        ran = segqa("review", study, "--out", tmp_path / name, "--json", "--reference", study / name, "--quiet")
        (entry,) = [entry for entry in ran.json["cases"][0]["documents"] if entry["kind"] == "compare"]
        assert entry["references"][-1] == uid


def test_a_rule_set_changes_the_result_and_its_hash(study: Path, tmp_path: Path, result: dict[str, Any]) -> None:
    (tmp_path / "mine.toml").write_text("[rules.L1]\nenabled = false\n")
    ran = segqa("review", study, "--out", tmp_path, "--json", "--ruleset", tmp_path / "mine.toml", "--quiet")
    assert ran.json["ruleset"]["hash"] != result["ruleset"]["hash"]
    assert "L1" not in rules_failed(segments(ran.json, "Model B")["kidney_left"])


# What else lies in the folder


@pytest.fixture
def copy(study: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    (folder / "deep" / "er").mkdir(parents=True)
    for number, path in enumerate(sorted(study.rglob("*.dcm"))):
        shutil.copy(path, folder / ("deep" if number % 2 else "deep/er") / f"{number:x}")
    return folder


def test_names_nesting_and_strangers_do_not_matter(copy: Path, reviewed: tuple[Ran, Path], tmp_path: Path) -> None:
    for path in reviewed[1].glob("*.dcm"):
        shutil.copy(path, copy / path.name)
    (copy / "notes.txt").write_text("not DICOM")
    (copy / "empty.dcm").write_bytes(b"")
    (copy / "noise").write_bytes(os.urandom(4000))
    (copy / "prefix.dcm").write_bytes(b"\0" * 128 + b"DICM" + os.urandom(500))
    ran = segqa("review", copy, "--out", tmp_path / "out", "--json", "--quiet")
    assert ran.code == 0
    expected = json.loads((reviewed[1] / "all.json").read_text())["cases"][0]
    (found,) = ran.json["cases"]
    for entry in (found, expected):
        for one in entry["segmentations"]:
            one.pop("path")
    assert found == expected
    assert {Path(entry["path"]).name for entry in ran.json["not_reviewed"]} == {"empty.dcm", "noise", "prefix.dcm"}
    assert all(entry["reason"] for entry in ran.json["not_reviewed"])


def test_a_damaged_segmentation_does_not_stop_the_other(copy: Path, tmp_path: Path) -> None:
    victim = next(path for path in copy.rglob("*") if path.is_file() and path.stat().st_size > 10**5)
    victim.write_bytes(victim.read_bytes()[:-50_000])
    ran = segqa("review", copy, "--out", tmp_path / "out", "--json")
    assert ran.code == 1
    assert len(ran.json["cases"][0]["segmentations"]) == 1
    assert [Path(entry["path"]) for entry in ran.json["not_reviewed"]] == [victim]
    assert victim.name in ran.err


def test_a_segmentation_without_its_ct_is_named(study: Path, tmp_path: Path) -> None:
    ran = segqa("review", study / "model_a.dcm", "--out", tmp_path, "--json")
    assert ran.code == 1
    assert ran.json["cases"] == []
    (entry,) = ran.json["not_reviewed"]
    assert "CT" in entry["reason"]
    assert entry["sop_instance_uid"]


def test_a_segmentation_of_another_patient_is_not_reviewed(copy: Path, tmp_path: Path) -> None:
    victim = next(path for path in copy.rglob("*") if path.is_file() and path.stat().st_size > 10**5)
    dataset = pydicom.dcmread(victim)
    dataset.PatientID = "SOMEONE-ELSE"
    dataset.save_as(victim)
    ran = segqa("review", copy, "--out", tmp_path / "out", "--json", "--quiet")
    assert ran.code == 1
    (entry,) = ran.json["not_reviewed"]
    assert "another patient" in entry["reason"]
    assert "SOMEONE-ELSE" not in ran.out + ran.err


# Wrong use


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["no/such/folder"], "no such file or folder", id="no such folder"),
        pytest.param([], "Missing argument", id="no path"),
        pytest.param([".", "--colour"], "No such option", id="unknown option"),
        pytest.param([".", "--jobs", "0"], "0", id="no jobs"),
        pytest.param([".", "--ruleset", "no/such.toml"], "cannot be read", id="no rule set"),
    ],
)
def test_a_wrong_call_ends_with_2_and_a_sentence(arguments: list[str], words: str, tmp_path: Path) -> None:
    ran = segqa("review", *arguments, "--out", tmp_path / "out")
    assert ran.code == 2
    assert words in ran.err


def test_nothing_to_review_ends_with_2(study: Path, tmp_path: Path) -> None:
    ran = segqa("review", study / "ct", "--out", tmp_path / "out", "--json")
    assert ran.code == 2
    assert ran.json["cases"] == []
    assert "nothing to review" in ran.err


def test_an_unknown_reference_ends_with_2(study: Path, tmp_path: Path) -> None:
    ran = segqa("review", study, "--out", tmp_path, "--reference", "1.2.3")
    assert ran.code == 2
    assert "1.2.3" in ran.err


def test_an_output_folder_that_is_a_file_ends_with_2(study: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way")
    assert segqa("review", study, "--out", tmp_path / "out").code == 2


@pytest.mark.parametrize("command", [[], ["review"], ["demo"], ["rules"]])
def test_every_command_explains_itself(command: list[str]) -> None:
    ran = segqa(*command, "--help")
    assert ran.code == 0
    assert "Usage" in ran.out


def test_rules_are_listed_as_json() -> None:
    listed = segqa("rules", "--json").json
    assert {"rule", "title", "parameters", "source", "provisional"} <= set(listed["rules"][0])
    assert listed["hash"] == default_ruleset().hash


# A process that dies


class Deadly(type(Path())):  # type: ignore[misc]
    """A path that ends the process that receives it, as a decoder with a memory fault would."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (11,)


def test_a_crash_costs_its_case_and_no_other(study: Path, tmp_path: Path) -> None:
    limits = Settings().limits()
    headers, _ = scan([study], limits)
    (good,), _ = group(headers, limits)
    part = good.segmentations[0]
    bad = replace(good, segmentations=(replace(part, header=replace(part.header, path=Deadly("crash.dcm"))),))
    options = batch.Options(tmp_path, default_ruleset(), Settings(), jobs=2)
    with Processes(options.jobs) as processes:
        done = list(batch._reviewed([bad, good], options, processes))
    assert sorted(bool(one.json) for one in done) == [False, True]
    (entry,) = next(one for one in done if not one.json).not_reviewed
    assert entry.is_segmentation
    assert "process" in entry.reason


def test_a_segmentation_that_stops_its_case_is_left_out(tmp_path: Path) -> None:
    """Voxels that no kernel takes: reading never makes such a volume, a mistake of ours might."""
    good = segmentation([Part("liver", LIVER, [box(8, 15, 15)])])
    layers = (good.layers[0].astype(object),)
    bad = replace(good, record=replace(good.record, sop_instance_uid="1.2.4.2", path="bad.dcm"), layers=layers)
    options = batch.Options(tmp_path, default_ruleset(), Settings())
    kept, report, left_out = batch.reviewed_case(case(good, bad), options.ruleset)
    assert [one.record.sop_instance_uid for one in report.segmentations] == ["1.2.4.1"]
    assert len(kept.segmentations) == 1
    (entry,) = left_out
    assert entry.sop_instance_uid == "1.2.4.2"
    assert entry.is_segmentation


def test_a_wrong_setting_ends_with_2_and_its_name(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGQA_MAX_VOXELS", "many")
    ran = segqa("review", study, "--out", tmp_path)
    assert ran.code == 2
    assert "SEGQA_MAX_VOXELS" in ran.err


def test_limits_come_from_the_environment(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGQA_MAX_VOXELS", "1000")
    ran = segqa("review", study, "--out", tmp_path, "--json", "--quiet")
    assert ran.code == 1
    assert "the limit is 1000" in ran.json["not_reviewed"][0]["reason"]
