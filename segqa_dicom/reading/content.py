"""Digests of a SEG object: of its label volumes, as runs, and of everything but its pixel data."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from segqa_dicom.dicom.elements import UNDEFINED_LENGTH
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import PREAMBLE_BYTES, OpenedObject
from segqa_dicom.digests import canonical_json
from segqa_dicom.errors import LimitExceeded
from segqa_dicom.jit import kernel
from segqa_dicom.model import Segment

_MAX_UINT32 = int(np.iinfo(np.uint32).max)
_USUAL_CHANGES = 1 << 20
"""Initial capacity in changes; a hundred structures have half a million."""


@dataclass(frozen=True, eq=False)
class Changes:
    """A label volume as runs in C order across the ends of rows.

    shape : (slices, rows, columns)
    starts : (n,) uint64, index of the first voxel of each run; voxels before the first run are background
    labels : (n,) uint16
    """

    shape: tuple[int, ...]
    starts: NDArray[np.uint64]
    labels: NDArray[np.uint16]


def changes(layer: NDArray[Any], limits: Limits) -> Changes:
    """The runs of a label volume (slice, row, column).

    Raises `LimitExceeded` above `Limits.max_runs` runs along its rows.
    """
    words, per_word = _words(layer)
    room = _USUAL_CHANGES
    while True:
        starts, labels = np.empty(room, np.uint64), np.empty(room, np.uint16)
        count, in_rows = _find_changes(words, per_word, layer.shape[2], limits.max_runs, starts, labels)
        if in_rows > limits.max_runs:
            raise LimitExceeded(f"its labels change more than {limits.max_runs} times: noise, not a segmentation")
        if count <= room:
            return Changes(layer.shape, starts[:count], labels[:count])
        room = count


def _words(layer: NDArray[Any]) -> tuple[NDArray[np.uint64], int]:
    """The voxels of a label volume in words of 64 bits, and voxels per word; the last voxel pads its word."""
    flat = np.ascontiguousarray(layer).reshape(-1)
    per_word = 8 // flat.itemsize
    if rest := -flat.size % per_word:
        flat = np.concatenate((flat, np.full(rest, flat[-1])))
    return flat.view(np.uint64), per_word


def content_digest(segments: Sequence[Segment], layers: Sequence[Changes]) -> str:
    """SHA-256 of the segments with their codes and voxels, independent of UIDs, dates and encoding."""
    digest = hashlib.sha256()
    described = [[segment.number, segment.label, segment.codes.key, segment.layer] for segment in segments]
    sizes = [[*layer.shape, len(layer.starts)] for layer in layers]
    digest.update(canonical_json([described, sizes]).encode())
    for layer in layers:
        digest.update(layer.starts.astype("<u8" if math.prod(layer.shape) > _MAX_UINT32 else "<u4").data)
        digest.update(layer.labels.astype("<u2", copy=False).data)
    return digest.hexdigest()


def header_digest(opened: OpenedObject) -> str:
    """SHA-256 of all bytes of an object but the file meta information and the value of its pixel data."""
    view = opened.all_bytes()
    begin = 0
    if bytes(view[128:136]) == b"DICM\x02\x00\x00\x00":
        begin = PREAMBLE_BYTES + 12 + int.from_bytes(view[140:144], "little")
    start, stop = _pixel_value(view, opened)
    digest = hashlib.sha256(view[begin:start])
    digest.update(view[stop:])
    return digest.hexdigest()


def _pixel_value(view: memoryview, opened: OpenedObject) -> tuple[int, int]:
    """Start and stop offset of the value of Pixel Data, native or encapsulated (PS3.5, section A.4)."""
    width = 4 if opened.transfer_syntax == ImplicitVRLittleEndian else 8
    start = opened.pixel_offset + width + 4
    order: Literal["big", "little"] = "big" if opened.transfer_syntax == ExplicitVRBigEndian else "little"
    length = int.from_bytes(view[start - 4 : start], order)
    if length != UNDEFINED_LENGTH:
        return start, start + length
    position = start
    while bytes(view[position : position + 4]) == b"\xfe\xff\x00\xe0":
        position += 8 + int.from_bytes(view[position + 4 : position + 8], "little")
    return start, position


@kernel
def _find_changes(
    words: NDArray[np.uint64],
    per_word: int,
    columns: int,
    most: int,
    starts: NDArray[np.uint64],
    labels: NDArray[np.uint16],
) -> tuple[int, int]:
    """Number of changes in a label volume, and of those within rows; stops above `most` of these.

    words : the volume, `per_word` labels in each, in little endian order
    starts, labels : filled up to their size
    """
    bits = np.uint64(64 // per_word)
    mask = ~np.uint64(0) >> (np.uint64(64) - bits)
    ones = ~np.uint64(0) // mask
    count, in_rows, label = 0, 0, np.uint64(0)
    for at in range(words.size):
        word = words[at]
        if word == ones * label:  # the usual case
            continue
        for place in range(per_word):
            found = word >> (np.uint64(place) * bits) & mask
            if found != label:
                label = found
                start = at * per_word + place
                if count < starts.size:
                    starts[count], labels[count] = start, label
                count += 1
                in_rows += start % columns != 0
        if in_rows > most:
            break
    return count, in_rows
