"""Mapping of the grid of a SEG to the grid of its CT, by patient coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.model import Geometry

SAME_GRID_TOLERANCE_PX = 0.49
"""Largest in-plane shift, in pixels, at which each SEG pixel is nearest to the CT pixel of the same index."""
SAME_DIRECTION_TOLERANCE = 1e-3
"""Tolerance for direction cosines and relative pixel spacings of one grid."""
ON_SLICE_MM = 0.01
"""Tolerance for frames on a CT slice, the noise of written decimals."""
SAME_PLANE_SHARE = 0.05
"""Tolerance for frames on one plane, as a fraction of the plane spacing."""
MANY_STEPS = 3
"""Number of equal plane spacings that is not a coincidence of omitted frames."""
_TIE = 1e-6
"""Subtracted before rounding, so that a voxel midway between two always goes to the lower one."""


@dataclass(frozen=True, eq=False)
class FrameGrid:
    """Positions of the frames of a SEG, which share orientation, pixel spacing and matrix.

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
        """(3,) unit normal of the frames."""
        normal = np.cross(self.column_step_mm, self.row_step_mm)
        unit: NDArray[np.float64] = normal / np.linalg.norm(normal)
        return unit


@dataclass(frozen=True, eq=False)
class Placement:
    """Assignment of frames to slices of the CT.

    slice_index : (frames,) nearest CT slice
    distance_mm : (frames,) distance from its plane
    outside : (frames,) bool, no CT slice within half a slice spacing
    """

    slice_index: NDArray[np.intp]
    distance_mm: NDArray[np.float64]
    outside: NDArray[np.bool_]


def place(grid: FrameGrid, ct: Geometry) -> Placement:
    """The nearest CT slice of each frame, for frames parallel to the CT."""
    wanted = grid.origins_mm @ ct.normal
    index, outside = slices_at(ct, wanted)
    return Placement(index, np.abs(wanted - ct.slice_positions_mm[index]), outside)


def slices_at(ct: Geometry, along: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Nearest CT slice of positions along its normal, and whether they are outside the extent of that slice.

    A slice extends by half the nominal spacing; in uneven stacks by half the distance to each neighbour.
    """
    index = _nearest(ct.slice_positions_mm, along)
    below = above = np.full(ct.shape[0], ct.slice_spacing_mm / 2)
    if not ct.is_uniform:
        half = np.diff(ct.slice_positions_mm) / 2
        below, above = np.concatenate((half[:1], half)), np.concatenate((half, half[-1:]))
    off = along - ct.slice_positions_mm[index]
    return index, (off > above[index] + ON_SLICE_MM) | (-off > below[index] + ON_SLICE_MM)


def is_ct_grid(grid: FrameGrid, ct: Geometry, placement: Placement) -> bool:
    """Whether each frame has the pixel grid of a CT slice, with a small offset along the normal at most."""
    if grid.matrix != ct.shape[1:] or not _same_steps(grid, ct):
        return False
    if any(other(grid, ct, placement) for other in (_is_coarser, _is_finer, _drifts)):
        return False
    offset = (grid.origins_mm - ct.slice_origins_mm[placement.slice_index])[~placement.outside]
    # Frames beyond the ends of a tilted stack have no slice to be compared with.
    rows, columns = (size - 1 for size in grid.matrix)
    row_drift, column_drift = grid.row_step_mm - ct.row_step_mm, grid.column_step_mm - ct.column_step_mm
    corners = [offset + i * row_drift + j * column_drift for i in (0, rows) for j in (0, columns)]
    return all(
        bool((np.abs(corner @ step / (step @ step)) <= SAME_GRID_TOLERANCE_PX).all())
        for corner in corners
        for step in (ct.row_step_mm, ct.column_step_mm)
    )


def _same_steps(grid: FrameGrid, ct: Geometry) -> bool:
    pairs = ((grid.row_step_mm, ct.row_step_mm), (grid.column_step_mm, ct.column_step_mm))
    # Over the whole matrix the drift must stay well below half a pixel.
    extent = max(ct.shape[1:])
    return all(
        np.linalg.norm(mine - its) <= min(SAME_DIRECTION_TOLERANCE, 0.2 / extent) * np.linalg.norm(its)
        for mine, its in pairs
    )


def _planes(grid: FrameGrid, ct: Geometry) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Ascending positions of the planes along the SEG's normal, and the plane of each frame.

    Frames of one plane differ by the noise of written decimals, far below the plane spacing.
    """
    along = grid.origins_mm @ grid.normal
    order = np.argsort(along, kind="stable")
    stated = [value for value in (grid.declared_spacing_mm, grid.slice_thickness_mm) if value > 0]
    tolerance = max(ON_SLICE_MM, SAME_PLANE_SHARE * min(stated, default=ct.slice_spacing_mm))
    distinct = np.concatenate(([True], np.diff(along[order]) > tolerance))
    plane = np.empty(len(order), np.intp)
    plane[order] = np.cumsum(distinct) - 1
    return along[order][distinct], plane


def _is_finer(grid: FrameGrid, ct: Geometry, placement: Placement) -> bool:
    """Whether several planes of frames lie within one CT slice."""
    inside = ~placement.outside
    plane, nearest = _planes(grid, ct)[1][inside], placement.slice_index[inside]
    return len(np.unique(plane)) > len(np.unique(nearest))


def _drifts(grid: FrameGrid, ct: Geometry, placement: Placement) -> bool:
    """Whether the frames have another spacing than the CT, and do not lie on its slices.

    Slice Thickness alone is weak evidence of spacing; then frames must lie on both sides of the slices.
    """
    inside = ~placement.outside
    stated = grid.declared_spacing_mm or grid.slice_thickness_mm
    if abs(stated - ct.slice_spacing_mm) <= SAME_PLANE_SHARE * ct.slice_spacing_mm:
        return False
    if grid.declared_spacing_mm > 0:
        return bool((placement.distance_mm > ON_SLICE_MM).any())
    off = (grid.origins_mm @ ct.normal - ct.slice_positions_mm[placement.slice_index])[inside]
    return bool(inside.any()) and float(np.ptp(off)) > 2 * SAME_PLANE_SHARE * ct.slice_spacing_mm


def _is_coarser(grid: FrameGrid, ct: Geometry, placement: Placement) -> bool:
    """Whether the frames are thicker than the CT slices, so that each covers several of them.

    Empty frames are usually omitted, so that frame spacings alone are no evidence; stated spacings are. Without these,
    many planes at one spacing are.
    """
    if ct.shape[0] == 1 or placement.outside.all():
        return False
    steps = np.diff(_planes(grid, ct)[0])
    stated = grid.declared_spacing_mm or grid.slice_thickness_mm
    if len(steps) == 0:
        return grid.declared_spacing_mm > 1.5 * ct.slice_spacing_mm
    smallest = float(steps.min())
    if stated == 0:
        even = len(steps) >= MANY_STEPS and float(steps.max()) - smallest <= ON_SLICE_MM
        return even and smallest > 1.5 * ct.slice_spacing_mm
    return stated > 1.5 * ct.slice_spacing_mm and smallest > 1.5 * ct.slice_spacing_mm and smallest > 0.9 * stated


class Resampler:
    """Nearest-neighbour resampling of labels from SEG planes to CT slices.

    plane_of_frame : (frames,) index of the plane; several frames may share one
    matrix : (rows, columns) of a plane; larger than a frame if frames of a plane are tiles
    """

    def __init__(self, grid: FrameGrid, ct: Geometry) -> None:
        self.ct = ct
        self.grid = grid
        self.positions, self.plane_of_frame = _planes(grid, ct)
        first = np.full(len(self.positions), -1, np.intp)
        for frame in range(len(self.plane_of_frame) - 1, -1, -1):
            first[self.plane_of_frame[frame]] = frame
        origins = grid.origins_mm[first]
        steps = (grid.row_step_mm, grid.column_step_mm)
        shift = grid.origins_mm - origins[self.plane_of_frame]
        offset = np.stack([np.round(shift @ step / (step @ step)) for step in steps], axis=1).astype(np.int64)
        lowest = np.zeros((len(origins), 2), np.int64)
        np.minimum.at(lowest, self.plane_of_frame, offset)
        self.origins = origins + lowest @ np.stack(steps)
        self.offsets = offset - lowest[self.plane_of_frame]
        rows, columns = self.offsets.max(axis=0) + grid.matrix
        self.matrix = (int(rows), int(columns))
        self.spacing = self._spacing()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(planes, rows, columns) of the SEG's own volume."""
        return (len(self.positions), *self.matrix)

    def on_plane(self, frame: int, pixels: NDArray[Any]) -> NDArray[Any]:
        """The pixels (row, column) of a frame at their position on its plane."""
        if self.matrix == self.grid.matrix:
            return pixels
        whole = np.zeros(self.matrix, pixels.dtype)
        row, column = self.offsets[frame]
        whole[row : row + pixels.shape[0], column : column + pixels.shape[1]] = pixels
        return whole

    def _spacing(self) -> float:
        declared, thickness = self.grid.declared_spacing_mm, self.grid.slice_thickness_mm
        steps = np.diff(self.positions)
        if len(steps) == 0:
            return declared or thickness or self.ct.slice_spacing_mm
        smallest = float(steps.min())
        if 0 < declared <= smallest * (1 + SAME_PLANE_SHARE):  # the declared spacing cannot exceed the smallest one
            return declared
        # Planes two or more thicknesses apart: empty planes between them were omitted.
        between = thickness > 0 and smallest > 1.5 * thickness
        return thickness if between and abs(smallest / thickness - round(smallest / thickness)) < 0.01 else smallest

    def to_ct(self, layers: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Label volumes of the SEG's own grid (planes, rows, columns) on the CT grid (slice, row, column)."""
        results = [np.zeros(self.ct.shape, layer.dtype) for layer in layers]
        for index, origin in enumerate(self.ct.slice_origins_mm):
            plane, row, column, inside = self._source(origin)
            if not inside.any():
                continue
            source = plane[inside], row[inside], column[inside]
            for layer, result in zip(layers, results, strict=True):
                result[index][inside] = layer[source]
        return results

    def _source(
        self, origin: NDArray[np.float64]
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
        """SEG voxel (plane, row, column) nearest to each voxel of a CT slice, and whether there is one."""
        rows, columns = np.arange(self.ct.shape[1])[:, None], np.arange(self.ct.shape[2])[None]

        def along(direction: NDArray[np.float64]) -> NDArray[np.float64]:
            position: NDArray[np.float64] = (
                origin @ direction
                + rows * (self.ct.row_step_mm @ direction)
                + columns * (self.ct.column_step_mm @ direction)
            )
            return position

        position = along(self.grid.normal)
        plane = _nearest(self.positions, position)
        inside = np.abs(position - self.positions[plane]) <= self.spacing / 2 + _TIE
        indices = []
        for step, size in zip((self.grid.row_step_mm, self.grid.column_step_mm), self.matrix, strict=True):
            direction = step / (step @ step)
            index = _rounded(along(direction) - (self.origins @ direction)[plane])
            inside &= (index >= 0) & (index < size)
            indices.append(index)
        return plane, indices[0], indices[1], inside

    def outside_ct(self, frame: int, mask: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], bool]:
        """Which pixels of a frame's `mask` (row, column) are outside the CT, (mask.sum(),) bool.

        And whether all of them are beyond its first or last slice.
        """
        row, column = np.divmod(np.flatnonzero(mask), mask.shape[1])
        grid = self.grid
        world = grid.origins_mm[frame] + row[:, None] * grid.row_step_mm + column[:, None] * grid.column_step_mm
        index, beyond = slices_at(self.ct, world @ self.ct.normal)
        outside = beyond.copy()
        offset = world - self.ct.slice_origins_mm[index]
        for step, size in ((self.ct.row_step_mm, self.ct.shape[1]), (self.ct.column_step_mm, self.ct.shape[2])):
            position = offset @ step / (step @ step)
            outside |= (position < -0.5 - _TIE) | (position > size - 0.5 + _TIE)
        return outside, bool(beyond.all())


def _nearest(positions: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.intp]:
    """Index of the nearest of ascending `positions`, the lower one of two at the same distance."""
    if len(positions) == 1:
        return np.zeros(wanted.shape, np.intp)
    after = np.clip(np.searchsorted(positions, wanted), 1, len(positions) - 1)
    return np.where(wanted - positions[after - 1] <= positions[after] - wanted + _TIE, after - 1, after)


def _rounded(index: NDArray[np.float64]) -> NDArray[np.intp]:
    return np.floor(index + 0.5 - _TIE).astype(np.intp)
