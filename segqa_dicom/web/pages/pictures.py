"""/pictures and /thumbnails: planes of open cases, and small pictures for lists."""

from __future__ import annotations

import hashlib
import re
from threading import BoundedSemaphore

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from segqa_dicom.model import WHOLE
from segqa_dicom.pictures import Plane, plane
from segqa_dicom.pictures.scenes import focus_of
from segqa_dicom.pictures.thumbnails import MEDIA_TYPE
from segqa_dicom.rendering.windows import Window
from segqa_dicom.web.dicomweb.validators import is_known
from segqa_dicom.web.pages.drafts import machine_in, place_in
from segqa_dicom.web.pages.state import number_in, pages_of, reader_of, uid_in
from segqa_dicom.web.problems import Problem

THUMBNAIL_PX = 112
_drawing = BoundedSemaphore(2)
_WINDOW = re.compile(r"(-?[0-9]{1,6}(?:\.[0-9]{1,6})?),([0-9]{1,6}(?:\.[0-9]{1,6})?)\Z")


async def picture(request: Request) -> Response:
    """GET of one plane: JSON with the picture as data URL and contours as paths; see `Plane.as_json`.

    Query: ``window`` = level,width; ``segmentation`` and ``segment``: what is drawn strongly.
    """
    study, series = uid_in(request.path_params, "study"), uid_in(request.path_params, "ct_series")
    view, index = request.path_params["view"], number_in(request.path_params, "index")
    segmentation = uid_in({"uid": request.query_params.get("segmentation", "")}, "uid")
    segment = number_in({"segment": request.query_params.get("segment", "0")}, "segment")
    found = _WINDOW.match(request.query_params.get("window", ""))
    if not found:
        raise Problem(400, "window is level,width")
    window = Window("asked for", float(found[2]), float(found[1]))
    reader_of(request)
    cases = pages_of(request).cases

    def draw() -> Plane:
        opened = cases.open(study, series, must_have=segmentation)
        place = None if segment == WHOLE else opened.segment_place(segmentation, segment)
        focus = focus_of(opened, opened.segmentation_index(segmentation), place)
        return plane(opened, view, index, window=window, focus=focus)

    drawn = await run_in_threadpool(lambda: draw().as_json())
    return JSONResponse(drawn, headers={"Cache-Control": "no-store"})


async def thumbnail(request: Request) -> Response:
    """GET of a small picture of a segment, three planes side by side; browsers may keep it, but ask each time."""
    place, pages = place_in(request), pages_of(request)
    reader_of(request)
    find = pages.thumbnails.find

    def draw() -> bytes:
        machine = machine_in(request, place)
        kept = find(machine.ct_series, place.segmentation, place.segment, size_px=THUMBNAIL_PX)
        if kept is not None:
            return kept
        with _drawing:  # lists ask for many at once; who reviews shall not wait behind them
            return pages.thumbnails.get(
                machine.study, machine.ct_series, place.segmentation, place.segment, size_px=THUMBNAIL_PX
            )

    content = await run_in_threadpool(draw)
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if is_known(request, tag):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=MEDIA_TYPE, headers=headers)
