"""The attributes in the index of a folder archive: their keywords, how they are read, and their form in DICOM JSON.

All are stored as text, multiple values joined by a backslash as in DICOM.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword
from pydicom.valuerep import TEXT_VR_DELIMS, PersonName

from segqa_dicom.archive.base import Header, Instance, Outgoing
from segqa_dicom.dicom.elements import Unfamiliar
from segqa_dicom.dicom.headers import PlainDataset, PlainObject, open_plainly
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import PREAMBLE_BYTES, OpenedObject, items, open_object, text, translated
from segqa_dicom.dicom.uids import normalised_uid
from segqa_dicom.dicom.value_representations import INTEGER_VRS
from segqa_dicom.errors import UnreadableObject


class Level(StrEnum):
    """Query/Retrieve Level."""

    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"


@dataclass(frozen=True, slots=True)
class Key:
    """An attribute of the index.

    is_multiple : whether its VM allows several values, one of which has to match
    """

    keyword: str
    level: Level
    tag: int
    vr: str
    is_multiple: bool

    @property
    def json_tag(self) -> str:
        """The tag as DICOM JSON writes it."""
        return f"{self.tag:08X}"


def _keys(level: Level, keywords: str) -> tuple[Key, ...]:
    return tuple(_key(level, keyword) for keyword in keywords.split())


def _key(level: Level, keyword: str) -> Key:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return Key(keyword, level, tag, dictionary_VR(tag), is_multiple=dictionary_VM(tag) != "1")


KEYS: dict[Level, tuple[Key, ...]] = {
    Level.STUDY: _keys(
        Level.STUDY,
        "StudyInstanceUID StudyDate StudyTime AccessionNumber ReferringPhysicianName TimezoneOffsetFromUTC PatientName "
        "PatientID IssuerOfPatientID PatientBirthDate PatientSex PatientAge StudyID StudyDescription "
        "NameOfPhysiciansReadingStudy",
    ),
    Level.SERIES: _keys(
        Level.SERIES,
        "SeriesInstanceUID Modality SeriesNumber SeriesDescription SeriesDate SeriesTime "
        "PerformedProcedureStepStartDate PerformedProcedureStepStartTime BodyPartExamined Laterality ProtocolName "
        "PatientPosition FrameOfReferenceUID Manufacturer ManufacturerModelName DeviceSerialNumber SoftwareVersions "
        "StationName InstitutionName InstitutionalDepartmentName PerformingPhysicianName OperatorsName",
    ),
    Level.INSTANCE: _keys(
        Level.INSTANCE,
        "SOPInstanceUID SOPClassUID InstanceNumber Rows Columns BitsAllocated SamplesPerPixel NumberOfFrames ImageType "
        "ContentDate ContentTime AcquisitionDate AcquisitionTime AcquisitionDateTime AcquisitionNumber "
        "InstanceCreationDate InstanceCreationTime ContentLabel ContentDescription ContentCreatorName SegmentationType "
        "CompletionFlag VerificationFlag",
    ),
}
"""Attributes by level; the first is the unique key of the level."""

REQUEST_KEYS = ("ScheduledProcedureStepID", "RequestedProcedureID")
"""Attributes of Request Attributes Sequence: the only matching keys in a sequence (PS3.18, table 10.6.1-5)."""
REQUEST_SEQUENCE = "RequestAttributesSequence"

ALL_KEYS: dict[str, Key] = {key.keyword: key for keys in KEYS.values() for key in keys} | {
    keyword: _key(Level.SERIES, keyword) for keyword in REQUEST_KEYS
}

_CHARACTER_SET = "SpecificCharacterSet"


def read_header(path: Path, limits: Limits) -> Header:
    """The header of the object in a file.

    Raises `UnreadableObject` and `LimitExceeded` as `open_object` does, and for a file that ends inside its pixel data
    or has no DICOM prefix (PS3.10, section 7.1).
    """
    opened = open_plainly(path, limits)
    if opened is not None:
        if opened.pixel_stop > opened.size:
            raise UnreadableObject("file is truncated: it ends inside its pixel data")
        try:
            return _plain_header(opened)
        except Unfamiliar:
            pass
    with translated("file"), path.open("rb") as stream:
        if stream.read(PREAMBLE_BYTES)[128:] != b"DICM":
            raise UnreadableObject("file has no DICOM prefix; write it with preamble and file meta information")
    found = open_object(path, limits)
    with translated("object"):
        return _reference_header(found)


def identity(header: Header) -> Instance:
    """The identity of an instance; raises `Inconsistent` if one of its UIDs is invalid."""
    value = header.values.get
    return Instance(
        normalised_uid(value("StudyInstanceUID"), what="Study Instance UID"),
        normalised_uid(value("SeriesInstanceUID"), what="Series Instance UID"),
        normalised_uid(value("SOPInstanceUID"), what="SOP Instance UID"),
        normalised_uid(value("SOPClassUID"), what="SOP Class UID"),
    )


def read_outgoing(path: Path, limits: Limits) -> Outgoing:
    """The object in a file with its identity and header; raises as `read_header` and `identity` do."""
    header = read_header(path, limits)
    return Outgoing(identity(header), path, header)


def _plain_header(opened: PlainObject) -> Header:
    dataset: Any = opened.dataset
    charset = _characters(dataset)
    with translated("object"):
        values = {
            keyword: value
            for keyword, key in ALL_KEYS.items()
            if keyword not in REQUEST_KEYS and (value := _plain_text(dataset, key, charset))
        }
        requests = tuple(
            {keyword: _plain_text(item, ALL_KEYS[keyword], charset) for keyword in REQUEST_KEYS}
            for item in dataset.plain(REQUEST_SEQUENCE) or ()
        )
    return Header(values, requests, str(opened.transfer_syntax))


def _reference_header(opened: OpenedObject) -> Header:
    dataset = opened.dataset
    values = {
        keyword: value
        for keyword, key in ALL_KEYS.items()
        if keyword not in REQUEST_KEYS and (value := _tidy(key, text(dataset, keyword)))
    }
    requests = tuple(
        {keyword: _tidy(ALL_KEYS[keyword], text(item, keyword)) for keyword in REQUEST_KEYS}
        for item in items(dataset, REQUEST_SEQUENCE)
    )
    return Header(values, requests, str(opened.transfer_syntax))


def _characters(dataset: PlainDataset) -> tuple[str, ...]:
    raw = dataset.raw(_CHARACTER_SET) or b""
    return _encodings(raw.decode("ascii", "replace").strip())


@cache
def _encodings(charset: str) -> tuple[str, ...]:
    return tuple(convert_encodings(charset.split("\\")))


def _plain_text(dataset: PlainDataset, key: Key, encodings: tuple[str, ...]) -> str:
    raw = dataset.raw(key.keyword)
    if not raw:
        return ""
    if key.vr == "US":
        return "\\".join(str(int.from_bytes(raw[at : at + 2], "little")) for at in range(0, len(raw), 2))
    if raw.isascii() and b"\x1b" not in raw:
        value = raw.decode("ascii")
    elif key.vr == "PN":
        value = "\\".join(str(PersonName(part, list(encodings))) for part in raw.split(b"\\"))
    else:
        value = decode_bytes(raw, list(encodings), TEXT_VR_DELIMS)
    return _tidy(key, value)


def _tidy(key: Key, value: str) -> str:
    """Without padding; person names without trailing delimiters, integers in canonical form."""
    if not key.is_multiple or "\\" not in value:
        return _tidy_one(key.vr, value)
    return "\\".join(_tidy_one(key.vr, part) for part in value.split("\\"))


def _tidy_one(vr: str, value: str) -> str:
    value = value.strip(" \0")
    if vr == "PN":
        return "=".join(group.rstrip("^ ") for group in value.split("=")).rstrip("=")
    if vr in INTEGER_VRS:
        return _whole(value)
    return value


def _whole(value: str) -> str:
    try:
        return str(int(value))
    except ValueError:
        return ""  # no number: it can neither be matched nor be written as JSON


def tidy(key: Key, value: str) -> str:
    """A value of a query in the form of the index."""
    return _tidy_one(key.vr, value)


JsonAttribute = dict[str, Any]
"""An attribute in the DICOM JSON model (PS3.18, annex F): ``{"vr": ..., "Value": [...]}``."""


def json_attribute(vr: str, value: str, *, is_multiple: bool = True) -> JsonAttribute:
    """An attribute in the DICOM JSON model from its text; without a value if the text is empty."""
    if not value:
        return {"vr": vr}
    parts = value.split("\\") if is_multiple else [value]
    return {"vr": vr, "Value": [_json_value(vr, part) for part in parts]}


def _json_value(vr: str, value: str) -> Any:
    if not value:
        return None
    if vr in INTEGER_VRS:
        return int(value)
    if vr == "PN":
        groups = zip(("Alphabetic", "Ideographic", "Phonetic"), value.split("="), strict=False)
        return {name: group for name, group in groups if group}
    return value
