"""Pixels of the frames of a SEG object, one frame at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import ExplicitVRBigEndian

from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import OpenedObject, inflate, translated, whole_number, whole_number_or
from segqa_dicom.dicom.transfer_syntaxes import DEFLATED_IMAGE_FRAME, frame_decoder
from segqa_dicom.errors import Inconsistent, LimitExceeded, UnreadableObject
from segqa_dicom.model import SegmentationType
from segqa_dicom.reading.layers import Stamp, stamp_bits, stamp_values

FRACTIONAL_THRESHOLD = 0.5
"""Least fraction of Maximum Fractional Value of a voxel in a FRACTIONAL segment."""


_Frame = TypeVar("_Frame")


class Stored(Protocol):
    """All frames of a BINARY or FRACTIONAL object in memory, for kernels."""

    def stamp(self, frames: NDArray[np.intp], planes: NDArray[np.int64]) -> Stamp:
        """The kernel call that paints these frames as one segment on planes of a layer."""


class Frames(Protocol):
    """Frames by index from 0: (row, column), bool for BINARY and FRACTIONAL, unsigned labels for LABELMAP."""

    @property
    def stored(self) -> Stored | None:
        """The frames without an array per frame; None if that is not possible."""

    def __getitem__(self, index: int) -> NDArray[Any]:
        """The pixels of one frame."""


@dataclass(frozen=True, eq=False)
class PackedBits:
    """Frames with one bit per pixel.

    data : the bits, lowest bit of a byte first
    bits_per_frame : offset between first pixels of consecutive frames
    """

    data: NDArray[np.uint8]
    bits_per_frame: int

    def stamp(self, frames: NDArray[np.intp], planes: NDArray[np.int64]) -> Stamp:
        """As `Stored.stamp`."""
        return partial(stamp_bits, self.data, frames.astype(np.int64) * self.bits_per_frame, planes)


@dataclass(frozen=True, eq=False)
class Values:
    """Frames of values (frames, pixels); pixels of at least `lowest` belong to the segment."""

    data: NDArray[Any]
    lowest: int

    def stamp(self, frames: NDArray[np.intp], planes: NDArray[np.int64]) -> Stamp:
        """As `Stored.stamp`."""
        return partial(stamp_values, self.data, self.lowest, frames.astype(np.int64), planes)


def open_frames(opened: OpenedObject, kind: SegmentationType, limits: Limits) -> Frames:
    """The frames of a SEG object; a file with native pixel data is mapped, not read.

    Raises an `InputError` if the declared size is above the limits or the pixel data are shorter than declared.
    """
    layout = _Layout(opened.dataset, kind, limits)
    if opened.is_native_little_endian:
        return _NativeFrames(opened.native_pixel_bytes(), layout)
    if opened.transfer_syntax == ExplicitVRBigEndian:
        return _NativeFrames(_in_little_endian(opened), layout)
    if opened.transfer_syntax == DEFLATED_IMAGE_FRAME:
        return _DeflatedFrames(opened.with_pixels(), layout)
    return _decoded(opened, layout, limits)


def _in_little_endian(opened: OpenedObject) -> memoryview:
    """The value of big endian Pixel Data in little endian (words are swapped, bytes are not)."""
    with translated("pixel data"):
        element = opened.with_pixels()["PixelData"]
        data = bytes(element.value)
        if element.VR == "OW":
            data = np.frombuffer(data[: len(data) // 2 * 2], "<u2").byteswap().tobytes()
        return memoryview(data)


class _Layout:
    """Size and encoding of a frame, checked before anything is allocated."""

    def __init__(self, dataset: Dataset, kind: SegmentationType, limits: Limits) -> None:
        self.rows = whole_number(dataset, "Rows", low=1, high=65535)
        self.columns = whole_number(dataset, "Columns", low=1, high=65535)
        self.count = whole_number(dataset, "NumberOfFrames", low=0, high=2**31)
        self.bits = whole_number(dataset, "BitsAllocated", low=1, high=16)
        self.kind = kind
        if self.count > limits.max_frames:
            raise LimitExceeded(f"{self.count} frames; the limit is {limits.max_frames}")
        if self.rows * self.columns > limits.max_voxels:
            raise LimitExceeded(f"frames of {self.rows} x {self.columns}; the limit is {limits.max_voxels} voxels")
        samples = whole_number_or(dataset, "SamplesPerPixel", 1)
        if self.bits not in (1, 8, 16) or samples != 1:
            raise Inconsistent(f"{self.bits} bits per pixel and {samples} samples are no SEG")
        self.threshold = 1.0
        if kind is SegmentationType.FRACTIONAL:
            highest = whole_number(dataset, "MaximumFractionalValue", low=1, high=65535)
            self.threshold = FRACTIONAL_THRESHOLD * highest

    @property
    def pixels(self) -> int:
        return self.rows * self.columns

    def finished(self, values: NDArray[Any]) -> NDArray[Any]:
        """The pixels of a frame from its stored values."""
        frame = values.reshape(self.rows, self.columns)
        if self.kind is SegmentationType.LABELMAP:
            return frame
        mask: NDArray[Any] = frame >= self.threshold if self.bits > 1 else frame.astype(bool)
        return mask


class _NativeFrames:
    """Native frames; single bits are packed without padding between frames (PS3.5, section 8.1.1)."""

    def __init__(self, data: memoryview, layout: _Layout) -> None:
        needed = (layout.count * layout.pixels * layout.bits + 7) // 8
        if len(data) < needed:
            raise UnreadableObject(f"file is truncated: {len(data)} bytes of pixel data instead of {needed}")
        self._bytes = np.frombuffer(data, np.uint8)
        self._layout = layout
        self.stored = self._stored()

    def _stored(self) -> Stored | None:
        layout = self._layout
        if layout.kind is SegmentationType.LABELMAP:
            return None
        if layout.bits == 1:
            return PackedBits(self._bytes, layout.pixels)
        size = layout.count * layout.pixels * layout.bits // 8
        values = self._bytes[:size].view(f"<u{layout.bits // 8}").reshape(layout.count, layout.pixels)
        return Values(values, math.ceil(layout.threshold)) if values.flags.aligned else None

    def __getitem__(self, index: int) -> NDArray[Any]:
        layout = self._layout
        if layout.bits == 1:
            start = index * layout.pixels
            part = self._bytes[start // 8 : (start + layout.pixels + 7) // 8]
            bits = np.unpackbits(part, bitorder="little")[start % 8 : start % 8 + layout.pixels]
            return layout.finished(bits)
        width = layout.bits // 8
        start = index * layout.pixels * width
        part = self._bytes[start : start + layout.pixels * width]
        return layout.finished(part.view("<u2") if width == 2 else part)


class _DeflatedFrames:
    """Frames of Deflated Image Frame Compression."""

    def __init__(self, dataset: Dataset, layout: _Layout) -> None:
        with translated("pixel data"):
            frames = list(generate_frames(dataset.PixelData, number_of_frames=layout.count))
        self._frames = _complete(frames, layout)
        self._layout = layout
        self.stored = None

    def __getitem__(self, index: int) -> NDArray[Any]:
        layout = self._layout
        size = (layout.pixels * layout.bits + 7) // 8
        with translated(f"frame {index + 1}"):
            data = np.frombuffer(inflate(self._frames[index], size + 2), np.uint8)
            if len(data) < size:
                raise UnreadableObject(f"frame {index + 1} inflates to {len(data)} bytes, {size} are needed")
        if layout.bits == 1:
            return layout.finished(np.unpackbits(data, bitorder="little")[: layout.pixels])
        return layout.finished(data[:size].view("<u2") if layout.bits == 16 else data[:size])


class _PackedFrames:
    """Decoded frames, packed to single bits: random access at the size of native pixel data."""

    def __init__(self, frames: list[NDArray[np.uint8]], layout: _Layout) -> None:
        self._frames = np.concatenate(frames)
        self._frames.flags.writeable = False
        self._layout = layout
        self.stored = PackedBits(self._frames, 8 * len(frames[0]))

    def __getitem__(self, index: int) -> NDArray[Any]:
        layout = self._layout
        part = self._frames.reshape(layout.count, -1)[index]
        bits = np.unpackbits(part, count=layout.pixels, bitorder="little")
        return bits.astype(bool).reshape(layout.rows, layout.columns)


class _Labels:
    """Decoded frames of a label map."""

    stored = None

    def __init__(self, frames: list[NDArray[Any]]) -> None:
        self._frames = frames

    def __getitem__(self, index: int) -> NDArray[Any]:
        return self._frames[index]


def _decoded(opened: OpenedObject, layout: _Layout, limits: Limits) -> Frames:
    """All frames, decoded in file order, because decoders read forward only."""
    decoded_bytes = layout.count * layout.pixels * max(layout.bits // 8, 1)
    if decoded_bytes > opened.path.stat().st_size * limits.max_compression_ratio:
        raise LimitExceeded("pixel data would decode to an implausible multiple of the file's size")
    with translated("pixel data"):
        decoder, options = frame_decoder(opened)
        arrays = (array for array, _ in decoder.iter_array(opened.with_pixels(), **options))
        if layout.kind is SegmentationType.LABELMAP:
            labels = [layout.finished(array) for array in arrays]
            return _Labels(_complete(labels, layout))
        packed = [np.packbits(layout.finished(array), bitorder="little") for array in arrays]
        return _PackedFrames(_complete(packed, layout), layout)


def _complete(frames: list[_Frame], layout: _Layout) -> list[_Frame]:
    if len(frames) != layout.count:
        raise UnreadableObject(f"pixel data hold {len(frames)} frames, Number of Frames says {layout.count}")
    return frames
