"""Voxels of segments where the CT has no picture: outside the reconstructed field of view."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segqa_dicom.measures.runs import indices_by_layer, table_size
from segqa_dicom.model import CtFacts, CtVolume, Segmentation

PADDING_MAX_HU = -1500
"""No tissue and no air is this low: scanners fill what is outside the circular field of view with -2000 to -3024."""

_EIGHT_NEIGHBOURS = np.ones((3, 3), np.int8)


class _Regions(NamedTuple):
    """Regions of a slice: (row, column) their numbers, 0 elsewhere; and by number whether one reaches the edge."""

    numbers: NDArray[np.int32]
    is_at_edge: NDArray[np.bool_]


def padding_voxel_counts(segmentation: Segmentation, ct: CtVolume) -> NDArray[np.int64]:
    """(segments,) voxels of each segment on padding, in the order of the segmentation.

    Padding are the pixels of a slice that are no higher than -1500 HU (only if the CT is in HU) or within
    ``ct.facts.padding_hu``, and that are connected to the edge of the matrix through such pixels (8 neighbours in the
    slice): a streak of metal inside the body is none. Zeros if the CT has no padding.
    """
    counts = np.zeros(len(segmentation.segments), np.int64)
    is_low = _padding_test(ct.facts, ct.hu.dtype)
    if is_low is None:
        return counts
    members = indices_by_layer(segmentation)
    for k in _slices_with_low_edge(ct.hu, is_low):
        low = is_low(ct.hu[k])
        regions: _Regions | None = None
        for layer, indices in zip(segmentation.layers, members, strict=True):
            on_low = low & (layer[k] != 0)
            # Labelling regions costs far more than seeing that no segment comes near.
            if not on_low.any():
                continue
            regions = _find_regions(low) if regions is None else regions
            labels = layer[k][on_low][regions.is_at_edge[regions.numbers[on_low]]]
            found = np.bincount(labels, minlength=table_size(layer, counts.size))
            counts[indices] += found[np.array(indices, np.intp) + 1]
    return counts


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


def _slices_with_low_edge(hu: NDArray[Any], is_low: Callable[[NDArray[Any]], NDArray[np.bool_]]) -> list[int]:
    """Slices with at least one such pixel at the edge of the matrix; only there a region can begin."""
    edges = (hu[:, 0, :], hu[:, -1, :], hu[:, :, 0], hu[:, :, -1])
    any_low = np.logical_or.reduce([is_low(edge).any(axis=1) for edge in edges])
    return [int(k) for k in np.flatnonzero(any_low)]


def _find_regions(low: NDArray[np.bool_]) -> _Regions:
    """Regions of a (row, column) mask, connected by 8 neighbours."""
    numbers, count = ndimage.label(low, structure=_EIGHT_NEIGHBOURS)
    is_at_edge = np.zeros(count + 1, np.bool_)
    for edge in (numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]):
        is_at_edge[edge] = True
    return _Regions(numbers, is_at_edge)
