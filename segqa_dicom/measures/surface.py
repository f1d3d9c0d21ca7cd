"""Surface elements ("surfels") of all segments, in one sweep over each layer.

Definition of google-deepmind/surface-distance (Nikolov et al. 2021, J Med Internet Res 23(7):e26151): the volume,
padded with background, has one element in every cube of 2 x 2 x 2 voxels that a segment occupies in part. The element
lies in the middle of the cube; which of the eight voxels belong to the segment is its code (see `surface_area`), from
which its area follows. Cells are counted along the padded volume: cell (0, 0, 0) has voxel (0, 0, 0) as its last one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.jit import kernel
from segqa_dicom.measures.bits import trailing_zeros
from segqa_dicom.measures.runs import indices_by_layer, table_size
from segqa_dicom.measures.surface_area import surface_area_table
from segqa_dicom.model import LabelArray, Segmentation

ELEMENT_BUDGET = 40_000_000
"""Most elements of one segmentation, 200 MB; 104 whole-body structures have about 3.5 million, noise has more."""

_CHUNK_ELEMENTS = 1_000_000
"""Elements that are collected before new room is made."""


@dataclass(frozen=True, eq=False)
class Surface:
    """Surface elements of one segment.

    cells : (n,) uint32 or int64, ascending, place of each element in the C-ordered grid of cells
    codes : (n,) uint8, occupancy of its eight voxels, 1-254
    grid : (slices + 1, rows + 1, columns + 1), number of cells in each direction
    """

    cells: NDArray[Any]
    codes: NDArray[np.uint8]
    grid: tuple[int, int, int]

    @property
    def count(self) -> int:
        """Number of elements."""
        return len(self.cells)

    @cached_property
    def bounds(self) -> tuple[int, int, int, int]:
        """First and last row, first and last column of cells that have an element; there is at least one."""
        return _find_bounds(self.cells, self.grid[1], self.grid[2])

    @property
    def indices(self) -> NDArray[np.int32]:
        """(n, 3) int32, (slice, row, column) of the cells."""
        return np.stack(np.unravel_index(self.cells, self.grid), axis=1).astype(np.int32)

    def areas_mm2(self, spacing_mm: tuple[float, float, float]) -> NDArray[np.float64]:
        """(n,) area of each element."""
        areas: NDArray[np.float64] = surface_area_table(spacing_mm)[self.codes]
        return areas


@dataclass(frozen=True, eq=False)
class Surfaces:
    """Surface elements of all segments of a segmentation, grouped by segment.

    starts : (segments + 1,) int64; the elements of the segment at index n are those from ``starts[n]`` on
    cells, codes, grid : as in `Surface`, for all elements
    """

    starts: NDArray[np.int64]
    cells: NDArray[Any]
    codes: NDArray[np.uint8]
    grid: tuple[int, int, int]
    _surfaces: dict[int, Surface] = field(default_factory=dict, repr=False)

    def of(self, index: int) -> Surface:
        """The elements of the segment at `index`, the same object each time; none if it has no voxels."""
        if not 0 <= index < len(self.starts) - 1:
            raise IndexError(f"no segment at index {index}")
        if index not in self._surfaces:
            part = slice(int(self.starts[index]), int(self.starts[index + 1]))
            self._surfaces[index] = Surface(self.cells[part], self.codes[part], self.grid)
        return self._surfaces[index]


@dataclass(frozen=True, slots=True)
class SurfaceTooLarge:
    """Stands for the surfaces of a segmentation that has more elements than anatomy can have, so none were kept."""

    element_budget: int


@dataclass(frozen=True, eq=False)
class _Chunk:
    """Elements in the order of their cells, those of one cell in no order: (n,) labels, cells and codes."""

    labels: NDArray[Any]
    cells: NDArray[Any]
    codes: NDArray[np.uint8]


def extract_surfaces(segmentation: Segmentation, *, element_budget: int = ELEMENT_BUDGET) -> Surfaces | SurfaceTooLarge:
    """Surface elements of every segment; `SurfaceTooLarge` if there are more than `element_budget` of all together.

    Each layer is swept once; then its elements are grouped by a counting sort. 5 bytes an element remain (9 if the
    grid has more than 2**32 cells). A segment without voxels has no elements.
    """
    slices, rows, columns = segmentation.layers[0].shape
    grid = (slices + 1, rows + 1, columns + 1)
    cell_type = np.uint32 if grid[0] * grid[1] * grid[2] <= 2**32 else np.int64
    counts = np.zeros(len(segmentation.segments), np.int64)
    members = indices_by_layer(segmentation)
    chunks: list[list[_Chunk]] = []
    for layer, indices in zip(segmentation.layers, members, strict=True):
        table = np.full(table_size(layer, counts.size), -1, np.int64)
        labels = np.array(indices, np.intp) + 1
        table[labels] = 0
        collected = _collect(layer, table, np.dtype(cell_type), element_budget - int(counts.sum()))
        if collected is None:
            return SurfaceTooLarge(element_budget)
        chunks.append(collected)
        counts[indices] = table[labels]
    starts = np.concatenate(([0], np.cumsum(counts)))
    cells, codes = np.empty(int(starts[-1]), cell_type), np.empty(int(starts[-1]), np.uint8)
    _group(chunks, members, starts, cells, codes)
    return Surfaces(starts, cells, codes, grid)


def _collect(
    layer: LabelArray, counts: NDArray[np.int64], cell_type: np.dtype[Any], budget: int
) -> list[_Chunk] | None:
    """Elements of the labels whose place in `counts` is not negative, added up there; None if over the budget."""
    slices, rows, columns = layer.shape
    room = max(_CHUNK_ELEMENTS, 8 * (columns + 1))
    chunks: list[_Chunk] = []
    row, total = 0, 0
    while row < (slices + 1) * (rows + 1):
        chunk = _Chunk(np.empty(room, layer.dtype), np.empty(room, cell_type), np.empty(room, np.uint8))
        row, found = _sweep_cells(layer, row, counts, chunk.labels, chunk.cells, chunk.codes)
        total += found
        if total > budget:
            return None
        chunks.append(_Chunk(chunk.labels[:found], chunk.cells[:found], chunk.codes[:found]))
    return chunks


def _group(
    chunks: list[list[_Chunk]],
    members: list[list[int]],
    starts: NDArray[np.int64],
    cells: NDArray[Any],
    codes: NDArray[np.uint8],
) -> None:
    """Write the elements of all layers where those of their segment belong; `chunks` is emptied on the way."""
    for indices in members:
        next_free = np.zeros(len(starts) + 1, np.int64)
        next_free[np.array(indices, np.intp) + 1] = starts[indices]
        of_layer = chunks.pop(0)
        while of_layer:
            chunk = of_layer.pop(0)
            _scatter(chunk.labels, chunk.cells, chunk.codes, next_free, cells, codes)


@kernel
def _sweep_cells(
    layer: Any, start: int, counts: NDArray[np.int64], labels: Any, cells: NDArray[Any], codes: NDArray[np.uint8]
) -> tuple[int, int]:
    """Write the elements of all cells from row `start` of the grid on, as long as there is room for one more row.

    Returns the first row that was left out, and the number of elements written. Labels with a negative count are
    passed over.
    """
    slices, rows, columns = layer.shape
    before = np.zeros((rows + 2, columns + 2), layer.dtype)
    after = np.zeros((rows + 2, columns + 2), layer.dtype)
    differs = np.zeros(columns + 2, layer.dtype)
    mixed = np.zeros((columns + 8) // 8 * 8, np.uint8)
    words = mixed.view(np.uint64)
    corners = np.zeros(8, layer.dtype)
    place = 0
    _load_slice(layer, start // (rows + 1) - 1, after)
    for k in range(start // (rows + 1), slices + 1):
        before, after = after, before
        _load_slice(layer, k, after)
        for i in range(rows + 1):
            row = k * (rows + 1) + i
            if row < start:
                continue
            if place + 8 * (columns + 1) > labels.size:
                return row, place
            row_00, row_01, row_10, row_11 = before[i], before[i + 1], after[i], after[i + 1]
            _mark_mixed(row_00, row_01, row_10, row_11, differs, mixed)
            for word in range(words.size):
                marks = words[word]
                while marks != np.uint64(0):
                    j = 8 * word + (trailing_zeros(marks) >> 3)
                    marks &= marks - np.uint64(1)
                    corners[7], corners[6], corners[5], corners[4] = row_00[j], row_00[j + 1], row_01[j], row_01[j + 1]
                    corners[3], corners[2], corners[1], corners[0] = row_10[j], row_10[j + 1], row_11[j], row_11[j + 1]
                    place = _write_elements(corners, row * (columns + 1) + j, place, counts, labels, cells, codes)
    return (slices + 1) * (rows + 1), place


@kernel
def _load_slice(layer: Any, k: int, padded: Any) -> None:
    """Copy a slice into the middle of `padded`; background where there is no slice."""
    slices, rows, columns = layer.shape
    if 0 <= k < slices:
        padded[1 : rows + 1, 1 : columns + 1] = layer[k]
    else:
        padded[:] = 0


@kernel
def _mark_mixed(row_00: Any, row_01: Any, row_10: Any, row_11: Any, differs: Any, mixed: NDArray[np.uint8]) -> None:
    """Mark the cells of a row whose eight voxels are not all equal: few, and found by vectorised exclusive or."""
    for j in range(differs.size):
        differs[j] = (row_00[j] ^ row_01[j]) | (row_00[j] ^ row_10[j]) | (row_00[j] ^ row_11[j])
    for j in range(differs.size - 1):
        mixed[j] = (differs[j] | differs[j + 1] | (row_00[j] ^ row_00[j + 1])) != 0


@kernel
def _write_elements(
    corners: Any,
    cell: int,
    place: int,
    counts: NDArray[np.int64],
    labels: Any,
    cells: NDArray[Any],
    codes: NDArray[np.uint8],
) -> int:
    """Write the element of each label in a cell from `place` on; `corners` has the voxel of each bit of the code."""
    remaining = 255 & ~_code_of(corners, 0)
    while remaining:
        label = corners[trailing_zeros(np.uint64(remaining))]
        code = _code_of(corners, label)
        remaining &= ~code
        if counts[label] >= 0:
            labels[place] = label
            cells[place] = cell
            codes[place] = code
            counts[label] += 1
            place += 1
    return place


@kernel
def _code_of(corners: Any, label: Any) -> int:
    """The bits of the corners that have this label."""
    code = 0
    for bit in range(8):
        code |= (corners[bit] == label) << bit
    return code


@kernel
def _scatter(
    chunk_labels: Any,
    chunk_cells: NDArray[Any],
    chunk_codes: NDArray[np.uint8],
    next_free: NDArray[np.int64],
    cells: NDArray[Any],
    codes: NDArray[np.uint8],
) -> None:
    """Copy each element to the next free place of its label."""
    for element in range(chunk_labels.size):
        label = chunk_labels[element]
        place = next_free[label]
        cells[place] = chunk_cells[element]
        codes[place] = chunk_codes[element]
        next_free[label] = place + 1


@kernel
def _find_bounds(cells: NDArray[Any], rows: int, columns: int) -> tuple[int, int, int, int]:
    """Lowest and highest row, lowest and highest column of at least one cell."""
    row_start: Any = np.int64(0)
    row_stop: Any = np.int64(0)
    first_row, last_row, first_column, last_column = rows, 0, columns, 0
    for place in range(cells.size):
        cell: Any = np.int64(cells[place])
        if cell >= row_stop:
            row = cell // columns
            row_start = row * columns
            row_stop = row_start + columns
            first_row, last_row = min(first_row, row % rows), max(last_row, row % rows)
        first_column, last_column = min(first_column, cell - row_start), max(last_column, cell - row_start)
    return first_row, last_row, first_column, last_column
