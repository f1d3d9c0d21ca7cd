"""Markers on the CT, in the one shape that OHIF shows at once: TID 1501 groups under the title 126000.

Every NUM has its place as the first and only child, and everything that people must know stands in the Comment: OHIF
shows that line, and no qualitative evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segqa_dicom.model import CtRecord, Geometry, PointMm, SegRecord
from segqa_dicom.sr import codes, tree

ARROW = "Cornerstone3DTools@^0.1.0:ArrowAnnotate"
RECTANGLE = "Cornerstone3DTools@^0.1.0:RectangleROI"
"""What tracking identifiers begin with: OHIF loads the group as an annotation of that tool; anything may follow."""


@dataclass(frozen=True, slots=True)
class Marker:
    """What a group of a marker says.

    tracking, uid : Tracking Identifier, and Tracking Unique Identifier
    about : Finding and Finding Site
    numbers : each with the place (`marked_point`, `marked_box`) as its only child
    """

    tracking: str
    uid: str
    about: Sequence[tree.Item]
    numbers: Sequence[tree.Item]
    comment: tree.Item


def marker_group(marker: Marker, record: SegRecord, segment_number: int | None) -> tree.Item:
    """The group of a marker on a segment; None = on the SEG as a whole."""
    numbers = () if segment_number is None else (segment_number,)
    children = [
        tree.text(codes.TRACKING_IDENTIFIER, marker.tracking, tree.OBS_CONTEXT),
        tree.uid_reference(codes.TRACKING_UID, marker.uid, tree.OBS_CONTEXT),
        *marker.about,
        # Any other child of a number before its place, and OHIF shows a black viewport.
        *marker.numbers,
        tree.segment_image(codes.SOURCE_OF_MEASUREMENT, record.sop_class_uid, record.sop_instance_uid, numbers),
        marker.comment,
    ]
    return tree.container(codes.MEASUREMENT_GROUP, children, template="1501")


def marked_point(geometry: Geometry, ct: CtRecord, location: PointMm) -> tree.Item:
    """A point on the nearest slice."""
    index = geometry.nearest_slice(location)
    row, column = image_point(geometry, index, location)
    return tree.point(column, row, ct.slices[index])


def marked_box(geometry: Geometry, ct: CtRecord, corners: tuple[PointMm, PointMm]) -> tree.Item | None:
    """A rectangle on a slice; None if the box is none on the slices of this CT.

    corners : lowest and highest of the box, along x, y and z
    It is one if it has no extent along the normal of the slices, some along both others, and rows and columns run along
    axes of the patient.
    """
    low, high = np.array(corners)
    across = int(np.argmax(np.abs(geometry.normal)))
    flat = (high - low) <= 0
    is_aligned = all(
        np.isclose(np.abs(vector).max(), np.linalg.norm(vector), rtol=1e-6)
        for vector in (geometry.row_step_mm, geometry.column_step_mm)
    )
    if not (is_aligned and flat[across] and flat.sum() == 1):
        return None
    first, second = (axis for axis in range(3) if axis != across)
    points = []
    index = geometry.nearest_slice((float(low[0]), float(low[1]), float(low[2])))
    for takes_first, takes_second in ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0)):
        corner = low.copy()
        corner[first] = high[first] if takes_first else low[first]
        corner[second] = high[second] if takes_second else low[second]
        row, column = image_point(geometry, index, (float(corner[0]), float(corner[1]), float(corner[2])))
        points.append((column, row))
    if len(set(points)) < 4:
        return None
    return tree.graphic("POLYLINE", tuple(points), ct.slices[index])


def image_point(geometry: Geometry, index: int, location: PointMm) -> tuple[float, float]:
    """(row, column) of a point in image coordinates, where the first pixel's centre is (0.5, 0.5); inside the image."""
    _, rows, columns = geometry.shape
    row, column = geometry.in_slice(index, location)
    return round(min(max(row, 0.0), rows - 1.0) + 0.5, 2), round(min(max(column, 0.0), columns - 1.0) + 0.5, 2)
