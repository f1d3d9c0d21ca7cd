"""Rules about several results, and numbering."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from segqa_dicom.checks import Check, Finding, Outcome
from segqa_dicom.model import Case
from segqa_dicom.phantoms import errors
from tests.checks.test_rules import names, results
from tests.checks.torso_scenes import (
    Labels,
    complaints,
    cut_above,
    models,
    other_truth,
    phantom,
    renamed,
    ribs,
    spine,
    truth,
    value,
)
from tests.command import segqa
from tests.scenes import KIDNEY_LEFT, KIDNEY_RIGHT, LIVER, SPLEEN, Box, Part, box, case, segmentation
from tests.shared import shared


def left_ribs(by: int) -> Labels:
    return errors.shift_levels(other_truth(), ribs("left"), by)


def vertebrae(by: int, *, down_to: str = "L5") -> Labels:
    """The spine numbered `by` levels further down, from T1 to one level."""
    stop = spine().index(value(down_to)) + 1
    moved = {old: spine()[at + by] if 0 <= at + by < 17 else 0 for at, old in enumerate(spine()[:stop])}
    return errors.renumber(other_truth(), moved)


def mirrored() -> Labels:
    """A whole result with left and right exchanged: rule L3 says so."""
    return errors.mirror(other_truth(), list(zip(ribs("left"), ribs("right"), strict=True)))


def organ(*boxes: Box) -> Case:
    """Results of one organ."""
    parts = [[Part("liver", LIVER, [one]), Part("spleen", SPLEEN, [box(4, 20, 26)])] for one in boxes]
    return case(*(segmentation(found, uid=f"1.2.4.{n + 1}") for n, found in enumerate(parts)))


def kidneys(*columns: tuple[int, int]) -> Case:
    """Results of both kidneys, given by the columns where they begin."""
    found = [
        [Part("kidney_left", KIDNEY_LEFT, [box(8, 15, left)]), Part("kidney_right", KIDNEY_RIGHT, [box(8, 15, right)])]
        for left, right in columns
    ]
    return case(*(segmentation(parts, uid=f"1.2.4.{n + 1}") for n, parts in enumerate(found)))


HERE, THERE = box(8, 15, 15), box(8, 15, 20)
RIGHT_WAY, WRONG_WAY = (26, 8), (8, 26)

FIRES: list[tuple[str, str, Callable[[], Case]]] = [
    ("X3", "warning", lambda: organ(HERE, HERE, THERE)),
    ("X4", "error", lambda: models(truth(), left_ribs(-2), truth())),
    ("X4", "error", lambda: models(truth(), left_ribs(-2))),
    ("X4", "error", lambda: models(left_ribs(1))),
    ("X4", "error", lambda: models(truth(), vertebrae(1))),
    ("X4", "error", lambda: models(truth(), vertebrae(-1))),
    ("X4", "error", lambda: models(truth(), vertebrae(-1, down_to="T7"))),
    ("X4", "warning", lambda: models(vertebrae(1))),
    ("X4", "warning", lambda: models(vertebrae(-1))),
    ("X4", "error", lambda: kidneys(RIGHT_WAY, WRONG_WAY)),
    ("X4", "error", lambda: kidneys(RIGHT_WAY, WRONG_WAY, RIGHT_WAY)),
]

QUIET: list[tuple[str, Callable[[], Case]]] = [
    ("X3", lambda: organ(HERE, HERE, HERE)),
    ("X3", lambda: organ(HERE, THERE)),
    ("X3", lambda: organ(HERE, THERE, box(8, 22, 15))),
    ("X3", lambda: models(truth(), left_ribs(-2), truth())),
    ("X3", lambda: kidneys(RIGHT_WAY, WRONG_WAY, RIGHT_WAY)),
    ("X4", lambda: models(truth())),
    ("X4", lambda: models(truth(), other_truth(), truth())),
    ("X4", lambda: models(errors.swap(truth(), value("T8"), value("T9")), truth())),
    ("X4", lambda: models(errors.renumber(truth(), dict.fromkeys(spine(), 0)), other_truth())),
    ("X4", lambda: models(errors.merge(truth(), value("T9"), value("T8")), other_truth())),
    ("X4", lambda: cut_above(truth(), "T12")),
    ("X4", lambda: cut_above(truth(), "T8")),
    ("X4", lambda: kidneys(RIGHT_WAY, RIGHT_WAY)),
    ("X4", lambda: organ(HERE, THERE)),
    *((rule, lambda: models(truth(), mirrored(), truth())) for rule in ("X3", "X4")),
]


@pytest.mark.parametrize(("rule", "severity", "scene"), FIRES, ids=names(FIRES))
def test_rule_fires_once(rule: str, severity: str, scene: Callable[[], Case]) -> None:
    (found,) = complaints(results(scene(), rule))
    assert found.severity.value == severity
    assert (found.outcome is Outcome.FAIL) == (severity == "error")
    assert found.location_mm is not None
    assert isinstance(found, Finding)
    assert found.structure_keys


@pytest.mark.parametrize(("rule", "scene"), QUIET, ids=names(QUIET))
def test_rule_is_quiet(rule: str, scene: Callable[[], Case]) -> None:
    assert complaints(results(scene(), rule)) == []


def shift_of(scene: Case) -> Finding:
    found: list[Check | Finding] = complaints(results(scene, "X4"))
    assert len(found) == 1
    assert isinstance(found[0], Finding)
    return found[0]


@pytest.mark.parametrize(
    ("volumes", "blamed", "words"),
    [
        pytest.param(
            lambda: (truth(), left_ribs(-2), truth()),
            "B",
            ["left ribs", "2 lower than in 2 other results: 1-10 for 3-12", "agree with each other"],
            id="majority",
        ),
        pytest.param(
            lambda: (left_ribs(2), truth()),
            "A",
            ["2 higher than in B: 3-12 for 1-10", "its own right ribs", "its rib 3 begins at T1"],
            id="anatomy against one other",
        ),
        pytest.param(
            lambda: (truth(), vertebrae(1)),
            "B",
            ["the vertebrae are numbered 1 higher than in A: T2-L5 for T1-L4", "than the ribs that begin there"],
            id="spine against ribs",
        ),
        pytest.param(
            lambda: (truth(), errors.renumber(vertebrae(-1), dict.fromkeys(ribs("left") + ribs("right"), 0))),
            "B",
            ["1 lower", "L4 lies on the sacrum"],
            id="spine against sacrum",
        ),
        pytest.param(
            lambda: (vertebrae(-1, down_to="T7"), truth()),
            "A",
            ["1 lower than in B: T1-T6 for T2-T7", "T6 and T8 are neighbours"],
            id="part of the spine",
        ),
    ],
)
def test_the_wrong_result_is_named_with_the_evidence(
    volumes: Callable[[], tuple[Labels, ...]], blamed: str, words: list[str]
) -> None:
    scene = models(*volumes())
    found = shift_of(scene)
    at = "ABC".index(blamed)
    assert found.message.startswith(f"{blamed}: ")
    assert found.sop_instance_uids == (scene.segmentations[at].record.sop_instance_uid,)
    assert "This result is wrong" in found.message
    for word in words:
        assert word in found.message


def test_without_evidence_both_results_are_named() -> None:
    """Vertebrae in the middle of the spine, and nothing else."""
    middle = {name: name for name in ("T5", "T6", "T7", "T8")}
    nothing = {n + 1: 0 for n in range(len(phantom().structures)) if n + 1 not in [value(name) for name in middle]}
    labels = errors.renumber(truth(), nothing)
    shifted = renamed(labels, {name: f"T{int(name[1:]) + 1}" for name in middle})
    found = shift_of(models(labels, shifted))
    assert "Nothing in the image tells" in found.message
    assert len(found.sop_instance_uids) == 2


def test_a_single_result_is_judged_by_its_other_side() -> None:
    found = shift_of(models(left_ribs(1)))
    assert "the left ribs are numbered 1 higher than the right ribs at their places: 2-12 beside 1-11" in found.message
    assert "these are wrong" in found.message


def test_a_whole_patient_numbered_too_high_is_one_finding_per_chain() -> None:
    labels = other_truth()
    for chain in (spine(), ribs("left"), ribs("right")):
        labels = errors.shift_levels(labels, chain, 1)
    found = complaints(results(models(truth(), labels), "X4"))
    assert len(found) == 3
    assert all(one.message.startswith("B: ") for one in found)


def test_cut_off_ribs_of_a_single_result_are_judged_by_their_heads() -> None:
    found = shift_of(cut_above(left_ribs(-2), "T11"))
    assert "the left ribs are numbered 2 lower" in found.message
    assert "these are wrong" in found.message


def test_the_outlier_is_blamed_and_its_structures_are_named() -> None:
    (found,) = complaints(results(organ(HERE, THERE, HERE), "X3"))
    assert isinstance(found, Finding)
    assert found.sop_instance_uids == ("1.2.4.2",)
    assert "liver (0." in found.message
    assert "spleen" not in found.message


def test_the_exchanged_pair_is_blamed_on_who_has_it_on_the_wrong_side() -> None:
    found = shift_of(kidneys(WRONG_WAY, RIGHT_WAY))
    assert found.sop_instance_uids == ("1.2.4.1",)
    assert "kidney_left, kidney_right" in found.message


# ------------------------------------------------------------------------------------------------- real cases


@cache
def reviewed(name: str) -> dict[str, Any]:
    ran = segqa("review", shared("data", f"case_{name}"), "--no-documents", "--quiet", "--json", "-")
    assert ran.code == 0
    (found,) = ran.json["cases"]
    result: dict[str, Any] = found
    return result


def of_chains(name: str) -> list[dict[str, Any]]:
    """Errors and warnings of the rules S, R and X3, X4."""
    found = reviewed(name)
    everything = [*found["findings"], *(one for part in found["segmentations"] for one in part["findings"])]
    return [one for one in everything if one["rule"][0] in "SRX" and one["severity"] != "info"]


@pytest.mark.servers
@pytest.mark.shared
def test_the_wrongly_numbered_ribs_are_one_finding_about_the_right_result() -> None:
    found, other = of_chains("A")
    wrong = next(part for part in reviewed("A")["segmentations"] if "ts2.0_fast" in part["series_description"])
    assert (found["rule"], found["severity"], found["value"]) == ("X4", "error", -2)
    assert found["sop_instance_uids"] == [wrong["sop_instance_uid"]]
    message = found["message"]
    assert "the left ribs are numbered 2 lower than in 3 other results: 5-10 for 7-12" in message
    assert "This result is wrong: the 3 others agree with each other" in message
    assert "its rib 10 begins at T12" in message
    assert len(found["structure_keys"]) == 6
    # Bodies of vertebrae only, half the volume of what the five other results call vertebrae.
    bodies = next(part for part in reviewed("A")["segmentations"] if "vertebrae_pp" in part["series_description"])
    assert (other["rule"], other["severity"]) == ("X3", "warning")
    assert other["sop_instance_uids"] == [bodies["sop_instance_uid"]]
    assert len(other["structure_keys"]) == len(bodies["segments"]) == 6


@pytest.mark.servers
@pytest.mark.shared
def test_a_right_case_has_no_finding_about_chains() -> None:
    assert of_chains("B") == []
