"""From a case to its report: who is compared with whom, with which tolerance, and what the numbers are."""

from __future__ import annotations

import numpy as np
import pytest

from segqa_dicom.checks import Check, Finding, Outcome, Severity, Verdict, ruleset_with
from segqa_dicom.checks.risk import segment_risk, segmentation_risk
from segqa_dicom.measures.results import PairComparison, StructureComparison
from segqa_dicom.model import Case, Code
from segqa_dicom.pipeline import review
from segqa_dicom.report.model import CaseReport, SegmentReport
from tests.scenes import (
    KIDNEY_LEFT,
    LEFT,
    LIVER,
    NO_SIZES,
    SPLEEN,
    Part,
    body_hu,
    box,
    case,
    coded,
    ct,
    geometry,
    segmentation,
)

INSIDE, SHIFTED = box(8, 15, 15), box(8, 15, 17)
ONE, OTHER = "1.2.4.1", "1.2.4.2"


def report(found: Case) -> CaseReport:
    return review(found, ruleset_with(NO_SIZES))


def pair(*sides: list[Part], ruleset: dict | None = None) -> PairComparison:
    found = case(*(segmentation(parts, uid=uid) for parts, uid in zip(sides, (ONE, OTHER), strict=True)))
    (comparison,) = review(found, ruleset_with(ruleset or {})).comparisons
    return comparison


def only(comparison: PairComparison) -> StructureComparison:
    (segment,) = comparison.segments
    return segment


def test_the_smaller_uid_is_the_reference_whatever_the_order() -> None:
    parts = [Part("liver", LIVER, [INSIDE])]
    for order in ((ONE, OTHER), (OTHER, ONE)):
        found = report(case(*(segmentation(parts, uid=uid) for uid in order)))
        assert [(one.evaluated, one.reference) for one in found.comparisons] == [(OTHER, ONE)]


def test_structures_pair_by_code_whatever_they_are_called() -> None:
    segment = only(
        pair([Part("Leber", LIVER, [INSIDE])], [Part("x", SPLEEN, [box(1, 5, 5)]), Part("liver", LIVER, [SHIFTED])])
    )
    assert (segment.evaluated_segment, segment.reference_segment) == (2, 1)
    assert segment.structure_key == "10200004.SCT|||"
    assert segment.dice == pytest.approx(4 / 6)
    assert segment.iou == pytest.approx(4 / 8)
    assert segment.volume_difference_percent == pytest.approx(0)


def test_equivalent_codes_pair() -> None:
    old, new = (coded(value, "Subclavian artery", LEFT) for value in ("29700009", "36765005"))
    assert only(pair([Part("a", old, [INSIDE])], [Part("b", new, [INSIDE])])).dice == 1.0


def test_left_and_right_do_not_pair() -> None:
    right = coded("64033007", "Kidney", Code("24028007", "SCT", "Right"))
    found = pair([Part("kidney", KIDNEY_LEFT, [INSIDE])], [Part("kidney", right, [INSIDE])])
    assert found.segments == ()
    assert (found.only_evaluated, found.only_reference) == ((1,), (1,))


def test_two_segments_of_one_identity_are_told_apart_by_label() -> None:
    medius, minimus = (
        Part(name, coded("78333006", "Gluteus medius", LEFT), [where])
        for name, where in (("gluteus_medius_left", INSIDE), ("gluteus_minimus_left", box(1, 5, 5)))
    )
    found = pair([medius, minimus], [minimus, medius])
    assert [(one.evaluated_segment, one.reference_segment, one.dice) for one in found.segments] == [
        (1, 2, 1.0),
        (2, 1, 1.0),
    ]


def test_structures_without_a_code_never_pair() -> None:
    nothing = coded("x")
    nothing = type(nothing)(category=nothing.category)
    assert pair([Part("a", nothing, [INSIDE])], [Part("a", nothing, [INSIDE])]).segments == ()


def test_empty_masks_follow_the_policy() -> None:
    one_empty = only(pair([Part("liver", LIVER, [])], [Part("liver", LIVER, [INSIDE])]))
    assert (one_empty.dice, one_empty.iou, one_empty.nsd) == (0.0, 0.0, 0.0)
    assert (one_empty.hd_mm, one_empty.hd95_mm, one_empty.assd_mm, one_empty.volume_difference_percent) == (None,) * 4
    both_empty = only(pair([Part("liver", LIVER, [])], [Part("liver", LIVER, [])]))
    assert (both_empty.dice, both_empty.nsd, both_empty.hd_mm, both_empty.volume_difference_percent) == (None,) * 4


def test_the_tolerance_is_that_of_the_scheme_but_never_below_the_voxel() -> None:
    parts = [Part("liver", LIVER, [INSIDE])]
    assert only(pair(parts, parts)).tolerance_mm == 3.0
    assert only(pair(parts, parts, ruleset={"surface": {"tolerance_scheme": "flare"}})).tolerance_mm == 5.0
    thick = geometry(spacing=(6.0, 2.0, 2.0))
    found = case(*(segmentation(parts, uid=uid) for uid in (ONE, OTHER)), volume=ct(where=thick))
    assert only(report(found).comparisons[0]).tolerance_mm == 6.0


def test_distances_are_in_millimetres_along_each_axis() -> None:
    for where, distance in ((box(9, 15, 15), 3.0), (box(8, 16, 15), 2.0)):
        assert only(pair([Part("liver", LIVER, [INSIDE])], [Part("liver", LIVER, [where])])).hd_mm == pytest.approx(
            distance
        )


def segments(found: Case) -> dict[str, SegmentReport]:
    return {one.segment.label: one for one in report(found).segmentations[0].segments}


def test_hu_and_volume_are_those_of_the_voxels() -> None:
    hu = body_hu()
    hu[8:14, 15:21, 15:21] = np.arange(216).reshape(6, 6, 6)
    (liver,) = segments(case(segmentation([Part("liver", LIVER, [INSIDE])]), volume=ct(hu))).values()
    intensity = liver.measures.intensity
    assert intensity is not None
    assert (intensity.mean_hu, intensity.median_hu, intensity.min_hu, intensity.max_hu) == (107.5, 107.5, 0, 215)
    assert intensity.sd_hu == pytest.approx(np.arange(216).std())
    assert liver.measures.shape.volume_ml == pytest.approx(216 * 12 / 1000)


def test_truncated_is_a_matter_of_the_scan_not_of_a_verdict() -> None:
    found = segments(case(segmentation([Part("liver", LIVER, [box(0, 15, 15)]), Part("spleen", SPLEEN, [INSIDE])])))
    assert found["liver"].truncated
    assert found["liver"].verdict is Verdict.USABLE
    assert not found["spleen"].truncated


def test_risk_grows_with_failures_and_with_disagreement() -> None:
    parts = [Part("liver", LIVER, [INSIDE]), Part("spleen", SPLEEN, [box(2, 5, 5), box(15, 30, 30)])]
    other = [Part("liver", LIVER, [SHIFTED]), Part("spleen", SPLEEN, [box(2, 5, 5), box(15, 30, 30)])]
    found = segments(case(segmentation(parts, uid=ONE), segmentation(other, uid=OTHER)))
    assert found["liver"].risk == pytest.approx(1 - 4 / 6)
    assert found["spleen"].risk == pytest.approx(1.0)
    assert found["liver"].mean_dice == pytest.approx(4 / 6)


def test_the_same_case_gives_the_same_report() -> None:
    found = case(
        *(segmentation([Part("liver", LIVER, [where])], uid=uid) for where, uid in ((INSIDE, ONE), (SHIFTED, OTHER)))
    )
    assert report(found).comparisons == report(found).comparisons


def test_findings_that_name_a_structure_count_into_its_risk_and_that_of_its_segmentation() -> None:
    weights = {"error": 1.0, "warning": 0.3, "disagreement": 2.0}
    error = Finding("X4", Outcome.FAIL, Severity.ERROR, "shifted")
    warning = Check("T2", Outcome.WARNING, Severity.WARNING)
    harmless = Check("T1", Outcome.PASS, Severity.INFO)
    assert segment_risk([warning, harmless], [error], 0.75, weights) == pytest.approx(0.3 + 1.0 + 0.5)
    assert segment_risk([harmless], [], None, weights) == 0
    assert segmentation_risk([error], [0.2, 0.4], weights) == pytest.approx(1.3)
    assert segmentation_risk([], [], weights) == 0
