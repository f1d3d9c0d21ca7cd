"""`compare`: one document per pair."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segqa_dicom.sr import Kind, build_documents

from .factories import (
    COLON,
    LEFT_KIDNEY,
    SPLEEN,
    TITLES,
    case,
    comparison,
    finding,
    pair,
    seg_record,
    segment,
    segmentation,
)
from .reading import children, groups, numbers, summary, texts

NUMBERS = ["130920.DCM", "130921.DCM", "SDSC.99SEGQA", "HD.99SEGQA", "HD95.99SEGQA", "ASSD.99SEGQA", "VDIFF.99SEGQA"]


def uid(index: int) -> str:
    return seg_record(index).sop_instance_uid


def compared(report, **values):
    documents = build_documents(report, rule_titles=TITLES, **values)
    return [d for d in documents if d.kind is Kind.COMPARE]


def pairs(report, **values) -> list[tuple[str, str]]:
    return [d.references for d in compared(report, **values)]


def with_comparison(*rows, only=((), ()), evaluated=None, reference=None):
    second = evaluated or segmentation(2, (segment(1), segment(2, "Spleen", SPLEEN), segment(3, "Colon", COLON)))
    first = reference or segmentation(1, (segment(5), segment(6, "Spleen", SPLEEN), segment(7, "LK", LEFT_KIDNEY)))
    report = case(first, second)
    only_evaluated, only_reference = only
    one = replace(report.comparisons[0], segments=rows, only_evaluated=only_evaluated, only_reference=only_reference)
    return replace(report, comparisons=(one,))


def test_a_group_has_all_numbers_and_names_both_segments() -> None:
    (document,) = compared(with_comparison(comparison(1, 5, "a"), comparison(2, 6, "b", 0.7)))
    assert document.references == (uid(2), uid(1))
    first, second = groups(document.dataset)
    assert list(numbers(first)) == NUMBERS
    assert numbers(second)["130920.DCM"] == "0.7"
    assert numbers(first)["ASSD.99SEGQA"] == "0.5123457"
    (source,) = children(first, "121112.DCM")
    (other,) = children(first, "REFSEG.99SEGQA")
    found = [
        (item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID, item.ReferencedSOPSequence[0].ReferencedSegmentNumber)
        for item in (source, other)
    ]
    assert found == [(uid(2), 1), (uid(1), 5)]
    assert texts(first, "112039.DCM") == ["Liver: TotalSegmentator 2.2 vs TotalSegmentator 2.1"]
    assert first.ContentTemplateSequence[0].TemplateIdentifier == "1501"


def test_only_structures_with_voxels_on_both_sides_get_a_group_the_rest_is_named() -> None:
    too_large = replace(comparison(2, 6, "b"), nsd=None, hd_mm=None, hd95_mm=None, assd_mm=None)
    second = segmentation(
        2, (segment(1), segment(2, "Spleen", SPLEEN), segment(3, "Colon", COLON), segment(4, "Gone", voxels=0))
    )
    first = segmentation(
        1,
        (segment(5), segment(6, "Spleen", SPLEEN), segment(7, "LK", LEFT_KIDNEY), segment(8, "There")),
    )
    one_sided = replace(comparison(4, 8, "c"), dice=0.0, hd_mm=None, hd95_mm=None, assd_mm=None)
    report = with_comparison(
        comparison(1, 5, "a"), too_large, one_sided, only=((3,), (7,)), evaluated=second, reference=first
    )
    (document,) = compared(report)
    assert len(groups(document.dataset)) == 1
    assert summary(document.dataset) == [
        "1 structure compared: mean Dice 0.900, lowest 0.900 (Liver).",
        "Evaluated: TotalSegmentator 2.2. Reference: TotalSegmentator 2.1; to compare with, not ground truth.",
        "Only in TotalSegmentator 2.2: Colon.",
        "Only in TotalSegmentator 2.1: LK, left, There.",
        "Not compared, surface too large: Spleen.",
    ]


def test_without_a_structure_on_both_sides_there_is_no_document() -> None:
    assert compared(with_comparison(only=((1,), (5,)))) == []


def test_findings_about_both_segs_stand_in_the_summary() -> None:
    report = with_comparison(comparison(1, 5, "a"), comparison(2, 6, "b", 0.5))
    about = finding("X4", message="ribs differ by one level", sop_instance_uids=(uid(1), uid(2)))
    (document,) = compared(replace(report, findings=(about, finding("X4", sop_instance_uids=(uid(1),)))))
    lines = summary(document.dataset)
    assert lines[:2] == [
        "2 structures compared: mean Dice 0.700, lowest 0.500 (Spleen).",
        "Failed: ribs differ by one level (X4)",
    ]
    assert lines[-1] == "Lowest Dice: Spleen 0.500, Liver 0.900."
    assert document.dataset.SeriesDescription == "Comparison: Dice 0.70 TotalSeg...ator 2.2 vs TotalSeg...ator 2.1"


def test_tolerances_are_parameters_and_named_where_they_differ() -> None:
    rows = [comparison(1, 5, "a"), comparison(2, 6, "b"), replace(comparison(3, 7, "c"), tolerance_mm=5.0)]

    def tolerances(*chosen):
        (document,) = compared(with_comparison(*chosen))
        (container,) = children(document.dataset, "126010.DCM")
        return [text for text in texts(container, "111002.DCM") if "tolerance" in text]

    assert tolerances(*rows[:2]) == ["surface_tolerance_mm=3.0"]
    assert tolerances(*rows) == [
        "surface_tolerance_mm=3.0: all others",
        "surface_tolerance_mm=5.0: Colon",
        "surface_tolerance_mm=3.0",
    ]


def test_two_segs_of_the_same_name_are_told_apart() -> None:
    one, two = segmentation(1, series_description="A"), segmentation(2, series_description="A")
    (document,) = compared(case(one, two))
    assert texts(groups(document.dataset)[0], "112039.DCM") == ["Liver: A (series 12) vs A (series 11)"]
    one, two = (replace(s, record=replace(s.record, series_number=None)) for s in (one, two))
    (document,) = compared(case(one, two))
    assert texts(groups(document.dataset)[0], "112039.DCM") == ["Liver: A (...1.2.2.1) vs A (...1.2.1.1)"]


def test_too_many_structures_leave_those_that_agree_least() -> None:
    rows = (comparison(1, 5, "a", 0.9), comparison(2, 6, "b", 0.2), comparison(3, 7, "c", 0.5))
    (document,) = compared(with_comparison(*rows), max_groups=2)
    assert [numbers(group)["130920.DCM"] for group in groups(document.dataset)] == ["0.2", "0.5"]
    assert summary(document.dataset)[-1] == "Left out of the measurements: 1 structure with the highest Dice."


# ------------------------------------------------------------------------------------------------------- policy


def test_up_to_three_segs_all_pairs_are_written() -> None:
    three = case(segmentation(1), segmentation(2), segmentation(3))
    assert pairs(three) == [(uid(2), uid(1)), (uid(3), uid(1)), (uid(3), uid(2))]
    assert pairs(three, compare="none") == []


def four():
    segs = [segmentation(n, (segment(1, voxels=1000 * n), segment(2, "Spleen", SPLEEN))) for n in range(1, 5)]
    dice = {(2, 1): 0.5, (3, 1): 0.9, (4, 1): 0.4, (3, 2): 0.8, (4, 2): 0.3, (4, 3): 0.7}
    rows = tuple(pair(segs[a - 1], segs[b - 1], value) for (a, b), value in dice.items())
    return case(*segs, comparisons=rows)


def test_more_segs_are_compared_with_the_one_that_agrees_best() -> None:
    assert pairs(four()) == [(uid(1), uid(3)), (uid(2), uid(3)), (uid(4), uid(3))]
    assert len(pairs(four(), compare="pairs")) == 6


def test_or_with_the_one_that_the_user_names() -> None:
    assert pairs(four(), reference=uid(4)) == [(uid(1), uid(4)), (uid(2), uid(4)), (uid(3), uid(4))]
    assert pairs(four(), reference="1.2.3.not.here") == pairs(four())
    three = case(segmentation(1), segmentation(2), segmentation(3))
    assert pairs(three, reference=uid(2)) == [(uid(2), uid(1))[::-1], (uid(3), uid(1)), (uid(3), uid(2))]


def test_of_equals_the_one_with_the_smaller_uid_is_the_reference() -> None:
    same = case(*(segmentation(n) for n in range(1, 5)))
    assert {reference for _, reference in pairs(same)} == {uid(1)}


def test_a_seg_of_one_organ_is_not_what_whole_bodies_are_compared_with() -> None:
    part, *whole = segmentation(1, (segment(1),)), segmentation(2), segmentation(3), segmentation(4)
    report = case(part, *whole)
    agrees_best = [comparison(1, 1, part.segments[0].structure_key, 0.99)]
    rows = tuple(
        replace(one, segments=tuple(agrees_best), only_evaluated=(2,)) if one.reference == uid(1) else one
        for one in report.comparisons
    )
    assert uid(1) not in {reference for _, reference in pairs(replace(report, comparisons=rows))}


def test_a_pair_that_is_turned_round_swaps_its_segments_and_its_volumes() -> None:
    report = with_comparison(
        comparison(1, 5, "a"),
        only=((3,), (7,)),
        evaluated=segmentation(2, (segment(1, voxels=1000), segment(3, "Colon", COLON))),
        reference=segmentation(1, (segment(5, voxels=1500), segment(7, "LK", LEFT_KIDNEY))),
    )
    (document,) = compared(report, reference=uid(2))
    assert document.references == (uid(1), uid(2))
    (group,) = groups(document.dataset)
    assert float(numbers(group)["VDIFF.99SEGQA"]) == pytest.approx(50.0)
    assert numbers(group)["130920.DCM"] == "0.9"
    (source,) = children(group, "121112.DCM")
    assert source.ReferencedSOPSequence[0].ReferencedSegmentNumber == 5
    assert "Only in TotalSegmentator 2.1: LK, left." in summary(document.dataset)
    assert document.sop_instance_uid != compared(report)[0].sop_instance_uid
