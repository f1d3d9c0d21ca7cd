"""WADO-RS: retrieving objects, their metadata, frames and large values (PS3.18, section 10.4).

Objects and frames are sent as they are stored; a request that insists on another encoding is refused (406).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from segqa_dicom import log
from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.archive.folder_index import Row
from segqa_dicom.errors import InputError
from segqa_dicom.reading.limits import Limits
from segqa_dicom.web.dicom_json import bulk_value, json_array, metadata
from segqa_dicom.web.frames import FrameSource, open_frames, pixel_value
from segqa_dicom.web.media import DICOM, DICOM_JSON, OCTETS, MediaType, accepted, accepts_gzip, accepts_json
from segqa_dicom.web.multipart import Part, file_pieces, multipart_response
from segqa_dicom.web.problems import Problem
from segqa_dicom.web.qido import gzipped, uid_in_path
from segqa_dicom.web.state import DICOM_WEB, state_of

_PIXEL_DATA = "7FE00010"
_MAX_FRAMES_ASKED = 100_000


async def _rows(request: Request) -> tuple[FolderArchive, list[Row]]:
    """The instances that the path names; raises `Problem` 404 if there are none."""
    archive = state_of(request).folder_archive
    uids = [uid_in_path(request, name) for name in ("study", "series", "instance")]
    rows = await run_in_threadpool(archive.rows_of, *uids)
    if not rows:
        raise Problem(404, "the archive has no such instances")
    return archive, rows


async def _path(archive: FolderArchive, row: Row) -> Path:
    path = await run_in_threadpool(archive.path_of, row.instance.sop_instance_uid)
    if path is None:
        raise Problem(404, "the archive has no such instance any more")
    return path


# Whole objects


async def retrieve(request: Request) -> Response:
    """GET of a study, a series or an instance: its objects as DICOM files."""
    archive, rows = await _rows(request)
    for one in accepted(request):
        unfit = [row for row in rows if not one.covers_syntax(row.transfer_syntax_uid)]
        if one.covers_part(DICOM) and not unfit:
            paths = await run_in_threadpool(archive.fetch, [row.instance for row in rows], archive.folder)
            return multipart_response([_object(paths[row.instance.sop_instance_uid], row) for row in rows], DICOM)
        if one.covers(DICOM) and not unfit and len(rows) == 1:
            headers = {"Content-Length": str(rows[0].size_bytes)}
            return StreamingResponse(file_pieces(await _path(archive, rows[0])), media_type=DICOM, headers=headers)
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
    archive, rows = await _rows(request)
    name = accepts_json(request)
    if not name:
        raise Problem(406, f"metadata are {DICOM_JSON}")
    root = f"{str(request.base_url).rstrip('/')}{DICOM_WEB}"
    limits = state_of(request).settings.limits()
    paths = await run_in_threadpool(archive.fetch, [row.instance for row in rows], archive.folder)
    pieces = json_array(_metadata(rows, paths, root, limits))
    headers = {"Vary": "Accept, Accept-Encoding"}
    if accepts_gzip(request):
        pieces, headers["Content-Encoding"] = gzipped(pieces), "gzip"
    return StreamingResponse(pieces, media_type=name, headers=headers)


def _metadata(rows: Sequence[Row], paths: dict[str, Path], root: str, limits: Limits) -> Iterator[dict[str, Any]]:
    for row in rows:
        one = row.instance
        where = f"/studies/{one.study_instance_uid}/series/{one.series_instance_uid}/instances/{one.sop_instance_uid}"
        try:
            yield metadata(paths[one.sop_instance_uid], f"{root}{where}/bulkdata", limits)
        except InputError as error:  # it could be read when it came: the disk has damaged it
            log.event("archive_file_unusable", object=log.hashed(one.sop_instance_uid), reason=type(error).__name__)


# Frames


async def retrieve_frames(request: Request) -> Response:
    """GET of frames: each as a part, as it is encoded in the object."""
    archive, rows = await _rows(request)
    numbers = _frame_numbers(request.path_params["frames"])
    limits = state_of(request).settings.limits()
    source = await run_in_threadpool(open_frames, await _path(archive, rows[0]), limits)
    if source is None:
        raise Problem(404, "the instance has no pixel data")
    if max(numbers) > source.number_of_frames:
        raise Problem(404, f"the instance has {source.number_of_frames} frames")
    media_type = _frame_type(accepted(request), source)
    if not media_type:
        raise Problem(406, f"its frames are {source.media_type} in transfer syntax {source.transfer_syntax}")
    return multipart_response(_frame_parts(source, numbers, media_type), media_type)


def _frame_parts(source: FrameSource, numbers: Sequence[int], media_type: str) -> list[Part]:
    content_type = f"{media_type}; transfer-syntax={source.transfer_syntax}"
    return [Part(content_type, None, partial(source.frames, [number])) for number in numbers]


def _frame_numbers(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.isascii() and part.isdecimal() and len(part) < 10 for part in parts):
        raise Problem(400, "frames are asked for by numbers, separated by commas")
    numbers = [int(part) for part in parts]
    if min(numbers) < 1 or len(numbers) > _MAX_FRAMES_ASKED:
        raise Problem(400, f"frames are counted from 1, and at most {_MAX_FRAMES_ASKED} are sent at a time")
    return numbers


def _frame_type(ranges: Sequence[MediaType], source: FrameSource) -> str:
    """The media type to send; compressed frames are octets for those who ask for octets. Empty if none is accepted."""
    for one in ranges:
        if not one.covers_syntax(source.transfer_syntax):
            continue
        for media_type in (source.media_type, OCTETS):
            if one.covers_part(media_type):
                return media_type
    return ""


# Large values


async def retrieve_bulk_data(request: Request) -> Response:
    """GET of a value that metadata only refer to."""
    archive, rows = await _rows(request)
    path, where = await _path(archive, rows[0]), request.path_params["where"]
    limits = state_of(request).settings.limits()
    ranges = accepted(request)
    if where == _PIXEL_DATA:
        return await _pixel_data(path, limits, ranges)
    value = await run_in_threadpool(bulk_value, path, where, limits)
    if value is None:
        raise Problem(404, "the instance has no such value")
    return _octets(Part(OCTETS, len(value), lambda: iter([value])), ranges)


async def _pixel_data(path: Path, limits: Limits, ranges: Sequence[MediaType]) -> Response:
    found = await run_in_threadpool(pixel_value, path, limits)
    if isinstance(found, bytes):
        return _octets(Part(OCTETS, len(found), lambda: iter([found])), ranges)
    if found is not None:
        return _octets(Part(OCTETS, found[1], partial(file_pieces, path, *found)), ranges)
    source = await run_in_threadpool(open_frames, path, limits)
    if source is None:
        raise Problem(404, "the instance has no pixel data")
    media_type = _frame_type(ranges, source)
    if not media_type:
        raise Problem(406, f"its frames are {source.media_type} in transfer syntax {source.transfer_syntax}")
    return multipart_response(_frame_parts(source, range(1, source.number_of_frames + 1), media_type), media_type)


def _octets(part: Part, ranges: Sequence[MediaType]) -> Response:
    for one in ranges:
        if one.covers_part(OCTETS):
            return multipart_response([part], OCTETS)
        if one.covers(OCTETS):
            headers = {"Content-Length": str(part.size_bytes)}
            return StreamingResponse(part.body(), media_type=OCTETS, headers=headers)
    raise Problem(406, f"large values are {OCTETS}")
