"""Header, identity, and what all kinds have in common."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from segqa_dicom import __version__
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.reading.scan import Kind as ScanKind
from segqa_dicom.reading.scan import read_header
from segqa_dicom.sr import Kind, Predecessor, build_documents, codes, file_name, is_own_sr, write

from .factories import (
    CT_SERIES,
    PATIENT,
    STUDY,
    TITLES,
    case,
    comparison,
    ct_record,
    failed,
    finding,
    rich_case,
    seg_record,
    segment,
    segmentation,
)
from .reading import children, evidence, groups, name, texts, walk, written


def build(report, **values):
    return build_documents(report, **{"rule_titles": TITLES, **values})


def test_the_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    for n in (1, 2):
        (tmp_path / str(n)).mkdir()
        for document in build(rich_case()):
            write(document, tmp_path / str(n) / file_name(document))
    first = {path.name: path.read_bytes() for path in (tmp_path / "1").iterdir()}
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "2").iterdir()}
    assert sorted(name.partition("_")[0] for name in first) == ["compare", "keyimg", "keyimg", "report", "report"]


def test_every_kind_has_its_own_series_and_number() -> None:
    documents = build(rich_case())
    assert len({d.dataset.SeriesInstanceUID for d in documents}) == len(documents)
    assert [(d.kind, int(d.dataset.SeriesNumber)) for d in documents] == [
        (Kind.REPORT, 9001),
        (Kind.REPORT, 9011),
        (Kind.COMPARE, 9013),
        (Kind.KEYIMG, 9002),
        (Kind.KEYIMG, 9012),
    ]
    assert {int(d.dataset.InstanceNumber) for d in documents} == {1}


def test_patient_and_study_are_those_of_the_ct_to_the_letter(tmp_path: Path) -> None:
    for document in build(rich_case()):
        dataset = written(document, tmp_path)
        assert dataset.SpecificCharacterSet == "ISO_IR 192"
        assert {keyword: str(dataset[keyword].value) for keyword, _ in PATIENT} == dict(PATIENT)
        assert dataset.StudyInstanceUID == STUDY


def test_missing_and_impossible_patient_attributes_do_not_matter(tmp_path: Path) -> None:
    odd = (
        ("PatientSex", "X"),
        ("PatientBirthDate", "195o"),
        ("PatientWeight", "n/a"),
        ("StudyDate", "2024.03.05"),
        ("OtherPatientIDs", "a\\b"),
        ("NoSuchKeyword", "x"),
        ("ReferencedStudySequence", "x"),
        ("Modality", "CT"),
        ("StudyInstanceUID", "9.9"),
    )
    (document,) = build(case(segmentation(content_date=""), ct=ct_record(patient=odd)))
    dataset = written(document, tmp_path)
    assert (dataset.PatientSex, dataset.PatientBirthDate, dataset.PatientName) == ("X", "195o", "")
    assert list(dataset.OtherPatientIDs) == ["a", "b"]
    assert (dataset.Modality, dataset.StudyInstanceUID) == ("SR", STUDY)
    assert "PatientWeight" not in dataset
    assert (dataset.ContentDate, dataset.ContentTime) == ("19000101", "000000")
    for keyword in ("AccessionNumber", "StudyID", "StudyTime", "ReferringPhysicianName", "PatientID"):
        assert keyword in dataset


@pytest.mark.parametrize(
    ("stamps", "expected"),
    [
        ([("20240401", "120000"), ("20240401", "1300")], ("20240401", "130000")),
        ([("20230401", "235959"), ("20240401", "")], ("20240401", "000000")),
        ([("20240230", "120000"), ("", "")], ("20240305", "000000")),
        ([("20240401", "99"), ("2024", "12")], ("20240401", "000000")),
    ],
)
def test_dates_come_from_the_segs_else_from_the_study(stamps, expected) -> None:
    segs = [segmentation(n, content_date=d, content_time=t) for n, (d, t) in enumerate(stamps, 1)]
    (dataset,) = (d.dataset for d in build(case(*segs)) if d.kind is Kind.COMPARE)
    assert (dataset.ContentDate, dataset.ContentTime) == expected
    assert (dataset.SeriesDate, dataset.SeriesTime) == expected
    assert (dataset.InstanceCreationDate, dataset.InstanceCreationTime) == expected


def test_evidence_is_the_ct_first_and_has_everything_that_is_referenced() -> None:
    for enhanced in (False, True):
        for document in build(rich_case(ct=ct_record(enhanced=enhanced))):
            listed = evidence(document.dataset)
            assert listed[0].startswith(CT_SERIES)
            assert set(document.references) < set(listed)
            assert len(listed) == len(set(listed))
            used = {
                str(ref.ReferencedSOPInstanceUID)
                for item in walk(document.dataset)
                for ref in item.get("ReferencedSOPSequence", ())
            }
            assert used <= set(listed)
            assert set(document.references) <= used


def test_a_slice_that_is_missing_among_the_instances_is_evidence_all_the_same() -> None:
    (document,) = build(case(ct=replace(ct_record(), instances=())))
    assert len(evidence(document.dataset)) == 6 + 1


def test_a_seg_of_another_study_is_other_evidence() -> None:
    (document,) = build(case(segmentation(study_instance_uid="1.2.3")))
    assert len(document.dataset.PertinentOtherEvidenceSequence) == 1
    assert document.dataset.StudyInstanceUID == STUDY


def test_identity_follows_what_decides_the_content() -> None:
    def uids(report, **values):
        return {(d.kind, d.references): d.sop_instance_uid for d in build(report, **values)}

    base = uids(rich_case())
    assert uids(rich_case()) == base
    assert uids(rich_case(), compare="pairs") == base
    changed = [
        uids(rich_case(ruleset=replace(rich_case().ruleset, hash="other"))),
        uids(rich_case(ct=ct_record(7))),
        uids(case(*(replace(s, record=replace(s.record, file_digest="f")) for s in rich_case().segmentations))),
        uids(rich_case(), max_groups=3),
    ]
    for other in changed:
        assert not set(base.values()) & set(other.values())
    titled = uids(rich_case(), title=codes.IMAGING_MEASUREMENT_REPORT)
    assert {kind for kind, _ in base if kind is not Kind.KEYIMG} == {key[0] for key in base if base[key] != titled[key]}
    key = (Kind.REPORT, (seg_record(1).sop_instance_uid,))
    replaced = uids(rich_case(), predecessors={key: Predecessor(base[key], "1.2")})
    assert [k for k in base if base[k] != replaced[k]] == [key]


def test_a_revision_names_the_document_that_it_replaces() -> None:
    key = (Kind.REPORT, (seg_record(1).sop_instance_uid,))
    (document,) = build(case(), predecessors={key: Predecessor("1.2.3", "1.2")})
    (study,) = document.dataset.PredecessorDocumentsSequence
    assert study.StudyInstanceUID == STUDY
    assert study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.3"
    assert "PredecessorDocumentsSequence" not in build(case())[0].dataset


def test_all_containers_are_separate_and_all_content_is_ascii_and_not_too_long() -> None:
    for document in build(rich_case()):
        for item in walk(document.dataset):
            if item.ValueType == "CONTAINER":
                assert item.ContinuityOfContent == "SEPARATE"
            for concept in (*item.ConceptNameCodeSequence, *item.get("ConceptCodeSequence", ())):
                assert concept.CodeMeaning.isascii()
                assert len(concept.CodeMeaning) <= 64
                assert len(concept.CodeValue) <= 16
            assert str(item.get("TextValue", "x")).isascii()
            assert item.get("TextValue", "x")


def test_header_says_what_the_document_is() -> None:
    for document in build(rich_case()):
        dataset = document.dataset
        assert dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.88.33"
        assert (dataset.CompletionFlag, dataset.VerificationFlag, dataset.PreliminaryFlag) == (
            "COMPLETE",
            "UNVERIFIED",
            "PRELIMINARY",
        )
        assert dataset.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99SEGQA"
        assert dataset.ContentTemplateSequence[0].TemplateIdentifier == "1500"
        assert not [item for item in walk(dataset) if name(item) == "121016.DCM"]
        assert "TimezoneOffsetFromUTC" not in dataset
        expected = "126000" if document.kind is Kind.KEYIMG else "QAREPORT"
        assert dataset.ConceptNameCodeSequence[0].CodeValue == expected


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("TotalSegmentator 2.1", "Report: 1 FAIL TotalSegmentator 2.1"),
        ("", "Report: 1 FAIL SEG ..01.2.1.1"),
        ("\u00c4" * 60, "Report: 1 FAIL AeAeAeAe"),
    ],
)
def test_series_description_begins_with_kind_and_outcome(description: str, expected: str) -> None:
    segs = segmentation(
        1, (segment(1, checks=(failed(),)), segment(2)), series_description=description, sop_instance_uid="9.001.2.1.1"
    )
    found = build(case(segs))[0].dataset.SeriesDescription
    assert len(found) <= 64
    if len(description) < 60:
        assert found == expected
    else:
        assert found.startswith(expected)
        assert "..." in found


def test_tracking_uids_are_unique_in_every_document() -> None:
    for document in build(rich_case()):
        uids = [str(children(group, "112040.DCM")[0].UID) for group in groups(document.dataset)]
        assert len(uids) == len(set(uids)) > 0


def test_reports_and_comparisons_can_have_the_title_of_the_template() -> None:
    for document in build(rich_case(), title=codes.TITLES["126000"]):
        assert document.dataset.ConceptNameCodeSequence[0].CodeValue == "126000"


def test_the_file_names_who_wrote_it() -> None:
    for document in build(rich_case()):
        meta = document.dataset.file_meta
        assert meta.ImplementationVersionName == f"SEGQA_{__version__}"
        assert meta.ImplementationClassUID.startswith("2.25.")
        assert meta.MediaStorageSOPInstanceUID == document.dataset.SOPInstanceUID == document.sop_instance_uid
        assert "ContributingEquipmentSequence" not in document.dataset


def test_own_documents_are_recognised(tmp_path: Path) -> None:
    for document in build(rich_case()):
        assert is_own_sr(written(document, tmp_path))
        path = tmp_path / f"{document.sop_instance_uid}.dcm"
        assert read_header(path, Limits()).kind is ScanKind.OWN
        assert is_own_sr(dcmread(path, specific_tags=["Modality", "Manufacturer", "ManufacturerModelName"]))
    other = Dataset()
    assert not is_own_sr(other)
    other.Modality, other.Manufacturer, other.ManufacturerModelName = "SR", "SEGQA project", "something else"
    assert not is_own_sr(other)
    other.Modality, other.ManufacturerModelName = "CT", "segqa"
    assert not is_own_sr(other)


def test_a_file_is_there_as_a_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (document,) = build(case())
    target = tmp_path / file_name(document)
    assert target.name == f"report_{document.sop_instance_uid}.dcm"
    write(document, target)
    before = target.read_bytes()

    def broken(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:100])
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", broken)
    with pytest.raises(OSError, match="disk full"):
        write(document, target)
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]


def test_a_seg_without_segments_is_reported_without_measurements() -> None:
    (document,) = build(case(segmentation(1, (), (finding(),))))
    assert not groups(document.dataset)
    assert "1 finding" in texts(document.dataset, "55112-7.LN")[0]


def test_nothing_that_is_not_finite_is_written() -> None:
    nan = float("nan")
    one = segment(1, checks=(failed(at=(nan, 0.0, 0.0)),), risk=nan)
    report = case(segmentation(1, (one,)), segmentation(2))
    pairs = (replace(report.comparisons[0], segments=(replace(comparison(1, 1, "x"), hd_mm=nan),)),)
    documents = build(replace(report, comparisons=pairs))
    assert [d.kind for d in documents] == [Kind.REPORT, Kind.REPORT]
    numbers = [item for item in walk(documents[0].dataset) if item.ValueType == "NUM"]
    assert {name(item) for item in numbers} <= {"CHKVALUE.99SEGQA", "CHKLIMIT.99SEGQA"}
    assert all(math.isfinite(item.MeasuredValueSequence[0].NumericValue) for item in numbers)
