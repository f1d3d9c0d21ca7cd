"""Conversion between voxels and LPS mm, and the voxel to show first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum

import numpy as np

from segqa_dicom.anatomy import Structure, chain_members, knowledge, neighbours
from segqa_dicom.model import PointMm
from segqa_dicom.pictures.open_case import OpenCase, SegmentIndex, Voxel
from segqa_dicom.rendering.patient_planes import voxel_at

_MAX_LEVELS = 3
"""Levels up to which a vertebra or rib indicates the position of another."""


class StartReason(StrEnum):
    """Reason for the voxel shown first."""

    LOCATION = "location"
    """The first given location, of the worst finding."""
    SEGMENT = "segment"
    """The centre of the segment."""
    COUNTERPART = "counterpart"
    """The structure in another model; the segment is empty."""
    NEIGHBOURS = "neighbours"
    """Anatomical neighbours; the segment is empty in all models."""
    MIDDLE = "middle"
    """The centre of the volume."""


def to_mm(open_case: OpenCase, voxel: Sequence[float]) -> PointMm:
    """LPS mm of a (slice, row, column), which may be fractional; integers are the centres of voxels.

    Interpolated between uneven slices, constant beyond the first and last slice.
    """
    index, row, column = voxel
    return open_case.case.ct.geometry.point_at(index, row, column)


def to_voxel(open_case: OpenCase, point_mm: PointMm) -> Voxel:
    """The voxel nearest to a point in LPS mm, at the border of the volume for a point outside."""
    return voxel_at(open_case.case.ct.geometry, point_mm)


def start(
    open_case: OpenCase, focus: SegmentIndex | None, locations_mm: Sequence[PointMm]
) -> tuple[Voxel, StartReason]:
    """The voxel to show first, and the reason.

    focus : the reviewed segment; None = the segmentation as a whole
    locations_mm : of findings, worst first
    """
    if locations_mm:
        return to_voxel(open_case, locations_mm[0]), StartReason.LOCATION
    if focus is not None:
        if (centre := open_case.centre(*focus)) is not None:
            return centre, StartReason.SEGMENT
        for other in open_case.counterparts(*focus):
            if (centre := open_case.centre(*other)) is not None:
                return centre, StartReason.COUNTERPART
        if (near := _centre_of_neighbours(open_case, focus)) is not None:
            return near, StartReason.NEIGHBOURS
    shape = open_case.case.ct.geometry.shape
    return (shape[0] // 2, shape[1] // 2, shape[2] // 2), StartReason.MIDDLE


def _centre_of_neighbours(open_case: OpenCase, focus: SegmentIndex) -> Voxel | None:
    """The mean centre of the anatomical neighbours of a segment, in its model, else in any."""
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
    """Canonical names of neighbours of a structure: in its chain, nearest first, then adjacent ones, then wholes."""
    chain = chain_members(known)
    if known.canonical in chain:
        place = chain.index(known.canonical)
        for away in range(1, _MAX_LEVELS + 1):
            yield {name for number, name in enumerate(chain) if abs(number - place) == away}
    yield {name for one in neighbours(known) for name in one.to}
    yield set(known.wholes)
