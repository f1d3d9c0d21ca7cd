"""`report`: one group per segment."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segqa_dicom.checks.finding import Outcome, Severity
from segqa_dicom.model import Code, CodedStructure
from segqa_dicom.sr import build_documents
from segqa_dicom.sr.write.report import report_columns

from .factories import (
    ANATOMY,
    LIVER,
    RIGHT,
    RIGHT_KIDNEY,
    SPLEEN,
    TITLES,
    TUMOR,
    case,
    failed,
    finding,
    not_run,
    ok,
    rich_case,
    segment,
    segmentation,
    warned,
)
from .reading import children, coded, groups, name, numbers, summary, texts

NUMBERS = [
    "118565006.SCT",
    "130923.DCM",
    "NCC.99SEGQA",
    "LCS.99SEGQA",
    "Q4LE.IBSI",
    "HUSD.99SEGQA",
    "Y12H.IBSI",
    "1GSF.IBSI",
    "84IY.IBSI",
    "RISK.99SEGQA",
    "NFAIL.99SEGQA",
]


def report_of(*segments, findings=(), seg_findings=(), others=(), **values):
    report = case(segmentation(1, segments, seg_findings), *others, findings=findings)
    return build_documents(report, rule_titles=TITLES, **values)[0].dataset


def segment_numbers(dataset) -> list[int]:
    return [
        int(children(group, "121191.DCM")[0].ReferencedSOPSequence[0].ReferencedSegmentNumber)
        for group in groups(dataset)
    ]


def test_every_group_has_the_same_numbers_and_groups_without_come_last() -> None:
    dataset = build_documents(rich_case(), rule_titles=TITLES)[0].dataset
    assert segment_numbers(dataset) == [1, 2, 4, 5, 9, 3]
    lists = [list(numbers(group)) for group in groups(dataset)]
    assert lists == [NUMBERS] * 5 + [[]]


def test_counts_are_whole_numbers_and_measures_keep_their_digits() -> None:
    (group,) = groups(report_of(segment(1, checks=(failed(), warned(), ok()), risk=4.25)))
    assert numbers(group) == {
        "118565006.SCT": "2891.646",
        "130923.DCM": "107098",
        "NCC.99SEGQA": "2",
        "LCS.99SEGQA": "90.00075",
        "Q4LE.IBSI": "45.12346",
        "HUSD.99SEGQA": "59.1",
        "Y12H.IBSI": "44.5",
        "1GSF.IBSI": "-778",
        "84IY.IBSI": "221",
        "RISK.99SEGQA": "4.25",
        "NFAIL.99SEGQA": "2",
    }


def test_without_hounsfield_units_the_whole_document_has_no_intensities() -> None:
    dataset = build_documents(
        case(segmentation(1, (segment(1, hu=False), segment(2))), hu_defined=False), rule_titles=TITLES
    )[0].dataset
    expected = [code for code in NUMBERS if code not in NUMBERS[4:9]]
    assert [list(numbers(group)) for group in groups(dataset)] == [expected] * 2
    assert "not Hounsfield units" in " ".join(summary(dataset))
    assert len(report_columns(hu_defined=False)) == len(expected)


def test_items_of_a_group_stand_in_the_order_of_the_template() -> None:
    (group,) = groups(report_of(segment(1, "x", RIGHT_KIDNEY, checks=(failed(), not_run()))))
    assert [name(item) for item in group.ContentSequence] == [
        "112039.DCM",
        "112040.DCM",
        "121071.DCM",
        "121191.DCM",
        "121232.DCM",
        "363698007.SCT",
        *NUMBERS,
        "SEGQC.99SEGQA",
        *("CHK-T1.99SEGQA", "CHK-T1.99SEGQA"),
        *("CHK-H1.99SEGQA", "CHK-H1.99SEGQA"),
    ]
    assert group.ContentTemplateSequence[0].TemplateIdentifier == "1411"


def test_every_outcome_is_a_code_and_every_message_a_text() -> None:
    (group,) = groups(report_of(segment(1, checks=(failed(), warned(), not_run("S1", ""), ok("F1")))))
    assert coded(group, "CHK-T1.99SEGQA") == ["FAIL"]
    assert coded(group, "CHK-H1.99SEGQA") == ["WARN"]
    assert coded(group, "CHK-S1.99SEGQA") == ["NOTRUN"]
    assert coded(group, "CHK-F1.99SEGQA") == ["PASS"]
    assert texts(group, "CHK-T1.99SEGQA") == ["3 components, largest 61 %"]
    assert texts(group, "CHK-S1.99SEGQA") == []
    assert children(group, "CHK-T1.99SEGQA")[0].ConceptNameCodeSequence[0].CodeMeaning == "Check: Number of components"


@pytest.mark.parametrize(
    ("checks", "verdict"),
    [((ok(), not_run()), "QC-PASS"), ((ok(), warned()), "QC-REVIEW"), ((warned(), failed()), "QC-FAIL")],
)
def test_verdicts(checks, verdict: str) -> None:
    dataset = report_of(segment(1, checks=checks))
    assert coded(groups(dataset)[0], "SEGQC.99SEGQA") == [verdict]
    (whole,) = children(dataset, "C0034375.UMLS")
    assert coded(whole, "SEGQC.99SEGQA") == [verdict]
    # A structure that somebody must look at neither meets nor misses the standard.
    expected = {"QC-PASS": ["111237"], "QC-REVIEW": [], "QC-FAIL": ["111236"]}[verdict]
    assert coded(whole, "111050.DCM") == expected


@pytest.mark.parametrize(
    ("codes", "finding_code", "site", "modifiers"),
    [
        (LIVER, "10200004", ["10200004"], []),
        (RIGHT_KIDNEY, "64033007", ["64033007"], [("272741003.SCT", "24028007")]),
        (TUMOR, "108369006", [], []),
        (CodedStructure(), "UNCODED", [], []),
        (CodedStructure(type=Code("", "SCT", "?")), "UNCODED", [], []),
        (
            CodedStructure(TUMOR.category, TUMOR.type, None, Code("64033007", "SCT", "Kidney"), RIGHT),
            "108369006",
            ["64033007"],
            [("272741003.SCT", "24028007")],
        ),
        (
            CodedStructure(ANATOMY, LIVER.type, Code("255561001", "SCT", "Medial")),
            "10200004",
            ["10200004"],
            [("106233006.SCT", "255561001")],
        ),
    ],
)
def test_codes_of_the_segment_become_finding_and_site(codes, finding_code, site, modifiers) -> None:
    (group,) = groups(report_of(segment(1, "x", codes)))
    assert coded(group, "121071.DCM") == [finding_code]
    assert coded(group, "363698007.SCT") == site
    found = [
        (name(modifier), modifier.ConceptCodeSequence[0].CodeValue)
        for item in children(group, "363698007.SCT")
        for modifier in item.get("ContentSequence", ())
    ]
    assert found == modifiers


@pytest.mark.parametrize(
    ("label", "codes", "tracking", "expected"),
    [
        ("kidney_right", RIGHT_KIDNEY, "", "Segment 1: kidney_right"),
        ("Kidney", RIGHT_KIDNEY, "", "Segment 1: Kidney, right"),
        ("Niere", RIGHT_KIDNEY, "N-7", "N-7, right"),
        ("", RIGHT_KIDNEY, "", "Segment 1: Kidney, right"),
        ("", CodedStructure(), "", "Segment 1: Segment 1"),
        ("D\u00fcnndarm", CodedStructure(), "", "Segment 1: Duenndarm"),
        ("x" * 200, CodedStructure(), "", "Segment 1: " + "x" * 61 + "..."),
    ],
)
def test_names_are_ascii_and_name_the_side(label, codes, tracking, expected) -> None:
    (group,) = groups(report_of(segment(1, label, codes, tracking=(tracking, ""))))
    assert texts(group, "112039.DCM") == [expected]


def test_tracking_uids_are_unique_and_taken_from_the_seg_where_possible() -> None:
    given = ("1.2.3", "1.2.3", "1.2.4", "not a uid", "")
    dataset = report_of(*(segment(n, tracking=("", uid)) for n, uid in enumerate(given, 1)))
    uids = [children(group, "112040.DCM")[0].UID for group in groups(dataset)]
    assert len(set(uids)) == 5
    assert uids[2] == "1.2.4"
    assert all(uid.startswith("2.25.") for n, uid in enumerate(uids) if n != 2)


def test_summary_says_the_outcome_first_and_then_the_worst() -> None:
    dataset = report_of(
        segment(1, "Liver", checks=(warned(), failed()), risk=2.0),
        segment(2, "Spleen", SPLEEN, checks=(warned("H1", ""),), risk=99.0),
        segment(3, "Heart", checks=(failed(),), risk=3.0),
        segment(4, "Colon", voxels=0),
        findings=(finding("G1", severity=Severity.WARNING, message="2 missing"), finding("L3", message="flipped")),
        seg_findings=(finding("S6", outcome=Outcome.PASS, severity=Severity.INFO),),
    )
    assert summary(dataset) == [
        "2 of 4 structures failed, 1 to look at; 2 findings about the segmentation or the case as a whole.",
        "Failed - Image flipped left to right: flipped (L3)",
        "Failed - Heart (segment 3): 3 components, largest 61 % (T1)",
        "Failed - Liver (segment 1): 3 components, largest 61 % (T1); median 300 HU (H1)",
        "Needs review - Missing slices in the CT: 2 missing (G1)",
        "Needs review - Spleen (segment 2): Median HU plausible (H1)",
        "Empty, without measurements: Colon.",
    ]
    (whole,) = children(dataset, "C0034375.UMLS")
    assert coded(whole, "CHK-S6.99SEGQA") == ["PASS"]
    assert texts(whole, "CHK-L3.99SEGQA") == ["flipped"]


def test_summary_of_a_seg_that_passed_is_one_line() -> None:
    assert summary(report_of(segment(1), segment(2))) == ["All 2 structures passed."]
    assert summary(report_of(segment(1))) == ["The only structure passed."]


def test_summary_names_what_differs_from_the_other_segmentations_and_what_was_not_evaluated() -> None:
    dice = (0.95, 0.5, None, 0.0)
    segments = [
        replace(segment(n, f"part {n}", checks=(ok(), not_run())), mean_dice=value) for n, value in enumerate(dice, 1)
    ]
    assert summary(report_of(*segments)) == [
        "All 4 structures passed.",
        "Mean Dice against the other segmentations below 0.7: part 4 0.00, part 2 0.50.",
        "Not evaluated: 4 of 8 checks.",
    ]


def test_summary_is_no_longer_than_forty_lines() -> None:
    lines = summary(report_of(*(segment(n, checks=(failed(),)) for n in range(1, 60))))
    assert len(lines) == 1 + 40 + 1
    assert lines[-1] == "and 19 more"


def test_a_finding_of_the_case_concerns_the_segs_that_it_names() -> None:
    second = segmentation(2)
    named = finding("X4", sop_instance_uids=(second.record.sop_instance_uid,))
    of_ct = finding("G1", sop_instance_uids=("1.2.3.4",))
    report = case(segmentation(1), second, findings=(named, of_ct))
    first, other = (d.dataset for d in build_documents(report, rule_titles=TITLES, compare="none")[:2])
    assert [("X4" in line, "G1" in line) for line in summary(first)] == [(False, False), (False, True)]
    assert [("X4" in line, "G1" in line) for line in summary(other)[1:]] == [(True, False), (False, True)]
    assert first.SeriesDescription.startswith("Report: FAIL TotalSegmentator")


def test_too_many_segments_leave_the_worst_ones() -> None:
    segments = [segment(n, risk=float(n)) for n in range(1, 8)]
    segments[1] = segment(2, checks=(warned(),))
    segments[4] = segment(5, checks=(failed(),))
    dataset = report_of(*segments, max_groups=3)
    assert segment_numbers(dataset) == [2, 5, 7]
    assert "Left out of the measurements: 4 structures with the lowest risk." in summary(dataset)


def test_algorithm_is_named_once_with_its_parameters() -> None:
    dataset = report_of(segment(1), segment(2))
    (container,) = children(dataset, "126010.DCM")
    assert texts(container, "111001.DCM") == ["segqa"]
    assert texts(container, "111002.DCM") == [
        "connectivity=26",
        "surface_tolerance_mm=3.0",
        "ruleset_version=1.0",
        "ruleset_hash=abc123",
        "measuring_version=1",
    ]
