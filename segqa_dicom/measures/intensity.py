"""HU statistics of the voxels of every segment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.jit import kernel
from segqa_dicom.measures.results import Intensity
from segqa_dicom.measures.runs import Runs, find_runs, indices_by_layer, table_size
from segqa_dicom.model import CtVolume, Segmentation

VALUE_BUDGET = 200_000_000
"""HU values gathered at a time (400 MB of int16); more foreground is measured in groups of labels."""


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

    size : more than any label of the layer and any index
    """
    if runs.shape != ct.hu.shape:
        raise ValueError(f"a layer of shape {runs.shape} does not fit a CT of shape {ct.hu.shape}")
    counts = np.zeros(size, np.int64)
    _count_voxels(runs.first, runs.stop, runs.labels, counts)
    rows = np.ascontiguousarray(ct.hu).reshape(-1, ct.hu.shape[2])
    intensities: list[Intensity | None] = []
    for group in _groups(indices, counts, value_budget):
        intensities += _measure_group(rows, runs, group, counts)
    return intensities


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
    return Intensity(mean, sd, float(values.min()), float(values.max()), _median_in_place(values))


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
def _count_voxels(first: NDArray[Any], stop: NDArray[Any], labels: NDArray[Any], counts: NDArray[np.int64]) -> None:
    for run in range(labels.size):
        counts[labels[run]] += np.int64(stop[run]) - np.int64(first[run])


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
