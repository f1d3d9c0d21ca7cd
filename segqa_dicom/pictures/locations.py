"""Where things are: voxels to millimetres and back, and where somebody should look first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum

import numpy as np

from segqa_dicom.anatomy import Structure, chain_members, knowledge, neighbours
from segqa_dicom.model import PointMm
from segqa_dicom.pictures.open_case import OpenCase, SegmentIndex, Voxel
from segqa_dicom.rendering.patient_planes import voxel_at

_MAX_LEVELS = 3
"""Vertebrae and ribs that are further away say nothing about where one should be."""


class StartReason(StrEnum):
    """Why a page opens where it does."""

    LOCATION = "location"
    """The first location given: the worst that the machine points to."""
    SEGMENT = "segment"
    """The middle of the segment."""
    COUNTERPART = "counterpart"
    """The segment is empty; another model has the structure there."""
    NEIGHBOURS = "neighbours"
    """The segment is empty in all models; structures that lie beside it in everybody lie there."""
    MIDDLE = "middle"
    """Nothing is known: the middle of the volume."""


def to_mm(open_case: OpenCase, voxel: Sequence[float]) -> PointMm:
    """LPS mm of a (slice, row, column), which may be fractional; whole numbers are the middles of voxels.

    Between uneven slices the position is interpolated; beyond the first and last slice their positions hold.
    """
    index, row, column = voxel
    return open_case.case.ct.geometry.point_at(index, row, column)


def to_voxel(open_case: OpenCase, point_mm: PointMm) -> Voxel:
    """The voxel nearest to a point, at the border of the volume if the point is outside."""
    return voxel_at(open_case.case.ct.geometry, point_mm)


def start(
    open_case: OpenCase, focus: SegmentIndex | None, locations_mm: Sequence[PointMm]
) -> tuple[Voxel, StartReason]:
    """Where to look first, and why there.

    focus : the segment that is reviewed; None = the segmentation as a whole
    locations_mm : worst first
    """
    if locations_mm:
        return to_voxel(open_case, locations_mm[0]), StartReason.LOCATION
    if focus is not None:
        if (centre := open_case.centre(*focus)) is not None:
            return centre, StartReason.SEGMENT
        for other in open_case.counterparts(*focus):
            if (centre := open_case.centre(*other)) is not None:
                return centre, StartReason.COUNTERPART
        if (near := _near_neighbours(open_case, focus)) is not None:
            return near, StartReason.NEIGHBOURS
    shape = open_case.case.ct.geometry.shape
    return (shape[0] // 2, shape[1] // 2, shape[2] // 2), StartReason.MIDDLE


def _near_neighbours(open_case: OpenCase, focus: SegmentIndex) -> Voxel | None:
    """The mean of the centres of structures that lie beside a segment, of its model, else of any."""
    at, index = focus
    known = knowledge(open_case.segment(at, index).codes)
    for names in _beside(known):
        for numbers in ([at], range(len(open_case.case.segmentations))):
            centres = [
                open_case.centre(number, other)
                for number in numbers
                for other, segment in enumerate(open_case.case.segmentations[number].segments)
                if knowledge(segment.codes).canonical in names
            ]
            found = [centre for centre in centres if centre is not None]
            if found:
                mean = np.mean(found, axis=0)
                return round(mean[0]), round(mean[1]), round(mean[2])
    return None


def _beside(known: Structure) -> Iterator[set[str]]:
    """Canonical names of what lies beside a structure: in its chain, nearest first; what it must be near; wholes."""
    chain = chain_members(known)
    if known.canonical in chain:
        place = chain.index(known.canonical)
        for away in range(1, _MAX_LEVELS + 1):
            yield {name for number, name in enumerate(chain) if abs(number - place) == away}
    yield {name for one in neighbours(known) for name in one.to}
    yield set(known.wholes)
