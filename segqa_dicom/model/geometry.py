"""Where the voxels of a stack of parallel slices lie, without any pixel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

PointMm: TypeAlias = tuple[float, float, float]
"""[x, y, z] in LPS millimetres."""

UNIFORM_TOLERANCE_MM = 0.01
"""Slice distances that differ by no more than this are the same distance (written decimals have that much noise)."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """Positions of the voxel centres of `shape` = (slices, rows, columns), in LPS mm.

    Voxel (k, i, j) lies at ``slice_origins_mm[k] + i * row_step_mm + j * column_step_mm``: true for any orientation,
    for a tilted gantry (the origins then drift along the rows) and for uneven slice distances.

    slice_origins_mm : (slices, 3) float64, centre of voxel (k, 0, 0); ascending along `normal`
    row_step_mm, column_step_mm : (3,) float64, from one row (column) to the next, perpendicular to each other
    slice_spacing_mm : nominal distance between slices along the normal, > 0 (the only one, or the most frequent one;
        for a single slice its thickness)
    """

    shape: tuple[int, int, int]
    slice_origins_mm: NDArray[np.float64]
    row_step_mm: NDArray[np.float64]
    column_step_mm: NDArray[np.float64]
    slice_spacing_mm: float

    def __post_init__(self) -> None:
        slices = self.shape[0]
        if min(self.shape) < 1:
            raise ValueError(f"a volume needs at least one voxel in each direction, got {self.shape}")
        if self.slice_origins_mm.shape != (slices, 3):
            raise ValueError(f"{slices} slices need {slices} origins, got {self.slice_origins_mm.shape}")
        vectors = (self.slice_origins_mm, self.row_step_mm, self.column_step_mm)
        if not (all(np.isfinite(v).all() for v in vectors) and np.isfinite(self.slice_spacing_mm)):
            raise ValueError("geometry has values that are not finite")
        if self.slice_spacing_mm <= 0 or min(self.spacing_mm) <= 0:
            raise ValueError(f"spacing must be positive, got {self.spacing_mm}")
        for array in vectors:
            array.flags.writeable = False

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """(slice, row, column) spacing in mm."""
        return (
            float(self.slice_spacing_mm),
            float(np.linalg.norm(self.row_step_mm)),
            float(np.linalg.norm(self.column_step_mm)),
        )

    @cached_property
    def normal(self) -> NDArray[np.float64]:
        """(3,) unit vector across the slices, in the direction of ascending slice index."""
        normal = np.cross(self.column_step_mm, self.row_step_mm)
        unit: NDArray[np.float64] = normal / np.linalg.norm(normal)
        return unit

    @cached_property
    def slice_positions_mm(self) -> NDArray[np.float64]:
        """(slices,) position of each slice along `normal`, ascending."""
        positions: NDArray[np.float64] = self.slice_origins_mm @ self.normal
        return positions

    @cached_property
    def is_uniform(self) -> bool:
        """Whether all slice distances are multiples of the nominal one (a missing slice is a gap, not unevenness)."""
        steps = np.diff(self.slice_positions_mm) / self.slice_spacing_mm
        off = np.abs(steps - np.round(steps)) * self.slice_spacing_mm
        return bool((off <= max(UNIFORM_TOLERANCE_MM, 0.01 * self.slice_spacing_mm)).all())

    @cached_property
    def slice_extent_mm(self) -> NDArray[np.float64]:
        """(slices,) how much of the normal each slice stands for.

        The nominal spacing where distances are even (a gap is not filled); else half the way to each neighbour.
        """
        slices = self.shape[0]
        if self.is_uniform or slices < 2:
            return np.full(slices, self.slice_spacing_mm)
        steps = np.diff(self.slice_positions_mm)
        return np.concatenate(([steps[0]], (steps[:-1] + steps[1:]) / 2, [steps[-1]]))

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in mL at the nominal slice spacing."""
        slice_mm, row_mm, column_mm = self.spacing_mm
        return slice_mm * row_mm * column_mm / 1000.0

    def to_world(self, index: NDArray[np.float64]) -> NDArray[np.float64]:
        """LPS mm (n, 3) of the (slice, row, column) indices (n, 3), which may be fractional.

        Between two slices the position is interpolated; outside the stack the end positions hold.
        """
        slices = np.arange(self.shape[0])
        origin = np.stack([np.interp(index[:, 0], slices, self.slice_origins_mm[:, axis]) for axis in range(3)], axis=1)
        world: NDArray[np.float64] = (
            origin + index[:, 1:2] * self.row_step_mm[None] + index[:, 2:3] * self.column_step_mm[None]
        )
        return world

    def point_at(self, slice_index: float, row: float, column: float) -> PointMm:
        """LPS mm of one (slice, row, column) index."""
        x, y, z = self.to_world(np.array([[slice_index, row, column]], dtype=np.float64))[0]
        return float(x), float(y), float(z)

    def nearest_slice(self, point: PointMm) -> int:
        """Index of the slice whose plane is nearest to `point`."""
        return int(np.argmin(np.abs(self.slice_positions_mm - np.asarray(point) @ self.normal)))

    def in_slice(self, slice_index: int, point: PointMm) -> tuple[float, float]:
        """(row, column), fractional, of `point` projected onto a slice; voxel centres have whole numbers."""
        offset = np.asarray(point) - self.slice_origins_mm[slice_index]
        row = offset @ self.row_step_mm / (self.row_step_mm @ self.row_step_mm)
        column = offset @ self.column_step_mm / (self.column_step_mm @ self.column_step_mm)
        return float(row), float(column)
