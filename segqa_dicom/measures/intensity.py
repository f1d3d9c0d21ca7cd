"""HU statistics of the voxels of every segment."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.jit import kernel
from segqa_dicom.measures.packed_voxels import read_only
from segqa_dicom.measures.results import AIR_BELOW_HU, DENSE_ABOVE_HU, FAT_HU, HuShares, Intensity
from segqa_dicom.measures.runs import Runs, find_runs, indices_by_layer, table_size
from segqa_dicom.model import CtVolume, Segmentation

VALUE_BUDGET = 200_000_000
"""HU values gathered at a time (800 MB of float32); more foreground is measured in groups of labels."""

MAX_TABLE_ROWS = 512
"""Segments of a layer whose values are counted in a table: 128 MB if every one of them had every value."""

_USUAL, _ALL = (-2048, 8192), (-32768, 65536)
"""Lowest value and number of values that are counted: a small table stays in the cache; all of int16."""


def measure_intensities(
    segmentation: Segmentation, ct: CtVolume, *, value_budget: int = VALUE_BUDGET
) -> tuple[Intensity | None, ...]:
    """Mean, population SD, minimum, maximum and median HU of each segment, in the order of the segmentation.

    Mean and SD in float64; the median of an even number of voxels is the mean of the middle two. None for a segment
    without voxels, and for all if the CT is not in HU.
    """
    if not ct.facts.hu_defined:
        return (None,) * len(segmentation.segments)
    intensities: dict[int, Intensity | None] = {}
    for layer, indices in zip(segmentation.layers, indices_by_layer(segmentation), strict=True):
        size = table_size(layer, len(segmentation.segments))
        measured = intensities_of_runs(find_runs(layer), indices, ct, size=size, value_budget=value_budget)
        intensities.update(zip(indices, measured, strict=True))
    return tuple(intensities[index] for index in range(len(segmentation.segments)))


def intensities_of_runs(
    runs: Runs, indices: list[int], ct: CtVolume, *, size: int, value_budget: int = VALUE_BUDGET
) -> list[Intensity | None]:
    """Intensities of the segments at `indices`, which lie in the layer of `runs`; the CT is taken to be in HU.

    HU of type int16 are counted value by value: everything is then a sum of whole numbers, and exact. Others, or those
    of very many segments, are gathered.
    size : more than any label of the layer and any index
    """
    if runs.shape != ct.hu.shape:
        raise ValueError(f"a layer of shape {runs.shape} does not fit a CT of shape {ct.hu.shape}")
    if ct.hu.dtype == np.int16 and len(indices) <= MAX_TABLE_ROWS and ct.hu.size < 2**32:
        return _intensities_by_value(runs, indices, ct.hu, size)
    counts = np.zeros(size, np.int64)
    counts[: runs.voxel_counts.size] = runs.voxel_counts
    rows = read_only(ct.hu).reshape(-1, ct.hu.shape[2])
    intensities: list[Intensity | None] = []
    for group in _groups(indices, counts, value_budget):
        intensities += _measure_group(rows, runs, group, counts)
    return intensities


def _intensities_by_value(runs: Runs, indices: list[int], hu: NDArray[Any], size: int) -> list[Intensity | None]:
    """Intensities from a table of how many voxels of each segment have each value; exact."""
    for lowest, width in (_USUAL, _ALL):
        rows = np.full(size, -1, np.int64)
        rows[np.array(indices, np.intp) + 1] = np.arange(len(indices))
        table = np.zeros((len(indices), width), np.uint32)
        if _count_values(
            read_only(hu), hu.shape[2], runs.row_starts, runs.first, runs.stop, runs.labels, rows, lowest, table
        ):
            break
    # Most values do not occur at all; to look at those of each segment takes longer than to count them.
    used = np.flatnonzero(table.any(axis=0))
    if not used.size:
        return [None] * len(indices)
    table = table[:, used[0] : used[-1] + 1]
    values = np.arange(used[0], used[-1] + 1) + lowest
    return [_intensity_of_counts(table[at].astype(np.int64), values) for at in range(len(indices))]


def _intensity_of_counts(counts: NDArray[np.int64], values: NDArray[np.int64]) -> Intensity | None:
    """Statistics of voxels of which ``counts[n]`` have the value ``values[n]`` (ascending); correctly rounded."""
    ends = np.cumsum(counts)
    count = int(ends[-1])
    if count == 0:
        return None
    # Below 2**63 for any number of int16 values that a table of uint32 can count.
    total, squares = int(counts @ values), int(counts @ values**2)
    ranks = [0, (count - 1) // 2, count // 2, count - 1]
    smallest, lower, upper, largest = (float(value) for value in values[np.searchsorted(ends, ranks, side="right")])
    sd = math.sqrt((count * squares - total**2) / count**2)
    return Intensity(total / count, sd, smallest, largest, (lower + upper) / 2, _shares(ends, values))


def _shares(ends: NDArray[np.int64], values: NDArray[np.int64]) -> HuShares:
    """Shares from how many voxels have each value (ascending) or a lower one."""
    edges = values.searchsorted((AIR_BELOW_HU, FAT_HU[0], FAT_HU[1] + 1, DENSE_ABOVE_HU + 1))
    air, below_fat, fat, sparse = (int(ends[edge - 1]) if edge else 0 for edge in edges)
    count = int(ends[-1])
    return HuShares(air / count, (fat - below_fat) / count, (count - sparse) / count)


def _groups(indices: list[int], counts: NDArray[np.int64], value_budget: int) -> Iterator[list[int]]:
    """Split `indices` so that each group has no more voxels than the budget, or is a single segment."""
    group: list[int] = []
    total = 0
    for index in indices:
        count = int(counts[index + 1])
        if group and total + count > value_budget:
            yield group
            group, total = [], 0
        group.append(index)
        total += count
    if group:
        yield group


def _measure_group(
    rows: NDArray[Any], runs: Runs, group: list[int], counts: NDArray[np.int64]
) -> list[Intensity | None]:
    """Gather the HU of the group by a counting sort, then measure label after label."""
    labels = np.array(group) + 1
    stops = np.cumsum(counts[labels])
    next_free = np.full(counts.size, -1, np.int64)
    next_free[labels] = stops - counts[labels]
    values = np.empty(int(stops[-1]), rows.dtype)
    _gather(rows, runs.row_starts, runs.first, runs.stop, runs.labels, next_free, values)
    return [_intensity(values[stop - count : stop]) for stop, count in zip(stops, counts[labels], strict=True)]


def _intensity(values: NDArray[Any]) -> Intensity | None:
    """Statistics of HU values, which are reordered."""
    if not values.size:
        return None
    mean = float(values.mean(dtype=np.float64))
    sd = float(np.sqrt(_mean_square_deviation(values, mean)))
    shares = HuShares(
        air=int(np.count_nonzero(values < AIR_BELOW_HU)) / values.size,
        fat=int(np.count_nonzero((values >= FAT_HU[0]) & (values <= FAT_HU[1]))) / values.size,
        dense=int(np.count_nonzero(values > DENSE_ABOVE_HU)) / values.size,
    )
    return Intensity(mean, sd, float(values.min()), float(values.max()), _median_in_place(values), shares)


def _median_in_place(values: NDArray[Any]) -> float:
    middle = values.size // 2
    values.partition(middle)
    upper = float(values[middle])
    return upper if values.size % 2 else (float(values[:middle].max()) + upper) / 2


@kernel
def _mean_square_deviation(values: NDArray[Any], mean: float) -> float:
    """Mean of (value - mean)**2, summed in blocks to keep rounding errors small, without a float64 copy of `values`."""
    block = 4096
    total = 0.0
    for start in range(0, values.size, block):
        part = 0.0
        for i in range(start, min(start + block, values.size)):
            deviation = np.float64(values[i]) - mean
            part += deviation * deviation
        total += part
    return total / values.size


@kernel
def _count_values(
    hu: NDArray[Any], columns: int, row_starts: NDArray[np.int64], first: NDArray[Any], stop: NDArray[Any],
    labels: NDArray[Any], rows: NDArray[np.int64], lowest: int, table: NDArray[np.uint32],
) -> bool:  # fmt: skip
    """Count the value of each voxel in ``table[rows[label], value - lowest]``; labels of a negative row are left out.

    Whether all values had a place in the table; if not, it is not complete.
    """
    flat, width = table.reshape(-1), np.uint64(table.shape[1])
    for row in range(row_starts.size - 1):
        for run in range(row_starts[row], row_starts[row + 1]):
            if rows[labels[run]] < 0:
                continue
            begin = np.uint64(rows[labels[run]]) * width
            # Unsigned indices need no look at whether they count from the end.
            for voxel in range(np.uint64(row * columns + first[run]), np.uint64(row * columns + stop[run])):
                place = np.uint64(hu[voxel] - lowest)
                if place >= width:
                    return False
                flat[begin + place] += np.uint32(1)
    return True


@kernel
def _gather(
    rows: NDArray[Any], row_starts: NDArray[np.int64], first: NDArray[Any], stop: NDArray[Any], labels: NDArray[Any],
    next_free: NDArray[np.int64], values: NDArray[Any],
) -> None:  # fmt: skip
    """Copy the values under every run to the next free place of its label; labels with a negative one are left out."""
    for row in range(row_starts.size - 1):
        for run in range(row_starts[row], row_starts[row + 1]):
            label = labels[run]
            place = next_free[label]
            if place < 0:
                continue
            for column in range(first[run], stop[run]):
                values[place] = rows[row, column]
                place += 1
            next_free[label] = place
