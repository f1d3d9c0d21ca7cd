"""Label volumes on the CT grid from the frames of a SEG."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.dicom.limits import Limits
from segqa_dicom.errors import LimitExceeded
from segqa_dicom.model import Geometry, SegmentationType
from segqa_dicom.progress import Progress
from segqa_dicom.reading.frame_table import FrameTable
from segqa_dicom.reading.frames import Frames
from segqa_dicom.reading.grid import Placement, Resampler, is_ct_grid, place
from segqa_dicom.reading.layers import LayerPainter, stamp_labels


@dataclass(frozen=True, eq=False)
class Drawing:
    """The input of `paint`.

    background : the label of no segment, for LABELMAP
    numbers : declared Segment Numbers, ascending
    """

    kind: SegmentationType
    background: int
    numbers: list[int]
    table: FrameTable
    frames: Frames


@dataclass(eq=False)
class Painted:
    """Label volumes on the CT grid, with facts about the frames.

    layer_of, frame_counts, outside : per segment, its layer, number of frames, and number of voxels outside the CT
    undeclared : Segment Numbers of frames that are not declared
    placement : the CT slice of each frame
    frames_outside : number of frames with voxels, but without a CT slice
    outside_location_mm : a point on one of them, LPS mm
    """

    layer_of: list[int]
    placement: Placement
    on_ct_grid: bool
    frame_counts: NDArray[np.int64]
    outside: NDArray[np.int64]
    layers: list[NDArray[Any]] = field(default_factory=list)
    undeclared: set[int] = field(default_factory=set)
    frames_outside: int = 0
    outside_location_mm: tuple[float, float, float] | None = None


def paint(drawing: Drawing, ct: Geometry, limits: Limits, progress: Progress) -> Painted:
    """Label volumes of all declared segments on the grid of a CT.

    Raises an `InputError` if the grid exceeds the limits or a frame cannot be decoded.
    """
    grid = drawing.table.grid
    placement = place(grid, ct)
    on_grid = is_ct_grid(grid, ct, placement)
    resampler = Resampler(grid, ct)
    shape = ct.shape if on_grid else resampler.shape
    if int(np.prod(shape)) > limits.max_voxels:
        raise LimitExceeded(f"its grid has {shape} voxels; the limit is {limits.max_voxels}")
    count = len(drawing.numbers)
    painter = LayerPainter(shape, count)
    painted = Painted(painter.layer_of, placement, on_grid, np.zeros(count, np.int64), np.zeros(count, np.int64))
    target = _Target(drawing, painted, resampler)
    if drawing.kind is SegmentationType.LABELMAP:
        _paint_label_map(drawing, painter, target, progress)
    else:
        _paint_masks(drawing, painter, target, progress)
    painted.layers = painter.layers if on_grid else resampler.to_ct(painter.layers)
    return painted


class _Target:
    """The plane of each frame in the painted volume, and the count of its voxels outside the CT.

    planes : (frames,) index of the plane; -1 for a frame without a CT slice
    """

    def __init__(self, drawing: Drawing, painted: Painted, resampler: Resampler) -> None:
        self.drawing = drawing
        self.painted = painted
        self.resampler = resampler
        self.planes = resampler.plane_of_frame.astype(np.int64)
        if painted.on_ct_grid:
            self.planes = np.where(painted.placement.outside, -1, painted.placement.slice_index).astype(np.int64)

    def on_plane(self, frame: int, pixels: NDArray[Any]) -> NDArray[Any]:
        """The pixels of a frame at their position on its plane."""
        return pixels if self.painted.on_ct_grid else self.resampler.on_plane(frame, pixels)

    def note_outside(self, frame: int, values: NDArray[Any]) -> None:
        """Count the voxels of a frame outside the CT, given as (row, column) segment index + 1, 0 = no segment."""
        painted = self.painted
        if painted.on_ct_grid and not painted.placement.outside[frame]:
            return
        mask = values != 0
        there = values[mask]
        if len(there) == 0:
            return
        outside, beyond_slices = np.ones(len(there), bool), True
        if not painted.on_ct_grid:
            outside, beyond_slices = self.resampler.outside_ct(frame, mask)
        if not outside.any():
            return
        segments, counts = np.unique(there[outside], return_counts=True)
        painted.outside[segments.astype(np.intp) - 1] += counts
        painted.frames_outside += beyond_slices
        if painted.outside_location_mm is None:
            row, column = (float(axis[outside].mean()) for axis in np.nonzero(mask))
            grid = self.drawing.table.grid
            point = grid.origins_mm[frame] + row * grid.row_step_mm + column * grid.column_step_mm
            painted.outside_location_mm = (float(point[0]), float(point[1]), float(point[2]))


def _paint_masks(drawing: Drawing, painter: LayerPainter, target: _Target, progress: Progress) -> None:
    index_of = {number: index for index, number in enumerate(drawing.numbers)}
    order = np.argsort(drawing.table.segment_numbers, kind="stable")
    distinct, starts = np.unique(drawing.table.segment_numbers[order], return_index=True)
    for number, chosen in zip(distinct, np.split(order, starts[1:]), strict=True):
        segment = index_of.get(int(number))
        if segment is None:
            target.painted.undeclared.add(int(number))
            continue
        target.painted.frame_counts[segment] = len(chosen)
        _paint_mask(segment, chosen, drawing.frames, painter, target)
        progress("reading SEG", segment + 1, len(drawing.numbers))


def _paint_mask(segment: int, chosen: NDArray[np.intp], frames: Frames, painter: LayerPainter, target: _Target) -> None:
    stored = frames.stored if target.painted.on_ct_grid else None
    if stored is None:
        painter.paint(segment, _planes(chosen, segment, frames, target))
        return
    planes = target.planes[chosen]
    for frame in chosen[planes < 0].tolist():
        target.note_outside(frame, frames[frame] * np.uint32(segment + 1))
    painter.paint_by(segment, stored.stamp(chosen[planes >= 0], planes[planes >= 0]))


def _planes(
    chosen: NDArray[np.intp], segment: int, frames: Frames, target: _Target
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    for frame in chosen.tolist():
        mask = frames[frame]
        plane = int(target.planes[frame])
        if plane < 0 or not target.painted.on_ct_grid:
            target.note_outside(frame, mask * np.uint32(segment + 1))
        if plane >= 0:
            yield plane, target.on_plane(frame, mask)


def _paint_label_map(drawing: Drawing, painter: LayerPainter, target: _Target, progress: Progress) -> None:
    """Labels do not overlap within a frame; several frames of one plane are united."""
    values = np.zeros(65536, painter.dtype)
    declared = np.zeros(65536, bool)
    declared[[0, drawing.background]] = True
    for index, number in enumerate(drawing.numbers):
        values[number] = index + 1
        declared[number] = True
    painted = target.painted
    total = len(target.planes)
    for frame in range(total):
        present = _paint_labels(drawing.frames[frame], frame, values, painter.layers[0], target)
        painted.undeclared.update(present[~declared[present]].tolist())
        indices = values[present]
        painted.frame_counts[indices[indices != 0].astype(np.intp) - 1] += 1
        progress("reading SEG", frame + 1, total)


def _paint_labels(
    labels: NDArray[Any], frame: int, values: NDArray[Any], layer: NDArray[Any], target: _Target
) -> NDArray[Any]:
    """Paint one frame of a label map; returns its labels."""
    plane = int(target.planes[frame])
    if target.painted.on_ct_grid and plane >= 0 and labels.dtype in (np.uint8, np.uint16) and labels.flags.aligned:
        return stamp_labels(labels, values, layer[plane])
    own = values[labels]
    target.note_outside(frame, own)
    if plane >= 0:
        placed = target.on_plane(frame, own)
        np.copyto(layer[plane], placed, where=placed != 0)
    return np.unique(labels)
