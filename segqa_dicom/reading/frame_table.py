"""The frame table of a SEG from its functional groups (PS3.3, section C.7.6.16), read by pydicom.

This is the reference path, which defines results and errors. `frame_index` makes the same table of the usual encodings
in a hundredth of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import (
    OpenedObject,
    first_item,
    items,
    numbers,
    open_object,
    source_instances,
    translated,
    whole_number,
)
from segqa_dicom.errors import Inconsistent
from segqa_dicom.model import CtVolume, SegmentationType
from segqa_dicom.reading.ct import direction_cosines
from segqa_dicom.reading.grid import FrameGrid

SAME_ORIENTATION = 1e-4
"""Tolerance for direction cosines of parallel frames."""
SAME_PIXEL_SPACING = 1e-4
"""Relative tolerance for pixel spacings of frames on one grid."""


@dataclass(frozen=True, eq=False)
class FrameTable:
    """The frames of a SEG in the order of the file.

    segment_numbers : (frames,) Referenced Segment Number; 0 for LABELMAP
    sources : per frame, the SOP Instance UIDs in its Source Image Sequence
    grid : positions of the frames
    """

    segment_numbers: NDArray[np.int64]
    sources: list[frozenset[str]]
    grid: FrameGrid


class FrameGroups(Protocol):
    """The shared and per-frame functional groups of an object."""

    @property
    def count(self) -> int:
        """Number of items of the Per-Frame Functional Groups Sequence."""

    def table(self, kind: SegmentationType, ct: CtVolume | None) -> FrameTable:
        """The table of all frames.

        ct : gives frames without a position that of their source, if that is one of its slices
        Raises `Inconsistent` if frames contradict each other or have no position.
        """


def open_parsed(path: Path, limits: Limits) -> tuple[OpenedObject, FrameGroups]:
    """A SEG object parsed by pydicom; raises an `InputError` if it cannot be read."""
    opened = open_object(path, limits)
    with translated("segmentation"):
        return opened, ParsedGroups(opened.dataset)


class ParsedGroups:
    """Functional groups as pydicom data sets."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._per_frame = items(dataset, "PerFrameFunctionalGroupsSequence")

    @property
    def count(self) -> int:
        """Number of items of the Per-Frame Functional Groups Sequence."""
        return len(self._per_frame)

    def table(self, kind: SegmentationType, ct: CtVolume | None) -> FrameTable:
        """As `FrameGroups.table`, for at least one frame."""
        shared = first_item(self._dataset, "SharedFunctionalGroupsSequence")
        segment_numbers = np.zeros(self.count, np.int64)
        origins = np.empty((self.count, 3))
        sources: list[frozenset[str]] = []
        planes = _Planes()
        for index, frame in enumerate(self._per_frame):
            groups = (frame, shared)
            sources.append(_source_instances(groups))
            if kind is not SegmentationType.LABELMAP:
                identification = _functional(groups, "SegmentIdentificationSequence", index)
                segment_numbers[index] = segment_number(identification)
            origins[index] = _position(groups, sources[-1], index, ct)
            if index == 0 or "PlaneOrientationSequence" in frame:
                planes.orient(_functional(groups, "PlaneOrientationSequence", index), index)
            if index == 0 or "PixelMeasuresSequence" in frame:
                planes.measure(_functional(groups, "PixelMeasuresSequence", index), index)
        return FrameTable(segment_numbers, sources, planes.grid(self._dataset, origins))


class _Planes:
    """Orientation and pixel spacing that all frames must share, from the first frame that states them."""

    def __init__(self) -> None:
        self._orientation: tuple[float, ...] = ()
        self._spacing: tuple[float, ...] = ()
        self._measures: Dataset | None = None

    def orient(self, group: Dataset, index: int) -> None:
        """Check the Plane Orientation of a frame."""
        stated = numbers(group, "ImageOrientationPatient", 6)
        self._orientation = self._orientation or stated
        if not same_orientation(stated, self._orientation):
            raise Inconsistent(f"frame {index + 1} has another Image Orientation than frame 1")

    def measure(self, group: Dataset, index: int) -> None:
        """Check the Pixel Measures of a frame."""
        stated = numbers(group, "PixelSpacing", 2)
        self._spacing = self._spacing or stated
        if not same_spacing(stated, self._spacing):
            raise Inconsistent(f"frame {index + 1} has another Pixel Spacing than frame 1")
        self._measures = group

    def grid(self, dataset: Dataset, origins: NDArray[np.float64]) -> FrameGrid:
        """The grid of frames with these origins."""
        spacing = (optional(self._measures, "SpacingBetweenSlices"), optional(self._measures, "SliceThickness"))
        return frame_grid(dataset, origins, self._orientation, self._spacing, spacing)


def same_orientation(stated: Sequence[float], first: Sequence[float]) -> bool:
    """Whether the Image Orientation of two frames is the same."""
    return np.allclose(stated, first, rtol=0, atol=SAME_ORIENTATION)


def same_spacing(stated: Sequence[float], first: Sequence[float]) -> bool:
    """Whether the Pixel Spacing of two frames is the same."""
    return np.allclose(stated, first, rtol=SAME_PIXEL_SPACING, atol=0)


def frame_grid(
    dataset: Dataset,
    origins_mm: NDArray[np.float64],
    orientation: Sequence[float],
    spacing: Sequence[float],
    between_and_thickness_mm: tuple[float, float],
) -> FrameGrid:
    """The grid of frames with one Image Orientation (6) and Pixel Spacing (2).

    origins_mm : (frames, 3)
    between_and_thickness_mm : Spacing Between Slices and Slice Thickness, 0 if not stated
    Raises `Inconsistent` for invalid values.
    """
    if min(spacing) <= 0:
        raise Inconsistent("Pixel Spacing is not positive")
    column_cosine, row_cosine = direction_cosines(tuple(orientation))
    return FrameGrid(
        origins_mm=origins_mm,
        row_step_mm=row_cosine * spacing[0],
        column_step_mm=column_cosine * spacing[1],
        matrix=(whole_number(dataset, "Rows", low=1, high=65535), whole_number(dataset, "Columns", low=1, high=65535)),
        declared_spacing_mm=between_and_thickness_mm[0],
        slice_thickness_mm=between_and_thickness_mm[1],
    )


def segment_number(identification: Dataset) -> int:
    """Referenced Segment Number of a Segment Identification item."""
    return whole_number(identification, "ReferencedSegmentNumber", low=0, high=65535)


def optional(measures: Dataset | None, keyword: str) -> float:
    """Absolute value of an optional distance in Pixel Measures; 0 if missing or invalid."""
    if measures is None:
        return 0.0
    try:
        return abs(numbers(measures, keyword, 1)[0])
    except Inconsistent:
        return 0.0


def _functional(groups: Sequence[Dataset | None], sequence: str, index: int) -> Dataset:
    """The functional group of a frame: per-frame, else shared."""
    for group in groups:
        found = first_item(group, sequence)
        if found is not None:
            return found
    raise Inconsistent(f"frame {index + 1} has no {sequence}")


def _position(
    groups: Sequence[Dataset | None], sources: frozenset[str], index: int, ct: CtVolume | None
) -> tuple[float, ...]:
    """Image Position of a frame, else that of the one CT slice that is its source."""
    for group in groups:
        plane = first_item(group, "PlanePositionSequence")
        if plane is not None:
            return numbers(plane, "ImagePositionPatient", 3)
    slices = ct.record.slices if ct else ()
    named = [at for at, ref in enumerate(slices) if ref.sop_instance_uid in sources]
    if ct and len(named) == 1:
        return tuple(float(value) for value in ct.geometry.slice_origins_mm[named[0]])
    raise Inconsistent(f"frame {index + 1} has no position and does not name one CT slice as its source")


def _source_instances(groups: Sequence[Dataset | None]) -> frozenset[str]:
    """Source images of a frame: per-frame, else shared."""
    return next((found for group in groups if (found := source_instances(group))), frozenset())
