"""Painting segments into label volumes; segments that overlap come to lie in different ones, each whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.errors import LimitExceeded
from segqa_dicom.jit import kernel

MAX_LAYERS_BYTES = 4_000_000_000
"""Memory that the label volumes of one SEG may take; more is not a segmentation but an attack or a mistake."""

Stamp: TypeAlias = Callable[[NDArray[Any], int], bool]
"""Paints a segment into a label volume (slice, row, column) with a value.

False, and nothing painted, if another segment has one of its voxels.
"""

LABELS = 65_536
"""Labels that 16 bits can tell apart."""


class LayerPainter:
    """Label volumes of `shape` (slice, row, column) for `segment_count` segments."""

    def __init__(self, shape: tuple[int, int, int], segment_count: int) -> None:
        self.shape = shape
        self.dtype = np.uint8 if segment_count < 256 else np.uint16
        self.layers: list[NDArray[Any]] = [np.zeros(shape, self.dtype)]
        self.layer_of = [0] * segment_count

    def paint(self, segment: int, planes: Iterable[tuple[int, NDArray[np.bool_]]]) -> None:
        """Paint one segment (index) given as (slice index, mask (row, column)); several masks on a slice are united.

        It goes into the first layer in which none of its voxels is taken.
        """
        kept = [(index, mask) for index, mask in planes if mask.any()]

        def stamp(layer: NDArray[Any], value: int) -> bool:
            if any(layer[index][mask].any() for index, mask in kept):
                return False
            for index, mask in kept:
                layer[index][mask] = value
            return True

        self.paint_by(segment, stamp)

    def paint_by(self, segment: int, stamp: Stamp) -> None:
        """Paint one segment (index) into the first layer that `stamp` finds free."""
        value = segment + 1
        for number, layer in enumerate(self.layers):
            if stamp(layer, value):
                self.layer_of[segment] = number
                return
        self.layer_of[segment] = self._new_layer()
        stamp(self.layers[-1], value)

    def _new_layer(self) -> int:
        size = int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize
        if size * (len(self.layers) + 1) > MAX_LAYERS_BYTES:
            raise LimitExceeded(f"its segments overlap in more than {len(self.layers)} layers of {size} bytes")
        self.layers.append(np.zeros(self.shape, self.dtype))
        return len(self.layers) - 1


def stamp_bits(
    data: NDArray[np.uint8], first_bits: NDArray[np.int64], planes: NDArray[np.int64], layer: NDArray[Any], value: int
) -> bool:
    """Paint a segment from frames of single bits; a `Stamp` but for where the frames are.

    data : the bits, lowest bit of a byte first
    first_bits : (frames,) offset of the first pixel of each frame
    planes : (frames,) slice of the layer that each frame belongs to
    """
    pixels = layer.shape[1] * layer.shape[2]
    _check(planes, layer)
    if len(first_bits) and not 0 <= first_bits.min() <= first_bits.max() <= 8 * data.size - pixels:
        raise IndexError("frames beyond the end of the bits")
    return bool(_stamp_bits(data, first_bits, planes, layer.reshape(len(layer), pixels), value))


def stamp_values(
    values: NDArray[Any],
    lowest: int,
    frames: NDArray[np.int64],
    planes: NDArray[np.int64],
    layer: NDArray[Any],
    value: int,
) -> bool:
    """Paint a segment from frames of numbers; a `Stamp` but for where the frames are.

    values : (all frames, pixels); from `lowest` on a pixel belongs to the segment
    frames, planes : (frames,) frames of the segment, and the slice of the layer that each belongs to
    """
    _check(planes, layer)
    if len(frames) and not 0 <= frames.min() <= frames.max() < len(values):
        raise IndexError("no such frames")
    cells = layer.reshape(len(layer), layer.shape[1] * layer.shape[2])
    if values.shape[1] != cells.shape[1]:
        raise ValueError("frames of another size than the layer")
    return bool(_stamp_values(values, lowest, frames, planes, cells, value))


def stamp_labels(labels: NDArray[Any], table: NDArray[Any], plane: NDArray[Any]) -> NDArray[np.intp]:
    """Paint a frame of a label map over a plane, but for its background; the labels that occur in it, ascending.

    labels : uint8 or uint16 (row, column) as stored
    table : (65536,) what each of them is in the plane, 0 = background
    plane : (row, column)
    """
    if labels.shape != plane.shape or len(table) != LABELS:
        raise ValueError("labels, plane and table do not fit")
    present = np.zeros(LABELS, np.bool_)
    flat = labels.reshape(-1)
    flat.flags.writeable = False  # as mapped files are; for arrays that are not, the kernel would be compiled again
    _stamp_labels(flat, table, present, plane.reshape(-1))
    return np.flatnonzero(present)


def _check(planes: NDArray[np.int64], layer: NDArray[Any]) -> None:
    if len(planes) and not 0 <= planes.min() <= planes.max() < len(layer):
        raise IndexError("planes outside the layer")


@kernel
def _stamp_bits(
    data: NDArray[np.uint8], first_bits: NDArray[np.int64], planes: NDArray[np.int64], cells: NDArray[Any], value: int
) -> bool:
    for at in range(first_bits.size):
        if _bits(data, first_bits[at], cells[planes[at]], 0, value):
            for done in range(at + 1):
                _bits(data, first_bits[done], cells[planes[done]], value, 0)
            return False
    return True


@kernel
def _bits(data: NDArray[np.uint8], first_bit: int, cells: NDArray[Any], old: int, new: int) -> bool:
    """Turn `old` into `new` where bits are set; whether such a cell was neither."""
    before, after = cells.dtype.type(old), cells.dtype.type(new)
    end_bit = first_bit + cells.size
    # Whole bytes, of these whole words, and the few bits in front of and behind them.
    first = (first_bit + 7) >> 3
    stop = first + max((end_bit >> 3) - first, 0) // 8 * 8
    taken = _word(_gathered(data, first_bit, min(first << 3, end_bit)), 0, cells, before, after)
    for at in range(first, stop, 8):
        word = np.uint64(0)
        for byte in range(8):
            word |= np.uint64(data[np.uint64(at + byte)]) << np.uint64(8 * byte)
        if word != 0:
            taken |= _word(word, (at << 3) - first_bit, cells, before, after)
    rest = _gathered(data, stop << 3, end_bit)
    return taken | _word(rest, (stop << 3) - first_bit, cells, before, after)


@kernel
def _gathered(data: NDArray[np.uint8], first_bit: int, end_bit: int) -> np.uint64:
    """Up to 64 bits, the first one lowest."""
    word = np.uint64(0)
    for bit in range(first_bit, end_bit):
        word |= np.uint64(data[bit >> 3] >> (bit & 7) & 1) << np.uint64(bit - first_bit)
    return word


@kernel
def _word(word: np.uint64, first: int, cells: NDArray[Any], before: Any, after: Any) -> bool:
    """`_bits` for 64 of them; a function of its own, or the compiler makes less of it."""
    taken = False
    for bit in range(64):
        if (word >> np.uint64(bit)) & np.uint64(1):
            cell = np.uint64(first) + np.uint64(bit)  # unsigned: no check for indices from the end
            if cells[cell] == before:
                cells[cell] = after
            elif cells[cell] != after:
                taken = True
    return taken


@kernel
def _stamp_values(
    values: NDArray[Any],
    lowest: int,
    frames: NDArray[np.int64],
    planes: NDArray[np.int64],
    cells: NDArray[Any],
    value: int,
) -> bool:
    for at in range(frames.size):
        if _values(values[frames[at]], lowest, cells[planes[at]], 0, value):
            for done in range(at + 1):
                _values(values[frames[done]], lowest, cells[planes[done]], value, 0)
            return False
    return True


@kernel
def _values(values: NDArray[Any], lowest: int, cells: NDArray[Any], old: int, new: int) -> bool:
    """Turn `old` into `new` where values are at least `lowest`; whether such a cell was neither."""
    before, after = cells.dtype.type(old), cells.dtype.type(new)
    taken = False
    for at in range(cells.size):
        if values[at] >= lowest:
            if cells[at] == before:
                cells[at] = after
            elif cells[at] != after:
                taken = True
    return taken


@kernel
def _stamp_labels(labels: NDArray[Any], table: NDArray[Any], present: NDArray[np.bool_], plane: NDArray[Any]) -> None:
    label = labels[0]
    own = table[label]
    present[label] = True
    for at in range(labels.size):
        if labels[at] != label:
            label = labels[at]
            own = table[label]
            present[label] = True
        if own != 0:
            plane[at] = own
