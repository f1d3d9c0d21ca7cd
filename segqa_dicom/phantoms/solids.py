"""Analytic solids in LPS millimetres, sampled at voxel centres."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.model import Geometry

Vector: TypeAlias = tuple[float, float, float]
Inside: TypeAlias = Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]], NDArray[np.bool_]]
"""Whether points are inside, from their x, y and z in mm (arrays that broadcast)."""


@dataclass(frozen=True)
class Solid:
    """A body that lies within the box from `low` to `high` (LPS mm)."""

    low: Vector
    high: Vector
    inside: Inside

    def __and__(self, other: Solid) -> Solid:
        """What both have in common."""
        low = tuple(max(pair) for pair in zip(self.low, other.low, strict=True))
        high = tuple(min(pair) for pair in zip(self.high, other.high, strict=True))
        return Solid(
            (low[0], low[1], low[2]),
            (high[0], high[1], high[2]),
            lambda x, y, z: self.inside(x, y, z) & other.inside(x, y, z),
        )

    def where(self, condition: Inside) -> Solid:
        """The part of it for which a condition holds."""
        return Solid(self.low, self.high, lambda x, y, z: self.inside(x, y, z) & condition(x, y, z))


def ellipsoid(centre: Vector, radii: Vector) -> Solid:
    """An ellipsoid with its axes along x, y and z; its volume is 4/3 pi abc."""

    def inside(x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.bool_]:
        a, b, c = radii
        result: NDArray[np.bool_] = ((x - centre[0]) / a) ** 2 + ((y - centre[1]) / b) ** 2 + (
            (z - centre[2]) / c
        ) ** 2 <= 1
        return result

    low, high = _around(centre, radii)
    return Solid(low, high, inside)


def sphere(centre: Vector, radius: float) -> Solid:
    """A sphere; its volume is 4/3 pi r^3."""
    return ellipsoid(centre, (radius, radius, radius))


def box(centre: Vector, half: Vector) -> Solid:
    """A box with its edges along x, y and z."""
    low, high = _around(centre, half)
    return Solid(
        low,
        high,
        lambda x, y, z: _between(x, low[0], high[0]) & _between(y, low[1], high[1]) & _between(z, low[2], high[2]),
    )


def cylinder(centre: Vector, radii: tuple[float, float], half_height: float) -> Solid:
    """An elliptic cylinder that stands along z."""
    low, high = _around(centre, (*radii, half_height))
    return Solid(
        low,
        high,
        lambda x, y, z: (
            (((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 <= 1) & _between(z, low[2], high[2])
        ),
    )


def tube(points: Sequence[Vector], radius: float) -> list[Solid]:
    """A round tube along a polyline, as one capsule per section: what lies within `radius` of the line."""
    return [_capsule(np.array(start), np.array(end), radius) for start, end in pairwise(points)]


def _capsule(start: NDArray[np.float64], end: NDArray[np.float64], radius: float) -> Solid:
    along = end - start
    length = float(along @ along)

    def inside(x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.bool_]:
        offset = (x - start[0], y - start[1], z - start[2])
        share = np.clip(sum(part * step for part, step in zip(offset, along, strict=True)) / length, 0, 1)
        squared = sum((part - share * step) ** 2 for part, step in zip(offset, along, strict=True))
        result: NDArray[np.bool_] = squared <= radius**2
        return result

    low, high = np.minimum(start, end) - radius, np.maximum(start, end) + radius
    return Solid((low[0], low[1], low[2]), (high[0], high[1], high[2]), inside)


def _around(centre: Vector, half: Vector) -> tuple[Vector, Vector]:
    low = tuple(middle - size for middle, size in zip(centre, half, strict=True))
    high = tuple(middle + size for middle, size in zip(centre, half, strict=True))
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])


def _between(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.bool_]:
    return (values >= low) & (values <= high)


def paint(
    labels: NDArray[np.uint16] | NDArray[np.uint8], value: int, solid: Solid, geometry: Geometry, *, over: bool = False
) -> None:
    """Set `value` where a solid lies in an axial volume (slice, row, column); only on background unless `over`.

    Only the solid's box is sampled.
    """
    x = geometry.slice_origins_mm[0, 0] + np.arange(geometry.shape[2]) * geometry.column_step_mm[0]
    y = geometry.slice_origins_mm[0, 1] + np.arange(geometry.shape[1]) * geometry.row_step_mm[1]
    z = geometry.slice_origins_mm[:, 2]
    parts = [
        slice(int(np.searchsorted(axis, low)), int(np.searchsorted(axis, high, side="right")))
        for axis, low, high in zip((z, y, x), reversed(solid.low), reversed(solid.high), strict=True)
    ]
    if any(part.start >= part.stop for part in parts):
        return
    crop = labels[parts[0], parts[1], parts[2]]
    mask = solid.inside(x[None, None, parts[2]], y[None, parts[1], None], z[parts[0], None, None])
    crop[mask if over else mask & (crop == 0)] = value


def axial_geometry(shape: tuple[int, int, int], spacing_mm: Vector, *, lowest_z_mm: float = 0.0) -> Geometry:
    """Head first, supine: rows run from front to back, columns to the patient's left, x = y = 0 in the middle."""
    slice_mm, row_mm, column_mm = spacing_mm
    origins = np.empty((shape[0], 3))
    origins[:, 0] = -(shape[2] - 1) / 2 * column_mm
    origins[:, 1] = -(shape[1] - 1) / 2 * row_mm
    origins[:, 2] = lowest_z_mm + np.arange(shape[0]) * slice_mm
    return Geometry(shape, origins, np.array([0.0, row_mm, 0.0]), np.array([column_mm, 0.0, 0.0]), slice_mm)
