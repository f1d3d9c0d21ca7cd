"""Everything of a document's file but its tree and its evidence: file meta information, modules, patient and study.

The modules are those that highdicom's Comprehensive SR has; the tests compare.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from struct import pack

from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.uid import ComprehensiveSRStorage, ExplicitVRLittleEndian

from segqa_dicom import __version__
from segqa_dicom.dicom.encoding import element, item, sequence, tag_of, text
from segqa_dicom.dicom.uids import stable_uid
from segqa_dicom.model import CtRecord, PatientStudy, SegRecord
from segqa_dicom.sr import codes
from segqa_dicom.sr.write.evidence import Predecessor, instance_reference, study_reference

PRODUCT = "segqa"
SOP_CLASS_UID = str(ComprehensiveSRStorage)
"""Of all documents."""
MANUFACTURER = "SEGQA project"
CHARACTER_SET = "ISO_IR 192"
"""UTF-8. Whatever the CT's character set is: a patient's name in Cyrillic letters must survive."""
IMPLEMENTATION_CLASS_UID = stable_uid("implementation", PRODUCT)
IMPLEMENTATION_VERSION_NAME = f"SEGQA_{__version__}"[:16]

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
_NO_ORGANIZATION = "Not stated"
_NO_DATE = "19000101"
"""Content Date is type 1; this stands in it if neither the SEGs nor the CT have a date."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A person who stands for a document.

    name : as DICOM writes names of persons
    signed_at : YYYYMMDDHHMMSS+ZZXX
    """

    name: str
    organization: str
    signed_at: str


@dataclass(frozen=True, slots=True)
class Header:
    """What tells one document from another before its content is read.

    date, time : of the document, YYYYMMDD and HHMMSS
    predecessors : what it replaces
    signature : None = nobody has verified it, and it is preliminary
    """

    sop_instance_uid: str
    series_instance_uid: str
    series_number: int
    series_description: str
    date: str
    time: str
    predecessors: tuple[Predecessor, ...] = ()
    signature: Signature | None = None


def encoded_file(header: Header, ct: CtRecord, content: Iterable[bytes]) -> bytes:
    """The DICOM file of a document; content = the elements of the tree's root and of the evidence."""
    ours = [*_modules(header, ct), *content]
    theirs = _patient_study(ct.patient_study, {tag_of(one) for one in ours})
    return b"".join((_preamble(header), *sorted((*ours, *theirs), key=tag_of)))


def is_own_sr(dataset: Dataset) -> bool:
    """Whether a data set is an SR that segqa wrote; its header is enough to know."""
    return (
        str(dataset.get("Modality", "")) == "SR"
        and str(dataset.get("Manufacturer", "")) == MANUFACTURER
        and str(dataset.get("ManufacturerModelName", "")) == PRODUCT
    )


def _preamble(header: Header) -> bytes:
    """What stands before the data set (PS3.10, section 7.1)."""
    meta = (
        element(0x00020001, "OB", b"\0\1"),
        text(0x00020002, "UI", SOP_CLASS_UID),
        text(0x00020003, "UI", header.sop_instance_uid),
        text(0x00020010, "UI", ExplicitVRLittleEndian),
        text(0x00020012, "UI", IMPLEMENTATION_CLASS_UID),
        text(0x00020013, "SH", IMPLEMENTATION_VERSION_NAME),
    )
    group_length = element(0x00020000, "UL", pack("<L", sum(map(len, meta))))
    return b"".join((bytes(128), b"DICM", group_length, *meta))


def _modules(header: Header, ct: CtRecord) -> list[bytes]:
    """PS3.3, table A.35.3-1. No attribute says when the program ran: the same input gives the same bytes."""
    date, time, signature = header.date, header.time, header.signature
    elements = [
        # SOP Common
        text(0x00080005, "CS", CHARACTER_SET),
        text(0x00080012, "DA", date),  # Instance Creation
        text(0x00080013, "TM", time),
        text(0x00080016, "UI", SOP_CLASS_UID),
        text(0x00080018, "UI", header.sop_instance_uid),
        sequence(0x00080110, (_coding_scheme(),)),
        # General Study
        text(0x0020000D, "UI", ct.study_instance_uid),
        # SR Document Series
        text(0x00080060, "CS", "SR"),
        text(0x0020000E, "UI", header.series_instance_uid),
        text(0x00200011, "IS", str(header.series_number)),
        text(0x00080021, "DA", date),  # Series
        text(0x00080031, "TM", time),
        text(0x0008103E, "LO", header.series_description),
        sequence(0x00081111, ()),  # Referenced Performed Procedure Step: type 2
        # General Equipment
        text(0x00080070, "LO", MANUFACTURER),
        text(0x00081090, "LO", PRODUCT),
        text(0x00181020, "LO", __version__),
        # SR Document General
        text(0x00200013, "IS", "1"),  # Instance Number
        text(0x00080023, "DA", date),  # Content
        text(0x00080033, "TM", time),
        sequence(0x0040A372, ()),  # Performed Procedure Code: type 2
        text(0x0040A491, "CS", "COMPLETE"),
        text(0x0040A493, "CS", "VERIFIED" if signature else "UNVERIFIED"),
        text(0x0040A496, "CS", "FINAL" if signature else "PRELIMINARY"),
    ]
    if header.predecessors:
        elements.append(sequence(0x0040A360, (_predecessors(header.predecessors, ct),)))
    if signature:
        elements.append(sequence(0x0040A073, (_verifying_observer(signature),)))
    return elements


def _coding_scheme() -> bytes:
    return item(
        (
            text(0x00080102, "SH", codes.SCHEME),
            text(0x00080115, "ST", codes.SCHEME_NAME),
            text(0x00080116, "ST", MANUFACTURER),
        )
    )


def _predecessors(predecessors: Iterable[Predecessor], ct: CtRecord) -> bytes:
    series: dict[str, bytes] = {}
    for one in predecessors:
        instance = instance_reference(one.sop_class_uid, one.sop_instance_uid)
        series[one.series_instance_uid] = series.get(one.series_instance_uid, b"") + instance
    return study_reference(ct.study_instance_uid, series)


def _verifying_observer(signature: Signature) -> bytes:
    """An item of Verifying Observer Sequence (PS3.3, section C.17.2); the organization is type 1."""
    return item(
        (
            text(0x0040A027, "LO", signature.organization or _NO_ORGANIZATION),
            text(0x0040A030, "DT", signature.signed_at),
            text(0x0040A075, "PN", signature.name),
            sequence(0x0040A088, ()),  # Verifying Observer Identification Code: type 2
        )
    )


def _patient_study(study: PatientStudy, taken: set[int]) -> list[bytes]:
    """The CT's patient and study attributes as they are, whether DICOM would allow them or not.

    A PACS files a document under another patient if one letter differs. What the document says itself stays.
    """
    attributes = dict.fromkeys(_TYPE_2, "") | dict(study.attributes)
    elements = []
    for keyword, value in attributes.items():
        tag = tag_for_keyword(keyword)
        vr = dictionary_VR(tag) if tag is not None else "SQ"
        if tag is None or tag in taken or vr == "SQ":
            continue
        try:
            elements.append(_by_pydicom(DataElement(tag, vr, value, validation_mode=config.IGNORE)))
        except (ValueError, TypeError, ArithmeticError):
            # A weight of "n/a" cannot be written as a number; whom it is about does not depend on it.
            continue
    return elements


def _by_pydicom(value: DataElement) -> bytes:
    """An element of any VR, with several values where it has them."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_data_element(buffer, value, CHARACTER_SET)
    return buffer.getvalue()


def date_time(about: Iterable[SegRecord], study: PatientStudy) -> tuple[str, str]:
    """The newest content date and time of the SEGs, else the study's date at 000000."""
    stamps = [(seg.content_date, _time(seg.content_time)) for seg in about if _is_date(seg.content_date)]
    if stamps:
        return max(stamps)
    study_date = study.get("StudyDate").strip()
    return (study_date if _is_date(study_date) else _NO_DATE), "000000"


def _is_date(stamp: str) -> bool:
    try:
        return len(stamp) == 8 and bool(datetime.strptime(stamp, "%Y%m%d"))  # noqa: DTZ007 - a date has no zone
    except ValueError:
        return False


def _time(stamp: str) -> str:
    return stamp.ljust(6, "0") if _TIME.match(stamp) else "000000"
