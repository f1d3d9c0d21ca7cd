"""STOW-RS as a client (PS3.18, section 10.5): requests, and what the Store Instances Response says of each object.

That is no proof: servers answer 200 to an empty request, 200 although they keep older content, and 400 although a part
was stored. `segqa_dicom.archive.dicomweb` reads back.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, BinaryIO

from pydicom import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from segqa_dicom.archive.base import Content, Outgoing
from segqa_dicom.archive.content import guessed_syntax
from segqa_dicom.archive.transport import Patience, Peer
from segqa_dicom.dicom.multipart import MultipartBody, Part
from segqa_dicom.dicom.opening import PREAMBLE_BYTES
from segqa_dicom.dicom.uids import normalised_uid
from segqa_dicom.errors import Inconsistent, PeerUnavailable, UnreadableObject

MAX_BATCH_BYTES = 64_000_000
MAX_BATCH_COUNT = 100
_CHUNK_BYTES = 1 << 20
_DICOM = "application/dicom"
_MAX_ANSWER_BYTES = 16_000_000
_EMPTY_PREAMBLE = b"\0" * 128 + b"DICM"

_LISTED_STATUSES = frozenset((200, 201, 202, 400, 409))
"""Statuses whose answer lists the objects."""
_TOO_LARGE = 413

_FAILED_SEQUENCE, _REFERENCED_SEQUENCE = "00081198", "00081199"
_REFERENCED_UID, _FAILURE_REASON = "00081155", "00081197"

_REASONS = {
    0x0110: "processing failure",
    0x0111: "an object with this UID is there",
    0x0117: "its SOP Instance UID is not valid",
    0x0122: "its SOP class is not supported",
    0x0124: "not authorised",
    0x0210: "duplicate invocation",
    0x0212: "mistyped argument",
    0xA700: "out of resources",
    0xA900: "its data set does not match its SOP class",
    0xC000: "it cannot be understood",
    0xC122: "its transfer syntax is not supported",
}
_PROCESSING_FAILURE = 0x0110
_OUT_OF_RESOURCES = range(0xA700, 0xA800)


class Claim(StrEnum):
    """Reported result for an object."""

    STORED = "stored"
    FAILED = "failed"
    """Not accepted."""
    DOUBTFUL = "doubtful"
    """Not stored, without a statement whether the object is acceptable."""
    BUSY = "busy"
    """Not stored for lack of resources."""
    SILENT = "silent"
    """Not mentioned in a successful answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A claim with its reason."""

    claim: Claim
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _File:
    """A file to be sent: some bytes in front, and the content from an offset on."""

    content: Content
    head: bytes
    start: int
    stop: int

    @property
    def part(self) -> Part:
        """As a part of a body."""
        return Part(_DICOM, len(self.head) + self.stop - self.start, self._pieces)

    def _pieces(self) -> Iterator[bytes]:
        yield self.head
        with _open(self.content) as stream:
            stream.seek(self.start)
            left = self.stop - self.start
            while left:
                chunk = stream.read(min(left, _CHUNK_BYTES))
                if not chunk:
                    raise UnreadableObject("a file became shorter while it was sent")
                left -= len(chunk)
                yield chunk


def batches(
    objects: Iterable[Outgoing], *, max_bytes: int = MAX_BATCH_BYTES, max_count: int = MAX_BATCH_COUNT
) -> Iterator[list[Outgoing]]:
    """Batches of at most `max_count` objects and `max_bytes`; a larger object is a batch of its own."""
    batch: list[Outgoing] = []
    size = 0
    for one in objects:
        bytes_of_one = content_size(one.content)
        if batch and (len(batch) >= max_count or size + bytes_of_one > max_bytes):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += bytes_of_one
    if batch:
        yield batch


def content_size(content: Content) -> int:
    """Bytes of a content; raises `UnreadableObject` if the file is not there."""
    if isinstance(content, bytes):
        return len(content)
    try:
        return content.stat().st_size
    except OSError as error:
        raise UnreadableObject(f"a file that is to be stored cannot be read ({error.strerror})") from error


def send(peer: Peer, objects: Sequence[Outgoing], patience: Patience) -> dict[str, Answer]:
    """Send objects in one request; returns the answer for each, by SOP Instance UID.

    Each attempt has a new boundary and the exact Content-Length; files are read while they are sent. Each part is a
    DICOM file with a preamble of zeros: a received preamble can make the file a program (CVE-2019-11687).
    Raises `PeerUnavailable` if no attempt gets an answer, `PeerRefused` if the server does not accept the request,
    `UnreadableObject` if a content cannot be read.
    """
    parts = [_file(one).part for one in objects]
    status, answer = patience.again(lambda: _attempt(peer, parts))
    if status == _TOO_LARGE:
        return _too_large(peer, objects, patience)
    claims = _claims(answer)
    kind = Claim.SILENT if status < 300 else Claim.DOUBTFUL
    unmentioned = Answer(kind, f"the archive answers {status} and says nothing about it")
    return {uid: claims.get(uid, unmentioned) for uid in (one.instance.sop_instance_uid for one in objects)}


def _too_large(peer: Peer, objects: Sequence[Outgoing], patience: Patience) -> dict[str, Answer]:
    if len(objects) == 1:
        reason = "it is larger than the archive, or a proxy before it, allows: raise that limit (413)"
        return {objects[0].instance.sop_instance_uid: Answer(Claim.FAILED, reason)}
    half = len(objects) // 2
    return send(peer, objects[:half], patience) | send(peer, objects[half:], patience)


def _attempt(peer: Peer, parts: Sequence[Part]) -> tuple[int, bytes]:
    body = MultipartBody(parts, _DICOM)  # new at each attempt, for its boundary
    headers = {"Content-Type": body.content_type, "Accept": "application/dicom+json"}
    with (
        peer.translated(),
        peer.session.post(
            f"{peer.url}/studies",
            data=body,
            headers=headers,
            timeout=peer.timeouts_s,
            allow_redirects=False,
            stream=True,
        ) as response,
    ):
        status = response.status_code
        if status != _TOO_LARGE and status not in _LISTED_STATUSES:
            peer.check_status(status)
        answer = b"".join(_limited(response.iter_content(1 << 16)))
    return status, answer


def _limited(chunks: Iterable[bytes]) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > _MAX_ANSWER_BYTES:
            raise PeerUnavailable("the archive's answer to a store request is too long")
        yield chunk


def _claims(answer: bytes) -> dict[str, Answer]:
    """The results in a Store Instances Response (PS3.18, annex I.2) by SOP Instance UID; empty if it is invalid."""
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        return {}
    dataset = found[0] if isinstance(found, list) and found else found
    claims = {uid: Answer(Claim.STORED) for uid, _ in _references(dataset, _REFERENCED_SEQUENCE)}
    for uid, item in _references(dataset, _FAILED_SEQUENCE):
        claims[uid] = _failure(item)
    return claims


def _references(dataset: object, tag: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    element = dataset.get(tag) if isinstance(dataset, Mapping) else None
    items = element.get("Value") if isinstance(element, Mapping) else None
    for item in items if isinstance(items, list) else []:
        if isinstance(item, Mapping):
            try:
                yield normalised_uid(_value(item, _REFERENCED_UID), what="ReferencedSOPInstanceUID"), item
            except Inconsistent:
                continue


def _value(item: Mapping[str, Any], tag: str) -> object:
    element = item.get(tag)
    values = element.get("Value") if isinstance(element, Mapping) else None
    return values[0] if isinstance(values, list) and values else None


def _failure(item: Mapping[str, Any]) -> Answer:
    code = _value(item, _FAILURE_REASON)
    try:
        number = int(str(code))
    except ValueError:
        return Answer(Claim.DOUBTFUL, "the archive gives no reason")
    known = next((_REASONS[number & mask] for mask in (0xFFFF, 0xFF00, 0xF000) if number & mask in _REASONS), "")
    reason = f"{known} ({number:04X}H)".strip()
    if number in _OUT_OF_RESOURCES:
        return Answer(Claim.BUSY, reason)
    return Answer(Claim.DOUBTFUL if number == _PROCESSING_FAILURE else Claim.FAILED, reason)


def _open(content: Content) -> BinaryIO:
    if isinstance(content, bytes):
        return io.BytesIO(content)
    try:
        return content.open("rb")
    except OSError as error:
        raise UnreadableObject(f"a file that is to be stored cannot be read ({error.strerror})") from error


def _file(one: Outgoing) -> _File:
    size = content_size(one.content)
    with _open(one.content) as stream:
        begin = stream.read(PREAMBLE_BYTES)
    if begin[128:] == b"DICM":
        return _File(one.content, _EMPTY_PREAMBLE, PREAMBLE_BYTES, size)
    if begin[:2] == b"\x02\x00":
        return _File(one.content, _EMPTY_PREAMBLE, 0, size)
    return _File(one.content, _EMPTY_PREAMBLE + _made_meta(one, begin), 0, size)


def _made_meta(one: Outgoing, begin: bytes) -> bytes:
    """File Meta Information for a data set without it."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(one.instance.sop_class_uid)
    meta.MediaStorageSOPInstanceUID = UID(one.instance.sop_instance_uid)
    meta.TransferSyntaxUID = UID(guessed_syntax(begin))
    buffer = DicomBytesIO()
    write_file_meta_info(buffer, meta, enforce_standard=True)
    return buffer.getvalue()
