"""Documents as flat lists: those of ours, of dcmqi, of OHIF, of highdicom."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import Dataset

from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import open_object
from segqa_dicom.errors import UnreadableObject
from segqa_dicom.findings import read_document
from segqa_dicom.model import Code
from segqa_dicom.sr.read import _document
from tests.findings import byhand
from tests.findings.conftest import Study
from tests.findings.making import FREE_TEXT, changed

LEFT_KIDNEY = (Code("64033007", "SCT"), Code("64033007", "SCT"), Code("7771000", "SCT"))


def test_every_item_is_there_once_in_the_order_of_the_document(study: Study) -> None:
    for file in study.files:
        found = read_document(file).items
        expected = [(item.ValueType, byhand.name(item), group) for item, group in byhand.items(file)]
        assert [(one.value_type, one.name.value if one.name else "", one.group) for one in found] == expected


def test_both_ways_of_reading_give_the_same(study: Study, tmp_path: Path) -> None:
    for number, file in enumerate(study.files):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(file)
        assert read_document(path) == _document(open_object(path, Limits()).dataset)


def test_a_report_of_ours_says_what_its_groups_are_about(study: Study) -> None:
    document = read_document(study.ours[0])
    assert (document.is_own, document.kind, document.observers) == (True, "report", (("device", "segqa"),))
    first = document.groups[0]
    assert (first.number, first.segmentation, first.segment) == (1, study.seg.SOPInstanceUID, 1)
    assert first.source_series == study.ct.SeriesInstanceUID
    assert {group.laterality for group in document.groups} == {None, Code("7771000", "SCT"), Code("24028007", "SCT")}
    assert {item.path[0] for item in document.items if item.depth} == {document.title}


def test_a_comparison_names_both_segments(study: Study) -> None:
    (document,) = (one for one in map(read_document, study.ours) if one.kind == "compare")
    for group in document.groups:
        assert len({group.segmentation, group.other_segmentation, ""}) == 3
        assert group.segment > 0
        assert group.other_segment > 0


def test_a_document_of_dcmqi_is_read(study: Study) -> None:
    document = read_document(study.others["dcmqi"])
    (group,) = document.groups
    assert (document.is_own, document.kind) == (False, "")
    assert ("person", "Reader^Rita") in document.observers
    assert (group.finding, group.finding_site, group.laterality) == LEFT_KIDNEY
    assert (group.segmentation, group.segment) == (study.seg.SOPInstanceUID, 2)
    measured = [item for item in document.items if item.group and item.number is not None]
    numbers = {item.name.meaning: (item.number, item.unit.value) for item in measured}
    assert numbers == {"Attenuation Coefficient": (-778.5, "[hnsf'U]"), "Volume": (150.25, "cm3")}


def test_a_document_of_ohif_is_read(study: Study) -> None:
    document = read_document(study.others["OHIF"])
    (group,) = document.groups
    assert group.finding == Code("CORNERSTONEFREETEXT", "CORNERSTONEJS")
    assert group.finding.meaning == FREE_TEXT
    (point,) = (item.graphic for item in document.items if item.graphic)
    assert (point.type, point.data) == ("POINT", (10.5, 12.5))
    assert study.ct.SOPInstanceUID in {one.sop_instance_uid for one in document.references}


def test_texts_in_other_character_sets_are_read(study: Study) -> None:
    def rename(dataset: Dataset) -> None:
        dataset.SpecificCharacterSet = "ISO_IR 100"
        dataset.SeriesDescription = "Nachprüfung"

    assert read_document(changed(study.others["highdicom"], rename)).series_description == "Nachprüfung"


def test_what_is_no_report_is_refused(study: Study) -> None:
    with pytest.raises(UnreadableObject, match="no structured report"):
        read_document(next((study.folder / "ct").iterdir()))
    with pytest.raises(UnreadableObject):
        read_document(b"nothing")
