"""Pictures of frames, as a reader of the image would see them (PS3.18, section 8.3.5): 8 bit grey or colour."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset

from segqa_dicom.dicom.headers import open_header
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import first_item, items, numbers, text
from segqa_dicom.dicom.sop_classes import SEG_CLASSES
from segqa_dicom.errors import Inconsistent, LimitExceeded
from segqa_dicom.web.dicomweb.frames import FrameSource

JPEG, PNG = "image/jpeg", "image/png"
DEFAULT_QUALITY = 90
_WHITE = 255
_MOST_PIXELS = 1 << 26
"""Frames with more are not shown: numbers of them take gigabytes."""


@dataclass(frozen=True, slots=True)
class Window:
    """Which values become which greys (PS3.3, section C.11.2.1).

    center, width : in the values of the image after rescaling, of a CT in HU
    function : "LINEAR", "LINEAR_EXACT" or "SIGMOID"
    """

    center: float
    width: float
    function: str = "LINEAR"


@dataclass(frozen=True, slots=True)
class Viewport:
    """What of a frame is shown, and how large (PS3.18, section 8.3.5.1.3).

    width, height : what the picture must fit into, in pixels; the aspect ratio of the frame stays
    region : left, top, width and height of the part that is shown, in pixels of the frame; None = all
    """

    width: int
    height: int
    region: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class Style:
    """How a picture is made; what is None is as the object says."""

    window: Window | None = None
    viewport: Viewport | None = None
    quality: int = DEFAULT_QUALITY


def picture(source: FrameSource, number: int, style: Style, media_type: str, limits: Limits) -> bytes:
    """A frame, counted from 1, as a picture; raises an `InputError` if it cannot be shown.

    Frames of a segmentation become masks: white where a voxel belongs to the segment, or to any of a label map;
    of a fractional one, grey by its share.
    """
    if source.pixels.rows * source.pixels.columns * source.pixels.samples > _MOST_PIXELS:
        raise LimitExceeded(f"its frames have more than {_MOST_PIXELS} pixels")
    dataset = open_header(source.path, limits).dataset
    stored = source.array(number, limits)
    if text(dataset, "SOPClassUID") in SEG_CLASSES:
        grey = _mask(dataset, stored)
    elif source.pixels.samples == 1:
        grey = _windowed(dataset, stored, number, style.window)
        if source.pixels.photometric_interpretation == "MONOCHROME1":
            grey = _WHITE - grey
    else:
        return _encoded(_coloured(source, stored), style, media_type)
    return _encoded(Image.fromarray(grey, "L"), style, media_type)


def _mask(dataset: Dataset, stored: NDArray[Any]) -> NDArray[np.uint8]:
    if text(dataset, "SegmentationType") == "FRACTIONAL":
        highest = numbers(dataset, "MaximumFractionalValue", 1)[0] or 1
        return np.clip(stored * (_WHITE / highest) + 0.5, 0, _WHITE).astype(np.uint8)
    return np.where(stored != 0, np.uint8(_WHITE), np.uint8(0))


def _coloured(source: FrameSource, stored: NDArray[Any]) -> Image.Image:
    if stored.dtype != np.uint8 or stored.shape[2] != 3:
        raise Inconsistent("its colours are stored in a way that cannot be shown")
    mode = "YCbCr" if source.pixels.photometric_interpretation.startswith("YBR") else "RGB"
    return Image.frombytes(mode, stored.shape[1::-1], stored.tobytes()).convert("RGB")


def _windowed(dataset: Dataset, stored: NDArray[Any], number: int, asked: Window | None) -> NDArray[np.uint8]:
    slope, intercept = _rescale(dataset, number)
    values = stored * slope + intercept
    window = asked or _stated_window(dataset, number)
    if window is None:
        low, high = float(values.min()), float(values.max())
        window = Window((low + high) / 2, max(high - low, 1.0), "LINEAR_EXACT")
    return np.clip(_shares(values, window) * _WHITE + 0.5, 0, _WHITE).astype(np.uint8)


def _shares(values: NDArray[Any], window: Window) -> NDArray[Any]:
    """Between 0 and 1 what is to be seen in grey, beyond that black and white."""
    if window.function == "SIGMOID":
        exponent = np.clip(-4 * (values - window.center) / window.width, -60, 60)
        return np.asarray(1 / (1 + np.exp(exponent)))
    if window.function == "LINEAR_EXACT":
        return np.asarray((values - window.center) / window.width + 0.5)
    if window.width <= 1:
        return np.where(values > window.center - 0.5, 1.0, 0.0)
    return np.asarray((values - (window.center - 0.5)) / (window.width - 1) + 0.5)


def _rescale(dataset: Dataset, number: int) -> tuple[float, float]:
    for holder in _holders(dataset, number, "PixelValueTransformationSequence"):
        try:
            return numbers(holder, "RescaleSlope", 1)[0], numbers(holder, "RescaleIntercept", 1)[0]
        except Inconsistent:
            continue
    return 1.0, 0.0


def _stated_window(dataset: Dataset, number: int) -> Window | None:
    """The first of those that the object has."""
    for holder in _holders(dataset, number, "FrameVOILUTSequence"):
        center, width = _first_number(holder, "WindowCenter"), _first_number(holder, "WindowWidth")
        if center is not None and width is not None and width > 0:
            return Window(center, width, text(holder, "VOILUTFunction") or "LINEAR")
    return None


def _first_number(dataset: Dataset, keyword: str) -> float | None:
    try:
        return float(text(dataset, keyword).split("\\")[0])
    except ValueError:
        return None


def _holders(dataset: Dataset, number: int, group: str) -> Sequence[Dataset]:
    """Where attributes of a frame can be: in the object itself, in what holds for the frame, or for all frames."""
    frames = items(dataset, "PerFrameFunctionalGroupsSequence")
    groups = [frames[number - 1]] if number <= len(frames) else []
    shared = first_item(dataset, "SharedFunctionalGroupsSequence")
    found = [first_item(one, group) for one in (*groups, shared)]
    return [dataset, *(one for one in found if one is not None)]


def _encoded(image: Image.Image, style: Style, media_type: str) -> bytes:
    if style.viewport is not None:
        image = _fitted(image, style.viewport)
    buffer = io.BytesIO()
    if media_type == PNG:
        image.save(buffer, "PNG", compress_level=3)
    else:
        image.save(buffer, "JPEG", quality=style.quality)
    return buffer.getvalue()


def _fitted(image: Image.Image, viewport: Viewport) -> Image.Image:
    left, top, width, height = viewport.region or (0, 0, *image.size)
    right, bottom = min(left + width, image.width), min(top + height, image.height)
    if left >= right or top >= bottom:
        raise Inconsistent("the region of the viewport lies outside of the image")
    scale = min(viewport.width / (right - left), viewport.height / (bottom - top))
    size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
    method = Image.Resampling.LANCZOS if image.mode == "RGB" or scale < 1 else Image.Resampling.BILINEAR
    return image.resize(size, method, (left, top, right, bottom))
