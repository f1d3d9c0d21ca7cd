"""What is checked of an object before the sender is told that it is safe."""

from __future__ import annotations

from segqa_dicom.dicom.headers import PlainObject, open_plainly
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import open_object, text
from segqa_dicom.dicom.uids import normalised_uid
from segqa_dicom.errors import Inconsistent, InputError, LimitExceeded, UnreadableObject
from segqa_dicom.inbox import Inbox
from segqa_dicom.node.contexts import Status
from segqa_dicom.node.receiving import FULL, Part

_KEYWORDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


class Mismatch(Inconsistent):
    """The data set is not what the command announced."""


def stored(part: Part, inbox: Inbox, limits: Limits, *, sop_class_uid: str, sop_instance_uid: str) -> Status:
    """Check a part that was received, and put it into the inbox; the answer to its sender.

    Raises `InputError` for an object that cannot be taken, `OSError` for a disk that does not take it.
    """
    if part.refusal is not None:
        return part.refusal[0]
    _check(part, limits, sop_class_uid, sop_instance_uid)
    inbox.accept(part.path)
    return Status.SUCCESS


def _check(part: Part, limits: Limits, sop_class_uid: str, sop_instance_uid: str) -> None:
    opened = open_plainly(part.path, limits, keywords=_KEYWORDS) or open_object(part.path, limits, keywords=_KEYWORDS)
    uids = {keyword: normalised_uid(text(opened.dataset, keyword), what=keyword) for keyword in _KEYWORDS}
    command_class = normalised_uid(sop_class_uid, what="Affected SOP Class UID")
    command_instance = normalised_uid(sop_instance_uid, what="Affected SOP Instance UID")
    if (uids["SOPClassUID"], uids["SOPInstanceUID"]) != (command_class, command_instance):
        raise Mismatch("SOP Class UID or SOP Instance UID of the data set are not those of the command")
    if isinstance(opened, PlainObject) and opened.pixel_stop > opened.size:
        raise UnreadableObject("pixel data are cut short")


def status_of(error: Exception) -> Status:
    """Which status tells the sender of an error."""
    if isinstance(error, Mismatch):
        return Status.DATA_SET_DOES_NOT_MATCH
    if isinstance(error, LimitExceeded):
        return Status.OUT_OF_RESOURCES
    if isinstance(error, InputError):
        return Status.CANNOT_UNDERSTAND
    if isinstance(error, OSError):
        return Status.OUT_OF_RESOURCES if error.errno in FULL else Status.PROCESSING_FAILURE
    return Status.PROCESSING_FAILURE
