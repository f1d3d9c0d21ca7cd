"""The documents: what stands in them, and that every validator and reader takes them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import highdicom as hd
import pydicom
import pytest
from pydicom import Dataset

from segqa_dicom import sr
from segqa_dicom.model import Code
from segqa_dicom.reading.case import read_case
from segqa_dicom.reading.grouping import group
from segqa_dicom.reading.limits import Limits
from segqa_dicom.reading.scan import Kind as ScanKind
from segqa_dicom.reading.scan import read_header, scan
from segqa_dicom.sr.codes import TITLES
from tests.shared import shared
from tests.sr.factories import case, comparison, failed, rich_case, seg_record, segment, segmentation
from tests.validators import dciodvfy_errors, dsrdump, pixelmed_errors, tid1500_groups

TITLES_OF_RULES = {
    "F1": "Reaches first or last CT slice",
    "T1": "Number of separate parts",
    "H1": "Attenuation",
    "L3": "Flipped",
}
NUMS_OF_REPORT = [
    "Volume", "Number of voxels", "Number of connected components", "Largest component share", "Mean",
    "Standard deviation of attenuation", "Median", "Minimum grey level", "Maximum grey level", "Risk score",
    "Number of failed checks",
]  # fmt: skip
NUMS_OF_COMPARE = [
    "Dice Similarity Coefficient", "Jaccard Index", "Surface Dice Similarity Coefficient", "Hausdorff Distance",
    "Hausdorff Distance 95th percentile", "Average Symmetric Surface Distance", "Relative Volume Difference",
]  # fmt: skip


def build(report: Any = None, **options: Any) -> list[sr.Document]:
    return sr.build_documents(report or rich_case(), rule_titles=TITLES_OF_RULES, **options)


def of_kind(documents: list[sr.Document], kind: str) -> list[sr.Document]:
    return [document for document in documents if document.kind == kind]


def children(item: Dataset, value: str) -> list[Dataset]:
    return [one for one in item.get("ContentSequence", ()) if one.ConceptNameCodeSequence[0].CodeValue == value]


def groups(dataset: Dataset) -> list[Dataset]:
    (measurements,) = children(dataset, "126010")
    return children(measurements, "125007")


def nums(item: Dataset) -> list[Dataset]:
    return [one for one in item.ContentSequence if one.ValueType == "NUM"]


def meaning(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeMeaning)


def everything(item: Dataset) -> list[Dataset]:
    return [item, *(inner for one in item.get("ContentSequence", ()) for inner in everything(one))]


def write_all(documents: list[sr.Document], folder: Path) -> list[Path]:
    paths = [folder / sr.file_name(document) for document in documents]
    for document, path in zip(documents, paths, strict=True):
        sr.write(document, path)
    return paths


def twin(document: sr.Document, folder: Path) -> Path:
    """The document titled 126000 and cut to five groups: what PixelMed can check."""
    dataset = copy.deepcopy(document.dataset)
    dataset.ConceptNameCodeSequence[0].CodeValue = "126000"
    dataset.ConceptNameCodeSequence[0].CodingSchemeDesignator = "DCM"
    dataset.ConceptNameCodeSequence[0].CodeMeaning = "Imaging Measurement Report"
    (measurements,) = children(dataset, "126010")
    keep = groups(dataset)[:5]
    measurements.ContentSequence = [
        one for one in measurements.ContentSequence if one not in groups(dataset) or any(one is part for part in keep)
    ]
    path = folder / f"twin_{sr.file_name(document)}"
    dataset.save_as(path, enforce_file_format=True)
    return path


# Validators


@pytest.mark.servers
@pytest.mark.parametrize("enhanced", [False, True], ids=["single-frame CT", "Enhanced CT"])
def test_every_kind_passes_every_validator(tmp_path: Path, enhanced: bool) -> None:
    documents = build(rich_case() if not enhanced else case(*rich_case().segmentations, enhanced=True))
    assert {document.kind for document in documents} == {"report", "compare", "keyimg"}
    _valid(documents, tmp_path)


def _valid(documents: list[sr.Document], folder: Path) -> None:
    for document, path in zip(documents, write_all(documents, folder), strict=True):
        assert dciodvfy_errors(path) == []
        assert dsrdump(path)
        read = tid1500_groups(path, folder / "groups.json")
        written = groups(document.dataset)
        assert [len(one.get("measurementItems", [])) for one in read] == [len(nums(one)) for one in written]
        content = hd.sr.srread(path).content
        found = (
            content.get_volumetric_roi_measurement_groups()
            if document.kind == "report"
            else content.get_image_measurement_groups()
        )
        assert len(found) == len(written)
    first_of_each = {document.kind: document for document in reversed(documents)}
    twins = [twin(document, folder) for document in first_of_each.values()]
    errors = pixelmed_errors(twins)
    assert errors == {str(path): [] for path in twins}


@pytest.mark.servers
@pytest.mark.shared
def test_all_documents_of_a_real_case_are_valid(tmp_path: Path) -> None:
    from segqa_dicom.checks import default_ruleset, rule_titles
    from segqa_dicom.pipeline import review

    headers, _ = scan([shared("data", "case_B")], Limits())
    (files,), _ = group(headers, Limits())
    found, _ = read_case(files, Limits())
    assert found is not None
    documents = sr.build_documents(review(found, default_ruleset()), rule_titles=rule_titles())
    assert {document.kind for document in documents} == {"report", "compare", "keyimg"}
    _valid(documents, tmp_path)


def test_two_builds_are_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = (write_all(build(), tmp_path / name) for name in "ab")
    assert [path.name for path in one] == [path.name for path in other]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(one, other, strict=True))


# Report


def test_every_group_has_the_numbers_in_the_same_order() -> None:
    (first, _) = of_kind(build(), "report")
    rows = [[meaning(one) for one in nums(part)] for part in groups(first.dataset)]
    assert rows == [NUMS_OF_REPORT] * 5 + [[]]


def test_the_empty_segment_stands_last_without_numbers() -> None:
    (first, _) = of_kind(build(), "report")
    references = [children(part, "121191")[0].ReferencedSOPSequence[0] for part in groups(first.dataset)]
    assert [int(reference.ReferencedSegmentNumber) for reference in references] == [1, 2, 4, 5, 9, 3]


def test_without_hu_the_five_items_are_left_out_everywhere() -> None:
    documents = build(rich_case(hu_defined=False))
    (first, _) = of_kind(documents, "report")
    assert [meaning(one) for one in nums(groups(first.dataset)[0])] == NUMS_OF_REPORT[:4] + NUMS_OF_REPORT[9:]


def test_counts_are_written_as_whole_numbers() -> None:
    (first, _) = of_kind(build(), "report")
    values = {meaning(one): one.MeasuredValueSequence[0] for one in nums(groups(first.dataset)[0])}
    assert str(values["Number of voxels"].NumericValue) == "107098"
    assert str(values["Number of failed checks"].NumericValue) == "2"
    assert float(values["Mean"].NumericValue) == pytest.approx(45.123457)
    assert all(len(str(value.NumericValue)) <= 16 for value in values.values())


def test_the_summary_says_first_what_is_wrong() -> None:
    (first, _) = of_kind(build(), "report")
    lines = [str(one.TextValue) for one in children(first.dataset, "55112-7")]
    assert "2 of 6 structures failed" in lines[0]
    assert any("Liver" in line and "3 components, largest 61 %" in line for line in lines)
    assert lines.index(next(line for line in lines if "Liver" in line)) < lines.index(
        next(line for line in lines if "segment 2" in line)
    )


def test_a_long_list_of_failures_is_cut_and_counted() -> None:
    many = tuple(segment(n, f"part {n}", checks=(failed(),), risk=1.0) for n in range(1, 61))
    (report,) = of_kind(build(case(segmentation(1, many))), "report")
    lines = [str(one.TextValue) for one in children(report.dataset, "55112-7")]
    assert "and 20 more" in lines


def test_more_segments_than_a_document_can_hold_are_counted() -> None:
    many = tuple(segment(n, f"part {n}", checks=(failed(),) if n == 50 else ()) for n in range(1, 61))
    (report,) = of_kind(build(case(segmentation(1, many)), max_groups=10), "report")
    assert len(groups(report.dataset)) == 10
    references = [children(part, "121191")[0].ReferencedSOPSequence[0] for part in groups(report.dataset)]
    assert 50 in [int(reference.ReferencedSegmentNumber) for reference in references]
    assert any("50 structures" in str(one.TextValue) for one in children(report.dataset, "55112-7"))


def test_containers_are_separate_everywhere() -> None:
    for document in build():
        containers = [one for one in everything(document.dataset) if one.get("ValueType") == "CONTAINER"]
        assert {one.ContinuityOfContent for one in containers} == {"SEPARATE"}


def test_laterality_stands_in_the_finding_site_and_in_words() -> None:
    (first, _) = of_kind(build(), "report")
    (right,) = [part for part in groups(first.dataset) if "right" in str(children(part, "112039")[0].TextValue).lower()]
    (laterality,) = children(children(right, "363698007")[0], "272741003")
    assert laterality.ConceptCodeSequence[0].CodeValue == "24028007"


def test_tracking_uids_are_unique_within_a_document_and_kept_from_the_seg() -> None:
    for document in build():
        uids = [str(children(part, "112040")[0].UID) for part in groups(document.dataset)]
        assert len(set(uids)) == len(uids)
    (first, _) = of_kind(build(), "report")
    assert "1.2.3.4.5" in [str(children(part, "112040")[0].UID) for part in groups(first.dataset)]


# Header


def test_patient_and_study_are_those_of_the_ct() -> None:
    for document in build():
        dataset = document.dataset
        assert str(dataset.PatientName) == "Mustermann-Müller^Jürgen^^Dr."
        assert dataset.PatientID == "0042"
        assert dataset.SpecificCharacterSet == "ISO_IR 192"
        assert dataset.StudyDate == "20240305"


def test_dates_are_those_of_the_newest_segmentation() -> None:
    documents = build()
    assert {(str(d.dataset.ContentDate), str(d.dataset.ContentTime)) for d in of_kind(documents, "compare")} == {
        ("20240401", "120002")
    }
    undated = case(segmentation(1, content_date="", content_time=""))
    assert str(build(undated)[0].dataset.ContentDate) == "20240305"


def test_evidence_has_every_image_and_the_segmentations() -> None:
    for document in build():
        found = {
            str(reference.ReferencedSOPInstanceUID)
            for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")
            for study in document.dataset.get(keyword, ())
            for series in study.ReferencedSeriesSequence
            for reference in series.ReferencedSOPSequence
        }
        assert set(document.references) <= found
        assert len(found) == 6 + len(document.references)


def test_the_series_says_the_outcome_and_has_one_instance() -> None:
    documents = build()
    assert str(of_kind(documents, "report")[0].dataset.SeriesDescription).startswith(
        "2 FAIL TotalSegmentator 2.1 SEGQA"
    )
    series = [str(document.dataset.SeriesInstanceUID) for document in documents]
    assert len(set(series)) == len(series)
    long = case(segmentation(1, series_description="x" * 64))
    assert all(len(str(document.dataset.SeriesDescription)) <= 64 for document in build(long))


def test_other_content_or_rules_give_other_uids() -> None:
    uids = {document.sop_instance_uid for document in build()}
    changed = rich_case()
    other = case(segmentation(1, changed.segmentations[0].segments, file_digest="f" * 64), changed.segmentations[1])
    assert uids.isdisjoint({document.sop_instance_uid for document in build(other)})


def test_a_new_revision_names_its_predecessor() -> None:
    (old, *_) = build()
    key = (old.kind, old.references)
    predecessor = sr.Predecessor(old.sop_instance_uid, str(old.dataset.SeriesInstanceUID))
    (new, *_) = build(predecessors={key: predecessor})
    assert new.sop_instance_uid != old.sop_instance_uid
    (study,) = new.dataset.PredecessorDocumentsSequence
    named = study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert named == old.sop_instance_uid


def test_the_title_can_be_126000() -> None:
    (report, *_) = of_kind(build(title=TITLES["126000"]), "report")
    assert report.dataset.ConceptNameCodeSequence[0].CodeValue == "126000"
    (plain, *_) = of_kind(build(), "report")
    assert plain.dataset.ConceptNameCodeSequence[0].CodeValue == "QAREPORT"
    assert plain.sop_instance_uid != report.sop_instance_uid


def test_machine_text_is_ascii_and_codes_have_their_lengths() -> None:
    for document in build():
        for item in everything(document.dataset):
            if item.get("ValueType") == "TEXT":
                assert str(item.TextValue).isascii()
            for name in item.get("ConceptNameCodeSequence", ()):
                assert len(str(name.CodeValue)) <= 16
                assert len(str(name.CodeMeaning)) <= 64


def test_our_documents_are_recognised(tmp_path: Path) -> None:
    for path in write_all(build(), tmp_path):
        assert sr.is_own_sr(pydicom.dcmread(path))
        assert read_header(path, Limits()).kind is ScanKind.OWN
    foreign = pydicom.dcmread(path)
    foreign.ManufacturerModelName = "other"
    assert not sr.is_own_sr(foreign)


def test_writing_leaves_nothing_but_the_file(tmp_path: Path) -> None:
    write_all(build(), tmp_path)
    assert all(path.suffix == ".dcm" for path in tmp_path.iterdir())


# Compare


def named(*indices: int) -> Any:
    return case(*(segmentation(index) for index in indices))


def test_compare_has_its_numbers_and_both_segments() -> None:
    (document,) = of_kind(build(named(1, 2)), "compare")
    assert document.references == (seg_record(2).sop_instance_uid, seg_record(1).sop_instance_uid)
    for part in groups(document.dataset):
        assert [meaning(one) for one in nums(part)] == NUMS_OF_COMPARE
        evaluated, reference = children(part, "121112")[0], children(part, "REFSEG")[0]
        assert evaluated.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == document.references[0]
        assert reference.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == document.references[1]


@pytest.mark.parametrize(
    ("count", "mode", "documents"),
    [(2, "auto", 1), (3, "auto", 3), (4, "auto", 3), (4, "pairs", 6), (4, "none", 0), (1, "auto", 0)],
)
def test_how_many_pairs_get_a_document(count: int, mode: Any, documents: int) -> None:
    assert len(of_kind(build(named(*range(1, count + 1)), compare=mode), "compare")) == documents


def test_a_chosen_reference_is_the_reference_of_all() -> None:
    uid = seg_record(3).sop_instance_uid
    found = of_kind(build(named(1, 2, 3, 4), reference=uid), "compare")
    assert [document.references[1] for document in found] == [uid, uid, uid]


def test_turning_a_pair_round_turns_the_volume_difference() -> None:
    small, large = (segmentation(n, (segment(1, voxels=voxels),)) for n, voxels in ((1, 100), (2, 200)))
    report = case(small, large)
    (document,) = of_kind(build(report, reference=large.record.sop_instance_uid), "compare")
    value = nums(groups(document.dataset)[0])[-1].MeasuredValueSequence[0].NumericValue
    assert float(value) == pytest.approx(-50)


def test_the_reference_chosen_of_itself_is_no_segmentation_of_one_organ_only() -> None:
    whole = [segmentation(n) for n in (2, 3, 4)]
    part = segmentation(1, (segment(1),))
    report = case(part, *whole)
    pairs = tuple(
        pair if part.record.sop_instance_uid not in (pair.evaluated, pair.reference)
        else type(pair)(pair.evaluated, pair.reference, (comparison(1, 1, part.segments[0].structure_key, 0.99),), (2,), ())
        for pair in report.comparisons
    )  # fmt: skip
    found = of_kind(build(case(part, *whole, comparisons=pairs)), "compare")
    assert {document.references[1] for document in found} != {part.record.sop_instance_uid}


# Key images


def test_only_what_is_located_gets_arrows() -> None:
    assert of_kind(build(case(segmentation(1))), "keyimg") == []


def test_an_arrow_points_at_the_pixel_and_says_why() -> None:
    (document, *_) = of_kind(build(), "keyimg")
    assert document.dataset.ConceptNameCodeSequence[0].CodeValue == "126000"
    (liver, *_) = [part for part in groups(document.dataset) if "Liver" in str(children(part, "121106")[0].TextValue)]
    assert str(children(liver, "112039")[0].TextValue).startswith("Cornerstone3DTools@^0.1.0:ArrowAnnotate:")
    for number in nums(liver):
        (point,) = number.ContentSequence  # the coordinates are the first and only child
        assert point.GraphicType == "POINT"
        # (-20, -41, 7.4) mm = column 20, row 9.5, slice 2; the middle of the first pixel is (0.5, 0.5)
        assert list(point.GraphicData) == pytest.approx([20.5, 10.0])
        (image,) = point.ContentSequence
        assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID.endswith(".3")
    assert "Failed" in str(children(liver, "121106")[0].TextValue)


def test_on_enhanced_ct_the_frame_is_named() -> None:
    documents = build(case(*rich_case().segmentations, enhanced=True))
    (document, *_) = of_kind(documents, "keyimg")
    image = nums(groups(document.dataset)[0])[0].ContentSequence[0].ContentSequence[0]
    assert int(image.ReferencedSOPSequence[0].ReferencedFrameNumber) == 3


def test_a_point_outside_is_drawn_at_the_border() -> None:
    (document, *_) = of_kind(build(), "keyimg")
    for item in everything(document.dataset):
        if item.get("ValueType") == "SCOORD":
            column, row = item.GraphicData
            assert 0 <= column <= 30
            assert 0 <= row <= 20


def test_codes_of_rules_are_made_from_their_ids() -> None:
    from segqa_dicom.sr.codes import check_code

    assert check_code("T1", "Number of separate parts") == Code("CHK-T1", "99SEGQA")
    assert len(check_code("T1", "x" * 80).meaning) == 64
