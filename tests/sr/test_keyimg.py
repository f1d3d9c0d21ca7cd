"""`keyimg`: arrows in the shape that OHIF shows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segqa_dicom.checks.finding import Outcome, Severity
from segqa_dicom.sr import Kind, build_documents

from .factories import (
    LIVER,
    SPLEEN,
    TITLES,
    case,
    ct_record,
    failed,
    finding,
    ok,
    rich_case,
    segment,
    segmentation,
    warned,
)
from .reading import children, coded, groups, name, numbers, summary, texts

HERE = (-20.0, -41.0, 7.4)


def arrows_of(report):
    return [d for d in build_documents(report, rule_titles=TITLES) if d.kind is Kind.KEYIMG]


def only(*segments, seg_findings=(), **values):
    (document,) = arrows_of(case(segmentation(1, segments, seg_findings), **values))
    return document.dataset


def points(dataset):
    return [
        (list(num.ContentSequence[0].GraphicData), num.ContentSequence[0].ContentSequence[0].ReferencedSOPSequence[0])
        for group in groups(dataset)
        for num in group.ContentSequence
        if num.ValueType == "NUM"
    ]


def test_nothing_located_gives_no_document() -> None:
    assert arrows_of(case(segmentation(1, (segment(1, checks=(failed(), ok())),)), findings=(finding(),))) == []


def test_an_arrow_has_the_shape_that_ohif_loads() -> None:
    (group,) = groups(only(segment(4, "Leber", LIVER, checks=(failed(at=HERE), warned()))))
    assert [name(item) for item in group.ContentSequence] == [
        "112039.DCM",
        "112040.DCM",
        "121071.DCM",
        "363698007.SCT",
        "118565006.SCT",
        "NFAIL.99SEGQA",
        "Q4LE.IBSI",
        "121112.DCM",
        "121106.DCM",
    ]
    assert texts(group, "112039.DCM")[0].startswith("Cornerstone3DTools@^0.1.0:ArrowAnnotate:")
    assert texts(group, "121106.DCM") == ["Leber: Failed - 3 components, largest 61 %"]
    assert numbers(group)["NFAIL.99SEGQA"] == "2"
    for num in (item for item in group.ContentSequence if item.ValueType == "NUM"):
        (point,) = num.ContentSequence
        assert (point.ValueType, point.GraphicType, point.RelationshipType) == ("SCOORD", "POINT", "INFERRED FROM")
        (image,) = point.ContentSequence
        assert (image.ValueType, image.RelationshipType, name(image)) == ("IMAGE", "SELECTED FROM", "121112.DCM")


@pytest.mark.parametrize(
    ("location", "slice_index", "column_row"),
    [
        ((-50.0, -60.0, 0.0), 0, [0.5, 0.5]),
        ((-48.5, -60.0, 3.0), 1, [1.5, 0.5]),
        ((-20.0, -41.0, 7.4), 2, [20.5, 10.0]),
        ((-50.0 + 29 * 1.5, -60.0 + 19 * 2.0, 15.0), 5, [29.5, 19.5]),
        ((-999.0, 999.0, -999.0), 0, [0.5, 19.5]),
        ((999.0, -999.0, 999.0), 5, [29.5, 0.5]),
    ],
)
def test_points_are_image_coordinates_on_the_nearest_slice_and_inside_the_image(location, slice_index, column_row):
    report = case(segmentation(1, (segment(1, checks=(failed(at=location),)),)))
    (document,) = arrows_of(report)
    for graphic, reference in points(document.dataset):
        assert graphic == column_row
        assert reference.ReferencedSOPInstanceUID == report.ct.slices[slice_index].sop_instance_uid
        assert "ReferencedFrameNumber" not in reference


def test_a_slice_of_an_enhanced_ct_is_a_frame() -> None:
    dataset = only(segment(1, checks=(failed(at=HERE),)), ct=ct_record(enhanced=True))
    assert [int(reference.ReferencedFrameNumber) for _, reference in points(dataset)] == [3, 3, 3]


def test_the_worst_comes_first() -> None:
    dataset = only(
        segment(1, "one", checks=(warned(at=HERE),), risk=9.0),
        segment(2, "two", checks=(failed(at=HERE), warned(at=HERE)), risk=1.0),
        segment(3, "three", checks=(failed(at=HERE),), risk=2.0),
        seg_findings=(finding("F5", message="whole", location_mm=HERE),),
    )
    assert [texts(group, "121106.DCM")[0].partition(" - ")[0] for group in groups(dataset)] == [
        "Whole segmentation: Failed",
        "three: Failed",
        "two: Failed",
        "one: Needs review",
        "two: Needs review",
    ]


def test_all_groups_have_the_numbers_that_each_of_them_has() -> None:
    with_volume = only(segment(1, checks=(failed(at=HERE),)), hu_defined=False)
    assert [list(numbers(group)) for group in groups(with_volume)] == [["118565006.SCT", "NFAIL.99SEGQA"]]
    mixed = only(segment(1, checks=(failed(at=HERE),)), seg_findings=(finding(location_mm=HERE),))
    assert [list(numbers(group)) for group in groups(mixed)] == [["NFAIL.99SEGQA"]] * 2


def test_a_finding_about_structures_points_at_the_first_of_them() -> None:
    found = finding("L3", location_mm=HERE, structure_keys=("not there", SPLEEN.key, LIVER.key))
    (group,) = groups(only(segment(1), segment(2, "Spleen", SPLEEN, checks=(warned(),)), seg_findings=(found,)))
    assert texts(group, "121106.DCM") == ["Spleen, Liver: Failed - left and right are exchanged"]
    assert coded(group, "121071.DCM") == ["78961009"]
    assert numbers(group)["NFAIL.99SEGQA"] == "2"


def test_a_finding_about_the_whole_refers_to_the_whole_seg() -> None:
    (group,) = groups(only(segment(1), seg_findings=(finding("G1", message="2 missing", location_mm=HERE),)))
    assert coded(group, "121071.DCM") == ["CHK-G1"]
    (image,) = children(group, "121112.DCM")
    assert "ReferencedSegmentNumber" not in image.ReferencedSOPSequence[0]
    assert texts(group, "121106.DCM") == ["Missing slices in the CT: Failed - 2 missing"]


def test_a_finding_of_the_case_goes_to_the_seg_to_blame_else_to_all() -> None:
    one, two = segmentation(1), segmentation(2)
    both = (two.record.sop_instance_uid, one.record.sop_instance_uid)
    blamed = case(one, two, findings=(finding(location_mm=HERE, sop_instance_uids=both),))
    assert [d.references for d in arrows_of(blamed)] == [(two.record.sop_instance_uid,)]
    nobody = case(one, two, findings=(finding(location_mm=HERE, sop_instance_uids=("1.2.3",)),))
    assert len(arrows_of(nobody)) == 2


@pytest.mark.parametrize(
    "harmless",
    [
        {"outcome": Outcome.PASS},
        {"outcome": Outcome.NOT_RUN},
        {"severity": Severity.INFO},
        {"location_mm": (0.0, float("inf"), 0.0)},
        {"location_mm": None},
    ],
)
def test_only_located_complaints_get_an_arrow(harmless) -> None:
    found = replace(finding(location_mm=HERE), **harmless)
    assert arrows_of(case(segmentation(1, (segment(1),), (found,)))) == []


def test_no_more_than_sixty_arrows_each_with_its_own_uid() -> None:
    checks = (failed(at=HERE), failed(at=HERE), warned(at=HERE))
    dataset = only(*(segment(n, checks=checks) for n in range(1, 31)))
    assert len(groups(dataset)) == 60
    assert len({children(group, "112040.DCM")[0].UID for group in groups(dataset)}) == 60
    assert summary(dataset)[0] == "90 located findings; the worst 60 are shown."


def test_titles_and_messages_that_are_missing_have_a_fallback() -> None:
    dataset = only(
        segment(1, "Liver", checks=(failed("Q9", "", at=HERE),)),
        seg_findings=(finding("Q8", message="", location_mm=HERE),),
    )
    assert [texts(group, "121106.DCM") for group in groups(dataset)] == [
        ["Whole segmentation: Failed - Q8"],
        ["Liver: Failed - Q9"],
    ]


def test_the_same_arrow_keeps_its_uid_when_the_rules_change() -> None:
    def uids(report):
        return [
            children(group, "112040.DCM")[0].UID for document in arrows_of(report) for group in groups(document.dataset)
        ]

    assert uids(rich_case()) == uids(rich_case(ruleset=replace(rich_case().ruleset, hash="new")))
