"""Nearest surface elements within about six voxels: exact, by looking at rows of bits in the order of their distance.

The cells of the targets are bits, a row of cells being a row of 64-bit words. For each query the rows around it are
visited from the nearest on; a window of 64 bits tells the nearest target of a row, and the search ends with the first
row that is further away than the best target so far. Most queries need fewer than ten rows. A query without target is
at least as far as the first row that was left out, or 32 columns; `far` finds its distance.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.jit import kernel
from segqa_dicom.measures.bits import leading_zeros, trailing_zeros
from segqa_dicom.measures.surface import Surface

ROW_LIMIT = 113
"""Most rows that are visited for one query: those within 6 voxels where slices and rows are equally far apart."""

WORD_BUDGET = 4_000_000
"""Most 64-bit words of bit rows at a time, 32 MB: about 700 slices of 512 x 512 cells."""

_WINDOW = 32
"""Columns that a window shows to the left of its query; to the right one less."""


class NearRows(NamedTuple):
    """The rows of cells around a query in the order of their distance, and the distances that are found in them.

    slices, rows : (n,) int64, offset from the row of the query
    squares_mm2 : (n,) float64, ascending, square of their distance
    columns_mm2 : (33,) float64, square of each distance along the columns
    limit_mm2 : square of the largest distance that is certain to be the smallest one
    distances_mm : (k,) float64, ascending, all different, every distance that an offset can have
    bins : (n, 33) int32, place in `distances_mm` for each row and offset along the columns
    """

    slices: NDArray[np.int64]
    rows: NDArray[np.int64]
    squares_mm2: NDArray[np.float64]
    columns_mm2: NDArray[np.float64]
    limit_mm2: float
    distances_mm: NDArray[np.float64]
    bins: NDArray[np.int32]


class BitBox(NamedTuple):
    """Part of the grid of cells that has bits, as many slices at a time as the memory allows.

    grid_rows, grid_columns : extent of the whole grid
    first_row, first_column : the row of the grid that is the first one of the box, the column that is its first bit
    slices, rows, words : extent of the box
    reach_slices, reach_rows : how far from its query a row can be that is visited
    """

    grid_rows: int
    grid_columns: int
    first_row: int
    first_column: int
    slices: int
    rows: int
    words: int
    reach_slices: int
    reach_rows: int


@lru_cache(maxsize=16)
def near_rows(spacing_mm: tuple[float, float, float]) -> NearRows:
    """The rows to visit on a grid with this (slice, row, column) spacing.

    Squares are added up in the order slice, row, column as everywhere, so that equal offsets give equal distances.
    """
    slice_mm, row_mm, column_mm = spacing_mm
    # An ellipse of this radius holds about pi times as many rows as are wanted.
    radius_mm = np.sqrt((ROW_LIMIT + 1) * slice_mm * row_mm)
    reach = [int(min(ROW_LIMIT, radius_mm // step)) + 1 for step in (slice_mm, row_mm)]
    slices, rows = (axis.ravel() for axis in np.mgrid[-reach[0] : reach[0] + 1, -reach[1] : reach[1] + 1])
    squares = np.square(slices * slice_mm) + np.square(rows * row_mm)
    order = np.argsort(squares, kind="stable")
    columns_mm2 = np.square(np.arange(_WINDOW + 1) * column_mm)
    limit_mm2 = min(float(squares[order[ROW_LIMIT]]), float(columns_mm2[-1]))
    order = order[:ROW_LIMIT]
    order = order[squares[order] <= limit_mm2]
    distances_mm, bins = np.unique(np.sqrt(squares[order, None] + columns_mm2), return_inverse=True)
    places = bins.astype(np.int32).reshape(order.size, columns_mm2.size)
    return NearRows(slices[order], rows[order], squares[order], columns_mm2, limit_mm2, distances_mm, places)


def nearest_bins(queries: Surface, targets: Surface, near: NearRows) -> NDArray[np.int32]:
    """(n,) place in `near.distances_mm` of the distance of each query to the nearest target; -1 if it is further.

    Both surfaces have elements, on the same grid. Takes 4 bytes a query, and up to 32 MB while it runs.
    """
    _, rows, columns = targets.grid
    first_row, last_row, first_column, last_column = targets.bounds
    reach_slices, reach_rows = int(near.slices.max()), int(near.rows.max())
    # Queries further than their reach from the box of the targets are not looked at, so all rows that are lie inside.
    box_rows = last_row - first_row + 1 + 4 * reach_rows
    box_words = (last_column - first_column + 2 * _WINDOW) // 64 + 2
    query_slices = int(queries.cells[-1]) // (rows * columns) - int(queries.cells[0]) // (rows * columns) + 1
    room = WORD_BUDGET // (box_rows * box_words) - 2 * reach_slices
    box = BitBox(
        grid_rows=rows,
        grid_columns=columns,
        first_row=first_row - 2 * reach_rows,
        first_column=first_column - 2 * _WINDOW,
        slices=max(1, min(query_slices, room)) + 2 * reach_slices,
        rows=box_rows,
        words=box_words,
        reach_slices=reach_slices,
        reach_rows=reach_rows,
    )
    bins = np.empty(queries.count, np.int32)
    _search_slabs(queries.cells, targets.cells, box, near, bins)
    return bins


@kernel
def _search_slabs(
    queries: NDArray[Any], targets: NDArray[Any], box: BitBox, near: NearRows, bins: NDArray[np.int32]
) -> None:
    """Fill in the bins of all queries, those of some slices at a time: the bits of the whole grid may be too many."""
    words = np.zeros(box.slices * box.rows * box.words, np.uint64)
    steps = (near.slices * box.rows + near.rows) * box.words
    slice_cells = box.grid_rows * box.grid_columns
    start = 0
    while start < queries.size:
        first_slice = np.int64(queries[start]) // slice_cells - box.reach_slices
        last_slice = first_slice + box.slices
        if start > 0:
            words[:] = 0
        _set_bits(
            targets,
            _place_of(targets, first_slice * slice_cells),
            _place_of(targets, last_slice * slice_cells),
            first_slice,
            box,
            words,
        )
        stop = _place_of(queries, (last_slice - box.reach_slices) * slice_cells)
        _search_rows(queries, start, stop, first_slice, box, words, steps, near, bins)
        start = stop


@kernel
def _place_of(cells: NDArray[Any], cell: Any) -> int:
    """How many of the ascending cells are before `cell`."""
    low, high = 0, cells.size
    while low < high:
        middle = (low + high) >> 1
        if np.int64(cells[middle]) < cell:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def _set_bits(
    targets: NDArray[Any], start: int, stop: int, first_slice: Any, box: BitBox, words: NDArray[np.uint64]
) -> None:
    """Set the bits of the targets from place `start` up to `stop`."""
    row_stop, row_word, first_bit = np.int64(0), np.int64(0), np.int64(0)
    for place in range(start, stop):
        cell = np.int64(targets[place])
        if cell >= row_stop:
            row = cell // box.grid_columns
            k = row // box.grid_rows
            i = row - k * box.grid_rows
            row_stop = (row + 1) * box.grid_columns
            row_word = ((k - first_slice) * box.rows + i - box.first_row) * box.words
            first_bit = row * box.grid_columns + box.first_column
        bit = cell - first_bit
        words[row_word + (bit >> 6)] |= np.uint64(1) << np.uint64(bit & 63)


@kernel
def _search_rows(
    queries: NDArray[Any],
    start: int,
    stop: int,
    first_slice: Any,
    box: BitBox,
    words: NDArray[np.uint64],
    steps: NDArray[np.int64],
    near: NearRows,
    bins: NDArray[np.int32],
) -> None:
    """Fill in the bins of the queries from place `start` up to `stop`.

    steps : (n,) int64, words from a row to each of the rows around it
    """
    squares, columns_squares, row_bins = near.squares_mm2, near.columns_mm2, near.bins
    row_stop, row_word, first_bit = np.int64(0), np.int64(0), np.int64(0)
    is_inside: Any = False
    beyond = np.nextafter(near.limit_mm2, np.inf)
    for place in range(start, stop):
        cell = np.int64(queries[place])
        if cell >= row_stop:
            row = cell // box.grid_columns
            k = row // box.grid_rows
            i = row - k * box.grid_rows - box.first_row
            row_stop = (row + 1) * box.grid_columns
            row_word = ((k - first_slice) * box.rows + i) * box.words
            first_bit = row * box.grid_columns + box.first_column + 32
            is_inside = box.reach_rows <= i < box.rows - box.reach_rows
        bit = cell - first_bit
        found = np.int32(-1)
        if is_inside and 0 <= bit < 64 * (box.words - 1):
            word = row_word + (bit >> 6)
            shift = np.uint64(bit & 63)
            # Shifted by 64 in two steps where the window is one whole word: the result of a single one is undefined.
            left_shift = np.uint64(63) - shift
            best = beyond
            for row_place in range(steps.size):
                square = squares[row_place]
                if square >= best:
                    break
                at = word + steps[row_place]
                window = (words[at] >> shift) | ((words[at + 1] << np.uint64(1)) << left_shift)
                if window == np.uint64(0):
                    continue
                distance = _columns_to_nearest(window)
                square += columns_squares[distance]
                if square < best:
                    best = square
                    found = row_bins[row_place, distance]
        bins[place] = found


@kernel
def _columns_to_nearest(window: Any) -> int:
    """Distance of the nearest set bit from bit 32 of a window that is not empty; a half without bits counts as far."""
    right = trailing_zeros((window >> np.uint64(32)) | np.uint64(1 << 33))
    left = leading_zeros((window << np.uint64(32)) | np.uint64(1 << 30)) + 1
    return min(left, right)
