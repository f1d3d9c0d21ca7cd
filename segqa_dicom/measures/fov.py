"""Voxels of segments where the CT has no picture: outside the reconstructed field of view."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.measures.edge_regions import EdgeRegions, count_in_regions, find_edge_regions
from segqa_dicom.measures.runs import Runs, find_runs, indices_by_layer, table_size
from segqa_dicom.model import CtFacts, CtVolume, Segmentation

PADDING_MAX_HU = -1500
"""No tissue and no air is this low: scanners fill what is outside the circular field of view with -2000 to -3024."""


def padding_voxel_counts(segmentation: Segmentation, ct: CtVolume) -> NDArray[np.int64]:
    """(segments,) voxels of each segment on padding, in the order of the segmentation.

    Padding are the pixels of a slice that are no higher than -1500 HU (only if the CT is in HU) or within
    ``ct.facts.padding_hu``, and that are connected to the edge of the matrix through such pixels (8 neighbours in the
    slice): a streak of metal inside the body is none. Zeros if the CT has no padding.
    """
    counts = np.zeros(len(segmentation.segments), np.int64)
    padding = padding_regions(ct)
    if padding is not None:
        for layer, indices in zip(segmentation.layers, indices_by_layer(segmentation), strict=True):
            size = table_size(layer, counts.size)
            counts[indices] = padding_of_runs(find_runs(layer), indices, padding, size=size)
    return counts


def padding_of_runs(runs: Runs, indices: list[int], padding: EdgeRegions | None, *, size: int) -> list[int]:
    """Voxels on padding of the segments at `indices`, which lie in the layer of `runs`.

    size : more than any label of the layer and any index
    """
    if padding is None:
        return [0] * len(indices)
    counts, _ = count_in_regions(padding, runs, size)
    return [int(counts[index + 1]) for index in indices]


def padding_regions(ct: CtVolume) -> EdgeRegions | None:
    """The padding of a CT, as `padding_voxel_counts` defines it; None if it has none."""
    is_low = _padding_test(ct.facts, ct.hu.dtype)
    return None if is_low is None else find_edge_regions(ct.hu, is_low, diagonal=True, shrink=False)


def _padding_test(facts: CtFacts, dtype: np.dtype[Any]) -> Callable[[NDArray[Any]], NDArray[np.bool_]] | None:
    """Which pixels are low enough to be padding; None if nothing can be."""
    maximum = PADDING_MAX_HU if facts.hu_defined else None
    bounds = facts.padding_hu
    if bounds is not None and np.issubdtype(dtype, np.integer):
        # Whole bounds keep int16 pixels from being compared as float64.
        bounds = (math.ceil(bounds[0]), math.floor(bounds[1]))
    if maximum is None and bounds is None:
        return None

    def is_low(hu: NDArray[Any]) -> NDArray[np.bool_]:
        low: NDArray[np.bool_] = hu <= maximum if maximum is not None else np.zeros(hu.shape, np.bool_)
        return low if bounds is None else low | ((hu >= bounds[0]) & (hu <= bounds[1]))

    return is_low
