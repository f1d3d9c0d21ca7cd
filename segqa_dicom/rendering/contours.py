"""Borders of labels as SVG paths."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray


def outlines(labels: NDArray[Any], strong: Collection[int] = ()) -> tuple[str, str]:
    """SVG path data around the labels of (row, column) pixels: of all other labels, and of the `strong` ones.

    One unit is half a pixel. Each vertex is the middle of a pixel edge (as in marching squares), so straight borders
    lie on pixel edges and steps become slopes. Each label has closed loops of its own; pixels that meet at a
    corner only are apart.
    """
    found: tuple[list[str], list[str]] = [], []
    for value, loop in _loops(labels):
        (x, y), rest = loop[0], pairwise(loop)
        steps = " ".join(f"{b[0] - a[0]} {b[1] - a[1]}" for a, b in rest)
        found[value in strong].append(f"M{x} {y}l{steps}z")
    return "".join(found[0]), "".join(found[1])


def _loops(labels: NDArray[Any]) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """(label, corners as x, y in half pixels) of every closed border, without vertices on straight lines."""
    values, following, middles = _edges(labels)
    if not len(values):
        return
    steps = middles[following] - middles
    is_corner = np.empty(len(values), bool)
    is_corner[following] = (steps[following] != steps).any(axis=1)
    successor, corner, points = following.tolist(), is_corner.tolist(), middles.tolist()
    done = bytearray(len(successor))
    for start, value in enumerate(values.tolist()):
        loop, edge = [], start
        while not done[edge]:
            done[edge] = 1
            if corner[edge]:
                loop.append(points[edge])
            edge = successor[edge]
        if loop:
            yield value, loop


def _edges(labels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp], NDArray[np.intp]]:
    """Pixel edges between a label and something else, run so that the label is on the right hand.

    Returns the label of each edge, the index of the edge that follows it, and its middle (x, y) in half pixels.
    """
    padded = np.pad(labels, 1)
    flat, width = padded.ravel(), padded.shape[1]
    forward = np.array((1, width, -1, -width))  # along the upper, right, lower and left edge of a pixel
    inside = np.flatnonzero(flat)
    pixels = [inside[flat[inside + forward[side - 1]] != flat[inside]] for side in range(4)]
    pixel = np.concatenate(pixels)
    side = np.repeat(np.arange(4), [len(part) for part in pixels])
    value = flat[pixel]
    ahead = pixel + forward[side]
    outer = ahead + forward[side - 1]
    turns, runs_on = flat[ahead] != value, flat[outer] != value
    follower = np.where(
        turns, 4 * pixel + (side + 1) % 4, np.where(runs_on, 4 * ahead + side, 4 * outer + (side - 1) % 4)
    )
    index_of = np.empty(4 * flat.size, np.intp)
    index_of[4 * pixel + side] = np.arange(len(pixel))
    row, column = np.divmod(pixel, width)
    offset = np.array(((1, 0), (2, 1), (1, 2), (0, 1)))[side]
    middles = np.stack((2 * (column - 1), 2 * (row - 1)), axis=1) + offset
    return value, index_of[follower], middles
