"""From image coordinates to millimetres."""

from __future__ import annotations

from collections.abc import Sequence

from segqa_dicom.model import CtVolume, PointMm


def slice_of(ct: CtVolume, sop_instance_uid: str, frame: int | None) -> int | None:
    """Index of the slice that an image, or a frame (from 1) of one, has become; None if it is not in the volume.

    An image with several frames needs the number of one; of one with a single frame the number does not matter.
    """
    found = [at for at, one in enumerate(ct.record.slices) if one.sop_instance_uid == sop_instance_uid]
    if len(found) == 1 and (frame is None or ct.record.slices[found[0]].frame_number in (None, frame)):
        return found[0]
    return next((at for at in found if ct.record.slices[at].frame_number == frame), None)


def image_point_mm(
    ct: CtVolume, sop_instance_uid: str, frame: int | None, column_and_row: Sequence[float]
) -> PointMm | None:
    """LPS mm of a point in image coordinates (PS3.3, section C.18.6.1.1); None if the image is not in the volume.

    column_and_row : the centre of the first pixel is at (0.5, 0.5)
    """
    index = slice_of(ct, sop_instance_uid, frame)
    if index is None or len(column_and_row) < 2:
        return None
    column, row = column_and_row[:2]
    return ct.geometry.point_at(index, row - 0.5, column - 0.5)
