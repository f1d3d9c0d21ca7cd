"""Holes: what is enclosed by one segment alone, in one pass over the gaps between runs, no label image.

A gap is the stretch of background between two runs of a row; gaps that share a face are connected (6 neighbours, the
counterpart of 26 for segments). What touches the edge of the volume, or two segments, is not a hole of anyone: most
gaps lie between two segments, and drop out at the first look.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.jit import kernel
from segqa_dicom.measures.packed_voxels import read_only
from segqa_dicom.measures.results import Cavities
from segqa_dicom.measures.runs import Runs, find_runs, indices_by_layer, table_size
from segqa_dicom.model import LabelArray, Segmentation

_NO_CAVITIES = Cavities(0)


def measure_cavities(segmentation: Segmentation) -> tuple[Cavities, ...]:
    """Holes of each segment, in the order of the segmentation.

    A hole is a region of voxels without any label in the segment's layer, 6-connected, that reaches neither the edge of
    the volume nor another segment of the layer. Voxels of it that have a label in another layer do not count.
    """
    found: dict[int, Cavities] = {}
    for at, indices in enumerate(indices_by_layer(segmentation)):
        size = table_size(segmentation.layers[at], len(segmentation.segments))
        others = [layer for number, layer in enumerate(segmentation.layers) if number != at]
        runs = find_runs(segmentation.layers[at])
        found.update(zip(indices, cavities_of_runs(runs, indices, others, size=size), strict=True))
    return tuple(found[index] for index in range(len(segmentation.segments)))


def cavities_of_runs(
    runs: Runs, indices: Sequence[int], others: Sequence[LabelArray] = (), *, size: int
) -> list[Cavities]:
    """Holes of the segments at `indices`, which lie in the layer of `runs`.

    others : the other layers of the segmentation
    size : more than any label of the layer and any index
    """
    _, rows, columns = runs.shape
    gaps = _gaps_in_holes(runs)
    if not len(gaps):
        return [_NO_CAVITIES] * len(indices)
    row = np.searchsorted(runs.row_starts, gaps, side="right") - 1
    first, length = runs.stop[gaps].astype(np.int64), runs.first[gaps + 1].astype(np.int64) - runs.stop[gaps]
    counts = _without_others(row * columns + first, length, others)
    labels = runs.labels[gaps].astype(np.int64)
    totals = np.bincount(labels, weights=counts, minlength=size).astype(np.int64)
    # The longest gap of each label, the first of those that are alike.
    order = np.lexsort((np.arange(len(gaps)), -counts, labels))
    wanted, at = np.unique(labels[order], return_index=True)
    longest = np.zeros(size, np.int64)
    longest[wanted] = order[at]
    places = np.column_stack((row // rows, row % rows, first + length // 2))[longest]
    return [
        Cavities(int(totals[label]), (int(places[label, 0]), int(places[label, 1]), int(places[label, 2])))
        if totals[label]
        else _NO_CAVITIES
        for label in (index + 1 for index in indices)
    ]


def _gaps_in_holes(runs: Runs) -> NDArray[np.intp]:
    """The runs that are followed by a gap which belongs to a hole, in ascending order."""
    slices, rows, _ = runs.shape
    parents = np.arange(runs.count + 1, dtype=np.int32 if runs.count < 2**31 - 1 else np.int64)
    has_gap = np.zeros(slices * rows, np.bool_)
    _find_gaps(runs.row_starts, runs.first, runs.stop, runs.labels, rows, slices, parents, has_gap)
    _link_gaps(runs.row_starts, runs.first, runs.stop, runs.labels, rows, has_gap, parents)
    return np.flatnonzero(_flattened(parents)) - 1


def _without_others(begin: NDArray[np.int64], length: NDArray[np.int64], others: Sequence[LabelArray]) -> NDArray[Any]:
    """Voxels of each gap, given by its first voxel in the flat layer, that have no label in other layers."""
    if not others:
        return length
    gap = np.repeat(np.arange(len(begin)), length)
    voxel = np.arange(len(gap)) - np.repeat(np.cumsum(length) - length, length) + begin[gap]
    is_free = np.ones(len(voxel), np.bool_)
    for layer in others:
        is_free &= read_only(layer)[voxel] == 0
    return np.bincount(gap[is_free], minlength=len(begin))


@kernel
def _find_gaps(
    row_starts: NDArray[np.int64], first: NDArray[Any], stop: NDArray[Any], labels: NDArray[Any], rows: int,
    slices: int, parents: NDArray[Any], has_gap: NDArray[np.bool_],
) -> None:  # fmt: skip
    """Give parent 0, the outside, to every run n + 1 that is not followed by a gap between two runs of its label."""
    for row in range(has_gap.size):
        k, i = row // rows, row % rows
        is_edge = k in (0, slices - 1) or i in (0, rows - 1)
        for run in range(row_starts[row], row_starts[row + 1]):
            is_last = run + 1 == row_starts[row + 1]
            if is_edge or is_last or labels[run] != labels[run + 1] or stop[run] >= first[run + 1]:
                parents[run + 1] = 0
            else:
                has_gap[row] = True


@kernel
def _root(parents: NDArray[Any], gap: int) -> int:
    """The first gap of the region so far, halving the path to it; 0 is the outside."""
    while parents[gap] != gap:
        parents[gap] = parents[parents[gap]]
        gap = parents[gap]
    return gap


@kernel
def _unite(parents: NDArray[Any], one: int, other: int) -> None:
    one, other = _root(parents, one), _root(parents, other)
    if one < other:
        parents[other] = one
    else:
        parents[one] = other


@kernel
def _link_gaps(
    row_starts: NDArray[np.int64], first: NDArray[Any], stop: NDArray[Any], labels: NDArray[Any], rows: int,
    has_gap: NDArray[np.bool_], parents: NDArray[Any],
) -> None:  # fmt: skip
    """Unite each gap with what it touches in the four rows that share a face with its row."""
    for row in range(has_gap.size):
        if has_gap[row]:
            # A row with a gap is never one at the edge.
            for there in (row - rows, row - 1, row + 1, row + rows):
                _link_two_rows(
                    first, stop, labels, row_starts[row], row_starts[row + 1], row_starts[there],
                    row_starts[there + 1], parents,
                )  # fmt: skip


@kernel
def _link_two_rows(
    first: NDArray[Any], stop: NDArray[Any], labels: NDArray[Any], here: int, here_stop: int, there: int,
    there_stop: int, parents: NDArray[Any],
) -> None:  # fmt: skip
    """Unite the gaps of one row with what they face in another: gaps, the outside, or another segment."""
    for run in range(here, here_stop - 1):
        if parents[run + 1] == 0:
            continue
        begin, end = stop[run], first[run + 1]
        while there < there_stop and stop[there] <= begin:
            there += 1
        if there == there_stop:
            # Beyond the last run of the other row (or nothing is there at all).
            parents[_root(parents, run + 1)] = 0
            continue
        # Now run `there` is the first that ends after the gap begins; the gap may face what is before it.
        if first[there] > begin:
            _unite(parents, run + 1, there)  # The gap behind the run before: number there - 1 + 1.
        other = there
        while other < there_stop and first[other] < end:
            if labels[other] != labels[run]:
                parents[_root(parents, run + 1)] = 0
            if stop[other] < end:
                _unite(parents, run + 1, other + 1)
            other += 1


@kernel
def _flattened(parents: NDArray[Any]) -> NDArray[Any]:
    """Replace each parent by the root, in place: a parent comes before its children."""
    for gap in range(parents.size):
        parents[gap] = parents[parents[gap]]
    return parents
