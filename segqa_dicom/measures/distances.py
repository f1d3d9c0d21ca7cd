"""Distances between two surfaces, and the measures that follow from them.

google-deepmind/surface-distance (Nikolov et al. 2021): every element counts by its area, the 95 % Hausdorff distance
is the larger of the two directed percentiles.

What is kept of two surfaces is how much area lies at which distance: a few thousand numbers, from which any tolerance
and percentile follows without another look at the elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.jit import kernel
from segqa_dicom.measures.nearest_local import near_rows, nearest_bins
from segqa_dicom.measures.nearest_tree import far_distances_mm
from segqa_dicom.measures.surface import Surface
from segqa_dicom.measures.surface_area import surface_area_table

_SUM_TOLERANCE = 1e-12
"""Share of the area that sums in another order may differ by: it must not move a percentile that is reached exactly."""


@dataclass(frozen=True, eq=False)
class DistanceSpectrum:
    """Area of a surface at each distance from another one.

    distances_mm : (k,) float64, ascending, all different; infinite if the other surface is empty
    areas_mm2 : (k,) float64, greater than 0, of all elements at that distance; k is 0 if there are no elements
    """

    distances_mm: NDArray[np.float64]
    areas_mm2: NDArray[np.float64]

    @property
    def total_mm2(self) -> float:
        """Area of the whole surface."""
        return float(self.areas_mm2.sum())

    def within_mm2(self, tolerance_mm: float) -> float:
        """Area no further than the tolerance from the other surface."""
        return float(self.areas_mm2[: np.searchsorted(self.distances_mm, tolerance_mm, side="right")].sum())

    def percentile_mm(self, percentile: float) -> float:
        """The distance at which the area, summed from the smallest on, reaches a percentage of the whole; k > 0."""
        if percentile >= 100:
            return float(self.distances_mm[-1])
        reached = np.cumsum(self.areas_mm2)
        wanted = percentile / 100.0 * reached[-1]
        return float(self.distances_mm[np.searchsorted(reached, wanted * (1.0 - _SUM_TOLERANCE))])

    @property
    def moment_mm3(self) -> float:
        """Sum of distance times area, from which means follow."""
        return float((self.distances_mm * self.areas_mm2).sum())


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """How far two surfaces are from each other.

    reference : spectrum of the distances from the elements of the reference to the evaluated surface
    evaluated : the other way round
    """

    reference: DistanceSpectrum
    evaluated: DistanceSpectrum

    def nsd(self, tolerance_mm: float) -> float | None:
        """Normalised surface Dice, 0-1: share of both areas no further than the tolerance from the other surface.

        None if both surfaces are empty, 0 if one is.
        """
        if not self._has_any:
            return None
        within = self.reference.within_mm2(tolerance_mm) + self.evaluated.within_mm2(tolerance_mm)
        return within / (self.reference.total_mm2 + self.evaluated.total_mm2)

    def hausdorff_mm(self, percentile: float) -> float | None:
        """Larger of the two directed distances within which `percentile` % of the area lies; 100 = maximum.

        None if a surface is empty.
        """
        if not self._has_both:
            return None
        return max(self.reference.percentile_mm(percentile), self.evaluated.percentile_mm(percentile))

    def assd_mm(self) -> float | None:
        """Average symmetric surface distance: mean distance over the area of both; None if a surface is empty."""
        if not self._has_both:
            return None
        moment_mm3 = self.reference.moment_mm3 + self.evaluated.moment_mm3
        return moment_mm3 / (self.reference.total_mm2 + self.evaluated.total_mm2)

    @property
    def _has_any(self) -> bool:
        return bool(self.reference.areas_mm2.size or self.evaluated.areas_mm2.size)

    @property
    def _has_both(self) -> bool:
        return bool(self.reference.areas_mm2.size and self.evaluated.areas_mm2.size)


def surface_distances(
    reference: Surface, evaluated: Surface, spacing_mm: tuple[float, float, float]
) -> SurfaceDistances:
    """Exact Euclidean distances between the surface elements of two segments on the same grid.

    spacing_mm : (slice, row, column) distance of voxel centres
    """
    if reference.grid != evaluated.grid:
        raise ValueError(f"surfaces on grids {reference.grid} and {evaluated.grid} cannot be compared")
    return SurfaceDistances(_spectrum(reference, evaluated, spacing_mm), _spectrum(evaluated, reference, spacing_mm))


def nearest_distances_mm(
    queries: Surface, targets: Surface, spacing_mm: tuple[float, float, float]
) -> NDArray[np.float64]:
    """(n,) distance of each element of `queries` to the nearest one of `targets`; infinite if there is none.

    Distances come from whole-number offsets between cells, so that equal offsets give equal distances to the last bit.
    """
    if not (queries.count and targets.count):
        return np.full(queries.count, np.inf)
    bins, far, far_mm = _search(queries, targets, spacing_mm)
    distances_mm: NDArray[np.float64] = near_rows(spacing_mm).distances_mm[bins]
    distances_mm[far] = far_mm
    return distances_mm


def _spectrum(queries: Surface, targets: Surface, spacing_mm: tuple[float, float, float]) -> DistanceSpectrum:
    """Area of `queries` at each distance from `targets`."""
    areas = surface_area_table(spacing_mm)
    if not (queries.count and targets.count):
        total = areas[queries.codes].sum(keepdims=True)[: queries.count]
        return DistanceSpectrum(np.full(total.size, np.inf), total)
    bins, far, far_mm = _search(queries, targets, spacing_mm)
    near_mm = near_rows(spacing_mm).distances_mm
    near_mm2 = np.zeros(near_mm.size, np.float64)
    _add_areas(bins, queries.codes, areas, near_mm2)
    occupied = np.flatnonzero(near_mm2)
    near = near_mm[occupied], near_mm2[occupied]
    if not far.size:
        return DistanceSpectrum(*near)
    # Nothing is both: far is what is beyond the reach of near.
    rest = _summed_by_distance(far_mm, areas[queries.codes[far]])
    distances_mm, areas_mm2 = (np.concatenate(parts) for parts in zip(near, rest, strict=True))
    return DistanceSpectrum(distances_mm, areas_mm2)


def _search(
    queries: Surface, targets: Surface, spacing_mm: tuple[float, float, float]
) -> tuple[NDArray[np.int32], NDArray[np.intp], NDArray[np.float64]]:
    """Place of the distance of each query in those of `near_rows`, -1 if far; which ones are far, and how far."""
    bins = nearest_bins(queries, targets, near_rows(spacing_mm))
    far = np.flatnonzero(bins < 0)
    if not far.size:
        return bins, far, np.empty(0, np.float64)
    return bins, far, far_distances_mm(queries.cells[far], targets, spacing_mm)


def _summed_by_distance(
    distances_mm: NDArray[np.float64], areas_mm2: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The different distances, ascending, and the area at each; at least one element."""
    order = np.argsort(distances_mm, kind="stable")
    ascending = distances_mm[order]
    starts = np.flatnonzero(np.diff(ascending, prepend=-1.0))
    return ascending[starts], np.add.reduceat(areas_mm2[order], starts)


@kernel
def _add_areas(
    bins: NDArray[Any], codes: NDArray[np.uint8], areas: NDArray[np.float64], sums: NDArray[np.float64]
) -> None:
    """Add the area of each element to that of its bin; those without bin are passed over."""
    for element in range(bins.size):
        if bins[element] >= 0:
            sums[bins[element]] += areas[codes[element]]
