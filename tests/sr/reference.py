"""The same documents by highdicom and pydicom: what our own encoder is held against."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import highdicom as hd
import numpy as np
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept
from pydicom import DataElement, Dataset, config, dcmwrite
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.valuerep import DS

from segqa_dicom import __version__
from segqa_dicom.assessment.model import Reviewer
from segqa_dicom.model import CtRecord, SegRecord
from segqa_dicom.report.model import CaseReport
from segqa_dicom.sr import Document, Predecessor
from segqa_dicom.sr.write.header import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME

TYPE_2 = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber",
    "ReferringPhysicianName", "StudyID",
)  # fmt: skip


def bytes_of(dataset: Dataset) -> bytes:
    """A data set without file meta information as pydicom writes it in Explicit VR Little Endian, UTF-8."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, dataset, "ISO_IR 192")
    return buffer.getvalue()


def elements(dataset: Dataset, path: str = "") -> Iterator[tuple[str, str, str]]:
    """(place, VR, value) of every element of a data set, however deep."""
    for element in dataset:
        place = f"{path}/{element.tag}"
        if element.VR == "SQ":
            yield place, "SQ", str(len(element.value))
            for n, item in enumerate(element.value):
                yield from elements(item, f"{place}[{n}]")
        else:
            yield place, element.VR, repr(element.value)


def concept(dataset: Dataset, keyword: str) -> CodedConcept:
    (code,) = dataset[keyword].value
    value = code.get("CodeValue") or code.get("LongCodeValue") or code.URNCodeValue
    return CodedConcept(str(value), str(code.CodingSchemeDesignator), str(code.CodeMeaning))


def rebuilt(item: Dataset) -> hd.sr.ContentItem:
    """What highdicom's classes make of the values of a content item and of everything below it."""
    name, relation = concept(item, "ConceptNameCodeSequence"), item.get("RelationshipType")
    new: hd.sr.ContentItem
    match item.ValueType:
        case "CONTAINER":
            template = item.ContentTemplateSequence[0].TemplateIdentifier if "ContentTemplateSequence" in item else None
            new = hd.sr.ContainerContentItem(
                name, is_content_continuous=False, template_id=template, relationship_type=relation
            )
        case "CODE":
            new = hd.sr.CodeContentItem(name, concept(item, "ConceptCodeSequence"), relation)
        case "TEXT":
            new = hd.sr.TextContentItem(name, item.TextValue, relation)
        case "UIDREF":
            new = hd.sr.UIDRefContentItem(name, item.UID, relation)
        case "NUM":
            new = _number(item, name, relation)
        case "IMAGE":
            (instance,) = item.ReferencedSOPSequence
            new = hd.sr.ImageContentItem(
                name,
                instance.ReferencedSOPClassUID,
                instance.ReferencedSOPInstanceUID,
                referenced_frame_numbers=instance.get("ReferencedFrameNumber"),
                referenced_segment_numbers=instance.get("ReferencedSegmentNumber"),
                relationship_type=relation,
            )
        case "SCOORD":
            points = np.array(item.GraphicData, dtype=np.float64).reshape(-1, 2)
            new = hd.sr.ScoordContentItem(name, item.GraphicType, points, relationship_type=relation)
        case "PNAME":
            new = hd.sr.PnameContentItem(name, item.PersonName, relation)
        case "DATETIME":
            new = hd.sr.DateTimeContentItem(name, item.DateTime, relation)
        case "COMPOSITE":
            (instance,) = item.ReferencedSOPSequence
            new = hd.sr.CompositeContentItem(
                name, instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID, relation
            )
        case other:
            raise AssertionError(other)
    if "ContentSequence" in item:
        new.ContentSequence = Sequence([rebuilt(child) for child in item.ContentSequence])
    return new


def _number(item: Dataset, name: CodedConcept, relation: str | None) -> hd.sr.NumContentItem:
    (measured,) = item.MeasuredValueSequence
    new = hd.sr.NumContentItem(name, 0, concept(measured, "MeasurementUnitsCodeSequence"), None, relation)
    # highdicom writes the integer 12 as "12.0", and would write a Floating Point Value beside 0.1.
    new.MeasuredValueSequence[0].NumericValue = DS(str(measured.NumericValue))
    if "FloatingPointValue" in measured:
        new.MeasuredValueSequence[0].FloatingPointValue = float(measured.FloatingPointValue)
    return new


def file_of(document: Document, case: CaseReport, predecessor: Predecessor | None = None) -> bytes:
    """The whole file by highdicom: the header from the case, the tree from the values of the document.

    Only what names the writer is changed: highdicom names itself as equipment and in the file meta information.
    """
    records = [s.record for s in case.segmentations if s.record.sop_instance_uid in document.references]
    records.sort(key=lambda record: document.references.index(record.sop_instance_uid))
    return file_about(document, case.ct, records, replaced=[predecessor] if predecessor else [])


def file_about(
    document: Document,
    ct: CtRecord,
    records: list[SegRecord],
    *,
    replaced: list[Predecessor],
    cited: tuple[Predecessor, ...] = (),
    signed_by: Reviewer | None = None,
    signed_at: str = "",
) -> bytes:
    """The same of any document: about some SEGs, citing other documents, signed by somebody."""
    ours = document.dataset
    dates = (str(ours.ContentDate), str(ours.ContentTime))
    tree = rebuilt(ours)
    theirs = hd.sr.ComprehensiveSR(
        evidence=_evidence(ct, records, cited),
        content=tree,
        series_instance_uid=ours.SeriesInstanceUID,
        series_number=int(ours.SeriesNumber),
        sop_instance_uid=document.sop_instance_uid,
        instance_number=1,
        manufacturer="SEGQA project",
        manufacturer_model_name="segqa",
        software_versions=__version__,
        series_description=ours.SeriesDescription,
        is_complete=True,
        coding_schemes=[
            CodingSchemeIdentificationItem(
                "99SEGQA", name="Segmentation QA codes", responsible_organization="SEGQA project"
            )
        ],
        previous_versions=[_document(one, ct) for one in replaced] or None,
        specific_character_set="ISO_IR 192",
        is_final=signed_by is not None,
        is_verified=signed_by is not None,
        verifying_observer_name=signed_by.name if signed_by else None,
        verifying_organization=signed_by.organization if signed_by else None,
    )
    dataset = Dataset(theirs)
    dataset.ContentSequence = tree.ContentSequence
    del dataset.ContributingEquipmentSequence
    for what in ("InstanceCreation", "Series", "Content"):
        setattr(dataset, f"{what}Date", dates[0])
        setattr(dataset, f"{what}Time", dates[1])
    if signed_by:
        dataset.VerifyingObserverSequence[0].VerificationDateTime = signed_at
    for keyword, value in ct.patient_study.attributes:
        tag = tag_for_keyword(keyword)
        assert tag is not None
        dataset[tag] = DataElement(tag, dictionary_VR(tag), value, validation_mode=config.IGNORE)
    dataset.file_meta, dataset.preamble = theirs.file_meta, theirs.preamble
    dataset.file_meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    dataset.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _evidence(ct: CtRecord, records: list[SegRecord], cited: tuple[Predecessor, ...]) -> list[Dataset]:
    instances = [(*pair, ct.series_instance_uid, ct.study_instance_uid) for pair in ct.instances]
    instances += [
        (ref.sop_class_uid, ref.sop_instance_uid, ct.series_instance_uid, ct.study_instance_uid) for ref in ct.slices
    ]
    instances += [
        (one.sop_class_uid, one.sop_instance_uid, one.series_instance_uid, one.study_instance_uid) for one in records
    ]
    return [*(_instance(*values) for values in instances), *(_document(one, ct) for one in cited)]


def _document(one: Predecessor, ct: CtRecord) -> Dataset:
    return _instance(one.sop_class_uid, one.sop_instance_uid, one.series_instance_uid, ct.study_instance_uid)


def _instance(sop_class_uid: str, sop_instance_uid: str, series_uid: str, study_uid: str) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class_uid, sop_instance_uid
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = series_uid, study_uid
    for keyword in TYPE_2:
        setattr(dataset, keyword, "")
    return dataset
