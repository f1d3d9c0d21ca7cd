"""Distances between two surfaces, and the measures that follow from them.

google-deepmind/surface-distance (Nikolov et al. 2021): every element counts by its area, the 95 % Hausdorff distance
is the larger of the two directed percentiles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.measures.surface import Surface


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distance of each surface element to the nearest one of the other surface, and its area.

    reference_mm, evaluated_mm : (n,), (m,) float64, from the elements of one to the other; infinite if that is empty
    reference_mm2, evaluated_mm2 : (n,), (m,) float64, areas of these elements
    """

    reference_mm: NDArray[np.float64]
    reference_mm2: NDArray[np.float64]
    evaluated_mm: NDArray[np.float64]
    evaluated_mm2: NDArray[np.float64]

    def nsd(self, tolerance_mm: float) -> float | None:
        """Normalised surface Dice, 0-1: share of both areas no further than the tolerance from the other surface.

        None if both surfaces are empty, 0 if one is.
        """
        if not self._has_any:
            return None
        within = (
            self.reference_mm2[self.reference_mm <= tolerance_mm].sum()
            + self.evaluated_mm2[self.evaluated_mm <= tolerance_mm].sum()
        )
        return float(within / (self.reference_mm2.sum() + self.evaluated_mm2.sum()))

    def hausdorff_mm(self, percentile: float) -> float | None:
        """Larger of the two directed distances within which `percentile` % of the area lies; 100 = maximum.

        None if a surface is empty.
        """
        if not self._has_both:
            return None
        return max(
            _area_percentile(self.reference_mm, self.reference_mm2, percentile),
            _area_percentile(self.evaluated_mm, self.evaluated_mm2, percentile),
        )

    def assd_mm(self) -> float | None:
        """Average symmetric surface distance: mean distance over the area of both; None if a surface is empty."""
        if not self._has_both:
            return None
        weighted = (self.reference_mm * self.reference_mm2).sum() + (self.evaluated_mm * self.evaluated_mm2).sum()
        return float(weighted / (self.reference_mm2.sum() + self.evaluated_mm2.sum()))

    @property
    def _has_any(self) -> bool:
        return bool(self.reference_mm.size or self.evaluated_mm.size)

    @property
    def _has_both(self) -> bool:
        return bool(self.reference_mm.size and self.evaluated_mm.size)


def surface_distances(
    reference: Surface, evaluated: Surface, spacing_mm: tuple[float, float, float]
) -> SurfaceDistances:
    """Exact Euclidean distances between the surface elements of two segments on the same grid.

    spacing_mm : (slice, row, column) distance of voxel centres
    """
    if reference.grid != evaluated.grid:
        raise ValueError(f"surfaces on grids {reference.grid} and {evaluated.grid} cannot be compared")
    return SurfaceDistances(
        nearest_distances_mm(reference, evaluated, spacing_mm),
        reference.areas_mm2(spacing_mm),
        nearest_distances_mm(evaluated, reference, spacing_mm),
        evaluated.areas_mm2(spacing_mm),
    )


def nearest_distances_mm(
    queries: Surface, targets: Surface, spacing_mm: tuple[float, float, float]
) -> NDArray[np.float64]:
    """(n,) distance of each element of `queries` to the nearest one of `targets`; infinite if there is none.

    Distances come from whole-number offsets between cells, so that equal offsets give equal distances to the last bit.
    """
    distances = np.zeros(queries.count, np.float64)
    if not targets.count:
        distances[:] = np.inf
        return distances
    apart = np.flatnonzero(~_shared_cells(queries, targets))
    if not apart.size:
        return distances
    indices = queries.indices[apart]
    _, nearest = targets.tree(spacing_mm).query(indices * np.array(spacing_mm), workers=1)
    offsets_mm = (indices - targets.indices[nearest]) * np.array(spacing_mm)
    distances[apart] = np.sqrt(np.square(offsets_mm).sum(axis=1))
    return distances


def _shared_cells(queries: Surface, targets: Surface) -> NDArray[np.bool_]:
    """Which elements of `queries` lie in a cell where `targets` has one too, both ascending."""
    places = np.searchsorted(targets.cells, queries.cells)
    shared: NDArray[np.bool_] = targets.cells[np.minimum(places, targets.count - 1)] == queries.cells
    return shared


def _area_percentile(distances_mm: NDArray[np.float64], areas_mm2: NDArray[np.float64], percentile: float) -> float:
    """The distance at which the area, summed from the nearest element on, reaches a percentage of the whole."""
    if percentile >= 100:
        return float(distances_mm.max())
    order = np.argsort(distances_mm, kind="stable")
    reached = np.cumsum(areas_mm2[order]) / areas_mm2.sum()
    place = min(int(np.searchsorted(reached, percentile / 100.0)), len(order) - 1)
    return float(distances_mm[order[place]])
