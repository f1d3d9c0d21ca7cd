"""What all our documents share: root, observer, algorithm, header, evidence, identity.

The tree is put together here in the order of the template's rows; highdicom's own template classes cannot do that
(no Summary, no evaluations of the whole, containers that are read as one text).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import highdicom as hd
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import ComprehensiveSRStorage

from segqa_dicom import __version__
from segqa_dicom.measures.results import MEASURING_VERSION
from segqa_dicom.model import Code, PatientStudy, SegRecord
from segqa_dicom.report.model import CaseReport
from segqa_dicom.sr import codes, items
from segqa_dicom.sr.words import LONG_STRING, ascii_text, squeezed
from segqa_dicom.uids import digest, stable_uid

MAX_GROUPS = 1000
"""Structures per document: a SEG may have 65,535, and no viewer opens a document with that many groups."""
PRODUCT = "segqa"
MANUFACTURER = "SEGQA project"

_TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "StudyID",
)
_TIME = re.compile(r"([01][0-9]|2[0-3])([0-5][0-9]([0-5][0-9](\.[0-9]{1,6})?)?)?\Z")
_NO_DATE = "19000101"
"""Content Date is type 1; this stands in it if neither the SEGs nor the CT have a date."""


class Kind(StrEnum):
    """What a document says; the values are part of its identity."""

    REPORT = "report"
    COMPARE = "compare"
    KEYIMG = "keyimg"


_SERIES_OFFSET = {Kind.REPORT: 1, Kind.COMPARE: 2, Kind.KEYIMG: 4}
_SERIES_NAME = {Kind.REPORT: "report", Kind.COMPARE: "compare", Kind.KEYIMG: "key findings"}


@dataclass(frozen=True, eq=False)
class Document:
    """One SR.

    references : SOP Instance UIDs of the SEGs it is about; of a pair the evaluated one first
    """

    kind: Kind
    sop_instance_uid: str
    references: tuple[str, ...]
    dataset: Dataset


@dataclass(frozen=True, slots=True)
class Predecessor:
    """The earlier revision that a document replaces."""

    sop_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str = ComprehensiveSRStorage


@dataclass(frozen=True, eq=False)
class Context:
    """What every document of a case needs.

    titles : rule id -> title
    title : of `report` and `compare`
    max_groups : structures with measurements per document; the Summary says how many are left out
    predecessors : (kind, references) -> the revision that is replaced
    """

    case: CaseReport
    titles: Mapping[str, str]
    title: Code
    max_groups: int
    predecessors: Mapping[tuple[Kind, tuple[str, ...]], Predecessor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Body:
    """What is particular to one document.

    about : the SEGs, the one that the document is filed under first
    outcome, subjects : for the series description
    parameters : for Algorithm Parameters, beside those of the case
    evaluations : of the SEG as a whole
    """

    kind: Kind
    title: Code
    about: tuple[SegRecord, ...]
    outcome: str
    subjects: tuple[str, ...]
    summary: Sequence[str]
    groups: Sequence[items.Item]
    parameters: Sequence[str] = ()
    evaluations: Sequence[items.Item] = ()


def assemble(context: Context, body: Body) -> Document:
    """The document of `body`."""
    case, references = context.case, tuple(record.sop_instance_uid for record in body.about)
    predecessor = context.predecessors.get((body.kind, references))
    identity = _identity(context, body, references, predecessor)
    date, time = _date_time(body.about, case.ct.patient_study)
    header = hd.sr.ComprehensiveSR(
        evidence=_evidence(case, body.about),
        content=_root(body.title, [_language()]),
        series_instance_uid=stable_uid(*identity, "series"),
        series_number=series_number(case, body.kind, body.about[0]),
        sop_instance_uid=stable_uid(*identity),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=PRODUCT,
        software_versions=__version__,
        series_description=series_description(body),
        is_complete=True,
        coding_schemes=[
            CodingSchemeIdentificationItem(codes.SCHEME, name=codes.SCHEME_NAME, responsible_organization=MANUFACTURER)
        ],
        previous_versions=[_predecessor(case, predecessor)] if predecessor else None,
        # Whatever the CT's character set is: a patient's name in Cyrillic letters must survive.
        specific_character_set="ISO_IR 192",
    )
    dataset = _with_content(header, _content(case, body))
    _put_patient_study(dataset, case.ct.patient_study)
    _put_dates(dataset, date, time)
    return Document(body.kind, str(dataset.SOPInstanceUID), references, dataset)


def is_own_sr(dataset: Dataset) -> bool:
    """Whether a data set is an SR that segqa wrote; its header is enough to know."""
    return (
        str(dataset.get("Modality", "")) == "SR"
        and str(dataset.get("Manufacturer", "")) == MANUFACTURER
        and str(dataset.get("ManufacturerModelName", "")) == PRODUCT
    )


def series_number(case: CaseReport, kind: Kind, record: SegRecord) -> int:
    """9000 + 10 * rank of the SEG + kind, so that all documents of one SEG stand together."""
    uids = [segmentation.record.sop_instance_uid for segmentation in case.segmentations]
    return 9000 + 10 * uids.index(record.sop_instance_uid) + _SERIES_OFFSET[kind]


def series_description(body: Body) -> str:
    """``3 FAIL TotalSegmentator 2.1 SEGQA report``; names that are too long lose their middle."""
    ending = f" SEGQA {_SERIES_NAME[body.kind]}"
    space = LONG_STRING - len(ending) - len(body.outcome) - 1
    between = " vs "
    each = (space - len(between) * (len(body.subjects) - 1)) // len(body.subjects)
    subject = between.join(squeezed(ascii_text(subject), each) for subject in body.subjects)
    return f"{body.outcome} {subject}{ending}"


def case_key(case: CaseReport) -> str:
    """What decides the contents of all documents of a case."""
    segs = sorted((s.record.sop_instance_uid, s.record.file_digest) for s in case.segmentations)
    return digest([sorted({uid for _, uid in _ct_instances(case)}), segs, case.ruleset.hash, MEASURING_VERSION])


def _identity(
    context: Context, body: Body, references: tuple[str, ...], predecessor: Predecessor | None
) -> tuple[object, ...]:
    earlier = predecessor.sop_instance_uid if predecessor else ""
    parts: tuple[object, ...] = (body.kind.value, list(references), case_key(context.case), earlier)
    # Another title or limit is other content, and one SOP Instance UID must never stand for two contents.
    if body.kind is not Kind.KEYIMG and body.title != codes.QA_REPORT:
        parts = (*parts, body.title.key)
    return parts if context.max_groups == MAX_GROUPS else (*parts, context.max_groups)


# ---------------------------------------------------------------------------------------------------- content


def _root(title: Code, children: Sequence[items.Item]) -> items.Item:
    return items.container(title, children, template="1500", is_root=True)


def _with_content(header: hd.sr.ComprehensiveSR, content: Sequence[items.Item]) -> Dataset:
    """The document of a header, as a plain data set.

    highdicom copies the tree twice and searches it six times: most of the time for a hundred structures. What
    it looks for there, a reference to something outside the evidence, cannot happen: `_evidence` has all there is.
    """
    dataset = Dataset(header)
    dataset.file_meta, dataset.preamble = header.file_meta, header.preamble
    dataset.ContentSequence = DicomSequence(content)
    return dataset


def _content(case: CaseReport, body: Body) -> list[items.Item]:
    children = [_language(), *_observer()]
    children.append(items.code(codes.PROCEDURE_REPORTED, codes.CT_PROCEDURE, items.CONCEPT_MOD))
    children += [items.text(codes.SUMMARY, line) for line in body.summary]
    if body.groups:
        measurements = [*_algorithm(case, body.parameters), *body.groups]
        children.append(items.container(codes.IMAGING_MEASUREMENTS, measurements))
    if body.evaluations:
        children.append(items.container(codes.QUALITATIVE_EVALUATIONS, body.evaluations))
    return children


def _language() -> items.Item:
    return items.code(codes.LANGUAGE, codes.ENGLISH, items.CONCEPT_MOD)


def _observer() -> list[items.Item]:
    """TID 1002 and 1004. The version is no serial number; it stands under Algorithm Version and Software Versions."""
    return [
        items.code(codes.OBSERVER_TYPE, codes.DEVICE, items.OBS_CONTEXT),
        items.uid_reference(codes.DEVICE_UID, stable_uid("device", PRODUCT, __version__), items.OBS_CONTEXT),
        items.text(codes.DEVICE_NAME, PRODUCT, items.OBS_CONTEXT),
        items.text(codes.DEVICE_MANUFACTURER, MANUFACTURER, items.OBS_CONTEXT),
        items.text(codes.DEVICE_MODEL_NAME, PRODUCT, items.OBS_CONTEXT),
    ]


def _algorithm(case: CaseReport, more: Sequence[str]) -> list[items.Item]:
    """TID 4019."""
    ruleset = (f"ruleset_version={case.ruleset.version}", f"ruleset_hash={case.ruleset.hash}")
    parameters = dict.fromkeys((*more, *case.parameters, *ruleset, f"measuring_version={MEASURING_VERSION}"))
    return [
        items.text(codes.ALGORITHM_NAME, PRODUCT, items.CONCEPT_MOD),
        items.text(codes.ALGORITHM_VERSION, __version__, items.CONCEPT_MOD),
        *(items.text(codes.ALGORITHM_PARAMETERS, parameter, items.CONCEPT_MOD) for parameter in parameters),
    ]


# ----------------------------------------------------------------------------------------------------- header


def _evidence(case: CaseReport, about: Iterable[SegRecord]) -> list[Dataset]:
    """References to the CT, then to the SEGs; highdicom builds the header on the first one."""
    ct = case.ct
    evidence = [_instance(*pair, ct.series_instance_uid, ct.study_instance_uid) for pair in _ct_instances(case)]
    evidence += [
        _instance(seg.sop_class_uid, seg.sop_instance_uid, seg.series_instance_uid, seg.study_instance_uid)
        for seg in about
    ]
    for keyword in _TYPE_2:
        setattr(evidence[0], keyword, "")
    return evidence


def _ct_instances(case: CaseReport) -> list[tuple[str, str]]:
    """(class, instance) of everything that came in with the CT series; what slices refer to must be among it."""
    used = ((ref.sop_class_uid, ref.sop_instance_uid) for ref in case.ct.slices)
    return list(dict.fromkeys((*case.ct.instances, *used)))


def _instance(sop_class_uid: str, sop_instance_uid: str, series_uid: str, study_uid: str) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class_uid, sop_instance_uid
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = series_uid, study_uid
    return dataset


def _predecessor(case: CaseReport, predecessor: Predecessor) -> Dataset:
    return _instance(
        predecessor.sop_class_uid,
        predecessor.sop_instance_uid,
        predecessor.series_instance_uid,
        case.ct.study_instance_uid,
    )


def _date_time(about: Iterable[SegRecord], study: PatientStudy) -> tuple[str, str]:
    """The newest content date and time of the SEGs, else the study's date at 000000."""
    stamps = [(seg.content_date, _time(seg.content_time)) for seg in about if _is_date(seg.content_date)]
    if stamps:
        return max(stamps)
    study_date = study.get("StudyDate").strip()
    return (study_date if _is_date(study_date) else _NO_DATE), "000000"


def _is_date(text: str) -> bool:
    try:
        return len(text) == 8 and bool(datetime.strptime(text, "%Y%m%d"))  # noqa: DTZ007 - a date has no zone
    except ValueError:
        return False


def _time(text: str) -> str:
    return text.ljust(6, "0") if _TIME.match(text) else "000000"


def _put_patient_study(dataset: Dataset, study: PatientStudy) -> None:
    """The CT's patient and study attributes as they are, whether DICOM would allow them or not.

    A PACS files a document under another patient if one letter differs. What the document says itself stays.
    """
    attributes = dict.fromkeys(_TYPE_2, "") | {
        keyword: value for keyword, value in study.attributes if keyword in _TYPE_2 or keyword not in dataset
    }
    for keyword, value in attributes.items():
        tag = tag_for_keyword(keyword)
        vr = dictionary_VR(tag) if tag is not None else "SQ"
        if tag is None or vr == "SQ":
            continue
        try:
            dataset[tag] = DataElement(tag, vr, value, validation_mode=config.IGNORE)
        except (ValueError, TypeError, ArithmeticError):
            # A weight of "n/a" cannot be written as a number; whom it is about does not depend on it.
            dataset.pop(tag, None)


def _put_dates(dataset: Dataset, date: str, time: str) -> None:
    """The same input gives the same bytes, so no attribute says when the program ran (highdicom writes now())."""
    for what in ("InstanceCreation", "Series", "Content"):
        setattr(dataset, f"{what}Date", date)
        setattr(dataset, f"{what}Time", time)
    for equipment in dataset.get("ContributingEquipmentSequence", ()):
        equipment.ContributionDateTime = date + time
