"""26-connected components of all labels of a layer in one pass: union-find over runs, no label image.

Two runs of the same label touch if they lie in neighbouring rows (26-neighbourhood) and their column ranges, extended
by one, overlap. After Wu, Otoo and Suzuki 2009 (Pattern Anal Appl 12:117-135), with runs instead of voxels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.jit import kernel
from segqa_dicom.measures.results import Components
from segqa_dicom.measures.runs import Runs


def connected_components(runs: Runs, labels: list[int]) -> list[Components]:
    """Components of each of `labels` (values of the layer, 1 or more); no components for a label without voxels."""
    slices, rows, _ = runs.shape
    parents = np.arange(runs.count, dtype=np.int32 if runs.count < 2**31 else np.int64)
    _link_rows(runs.row_starts, runs.first, runs.stop, runs.labels, slices, rows, parents)
    count = _number_components(parents)
    component_labels = np.zeros(count, runs.labels.dtype)
    voxel_counts = np.zeros(count, np.int64)
    longest = np.zeros(count, np.int32)
    seeds = np.zeros((count, 3), np.int32)
    boxes = np.zeros((count, 6), np.int32)
    _describe(
        runs.row_starts, runs.first, runs.stop, runs.labels, slices, rows,
        parents, component_labels, voxel_counts, longest, seeds, boxes,
    )  # fmt: skip
    del parents, longest
    # lexsort is stable: components of one size stay in the order of their first voxel.
    order = np.lexsort((-voxel_counts, component_labels))
    component_labels = component_labels[order]
    # One after the other, and views below: noise has a component for nearly every voxel.
    voxel_counts = voxel_counts[order]
    seeds = seeds[order]
    boxes = boxes[order]
    starts = np.searchsorted(component_labels, labels, side="left")
    stops = np.searchsorted(component_labels, labels, side="right")
    places = [slice(start, stop) for start, stop in zip(starts, stops, strict=True)]
    return [Components(voxel_counts[place], seeds[place], boxes[place]) for place in places]


@kernel
def _find(parents: NDArray[Any], run: int) -> int:
    """The first run of the component so far, halving the path to it."""
    while parents[run] != run:
        parents[run] = parents[parents[run]]
        run = parents[run]
    return run


@kernel
def _link_two_rows(
    first: NDArray[Any], stop: NDArray[Any], labels: NDArray[Any], here: int, here_stop: int, there: int,
    there_stop: int, parents: NDArray[Any],
) -> None:  # fmt: skip
    """Unite the runs of one row with those of another that they touch.

    Every run looks from the first run on that reaches it; the next run may touch the last one again, so that run is
    not passed (``stop == first`` of the next is a diagonal neighbour).
    """
    for run in range(here, here_stop):
        while there < there_stop and stop[there] < first[run]:
            there += 1
        other = there
        while other < there_stop and first[other] <= stop[run]:
            # Most pairs are united already; one look at their parents shows it.
            if labels[other] == labels[run] and parents[other] != parents[run]:
                root, other_root = _find(parents, run), _find(parents, other)
                if root < other_root:
                    parents[other_root] = root
                elif other_root < root:
                    parents[root] = other_root
            other += 1


@kernel
def _link_rows(
    row_starts: NDArray[np.int64], first: NDArray[Any], stop: NDArray[Any], labels: NDArray[Any], slices: int,
    rows: int, parents: NDArray[Any],
) -> None:  # fmt: skip
    """Unite each row with the previous one of its slice and the three next to it in the previous slice."""
    for k in range(slices):
        for i in range(rows):
            row = k * rows + i
            here, here_stop = row_starts[row], row_starts[row + 1]
            if here == here_stop:
                continue
            if i > 0:
                _link_two_rows(first, stop, labels, here, here_stop, row_starts[row - 1], row_starts[row], parents)
            if k > 0:
                for other in range(max(i - 1, 0), min(i + 2, rows)):
                    place = (k - 1) * rows + other
                    _link_two_rows(
                        first, stop, labels, here, here_stop, row_starts[place], row_starts[place + 1], parents
                    )


@kernel
def _number_components(parents: NDArray[Any]) -> int:
    """Replace the parent of each run by the number of its component, in the order of first runs; how many there are.

    Works in place because a parent comes before its children.
    """
    count = 0
    for run in range(parents.size):
        if parents[run] == run:
            parents[run] = count
            count += 1
        else:
            parents[run] = parents[parents[run]]
    return count


@kernel
def _describe(
    row_starts: NDArray[np.int64], first: NDArray[Any], stop: NDArray[Any], labels: NDArray[Any], slices: int,
    rows: int, components: NDArray[Any], component_labels: NDArray[Any], voxel_counts: NDArray[np.int64],
    longest: NDArray[np.int32], seeds: NDArray[np.int32], boxes: NDArray[np.int32],
) -> None:  # fmt: skip
    """Sum up voxels, longest run and bounding box of every component."""
    for k in range(slices):
        for i in range(rows):
            for run in range(row_starts[k * rows + i], row_starts[k * rows + i + 1]):
                component = components[run]
                low, high = np.int32(first[run]), np.int32(stop[run])
                box = boxes[component]
                if voxel_counts[component] == 0:
                    component_labels[component] = labels[run]
                    box[0], box[1], box[2] = k, i, low
                voxel_counts[component] += high - low
                if high - low > longest[component]:
                    longest[component] = high - low
                    seeds[component, 0] = k
                    seeds[component, 1] = i
                    seeds[component, 2] = (low + high) // 2
                box[1], box[2] = min(box[1], i), min(box[2], low)
                box[3], box[4], box[5] = k + 1, max(box[4], i + 1), max(box[5], high)
