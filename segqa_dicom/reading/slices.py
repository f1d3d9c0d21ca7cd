"""Slices of CT objects before their pixels are read: position and rescaling to HU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import (
    OpenedObject,
    first_item,
    items,
    numbers,
    text,
    whole_number,
    whole_number_or,
)
from segqa_dicom.errors import Inconsistent, LimitExceeded
from segqa_dicom.model import SliceRef

ORIENTATION_TOLERANCE = 1e-3
"""Tolerance for direction cosines of slices of one volume."""
SPACING_RELATIVE_TOLERANCE = 1e-3
"""Relative tolerance for pixel spacings of slices of one volume."""
UNIT_TOLERANCE = 1e-2
"""Tolerance for length and angle of direction cosines."""
LARGEST_POSITION_MM = 1e5
PIXEL_SPACING_RANGE_MM = (1e-4, 1e3)
"""Plausible range; values far beyond it overflow."""
LARGEST_RESCALE = 1e6
"""Plausible maximum of Rescale Slope and Intercept; larger values exceed float32 precision."""


@dataclass(frozen=True, slots=True)
class Rescale:
    """Modality LUT transformation from stored values to HU."""

    slope: float
    intercept: float
    note: str  # why the results are not HU; empty if they are


@dataclass(frozen=True, eq=False, slots=True)
class Slice:
    """One slice before its pixels are read."""

    file: int
    frame: int  # from 0
    ref: SliceRef
    origin: NDArray[np.float64]
    row_cosine: NDArray[np.float64]  # direction in which the row index ascends
    column_cosine: NDArray[np.float64]
    spacing: tuple[float, float]
    matrix: tuple[int, int]
    thickness: float
    rescale: Rescale
    acquisition: int
    order: tuple[int, int, str]  # acquisition, instance, UID: preference among slices at one position

    def fits(self, other: Slice) -> bool:
        """Whether two slices can belong to one volume."""
        if self.matrix != other.matrix:
            return False
        if self._same_plane(other):
            return True
        return bool(
            np.allclose(self.spacing, other.spacing, rtol=SPACING_RELATIVE_TOLERANCE, atol=0)
            and np.allclose(self.row_cosine, other.row_cosine, rtol=0, atol=ORIENTATION_TOLERANCE)
            and np.allclose(self.column_cosine, other.column_cosine, rtol=0, atol=ORIENTATION_TOLERANCE)
        )

    def _same_plane(self, other: Slice) -> bool:
        # Cosines made of the same six numbers are the same arrays; comparing them within tolerances takes 0.1 ms.
        return (
            self.spacing == other.spacing
            and self.row_cosine is other.row_cosine
            and self.column_cosine is other.column_cosine
        )


def slices_of(opened: OpenedObject, uid: str, file: int, limits: Limits) -> list[Slice]:
    """The slices of one object; functional groups take precedence (PS3.3, section C.7.6.16)."""
    dataset = opened.dataset
    matrix = (whole_number(dataset, "Rows", low=1, high=65535), whole_number(dataset, "Columns", low=1, high=65535))
    if "PerFrameFunctionalGroupsSequence" not in dataset:
        if whole_number_or(dataset, "NumberOfFrames", 1) != 1:
            raise Inconsistent("it has several frames but no functional groups that say where they lie")
        return [_slice(dataset, (dataset,), uid, file, None, matrix)]
    frames = items(dataset, "PerFrameFunctionalGroupsSequence")
    if len(frames) > limits.max_frames:
        raise LimitExceeded(f"it has {len(frames)} frames, more than {limits.max_frames}")
    stated = whole_number_or(dataset, "NumberOfFrames", 0)
    if len(frames) != stated:
        raise Inconsistent(f"it says {stated} frames but describes {len(frames)}")
    shared = first_item(dataset, "SharedFunctionalGroupsSequence")
    return [_slice(dataset, (frame, shared, dataset), uid, file, index, matrix) for index, frame in enumerate(frames)]


def _group(groups: Sequence[Dataset | None], sequence: str, keyword: str) -> Dataset:
    """The first of `groups` with `keyword`, in `sequence` (a functional group) or at its top level."""
    for group in groups:
        inner = first_item(group, sequence)
        if inner is not None and keyword in inner:
            return inner
        if group is not None and keyword in group:
            return group
    raise Inconsistent(f"{keyword} is missing")


def _slice(
    dataset: Dataset,
    groups: Sequence[Dataset | None],
    uid: str,
    file: int,
    frame: int | None,
    matrix: tuple[int, int],
) -> Slice:
    column_cosine, row_cosine = _cosines(
        numbers(_group(groups, "PlaneOrientationSequence", "ImageOrientationPatient"), "ImageOrientationPatient", 6)
    )
    measures = _group(groups, "PixelMeasuresSequence", "PixelSpacing")
    spacing = numbers(measures, "PixelSpacing", 2)
    low, high = PIXEL_SPACING_RANGE_MM
    if not low <= min(spacing) <= max(spacing) <= high:
        raise Inconsistent(f"PixelSpacing is not between {low:g} and {high:g} mm")
    position = numbers(_group(groups, "PlanePositionSequence", "ImagePositionPatient"), "ImagePositionPatient", 3)
    ref = SliceRef(text(dataset, "SOPClassUID"), uid, None if frame is None else frame + 1)
    if max(map(abs, position)) > LARGEST_POSITION_MM:
        raise Inconsistent("ImagePositionPatient is implausibly far away")
    acquisition = whole_number_or(dataset, "AcquisitionNumber", 0)
    return Slice(
        file=file,
        frame=frame or 0,
        ref=ref,
        origin=np.array(position),
        row_cosine=row_cosine,
        column_cosine=column_cosine,
        spacing=(spacing[0], spacing[1]),
        matrix=matrix,
        thickness=_positive(measures, "SliceThickness"),
        rescale=_rescale(groups),
        acquisition=acquisition,
        order=(acquisition, whole_number_or(dataset, "InstanceNumber", 0), uid),
    )


def direction_cosines(values: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Unit vectors of ascending column index and row index (PS3.3, section C.7.6.2.1.1).

    Raises `Inconsistent` unless the six values are, within rounding, two perpendicular unit vectors.
    """
    column, row = np.array(values[:3], dtype=np.float64), np.array(values[3:], dtype=np.float64)
    lengths = np.array([np.linalg.norm(column), np.linalg.norm(row)])
    if (np.abs(lengths - 1) > UNIT_TOLERANCE).any() or abs(column @ row) > UNIT_TOLERANCE:
        raise Inconsistent("ImageOrientationPatient is not two perpendicular unit vectors")
    return column / lengths[0], row / lengths[1]


@lru_cache(maxsize=256)
def _cosines(values: tuple[float, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`direction_cosines`, with the same arrays for the same values."""
    found = direction_cosines(values)
    for array in found:
        array.flags.writeable = False
    return found


def _positive(dataset: Dataset, keyword: str) -> float:
    try:
        value = numbers(dataset, keyword, 1)[0]
    except Inconsistent:
        return 0.0
    return max(value, 0.0)


def _rescale(groups: Sequence[Dataset | None]) -> Rescale:
    """Slope and intercept, and why the result is not HU; HU if not stated (PS3.3, section C.8.2.1.1.5)."""
    if any(group is not None and "ModalityLUTSequence" in group for group in groups):
        return Rescale(1.0, 0.0, "its values go through a modality look-up table")
    try:
        group = _group(groups, "PixelValueTransformationSequence", "RescaleSlope")
        slope, intercept = numbers(group, "RescaleSlope", 1)[0], numbers(group, "RescaleIntercept", 1)[0]
    except Inconsistent:
        return Rescale(1.0, 0.0, "Rescale Slope or Rescale Intercept is missing")
    kind = text(group, "RescaleType").upper()
    if slope == 0 or max(abs(slope), abs(intercept)) > LARGEST_RESCALE:
        return Rescale(1.0, 0.0, "Rescale Slope is 0, or it or Rescale Intercept is implausibly large")
    return Rescale(slope, intercept, "" if kind in ("", "HU") else f"Rescale Type is {kind}, not HU")
