"""WADO-RS: retrieving objects, their metadata, frames and large values (PS3.18, section 10.4).

Objects are sent as they are stored, frames too, or decompressed for who asks for octets; a request that insists on
another encoding is refused (406).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from pydicom.uid import ExplicitVRLittleEndian
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from segqa_dicom import log
from segqa_dicom.archive.folder_index import Row
from segqa_dicom.dicom.dicom_json import bulk_value
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.multipart import Part
from segqa_dicom.errors import InputError
from segqa_dicom.web.dicomweb.frames import FrameSource, open_frames
from segqa_dicom.web.dicomweb.media import DICOM, DICOM_JSON, OCTETS, MediaType, accepted, accepts_gzip, accepts_json
from segqa_dicom.web.dicomweb.metadata import Memory, metadata_pieces
from segqa_dicom.web.dicomweb.multipart import file_pieces, multipart_response
from segqa_dicom.web.dicomweb.qido import gzipped
from segqa_dicom.web.dicomweb.ranges import Pieces, ranged_response
from segqa_dicom.web.dicomweb.retrieving import frame_numbers, path_of, rows_of
from segqa_dicom.web.dicomweb.validators import entity_tag, is_known, not_modified, tagged
from segqa_dicom.web.problems import Problem
from segqa_dicom.web.state import root_of, state_of

_PIXEL_DATA = "7FE00010"
_NATIVE = str(ExplicitVRLittleEndian)


def _tag(request: Request, rows: Sequence[Row]) -> str:
    return entity_tag(request, root_of(request), (row.digest for row in rows))


# Whole objects


async def retrieve(request: Request) -> Response:
    """GET of a study, a series or an instance: its objects as DICOM files."""
    archive, rows = await rows_of(request)
    tag = _tag(request, rows)
    for one in accepted(request):
        unfit = [row for row in rows if not one.covers_syntax(row.transfer_syntax_uid)]
        is_multipart = one.covers_part(DICOM)
        if unfit or not (is_multipart or (one.covers(DICOM) and len(rows) == 1)):
            continue
        if is_known(request, tag):
            return not_modified(tag)
        if is_multipart:
            paths = await run_in_threadpool(archive.fetch, [row.instance for row in rows], archive.folder)
            parts = [_object(paths[uid], row) for row in rows if (uid := row.instance.sop_instance_uid) in paths]
            return tagged(multipart_response(parts, DICOM), tag)
        headers = {"Content-Length": str(rows[0].size_bytes)}
        path = await path_of(archive, rows[0])
        return tagged(StreamingResponse(file_pieces(path), media_type=DICOM, headers=headers), tag)
    raise Problem(
        406,
        'objects are sent as multipart/related; type="application/dicom", single ones also as application/dicom, in the'
        " transfer syntax in which they are stored",
    )


def _object(path: Path, row: Row) -> Part:
    return Part(f"{DICOM}; transfer-syntax={row.transfer_syntax_uid}", row.size_bytes, partial(file_pieces, path))


# Metadata


async def retrieve_metadata(request: Request) -> Response:
    """GET of metadata: DICOM JSON, large values as references."""
    archive, rows = await rows_of(request)
    name = accepts_json(request)
    if not name:
        raise Problem(406, f"metadata are {DICOM_JSON}")
    tag = _tag(request, rows)
    if is_known(request, tag):
        return not_modified(tag)
    limits = state_of(request).settings.limits()
    paths = await run_in_threadpool(archive.fetch, [row.instance for row in rows], archive.folder)
    pieces = _metadata(rows, paths, root_of(request), limits)
    headers = {}
    if accepts_gzip(request):
        pieces, headers["Content-Encoding"] = gzipped(pieces), "gzip"
    return tagged(StreamingResponse(_gathered(pieces), media_type=name, headers=headers), tag)


def _metadata(rows: Sequence[Row], paths: dict[str, Path], root: str, limits: Limits) -> Iterator[bytes]:
    separator = b"["
    memory: Memory = {}
    for row in rows:
        one = row.instance
        where = f"/studies/{one.study_instance_uid}/series/{one.series_instance_uid}/instances/{one.sop_instance_uid}"
        try:
            pieces = metadata_pieces(paths[one.sop_instance_uid], f"{root}{where}/bulkdata", limits, memory)
            first = next(pieces)
        except (InputError, KeyError) as error:  # it could be read when it came: the disk has damaged it, or it is gone
            log.event("archive_file_unusable", object=log.hashed(one.sop_instance_uid), reason=type(error).__name__)
            continue
        yield separator
        yield first
        yield from pieces
        separator = b","
    yield b"[]" if separator == b"[" else b"]"


def _gathered(pieces: Iterator[bytes], enough_bytes: int = 1 << 16) -> Iterator[bytes]:
    """Pieces of a body, small ones together: each is sent by itself."""
    pending = bytearray()
    for piece in pieces:
        pending += piece
        if len(pending) >= enough_bytes:
            yield bytes(pending)
            pending.clear()
    if pending:
        yield bytes(pending)


# Frames


async def retrieve_frames(request: Request) -> Response:
    """GET of frames: each as a part, as it is encoded in the object, or decompressed; one also by itself."""
    archive, rows = await rows_of(request)
    numbers = frame_numbers(request.path_params["frames"])
    limits = state_of(request).settings.limits()
    source = await run_in_threadpool(open_frames, await path_of(archive, rows[0]), limits)
    if source is None:
        raise Problem(404, "the instance has no pixel data")
    if max(numbers) > source.number_of_frames:
        raise Problem(404, f"the instance has {source.number_of_frames} frames")
    tag = _tag(request, rows)
    encoding = _frame_encoding(accepted(request), source, is_single=len(numbers) == 1)
    if is_known(request, tag):
        return not_modified(tag)
    return tagged(await _frames(source, numbers, encoding, limits), tag)


async def _frames(
    source: FrameSource, numbers: Sequence[int], encoding: tuple[MediaType, str, str], limits: Limits
) -> Response:
    asked, media_type, syntax = encoding
    is_decoded = syntax != source.transfer_syntax
    bodies = [
        partial(source.decoded, [number], limits) if is_decoded else partial(source.frames, [number])
        for number in numbers
    ]
    content_type = f"{media_type}; transfer-syntax={syntax}"
    first = await run_in_threadpool(lambda: b"".join(bodies[0]()))  # what is wrong with it still becomes a status
    if asked.covers_part(media_type):
        parts = [Part(content_type, None, body) for body in bodies[1:]]
        return multipart_response([Part(content_type, len(first), lambda: iter([first])), *parts], media_type)
    return Response(first, headers={"Content-Type": content_type})


def _frame_encoding(ranges: Sequence[MediaType], source: FrameSource, *, is_single: bool) -> tuple[MediaType, str, str]:
    """Range that is met, media type and transfer syntax; raises `Problem` 406 if there are none.

    Who asks for octets in no stated transfer syntax gets them uncompressed, as is the default of the standard; who
    takes any (``*``), or everything, as they are stored.
    """
    for one in ranges:
        for media_type, syntax in _offers(one, source):
            if one.covers_part(media_type) or (is_single and one.is_whole and one.covers(media_type)):
                return one, media_type, syntax
    also = f", or decompressed {OCTETS} in {_NATIVE}" if source.is_compressed else ""
    raise Problem(406, f"its frames are {source.media_type} in transfer syntax {source.transfer_syntax}{also}")


def _offers(one: MediaType, source: FrameSource) -> Iterator[tuple[str, str]]:
    if one.covers_syntax(source.transfer_syntax):
        yield source.media_type, source.transfer_syntax
    if source.is_compressed and one.covers_syntax(_NATIVE) and one.transfer_syntax != "*":
        yield OCTETS, _NATIVE
    if one.covers_syntax(source.transfer_syntax):
        yield OCTETS, source.transfer_syntax


# Large values


async def retrieve_bulk_data(request: Request) -> Response:
    """GET of a value that metadata only refer to."""
    archive, rows = await rows_of(request)
    path, where = await path_of(archive, rows[0]), request.path_params["where"]
    limits = state_of(request).settings.limits()
    tag = _tag(request, rows)
    if where == _PIXEL_DATA:
        return tagged(await _pixel_data(request, path, limits), tag)
    value = await run_in_threadpool(bulk_value, path, where, limits)
    if value is None:
        raise Problem(404, "the instance has no such value")
    return tagged(_octets(request, len(value), lambda start, length: iter([value[start : start + length]])), tag)


async def _pixel_data(request: Request, path: Path, limits: Limits) -> Response:
    source = await run_in_threadpool(open_frames, path, limits)
    if source is None:
        raise Problem(404, "the instance has no pixel data")
    if not source.is_compressed:
        return _octets(request, source.size_bytes, source.native_pieces)
    encoding = _frame_encoding(accepted(request), source, is_single=source.number_of_frames == 1)
    return await _frames(source, range(1, source.number_of_frames + 1), encoding, limits)


def _octets(request: Request, size_bytes: int, pieces: Pieces) -> Response:
    for one in accepted(request):
        if one.covers_part(OCTETS):
            return multipart_response([Part(OCTETS, size_bytes, lambda: pieces(0, size_bytes))], OCTETS)
        if one.covers(OCTETS):
            return ranged_response(request, size_bytes, pieces, OCTETS)
    raise Problem(406, f"large values are {OCTETS}")
