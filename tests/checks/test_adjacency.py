"""Rules about what lies in what, near what, above and below what."""

from __future__ import annotations

import numpy as np
import pytest

from segqa_dicom.checks import Outcome
from segqa_dicom.model import Case, Code
from tests.checks.test_rules import names, results, spine
from tests.checks.test_volumes import complaints
from tests.scenes import (
    ADRENAL_LEFT,
    COLON,
    HEART,
    KIDNEY_LEFT,
    KIDNEY_RIGHT,
    L3,
    LEFT,
    LEFT_ATRIUM,
    LIVER,
    SPLEEN,
    Box,
    Part,
    body_hu,
    box,
    case,
    coded,
    ct,
    segmentation,
)

GALLBLADDER, STOMACH = coded("28231008", "Gallbladder"), coded("69695003", "Stomach")
BLADDER, S1 = coded("89837001", "Urinary bladder"), coded("65985001", "S1 vertebra")
UPPER_LOBE, LOWER_LOBE = (coded(value, "lobe", LEFT) for value in ("45653009", "90572001"))
CYST = coded("367643001", "Cyst", region=Code("64033007", "SCT"), region_modifier=LEFT)
LARGE = box(4, 12, 12, (12, 12, 12))


def of(*parts: Part) -> Case:
    return case(segmentation(parts))


def heart_and_atrium(*atrium: Box) -> Case:
    return of(Part("heart", HEART, [LARGE]), Part("atrium", LEFT_ATRIUM, atrium))


def kidney_and_cyst(*cyst: Box) -> Case:
    return of(Part("kidney", KIDNEY_LEFT, [box(4, 12, 18, 8)]), Part("cyst", CYST, cyst))


def liver_and_gallbladder(gallbladder: Box, where: Box = LARGE) -> Case:
    return of(Part("gallbladder", GALLBLADDER, [gallbladder]), Part("liver", LIVER, [where]))


def bladder(k: int, sacral: int) -> Case:
    return of(Part("bladder", BLADDER, [box(k, 8, 15, 4)]), Part("S1", S1, [box(sacral, 26, 18, 4)]))


def lobes(upper: Box, lower: Box) -> Case:
    return of(Part("upper", UPPER_LOBE, [upper]), Part("lower", LOWER_LOBE, [lower]))


def organs(*, mirrored: bool) -> Case:
    right, left = (26, 8) if mirrored else (8, 26)
    parts = [
        Part("liver", LIVER, [box(10, 10, right)]),
        Part("stomach", STOMACH, [box(10, 10, left)]),
        Part("spleen", SPLEEN, [box(10, 20, left)]),
    ]
    return of(*parts, *spine())


def lobe_with_piece(*pieces: Box, hu: int = -800) -> Case:
    """A lobe with pieces; a liver whose tip lies in slice 6."""
    volume = body_hu()
    for one in pieces:
        volume[one] = hu
    parts = [Part("lobe", LOWER_LOBE, [box(14, 10, 20, 8), *pieces]), Part("liver", LIVER, [box(6, 24, 8, (6, 8, 8))])]
    return case(segmentation(parts), volume=ct(volume))


FIRES = [
    ("C1", "warning", heart_and_atrium(box(4, 12, 20, (6, 6, 8)))),
    ("C1", "warning", heart_and_atrium(box(18, 28, 28, 4))),
    ("C1", "warning", kidney_and_cyst(box(14, 28, 30, 4))),
    ("C2", "warning", of(Part("liver", LIVER, [LARGE]), Part("spleen", SPLEEN, [box(4, 12, 22, (6, 6, 8))]))),
    ("C2", "warning", of(Part("liver", LIVER, [LARGE]), Part("kidney", KIDNEY_RIGHT, [box(14, 12, 12, (5, 6, 6))]))),
    ("C3", "warning", liver_and_gallbladder(box(8, 12, 30, 4))),
    ("C3", "warning", of(Part("adrenal", ADRENAL_LEFT, [box(19, 30, 32, 2)]), Part("k", KIDNEY_LEFT, [box(4, 8, 20)]))),
    ("C3", "warning", bladder(14, 4)),
    ("C3", "warning", lobes(box(4, 10, 22), box(14, 10, 22))),
    ("C3", "warning", of(Part("spleen", SPLEEN, [box(10, 10, 8)]), *spine())),
    ("C4", "error", lobe_with_piece(box(2, 24, 20, 3))),
    ("C4", "warning", lobe_with_piece(box(9, 24, 24, 4), hu=40)),
    (
        "C4",
        "error",
        of(
            Part("lobe", LOWER_LOBE, [box(14, 10, 20, 8), box(3, 10, 20, 4)]),
            Part("L3", L3, [box(8, 26, 18, 4)]),
        ),
    ),
]

QUIET = [
    ("C1", heart_and_atrium(box(6, 14, 14, 4))),
    ("C1", heart_and_atrium(box(4, 12, 24, (6, 6, 6)))),
    ("C1", heart_and_atrium(box(20, 28, 28, 4))),
    ("C1", of(Part("atrium", LEFT_ATRIUM, [box(8, 12, 12)]))),
    ("C1", kidney_and_cyst(box(4, 12, 26, 5))),
    ("C1", kidney_and_cyst(box(4, 12, 24, 5))),
    ("C2", of(Part("liver", LIVER, [LARGE]), Part("colon", COLON, [box(4, 12, 22, (6, 6, 8))]))),
    ("C2", of(Part("liver", LIVER, [LARGE]), Part("spleen", SPLEEN, [LARGE]))),
    ("C2", of(Part("liver", LIVER, [LARGE]), Part("spleen", SPLEEN, [box(4, 12, 26)]))),
    ("C2", heart_and_atrium(box(6, 14, 14, 4))),
    ("C3", liver_and_gallbladder(box(8, 12, 24, 4))),
    ("C3", liver_and_gallbladder(box(8, 12, 27, 4))),
    ("C3", liver_and_gallbladder(box(0, 12, 30, 4))),
    ("C3", liver_and_gallbladder(box(8, 12, 30, 4), box(0, 12, 12, (6, 10, 10)))),
    ("C3", of(Part("gallbladder", GALLBLADDER, [box(8, 12, 30, 4)]))),
    ("C3", bladder(4, 14)),
    ("C3", bladder(20, 14)),
    ("C3", lobes(box(14, 10, 22), box(4, 10, 22))),
    ("C3", lobes(box(4, 10, 22), box(18, 10, 22))),
    ("C3", organs(mirrored=False)),
    ("C3", of(Part("spleen", SPLEEN, [box(10, 10, 8)]))),
    ("C4", lobe_with_piece()),
    ("C4", lobe_with_piece(box(9, 24, 24, 4))),
    ("C4", lobe_with_piece(box(2, 24, 20, 1))),
    ("C4", of(Part("liver", LIVER, [LARGE, box(18, 28, 28, 4)]))),
]


@pytest.mark.parametrize(("rule", "severity", "scene"), FIRES, ids=names(FIRES))
def test_rule_fires_once(rule: str, severity: str, scene: Case) -> None:
    (found,) = complaints(results(scene, rule))
    assert found.severity.value == severity
    assert (found.outcome is Outcome.FAIL) == (severity == "error")
    assert found.location_mm is not None


@pytest.mark.parametrize(("rule", "scene"), QUIET, ids=names(QUIET))
def test_rule_is_quiet(rule: str, scene: Case) -> None:
    assert complaints(results(scene, rule)) == []


def test_an_overlap_of_organs_is_told_once() -> None:
    scene = of(Part("liver", LIVER, [LARGE]), Part("spleen", SPLEEN, [box(4, 12, 22, (6, 6, 8))]))
    assert [one.rule for rule in ("T5", "C2") for one in complaints(results(scene, rule))] == ["C2"]


def test_distances_are_those_of_the_nearest_voxels() -> None:
    """Columns 12 to 23 and 30 to 33 of 2 mm: 14 mm from centre to centre; at 13 mm fewer than all voxels are enough."""
    (found,) = complaints(results(liver_and_gallbladder(box(8, 12, 30, 4)), "C3"))
    assert found.value == pytest.approx(14.0)
    assert "(limit 10 mm)" in found.message


def test_a_mirrored_body_is_one_warning_and_the_rest_is_told() -> None:
    found = complaints(results(organs(mirrored=True), "C3"))
    assert [one.severity.value for one in found] == ["warning", "info", "info"]
    assert all("situs inversus" in one.message for one in found)


def test_what_the_pairs_tell_is_not_told_again() -> None:
    mirrored = [
        Part("liver", LIVER, [box(10, 10, 26)]),
        Part("spleen", SPLEEN, [box(10, 20, 8)]),
        Part("kidney_left", KIDNEY_LEFT, [box(3, 10, 8)]),
        Part("kidney_right", KIDNEY_RIGHT, [box(3, 10, 26)]),
    ]
    found = complaints(results(of(*mirrored, *spine()), "C3"))
    assert [one.severity.value for one in found] == ["info", "info"]


def test_swapped_kidneys_are_no_matter_of_distance() -> None:
    kidneys = Part("k l", KIDNEY_LEFT, [box(6, 10, 8, 4)]), Part("k r", KIDNEY_RIGHT, [box(6, 10, 28, 4)])
    adrenal = Part("adrenal", ADRENAL_LEFT, [box(12, 10, 28, 3)])
    (found,) = results(of(*kidneys, adrenal), "C3")
    assert (found.outcome, "L1" in found.message) == (Outcome.NOT_RUN, True)


def test_a_piece_below_the_lung_is_located_inside_itself() -> None:
    scene = lobe_with_piece(box(2, 24, 20, 3))
    (found,) = complaints(results(scene, "C4"))
    assert found.location_mm is not None
    index = (np.array(found.location_mm) - scene.ct.geometry.slice_origins_mm[0]) / (2.0, 2.0, 3.0)
    assert (index >= (20, 24, 2)).all()
    assert (index < (23, 27, 5)).all()
