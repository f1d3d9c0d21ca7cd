"""Thumbnails for lists: axial, coronal and sagittal plane side by side, with contours."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from segqa_dicom.model import PointMm
from segqa_dicom.pictures.errors import NoSuchPlane
from segqa_dicom.pictures.locations import start, to_voxel
from segqa_dicom.pictures.open_case import OpenCase, SegmentIndex, Voxel
from segqa_dicom.pictures.slice_images import grey_plane, outlines_in
from segqa_dicom.rendering.finding_figure import colour_of
from segqa_dicom.rendering.patient_planes import VIEWS, Planes
from segqa_dicom.rendering.windows import Window

DRAWING_VERSION = 1
"""Part of the cache key, to be raised with each change of the drawing."""
MEDIA_TYPE = "image/webp"
SIZES_PX = (32, 512)
"""Smallest and largest height."""

_SMALLEST_MM, _LARGEST_MM = 60.0, 180.0
_MARGIN = 1.25
_GAP_PX = 2
_FINER = 2
"""Supersampling factor."""
_LINE_PX, _SHADOW_PX, _MARK_PX = 1.6, 3.2, 5
_QUALITY = 82
_Range = tuple[float, float]


def thumbnail(
    open_case: OpenCase, point_mm: PointMm | None, focus: Sequence[SegmentIndex], *, size_px: int = 128
) -> bytes:
    """Three planes through a point, at one scale, as WebP of 3 x `size_px` (and gaps) by `size_px`.

    point_mm : LPS mm, marked by a cross; None = the centre of the first segment in focus, without a cross
    focus : segments with contours, the first one on top and complete if possible
    Raises `NoSuchPlane` for a size outside `SIZES_PX`.
    """
    if not SIZES_PX[0] <= size_px <= SIZES_PX[1]:
        raise NoSuchPlane(f"a thumbnail is {SIZES_PX[0]} to {SIZES_PX[1]} pixels high")
    first = focus[0] if focus else None
    voxel = start(open_case, first, [])[0] if point_mm is None else to_voxel(open_case, point_mm)
    window = open_case.default_window if first is None else open_case.window_of(*first)
    views = [open_case.planes[view.name] for view in VIEWS]
    spans = [_box_mm(open_case, planes, first) for planes in views]
    size_mm = _size_mm(spans)
    sheet = Image.new("RGB", (3 * size_px + 2 * _GAP_PX, size_px))
    for number, (planes, span) in enumerate(zip(views, spans, strict=True)):
        drawing = _Drawing(open_case, planes, voxel, span, size_mm, size_px)
        sheet.paste(drawing.drawn(window, focus, is_marked=point_mm is not None), (number * (size_px + _GAP_PX), 0))
    stream = io.BytesIO()
    sheet.save(stream, "WEBP", quality=_QUALITY, method=2)
    return stream.getvalue()


def _box_mm(open_case: OpenCase, planes: Planes, place: SegmentIndex | None) -> tuple[_Range, _Range] | None:
    """Range (down, across) of a segment in the planes of a view, in mm from their upper left corner."""
    box = None if place is None else open_case.bounding_box(*place)
    if box is None:
        return None
    last = (box.stop[0] - 1, box.stop[1] - 1, box.stop[2] - 1)
    one, other = planes.pixel_of(box.start), planes.pixel_of(last)
    down, across = (
        (min(one[axis], other[axis]) * planes.pixel_mm[axis], (max(one[axis], other[axis]) + 1) * planes.pixel_mm[axis])
        for axis in range(2)
    )
    return down, across


def _size_mm(spans: Sequence[tuple[_Range, _Range] | None]) -> float:
    """Field of view of each plane in mm, down and across."""
    lengths = [high - low for span in spans if span is not None for low, high in span]
    wanted = _MARGIN * max(lengths) if lengths else (_SMALLEST_MM + _LARGEST_MM) / 2
    return min(max(wanted, _SMALLEST_MM), _LARGEST_MM)


class _Drawing:
    """One plane of a thumbnail; points are (down, across), `corner_mm` is that of the crop in the whole plane."""

    def __init__(
        self,
        open_case: OpenCase,
        planes: Planes,
        voxel: Voxel,
        span: tuple[_Range, _Range] | None,
        size_mm: float,
        size_px: int,
    ) -> None:
        self.case, self.planes, self.index = open_case, planes, voxel[planes.through]
        self.size_mm, self.size_px, self.fine_px = size_mm, size_px, size_px * _FINER
        pixel = planes.pixel_of(voxel)
        self.centre_mm = tuple((pixel[axis] + 0.5) * planes.pixel_mm[axis] for axis in range(2))
        self.corner_mm = tuple(
            _begin(self.centre_mm[axis], size_mm, None if span is None else span[axis]) for axis in range(2)
        )

    def drawn(self, window: Window, focus: Sequence[SegmentIndex], *, is_marked: bool) -> Image.Image:
        """The crop with contours, and with a cross if `is_marked`."""
        picture = self._background(window).convert("RGB")
        draw = ImageDraw.Draw(picture)
        for place in reversed(focus):
            self._contours(draw, place)
        if is_marked:
            self._mark(draw)
        return picture.resize((self.size_px, self.size_px), Image.Resampling.BOX)

    def _background(self, window: Window) -> Image.Image:
        """The CT, black outside."""
        grey = Image.fromarray(np.ascontiguousarray(grey_plane(self.case, self.planes, self.index, window)))
        picture = Image.new("L", (self.fine_px, self.fine_px))
        scale = self.fine_px / self.size_mm
        down, across = (self._inside(axis) for axis in range(2))
        if down is None or across is None:
            return picture
        box = [value / self.planes.pixel_mm[axis] for value, axis in zip((across[0], down[0]), (1, 0), strict=True)]
        box += [value / self.planes.pixel_mm[axis] for value, axis in zip((across[1], down[1]), (1, 0), strict=True)]
        size = max(round((across[1] - across[0]) * scale), 1), max(round((down[1] - down[0]) * scale), 1)
        at = round((across[0] - self.corner_mm[1]) * scale), round((down[0] - self.corner_mm[0]) * scale)
        picture.paste(grey.resize(size, Image.Resampling.BICUBIC, box=(box[0], box[1], box[2], box[3])), at)
        return picture

    def _inside(self, axis: int) -> _Range | None:
        """The range of the crop inside the volume, in mm; None if it is outside."""
        low = max(self.corner_mm[axis], 0.0)
        high = min(self.corner_mm[axis] + self.size_mm, self.planes.shape[axis] * self.planes.pixel_mm[axis])
        return (low, high) if low < high else None

    def _contours(self, draw: ImageDraw.ImageDraw, place: SegmentIndex) -> None:
        at, index = place
        _, path = outlines_in(self.case, self.planes, self.index, at, [index])
        loops = [self._on_picture(loop) for loop in _loops(path)]
        for width, colour in ((_SHADOW_PX, "black"), (_LINE_PX, colour_of(at))):
            for loop in loops:
                draw.line([*loop, loop[0], loop[1]], colour, round(width * _FINER), joint="curve")

    def _on_picture(self, loop: NDArray[np.int64]) -> list[tuple[float, float]]:
        """Corners (x, y) in half pixels of the plane as pixels of the drawing."""
        down, across = self.planes.pixel_mm
        moved = loop / 2 * (across, down) - (self.corner_mm[1], self.corner_mm[0])
        return [(float(x), float(y)) for x, y in moved * (self.fine_px / self.size_mm)]

    def _mark(self, draw: ImageDraw.ImageDraw) -> None:
        y, x = (
            (centre - corner) * self.fine_px / self.size_mm
            for centre, corner in zip(self.centre_mm, self.corner_mm, strict=True)
        )
        arm = _MARK_PX * _FINER
        for width, colour in ((1.5, "black"), (0.5, "white")):
            draw.line([(x - arm, y), (x + arm, y)], colour, round(width * _FINER))
            draw.line([(x, y - arm), (x, y + arm)], colour, round(width * _FINER))


def _begin(centre: float, size: float, wanted: _Range | None) -> float:
    """The start of a range of `size` around a centre, moved to include the wanted range if possible."""
    begin = centre - size / 2
    if wanted is None:
        return begin
    low, high = min(wanted[0], centre), max(wanted[1], centre)
    margin = (_MARGIN - 1) / 4 * (high - low)
    low, high = low - margin, high + margin
    return begin if high - low > size else min(max(begin, high - size), low)


def _loops(path: str) -> list[NDArray[np.int64]]:
    """Corners (x, y) of each closed loop in the path data of `outlines_in`."""
    found = []
    for part in path.split("M")[1:]:
        first, steps = part.removesuffix("z").split("l")
        moves = np.array(f"{first} {steps}".split(), np.int64).reshape(-1, 2)
        found.append(np.cumsum(moves, axis=0))
    return found
