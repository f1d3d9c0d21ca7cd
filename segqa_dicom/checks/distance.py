"""How far two segments lie apart, without surfaces: from the voxels of both, and mostly from few of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.checks.subject import MeasuredSegment, MeasuredSegmentation
from segqa_dicom.jit import kernel
from segqa_dicom.measures.crops import border, point_distances
from segqa_dicom.measures.results import Box

_FEW_VOXELS = 2_000
"""Voxels of a box that are looked at first: they settle nearly every case."""
_ALL = (1, 1, 1)
"""Steps from voxel to voxel along each axis when all are looked at."""


def is_within(part: MeasuredSegment, other: MeasuredSegment, context: MeasuredSegmentation, limit_mm: float) -> bool:
    """Whether a voxel of one segment lies at most so far from one of the other, centre to centre."""
    one, two = _part_near(part, other, limit_mm), _part_near(other, part, limit_mm)
    if one is None or two is None:
        return False
    # A few voxels of each are farther apart than all of them: if they are near enough, all are.
    return any(
        any_within(_points_mm(part, context, one, steps[0]), _points_mm(other, context, two, steps[1]), limit_mm)
        for steps in ((_steps(one), _steps(two)), (_ALL, _ALL))
    )


def distance_mm(part: MeasuredSegment, other: MeasuredSegment, context: MeasuredSegmentation) -> float:
    """About how far two segments that have voxels lie apart; never less than the smallest distance of their voxels."""
    points = [_points_mm(one, context, _box(one), _steps(_box(one))) for one in (part, other)]
    if not all(map(len, points)):
        points = [_points_mm(one, context, _box(one), _ALL) for one in (part, other)]
    return float(point_distances(points[0], points[1]).min())


@kernel
def any_within(one: NDArray[np.float64], other: NDArray[np.float64], limit: float) -> bool:
    """Whether any of (n, 3) points lies at most so far from any of (m, 3) others."""
    for n in range(one.shape[0]):
        for m in range(other.shape[0]):
            x, y, z = one[n, 0] - other[m, 0], one[n, 1] - other[m, 1], one[n, 2] - other[m, 2]
            if x * x + y * y + z * z <= limit * limit:
                return True
    return False


def _box(part: MeasuredSegment) -> Box:
    box = part.measures.shape.bounding_box
    assert box is not None  # noqa: S101 - callers skip empty segments
    return box


def _part_near(part: MeasuredSegment, other: MeasuredSegment, limit_mm: float) -> Box | None:
    """The part of the first one's box that lies so near to the box of the other; None if nothing of it does."""
    mine, its = _box(part), _box(other)
    by = [int(limit_mm / step) + 1 for step in part.ct.geometry.spacing_mm]
    start = tuple(max(a, b - n) for a, b, n in zip(mine.start, its.start, by, strict=True))
    stop = tuple(min(a, b + n) for a, b, n in zip(mine.stop, its.stop, by, strict=True))
    if any(a >= b for a, b in zip(start, stop, strict=True)):
        return None
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def _steps(box: Box) -> tuple[int, int, int]:
    """Every how manieth voxel to look at, along each axis, so that few remain."""
    size = [b - a for a, b in zip(box.start, box.stop, strict=True)]
    step = max(int((size[0] * size[1] * size[2] / _FEW_VOXELS) ** (1 / 3)), 1)
    return min(step, max(size[0] // 8, 1)), min(step, max(size[1] // 8, 1)), min(step, max(size[2] // 8, 1))


def _points_mm(
    part: MeasuredSegment, context: MeasuredSegmentation, box: Box, steps: tuple[int, int, int]
) -> NDArray[np.float64]:
    """Voxel centres of a segment in a box; of all of them only those at its border."""
    k, i, j = (slice(a.start, a.stop, step) for a, step in zip(box.slices, steps, strict=True))
    mask = context.mask(part, (k, i, j))
    if steps == _ALL:
        mask = border(mask)
    index = np.argwhere(mask) * np.array(steps) + np.array(box.start)
    return part.ct.geometry.to_world(index.astype(np.float64))
