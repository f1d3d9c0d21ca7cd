"""Planes of a case for the browser: the CT as an image with a pixel per voxel, contours as SVG paths."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segqa_dicom.pictures.bounded_cache import RecentlyUsed
from segqa_dicom.pictures.errors import NoSuchPlane
from segqa_dicom.pictures.open_case import OpenCase, SegmentIndex
from segqa_dicom.rendering.patient_planes import Planes
from segqa_dicom.rendering.png import grey_png
from segqa_dicom.rendering.tracing import traced
from segqa_dicom.rendering.windows import Window

Background = Literal["png", "jpeg"]
MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg"}
_JPEG_QUALITY = 90
_KEPT_BYTES = 64_000_000
"""Cached images and contours of all cases; an image of 512 x 512 has about 200 kB."""
_SLAB_BYTES = 64_000_000
"""Cached slabs of all cases, see `pixels_of`; those of a CT of 300 x 512 x 512 and six models have 20 MB."""
_SLAB_PLANES = 16
_COLUMN = 2


@dataclass(frozen=True, slots=True)
class Contour:
    """Contours of the segments of one segmentation.

    segmentation : its index in the case
    kind : "strong" = segments in focus, "faint" = all others
    path : SVG path data; one unit is half a pixel, the upper left corner of the image is (0, 0)
    """

    segmentation: int
    kind: str
    path: str


@dataclass(frozen=True, slots=True)
class Plane:
    """A plane of voxels with one pixel per voxel.

    rows, columns : pixels down and across
    pixel_mm : size (down, across) of a pixel, by which the browser scales the image
    contours : in drawing order: faint ones, strong ones, that of the first segment in focus; without empty ones
    """

    view: str
    index: int
    image: bytes
    media_type: str
    rows: int
    columns: int
    pixel_mm: tuple[float, float]
    contours: tuple[Contour, ...]

    def as_json(self) -> dict[str, Any]:
        """The attributes as JSON, with ``image`` as a data URL and ``pixel_mm`` as [down, across]."""
        return {
            "view": self.view,
            "index": self.index,
            "image": f"data:{self.media_type};base64,{base64.b64encode(self.image).decode('ascii')}",
            "rows": self.rows,
            "columns": self.columns,
            "pixel_mm": list(self.pixel_mm),
            "contours": [
                {"segmentation": one.segmentation, "kind": one.kind, "path": one.path} for one in self.contours
            ],
        }


def _contour_bytes(contours: tuple[Contour, ...]) -> int:
    return sum(len(one.path) for one in contours)


_images: RecentlyUsed[bytes] = RecentlyUsed(_KEPT_BYTES // 2, len)
_contours: RecentlyUsed[tuple[Contour, ...]] = RecentlyUsed(_KEPT_BYTES // 2, _contour_bytes)
_slabs: RecentlyUsed[NDArray[Any]] = RecentlyUsed(_SLAB_BYTES, lambda slab: slab.nbytes)


def plane(
    open_case: OpenCase,
    view: str,
    index: int,
    *,
    window: Window,
    focus: Sequence[SegmentIndex],
    background: Background = "png",
) -> Plane:
    """A whole plane of a case.

    view : "axial", "coronal" or "sagittal"
    index : voxel index along the axis through the planes, from 0; `scene` has its direction
    focus : (segmentation, segment) indices of the segments with strong contours, most important first
    background : "png" is lossless, "jpeg" half as large
    Raises `NoSuchPlane`.
    """
    planes = planes_of(open_case, view, index)
    if background not in MEDIA_TYPES:
        raise NoSuchPlane("the image format is png or jpeg")
    low, high = range_of(window)
    wanted = tuple(dict.fromkeys(focus))
    return Plane(
        view=view,
        index=index,
        image=_images.get(
            (open_case.serial, view, index, low, high, background),
            lambda: _image(grey_plane(open_case, planes, index, window), background),
        ),
        media_type=MEDIA_TYPES[background],
        rows=planes.shape[0],
        columns=planes.shape[1],
        pixel_mm=planes.pixel_mm,
        contours=_contours.get(
            (open_case.serial, view, index, wanted), lambda: _find_contours(open_case, planes, index, wanted)
        ),
    )


def planes_of(open_case: OpenCase, view: str, index: int = 0) -> Planes:
    """The planes of a view; raises `NoSuchPlane` for an unknown view or an out-of-range index."""
    planes = open_case.planes.get(view)
    if planes is None:
        raise NoSuchPlane("a view is axial, coronal or sagittal")
    if not 0 <= index < planes.count:
        raise NoSuchPlane(f"the {view} planes are numbered from 0 to {planes.count - 1}")
    return planes


def range_of(window: Window) -> tuple[float, float]:
    """HU of black and white; raises `NoSuchPlane` for an invalid window."""
    low, high = window.range_hu
    if not (math.isfinite(low) and math.isfinite(high) and high > low):
        raise NoSuchPlane("a window needs a level and a width above 0")
    return low, high


def pixels_of(open_case: OpenCase, planes: Planes, index: int, layer: tuple[int, int] | None) -> NDArray[Any]:
    """A plane (down, across) of the CT, or of a layer given as (segmentation, layer) indices.

    In sagittal planes of the array each voxel is in another cache line, so that reading one plane takes as long as
    reading a slab of neighbours. The slab is cached for scrolling.
    """
    case = open_case.case
    volume: NDArray[Any] = case.ct.hu if layer is None else case.segmentations[layer[0]].layers[layer[1]]
    if planes.through != _COLUMN:
        return planes.of(volume, index)
    first = index - index % _SLAB_PLANES
    slab = _slabs.get(
        (open_case.serial, layer, first), lambda: np.ascontiguousarray(volume[:, :, first : first + _SLAB_PLANES])
    )
    return planes.of(slab, index - first)


def grey_plane(open_case: OpenCase, planes: Planes, index: int, window: Window) -> NDArray[np.uint8]:
    """Grey values (down, across) of a plane of the CT."""
    values = pixels_of(open_case, planes, index, None)
    low, high = range_of(window)
    if values.dtype != np.int16:
        return _grey(values, low, high)
    grey: NDArray[np.uint8] = _table(low, high)[values.view(np.uint16)]
    return grey


def _grey(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    grey: NDArray[np.uint8] = np.clip((values.astype(np.float32) - low) * (255 / (high - low)), 0, 255).astype(np.uint8)
    return grey


@lru_cache(maxsize=32)
def _table(low: float, high: float) -> NDArray[np.uint8]:
    """Grey values of all int16 by their bits, (65536,) uint8."""
    return _grey(np.arange(1 << 16, dtype=np.uint16).view(np.int16), low, high)


def _image(grey: NDArray[np.uint8], background: Background) -> bytes:
    if background == "png":
        return grey_png(grey)
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(grey)).save(stream, "JPEG", quality=_JPEG_QUALITY)
    return stream.getvalue()


def _find_contours(
    open_case: OpenCase, planes: Planes, index: int, focus: Sequence[SegmentIndex]
) -> tuple[Contour, ...]:
    faint, strong = list[Contour](), list[Contour]()
    for number in range(len(open_case.case.segmentations)):
        paths = outlines_in(open_case, planes, index, number, [other for at, other in focus if at == number])
        for kind, drawn, path in zip(("faint", "strong"), (faint, strong), paths, strict=True):
            if path:
                drawn.append(Contour(number, kind, path))
    top = focus[0][0] if focus else None
    return (*faint, *sorted(strong, key=lambda one: one.segmentation == top))


def outlines_in(open_case: OpenCase, planes: Planes, index: int, at: int, strong: Collection[int]) -> tuple[str, str]:
    """SVG paths of a segmentation in a plane: of all other segments, and of those with `strong` indices."""
    segmentation = open_case.case.segmentations[at]
    faint_parts, strong_parts = list[str](), list[str]()
    for layer in range(len(segmentation.layers)):
        values = {other + 1 for other in strong if segmentation.segments[other].layer == layer}
        faint_part, strong_part = traced(pixels_of(open_case, planes, index, (at, layer)), values)
        faint_parts.append(faint_part)
        strong_parts.append(strong_part)
    return "".join(faint_parts), "".join(strong_parts)
