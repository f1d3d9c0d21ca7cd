"""Rendered resources and thumbnails (PS3.18, section 10.4): pictures of images, pages of documents."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import partial

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from segqa_dicom.archive.folder_index import Row
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.multipart import Part
from segqa_dicom.dicom.sop_classes import CT_CLASSES, SEG_CLASSES
from segqa_dicom.errors import InputError
from segqa_dicom.sr.outline import HTML, PLAIN, document
from segqa_dicom.web.dicomweb.frame_images import DEFAULT_QUALITY, JPEG, PNG, Style, Viewport, Window, picture
from segqa_dicom.web.dicomweb.frames import FrameSource, open_frames
from segqa_dicom.web.dicomweb.media import accepted
from segqa_dicom.web.dicomweb.multipart import multipart_response
from segqa_dicom.web.dicomweb.retrieving import frame_numbers, path_of, rows_of
from segqa_dicom.web.dicomweb.validators import entity_tag, is_known, not_modified, tagged
from segqa_dicom.web.problems import Problem
from segqa_dicom.web.state import root_of, state_of

THUMBNAIL_PIXELS = 128
_MAX_PIXELS = 8192
_MAX_FRAMES = 64
"""Frames that are rendered in one answer."""
_FUNCTIONS = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
_NUMBER = re.compile(r"-?[0-9]{1,9}(?:\.[0-9]{1,9})?\Z")


async def retrieve_rendered(request: Request) -> Response:
    """GET of an instance, or of frames of it, as people see them: the middle frame, or the page of a document."""
    archive, rows = await rows_of(request)
    style, limits = _style(request), state_of(request).settings.limits()
    path = await path_of(archive, rows[0])
    source = await run_in_threadpool(open_frames, path, limits)
    tag = entity_tag(request, root_of(request), [rows[0].digest])
    if source is not None:
        numbers = _numbers_asked(request, source)
        media_type = _best(request, (JPEG, PNG), "pictures")
        make: Callable[[], list[bytes]] = partial(_pictures, source, numbers, style, media_type, limits)
    elif "frames" in request.path_params:
        raise Problem(404, "the instance has no pixel data")
    else:
        media_type = _best(request, (HTML, PLAIN), "documents")
        make = partial(_pages, rows[0], partial(document, path, media_type, limits))
    if is_known(request, tag):
        return not_modified(tag)
    found = await run_in_threadpool(make)
    if len(found) == 1:
        suffix = "; charset=utf-8" if source is None else ""
        return tagged(Response(found[0], headers={"Content-Type": media_type + suffix}), tag)
    parts = [Part(media_type, len(one), partial(iter, [one])) for one in found]
    return tagged(multipart_response(parts, media_type), tag)


async def retrieve_thumbnail(request: Request) -> Response:
    """GET of a small picture of a study, a series, an instance or a frame: of the middle one of its images."""
    archive, rows = await rows_of(request)
    style, limits = _style(request), state_of(request).settings.limits()
    side = Viewport(THUMBNAIL_PIXELS, THUMBNAIL_PIXELS)
    style = Style(style.window, style.viewport or side, style.quality)
    media_type = _best(request, (JPEG, PNG), "thumbnails")
    row = _representative(rows)
    tag = entity_tag(request, root_of(request), [row.digest])
    if is_known(request, tag):
        return not_modified(tag)
    source = await run_in_threadpool(open_frames, await path_of(archive, row), limits)
    if source is None:
        raise Problem(404, "there is no image in it")
    numbers = _numbers_asked(request, source)[:1]
    found = await run_in_threadpool(_pictures, source, numbers, style, media_type, limits)
    return tagged(Response(found[0], headers={"Content-Type": media_type}), tag)


def _representative(rows: Sequence[Row]) -> Row:
    """The middle one of the images, before segmentations, before all others."""
    for classes in (CT_CLASSES, SEG_CLASSES):
        images = [row for row in rows if row.instance.sop_class_uid in classes]
        if images:
            of_first_series = [
                row for row in images if row.instance.series_instance_uid == images[0].instance.series_instance_uid
            ]
            return of_first_series[len(of_first_series) // 2]
    return rows[len(rows) // 2]


def _numbers_asked(request: Request, source: FrameSource) -> list[int]:
    if "frames" not in request.path_params:
        return [source.number_of_frames // 2 + 1]
    numbers = frame_numbers(request.path_params["frames"])
    if max(numbers) > source.number_of_frames:
        raise Problem(404, f"the instance has {source.number_of_frames} frames")
    if len(numbers) > _MAX_FRAMES:
        raise Problem(400, f"at most {_MAX_FRAMES} frames are rendered at a time")
    return numbers


def _pictures(
    source: FrameSource, numbers: Sequence[int], style: Style, media_type: str, limits: Limits
) -> list[bytes]:
    try:
        return [picture(source, number, style, media_type, limits) for number in numbers]
    except InputError as error:
        raise Problem(406, f"it cannot be shown: {error}") from error


def _pages(row: Row, make: Callable[[], bytes | None]) -> list[bytes]:
    page = make()
    if page is None:
        raise Problem(406, f"objects of class {row.instance.sop_class_uid} cannot be shown; retrieve the object")
    return [page]


def _best(request: Request, offered: Sequence[str], what: str) -> str:
    for one in accepted(request):
        for media_type in offered:
            if one.covers(media_type) or one.covers_part(media_type):
                return media_type
    raise Problem(406, f"{what} are {' or '.join(offered)}")


def _style(request: Request) -> Style:
    """Query parameters of rendering (PS3.18, section 8.3.5); what is not among them is not looked at."""
    given = request.query_params
    quality = _numbers(given["quality"], "quality", (1,)) if "quality" in given else [DEFAULT_QUALITY]
    if not 1 <= quality[0] <= 100:
        raise Problem(400, "quality is a number from 1 to 100")
    window = _window(given["window"]) if "window" in given else None
    return Style(window, _viewport(given["viewport"]) if "viewport" in given else None, int(quality[0]))


def _window(given: str) -> Window:
    center, _, rest = given.partition(",")
    width, _, function = rest.partition(",")
    values = _numbers(f"{center},{width}", "window", (2,))
    if values[1] <= 0 or (function or "linear").lower() not in _FUNCTIONS:
        raise Problem(
            400, f"window is center,width,function with a width above 0; functions are {', '.join(_FUNCTIONS)}"
        )
    return Window(values[0], values[1], _FUNCTIONS[(function or "linear").lower()])


def _viewport(given: str) -> Viewport:
    values = _numbers(given, "viewport", (2, 6))
    width, height = int(values[0]), int(values[1])
    if not (1 <= width <= _MAX_PIXELS and 1 <= height <= _MAX_PIXELS):
        raise Problem(400, f"a viewport has 1 to {_MAX_PIXELS} pixels in width and height")
    if len(values) == 2:
        return Viewport(width, height)
    left, top, columns, rows = values[2:]
    if min(left, top) < 0 or min(columns, rows) <= 0:
        raise Problem(400, "the region of a viewport begins at 0 or behind, and has a width and a height; "
                      "turned or mirrored pictures are not made")  # fmt: skip
    return Viewport(width, height, (left, top, columns, rows))


def _numbers(text: str, name: str, counts: Sequence[int]) -> list[float]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in counts or not all(_NUMBER.match(part) for part in parts):
        raise Problem(400, f"{name} is not {' or '.join(map(str, counts))} numbers, separated by commas")
    return [float(part) for part in parts if math.isfinite(float(part))]
