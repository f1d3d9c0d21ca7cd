"""Labels of a layer eight bytes at a time: where they change, found without looking at each.

A word holds 8 voxels of uint8 or 4 of uint16. The first voxel is the lowest byte, as on every machine numba compiles
for by default (little-endian); a big-endian one is refused on import.

Kernels of other modules hold a compiled copy of those here, and numba looks at the date of their own file only: whoever
changes this one while developing has to save the others, too.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.jit import kernel
from segqa_dicom.model import LabelArray

BLOCK_WORDS = 512
"""Words whose changes are marked at a time: they stay in the first-level cache."""

_LOWEST_BITS = np.uint64(0x0101010101010101)
_ONE, _THREE, _SEVEN, _FIFTY_SIX, _SIXTY_FOUR = (np.uint64(value) for value in (1, 3, 7, 56, 64))

if sys.byteorder != "little":  # pragma: no cover - no such machine at hand
    raise ImportError("segqa measures on little-endian machines only")


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """The same voxels in C order, one after the other, not to be written: the one kind of array kernels are made for.

    A copy only if they lie in memory in another order, or at an address that is not a multiple of their size.
    """
    flat: NDArray[Any] = np.require(array, requirements=["C", "A"]).reshape(-1)
    flat.flags.writeable = False
    return flat


def whole_words(layer: LabelArray) -> tuple[NDArray[Any], NDArray[np.uint64]]:
    """The voxels of a layer, and the same as words; the last voxels may not fill one and are in no word."""
    flat = read_only(layer)
    words = flat[: flat.size - flat.size % (8 // flat.itemsize)].view(np.uint64)
    if not words.flags.aligned:
        return whole_words(layer.copy())
    return flat, words


@kernel
def mark_changes(words: NDArray[np.uint64], begin: int, shift: np.uint64, marks: NDArray[np.uint64]) -> None:
    """Set the bytes of `marks` that belong to voxels unlike the one before, all others 0; from word `begin` on.

    shift : bits of a voxel. What is before the first voxel counts as background. A loop of its own because the
    compiler vectorises it.
    """
    back = _SIXTY_FOUR - shift
    part = words[begin : begin + marks.size]
    before = words[begin - 1] if begin > 0 else np.uint64(0)
    marks[0] = part[0] ^ ((part[0] << shift) | (before >> back))
    for i in range(1, part.size):
        marks[i] = part[i] ^ ((part[i] << shift) | (part[i - 1] >> back))


@kernel
def first_byte(mark: np.uint64) -> np.uint64:
    """Number (0-7) of the lowest byte of a word other than 0 that is not 0."""
    below = (mark & (~mark + _ONE)) - _ONE
    return (((below >> _SEVEN) & _LOWEST_BITS) * _LOWEST_BITS) >> _FIFTY_SIX


@kernel
def find_marked(marks: NDArray[np.uint64], places: NDArray[np.int64]) -> int:
    """Write to `places` which words are not 0, and return how many. Without a branch: none can be mispredicted.

    places : room for as many as there are words
    """
    count = 0
    for word in range(marks.size):
        places[count] = word
        count += marks[word] != 0
    return count
