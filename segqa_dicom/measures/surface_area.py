"""Area of the surface inside a cube of eight voxels, for each of its 256 occupancies.

The surface is that of marching cubes (Lorensen and Cline 1987) with vertices in the middle of the cube's edges, in the
variant of google-deepmind/surface-distance (Nikolov et al. 2021), whose areas ours equal:

- a cube with more than four voxels has the surface of its complement;
- voxels that share no edge of the cube are separated: each group connected along edges has a surface of its own;
- up to rotation and reflection there are six such groups, triangulated below.

A voxel is the corner (slice, row, column) of the cube, each 0 or 1, and bit ``7 - (4 * slice + 2 * row + column)`` of
the code, as in DeepMind's kernel ``[[[128, 64], [32, 16]], [[8, 4], [2, 1]]]``. Vertices are given in half edges.
"""

from __future__ import annotations

from functools import cache, lru_cache
from itertools import pairwise, permutations, product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Corner: TypeAlias = tuple[int, int, int]
Polygon: TypeAlias = tuple[Corner, ...]
Symmetry: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]

_CORNERS: tuple[Corner, ...] = tuple((k, i, j) for k, i, j in product((0, 1), repeat=3))

_BASE_PATCHES: dict[frozenset[Corner], tuple[Polygon, ...]] = {
    # one corner: a triangle
    frozenset({(1, 1, 1)}): (((1, 2, 2), (2, 1, 2), (2, 2, 1)),),
    # an edge: a rectangle
    frozenset({(1, 1, 0), (1, 1, 1)}): (((1, 2, 0), (1, 2, 2), (2, 1, 2), (2, 1, 0)),),
    # three corners of a face: a pentagon, folded once
    frozenset({(1, 1, 1), (1, 1, 0), (1, 0, 1)}): (
        ((1, 2, 2), (1, 2, 0), (1, 0, 2)),
        ((1, 2, 0), (2, 1, 0), (2, 0, 1), (1, 0, 2)),
    ),
    # a face: a square
    frozenset({(1, 0, 0), (1, 0, 1), (1, 1, 0), (1, 1, 1)}): (((1, 0, 0), (1, 0, 2), (1, 2, 2), (1, 2, 0)),),
    # a corner and its three neighbours: a plane hexagon
    frozenset({(1, 1, 1), (0, 1, 1), (1, 0, 1), (1, 1, 0)}): (
        ((0, 1, 2), (0, 2, 1), (1, 2, 0), (2, 1, 0), (2, 0, 1), (1, 0, 2)),
    ),
    # a path along three edges that is in no plane: a hexagon, folded around every second vertex
    frozenset({(0, 1, 1), (1, 1, 1), (1, 1, 0), (1, 0, 0)}): (
        ((0, 1, 2), (1, 2, 0), (2, 0, 1)),
        ((0, 1, 2), (0, 2, 1), (1, 2, 0)),
        ((1, 2, 0), (1, 0, 0), (2, 0, 1)),
        ((2, 0, 1), (2, 1, 2), (0, 1, 2)),
    ),
}  # fmt: skip
"""Corners inside -> plane polygons of the surface, one for each group up to the 48 symmetries of the cube."""


@lru_cache(maxsize=64)
def surface_area_table(spacing_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    """(256,) area in mm2 of the surface in a cube with each code, read-only; 0 for codes 0 and 255.

    spacing_mm : (slice, row, column) distance of voxel centres
    """
    slice_mm, row_mm, column_mm = spacing_mm
    faces_mm2 = np.array([row_mm * column_mm, slice_mm * column_mm, slice_mm * row_mm])
    area = np.array([np.linalg.norm(normals * faces_mm2, axis=1).sum() for normals in code_normals()])
    area.flags.writeable = False
    return area


@cache
def code_normals() -> tuple[NDArray[np.float64], ...]:
    """Per code the (n, 3) normals of its plane polygons in a cube of edge 1, as long as their area; sign arbitrary."""
    return tuple(
        np.array([_normal(polygon) for polygon in polygons_of_code(code)], np.float64).reshape(-1, 3)
        for code in range(256)
    )


def polygons_of_code(code: int) -> tuple[Polygon, ...]:
    """Plane polygons of the surface in a cube with this code; none for 0 and 255."""
    inside = frozenset(corner for corner in _CORNERS if code & corner_bit(corner))
    if len(inside) > 4:
        inside = frozenset(_CORNERS) - inside
    return tuple(polygon for group in _edge_connected_groups(inside) for polygon in _patches()[group])


def corner_bit(corner: Corner) -> int:
    """The bit of the code that stands for a corner."""
    k, i, j = corner
    return 1 << (7 - (4 * k + 2 * i + j))


@cache
def _patches() -> dict[frozenset[Corner], tuple[Polygon, ...]]:
    """The base patches in every position: 8 corners, 12 edges, 24 + 6 + 8 + 24 groups of three and four."""
    patches: dict[frozenset[Corner], tuple[Polygon, ...]] = {}
    for symmetry in product(permutations(range(3)), product((False, True), repeat=3)):
        for corners, polygons in _BASE_PATCHES.items():
            moved = frozenset(_move(corner, symmetry, 1) for corner in corners)
            patches.setdefault(moved, tuple(tuple(_move(v, symmetry, 2) for v in polygon) for polygon in polygons))
    return patches


def _move(point: Corner, symmetry: Symmetry, size: int) -> Corner:
    """Apply an exchange of axes and reflections to a point of a cube with edges of length `size`."""
    axes, mirrored = symmetry
    k, i, j = (size - point[axis] if flip else point[axis] for axis, flip in zip(axes, mirrored, strict=True))
    return k, i, j


def _edge_connected_groups(corners: frozenset[Corner]) -> list[frozenset[Corner]]:
    groups: list[frozenset[Corner]] = []
    for corner in sorted(corners):
        touching = [group for group in groups if any(_share_edge(corner, other) for other in group)]
        groups = [group for group in groups if group not in touching]
        groups.append(frozenset({corner}).union(*touching))
    return groups


def _share_edge(a: Corner, b: Corner) -> bool:
    return sum(x != y for x, y in zip(a, b, strict=True)) == 1


def _normal(polygon: Polygon) -> tuple[float, float, float]:
    """Half the sum of the cross products around a plane polygon, half edges taken as such."""
    first, *others = polygon
    spokes = [(k - first[0], i - first[1], j - first[2]) for k, i, j in others]
    products = [
        (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]) for a, b in pairwise(spokes)
    ]
    # An eighth: half the product of two vectors of half edges. Whole numbers until here, so nothing is rounded.
    k, i, j = (sum(parts) / 8 for parts in zip(*products, strict=True))
    return k, i, j
