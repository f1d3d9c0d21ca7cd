"""Nearest surface elements at any distance: exact, blocks of queries against a tree of blocks of targets.

For what `near` leaves over: islands, truncated or exchanged structures. Elements are sorted into blocks of cells that
are about as long in each direction, with the box that they fill; 4 x 4 x 4 blocks are one node of the tree, and so are
4 x 4 x 4 of these nodes. A block of queries descends the tree once, down to the target blocks that can hold the
nearest target of any of its queries; each query starts from the nearest target of the one before it.

Bounds are computed from whole-number offsets by the same formula as the distances, and rounding is monotonic: no bound
is ever on the wrong side of a distance, not even by the last bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.jit import kernel
from segqa_dicom.measures.surface import Surface

BLOCK_CELLS_LOG2 = 7
"""A block has 128 cells, of which a smooth surface fills about a quarter."""


class BlockTree(NamedTuple):
    """Surface elements sorted into blocks.

    points : (3, n) int32, slice, row and column of the elements, block by block
    places : (n,) int64, place of each element before sorting
    counts : (3,) int64, number of nodes in each level, blocks being the first
    starts : (4, blocks + 1) int64, first element of each block, first child of each node of the other levels; one node
        in a level of its own is above all others
    boxes : (3, 6, blocks) int32, lowest slice, row, column and highest slice, row, column in each node
    """

    points: NDArray[np.int32]
    places: NDArray[np.int64]
    counts: NDArray[np.int64]
    starts: NDArray[np.int64]
    boxes: NDArray[np.int32]


def far_distances_mm(
    queries: NDArray[Any], targets: Surface, spacing_mm: tuple[float, float, float]
) -> NDArray[np.float64]:
    """(n,) distance of each of the cells `queries` (n > 0, ascending) to the nearest of at least one targets.

    Takes about 40 bytes for each query and target while it runs.
    """
    shifts = _block_shifts(spacing_mm)
    squares = np.empty(queries.size, np.float64)
    _search_blocks(
        _sort_into_blocks(queries, targets.grid[1], targets.grid[2], shifts),
        _sort_into_blocks(targets.cells, targets.grid[1], targets.grid[2], shifts),
        spacing_mm,
        squares,
    )
    return np.sqrt(squares, out=squares)


def _block_shifts(spacing_mm: tuple[float, float, float]) -> tuple[int, int, int]:
    """Binary logarithm of the cells of a block in each direction: the shortest edge is doubled as often as possible."""
    edges_mm = list(spacing_mm)
    shifts = [0, 0, 0]
    for _ in range(BLOCK_CELLS_LOG2):
        axis = edges_mm.index(min(edges_mm))
        edges_mm[axis] *= 2
        shifts[axis] += 1
    return shifts[0], shifts[1], shifts[2]


@kernel
def _sort_into_blocks(cells: NDArray[Any], rows: int, columns: int, shifts: tuple[int, int, int]) -> Any:
    """A `BlockTree` of elements; the nodes are numbered such that the children of each follow each other."""
    points = np.empty((3, cells.size), np.int32)
    origin, extent = _write_points(cells, rows, columns, points)
    roots = (
        (extent[0] >> (shifts[0] + 4)) + 1,
        (extent[1] >> (shifts[1] + 4)) + 1,
        (extent[2] >> (shifts[2] + 4)) + 1,
    )
    ends = np.zeros(roots[0] * roots[1] * roots[2] * 4096 + 1, np.int64)
    blocks = np.empty(cells.size, np.int32)
    for place in range(cells.size):
        block = _block_of(
            (points[0, place] - origin[0]) >> shifts[0],
            (points[1, place] - origin[1]) >> shifts[1],
            (points[2, place] - origin[2]) >> shifts[2],
            roots,
        )
        blocks[place] = block
        ends[block + 1] += 1
    filled = 0
    for block in range(ends.size - 1):
        filled += ends[block + 1] > 0
        ends[block + 1] += ends[block]
    places = np.empty(cells.size, np.int64)
    sorted_points = np.empty((3, cells.size), np.int32)
    for place in range(cells.size):
        block = blocks[place]
        at = ends[block]
        ends[block] = at + 1
        places[at] = place
        for axis in range(3):
            sorted_points[axis, at] = points[axis, place]
    counts = np.zeros(3, np.int64)
    starts = np.zeros((4, filled + 1), np.int64)
    boxes = np.empty((3, 6, filled), np.int32)
    _number_nodes(sorted_points, ends, counts, starts, boxes)
    return BlockTree(sorted_points, places, counts, starts, boxes)


@kernel
def _write_points(cells: NDArray[Any], rows: int, columns: int, points: NDArray[np.int32]) -> Any:
    """Slice, row and column of each cell; the lowest ones, and how much higher the highest ones are."""
    row_start: Any = np.int64(0)
    row_stop: Any = np.int64(0)
    k: Any = np.int64(0)
    i: Any = np.int64(0)
    low_i, high_i, low_j, high_j = rows, 0, columns, 0
    for place in range(cells.size):
        cell: Any = np.int64(cells[place])
        if cell >= row_stop:
            row = cell // columns
            row_start = row * columns
            row_stop = row_start + columns
            k = row // rows
            i = row - k * rows
            low_i, high_i = min(low_i, i), max(high_i, i)
        j = cell - row_start
        low_j, high_j = min(low_j, j), max(high_j, j)
        points[0, place] = k
        points[1, place] = i
        points[2, place] = j
    low_k = np.int64(points[0, 0])
    return (low_k, low_i, low_j), (k - low_k, high_i - low_i, high_j - low_j)


@kernel
def _block_of(k: Any, i: Any, j: Any, roots: tuple[int, int, int]) -> Any:
    """Number of the block at a place: that of its root, then of the node in the root, then of the block in the node."""
    root = ((k >> 4) * roots[1] + (i >> 4)) * roots[2] + (j >> 4)
    node = (((k >> 2) & 3) << 4) | (((i >> 2) & 3) << 2) | ((j >> 2) & 3)
    return (root << 12) | (node << 6) | ((k & 3) << 4) | ((i & 3) << 2) | (j & 3)


@kernel
def _number_nodes(
    points: NDArray[np.int32],
    ends: NDArray[np.int64],
    counts: NDArray[np.int64],
    starts: NDArray[np.int64],
    boxes: NDArray[np.int32],
) -> None:
    """Fill in the nodes that are not empty, from the ends of all blocks."""
    start = np.int64(0)
    last = np.full(3, -1, np.int64)
    for block in range(ends.size - 1):
        if ends[block] == start:
            continue
        for level in range(3):
            if last[level] != block >> (6 * level):
                last[level] = block >> (6 * level)
                node = counts[level]
                counts[level] = node + 1
                starts[level, node] = start if level == 0 else counts[level - 1] - 1
                for axis in range(3):
                    boxes[level, axis, node] = points[axis, start]
                    boxes[level, 3 + axis, node] = points[axis, start]
        for axis in range(3):
            low: Any = points[axis, start]
            high: Any = low
            for place in range(start, ends[block]):
                low, high = min(low, points[axis, place]), max(high, points[axis, place])
            for level in range(3):
                node = counts[level] - 1
                boxes[level, axis, node] = min(boxes[level, axis, node], low)
                boxes[level, 3 + axis, node] = max(boxes[level, 3 + axis, node], high)
        start = ends[block]
    starts[0, counts[0]] = start
    starts[1, counts[1]] = counts[0]
    starts[2, counts[2]] = counts[1]
    starts[3, 1] = counts[2]


@kernel
def _search_blocks(
    queries: BlockTree, targets: BlockTree, spacing_mm: tuple[float, float, float], squares: NDArray[np.float64]
) -> None:
    """Square of the distance of each query, written to its place before sorting."""
    size = targets.counts[0]
    nodes, children = np.empty(size, np.int64), np.empty(size, np.int64)
    lower, children_lower = np.empty(size, np.float64), np.empty(size, np.float64)
    candidates = np.empty((6, size), np.int32)
    scratch = np.empty(_largest_block(targets) + 1, np.float64)
    scratch_bits = scratch.view(np.int64)
    points, boxes, starts = targets.points, targets.boxes, targets.starts
    query_points, query_boxes, query_starts = queries.points, queries.boxes, queries.starts
    box = np.empty(6, np.int32)
    nearest: Any = np.int64(0)
    for block in range(queries.counts[0]):
        for side in range(6):
            box[side] = query_boxes[0, side, block]
        bound = _square_mm2(
            _reach(box[0], box[3], points[0, nearest], points[0, nearest]),
            _reach(box[1], box[4], points[1, nearest], points[1, nearest]),
            _reach(box[2], box[5], points[2, nearest], points[2, nearest]),
            spacing_mm,
        )
        nodes[0], lower[0], count = 0, 0.0, 1
        for level in (2, 1, 0):
            count, bound = _expand(
                boxes, starts, level, nodes, lower, count, box, spacing_mm, bound, children, children_lower
            )
            nodes, children = children, nodes
            lower, children_lower = children_lower, lower
        count = _gather(boxes, nodes, lower, count, bound, candidates)
        for query in range(query_starts[0, block], query_starts[0, block + 1]):
            k, i, j = query_points[0, query], query_points[1, query], query_points[2, query]
            best, nearest = _search_candidates(
                k, i, j, points, starts, nodes, candidates, count, spacing_mm, nearest, lower, scratch, scratch_bits
            )
            squares[queries.places[query]] = best


@kernel
def _largest_block(tree: BlockTree) -> int:
    """Number of elements of the fullest block."""
    largest = 0
    for block in range(tree.counts[0]):
        largest = max(largest, tree.starts[0, block + 1] - tree.starts[0, block])
    return largest


@kernel
def _square_mm2(slices: Any, rows: Any, columns: Any, spacing_mm: tuple[float, float, float]) -> Any:
    """Square of the length of an offset between cells: the one formula for distances and bounds."""
    slices_mm, rows_mm, columns_mm = slices * spacing_mm[0], rows * spacing_mm[1], columns * spacing_mm[2]
    return slices_mm * slices_mm + rows_mm * rows_mm + columns_mm * columns_mm


@kernel
def _gap(low: Any, high: Any, other_low: Any, other_high: Any) -> Any:
    """Smallest distance between two ranges of whole numbers."""
    return max(0, low - other_high, other_low - high)


@kernel
def _reach(low: Any, high: Any, other_low: Any, other_high: Any) -> Any:
    """Largest distance between two ranges of whole numbers."""
    return max(high - other_low, other_high - low)


@kernel
def _expand(
    boxes: NDArray[np.int32],
    starts: NDArray[np.int64],
    level: int,
    nodes: NDArray[np.int64],
    lower: NDArray[np.float64],
    count: int,
    box: NDArray[np.int32],
    spacing_mm: tuple[float, float, float],
    bound: float,
    children: NDArray[np.int64],
    children_lower: NDArray[np.float64],
) -> tuple[int, float]:
    """Children, in `level`, of the nodes that are not further than the bound from a box of queries."""
    found = 0
    low_k, low_i, low_j, high_k, high_i, high_j = box[0], box[1], box[2], box[3], box[4], box[5]
    for place in range(count):
        if lower[place] > bound:
            continue
        start, stop = starts[level + 1, nodes[place]], starts[level + 1, nodes[place] + 1]
        for child in range(start, stop):
            node = np.uint64(child)
            high = _square_mm2(
                _reach(low_k, high_k, boxes[level, 0, node], boxes[level, 3, node]),
                _reach(low_i, high_i, boxes[level, 1, node], boxes[level, 4, node]),
                _reach(low_j, high_j, boxes[level, 2, node], boxes[level, 5, node]),
                spacing_mm,
            )
            bound = min(bound, high)
        for child in range(start, stop):
            node = np.uint64(child)
            low = _square_mm2(
                _gap(low_k, high_k, boxes[level, 0, node], boxes[level, 3, node]),
                _gap(low_i, high_i, boxes[level, 1, node], boxes[level, 4, node]),
                _gap(low_j, high_j, boxes[level, 2, node], boxes[level, 5, node]),
                spacing_mm,
            )
            if low <= bound:
                children[found] = child
                children_lower[found] = low
                found += 1
    return found, bound


@kernel
def _gather(
    boxes: NDArray[np.int32],
    nodes: NDArray[np.int64],
    lower: NDArray[np.float64],
    count: int,
    bound: float,
    candidates: NDArray[np.int32],
) -> int:
    """Keep the blocks that are not further than the bound, and put their boxes side by side."""
    kept = 0
    for place in range(count):
        if lower[place] <= bound:
            nodes[kept] = nodes[place]
            lower[kept] = lower[place]
            for side in range(6):
                candidates[side, kept] = boxes[0, side, nodes[place]]
            kept += 1
    return kept


@kernel
def _search_candidates(
    k: int,
    i: int,
    j: int,
    points: NDArray[np.int32],
    starts: NDArray[np.int64],
    nodes: NDArray[np.int64],
    candidates: NDArray[np.int32],
    count: int,
    spacing_mm: tuple[float, float, float],
    nearest: Any,
    lower: NDArray[np.float64],
    scratch: NDArray[np.float64],
    scratch_bits: NDArray[np.int64],
) -> tuple[float, Any]:
    """Square of the distance of a query to the nearest target in the candidate blocks, and that target.

    nearest : any target; the nearest one of the query before is close to the best one
    lower : (n,) bound on the squares of all queries of the block, per candidate
    """
    best = _square_mm2(points[0, nearest] - k, points[1, nearest] - i, points[2, nearest] - j, spacing_mm)
    for place in range(count):
        if lower[place] >= best:
            continue
        square = _square_mm2(
            _gap(k, k, candidates[0, place], candidates[3, place]),
            _gap(i, i, candidates[1, place], candidates[4, place]),
            _gap(j, j, candidates[2, place], candidates[5, place]),
            spacing_mm,
        )
        if square >= best:
            continue
        start, stop = starts[0, nodes[place]], starts[0, nodes[place] + 1]
        smallest = _search_block(k, i, j, points, start, stop - start, spacing_mm, scratch, scratch_bits)
        scratch[stop - start] = best
        if smallest < scratch_bits[stop - start]:
            at = 0
            while scratch_bits[at] != smallest:
                at += 1
            best = scratch[at]
            nearest = start + at
    return best, nearest


@kernel
def _search_block(
    k: int,
    i: int,
    j: int,
    points: NDArray[np.int32],
    start: int,
    count: int,
    spacing_mm: tuple[float, float, float],
    scratch: NDArray[np.float64],
    scratch_bits: NDArray[np.int64],
) -> Any:
    """Bits of the smallest square among `count` targets; the squares of all of them remain in `scratch`.

    Squares are not negative, so they are ordered as their bits are; the smallest whole number is found by a vectorised
    loop, the smallest floating point number is not.
    """
    for place in range(count):
        target = np.uint64(start + place)
        scratch[place] = _square_mm2(points[0, target] - k, points[1, target] - i, points[2, target] - j, spacing_mm)
    smallest = scratch_bits[0]
    for place in range(1, count):
        smallest = min(smallest, scratch_bits[place])
    return smallest
