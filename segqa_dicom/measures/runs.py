"""A label layer as runs along its columns: what remains of a layer after one sweep.

A CT layer of 79 million voxels has about half a million runs, so everything that is counted per label (voxels, sums,
boxes, components) is counted on runs. Memory is linear in the number of runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.jit import kernel
from segqa_dicom.model import LabelArray, Segmentation

_MAX_UINT16 = int(np.iinfo(np.uint16).max)


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


def find_runs(layer: LabelArray) -> Runs:
    """Runs of every label of a layer (slice, row, column); none if the layer is empty."""
    slices, rows, columns = layer.shape
    flat = np.ascontiguousarray(layer).reshape(slices * rows, columns)
    row_starts = np.zeros(slices * rows + 1, np.int64)
    column_type = np.uint16 if columns <= _MAX_UINT16 else np.int32
    _sweep_rows(flat, row_starts, np.zeros(0, column_type), np.zeros(0, column_type), np.zeros(0, layer.dtype))
    np.cumsum(row_starts, out=row_starts)
    count = int(row_starts[-1])
    first, stop = np.empty(count, column_type), np.empty(count, column_type)
    labels = np.empty(count, layer.dtype)
    if count:
        _sweep_rows(flat, row_starts, first, stop, labels)
    return Runs((slices, rows, columns), row_starts, first, stop, labels)


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
def _sweep_rows(
    layer: Any, row_starts: NDArray[np.int64], first: NDArray[Any], stop: NDArray[Any], labels: NDArray[Any]
) -> None:
    """Fill in the runs of row r from ``row_starts[r]`` on; without room for any, count them in the next entry."""
    rows, columns = layer.shape
    count_only = labels.size == 0
    changes = np.zeros((columns + 7) // 8 * 8, np.uint8)
    for row in range(rows):
        _mark_changes(layer[row], changes)
        if count_only:
            row_starts[row + 1] = _write_runs(layer[row], changes, 0, first, stop, labels)
        elif row_starts[row] < row_starts[row + 1]:
            _write_runs(layer[row], changes, row_starts[row], first, stop, labels)


@kernel
def _mark_changes(voxels: Any, changes: NDArray[np.uint8]) -> None:
    """Mark the voxels of a row that differ from the one before; what is before the first counts as background.

    A loop of its own because the compiler vectorises it.
    """
    changes[0] = voxels[0] != 0
    for j in range(1, voxels.size):
        changes[j] = voxels[j] != voxels[j - 1]


@kernel
def _write_runs(
    voxels: Any, changes: NDArray[np.uint8], run: int, first: NDArray[Any], stop: NDArray[Any], labels: NDArray[Any]
) -> int:
    """Write the runs of a row from place `run` on, if there is room at all; the place after the last one."""
    write = labels.size > 0
    words = changes.view(np.uint64)
    current = voxels.dtype.type(0)
    for word in range(words.size):
        if words[word] == 0:
            continue
        for j in range(8 * word, 8 * word + 8):
            if changes[j] == 0:
                continue
            if current != 0:
                if write:
                    stop[run] = j
                run += 1
            current = voxels[j]
            if current != 0 and write:
                first[run] = j
                labels[run] = current
    if current != 0:
        if write:
            stop[run] = voxels.size
        run += 1
    return run
