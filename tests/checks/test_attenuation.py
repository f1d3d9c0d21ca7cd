"""Rules about HU: organs made of boxes in a body of water."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from segqa_dicom.checks import Outcome
from segqa_dicom.model import Case, CodedStructure, CtFacts
from tests.checks.test_rules import names, results
from tests.checks.test_volumes import complaints
from tests.scenes import COLON, LEFT, LIVER, Box, Part, body_hu, box, case, coded, ct, segmentation

LOBE = coded("90572001", "Lower lobe of lung", LEFT)
MUSCLE = coded("68455001", "Iliopsoas muscle", LEFT)
WHERE = box(8, 15, 15, 10)
SOFT, LUNG, AIR, FAT, BONE, METAL = 40, -800, -900, -100, 400, 3000


def with_hu(
    codes: CodedStructure, hu: int, *others: tuple[int, int], where: Box = WHERE, metal: Box | None = None
) -> Case:
    """A structure of one value; `others` are (rows of ten, their value)."""
    volume = body_hu()
    volume[where] = hu
    for rows, value in others:
        part: NDArray[np.int16] = volume[where][:, :rows]
        part[:] = value
    if metal is not None:
        volume[metal] = METAL
    return case(segmentation([Part("part", codes, [where])]), volume=ct(volume))


def without_hu(codes: CodedStructure) -> Case:
    volume = body_hu()
    volume[WHERE] = -5
    facts = CtFacts(hu_defined=False, hu_note="Rescale Slope is 0")
    return case(segmentation([Part("part", codes, [WHERE])]), volume=ct(volume, facts))


NEAR = box(8, 15, 28, 2)

FIRES = [
    ("H1", "warning", with_hu(LIVER, LUNG)),
    ("H1", "warning", with_hu(LIVER, BONE)),
    ("H1", "warning", with_hu(LOBE, SOFT)),
    ("H1", "warning", with_hu(LIVER, LUNG, where=box(0, 15, 15, 10))),
    ("H2", "warning", with_hu(LOBE, LUNG, (1, BONE))),
    ("H2", "warning", with_hu(LIVER, SOFT, (1, AIR))),
    ("H2", "warning", with_hu(MUSCLE, SOFT, (3, FAT))),
]

QUIET = [
    ("H1", with_hu(LIVER, SOFT)),
    ("H1", with_hu(LIVER, 0)),
    ("H1", with_hu(LIVER, 180)),
    ("H1", with_hu(LOBE, LUNG)),
    ("H1", with_hu(COLON, AIR)),
    ("H1", with_hu(LIVER, LUNG, metal=NEAR)),
    ("H1", with_hu(LIVER, LUNG, where=box(0, 15, 15, 5))),
    ("H1", without_hu(LIVER)),
    ("H2", with_hu(LIVER, SOFT)),
    ("H2", with_hu(LIVER, SOFT, (1, FAT))),
    ("H2", with_hu(LIVER, LUNG)),
    ("H2", with_hu(MUSCLE, SOFT, (1, FAT))),
    ("H2", with_hu(LOBE, LUNG, (3, SOFT))),
    ("H2", with_hu(LIVER, SOFT, (1, AIR), where=box(0, 15, 15, 10))),
    ("H2", with_hu(LIVER, SOFT, (1, AIR), metal=NEAR)),
    ("H2", without_hu(LIVER)),
]


@pytest.mark.parametrize(("rule", "severity", "scene"), FIRES, ids=names(FIRES))
def test_rule_fires_once(rule: str, severity: str, scene: Case) -> None:
    (found,) = complaints(results(scene, rule))
    assert (found.outcome, found.severity.value) == (Outcome.WARNING, severity)
    assert found.location_mm is not None
    assert "HU" in found.message


@pytest.mark.parametrize(("rule", "scene"), QUIET, ids=names(QUIET))
def test_rule_is_quiet(rule: str, scene: Case) -> None:
    assert complaints(results(scene, rule)) == []


def test_metal_counts_in_the_same_slices_only() -> None:
    far = box(1, 15, 28, 2)
    assert complaints(results(with_hu(LIVER, LUNG, metal=far), "H1"))
    (found,) = results(with_hu(LIVER, LUNG, metal=NEAR), "H1")
    assert (found.outcome, found.message) == (Outcome.NOT_RUN, "metal is near: HU there may be artefacts")


def test_without_hu_nothing_is_judged() -> None:
    for rule in ("H1", "H2"):
        (found,) = results(without_hu(LIVER), rule)
        assert (found.outcome, found.message) == (Outcome.NOT_RUN, "the CT is not in HU")


def test_messages_say_what_is_wrong() -> None:
    (found,) = results(with_hu(LIVER, LUNG), "H1")
    assert found.message == "median -800 HU, not -20 to 220 HU"
    (found,) = results(with_hu(MUSCLE, SOFT, (3, FAT)), "H2")
    assert found.message == "30.0% of its voxels are fat (-190 to -30 HU) (limit 20%)"
