"""Findings as rows: the same as from walking through all documents, filtered and page by page."""

from __future__ import annotations

from collections import Counter

import pytest

from segqa_dicom.findings import FindingsIndex, read_document
from segqa_dicom.findings.filters import UnsupportedFilter, parsed_filters
from segqa_dicom.findings.index import SegmentationName
from segqa_dicom.findings.listing import Row, find, pages
from tests.findings import byhand
from tests.findings.conftest import Study
from tests.findings.making import FREE_TEXT

ALL = 1_000_000


def rows(index: FindingsIndex, *filters: tuple[str, str]) -> list[Row]:
    page = find(index, parsed_filters(filters), limit=ALL)
    assert page.total == len(page.rows)
    return list(page.rows)


def short(found: list[Row]) -> Counter[tuple[str, int, str, str, str]]:
    return Counter((one.document, one.segment_number, one.rule, one.outcome, one.detail) for one in found)


@pytest.fixture(scope="session")
def expected(study: Study) -> list[tuple[str, int, str, str, str]]:
    return [check for file in study.ours for check in byhand.checks(file)]


def test_checks_are_those_of_the_documents(indexed: FindingsIndex, expected: list) -> None:
    assert len(expected) > 1000
    assert short(rows(indexed, ("kind", "check"))) == Counter(expected)


@pytest.mark.parametrize("rule", ["T1", "L1", "F1", "K1", "D9", "NONE"])
@pytest.mark.parametrize("outcome", ["PASS", "WARN", "FAIL", "NOTRUN", ""])
def test_rules_and_outcomes_filter_as_by_hand(indexed: FindingsIndex, expected: list, rule: str, outcome: str) -> None:
    found = rows(indexed, ("rule", rule), ("outcome", outcome))
    assert short(found) == Counter(one for one in expected if one[2] == rule and outcome in ("", one[3]))
    assert found == [one for one in rows(indexed) if one.rule == rule and outcome in ("", one.outcome)]


@pytest.mark.parametrize(
    ("filters", "holds"),
    [
        ([("outcome", "fail,warn")], lambda one: one.outcome in ("FAIL", "WARN")),
        ([("severity", "error")], lambda one: one.severity == "error"),
        ([("severity", "warning,error")], lambda one: one.severity in ("warning", "error")),
        ([("severity", "info"), ("rule", "T1,T2")], lambda one: one.severity == "info" and one.rule in ("T1", "T2")),
        ([("severity", "warning"), ("rule", "T1")], lambda one: one.severity == "warning" and one.rule == "T1"),
        ([("verdict", "unusable")], lambda one: one.verdict == "unusable"),
        ([("verdict", "review,usable"), ("outcome", "WARN")], lambda one: one.verdict in ("review", "usable") and one.outcome == "WARN"),
        ([("kind", "measurement")], lambda one: one.kind == "measurement"),
        ([("kind", "evaluation,check"), ("structure", "liver")], lambda one: one.kind != "measurement" and "liver" in one.label.lower() + one.meaning.lower()),
        ([("structure", "kidney_left")], lambda one: one.structure_name == "kidney_left"),
        ([("structure", "kidney")], lambda one: one.structure == "64033007"),
        ([("structure", "64033007")], lambda one: one.structure == "64033007"),
        ([("structure", "64033007.SCT")], lambda one: one.structure == "64033007"),
        ([("structure", "right kid")], lambda one: one.structure_name == "kidney_right"),
        ([("structure", "liver"), ("structure", "spleen")], lambda one: one.structure_name in ("liver", "spleen") or one.label == FREE_TEXT),
        ([("structure", "nothing like it")], lambda one: False),
        ([("model", "model a")], lambda one: one.model == "Model A 1.0"),
        ([("version", "A"), ("rule", "T1")], lambda one: one.model == "Model A 1.0" and one.rule == "T1"),
        ([("reviewer", "rita")], lambda one: "Rita" in one.observer),
        ([("date", "20260101-")], lambda one: one.date >= "2026-01-01"),
        ([("date", "-20251231")], lambda one: "" < one.date <= "2025-12-31"),
        ([("rule", "T1"), ("verdict", "unusable"), ("structure", "liver")],
         lambda one: one.rule == "T1" and one.verdict == "unusable" and one.structure_name == "liver"),
    ],
)  # fmt: skip
def test_filters_keep_what_they_say(indexed: FindingsIndex, filters: list[tuple[str, str]], holds) -> None:  # type: ignore[no-untyped-def]
    everything = rows(indexed)
    assert rows(indexed, *filters) == [one for one in everything if holds(one)]


def test_uids_filter(indexed: FindingsIndex, study: Study) -> None:
    everything = rows(indexed)
    seg = str(study.seg.SOPInstanceUID)
    assert rows(indexed, ("seg", seg)) == [one for one in everything if one.seg == seg]
    document = byhand.uid(study.ours[0])
    assert rows(indexed, ("document", document)) == [one for one in everything if one.document == document]
    assert rows(indexed, ("study", str(study.seg.StudyInstanceUID))) == everything
    assert rows(indexed, ("study", "1.2.3")) == []
    series = str(study.ct.SeriesInstanceUID)
    assert rows(indexed, ("series", series)) == [one for one in everything if one.ct_series == series]


def test_pages_hold_everything_once(indexed: FindingsIndex) -> None:
    everything = rows(indexed)
    for size in (7, 100, len(everything) - 1, len(everything)):
        assert [row for page in pages(indexed, parsed_filters([]), size=size) for row in page] == everything
    page = find(indexed, parsed_filters([]), limit=5, offset=len(everything) + 3)
    assert (page.total, page.rows) == (len(everything), ())
    assert find(indexed, parsed_filters([]), limit=0).rows == ()


def test_documents_of_others_give_rows(indexed: FindingsIndex, study: Study) -> None:
    found = rows(indexed, ("document", byhand.uid(study.others["dcmqi"])))
    assert [(one.kind, one.title, one.value, one.unit, one.detail) for one in found] == [
        ("measurement", "Attenuation Coefficient", -778.5, "[hnsf'U]", ""),
        ("measurement", "Volume", 150.25, "cm3", ""),
        ("evaluation", "Margin", None, "", "Irregular"),
    ]
    assert {
        (one.rule, one.outcome, one.severity, one.structure_name, one.seg, one.segment_number) for one in found
    } == {("", "", "", "kidney_left", str(study.seg.SOPInstanceUID), 2)}
    (arrow,) = rows(indexed, ("document", byhand.uid(study.others["OHIF"])))
    assert (arrow.title, arrow.detail, arrow.observer, arrow.model) == ("Finding", FREE_TEXT, "Reader^Otto", "Viewer")
    of_highdicom = rows(indexed, ("document", byhand.uid(study.others["highdicom"])))
    assert [(one.title, one.value, one.detail) for one in of_highdicom] == [
        ("Volume", 1500.5, ""),
        ("Margin", None, "Smooth"),
    ]


def test_names_of_segmentations_come_from_them_if_they_are_known(index: FindingsIndex, study: Study) -> None:
    index.add([read_document(study.ours[0])])
    seg = str(study.seg.SOPInstanceUID)
    assert index.unnamed_segmentations(9) == [seg]
    assert {one.model for one in rows(index)} == {"Model A 1.0"}
    index.name_segmentations([SegmentationName(seg, "Pelvis of Anna", "Maker", "Net", "1.5")])
    assert index.unnamed_segmentations(9) == []
    assert {(one.model, one.version) for one in rows(index)} == {("Pelvis of Anna", "1.5")}
    assert rows(index, ("model", "model a")) == []
    assert rows(index, ("model", "NET"), ("version", "1.5")) == rows(index)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nonsense", "1"),
        ("outcome", "maybe"),
        ("severity", "high"),
        ("verdict", "bad"),
        ("kind", "other"),
        ("date", "yesterday"),
        ("date", "-"),
        ("study", "1.2.x"),
        ("current", "maybe"),
        ("model", "x" * 300),
    ],
)
def test_filters_that_there_are_not_are_refused(name: str, value: str) -> None:
    with pytest.raises(UnsupportedFilter):
        parsed_filters([(name, value)])
