"""A label volume with boundaries that wander, within seconds whatever its size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.jit import kernel

SMOOTHNESS = 24
"""Voxels between independent displacements."""


def warped(labels: NDArray[Any], *, seed: int, voxels: tuple[float, float, float]) -> NDArray[Any]:
    """The volume with every voxel taken from a place nearby: displaced by a smooth random field.

    voxels : standard deviation of the displacement along slices, rows and columns
    """
    coarse = tuple(max(size // SMOOTHNESS, 2) + 1 for size in labels.shape)
    # Interpolation between independent values takes away about a third of their spread.
    scale = 1.4 * np.array(voxels, np.float32)[:, None, None, None]
    field = np.random.default_rng(seed).standard_normal((3, *coarse)).astype(np.float32) * scale
    result = np.empty_like(labels)
    for k in range(labels.shape[0]):
        at = k / max(labels.shape[0] - 1, 1) * (coarse[0] - 1)
        low = min(int(at), coarse[0] - 2)
        slab = field[:, low] * np.float32(1 - (at - low)) + field[:, low + 1] * np.float32(at - low)
        _take(labels, k, slab.astype(np.float32), result[k])
    return result


@kernel
def _take(labels: Any, k: int, slab: NDArray[np.float32], result: Any) -> None:
    """Fill one slice; `slab` has the displacements along slices, rows and columns on a coarse grid."""
    slices, rows, columns = labels.shape
    for i in range(rows):
        y = np.float32(i) / max(rows - 1, 1) * (slab.shape[1] - 1)
        row = min(int(y), slab.shape[1] - 2)
        down = np.float32(y - row)
        for j in range(columns):
            x = np.float32(j) / max(columns - 1, 1) * (slab.shape[2] - 1)
            column = min(int(x), slab.shape[2] - 2)
            right = np.float32(x - column)
            near, below = (1 - down) * (1 - right), down * (1 - right)
            beside, across = (1 - down) * right, down * right
            z, y_there, x_there = k, i, j
            for axis in range(3):
                by = (
                    slab[axis, row, column] * near
                    + slab[axis, row + 1, column] * below
                    + slab[axis, row, column + 1] * beside
                    + slab[axis, row + 1, column + 1] * across
                )
                step = int(np.rint(by))
                if axis == 0:
                    z = min(max(k + step, 0), slices - 1)
                elif axis == 1:
                    y_there = min(max(i + step, 0), rows - 1)
                else:
                    x_there = min(max(j + step, 0), columns - 1)
            result[i, j] = labels[z, y_there, x_there]
