"""The outcomes in documents, in the index and over DICOMweb are those of review.json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from segqa_dicom.checks import default_ruleset
from segqa_dicom.checks.finding import Check, Finding, Outcome, Severity, is_failed
from segqa_dicom.checks.registry import Unit, rule_titles
from segqa_dicom.dicom.dicom_json import metadata
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.findings import FindingsIndex, read_document
from segqa_dicom.findings.filters import parsed_filters
from segqa_dicom.findings.listing import find
from segqa_dicom.findings.schema import FILE_NAME
from segqa_dicom.findings.segments import WorklistFilters
from segqa_dicom.findings.worklist import machine_segments, segmentations
from segqa_dicom.phantoms import errors
from segqa_dicom.phantoms.demo import demo_study
from segqa_dicom.pipeline import review
from segqa_dicom.report.json import case_json
from segqa_dicom.report.model import CaseReport
from segqa_dicom.sr import Document, Kind, build_documents, read_earlier
from segqa_dicom.sr.ascii import ascii_text, clipped
from tests.checks import torso_scenes
from tests.findings import byhand
from tests.reviews.machine_cases import reviewed_case
from tests.shared import shared
from tests.sr import factories

CODES = {"pass": "PASS", "warning": "WARN", "fail": "FAIL", "not_run": "NOTRUN"}
ALL = 1_000_000

Stated = tuple[str, int, str, str, str, float | None, float | None, tuple[float, ...] | None]


def of_json(report: CaseReport) -> Counter[Stated]:
    """(SEG, segment, rule, outcome, severity, value, limit, location) of all that review.json states."""
    case = case_json(report, [])
    uids = {part["sop_instance_uid"] for part in case["segmentations"]}
    found: Counter[Stated] = Counter()
    for part in case["segmentations"]:
        uid = part["sop_instance_uid"]
        about = [one for one in case["findings"] if uid in (named := uids & {*one["sop_instance_uids"]}) or not named]
        findings = [*part["findings"], *about]
        found.update(_stated(uid, 0, one) for one in findings)
        for segment in part["segments"]:
            found.update(_stated(uid, segment["segment_number"], one) for one in segment["checks"])
            found.update(
                _stated(uid, segment["segment_number"], one)
                for one in findings
                if uid in one["sop_instance_uids"]
                and segment["structure"]["key"] in one["structure_keys"]
                and is_failed(Outcome(one["outcome"]), Severity(one["severity"]))
            )
    return found


def _stated(uid: str, segment: int, one: dict[str, Any]) -> Stated:
    outcome = CODES[one["outcome"]]
    if outcome == "PASS":  # stands bare in documents
        return uid, segment, one["rule"], outcome, one["severity"], None, None, None
    location = one["location_mm"] and tuple(one["location_mm"])
    return uid, segment, one["rule"], outcome, one["severity"], one["value"], one["limit"], location


def of_index(index: FindingsIndex) -> Counter[Stated]:
    rows = find(index, parsed_filters([("kind", "check")]), limit=ALL).rows
    return Counter(
        (r.seg, r.segment_number, r.rule, r.outcome, r.severity, r.value, r.limit, r.location_mm) for r in rows
    )


def of_files(files: list[bytes]) -> Counter[Stated]:
    """Read with pydicom alone."""
    found: Counter[Stated] = Counter()
    for file in files:
        (seg,) = {
            str(one.ReferencedSOPInstanceUID)
            for study in dcmread(BytesIO(file)).CurrentRequestedProcedureEvidenceSequence
            for series in study.ReferencedSeriesSequence
            for one in series.ReferencedSOPSequence
            if one.ReferencedSOPClassUID in (factories.SEG_STORAGE, "1.2.840.10008.5.1.4.1.1.66.7")
        }
        for one in byhand.outcomes(file):
            found[seg, one.segment, one.rule, one.outcome, one.severity, one.value, one.limit, one.location_mm] += 1
    return found


def over_dicomweb(document: Document, folder: Path) -> bytes:
    """The file that a client makes of the metadata of a document."""
    path = folder / "served.dcm"
    path.write_bytes(document.file)
    answer = metadata(path, "http://127.0.0.1/bulk", Limits())
    dataset = Dataset.from_json(answer)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def indexed_documents(documents: list[Document], folder: Path) -> FindingsIndex:
    folder.mkdir(exist_ok=True)
    index = FindingsIndex(folder / FILE_NAME)
    index.add(read_document(one.file) for one in documents)
    return index


@pytest.mark.parametrize(
    "name",
    [
        "phantom",
        *(pytest.param(f"case_{one}", marks=pytest.mark.shared, id=f"case_{one}") for one in "AB"),
    ],
)
def test_documents_and_index_state_what_the_json_states(name: str, tmp_path: Path) -> None:
    if name == "phantom":
        demo_study(tmp_path / "dicom", (64, 80, 96))
    one = reviewed_case(
        tmp_path / "dicom" if name == "phantom" else shared("data", name), tmp_path / "archive", is_stored=False
    )
    expected = of_json(one.report)
    assert {outcome for _, _, _, outcome, *_ in expected} >= {"PASS", "WARN", "NOTRUN"}
    reports = [document for document in one.documents if document.kind is Kind.REPORT]
    assert of_files([document.file for document in reports]) == expected
    assert of_index(one.index) == expected
    served = of_files([over_dicomweb(reports[0], tmp_path)])
    assert served == of_files([reports[0].file])
    severities = Counter(severity for _, _, _, _, severity, *_ in expected.elements())
    for severity, count in severities.items():
        assert find(one.index, parsed_filters([("severity", severity)]), limit=0).total == count
    messages = {clipped(ascii_text(check.message)) for check in checks_of(one.report)}
    rows = find(one.index, parsed_filters([("kind", "check")]), limit=ALL).rows
    assert {row.detail for row in rows} - {""} <= messages
    assert all(row.detail for row in rows if is_failed_row(row.outcome, row.severity))
    one.archive.close()


def is_failed_row(outcome: str, severity: str) -> bool:
    return outcome in ("WARN", "FAIL") and severity != "info"


def checks_of(report: CaseReport) -> Iterator[Check | Finding]:
    yield from report.findings
    for part in report.segmentations:
        yield from part.findings
        for segment in part.segments:
            yield from segment.checks


@pytest.mark.shared
def test_notes_of_a_real_case_are_no_warnings(tmp_path: Path) -> None:
    one = reviewed_case(shared("data", "case_A"), tmp_path / "archive", is_stored=False)
    rows = find(one.index, parsed_filters([("severity", "warning")]), limit=ALL).rows
    assert not [row for row in rows if row.rule == "F1"]
    assert len(rows) == sum(count for key, count in of_json(one.report).items() if key[4] == "warning")
    one.archive.close()


# ------------------------------------------------------------------------------------------------- injected errors


def _levels(labels: Any) -> Any:
    return errors.shift_levels(labels, torso_scenes.spine(), 1)


def _middle(labels: Any, value: int) -> int:
    slices = (labels == value).any(axis=(1, 2)).nonzero()[0]
    return int(slices[len(slices) // 2]) if len(slices) else 0


T9, RIB, SACRUM = torso_scenes.value("T9"), torso_scenes.value("left 9"), torso_scenes.value("sacrum")
INJECTED: dict[str, Callable[[Any], Any]] = {
    "level shift": _levels,
    "ribs shifted": lambda labels: errors.shift_levels(labels, torso_scenes.ribs("left"), 1),
    "swapped sides": lambda labels: errors.swap(labels, RIB, torso_scenes.value("right 9")),
    "island": lambda labels: errors.add_island(labels, T9, (2, 2, 2), (2, 3, 3)),
    "hollow": lambda labels: errors.hollow(labels, SACRUM),
    "removed": lambda labels: errors.remove(labels, T9),
    "piece": lambda labels: errors.take_piece(labels, T9, torso_scenes.value("T10")),
    "dilated": lambda labels: errors.dilate(labels, SACRUM, 3),
    "dropped slice": lambda labels: errors.drop_slice(labels, SACRUM, _middle(labels, SACRUM)),
}


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(sorted(INJECTED)), min_size=1, max_size=3, unique=True))
def test_injected_errors_are_stated_alike(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    labels = torso_scenes.truth()
    for name in names:
        labels = INJECTED[name](labels)
    report = review(torso_scenes.models(labels, torso_scenes.truth()), default_ruleset())
    documents = build_documents(report, rule_titles=rule_titles())
    index = indexed_documents(documents, tmp_path_factory.mktemp("injected"))
    expected = of_json(report)
    assert any(is_failed_row(outcome, severity) for _, _, _, outcome, severity, *_ in expected)
    assert of_index(index) == expected


NUMBERS = st.none() | st.floats(-1e6, 1e6) | st.floats(-1e15, 1e15) | st.sampled_from([0.0, 1 / 3, 123456.123456789])
POINTS = st.none() | st.tuples(*[st.floats(-5000, 5000)] * 3)
STATED = {
    "outcome": st.sampled_from(Outcome),
    "severity": st.sampled_from(Severity),
    "message": st.sampled_from(["", "told", "told twice"]),
    "value": NUMBERS,
    "limit": NUMBERS,
    "location_mm": POINTS,
    "unit": st.sampled_from(Unit),
}
KEYS = st.lists(st.sampled_from([factories.LIVER.key, factories.SPLEEN.key]), max_size=2, unique=True).map(tuple)
CHECKS = st.lists(st.builds(Check, st.sampled_from(["T1", "H1"]), **STATED), max_size=4)
FINDINGS = st.lists(st.builds(Finding, st.sampled_from(["L3", "X4"]), **STATED, structure_keys=KEYS), max_size=4)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(CHECKS, CHECKS, FINDINGS)
def test_any_outcomes_are_stated_alike(
    tmp_path_factory: pytest.TempPathFactory, first: list[Check], second: list[Check], found: list[Finding]
) -> None:
    made = factories.segmentation(1, ())
    # The severity of a rule that is kept, or was not run, is always info.
    plain = [one if one.outcome.is_violation else replace(one, severity=Severity.INFO) for one in (*first, *second)]
    uid = made.record.sop_instance_uid
    findings = tuple(
        replace(one, sop_instance_uids=(uid,))
        if one.outcome.is_violation
        else replace(one, sop_instance_uids=(uid,), severity=Severity.INFO)
        for one in found
    )
    segments = tuple(
        replace(
            factories.segment(number, label, codes, checks=tuple(checks)),
            findings=tuple(one for one in findings if one.is_failed and codes.key in one.structure_keys),
        )
        for number, label, codes, checks in (
            (1, "Liver", factories.LIVER, plain[: len(first)]),
            (2, "Spleen", factories.SPLEEN, plain[len(first) :]),
        )
    )
    report = factories.case(replace(made, segments=segments, findings=findings))
    documents = build_documents(report, rule_titles=factories.TITLES, compare="none")
    assert of_index(indexed_documents(documents, tmp_path_factory.mktemp("any"))) == of_json(report)


# --------------------------------------------------------------------------------------- Series Description rewritten


def rewritten(document: Document) -> bytes:
    dataset = dcmread(BytesIO(document.file))
    dataset.SeriesDescription = "ANONYMIZED"
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_nothing_depends_on_the_series_description(tmp_path: Path) -> None:
    demo_study(tmp_path / "dicom", (64, 80, 96))
    one = reviewed_case(tmp_path / "dicom", tmp_path / "archive", is_stored=False)
    assert {document.kind for document in one.documents} == {Kind.REPORT, Kind.COMPARE, Kind.KEYIMG}
    files = [rewritten(document) for document in one.documents]
    assert [read_document(file).kind for file in files] == [document.kind.value for document in one.documents]
    assert [read_earlier(file) for file in files] == [read_earlier(document.file) for document in one.documents]
    (tmp_path / "other").mkdir()
    other = FindingsIndex(tmp_path / "other" / FILE_NAME)
    other.add(map(read_document, files))
    everything = WorklistFilters()
    assert machine_segments(other, everything, limit=ALL) == machine_segments(one.index, everything, limit=ALL)
    assert segmentations(other) == segmentations(one.index)
    assert find(other, parsed_filters([]), limit=ALL) == find(one.index, parsed_filters([]), limit=ALL)
    one.archive.close()
