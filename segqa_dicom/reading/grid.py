"""From the grid of a SEG to the grid of its CT; world coordinates decide, never the order of frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.model import Geometry

SAME_GRID_TOLERANCE_PX = 0.49
"""In-plane shift, in pixels, up to which the nearest CT pixel of every SEG pixel is the one with the same index."""
SAME_DIRECTION_TOLERANCE = 1e-3
"""Direction cosines and relative pixel spacings of one grid differ by no more than this."""
ON_SLICE_MM = 0.01
"""Frames nearer to a CT slice than this lie on it (written decimals have that much noise)."""
_TIE = 1e-6
"""Taken off before rounding, so that a voxel midway between two goes to the lower one, whatever the last bit says."""


@dataclass(frozen=True, eq=False)
class FrameGrid:
    """Where the frames of a SEG lie: they share orientation, pixel spacing and matrix.

    origins_mm : (frames, 3) LPS mm of the centre of the first pixel
    row_step_mm, column_step_mm : (3,) from one row (column) to the next
    matrix : (rows, columns)
    declared_spacing_mm : Spacing Between Slices if stated, else 0
    slice_thickness_mm : Slice Thickness if stated, else 0
    """

    origins_mm: NDArray[np.float64]
    row_step_mm: NDArray[np.float64]
    column_step_mm: NDArray[np.float64]
    matrix: tuple[int, int]
    declared_spacing_mm: float
    slice_thickness_mm: float

    @property
    def normal(self) -> NDArray[np.float64]:
        """(3,) unit vector across the frames."""
        normal = np.cross(self.column_step_mm, self.row_step_mm)
        unit: NDArray[np.float64] = normal / np.linalg.norm(normal)
        return unit


@dataclass(frozen=True, eq=False)
class Placement:
    """Frames put on slices of the CT.

    slice_index : (frames,) nearest CT slice
    distance_mm : (frames,) distance from its plane
    outside : (frames,) bool, no CT slice within half a slice distance
    """

    slice_index: NDArray[np.intp]
    distance_mm: NDArray[np.float64]
    outside: NDArray[np.bool_]


def place(grid: FrameGrid, ct: Geometry) -> Placement:
    """The CT slice of each frame, for grids that are parallel to the CT."""
    positions = ct.slice_positions_mm
    wanted = grid.origins_mm @ ct.normal
    after = np.clip(np.searchsorted(positions, wanted), 1, max(len(positions) - 1, 1))
    if len(positions) == 1:
        index = np.zeros(len(wanted), np.intp)
    else:
        index = np.where(wanted - positions[after - 1] <= positions[after] - wanted, after - 1, after)
    distance = np.abs(wanted - positions[index])
    half = ct.slice_extent_mm[index] / 2
    return Placement(index, distance, distance > half + ON_SLICE_MM)


def is_ct_grid(grid: FrameGrid, ct: Geometry, placement: Placement) -> bool:
    """Whether each frame is a slice of the CT, pixel by pixel (and perhaps a little off along the normal)."""
    if grid.matrix != ct.shape[1:] or not _same_steps(grid, ct) or _is_coarser(grid, ct, placement):
        return False
    offset = grid.origins_mm - ct.slice_origins_mm[placement.slice_index]
    row = offset @ ct.row_step_mm / (ct.row_step_mm @ ct.row_step_mm)
    column = offset @ ct.column_step_mm / (ct.column_step_mm @ ct.column_step_mm)
    inside = ~placement.outside
    # Frames beyond the ends of a tilted stack have no slice of their own to be compared with.
    return bool((np.abs(np.stack([row, column]))[:, inside] <= SAME_GRID_TOLERANCE_PX).all())


def _same_steps(grid: FrameGrid, ct: Geometry) -> bool:
    pairs = ((grid.row_step_mm, ct.row_step_mm), (grid.column_step_mm, ct.column_step_mm))
    # Over the whole matrix the drift must stay well below half a pixel.
    extent = max(ct.shape[1:])
    return all(
        np.linalg.norm(mine - its) <= min(SAME_DIRECTION_TOLERANCE, 0.2 / extent) * np.linalg.norm(its)
        for mine, its in pairs
    )


def _is_coarser(grid: FrameGrid, ct: Geometry, placement: Placement) -> bool:
    """Whether the frames are thicker than the CT slices: then each stands for several of them.

    A SEG usually leaves empty frames out, so distances of frames alone do not tell; what it states about itself does.
    """
    if ct.shape[0] == 1:
        return False
    positions = np.unique(np.round(grid.origins_mm @ grid.normal, 3))
    steps = np.diff(positions)
    stated = grid.declared_spacing_mm or grid.slice_thickness_mm
    if stated < 1.5 * ct.slice_spacing_mm:
        return False
    if len(steps) == 0:
        return grid.declared_spacing_mm > 0
    smallest = float(steps.min())
    return smallest > 1.5 * ct.slice_spacing_mm and smallest > 0.9 * stated and not placement.outside.all()


class Resampler:
    """Takes labels over from SEG planes to CT slices by nearest neighbour.

    planes : SEG frame positions as a stack; several frames may share one
    """

    def __init__(self, grid: FrameGrid, ct: Geometry) -> None:
        self.ct = ct
        self.grid = grid
        along = grid.origins_mm @ grid.normal
        order = np.argsort(along, kind="stable")
        distinct = np.concatenate(([True], np.diff(along[order]) > ON_SLICE_MM))
        self.plane_of_frame = np.empty(len(order), np.intp)
        self.plane_of_frame[order] = np.cumsum(distinct) - 1
        self.origins = grid.origins_mm[order][distinct]
        self.positions = self.origins @ grid.normal
        self.spacing = self._spacing()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(planes, rows, columns) of the SEG's own volume."""
        return (len(self.positions), *self.grid.matrix)

    def _spacing(self) -> float:
        if self.grid.declared_spacing_mm > 0:
            return self.grid.declared_spacing_mm
        steps = np.diff(self.positions)
        return float(steps.min()) if len(steps) else self.grid.slice_thickness_mm or self.ct.slice_spacing_mm

    def to_ct(self, layer: NDArray[Any]) -> NDArray[Any]:
        """A label volume of the SEG's own grid (planes, rows, columns) on the CT grid (slice, row, column)."""
        result = np.zeros(self.ct.shape, layer.dtype)
        rows, columns = np.mgrid[0 : self.ct.shape[1], 0 : self.ct.shape[2]]
        in_slice = rows[..., None] * self.ct.row_step_mm + columns[..., None] * self.ct.column_step_mm
        for index, origin in enumerate(self.ct.slice_origins_mm):
            plane, row, column, inside = self._source(in_slice + origin)
            if inside.any():
                result[index][inside] = layer[plane[inside], row[inside], column[inside]]
        return result

    def _source(self, world: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
        """SEG voxel (plane, row, column) nearest to points (rows, columns, 3), and whether there is one."""
        along = world @ self.grid.normal
        plane = _nearest(self.positions, along)
        inside = np.abs(along - self.positions[plane]) <= self.spacing / 2 + _TIE
        offset = world - self.origins[plane]
        row = _rounded(offset @ self.grid.row_step_mm / (self.grid.row_step_mm @ self.grid.row_step_mm))
        column = _rounded(offset @ self.grid.column_step_mm / (self.grid.column_step_mm @ self.grid.column_step_mm))
        inside &= (row >= 0) & (row < self.grid.matrix[0]) & (column >= 0) & (column < self.grid.matrix[1])
        return plane, row, column, inside

    def outside_ct(self, plane: int, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which pixels of a SEG frame's `mask` (row, column) lie outside every voxel of the CT; shape (mask.sum(),)."""
        row, column = np.nonzero(mask)
        world = self.origins[plane] + row[:, None] * self.grid.row_step_mm + column[:, None] * self.grid.column_step_mm
        along = world @ self.ct.normal
        index = _nearest(self.ct.slice_positions_mm, along)
        half = self.ct.slice_extent_mm[index] / 2 + ON_SLICE_MM
        outside: NDArray[np.bool_] = np.abs(along - self.ct.slice_positions_mm[index]) > half
        offset = world - self.ct.slice_origins_mm[index]
        for step, size in ((self.ct.row_step_mm, self.ct.shape[1]), (self.ct.column_step_mm, self.ct.shape[2])):
            position = offset @ step / (step @ step)
            outside |= (position < -0.5 - _TIE) | (position > size - 0.5 + _TIE)
        return outside


def _nearest(positions: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.intp]:
    """Index of the nearest of ascending `positions`; midway the lower one."""
    if len(positions) == 1:
        return np.zeros(wanted.shape, np.intp)
    after = np.clip(np.searchsorted(positions, wanted), 1, len(positions) - 1)
    return np.where(wanted - positions[after - 1] <= positions[after] - wanted + _TIE, after - 1, after)


def _rounded(index: NDArray[np.float64]) -> NDArray[np.intp]:
    return np.floor(index + 0.5 - _TIE).astype(np.intp)
