"""A label layer as runs along its columns: what remains of a layer after one sweep.

A CT layer of 79 million voxels has about half a million runs, so everything that is counted per label (voxels, sums,
boxes, components) is counted on runs. Memory is linear in the number of runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.jit import kernel
from segqa_dicom.measures.packed_voxels import BLOCK_WORDS, find_marked, first_byte, mark_changes, whole_words
from segqa_dicom.model import LabelArray, Segmentation

_MAX_UINT16 = int(np.iinfo(np.uint16).max)

_VOXELS_PER_RUN = 128
"""Room for the runs to begin with; a CT with a hundred structures has about 220 voxels to a run."""


@dataclass(frozen=True, eq=False)
class Runs:
    """Longest possible runs of one label within a row, background left out, in C order of the layer.

    shape : (slices, rows, columns) of the layer
    row_starts : (slices * rows + 1,) int64; the runs of row i of slice k are those from ``row_starts[k * rows + i]``
        up to the next entry
    first, stop : (n,) uint16 (int32 if the layer has more columns), half-open range of columns
    labels : (n,) in the type of the layer
    """

    shape: tuple[int, int, int]
    row_starts: NDArray[np.int64]
    first: NDArray[Any]
    stop: NDArray[Any]
    labels: NDArray[Any]

    @property
    def count(self) -> int:
        """Number of runs."""
        return len(self.labels)

    @cached_property
    def voxel_counts(self) -> NDArray[np.int64]:
        """Voxels of every label up to the largest one that occurs; 0 for the background."""
        lengths = self.stop.astype(np.int64) - self.first
        # bincount adds in float64, which is exact below 2**53 voxels.
        return np.bincount(self.labels, weights=lengths, minlength=1).astype(np.int64)


def find_runs(layer: LabelArray) -> Runs:
    """Runs of every label of a layer (slice, row, column); none if the layer is empty."""
    slices, rows, columns = layer.shape
    flat, words = whole_words(layer)
    row_starts = np.zeros(slices * rows + 1, np.int64)
    column_type = np.uint16 if columns <= _MAX_UINT16 else np.int32
    first, stop = np.empty(0, column_type), np.empty(0, column_type)
    labels = np.empty(0, flat.dtype)
    progress = np.zeros(3, np.int64)
    # How many runs there are shows only in the sweep, which stops when it may run out of room.
    capacity = flat.size // _VOXELS_PER_RUN + slices * rows
    while flat.size:
        first, stop, labels = (_enlarged(part, capacity) for part in (first, stop, labels))
        wanted = _sweep(flat, words, columns, progress, row_starts, first, stop, labels)
        if wanted == 0:
            break
        capacity = max(2 * capacity, wanted)
    count = int(row_starts[-1])
    return Runs((slices, rows, columns), row_starts, first[:count], stop[:count], labels[:count])


def _enlarged(part: NDArray[Any], capacity: int) -> NDArray[Any]:
    larger = np.empty(capacity, part.dtype)
    larger[: part.size] = part
    return larger


def table_size(layer: LabelArray, segment_count: int) -> int:
    """Length of a table that any value of `layer` and any segment can index, so that kernels cannot leave it."""
    return max(int(np.iinfo(layer.dtype).max), segment_count) + 1


def indices_by_layer(segmentation: Segmentation) -> list[list[int]]:
    """Per layer, the indices of the segments that lie in it."""
    indices: list[list[int]] = [[] for _ in segmentation.layers]
    for index, segment in enumerate(segmentation.segments):
        indices[segment.layer].append(index)
    return indices


@kernel
def _sweep(
    flat: Any, words: NDArray[np.uint64], columns: int, progress: NDArray[np.int64], row_starts: NDArray[np.int64],
    first: NDArray[Any], stop: NDArray[Any], labels: NDArray[Any],
) -> int:  # fmt: skip
    """Write all runs; 0 when done, else the room that is needed to go on from `progress` (next word, row, run).

    After the last whole word comes one for the voxels that are left and for the end, where background begins.
    """
    bits = np.uint64(8 * flat.itemsize)
    in_word = 8 // flat.itemsize
    marks, places = np.empty(BLOCK_WORDS, np.uint64), np.empty(BLOCK_WORDS, np.int64)
    begin, row, run = progress[0], progress[1], progress[2]
    while begin <= words.size:
        end = min(begin + BLOCK_WORDS, words.size)
        if begin < words.size:
            mark_changes(words, begin, bits, marks[: end - begin])
        else:
            end += 1
            marks[0] = ~np.uint64(0)
        # Every voxel may begin a run, and so does every row that a label runs through without a change.
        wanted = int(run + (end - begin) * in_word + end * in_word // columns - row + 2)
        if wanted > labels.size:
            progress[0], progress[1], progress[2] = begin, row, run
            return wanted
        count = find_marked(marks[: end - begin], places)
        row, run = _write_runs(flat, marks, places[:count], begin, columns, row, run, row_starts, first, stop, labels)
        begin = end
    row_starts[row + 1 :] = run
    return 0


@kernel
def _write_runs(
    flat: Any, marks: NDArray[np.uint64], places: NDArray[np.int64], begin: int, columns: int, row: int, run: int,
    row_starts: NDArray[np.int64], first: NDArray[Any], stop: NDArray[Any], labels: NDArray[Any],
) -> tuple[int, int]:  # fmt: skip
    """Write the runs that end at a mark; the row and the run that are open after them.

    places : words with marks, counted from word `begin`
    """
    in_voxel = (np.uint64(1) << np.uint64(8 * flat.itemsize)) - np.uint64(1)
    in_word = 8 // flat.itemsize
    background = flat.dtype.type(0)
    current = flat[begin * in_word - 1] if begin > 0 else background
    for word in places:
        mark = marks[word]
        while mark != 0:
            byte = first_byte(mark) & ~np.uint64(flat.itemsize - 1)
            mark &= ~(in_voxel << (byte << np.uint64(3)))
            voxel = (begin + word) * in_word + (np.int64(byte) >> (flat.itemsize - 1))
            label = flat[voxel] if voxel < flat.size else background
            if label == current:
                continue
            while (row + 1) * columns <= voxel:
                if current != 0:
                    stop[run] = columns
                    run += 1
                    first[run] = 0
                    labels[run] = current
                row += 1
                row_starts[row] = run
            column = voxel - row * columns
            if current != 0 and first[run] < column:
                stop[run] = column
                run += 1
            if label != 0:
                first[run] = column
                labels[run] = label
            current = label
    return row, run
