"""``segqa selftest``: each error is what it says, the rules that are there find it, and a missing rule shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segqa_dicom.anatomy import structure_key
from segqa_dicom.checks import Severity, default_ruleset, ruleset_with
from segqa_dicom.config import Settings
from segqa_dicom.model import Segmentation
from segqa_dicom.reading.case import read_case
from segqa_dicom.reading.grouping import group
from segqa_dicom.reading.scan import scan
from segqa_dicom.selftest import INJECTIONS, Injected, Injection, Selftest, Subject, run_selftest
from segqa_dicom.selftest.complaints import Complaint
from segqa_dicom.selftest.phantom import write_phantom_study
from segqa_dicom.selftest.run import Status
from segqa_dicom.selftest.show import rule_rows
from tests.command import Ran, segqa

SMALL = (60, 70, 72)
LIMITS = Settings().limits()
BY_ID = {one.id: one for one in INJECTIONS}
ISSUE_LIST = {
    "mirror", "swap-pair", "shift-spine", "merge-levels", "cut-rib", "island", "drop-slice", "leak", "erode", "dilate",
    "remove-organ", "exchange-codes", "missing-image", "frame-order",
}  # fmt: skip


@pytest.fixture(scope="module")
def ran() -> Ran:
    return segqa("selftest", "--json")


@pytest.fixture(scope="module")
def result(ran: Ran) -> dict[str, Any]:
    assert ran.code == 0, ran.err
    return ran.json


# What comes out


@pytest.mark.servers
def test_json_has_the_keys_that_others_rely_on(result: dict[str, Any]) -> None:
    assert {"segqa_version", "ruleset", "injections", "rules", "baseline", "not_reviewed"} == set(result)
    assert {
        "subject", "id", "title", "what", "expected", "without_rule", "status", "found", "found_by", "other_rules",
        "reason",
    } == set(result["injections"][0])  # fmt: skip
    assert {
        "subject", "rule", "title", "state", "expected", "found", "sensitivity", "also_fired", "untouched",
        "untouched_per_100_structures",
    } == set(result["rules"][0])  # fmt: skip
    (baseline,) = result["baseline"].values()
    assert {"segmentations", "structures", "complaints", "per_100_structures", "by_structure"} == set(baseline)


@pytest.mark.servers
def test_every_error_of_the_list_is_made(result: dict[str, Any]) -> None:
    made = {one["id"]: one for one in result["injections"]}
    assert set(made) >= ISSUE_LIST
    assert all(one["status"] not in ("not possible here", "not reviewed") for one in made.values())


@pytest.mark.servers
def test_what_has_a_rule_is_found(result: dict[str, Any]) -> None:
    missed = [one for one in result["injections"] if one["status"] == "missed" and not one["without_rule"]]
    assert missed == []


@pytest.mark.servers
def test_the_untouched_phantom_has_at_most_one_false_error_per_100_structures(result: dict[str, Any]) -> None:
    baseline = result["baseline"]["torso phantom"]
    assert baseline["structures"] >= 3 * 99
    assert baseline["per_100_structures"]["error"] <= 1, baseline["by_structure"]


@pytest.mark.servers
def test_rules_add_up_to_the_injections(result: dict[str, Any]) -> None:
    rules = {one["rule"]: one for one in result["rules"]}
    assert rules["L1"]["expected"] == ["swap-pair"]
    assert rules["L1"]["found"] == ["swap-pair"]
    assert rules["L1"]["sensitivity"] == 1.0
    assert "mirror" in rules["L1"]["also_fired"]
    for one in result["injections"]:
        for rule in one["expected"]:
            assert (one["id"] in rules[rule]["found"]) == (rule in one["found_by"])
            assert (rule in one["without_rule"]) == (rules[rule]["state"] in ("no rule yet", "left out"))
    assert all(one["sensitivity"] is None for one in result["rules"] if one["state"] != "active")


@pytest.mark.servers
def test_the_command_explains_itself_with_an_example() -> None:
    ran = segqa("selftest", "--help")
    assert ran.code == 0
    assert "segqa selftest my-case --json" in ran.out


# Each error is what it says


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = tmp_path_factory.mktemp("phantom")
    write_phantom_study(folder / "study", SMALL)
    (files,), _ = group(scan([folder / "study"], LIMITS)[0], LIMITS)
    case, _ = read_case(files, LIMITS)
    assert case is not None
    return Subject("phantom", case, files, LIMITS, folder)


def masks(segmentation: Segmentation) -> Iterator[tuple[str, str, np.ndarray]]:
    for index, segment in enumerate(segmentation.segments):
        yield structure_key(segment.codes), segment.label, segmentation.layers[segment.layer] == index + 1


def touched_keys(before: Segmentation, after: Segmentation) -> set[str]:
    """Identities whose label or voxels are not what they were."""
    was, now = ({key: (label, mask) for key, label, mask in masks(one)} for one in (before, after))
    return {
        key
        for key in was.keys() | now.keys()
        if key not in was or key not in now or was[key][0] != now[key][0] or (was[key][1] != now[key][1]).any()
    }


@pytest.mark.parametrize("name", [one.id for one in INJECTIONS if one.id != "missing-image"])
def test_an_injection_changes_what_it_says_and_nothing_else(subject: Subject, name: str) -> None:
    injected = BY_ID[name].function(subject)
    assert injected is not None
    assert injected.what
    assert injected.case.ct is subject.case.ct
    pairs = [*zip(subject.case.segmentations, injected.case.segmentations, strict=True)]
    ((before, after),) = [(before, after) for before, after in pairs if before is not after]
    assert after.record.sop_instance_uid == before.record.sop_instance_uid == injected.sop_instance_uid
    touched = touched_keys(before, after)
    if injected.keys:
        assert touched <= injected.keys
        assert touched or len(after.segments) > len(before.segments)
    elif name.startswith("remove-"):
        gone = {structure_key(one.codes) for one in before.segments} - {
            structure_key(one.codes) for one in after.segments
        }
        assert touched == gone
        assert len(gone) == 1
    elif name != "number-gap":
        assert len(touched) > len(before.segments) / 2
    assert [one.label for one in before.segments]  # the original can still be read: nothing was changed in place


def test_a_missing_image_is_missing_for_all(subject: Subject) -> None:
    injected = BY_ID["missing-image"].function(subject)
    assert injected is not None
    assert injected.case.ct.geometry.shape[0] == SMALL[0] - 1
    assert all(len(one.facts.missing_references) == 1 for one in injected.case.segmentations)


def test_numbers_and_frames_fit_after_a_segment_is_gone(subject: Subject) -> None:
    injected = BY_ID["merge-levels"].function(subject)
    assert injected is not None
    (after,) = [one for one in injected.case.segmentations if one.record.sop_instance_uid == injected.sop_instance_uid]
    assert [one.number for one in after.segments] == [*after.facts.raw_segment_numbers] == [*range(1, 99)]
    for index, segment in enumerate(after.segments):
        assert segment.frame_count == (after.layers[0] == index + 1).any(axis=(1, 2)).sum()


# A rule that is not there


def run_on_small(*names: str, overrides: dict[str, Any] | None = None, paths: tuple[Path, ...] = ()) -> Selftest:
    ruleset = ruleset_with({"rules": overrides}) if overrides else default_ruleset()
    return run_selftest(paths, ruleset, LIMITS, shape=SMALL, injections=[BY_ID[name] for name in names])


@pytest.mark.slow
def test_without_its_rule_an_error_is_not_found() -> None:
    with_rule, without_rule = (
        run_on_small("leak", "swap-pair"),
        run_on_small("leak", "swap-pair", overrides={"F3": {"enabled": False}}),
    )
    assert [one.status for one in with_rule.outcomes] == [Status.FOUND, Status.FOUND]
    assert [one.status for one in without_rule.outcomes] == [Status.RULE_OFF, Status.FOUND]
    assert "F3" not in without_rule.active


@pytest.mark.slow
def test_a_blunt_rule_misses() -> None:
    (outcome,) = run_on_small("leak", overrides={"F3": {"max_fraction_outside": 1.0}}).outcomes
    assert outcome.status is Status.MISSED
    assert outcome.found_by == ()


def elsewhere(subject: Subject) -> Injected | None:
    injected = BY_ID["leak"].function(subject)
    return injected and replace(injected, keys=frozenset({"somewhere else"}))


def broken(_subject: Subject) -> Injected | None:
    raise ValueError("out of paint")


@pytest.fixture(scope="module")
def odd() -> Selftest:
    injections = [
        replace(BY_ID["leak"], id="without rule", expected=("F99",)),
        Injection("elsewhere", "", ("F3",), elsewhere),
        Injection("broken", "", ("T1",), broken),
        Injection("not here", "", ("T1",), lambda _subject: None),
        BY_ID["leak"],
    ]
    return run_selftest([], default_ruleset(), LIMITS, shape=SMALL, injections=injections)


@pytest.mark.slow
def test_an_error_without_a_rule_is_shown(odd: Selftest) -> None:
    outcome = odd.outcomes[0]
    assert outcome.status is Status.NO_RULE
    assert "F3" in dict(outcome.others)
    (row,) = [one for one in rule_rows(odd) if one.rule == "F99"]
    assert (row.state, row.expected, row.found, row.sensitivity) == ("no rule yet", ("without rule",), (), None)


@pytest.mark.slow
def test_a_complaint_about_another_structure_does_not_count(odd: Selftest) -> None:
    assert odd.outcomes[1].status is Status.MISSED
    (row,) = [one for one in rule_rows(odd) if one.rule == "F3"]
    assert (row.expected, row.found, row.sensitivity) == (("elsewhere", "leak"), ("leak",), 0.5)


@pytest.mark.slow
def test_an_injection_that_cannot_be_reviewed_is_named_and_the_others_go_on(odd: Selftest) -> None:
    assert odd.outcomes[2].status is Status.NOT_REVIEWED
    assert "out of paint" in odd.outcomes[2].reason
    assert odd.outcomes[4].status is Status.FOUND
    assert not odd.is_complete


@pytest.mark.slow
def test_what_is_not_possible_is_no_failure_of_a_rule(odd: Selftest) -> None:
    assert odd.outcomes[3].status is Status.NOT_POSSIBLE
    assert all("not here" not in one.expected for one in rule_rows(odd))


@pytest.mark.parametrize(
    ("keys", "uids", "concerned"),
    [
        pytest.param(("a",), ("1",), True, id="the structure"),
        pytest.param(("b", "a"), ("2", "1"), True, id="one of several"),
        pytest.param((), ("1",), True, id="the segmentation"),
        pytest.param(("b",), ("1",), False, id="another structure"),
        pytest.param(("a",), ("2",), False, id="another segmentation"),
    ],
)
def test_whom_a_complaint_concerns(keys: tuple[str, ...], uids: tuple[str, ...], concerned: bool) -> None:
    assert Complaint("T1", Severity.ERROR, uids, keys).concerns("1", frozenset({"a"})) is concerned


# Cases of one's own


@pytest.fixture
def study(tmp_path: Path) -> Path:
    write_phantom_study(tmp_path / "my-case", SMALL)
    return tmp_path / "my-case"


@pytest.mark.slow
def test_a_folder_is_tested_besides_the_phantom(study: Path) -> None:
    found = run_on_small("leak", "frame-order", paths=(study,))
    assert [one.subject for one in found.baselines] == ["torso phantom", "my-case"]
    assert [one.status for one in found.outcomes] == [Status.FOUND] * 4
    assert found.is_complete
    assert {path.name for path in study.iterdir()} == {"ct", "a.dcm", "b.dcm", "c.dcm"}


@pytest.mark.slow
def test_what_cannot_be_read_is_named_and_the_rest_is_tested(study: Path) -> None:
    (study / "b.dcm").write_bytes((study / "b.dcm").read_bytes()[:-5000])
    found = run_on_small("leak", paths=(study,))
    assert not found.is_complete
    assert [one.path.name for one in found.not_reviewed] == ["b.dcm"]
    assert found.baselines[1].segmentations == 2


@pytest.mark.servers
@pytest.mark.parametrize(("path", "words"), [("no/such/folder", "no such file"), (".", "nothing to test")])
def test_a_wrong_call_ends_with_2_and_a_sentence(path: str, words: str, tmp_path: Path) -> None:
    ran = segqa("selftest", tmp_path / path)
    assert ran.code == 2
    assert words in ran.err
