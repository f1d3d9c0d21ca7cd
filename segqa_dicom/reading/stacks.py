"""Selection and order of the slices of a CT series that form its volume."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.reading.slices import ORIENTATION_TOLERANCE, Slice

SAME_POSITION_SHARE = 0.05
"""Tolerance for slices at one position, as a fraction of the median slice spacing."""
POSITION_NOISE_SHARE = 0.05
"""Noise of written positions, as a fraction of the pixel spacing."""


def one_volume(slices: list[Slice], preferred: Collection[str], excluded: Counter[str]) -> list[Slice]:
    """The slices of one volume: the group with the most references, among equals the largest."""
    groups: list[list[Slice]] = []
    for part in slices:
        for group in groups:
            if part.fits(group[0]):
                group.append(part)
                break
        else:
            groups.append([part])
    best = max(groups, key=lambda group: (sum(part.ref.sop_instance_uid in preferred for part in group), len(group)))
    for group in groups:
        if group is not best:
            excluded[_difference(group[0], best[0])] += len(group)
    return best


def _difference(part: Slice, volume: Slice) -> str:
    mine, its = (np.concatenate([one.row_cosine, one.column_cosine]) for one in (part, volume))
    same_orientation = np.allclose(mine, its, rtol=0, atol=ORIENTATION_TOLERANCE)
    return "other matrix or pixel spacing" if same_orientation else "other orientation"


def one_per_position(stack: list[Slice], preferred: Collection[str]) -> tuple[list[Slice], int]:
    """Slices in ascending position, one at each, and the number of excluded duplicates.

    Among slices at one position, a referenced one is preferred, else one of the acquisition with the most references,
    else the first acquired.
    """
    position = dict(zip(map(id, stack), _positions(stack), strict=True))
    named = {id(part): part.ref.sop_instance_uid in preferred for part in stack}
    references = Counter(part.acquisition for part in stack if named[id(part)])

    def worth(part: Slice) -> tuple[bool, int, tuple[int, int, str], int]:
        return (not named[id(part)], -references[part.acquisition], part.order, part.frame)

    stack = sorted(stack, key=lambda part: (position[id(part)], part.order, part.frame))
    same = _same_position_mm(np.array([position[id(part)] for part in stack]), min(stack[0].spacing))
    places: list[list[Slice]] = []
    for part in stack:
        if places and position[id(part)] - position[id(places[-1][0])] <= same:
            places[-1].append(part)
        else:
            places.append([part])
    return [min(place, key=worth) for place in places], len(stack) - len(places)


def _positions(stack: list[Slice]) -> list[float]:
    normal = np.cross(stack[0].column_cosine, stack[0].row_cosine)
    return [float(part.origin @ normal) for part in stack]


def one_acquisition(stack: list[Slice], preferred: Collection[str], excluded: Counter[str]) -> list[Slice]:
    """`stack` without slices of other acquisitions that lie between neighbours of the referenced ones.

    Slices that continue the referenced acquisitions or fill a gap are kept.
    """
    chosen = {part.acquisition for part in stack if part.ref.sop_instance_uid in preferred}
    positions = _positions(stack)
    own = np.array([at for at, part in zip(positions, stack, strict=True) if part.acquisition in chosen])
    if len(own) < 2 or len(own) == len(stack):
        return stack
    closest = 1.5 * float(np.median(np.diff(own)))
    kept = []
    for at, part in zip(positions, stack, strict=True):
        after = int(np.searchsorted(own, at))
        between = 0 < after < len(own) and own[after] - own[after - 1] <= closest
        if part.acquisition in chosen or not between:
            kept.append(part)
    if len(kept) < len(stack):
        excluded["other acquisition"] += len(stack) - len(kept)
    return kept


def _same_position_mm(positions: NDArray[np.float64], pixel_mm: float) -> float:
    """Largest distance between slices at one position, for ascending `positions`."""
    steps = np.diff(positions)
    noise = POSITION_NOISE_SHARE * pixel_mm
    real = steps[steps > noise]
    return SAME_POSITION_SHARE * float(np.median(real)) if len(real) else noise
