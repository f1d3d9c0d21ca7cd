"""Rounding of numbers that leave in JSON and in documents: the same number everywhere."""

from __future__ import annotations

from segqa_dicom.model import PointMm

_MM_DIGITS = 4
"""Digits behind the point of positions in mm: a tenth of a micrometre is more than any scanner states."""
_DIGITS = 9
"""Digits behind the point of other numbers; what lies beyond is rounding noise of the arithmetic."""


def rounded(value: float | None) -> float | None:
    """`value` to nine decimals; None stays None."""
    return None if value is None else round(float(value), _DIGITS)


def rounded_point(point: PointMm | None) -> list[float] | None:
    """A point in mm to four decimals; None stays None."""
    return None if point is None else [round(float(value), _MM_DIGITS) for value in point]
