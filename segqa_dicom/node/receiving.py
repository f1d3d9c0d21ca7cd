"""C-STORE data on their way to the disk: straight from the socket into a file of the inbox, never all in memory."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import secrets
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import C_STORE, N_EVENT_REPORT
from pynetdicom.pdu_primitives import P_DATA

from segqa_dicom.dicom.uids import normalised_uid
from segqa_dicom.errors import InputError
from segqa_dicom.inbox import Inbox
from segqa_dicom.node.budget import IDLE_S, ProtocolError
from segqa_dicom.node.commands import STORE_REQUEST, Command, store_response
from segqa_dicom.node.contexts import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, Status

if TYPE_CHECKING:
    from pynetdicom.association import Association

PART_PREFIX = "node-"
"""Beginning of the names of our parts, for they share a folder with those of others."""
_MAX_MESSAGE_BYTES = 32_000_000
"""Of messages that are kept in memory; a storage commitment for 100,000 instances has half of it."""
_MAX_OUTSTANDING = 16
"""Messages that may wait at a time; one request without its answer is what was negotiated."""
_FLUSH_BYTES = 1 << 23
_COMMAND, _LAST = 1, 2
"""Bits of the message control header (PS3.8, section E.2)."""
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers that say that the disk takes no more."""


@dataclass(frozen=True, slots=True)
class Room:
    """Where parts are written, and how large they may become."""

    inbox: Inbox
    max_file_bytes: int
    min_free_bytes: int

    def is_short(self) -> bool:
        """Whether there is less space on the disk than there must be."""
        return self.inbox.free_bytes() < self.min_free_bytes


class Part:
    """A file that is being received; what was refused is received, too, but not kept.

    refusal : the status that the sender will get whatever else comes, and why; None while all is well
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self.path = room.inbox.parts / f"{PART_PREFIX}{secrets.token_hex(12)}"
        self.size = 0
        self.refusal: tuple[Status, str] | None = None
        self._descriptor = -1
        self._flushed_size = 0
        if room.is_short():
            self.refuse(Status.OUT_OF_RESOURCES, "disk is nearly full")
            return
        try:
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except OSError as error:
            self._failed(error)

    def write(self, data: bytes | memoryview) -> None:
        """Append; never raises."""
        if self.refusal is not None:
            return
        self.size += len(data)
        if self.size > self._room.max_file_bytes:
            self.refuse(Status.OUT_OF_RESOURCES, "larger than the limit")
            return
        try:
            if self.size - self._flushed_size > _FLUSH_BYTES:
                self._flush()
                if self._room.is_short():
                    self.refuse(Status.OUT_OF_RESOURCES, "disk is nearly full")
                    return
            written = os.write(self._descriptor, data)
            while written < len(data):
                written += os.write(self._descriptor, memoryview(data)[written:])
        except OSError as error:
            self._failed(error)

    def _flush(self) -> None:
        """Let the system begin to write to the disk, so that there is less to wait for at the end."""
        if hasattr(os, "posix_fadvise"):  # Linux; begins to write what is dirty, and keeps it
            start = self._flushed_size
            os.posix_fadvise(self._descriptor, start, self.size - start, os.POSIX_FADV_DONTNEED)
        self._flushed_size = self.size

    def finish(self) -> None:
        """No more will come."""
        if self._descriptor >= 0:
            try:
                os.close(self._descriptor)
            except OSError as error:
                self._failed(error)
            self._descriptor = -1

    def refuse(self, status: Status, reason: str) -> None:
        """Keep nothing of it."""
        self.refusal = (status, reason)
        self.discard()

    def discard(self) -> None:
        """Remove the file, if it is there; never raises."""
        with contextlib.suppress(OSError):
            if self._descriptor >= 0:
                os.close(self._descriptor)
        self._descriptor = -1
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _failed(self, error: OSError) -> None:
        full = error.errno in FULL
        self.refuse(Status.OUT_OF_RESOURCES if full else Status.PROCESSING_FAILURE, errno.errorcode[error.errno or 0])


def file_head(sop_class_uid: str, sop_instance_uid: str, transfer_syntax: str) -> bytes:
    """Preamble, prefix and file meta information (PS3.10, section 7.1)."""
    elements = _element(0x0001, b"OB", b"\0\1") + b"".join(
        _element(number, vr, text.encode("ascii"))
        for number, vr, text in (
            (0x0002, b"UI", sop_class_uid),
            (0x0003, b"UI", sop_instance_uid),
            (0x0010, b"UI", transfer_syntax),
            (0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
            (0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
        )
    )
    return bytes(128) + b"DICM" + _element(0x0000, b"UL", len(elements).to_bytes(4, "little")) + elements


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    if len(value) % 2:
        value += b"\0" if vr == b"UI" else b" "
    length = len(value).to_bytes(4, "little")
    return b"\2\0" + number.to_bytes(2, "little") + vr + (b"\0\0" + length if vr == b"OB" else length[:2]) + value


@dataclass
class Traffic:
    """What an association has brought so far."""

    instances: int = 0
    refused: int = 0
    bytes: int = 0
    commitments: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """An N-EVENT-REPORT to be sent.

    fail : is called if it was not acknowledged on this association
    """

    primitive: N_EVENT_REPORT
    context_id: int
    fail: Callable[[], None]


class Receiver(DIMSEServiceProvider):
    """pynetdicom's DIMSE provider, but for the data sets of C-STORE, which go into parts.

    All messages come in the upper layer's thread (`take`); all answers and reports go out in the association's.
    """

    def __init__(self, assoc: Association, room: Room) -> None:
        super().__init__(assoc)
        self._room = room
        self.traffic = Traffic()
        self.is_draining = False
        """Set when the node stops: the association is aborted as soon as it has nothing under way."""
        self._part: Part | None = None
        self._finished: dict[Path, Part] = {}
        self._request: C_STORE | None = None
        self._context_id: int | None = None
        """Of the data set that is awaited."""
        self._kept = bytearray()
        self._is_serving = False
        self._reports: deque[Report] = deque()
        self._unanswered: dict[int, Report] = {}
        self._lock = threading.Lock()
        self._is_over = False

    # in the upper layer's thread

    def take(self, pdu: memoryview) -> None:
        """The presentation data values of a P-DATA-TF PDU (PS3.8, section 9.3.5.1)."""
        at = 0
        while at < len(pdu):
            length = int.from_bytes(pdu[at : at + 4], "big")
            end = at + 4 + length
            if length < 2 or end > len(pdu):
                raise ProtocolError("a presentation data value of a wrong length")
            self._fragment(pdu[at + 4], pdu[at + 5], pdu[at + 6 : end])
            at = end

    def _fragment(self, context_id: int, control: int, data: memoryview) -> None:
        if control & _COMMAND:
            if self.message is not None or self._part is not None:
                raise ProtocolError("a command in the middle of a data set")
            self._keep(data)
            if control & _LAST:
                command, self._kept = bytes(self._kept), bytearray()
                self._begin(context_id, command)
        elif context_id != self._context_id:
            raise ProtocolError("a data set without a command")
        elif self._part is not None:
            self._part.write(data)
            self.traffic.bytes += len(data)
            if control & _LAST:
                self._complete(self._part)
        else:
            self._keep(data)
            if control & _LAST:
                kept, self._kept = bytes(self._kept), bytearray()
                self._pass_on(context_id, control, kept)
                self._context_id = None

    def _keep(self, data: memoryview) -> None:
        self._kept += data
        if len(self._kept) > _MAX_MESSAGE_BYTES:
            raise ProtocolError("a message that is too long")

    def _begin(self, context_id: int, data: bytes) -> None:
        """A command is there; what is no C-STORE request is left to pynetdicom."""
        if self.msg_queue.qsize() >= _MAX_OUTSTANDING:
            raise ProtocolError("more requests at a time than were negotiated")
        context = self.assoc._accepted_cx.get(context_id)  # noqa: SLF001 - no public way by number
        if context is None:
            raise ProtocolError("a message on a presentation context that was not accepted")
        command = Command(data)
        self._context_id = context_id if command.has_data_set else None
        if command.field != STORE_REQUEST:
            self._pass_on(context_id, _COMMAND | _LAST, data)
            return
        self._request = command.store_request(context_id)
        if command.has_data_set:
            self._part = self._opened(self._request, str(context.transfer_syntax[0]))
            self._request._dataset_path = self._part.path  # noqa: SLF001 - where pynetdicom has it
        else:
            self.msg_queue.put((context_id, self._request))

    def _opened(self, request: C_STORE, syntax: str) -> Part:
        part = Part(self._room)
        try:
            uids = [
                normalised_uid(uid, what="UID of the command")
                for uid in (request.AffectedSOPClassUID, request.AffectedSOPInstanceUID)
            ]
        except InputError as error:
            part.refuse(Status.CANNOT_UNDERSTAND, type(error).__name__)
        else:
            part.write(file_head(uids[0], uids[1], syntax))
        return part

    def _complete(self, part: Part) -> None:
        part.finish()
        self._finished[part.path] = part
        self.msg_queue.put((cast("int", self._context_id), cast("C_STORE", self._request)))
        self._part = self._request = self._context_id = None

    def _pass_on(self, context_id: int, control: int, data: bytes) -> None:
        primitive = P_DATA()
        primitive.presentation_data_value_list.append((context_id, bytes((control,)) + data))
        super().receive_primitive(primitive)

    # in the association's thread

    def finished(self, path: Path | None) -> Part | None:
        """The part of a request that was received as a whole; None if it came without a data set."""
        return self._finished.pop(path, None) if path is not None else None

    def get_msg(self, block: bool = False) -> Any:  # noqa: FBT001, FBT002
        """The next message, or (None, None); waits up to `IDLE_S` for it."""
        self._is_serving = False
        self._send_reports()
        try:
            found: Any = self.msg_queue.get(block=block or self._may_sleep(), timeout=IDLE_S)
        except queue.Empty:
            found = (None, None)
        if isinstance(found[1], N_EVENT_REPORT) and found[1].is_valid_response:
            self._unanswered.pop(found[1].MessageIDBeingRespondedTo or 0, None)
            return None, None
        self._is_serving = found[1] is not None
        if self.is_draining and not self.is_busy:
            self.assoc.abort(block=False)
        return found

    def _may_sleep(self) -> bool:
        return self.dul.is_alive() and self.dul.peek_next_pdu() is None

    @property
    def is_busy(self) -> bool:
        """Whether a request is being received or answered."""
        return self._is_serving or self._context_id is not None or not self.msg_queue.empty()

    def wake(self) -> None:
        """Let the association's thread look what is to be done; from any thread."""
        self.msg_queue.put((None, None))

    def send_msg(self, primitive: Any, context_id: int) -> None:
        """Send a message; answers to C-STORE without pydicom."""
        if isinstance(primitive, C_STORE) and primitive.MessageIDBeingRespondedTo is not None:
            data = P_DATA()
            answer = bytes((_COMMAND | _LAST,)) + store_response(primitive)
            data.presentation_data_value_list.append((context_id, answer))
            self.dul.send_pdu(data)
        else:
            super().send_msg(primitive, context_id)

    def report(self, report: Report) -> bool:
        """Send a report soon, from any thread; False if the association is over."""
        with self._lock:
            if self._is_over:
                return False
            self._reports.append(report)
        self.wake()
        return True

    def _send_reports(self) -> None:
        while self._reports and self.assoc.is_established and self.dul.peek_next_pdu() is None:
            report = self._reports.popleft()
            self._unanswered[report.primitive.MessageID or 0] = report
            self.send_msg(report.primitive, report.context_id)

    def end(self) -> None:
        """The association is over, and its threads: remove what was not received as a whole, or not asked for."""
        with self._lock:
            self._is_over = True
        for part in (self._part, *self._finished.values()):
            if part is not None:
                part.discard()
        self._part = None
        for report in (*self._reports, *self._unanswered.values()):
            report.fail()
