"""The worklist: what the machine's reports say about segments, as a walk through the documents finds it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from io import BytesIO

import pytest
from pydicom import dcmread

from segqa_dicom.checks.finding import Finding, Outcome, Severity, verdict_of
from segqa_dicom.findings import FindingsIndex, read_document
from segqa_dicom.findings.index import SegmentationName
from segqa_dicom.findings.worklist import (
    WHOLE_LABEL,
    machine_segment,
    machine_segments,
    matching_places,
    segmentations,
    studies,
)
from segqa_dicom.model import SegmentRef
from segqa_dicom.report.model import SegmentReport
from segqa_dicom.reviews.workflow.model import MachineSegment, WorklistFilters
from segqa_dicom.sr import build_documents
from tests.findings import byhand
from tests.findings.conftest import Study
from tests.findings.making import renewed
from tests.sr import factories

ALL = 100_000
EVERYTHING = WorklistFilters()
RANKS = {"unusable": 0, "review": 1, "usable": 2}
VERDICTS = {"QC-FAIL": "unusable", "QC-REVIEW": "review", "QC-PASS": "usable"}


def walked(file: bytes) -> dict[SegmentRef, tuple[str, float, list[str]]]:
    """Verdict, risk and complaining rules (worst first) of the segments of a report."""
    seg: dict[int, SegmentRef] = {}
    verdicts: dict[int, str] = {}
    risks: dict[int, float] = {}
    rules: dict[int, list[tuple[bool, str]]] = {}
    for item, group in byhand.items(file):
        name = byhand.name(item)
        if name == "121191":
            (one,) = item.ReferencedSOPSequence
            seg[group] = SegmentRef(str(one.ReferencedSOPInstanceUID), int(one.ReferencedSegmentNumber))
        elif name == "SEGQC":
            verdicts[group] = VERDICTS[byhand.coded(item)]
        elif name == "RISK":
            risks[group] = byhand.number(item) or 0.0
        elif name.startswith("CHK-") and byhand.is_failed(item):
            rules.setdefault(group, []).append((byhand.coded(item) != "FAIL", name[4:]))
    return {
        place: (
            verdicts[group],
            risks.get(group, 0.0),
            list(dict.fromkeys(rule for _, rule in sorted(rules.get(group, []), key=lambda one: one[0]))),
        )
        for group, place in seg.items()
    }


def reports(study: Study) -> list[bytes]:
    return [file for file in study.ours if str(dcmread(BytesIO(file)).SeriesDescription).startswith("Report: ")]


@pytest.fixture(scope="module")
def expected(study: Study) -> dict[SegmentRef, tuple[str, float, list[str]]]:
    return {place: said for file in reports(study) for place, said in walked(file).items()}


def listed(index: FindingsIndex, **filters: str) -> list[MachineSegment]:
    found, total = machine_segments(index, WorklistFilters(**filters), limit=ALL)  # type: ignore[arg-type]
    assert total == len(found)
    return found


def test_all_segments_stand_worst_first(
    indexed: FindingsIndex, expected: dict[SegmentRef, tuple[str, float, list[str]]]
) -> None:
    found = listed(indexed)
    assert len(found) > 10
    order = sorted(expected, key=lambda one: (RANKS[expected[one][0]], -expected[one][1], one))
    assert [one.place for one in found] == order
    assert {one.place: (one.verdict, one.risk, list(one.rules)) for one in found} == expected
    assert all(bool(one.reason) == (one.verdict != "usable") for one in found)


def test_rows_say_what_a_segment_is_and_who_made_it(indexed: FindingsIndex, study: Study) -> None:
    seg = str(study.seg.SOPInstanceUID)
    by_number = {one.place.segment: one for one in listed(indexed, segmentation=seg)}
    (liver,) = (one for one in by_number.values() if one.structure == "liver")
    (kidney,) = (one for one in by_number.values() if one.structure == "kidney_left")
    assert (liver.label, liver.model) == ("liver", "Model A 1.0")
    assert "left" in kidney.label
    assert {one.study for one in by_number.values()} == {str(study.seg.StudyInstanceUID)}
    assert {one.ct_series for one in by_number.values()} == {str(study.ct.SeriesInstanceUID)}
    report = next(file for file in reports(study) if SegmentRef(seg, 1) in walked(file))
    assert {one.report for one in by_number.values()} == {byhand.uid(report)}


def test_reasons_are_the_messages_of_what_complains(indexed: FindingsIndex, study: Study) -> None:
    messages: dict[tuple[str, int], list[str]] = {}
    for file in reports(study):
        for document, number, _rule, outcome, detail in byhand.checks(file):
            if number and outcome in ("FAIL", "WARN") and detail:
                messages.setdefault((document, number), []).append(detail)
    for one in listed(indexed, verdict="unusable"):
        for message in messages.get((one.report, one.place.segment), []):
            assert message in one.reason or one.reason.endswith("...")


@pytest.mark.parametrize("verdict", ["unusable", "review", "usable", "nonsense"])
def test_verdicts_filter(indexed: FindingsIndex, verdict: str) -> None:
    assert listed(indexed, verdict=verdict) == [one for one in listed(indexed) if one.verdict == verdict]


@pytest.mark.parametrize("rule", ["T1", "L1", "K1", "V1", "X2", "NONE"])
def test_rules_filter(indexed: FindingsIndex, rule: str) -> None:
    assert listed(indexed, rule=rule) == [one for one in listed(indexed) if rule in one.rules]


@pytest.mark.parametrize(
    ("structure", "names"),
    [("kidney_left", {"kidney_left"}), ("64033007", {"kidney_left", "kidney_right"}), ("nothing like it", set())],
)
def test_structures_filter(indexed: FindingsIndex, structure: str, names: set[str]) -> None:
    found = listed(indexed, structure=structure)
    assert {one.structure for one in found} == names
    assert found == [one for one in listed(indexed) if one.structure in names]


def test_models_studies_and_segmentations_filter(indexed: FindingsIndex, study: Study) -> None:
    everything = listed(indexed)
    assert listed(indexed, model="model a") == [one for one in everything if one.model == "Model A 1.0"] != []
    assert listed(indexed, model="model z") == []
    assert listed(indexed, study=str(study.seg.StudyInstanceUID)) == everything
    assert listed(indexed, study="1.2.3") == listed(indexed, segmentation="1.2.3") == []


def test_pages_hold_everything_once(indexed: FindingsIndex) -> None:
    everything = listed(indexed)
    for size in (3, len(everything) - 1, len(everything)):
        pages = [
            machine_segments(indexed, EVERYTHING, limit=size, offset=at)[0] for at in range(0, len(everything), size)
        ]
        assert [one for page in pages for one in page] == everything
    assert machine_segments(indexed, EVERYTHING, limit=9, offset=ALL) == ([], len(everything))
    assert machine_segments(indexed, EVERYTHING, limit=0) == ([], len(everything))
    assert matching_places(indexed, EVERYTHING) == [one.place for one in everything]


def test_readers_narrow_it_down_by_places(indexed: FindingsIndex) -> None:
    places = [one.place for one in listed(indexed)]
    some = set(places[2:7])
    elsewhere = SegmentRef("1.2.3", 1)
    found, total = machine_segments(indexed, EVERYTHING, only=some | {elsewhere}, limit=ALL)
    assert ([one.place for one in found], total) == (places[2:7], 5)
    assert matching_places(indexed, EVERYTHING, without=some) == places[:2] + places[7:]
    assert matching_places(indexed, EVERYTHING, only=some, without=[places[3]]) == [places[2], *places[4:7]]
    assert matching_places(indexed, EVERYTHING, only=[]) == []


def test_one_place_is_found(indexed: FindingsIndex, study: Study) -> None:
    for one in listed(indexed)[:5]:
        assert machine_segment(indexed, one.place) == one
    seg = str(study.seg.SOPInstanceUID)
    assert machine_segment(indexed, SegmentRef(seg, 9999)) is None
    assert machine_segment(indexed, SegmentRef("1.2.3", 1)) is None
    assert machine_segment(indexed, SegmentRef("1.2.3", 0)) is None
    whole = machine_segment(indexed, SegmentRef(seg, 0))
    assert whole is not None
    assert (whole.label, whole.model, whole.place) == (WHOLE_LABEL, "Model A 1.0", SegmentRef(seg, 0))


def test_only_the_current_report_counts(index: FindingsIndex, study: Study) -> None:
    first = reports(study)[0]
    index.add([read_document(first)])
    before = listed(index)
    index.add([read_document(renewed(first, "1.2.3.77", byhand.uid(first)))])
    after = listed(index)
    assert {one.report for one in after} == {"1.2.3.77"}
    assert [one.place for one in after] == [one.place for one in before]
    index.remove(["1.2.3.77"])
    assert listed(index) == before
    index.remove([byhand.uid(first)])
    assert listed(index) == []
    assert index.rows("SELECT COUNT(*) FROM segment_by_risk") == [(0,)]


def test_of_two_current_reports_the_newer_one_counts(index: FindingsIndex, study: Study) -> None:
    first = reports(study)[0]
    index.add([read_document(first), read_document(renewed(first, "1.2.3.77"))])
    assert {one.report for one in listed(index)} == {"1.2.3.77"}
    assert len(listed(index)) == len(walked(first))


def test_what_others_wrote_is_not_in_it(index: FindingsIndex, study: Study) -> None:
    index.add(read_document(file) for file in study.others.values())
    assert listed(index) == []
    assert segmentations(index) == []
    assert studies(index) == []


def test_findings_that_name_a_segment_explain_it(index: FindingsIndex) -> None:
    about = (
        factories.finding("L3", message="Liver and Spleen are exchanged", structure_keys=(factories.LIVER.key,)),
        factories.finding("X4", message="Pancreas is shifted", structure_keys=(factories.SPLEEN.key,)),
        factories.finding("X4", message="Spleen is shifted", structure_keys=(factories.SPLEEN.key,)),
    )
    liver, spleen = factories.LIVER, factories.SPLEEN
    segments = tuple(
        replaced(factories.segment(number, label, code, checks=checks), about)
        for number, label, code, checks in (
            (1, "Liver", liver, (factories.warned(), factories.failed())),
            (2, "Spleen", spleen, ()),
        )
    )
    report = factories.case(factories.segmentation(1, segments, about))
    index.add([read_document(build_documents(report, rule_titles=factories.TITLES)[0].file)])
    by_label = {one.label: one for one in listed(index)}
    assert by_label["Liver"].reason == "3 components, largest 61 %; Liver and Spleen are exchanged; median 300 HU"
    assert by_label["Liver"].rules == ("T1", "L3", "H1")
    assert by_label["Spleen"].reason == "Pancreas is shifted; Spleen is shifted"
    (whole,) = segmentations(index)
    assert whole.reason == "Liver and Spleen are exchanged; Pancreas is shifted; Spleen is shifted"


def replaced(segment: SegmentReport, findings: tuple[Finding, ...]) -> SegmentReport:
    named = tuple(one for one in findings if segment.structure_key in one.structure_keys)
    return replace(segment, findings=named, verdict=verdict_of((*segment.checks, *named)))


def test_notes_are_no_complaints(index: FindingsIndex) -> None:
    note = factories.warned("F1", "cut off by the end of the scan")
    note = replace(note, severity=Severity.INFO)
    about = (
        factories.finding("K1", message="unusual category", severity=Severity.INFO, outcome=Outcome.WARNING),
        factories.finding("S2", message="13 thoracic vertebrae", severity=Severity.WARNING, outcome=Outcome.WARNING),
    )
    segments = (
        factories.segment(1, "Liver: part", checks=(note, factories.warned())),
        factories.segment(2, "Liver (left)", checks=(note,)),
        factories.segment(3, "Liver (right)", checks=(note, factories.warned("H2", ""), factories.failed())),
    )
    report = factories.case(factories.segmentation(1, segments, about))
    index.add([read_document(build_documents(report, rule_titles=factories.TITLES)[0].file)])
    assert {one.place.segment: one.rules for one in listed(index)} == {1: ("H1",), 2: (), 3: ("T1", "H2")}
    assert [one.place.segment for one in listed(index, rule="F1")] == []
    assert [one.place.segment for one in listed(index, rule="H1")] == [1]
    (whole,) = segmentations(index)
    assert whole.reason == "13 thoracic vertebrae"


def test_a_cut_summary_changes_nothing(index: FindingsIndex) -> None:
    note = replace(factories.warned("F1", "cut off"), severity=Severity.INFO)
    segments = tuple(factories.segment(number, checks=(factories.warned(), note)) for number in range(1, 61))
    report = factories.case(factories.segmentation(1, segments))
    index.add([read_document(build_documents(report, rule_titles={})[0].file)])
    assert {one.rules for one in listed(index)} == {("H1",)}


def test_long_reasons_are_cut(index: FindingsIndex) -> None:
    checks = tuple(factories.failed(f"T{number}", f"{number} " + "words " * 20) for number in range(1, 9))
    report = factories.case(factories.segmentation(1, (factories.segment(1, checks=checks),)))
    index.add([read_document(build_documents(report, rule_titles={})[0].file)])
    (one,) = listed(index)
    assert len(one.reason) <= 300
    assert one.reason.endswith("...")
    assert len(one.rules) == 8


def test_summaries_count_and_explain(
    indexed: FindingsIndex, study: Study, expected: dict[SegmentRef, tuple[str, float, list[str]]]
) -> None:
    found = segmentations(indexed)
    assert {one.segmentation for one in found} == {place.segmentation for place in expected}
    for one in found:
        counts = Counter(said[0] for place, said in expected.items() if place.segmentation == one.segmentation)
        assert one.counts == counts
        assert bool(one.reason) == (one.verdict != "usable")
        assert len(one.date) == 8
    assert [RANKS[one.verdict] for one in found] == sorted(RANKS[one.verdict] for one in found)
    (whole,) = studies(indexed)
    assert whole.study == str(study.seg.StudyInstanceUID)
    assert whole.counts == Counter(said[0] for said in expected.values())
    assert (whole.segmentations, whole.verdict, whole.reason) == (tuple(found), found[0].verdict, found[0].reason)
    assert segmentations(indexed, WorklistFilters(model="model a")) == [o for o in found if o.model == "Model A 1.0"]
    assert segmentations(indexed, WorklistFilters(verdict="none")) == []


def test_segmentations_are_called_what_they_call_themselves(index: FindingsIndex, study: Study) -> None:
    first = reports(study)[0]
    index.add([read_document(first)])
    seg = next(iter(walked(first))).segmentation
    index.name_segmentations([SegmentationName(seg, "", "Maker", "Net", "1.5")])
    assert {one.model for one in listed(index)} == {"Net"}
    (summary,) = segmentations(index)
    assert (summary.model, summary.version) == ("Net", "1.5")
    assert listed(index, model="model a") == []
