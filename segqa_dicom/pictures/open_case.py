"""A case in memory with cached properties of its segments."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.anatomy import structure_key
from segqa_dicom.jit import kernel
from segqa_dicom.measures.results import Box
from segqa_dicom.model import Case, LabelArray, PointMm, Segment
from segqa_dicom.pictures.errors import NoSuchSegment
from segqa_dicom.pictures.fetching import array_bytes
from segqa_dicom.rendering.patient_planes import VIEWS, Axes, Planes
from segqa_dicom.rendering.tracing import traced
from segqa_dicom.rendering.windows import SOFT, Window, window_for

Voxel = tuple[int, int, int]
"""Index (slice, row, column)."""
SegmentIndex = tuple[int, int]
"""Index of a segmentation in its case, and of a segment in the segmentation."""

_SAMPLED_VOXELS = 1_000_000
_serials = count()


class OpenCase:
    """A CT series with its segmentations; thread-safe. Costly properties are computed once.

    excluded : reasons for segmentations of the study that are not in the case, by SOP Instance UID
    size_bytes : of the arrays
    serial : unique in this process, for cache keys
    """

    def __init__(self, case: Case, *, excluded: Mapping[str, str] | None = None) -> None:
        self.case, self.excluded = case, dict(excluded or {})
        self.size_bytes = array_bytes(case)
        self.serial = next(_serials)
        axes = Axes(case.ct.geometry)
        self.planes = {view.name: Planes(case.ct.geometry, view, axes) for view in VIEWS}
        self._indices = {one.record.sop_instance_uid: at for at, one in enumerate(case.segmentations)}
        self._lock = Lock()
        self._boxes: dict[tuple[int, int], NDArray[np.int32]] = {}
        self._centres: dict[SegmentIndex, Voxel | None] = {}
        self._windows: dict[SegmentIndex, Window] = {}
        self._full_range: Window | None = None

    def knows(self, segmentation: str) -> bool:
        """Whether a segmentation is in the case, or excluded from it."""
        return segmentation in self._indices or segmentation in self.excluded

    def segmentation_index(self, segmentation: str) -> int:
        """Index of a segmentation, by its SOP Instance UID; raises `NoSuchSegment`."""
        if segmentation in self._indices:
            return self._indices[segmentation]
        reason = self.excluded.get(segmentation, "it does not refer to this CT series, or has not arrived")
        raise NoSuchSegment(f"segmentation {segmentation} cannot be shown: {reason}")

    def segment_place(self, segmentation: str, number: int) -> SegmentIndex:
        """Indices of a segment, by SOP Instance UID and Segment Number; raises `NoSuchSegment`."""
        at = self.segmentation_index(segmentation)
        for index, segment in enumerate(self.case.segmentations[at].segments):
            if segment.number == number:
                return at, index
        raise NoSuchSegment(f"segmentation {segmentation} has no segment {number}")

    def segment(self, at: int, index: int) -> Segment:
        """The segment at its indices."""
        return self.case.segmentations[at].segments[index]

    def counterparts(self, at: int, index: int) -> list[SegmentIndex]:
        """The segments of other segmentations with the same structure; empty for a segment without codes."""
        codes = self.segment(at, index).codes
        if codes.type is None:
            return []
        key = structure_key(codes)
        return [
            (number, other)
            for number, one in enumerate(self.case.segmentations)
            for other, segment in enumerate(one.segments)
            if number != at and segment.codes.type is not None and structure_key(segment.codes) == key
        ]

    def bounding_box(self, at: int, index: int) -> Box | None:
        """The bounding box of a segment, in voxels; None if it is empty."""
        low, high = self._boxes_of(at, self.segment(at, index).layer)[index + 1].reshape(2, 3).tolist()
        return Box((low[0], low[1], low[2]), (high[0], high[1], high[2])) if low[0] < high[0] else None

    def centre(self, at: int, index: int) -> Voxel | None:
        """A voxel of a segment, near the middle of its largest cross-section; None if it is empty."""
        with self._lock:
            if (at, index) in self._centres:
                return self._centres[at, index]
        found = self._find_centre(at, index)
        with self._lock:
            self._centres[at, index] = found
        return found

    def centre_mm(self, at: int, index: int) -> PointMm | None:
        """`centre` in LPS mm."""
        voxel = self.centre(at, index)
        return None if voxel is None else self.case.ct.geometry.point_at(*voxel)

    def window_of(self, at: int, index: int) -> Window:
        """The window for a segment; `full_range` if values are not HU."""
        if not self.case.ct.facts.hu_defined:
            return self.full_range
        with self._lock:
            if (at, index) in self._windows:
                return self._windows[at, index]
        found = window_for(self.segment(at, index), self._mean_hu(at, index))
        with self._lock:
            self._windows[at, index] = found
        return found

    @property
    def default_window(self) -> Window:
        """The window without a segment in focus."""
        return SOFT if self.case.ct.facts.hu_defined else self.full_range

    @property
    def full_range(self) -> Window:
        """1st to 99th percentile of a sample of voxels without padding."""
        if self._full_range is None:
            self._full_range = self._find_full_range()
        return self._full_range

    def _boxes_of(self, at: int, layer: int) -> NDArray[np.int32]:
        with self._lock:
            if (at, layer) not in self._boxes:
                one = self.case.segmentations[at]
                labels: LabelArray = one.layers[layer]
                boxes = np.zeros((max(int(np.iinfo(labels.dtype).max), len(one.segments)) + 1, 6), np.int32)
                boxes[:, :3] = np.iinfo(np.int32).max
                _find_boxes(np.ascontiguousarray(labels), boxes)
                self._boxes[at, layer] = boxes[: len(one.segments) + 1]
            return self._boxes[at, layer]

    def _crop(self, at: int, index: int, box: Box) -> NDArray[np.bool_]:
        mask: NDArray[np.bool_] = (
            self.case.segmentations[at].layers[self.segment(at, index).layer][box.slices] == index + 1
        )
        return mask

    def _find_centre(self, at: int, index: int) -> Voxel | None:
        box = self.bounding_box(at, index)
        if box is None:
            return None
        mask = self._crop(at, index, box)
        areas = np.count_nonzero(mask, axis=(1, 2))
        largest = np.flatnonzero(areas == areas.max())
        section = int(largest[len(largest) // 2])
        rows, columns = np.nonzero(mask[section])
        _, row_mm, column_mm = self.case.ct.geometry.spacing_mm
        away = ((rows - rows.mean()) * row_mm) ** 2 + ((columns - columns.mean()) * column_mm) ** 2
        nearest = int(np.argmin(away))
        return box.start[0] + section, box.start[1] + int(rows[nearest]), box.start[2] + int(columns[nearest])

    def _mean_hu(self, at: int, index: int) -> float | None:
        box = self.bounding_box(at, index)
        if box is None:
            return None
        return float(self.case.ct.hu[box.slices][self._crop(at, index, box)].mean(dtype=np.float64))

    def _find_full_range(self) -> Window:
        hu: NDArray[Any] = self.case.ct.hu
        step = max(round((hu.size / _SAMPLED_VOXELS) ** (1 / 3)), 1)
        values = hu[::step, ::step, ::step].ravel()
        if self.case.ct.facts.padding_hu is not None:
            low, high = self.case.ct.facts.padding_hu
            real = values[(values < low) | (values > high)]
            values = real if real.size else values
        black, white = (float(value) for value in np.percentile(values, (1, 99)))
        return Window("full range", max(white - black, 1.0), (black + white) / 2)


def compile_kernels() -> None:
    """Compile the kernels of this package, which is slow the first time after an installation."""
    nothing = np.zeros((1, 1, 1), np.uint8)
    _find_boxes(nothing, np.zeros((256, 6), np.int32))
    traced(nothing[0])


@kernel
def _find_boxes(labels: Any, boxes: NDArray[np.int32]) -> None:
    """Write start and stop of slice, row and column of each label: (labels, 6)."""
    slices, rows, columns = labels.shape
    for k in range(slices):
        for i in range(rows):
            previous = labels.dtype.type(0)
            for j in range(columns):
                label = labels[k, i, j]
                if label != 0:
                    box = boxes[label]
                    if label != previous:
                        box[0], box[1], box[2] = min(box[0], k), min(box[1], i), min(box[2], j)
                        box[3], box[4] = max(box[3], k + 1), max(box[4], i + 1)
                    box[5] = max(box[5], j + 1)
                previous = label
