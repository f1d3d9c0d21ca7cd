"""Kernel of `frame_index`: offsets of the per-frame functional groups of a SEG."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.dicom.elements import SPECIFIC_CHARACTER_SET, UNDEFINED_LENGTH
from segqa_dicom.dicom.value_representations import LONG_LENGTH_VRS, SHORT_LENGTH_VRS
from segqa_dicom.jit import kernel

DERIVATION, POSITION, ORIENTATION, MEASURES, IDENTIFICATION = range(5)
GROUPS = np.array([0x00089124, 0x00209113, 0x00209116, 0x00289110, 0x0062000A], np.int64)
"""Tags of the functional groups of the frame table, in the order of the names above."""
SEQUENCES = np.array(
    [
        *GROUPS,
        *(0x00082112, 0x00089215, 0x0040A170, 0x00081140, 0x00209111, 0x00209071, 0x00082218),
        *(0x00289132, 0x00289145, 0x00409096, 0x00189477),
    ],
    np.int64,
)
"""Tags of sequences in functional groups of a SEG, which implicit VR does not mark as sequences."""

_DEPTH = 16
"""Nesting depth of sequences and items; usually seven."""
FAILED, _END, _ITEM, _SEQUENCE, _VALUE = -1, 0, 1, 2, 3
"""What `_next` finds; `FAILED` stands for anything that is not plain."""


def _as_numbers(vrs: tuple[str, ...]) -> NDArray[np.int64]:
    return np.array([int.from_bytes(vr.encode(), "big") for vr in vrs], np.int64)


_SHORT_FORMS, _LONG_FORMS = _as_numbers(SHORT_LENGTH_VRS), _as_numbers(LONG_LENGTH_VRS)
_SQ = int.from_bytes(b"SQ", "big")


@kernel
def index_frames(
    data: NDArray[np.uint8],
    start: int,
    stop: int,
    implicit: bool,  # noqa: FBT001 - numba has no keyword-only arguments
    groups: NDArray[np.int64],
    sequences: NDArray[np.int64],
    ranges: NDArray[np.int64],
) -> tuple[int, int]:
    """Offsets of the functional groups of each frame in the value of a per-frame sequence.

    data : the file; never read out of bounds
    start, stop : offsets of the value; stop is -1 for undefined length
    groups, sequences : tags of the functional groups to note, and of sequences
    ranges : (frames, groups, 2) gets start and stop offset of each value, -1 for a missing group
    Returns the number of frames and the end of the sequence; (-1, 0) unless all elements are properly nested, in
    ascending order and of a known VR.
    """
    # Sequences (even) and items (odd) that surround the position: where each ends (-1: at its delimiter), how far it
    # may reach at most, the last tag in it, and which group it is the value of.
    ends, bounds = np.full(_DEPTH, -1, np.int64), np.full(_DEPTH, data.size, np.int64)
    last, noted = np.zeros(_DEPTH, np.int64), np.full(_DEPTH, -1, np.int64)
    depth, frame, position = 0, -1, start
    if stop >= 0:
        ends[0], bounds[0] = stop, min(stop, data.size)
    while depth >= 0:
        kind, tag, length, width = _END, 0, 0, 0
        if position != ends[depth]:
            kind, tag, length, width = _next(data, position, bounds[depth], depth % 2 == 1, implicit, sequences)
            if kind == _END and ends[depth] >= 0:
                return FAILED, 0
        position += width
        if kind == _END:
            if noted[depth] >= 0:
                ranges[frame, noted[depth], 1] = position
            depth -= 1
            continue
        end = bound = position + length
        if length == UNDEFINED_LENGTH:
            end, bound = -1, bounds[depth]
        if kind == FAILED or bound > bounds[depth] or 0 < tag <= last[depth] or (kind == _VALUE and end < 0):
            return FAILED, 0
        last[depth] = tag
        if kind == _VALUE:
            position = end
            continue
        depth += 1
        frame += depth == 1
        if depth >= _DEPTH or frame >= ranges.shape[0]:
            return FAILED, 0
        ends[depth], bounds[depth], last[depth] = end, bound, 0
        noted[depth] = _note(ranges[frame], depth, groups, tag, position)
    return frame + 1, position


@kernel
def _note(ranges: NDArray[np.int64], depth: int, groups: NDArray[np.int64], tag: int, position: int) -> int:
    """Note the start of a group, or clear the offsets at the start of a frame; returns the group, else -1."""
    if depth == 1:
        ranges[:] = -1
    if depth != 2:
        return -1
    group = _place(groups, tag)
    if group >= 0:
        ranges[group, 0] = position
    return group


@kernel
def _next(
    data: NDArray[np.uint8],
    at: int,
    bound: int,
    in_item: bool,  # noqa: FBT001 - numba has no keyword-only arguments
    implicit: bool,  # noqa: FBT001
    sequences: NDArray[np.int64],
) -> tuple[int, int, int, int]:
    """Kind, tag (0 for items), length and header bytes of what begins at an offset."""
    if at + 8 > bound:
        return FAILED, 0, 0, 0
    tag, length = _long(data, at) << 16 & 0xFFFF0000 | _long(data, at) >> 16, _long(data, at + 4)
    if tag == (0xFFFEE00D if in_item else 0xFFFEE0DD):
        return (_END if length == 0 else FAILED), 0, 0, 8
    if not in_item:
        return (_ITEM if tag == 0xFFFEE000 else FAILED), 0, length, 8
    if tag < 0x00080000 or tag == SPECIFIC_CHARACTER_SET or tag >= 0x7FE00000:
        return FAILED, 0, 0, 0
    is_known = _place(sequences, tag) >= 0
    if implicit:
        return (_SEQUENCE if is_known else _VALUE), tag, length, 8
    vr = int(np.int64(data[at + 4]) << 8 | np.int64(data[at + 5]))
    if _place(_SHORT_FORMS, vr) >= 0:
        return (FAILED if is_known else _VALUE), tag, length >> 16, 8
    if _place(_LONG_FORMS, vr) < 0 or length >> 16 or at + 12 > bound or is_known != (is_known and vr == _SQ):
        return FAILED, 0, 0, 0
    length = _long(data, at + 8)
    return (_SEQUENCE if vr == _SQ else _VALUE), tag, length, 12


@kernel
def _long(data: NDArray[np.uint8], at: int) -> int:
    word = np.int64(0)
    for byte in range(4):
        word |= np.int64(data[at + byte]) << (8 * byte)
    return int(word)


@kernel
def _place(values: NDArray[np.int64], wanted: int) -> int:
    """Index of a value; -1 if it is missing."""
    for index in range(values.size):
        if values[index] == wanted:
            return index
    return -1
