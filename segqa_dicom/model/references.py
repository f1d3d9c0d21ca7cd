"""References to segments."""

from __future__ import annotations

from dataclasses import dataclass

WHOLE = 0
"""Segment number that stands for a segmentation as a whole."""


@dataclass(frozen=True, slots=True, order=True)
class SegmentRef:
    """A segment by SOP Instance UID of its segmentation and Segment Number; `WHOLE` = the segmentation as a whole."""

    segmentation: str
    segment: int
