"""Small questions about small parts of a volume, for rules that look at single segments.

SciPy answers them too, but importing what it needs for that takes as long as reviewing a case.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.jit import kernel


def component_with(mask: NDArray[np.bool_], seed: tuple[int, int, int]) -> NDArray[np.bool_]:
    """The 26-connected component of a (slice, row, column) mask that holds `seed`; empty if that voxel is not set."""
    found = np.zeros(mask.shape, np.bool_)
    if mask[seed]:
        k, i, j = (int(place) for place in seed)
        _flood(np.ascontiguousarray(mask), k, i, j, found)
    return found


def border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The voxels of a (slice, row, column) mask with a face neighbour that is not in it, or not in the array."""
    padded = np.pad(mask, 1)
    inner = padded[1:-1, 1:-1, 1:-1].copy()
    for axis in range(3):
        for step in (-1, 1):
            inner &= np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1]
    return mask & ~inner


def point_distances(queries: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) Euclidean distance of each of (n, 3) points to the nearest of (m, 3) others; infinite if there are none."""
    distances = np.full(len(queries), np.inf)
    if len(targets):
        axis = int(np.argmax(np.ptp(targets, axis=0)))
        # Along the axis in which targets spread most, few of them are nearer than the best one so far.
        order = np.argsort(targets[:, axis], kind="stable")
        columns = np.roll(np.arange(3), -axis)
        _search(
            np.ascontiguousarray(queries[:, columns], np.float64),
            np.ascontiguousarray(targets[order][:, columns], np.float64),
            distances,
        )
    return distances


@kernel
def _flood(mask: NDArray[np.bool_], k: int, i: int, j: int, found: NDArray[np.bool_]) -> None:
    """Set `found` for all voxels that a path of neighbours within `mask` leads to."""
    slices, rows, columns = mask.shape
    waiting = [(k, i, j)]
    found[k, i, j] = True
    while len(waiting) > 0:
        k, i, j = waiting.pop()
        for c in range(max(k - 1, 0), min(k + 2, slices)):
            for b in range(max(i - 1, 0), min(i + 2, rows)):
                for a in range(max(j - 1, 0), min(j + 2, columns)):
                    if mask[c, b, a] and not found[c, b, a]:
                        found[c, b, a] = True
                        waiting.append((c, b, a))


@kernel
def _search(queries: NDArray[np.float64], targets: NDArray[np.float64], distances: NDArray[np.float64]) -> None:
    """Distances to the nearest of `targets`, which ascend along their first coordinate."""
    for n in range(queries.shape[0]):
        x, y, z = queries[n, 0], queries[n, 1], queries[n, 2]
        above = np.searchsorted(targets[:, 0], x)
        below = above - 1
        best = np.inf
        while below >= 0 or above < targets.shape[0]:
            if below >= 0:
                step = x - targets[below, 0]
                if step * step >= best:
                    below = -1
                else:
                    v, w = y - targets[below, 1], z - targets[below, 2]
                    best = min(best, step * step + v * v + w * w)
                    below -= 1
            if above < targets.shape[0]:
                step = targets[above, 0] - x
                if step * step >= best:
                    above = targets.shape[0]
                else:
                    v, w = y - targets[above, 1], z - targets[above, 2]
                    best = min(best, step * step + v * v + w * w)
                    above += 1
        distances[n] = np.sqrt(best)
