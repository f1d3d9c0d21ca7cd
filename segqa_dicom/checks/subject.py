"""What rules look at: the case with everything measured on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.anatomy import Side, Structure
from segqa_dicom.measures.crops import component_with
from segqa_dicom.measures.overlap import JointCounts
from segqa_dicom.measures.results import Box, PairComparison, SegmentMeasures
from segqa_dicom.model import ContentConflict, CtVolume, PointMm, Segment, Segmentation


@dataclass(frozen=True, eq=False)
class MeasuredSegment:
    """One segment with what is known and measured of it.

    index : its place in the segmentation
    key : identity key
    """

    index: int
    segment: Segment
    key: str
    side: Side | None
    known: Structure
    measures: SegmentMeasures
    ct: CtVolume

    @property
    def label(self) -> str:
        """Segment Label, what people call it."""
        return self.segment.label

    @property
    def is_empty(self) -> bool:
        """Whether it has no voxel on the CT grid."""
        return self.measures.shape.voxel_count == 0

    @cached_property
    def at_scan_end(self) -> bool:
        """Whether it has voxels in the first or last slice of the CT."""
        box = self.measures.shape.bounding_box
        return box is not None and (box.start[0] == 0 or box.stop[0] == self.ct.geometry.shape[0])

    @cached_property
    def at_fov_edge(self) -> bool:
        """Whether it has voxels at the edge of the matrix or on padding."""
        box, shape = self.measures.shape.bounding_box, self.ct.geometry.shape
        if box is None:
            return False
        at_edge = any(box.start[axis] == 0 or box.stop[axis] == shape[axis] for axis in (1, 2))
        return at_edge or self.measures.padding_voxel_count > 0

    @property
    def is_truncated(self) -> bool:
        """Whether part of the structure may lie outside the image (rules F1, F2)."""
        return self.at_scan_end or self.at_fov_edge

    @property
    def anchor_mm(self) -> PointMm | None:
        """A point inside its largest component; None without voxels."""
        return self.component_mm(0) if not self.is_empty else None

    def component_mm(self, number: int) -> PointMm:
        """A point inside one of its components, in LPS mm."""
        k, i, j = self.measures.shape.components.seeds[number]
        return self.ct.geometry.point_at(float(k), float(i), float(j))

    def extent_z_mm(self, component: int | None = None) -> tuple[float, float]:
        """Lowest and highest z of the corners of its box, or that of one of its components, in LPS mm."""
        box = self.measures.shape.bounding_box
        assert box is not None  # noqa: S101 - callers skip empty segments
        start, stop = np.array(box.start), np.array(box.stop)
        if component is not None:
            start, stop = np.split(self.measures.shape.components.boxes[component], 2)
        ends = np.array([start, stop - 1], np.float64)
        corners = np.array([[ends[a, 0], ends[b, 1], ends[c, 2]] for a in (0, 1) for b in (0, 1) for c in (0, 1)])
        z = self.ct.geometry.to_world(corners)[:, 2]
        return float(z.min()), float(z.max())

    def component_ml(self, number: int) -> float:
        """Volume of one of its components in mL, at the nominal slice distance."""
        return float(self.measures.shape.components.voxel_counts[number]) * self.ct.geometry.voxel_volume_ml


@dataclass(frozen=True, eq=False)
class MeasuredSegmentation:
    """One segmentation with its measured segments (same order).

    overlaps : (index, index, voxels that both have) of all pairs of segments that share voxels
    midline : x of the body's middle as a function of z (both LPS mm), from the spine; None if no spine is there
    """

    segmentation: Segmentation
    segments: tuple[MeasuredSegment, ...]
    overlaps: tuple[tuple[int, int, int], ...]
    midline: tuple[float, float] | None
    ct: CtVolume

    @cached_property
    def by_key(self) -> dict[str, list[MeasuredSegment]]:
        """Segments by identity key."""
        found: dict[str, list[MeasuredSegment]] = {}
        for part in self.segments:
            found.setdefault(part.key, []).append(part)
        return found

    @cached_property
    def by_name(self) -> dict[str, list[MeasuredSegment]]:
        """Segments with voxels by the canonical name of their structure; those that have none are left out."""
        found: dict[str, list[MeasuredSegment]] = {}
        for part in self.segments:
            if part.known.canonical and not part.is_empty:
                found.setdefault(part.known.canonical, []).append(part)
        return found

    def mask(self, part: MeasuredSegment, place: tuple[slice, slice, slice]) -> NDArray[np.bool_]:
        """(slice, row, column) voxels of one of its segments in a part of the volume."""
        found: NDArray[np.bool_] = self.segmentation.layers[part.segment.layer][place] == part.index + 1
        return found

    def component(self, part: MeasuredSegment, number: int) -> tuple[Box, NDArray[np.bool_]]:
        """Box of one of the components of a segment, and which voxels in it belong to the component."""
        components = part.measures.shape.components
        k0, i0, j0, k1, i1, j1 = (int(value) for value in components.boxes[number])
        k, i, j = (int(value) for value in components.seeds[number])
        box = Box((k0, i0, j0), (k1, i1, j1))
        return box, component_with(self.mask(part, box.slices), (k - k0, i - i0, j - j0))

    def midline_x_mm(self, z_mm: float) -> float | None:
        """X of the body's middle at a height; None if it is not known."""
        return None if self.midline is None else self.midline[0] + self.midline[1] * z_mm


@dataclass(frozen=True, eq=False)
class MeasuredCase:
    """The case: CT, measured segmentations, and all comparisons between them.

    shared_voxels : (i, j) with i < j, indices of two segmentations -> voxels that each segment of the one shares with
        each of the other, whatever their codes are; labels are index + 1 of the segments
    conflicts : objects that came twice with different content
    """

    ct: CtVolume
    segmentations: tuple[MeasuredSegmentation, ...]
    comparisons: tuple[PairComparison, ...]
    shared_voxels: Mapping[tuple[int, int], JointCounts] = field(default_factory=dict)
    conflicts: tuple[ContentConflict, ...] = ()
