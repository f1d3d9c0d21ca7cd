"""STOW-RS: storing objects (PS3.18, section 10.5).

The body goes to the disk piece by piece, each part into a file of its own; the sender is answered when the archive has
them all.
"""

from __future__ import annotations

import errno
import json
import secrets
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from segqa_dicom.archive import Instance, Outcome, Stored
from segqa_dicom.archive.folder_files import synchronise
from segqa_dicom.archive.folder_keys import read_outgoing
from segqa_dicom.dicom.elements import Unfamiliar, file_meta
from segqa_dicom.dicom.multipart import Event, MultipartParser, PartBegins, PartEnds
from segqa_dicom.errors import InputError, LimitExceeded
from segqa_dicom.web.dicomweb.media import DICOM, DICOM_JSON, MULTIPART, MediaType, accepts_json, media_type
from segqa_dicom.web.dicomweb.qido import json_response, uid_in_path
from segqa_dicom.web.dicomweb.stow_json import PART_PREFIX, JsonReceiver
from segqa_dicom.web.problems import Problem
from segqa_dicom.web.state import State, root_of, state_of

BATCH = 100
"""Objects given to the archive at a time."""

OUT_OF_RESOURCES, PROCESSING_FAILURE, DUPLICATE, CANNOT_UNDERSTAND = 0xA700, 0x0110, 0x0111, 0xC000
"""Failure Reasons (PS3.4, section B.2.3; PS3.7, annex C)."""
_REFERENCED, _FAILED, _OTHER_FAILURES = "00081199", "00081198", "0008119A"
_CLASS, _INSTANCE, _RETRIEVE_URL, _REASON = "00081150", "00081155", "00081190", "00081197"


_NO_SPACE = "the service has too little disk space to take objects; try again when its operator has made some"
_PREAMBLE = bytes(128) + b"DICM"
_META_LENGTH = 0x00020000
_META_BYTES = 1 << 16
"""File meta information that is longer is none that is worth repairing."""


@dataclass(slots=True)
class _Outcomes:
    """What became of the parts of a request.

    failures : with Failure Reason; parts that are no objects have no instance
    """

    stored: list[Instance] = field(default_factory=list)
    failures: list[tuple[Instance | None, int]] = field(default_factory=list)


async def store(request: Request) -> Response:
    """POST of objects, to a study or to any."""
    state, study = state_of(request), uid_in_path(request, "study")
    state.folder_archive  # noqa: B018 - raises if the archive is not a folder
    name = accepts_json(request)
    if not name:
        raise Problem(406, f"the answer is {DICOM_JSON}")
    if await run_in_threadpool(state.inbox.free_bytes) < state.service.min_free_bytes:
        raise Problem(507, _NO_SPACE)
    outcomes = _Outcomes()
    files = _Receiver(state, study, outcomes)
    content = media_type(request.headers.get("content-type", ""))
    receiver: _Receiver | JsonReceiver = files
    if content.part_type == DICOM_JSON:
        receiver = JsonReceiver(state.inbox.parts, files)
    try:
        async for event in _events(request, content):
            await run_in_threadpool(receiver.take, event)
        await run_in_threadpool(receiver.store)
    except ClientDisconnect as error:
        raise Problem(400, "the body is not complete") from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise Problem(507, _NO_SPACE) from error
    finally:
        receiver.remove()
    if not outcomes.stored and not outcomes.failures:
        raise Problem(400, "the body has no parts")
    root = root_of(request)
    response = await json_response(request, lambda: iter([_body(outcomes, root)]), name, {})
    response.status_code = 200 if not outcomes.failures else 202 if outcomes.stored else 409
    return response


async def _events(request: Request, content: MediaType) -> AsyncIterator[list[Event]]:
    """What each piece of the body brings."""
    if content.name == DICOM:
        yield [PartBegins(DICOM)]
        async for piece in request.stream():
            yield [piece]
        yield [PartEnds()]
        return
    if content.name != MULTIPART or content.part_type not in ("", DICOM, DICOM_JSON):
        raise Problem(
            415,
            'objects are taken as multipart/related; type="application/dicom" (or "application/dicom+json" with bulk'
            " data as further parts), one also as application/dicom",
        )
    parser = MultipartParser(content.boundary)
    async for piece in request.stream():
        yield list(parser.feed(piece))
    parser.finish()


class _Receiver:
    """Writes parts into files, and stores them when there are enough."""

    def __init__(self, state: State, study_instance_uid: str, outcomes: _Outcomes) -> None:
        self._state, self._study, self._outcomes = state, study_instance_uid, outcomes
        self._limits = state.settings.limits()
        self._stream: BinaryIO | None = None
        self._received_bytes = 0
        self._path = Path()
        self._complete: list[Path] = []

    def take(self, events: Sequence[Event]) -> None:
        """What a piece of the body brought."""
        for event in events:
            if isinstance(event, PartBegins):
                self._begin(event)
            elif isinstance(event, PartEnds):
                self._end()
            else:
                self._write(event)

    def _begin(self, part: PartBegins) -> None:
        if media_type(part.content_type).name not in ("", DICOM):
            raise Problem(415, "a part of the body is not application/dicom")
        self._path = self._state.inbox.parts / f"{PART_PREFIX}{secrets.token_hex(16)}"
        self._stream = self._path.open("wb")
        self._received_bytes = 0

    def _write(self, piece: bytes) -> None:
        self._received_bytes += len(piece)
        if self._stream is not None and self._received_bytes <= self._limits.max_file_bytes:
            self._stream.write(piece)

    def _end(self) -> None:
        if self._stream is None:
            return
        self._stream.close()
        self._stream = None
        if self._received_bytes > self._limits.max_file_bytes:
            self._path.unlink()
            self._outcomes.failures.append((None, OUT_OF_RESOURCES))
            return
        self.add(self._path)

    def add(self, path: Path) -> None:
        """A complete object in a file, which becomes ours."""
        self._complete.append(path)
        _finish(path)
        if len(self._complete) >= BATCH:
            self.store()

    def store(self) -> None:
        """Give the archive what is complete."""
        outgoing = []
        for path in self._complete:
            try:
                one = read_outgoing(path, self._limits)
            except InputError as error:
                reason = OUT_OF_RESOURCES if isinstance(error, LimitExceeded) else CANNOT_UNDERSTAND
                self._outcomes.failures.append((None, reason))
                continue
            if self._study and one.instance.study_instance_uid != self._study:
                self._outcomes.failures.append((one.instance, PROCESSING_FAILURE))
                continue
            outgoing.append(one)
        stored = self._state.archive.store(outgoing)
        self._note([(one.instance, result) for one, result in zip(outgoing, stored, strict=True)])
        for path in self._complete:
            path.unlink()
        self._complete = []

    def _note(self, results: Sequence[tuple[Instance, Stored]]) -> None:
        there = [one for one, result in results if result.outcome in (Outcome.STORED, Outcome.ALREADY_THERE)]
        if there:
            self._state.on_stored(there)
        self._outcomes.stored += there
        reasons = {Outcome.CONFLICT: DUPLICATE, Outcome.REFUSED: PROCESSING_FAILURE}
        self._outcomes.failures += [
            (one, reasons[result.outcome]) for one, result in results if result.outcome in reasons
        ]

    def fail(self, instance: Instance | None) -> None:
        """Note that a part could not be understood."""
        self._outcomes.failures.append((instance, CANNOT_UNDERSTAND))

    def remove(self) -> None:
        """Delete what is left of a request that failed."""
        if self._stream is not None:
            self._stream.close()
            self._complete.append(self._path)
        for path in self._complete:
            with suppress(FileNotFoundError):
                path.unlink()


def _finish(path: Path) -> None:
    """Make a file durable; and one of DICOM, if only its beginning is missing, as of what dicomweb-client sends."""
    with path.open("rb") as stream:
        begin = _missing_beginning(stream.read(_META_BYTES))
        if begin:
            stream.seek(0)
            whole = path.with_name(path.name + "-whole")
            with whole.open("wb") as target:
                target.write(begin)
                shutil.copyfileobj(stream, target)
            whole.rename(path)
    synchronise([path])


def _missing_beginning(head: bytes) -> bytes:
    """What must stand in front of a file that begins with its file meta information (PS3.10, section 7.1).

    That is the preamble, and the length of that information if it does not state it.
    """
    if head[:2] != b"\x02\0" or not head[4:6].isalpha() or head[128:132] == b"DICM":
        return b""
    try:
        elements, length = file_meta(head, 0)
    except Unfamiliar:
        return b""
    states_length = bool(elements) and elements[0][0] == _META_LENGTH
    return _PREAMBLE + (b"" if states_length else b"\x02\0\0\0UL\x04\0" + length.to_bytes(4, "little"))


def _body(outcomes: _Outcomes, root: str) -> bytes:
    stored = [_reference(one) | {_RETRIEVE_URL: _value("UR", _url(one, root))} for one in outcomes.stored]
    failed = [_reference(one) | {_REASON: _value("US", reason)} for one, reason in outcomes.failures if one is not None]
    others = [{_REASON: _value("US", reason)} for one, reason in outcomes.failures if one is None]
    found: dict[str, Any] = {}
    for tag, items in ((_FAILED, failed), (_REFERENCED, stored), (_OTHER_FAILURES, others)):
        if items:
            found[tag] = {"vr": "SQ", "Value": items}
    if len({one.study_instance_uid for one in outcomes.stored}) == 1:
        found[_RETRIEVE_URL] = _value("UR", f"{root}/studies/{outcomes.stored[0].study_instance_uid}")
    return json.dumps(dict(sorted(found.items())), separators=(",", ":")).encode()


def _reference(instance: Instance) -> dict[str, Any]:
    return {_CLASS: _value("UI", instance.sop_class_uid), _INSTANCE: _value("UI", instance.sop_instance_uid)}


def _value(vr: str, value: object) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


def _url(one: Instance, root: str) -> str:
    return f"{root}/studies/{one.study_instance_uid}/series/{one.series_instance_uid}/instances/{one.sop_instance_uid}"
