"""Names, centres and spacing of vertebrae."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.checks.chains import (
    Chain,
    centre,
    complete,
    level_name,
    members,
)
from segqa_dicom.checks.subject import MeasuredSegmentation

Point = NDArray[np.float64]


def vertebra_name(level: int) -> str:
    """Name of a vertebra, such as ``T9``."""
    return level_name(Chain.SPINE, level)


def vertebra_names(levels: Sequence[int]) -> str:
    """Names of vertebrae, separated by commas."""
    return ", ".join(vertebra_name(level) for level in levels)


def centres_of(context: MeasuredSegmentation) -> dict[int, Point]:
    """Level -> centre of each complete vertebra, in ascending order of levels."""
    return {level: centre(part) for level, part in complete(members(context, Chain.SPINE)).items()}


def step_mm(centres: Mapping[int, Point]) -> float | None:
    """Usual distance from one vertebra to the next; None if no two neighbours are there."""
    found = [
        float(np.linalg.norm(centres[lower] - centres[upper]))
        for upper, lower in pairwise(centres)
        if lower == upper + 1
    ]
    return median(found) if found else None
