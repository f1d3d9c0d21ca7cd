"""One SEG object on the grid of its CT."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.model.codes import Code, CodedStructure

LabelArray: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]
"""(slice, row, column); 0 = background, n + 1 = the segment at index n of its Segmentation."""


class SegmentationType(StrEnum):
    """Segmentation Type (0062,0001)."""

    BINARY = "BINARY"
    FRACTIONAL = "FRACTIONAL"
    LABELMAP = "LABELMAP"


@dataclass(frozen=True, slots=True)
class Segment:
    """One item of the Segment Sequence (PS3.3, section C.8.20.4) and where its voxels are.

    number : Segment Number; unique in its Segmentation
    layer : index of the one layer of the Segmentation that holds all voxels of this segment
    frame_count : frames that belong to it (LABELMAP: planes in which it occurs)
    voxels_outside_ct : voxels of it that no CT voxel corresponds to, and that no measure therefore counts
    unlisted_codes : codes of it that the DICOM context groups do not have
    """

    number: int
    label: str
    codes: CodedStructure
    layer: int = 0
    frame_count: int = 0
    voxels_outside_ct: int = 0
    algorithm_type: str = ""
    algorithm_name: str = ""
    tracking_id: str = ""
    tracking_uid: str = ""
    unlisted_codes: tuple[Code, ...] = ()


@dataclass(frozen=True, slots=True)
class SegRecord:
    """Identity and provenance of a SEG object: what documents cite, what people see beside it.

    file_digest : SHA-256 of what decides about documents: all bytes of the data set but the file meta information and
        the value of the pixel data, the content digest, and what else was found in the pixel data (frames and voxels
        outside the CT, undeclared numbers). Bits of pixel data that change none of these do not change it.
    content_digest : SHA-256 of what it depicts: segments, codes and voxels, independent of UIDs, dates and encoding
    """

    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str
    study_instance_uid: str
    series_description: str = ""
    series_number: int | None = None
    content_date: str = ""
    content_time: str = ""
    model_name: str = ""
    model_version: str = ""
    manufacturer: str = ""
    path: str = ""
    file_digest: str = ""
    content_digest: str = ""


@dataclass(frozen=True, slots=True)
class SegFacts:
    """What reading found out about a SEG object beside its voxels; the DICOM-level checks judge it.

    resampled : its grid is not the CT's; voxels were taken over by nearest neighbour
    grid_note : how the grid differs, in words; empty if it does not
    max_slice_offset_mm : largest distance of a frame that claims to be a CT slice from that slice
    frames_off_slice : number of frames further than 0.01 mm from the CT slice they were put on
    frames_outside_ct : number of frames with voxels and no CT slice within half a slice distance
    outside_location_mm : a point on one of them
    mismatched_sources : frames that lie on another CT slice than the one they name as their source
    references_ct_series : False if its CT was found by frame of reference only
    has_referenced_series : it has a Referenced Series Sequence, by which viewers find its images
    missing_references : SOP Instance UIDs it refers to that did not come with the CT series
    raw_segment_numbers : Segment Numbers in the order of the file, duplicates included
    undeclared_numbers : Segment Numbers that frames use and the Segment Sequence lacks
    """

    type: SegmentationType = SegmentationType.BINARY
    resampled: bool = False
    grid_note: str = ""
    frame_count: int = 0
    max_slice_offset_mm: float = 0.0
    frames_off_slice: int = 0
    frames_outside_ct: int = 0
    outside_location_mm: tuple[float, float, float] | None = None
    mismatched_sources: int = 0
    frame_of_reference_uid: str = ""
    references_ct_series: bool = True
    has_referenced_series: bool = True
    referenced_instance_count: int = 0
    missing_references: tuple[str, ...] = ()
    raw_segment_numbers: tuple[int, ...] = ()
    undeclared_numbers: tuple[int, ...] = ()
    study_differs: bool = False
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A SEG object whose voxels lie on the grid of its CT.

    segments : in the order of their numbers
    layers : label volumes (slice, row, column) of the CT's shape, at least one. Segments that overlap lie in different
        layers, each one whole in a single layer. The value of segment n (index in `segments`) is n + 1 in every layer.
    """

    record: SegRecord
    segments: tuple[Segment, ...]
    layers: tuple[LabelArray, ...]
    facts: SegFacts

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("a segmentation needs at least one layer")
        numbers = [segment.number for segment in self.segments]
        if sorted(set(numbers)) != numbers:
            raise ValueError("segment numbers must be unique and ascending")
        for segment in self.segments:
            if not 0 <= segment.layer < len(self.layers):
                raise ValueError(f"segment {segment.number} is in layer {segment.layer} of {len(self.layers)}")
        for layer in self.layers:
            layer.flags.writeable = False
