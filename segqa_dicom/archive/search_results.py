"""Search results of QIDO-RS (PS3.18, section 10.6): rows in DICOM JSON to `Instance` and `Series`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segqa_dicom.archive.base import Instance, Series
from segqa_dicom.dicom.uids import normalised_uid
from segqa_dicom.errors import Inconsistent, PeerRefused

_SOP_CLASS_UID, _SOP_INSTANCE_UID = "00080016", "00080018"
_MODALITY, _INSTANCE_COUNT = "00080060", "00201209"
_STUDY_INSTANCE_UID, _SERIES_INSTANCE_UID = "0020000D", "0020000E"

Row = Mapping[str, Any]
"""One result: attributes in the DICOM JSON model by tag."""


def rows_of(answer: object) -> list[Row]:
    """The rows of an answer; raises `PeerRefused` unless it is an array of objects."""
    if isinstance(answer, list) and all(isinstance(row, dict) for row in answer):
        return answer
    raise PeerRefused("the archive does not answer with DICOM JSON: is its URL the root of DICOMweb?")


def _text(row: Row, tag: str) -> str:
    """The values of an attribute, joined by a backslash; empty if missing."""
    element = row.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return "\\".join(str(value) for value in values).strip(" \0") if isinstance(values, list) else ""


def row_key(row: Row) -> tuple[str, ...]:
    """Study, Series and SOP Instance UID as stated, to recognise a row."""
    return tuple(_text(row, tag) for tag in (_STUDY_INSTANCE_UID, _SERIES_INSTANCE_UID, _SOP_INSTANCE_UID))


def instance_of(row: Row, study: str = "", series: str = "") -> Instance | None:
    """The instance of a row that may lack the UIDs of its study and series; None if a UID is invalid."""
    try:
        return Instance(
            normalised_uid(_text(row, _STUDY_INSTANCE_UID) or study, what="Study Instance UID"),
            normalised_uid(_text(row, _SERIES_INSTANCE_UID) or series, what="Series Instance UID"),
            normalised_uid(_text(row, _SOP_INSTANCE_UID), what="SOP Instance UID"),
            normalised_uid(_text(row, _SOP_CLASS_UID), what="SOP Class UID"),
        )
    except Inconsistent:
        return None


def series_of(row: Row, study: str | None) -> Series | None:
    """The series of a row that may lack the UID of its study; None if a UID is invalid."""
    count = _text(row, _INSTANCE_COUNT)
    try:
        return Series(
            normalised_uid(_text(row, _STUDY_INSTANCE_UID) or study, what="Study Instance UID"),
            normalised_uid(_text(row, _SERIES_INSTANCE_UID), what="Series Instance UID"),
            _text(row, _MODALITY),
            int(count) if count.isdecimal() else None,
        )
    except Inconsistent:
        return None
