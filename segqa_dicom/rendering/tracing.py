"""`report.contours.outlines`, compiled: the same text, in a hundredth of the time."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.jit import kernel

_WEAK, _STRONG = 1, 2
_MINUS, _SPACE, _ZERO, _STEP, _MOVE, _CLOSE = (ord(letter) for letter in "- 0lMz")
_NUMBER_BYTES = 12
"""A space, a sign and the digits of 32 bits."""


def traced(labels: NDArray[Any], strong: Collection[int] = ()) -> tuple[str, str]:
    """SVG path data around the labels (uint8 or uint16) of (row, column) pixels: of all others, of the `strong` ones.

    As `outlines` gives them, character by character.
    """
    padded = np.zeros((labels.shape[0] + 2, labels.shape[1] + 2), labels.dtype)
    padded[1:-1, 1:-1] = labels
    kinds = np.full(np.iinfo(labels.dtype).max + 1, _WEAK, np.uint8)
    kinds[list(strong)] = _STRONG
    weak_part, strong_part = _trace(padded.ravel(), padded.shape[1], _below_edges(padded), kinds)
    return weak_part.tobytes().decode("ascii"), strong_part.tobytes().decode("ascii")


def _below_edges(padded: NDArray[Any]) -> NDArray[np.intp]:
    """Pixels (flat index, ascending) of labels below something else: every loop runs along the upper edge of one."""
    flat, width = padded.ravel(), padded.shape[1]
    is_edge = flat[width:] != flat[:-width]
    is_edge &= flat[width:] != 0
    found: NDArray[np.intp] = np.flatnonzero(is_edge) + width
    return found


@kernel
def _trace(
    flat: Any, width: int, starts: NDArray[np.intp], kinds: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The text of the loops of weak and of strong labels, each begun at the first of its pixels in `starts`."""
    done = np.zeros(flat.size, np.uint8)
    corners = np.empty((256, 2), np.int64)
    weak, strong = np.empty(4096, np.uint8), np.empty(1024, np.uint8)
    weak_size, strong_size = 0, 0
    for pixel in starts:
        if done[pixel]:
            continue
        corners, count = _walk(flat, width, pixel, done, corners)
        if kinds[flat[pixel]] == _STRONG:
            strong, strong_size = _write(strong, strong_size, corners, count)
        else:
            weak, weak_size = _write(weak, weak_size, corners, count)
    return weak[:weak_size].copy(), strong[:strong_size].copy()


@kernel
def _walk(
    flat: Any, width: int, start: int, done: NDArray[np.uint8], corners: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int]:
    """Corners (x, y) in half pixels of the loop that runs along the upper edge of a pixel, which stays on its right.

    Sides are the upper, right, lower and left one. Returns the corners, in an array that may be larger than it was,
    and how many there are.
    """
    forward = (1, width, -1, -width)
    middle_x, middle_y = (1, 2, 1, 0), (0, 1, 2, 1)
    value = flat[start]
    pixel, side, count = start, 0, 0
    last_x, last_y, first_x, first_y = 0, 0, 0, 0
    # The first corner has its place even if it turns out to be none: the step before it is known at the end only.
    begin_x, begin_y = 2 * (start % width - 1) + 1, 2 * (start // width - 1)
    x, y = begin_x, begin_y
    while True:
        if side == 0:
            done[pixel] = 1
        ahead = pixel + forward[side]
        outer = ahead + forward[side - 1]
        if flat[ahead] != value:
            side = (side + 1) % 4
        elif flat[outer] != value:
            pixel = ahead
        else:
            pixel, side = outer, (side - 1) % 4
        next_x = 2 * (pixel % width - 1) + middle_x[side]
        next_y = 2 * (pixel // width - 1) + middle_y[side]
        step_x, step_y = next_x - x, next_y - y
        if count == 0:
            first_x, first_y = step_x, step_y
        if step_x != last_x or step_y != last_y:
            if count == len(corners):
                larger = np.empty((2 * count, 2), np.int64)
                larger[:count] = corners
                corners = larger
            corners[count, 0], corners[count, 1] = x, y
            count += 1
        x, y, last_x, last_y = next_x, next_y, step_x, step_y
        if pixel == start and side == 0:
            break
    if first_x == last_x and first_y == last_y:
        corners[: count - 1] = corners[1:count].copy()
        count -= 1
    return corners, count


@kernel
def _write(text: NDArray[np.uint8], size: int, corners: NDArray[np.int64], count: int) -> tuple[NDArray[np.uint8], int]:
    """Append a closed path: its first corner, then steps. Returns the text, perhaps in a larger array, and its size."""
    wanted = size + 2 * _NUMBER_BYTES * count + 8
    if wanted > text.size:
        larger = np.empty(2 * wanted, np.uint8)
        larger[:size] = text[:size]
        text = larger
    text[size] = _MOVE
    size = _number(text, size + 1, corners[0, 0])
    text[size] = _SPACE
    size = _number(text, size + 1, corners[0, 1])
    text[size] = _STEP
    size += 1
    for index in range(1, count):
        if index > 1:
            text[size] = _SPACE
            size += 1
        size = _number(text, size, corners[index, 0] - corners[index - 1, 0])
        text[size] = _SPACE
        size = _number(text, size + 1, corners[index, 1] - corners[index - 1, 1])
    text[size] = _CLOSE
    return text, size + 1


@kernel
def _number(text: NDArray[np.uint8], size: int, number: int) -> int:
    """Write a whole number in decimal digits; returns where it ends."""
    if number < 0:
        text[size] = _MINUS
        size += 1
        number = -number
    digits, rest = 1, number // 10
    while rest > 0:
        digits += 1
        rest //= 10
    for place in range(size + digits - 1, size - 1, -1):
        text[place] = _ZERO + number % 10
        number //= 10
    return size + digits
