"""Errors to inject into a true segmentation: label volume in, new label volume out.

Every function takes a label volume (slice, row, column) and label values, and leaves its input as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Labels: TypeAlias = NDArray[Any]
"""uint8 or uint16."""
_NEIGHBOURS = np.ones((3, 3, 3), bool)


def renumber(labels: Labels, new_values: Mapping[int, int]) -> Labels:
    """Every label value replaced as `new_values` says, all at once; the others stay."""
    table = np.arange(np.iinfo(labels.dtype).max + 1, dtype=labels.dtype)
    for old, new in new_values.items():
        table[old] = new
    renumbered: Labels = table[labels]
    return renumbered


def shift_levels(labels: Labels, chain: Sequence[int], by: int) -> Labels:
    """A chain (vertebrae or ribs, head to feet) numbered too low by `by` levels (1: T9 becomes T10); ends fall off."""
    moved = {value: chain[at + by] if 0 <= at + by < len(chain) else 0 for at, value in enumerate(chain)}
    return renumber(labels, moved)


def swap(labels: Labels, one: int, other: int) -> Labels:
    """Two structures under each other's label."""
    return renumber(labels, {one: other, other: one})


def mirror(labels: Labels, pairs: Sequence[tuple[int, int]]) -> Labels:
    """All (left, right) pairs swapped."""
    return renumber(labels, {old: new for left, right in pairs for old, new in ((left, right), (right, left))})


def flip(labels: Labels, axis: int) -> Labels:
    """The whole volume the other way round along an axis, as if its orientation had been misread."""
    return np.ascontiguousarray(np.flip(labels, axis))


def merge(labels: Labels, into: int, other: int) -> Labels:
    """A structure given to another one; its own label is gone."""
    return renumber(labels, {other: into})


def remove(labels: Labels, value: int) -> Labels:
    """A structure that is not segmented."""
    return renumber(labels, {value: 0})


def take_piece(labels: Labels, of: int, to: int, *, share: float = 0.3) -> Labels:
    """The part of a structure with the highest rows (its back) given to a neighbour: a rib with a piece of the next."""
    result = labels.copy()
    slices, rows, columns = np.nonzero(labels == of)
    chosen = rows >= np.quantile(rows, 1 - share)
    result[slices[chosen], rows[chosen], columns[chosen]] = to
    return result


def add_island(labels: Labels, value: int, start: tuple[int, int, int], size: tuple[int, int, int]) -> Labels:
    """A box of stray voxels of a structure from (slice, row, column) on, whatever is there."""
    result = labels.copy()
    result[tuple(slice(first, first + length) for first, length in zip(start, size, strict=True))] = value
    return result


def drop_slice(labels: Labels, value: int, index: int) -> Labels:
    """A structure missing in one slice."""
    result = labels.copy()
    result[index][result[index] == value] = 0
    return result


def cut_off(labels: Labels, value: int, *, share: float) -> Labels:
    """A structure of which so large a share of its slices, the last ones, is not segmented."""
    result = labels.copy()
    slices = _surroundings(labels, value, margin=0)[0]
    part = result[slices.start + round((1 - share) * (slices.stop - slices.start)) : slices.stop]
    part[part == value] = 0
    return result


def leak(labels: Labels, value: int, *, rows: int, columns: int, over_others: bool = True) -> Labels:
    """A structure that grows sideways by that many voxels (negative: to the front, or to the right), over anything.

    over_others : False = only where there is nothing else
    """
    result = labels.copy()
    there = _voxels_of(labels, value)
    first = np.unique(there[:, 0])
    low, high = first[len(first) // 3], first[2 * len(first) // 3]
    middle = there[(there[:, 0] >= low) & (there[:, 0] <= high)]
    longest = max(abs(rows), abs(columns))
    for step in range(1, longest + 1):
        moved = middle + np.array([0, round(rows * step / longest), round(columns * step / longest)])
        k, i, j = moved[((moved >= 0) & (moved < labels.shape)).all(axis=1)].T
        free = np.ones(len(k), bool) if over_others else labels[k, i, j] == 0
        result[k[free], i[free], j[free]] = value
    return result


def erode(labels: Labels, value: int, voxels: int = 1) -> Labels:
    """A structure without its outermost voxels."""
    result = labels.copy()
    crop = result[_surroundings(labels, value, margin=1)]
    mask = crop == value
    crop[mask & ~ndimage.binary_erosion(mask, _NEIGHBOURS, iterations=voxels)] = 0
    return result


def dilate(labels: Labels, value: int, voxels: int = 1) -> Labels:
    """A structure with as many layers of voxels more, where there is nothing else."""
    result = labels.copy()
    crop = result[_surroundings(labels, value, margin=voxels)]
    crop[ndimage.binary_dilation(crop == value, _NEIGHBOURS, iterations=voxels) & (crop == 0)] = value
    return result


def hollow(labels: Labels, value: int, wall: int = 2) -> Labels:
    """A structure of which nothing is left but a wall of so many voxels."""
    result = labels.copy()
    crop = result[_surroundings(labels, value, margin=1)]
    crop[ndimage.binary_erosion(crop == value, _NEIGHBOURS, iterations=wall)] = 0
    return result


def displace(labels: Labels, value: int, by: tuple[int, int, int]) -> Labels:
    """A structure in another place: so many voxels away along slices, rows and columns, where there is nothing else."""
    result = labels.copy()
    there = _voxels_of(labels, value)
    result[tuple(there.T)] = 0
    moved = there + by
    k, i, j = moved[((moved >= 0) & (moved < labels.shape)).all(axis=1)].T
    free = result[k, i, j] == 0
    result[k[free], i[free], j[free]] = value
    return result


def _voxels_of(labels: Labels, value: int) -> NDArray[np.intp]:
    """(n, 3) indices of the voxels of a structure; raises `ValueError` if there are none."""
    place = _surroundings(labels, value, margin=0)
    found: NDArray[np.intp] = np.argwhere(labels[place] == value) + np.array([part.start for part in place])
    return found


def _surroundings(labels: Labels, value: int, *, margin: int) -> tuple[slice, slice, slice]:
    """The box of a structure, so many voxels wider on each side where the volume goes on."""
    mask = labels == value
    ends = []
    for axis, size in enumerate(labels.shape):
        others = tuple(other for other in range(3) if other != axis)
        reached = np.flatnonzero(mask.any(axis=others))
        if len(reached) == 0:
            raise ValueError(f"no voxel has the label {value}")
        ends.append(slice(max(int(reached[0]) - margin, 0), min(int(reached[-1]) + 1 + margin, size)))
    return ends[0], ends[1], ends[2]


def jitter(
    labels: Labels, *, seed: int, voxels: tuple[float, float, float] = (0.2, 0.6, 0.6), smoothness: int = 12
) -> Labels:
    """The same structures with boundaries that wander: displaced by a smooth random field.

    voxels : standard deviation of the displacement along slices, rows and columns
    smoothness : voxels between independent displacements
    """
    random = np.random.default_rng(seed)
    coarse = tuple(max(size // smoothness, 2) + 1 for size in labels.shape)
    # Interpolation between independent values takes away about a third of their spread.
    scale = 1.4 * np.array(voxels, np.float32)[:, None, None, None]
    field = random.standard_normal((3, *coarse)).astype(np.float32) * scale
    rows, columns = (np.linspace(0, size - 1, n) for size, n in zip(coarse[1:], labels.shape[1:], strict=True))
    grid = np.meshgrid(rows, columns, indexing="ij")
    result = np.empty_like(labels)
    index = np.mgrid[0 : labels.shape[1], 0 : labels.shape[2]]
    for k in range(labels.shape[0]):
        at = k / max(labels.shape[0] - 1, 1) * (coarse[0] - 1)
        low = min(int(at), coarse[0] - 2)
        slab = field[:, low] * (1 - (at - low)) + field[:, low + 1] * (at - low)
        shift = [ndimage.map_coordinates(part, grid, order=1) for part in slab]
        source = [np.full(labels.shape[1:], float(k)), *index]
        place = [
            np.clip(np.rint(base + by), 0, size - 1).astype(np.intp)
            for base, by, size in zip(source, shift, labels.shape, strict=True)
        ]
        result[k] = labels[place[0], place[1], place[2]]
    return _without_crumbs(result)


def _without_crumbs(moved: Labels) -> Labels:
    """`moved` without the pieces that came off a structure: wandering boundaries are meant, islands are not."""
    for index, place in enumerate(ndimage.find_objects(moved)):
        if place is None:
            continue
        crop = moved[place]
        pieces, count = ndimage.label(crop == index + 1, _NEIGHBOURS)
        if count > 1:
            sizes = np.bincount(pieces.reshape(-1))
            small = np.flatnonzero(sizes < 0.02 * sizes[1:].sum())
            crop[np.isin(pieces, small[small > 0])] = 0
    return moved
