"""SEG object to `Segmentation` on the grid of its CT."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from segqa_dicom.errors import Inconsistent, LimitExceeded
from segqa_dicom.model import CtVolume, Geometry, SegFacts, Segment, Segmentation, SegmentationType, SegRecord
from segqa_dicom.progress import Progress, silent
from segqa_dicom.reading.codes import read_structure, unlisted
from segqa_dicom.reading.ct import direction_cosines
from segqa_dicom.reading.dataset import (
    OpenedObject,
    file_digest,
    first_item,
    items,
    numbers,
    open_object,
    referenced_series,
    source_instances,
    text,
    translated,
    whole_number,
)
from segqa_dicom.reading.frames import Frames, open_frames
from segqa_dicom.reading.grid import FrameGrid, Placement, Resampler, is_ct_grid, place, slices_at
from segqa_dicom.reading.layers import LayerPainter, refuse_noise
from segqa_dicom.reading.limits import Limits
from segqa_dicom.uids import canonical_json, normalised_uid

MOST_SEGMENTS = 65_535
"""Segments that the 16 bits of a label volume can tell apart."""


def read_seg(
    path: Path,
    ct: CtVolume,
    limits: Limits,
    *,
    references_ct_series: bool = True,
    progress: Progress = silent,
) -> Segmentation:
    """The segmentation in a file, on the grid of `ct`.

    references_ct_series : False if the CT was found by frame of reference only
    Raises an `InputError` if the object is damaged, too large, or contradicts itself.
    """
    opened = open_object(path, limits)
    with translated("segmentation"):
        header = _Header(opened, ct, limits)
        painted = _paint(header, open_frames(opened, header.kind, limits), ct, limits, progress)
        for layer in painted.layers:
            refuse_noise(layer, limits)
        segments = tuple(
            replace(
                segment,
                layer=painted.layer_of[index],
                frame_count=int(painted.frame_counts[index]),
                voxels_outside_ct=int(painted.outside[index]),
            )
            for index, segment in enumerate(header.segments)
        )
        facts = _facts(header, painted, ct, references_ct_series=references_ct_series)
        record = _record(opened, header, segments, painted.layers)
    return Segmentation(record, segments, tuple(painted.layers), facts)


def frames_within(path: Path, ct: Geometry, limits: Limits) -> bool:
    """Whether every frame of a SEG lies within a CT: between its slices' ends, with the middle of the frame inside.

    Raises an `InputError` if the object cannot be read, or does not say where its frames lie.
    """
    opened = open_object(path, limits)
    with translated("segmentation"):
        dataset = opened.dataset
        shared = first_item(dataset, "SharedFunctionalGroupsSequence")
        per_frame = items(dataset, "PerFrameFunctionalGroupsSequence")
        if not per_frame:
            raise Inconsistent("it has no frames")
        _, _, grid = _frame_groups(dataset, shared, per_frame, SegmentationType.LABELMAP, None)
    rows, columns = grid.matrix
    middle = grid.origins_mm + (rows - 1) / 2 * grid.row_step_mm + (columns - 1) / 2 * grid.column_step_mm
    for point in middle:
        index, beyond = slices_at(ct, np.array([point @ ct.normal]))
        if beyond[0]:
            return False
        row, column = ct.in_slice(int(index[0]), (point[0], point[1], point[2]))
        if not (-0.5 <= row <= ct.shape[1] - 0.5 and -0.5 <= column <= ct.shape[2] - 0.5):
            return False
    return True


class _Header:
    """A SEG object without its pixels."""

    def __init__(self, opened: OpenedObject, ct: CtVolume, limits: Limits) -> None:
        dataset = opened.dataset
        self.dataset = dataset
        self.sop_instance_uid = normalised_uid(dataset.get("SOPInstanceUID"), what="SOP Instance UID")
        if opened.pixel_offset < 0:
            raise Inconsistent("it has no pixel data")
        self.kind = _kind(dataset)
        self.background = _background(dataset) if self.kind is SegmentationType.LABELMAP else 0
        self.raw_numbers, self.segments = _segments(dataset, self.kind, self.background, limits)
        frame_count = whole_number(dataset, "NumberOfFrames", low=0, high=2**31)
        if frame_count > limits.max_frames:
            raise LimitExceeded(f"{frame_count} frames; the limit is {limits.max_frames}")
        per_frame = items(dataset, "PerFrameFunctionalGroupsSequence")
        if len(per_frame) != frame_count:
            raise Inconsistent(f"it says {frame_count} frames but describes {len(per_frame)}")
        if frame_count == 0:
            raise Inconsistent("it has no frames")
        shared = first_item(dataset, "SharedFunctionalGroupsSequence")
        self.numbers, self.sources, self.grid = _frame_groups(dataset, shared, per_frame, self.kind, ct)


def _kind(dataset: Dataset) -> SegmentationType:
    stated = text(dataset, "SegmentationType").upper()
    if stated not in SegmentationType.__members__:
        raise Inconsistent(f"Segmentation Type is {stated or 'missing'}, not BINARY, FRACTIONAL or LABELMAP")
    return SegmentationType(stated)


def _background(dataset: Dataset) -> int:
    """The label that stands for no segment (PS3.3, section C.8.20.2): Pixel Padding Value, else 0."""
    if "PixelPaddingValue" not in dataset:
        return 0
    return whole_number(dataset, "PixelPaddingValue", low=0, high=65535)


def _segments(
    dataset: Dataset, kind: SegmentationType, background: int, limits: Limits
) -> tuple[list[int], list[Segment]]:
    """Segment Numbers as they stand in the file, and the segments in ascending order (of duplicates the first)."""
    sequence = items(dataset, "SegmentSequence")
    if not sequence:
        raise Inconsistent("it has no Segment Sequence")
    if len(sequence) > limits.max_segments + 1:
        raise LimitExceeded(f"{len(sequence)} segments; the limit is {limits.max_segments}")
    raw: list[int] = []
    found: dict[int, Segment] = {}
    for item in sequence:
        number = whole_number(item, "SegmentNumber", low=0, high=65535)
        if number == background and kind is SegmentationType.LABELMAP:
            continue  # label maps may describe what is not segmented; that is no structure
        raw.append(number)
        found.setdefault(number, _segment(item, number))
    if not found:
        raise Inconsistent("its Segment Sequence describes nothing but background")
    if len(found) > min(limits.max_segments, MOST_SEGMENTS):
        raise LimitExceeded(f"{len(found)} segments; the limit is {min(limits.max_segments, MOST_SEGMENTS)}")
    return raw, [found[number] for number in sorted(found)]


def _segment(item: Dataset, number: int) -> Segment:
    codes = read_structure(item)
    return Segment(
        number=number,
        label=text(item, "SegmentLabel") or (codes.type.meaning if codes.type else "") or f"segment {number}",
        codes=codes,
        algorithm_type=text(item, "SegmentAlgorithmType"),
        algorithm_name=text(item, "SegmentAlgorithmName"),
        tracking_id=text(item, "TrackingID"),
        tracking_uid=text(item, "TrackingUID"),
        unlisted_codes=unlisted(codes),
    )


def _frame_groups(
    dataset: Dataset, shared: Dataset | None, per_frame: Sequence[Dataset], kind: SegmentationType, ct: CtVolume | None
) -> tuple[NDArray[np.int64], list[frozenset[str]], FrameGrid]:
    """Segment number of each frame (0 for LABELMAP), the instances it names as sources, and where frames lie."""
    count = len(per_frame)
    segment_numbers = np.zeros(count, np.int64)
    origins = np.empty((count, 3))
    sources: list[frozenset[str]] = []
    orientation: tuple[float, ...] | None = None
    spacing: tuple[float, ...] | None = None
    measures: Dataset | None = None
    for index, frame in enumerate(per_frame):
        groups = (frame, shared)
        sources.append(_source_instances(groups))
        if kind is not SegmentationType.LABELMAP:
            identification = _functional(groups, "SegmentIdentificationSequence", index)
            segment_numbers[index] = whole_number(identification, "ReferencedSegmentNumber", low=0, high=65535)
        origins[index] = _position(groups, sources[-1], index, ct)
        if index == 0 or "PlaneOrientationSequence" in frame:
            plane = _functional(groups, "PlaneOrientationSequence", index)
            stated = numbers(plane, "ImageOrientationPatient", 6)
            if orientation is not None and not np.allclose(stated, orientation, rtol=0, atol=1e-4):
                raise Inconsistent(f"frame {index + 1} has another Image Orientation than frame 1")
            orientation = orientation or stated
        if index == 0 or "PixelMeasuresSequence" in frame:
            measures = _functional(groups, "PixelMeasuresSequence", index)
            pixel = numbers(measures, "PixelSpacing", 2)
            if spacing is not None and not np.allclose(pixel, spacing, rtol=1e-4, atol=0):
                raise Inconsistent(f"frame {index + 1} has another Pixel Spacing than frame 1")
            spacing = spacing or pixel
    assert orientation is not None and spacing is not None and measures is not None  # noqa: S101, PT018 - count > 0
    if min(spacing) <= 0:
        raise Inconsistent("Pixel Spacing is not positive")
    column_cosine, row_cosine = direction_cosines(orientation)
    grid = FrameGrid(
        origins_mm=origins,
        row_step_mm=row_cosine * spacing[0],
        column_step_mm=column_cosine * spacing[1],
        matrix=(whole_number(dataset, "Rows", low=1, high=65535), whole_number(dataset, "Columns", low=1, high=65535)),
        declared_spacing_mm=_optional(measures, "SpacingBetweenSlices"),
        slice_thickness_mm=_optional(measures, "SliceThickness"),
    )
    return segment_numbers, sources, grid


def _functional(groups: Sequence[Dataset | None], sequence: str, index: int) -> Dataset:
    """A functional group of a frame: its own, else the shared one."""
    for group in groups:
        found = first_item(group, sequence)
        if found is not None:
            return found
    raise Inconsistent(f"frame {index + 1} has no {sequence}")


def _optional(dataset: Dataset, keyword: str) -> float:
    try:
        return abs(numbers(dataset, keyword, 1)[0])
    except Inconsistent:
        return 0.0


def _position(
    groups: Sequence[Dataset | None], sources: frozenset[str], index: int, ct: CtVolume | None
) -> tuple[float, ...]:
    """Image Position of a frame; if it states none, that of the one CT slice that it names as its source."""
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
    """What a frame names as its sources: itself, else all frames together."""
    return next((found for group in groups if (found := source_instances(group))), frozenset())


@dataclass(eq=False)
class _Painted:
    """Label volumes on the CT grid, and what happened on the way there."""

    layers: list[NDArray[Any]]
    layer_of: list[int]
    frame_counts: NDArray[np.int64]
    outside: NDArray[np.int64]
    undeclared: set[int]
    placement: Placement
    on_ct_grid: bool
    frames_outside: int = 0
    outside_location_mm: tuple[float, float, float] | None = None


def _paint(header: _Header, frames: Frames, ct: CtVolume, limits: Limits, progress: Progress) -> _Painted:
    placement = place(header.grid, ct.geometry)
    on_grid = is_ct_grid(header.grid, ct.geometry, placement)
    resampler = Resampler(header.grid, ct.geometry)
    shape = ct.geometry.shape if on_grid else resampler.shape
    if int(np.prod(shape)) > limits.max_voxels:
        raise LimitExceeded(f"its grid has {shape} voxels; the limit is {limits.max_voxels}")
    painter = LayerPainter(shape, len(header.segments))
    painted = _Painted(
        layers=[],
        layer_of=painter.layer_of,
        frame_counts=np.zeros(len(header.segments), np.int64),
        outside=np.zeros(len(header.segments), np.int64),
        undeclared=set(),
        placement=placement,
        on_ct_grid=on_grid,
    )
    target = _Target(header, painted, resampler)
    index_of = {segment.number: index for index, segment in enumerate(header.segments)}
    if header.kind is SegmentationType.LABELMAP:
        _paint_label_map(header, frames, painter, target, index_of, progress)
    else:
        _paint_masks(header, frames, painter, target, index_of, progress)
    painted.layers = painter.layers if on_grid else resampler.to_ct(painter.layers)
    return painted


class _Target:
    """Which plane of the painted volume a frame belongs to, and what of it lies outside the CT."""

    def __init__(self, header: _Header, painted: _Painted, resampler: Resampler) -> None:
        self.header = header
        self.painted = painted
        self.resampler = resampler

    def plane(self, frame: int) -> int | None:
        """The plane to paint a frame on; None if the frame has no CT slice."""
        if not self.painted.on_ct_grid:
            return int(self.resampler.plane_of_frame[frame])
        return None if self.painted.placement.outside[frame] else int(self.painted.placement.slice_index[frame])

    def on_plane(self, frame: int, pixels: NDArray[Any]) -> NDArray[Any]:
        """The pixels of a frame at their place on that plane."""
        return pixels if self.painted.on_ct_grid else self.resampler.on_plane(frame, pixels)

    def note_outside(self, frame: int, values: NDArray[Any]) -> None:
        """Count the voxels of a frame that no CT voxel corresponds to; `values` are segment indices + 1, 0 = none."""
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
            grid = self.header.grid
            point = grid.origins_mm[frame] + row * grid.row_step_mm + column * grid.column_step_mm
            painted.outside_location_mm = (float(point[0]), float(point[1]), float(point[2]))


def _paint_masks(
    header: _Header,
    frames: Frames,
    painter: LayerPainter,
    target: _Target,
    index_of: dict[int, int],
    progress: Progress,
) -> None:
    order = np.argsort(header.numbers, kind="stable")
    distinct, starts = np.unique(header.numbers[order], return_index=True)
    for number, chosen in zip(distinct, np.split(order, starts[1:]), strict=True):
        segment = index_of.get(int(number))
        if segment is None:
            target.painted.undeclared.add(int(number))
            continue
        target.painted.frame_counts[segment] = len(chosen)
        painter.paint(segment, _planes(chosen, segment, frames, target))
        progress("reading SEG", segment + 1, len(header.segments))


def _planes(
    chosen: NDArray[np.intp], segment: int, frames: Frames, target: _Target
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    for frame in chosen:
        mask = frames[int(frame)]
        plane = target.plane(int(frame))
        if plane is None or not target.painted.on_ct_grid:
            target.note_outside(int(frame), mask * np.uint32(segment + 1))
        if plane is not None:
            yield plane, target.on_plane(int(frame), mask)


def _paint_label_map(
    header: _Header,
    frames: Frames,
    painter: LayerPainter,
    target: _Target,
    index_of: dict[int, int],
    progress: Progress,
) -> None:
    """Labels cannot overlap within a frame; should several frames lie on one plane, they are united."""
    values = np.zeros(65536, painter.dtype)
    declared = np.zeros(65536, bool)
    declared[[0, header.background]] = True
    for number, index in index_of.items():
        values[number] = index + 1
        declared[number] = True
    painted = target.painted
    total = len(painted.placement.slice_index)
    for frame in range(total):
        labels = frames[frame]
        present = np.unique(labels)
        painted.undeclared.update(present[~declared[present]].tolist())
        indices = values[present]
        painted.frame_counts[indices[indices != 0].astype(np.intp) - 1] += 1
        own = values[labels]
        target.note_outside(frame, own)
        plane = target.plane(frame)
        if plane is not None:
            placed = target.on_plane(frame, own)
            np.copyto(painter.layers[0][plane], placed, where=placed != 0)
        progress("reading SEG", frame + 1, total)


def _facts(header: _Header, painted: _Painted, ct: CtVolume, *, references_ct_series: bool) -> SegFacts:
    dataset = header.dataset
    came = {uid for _, uid in ct.record.instances}
    referenced = _referenced_instances(dataset) | frozenset().union(*header.sources)
    offsets, mismatched = _source_offsets(header, painted, ct)
    note = "" if painted.on_ct_grid else _grid_note(header.grid, ct)
    return SegFacts(
        type=header.kind,
        resampled=not painted.on_ct_grid,
        grid_note=note,
        frame_count=len(header.numbers),
        max_slice_offset_mm=float(offsets.max()) if len(offsets) else 0.0,
        frames_off_slice=int((offsets > 0.01).sum()),
        frames_outside_ct=painted.frames_outside,
        outside_location_mm=painted.outside_location_mm,
        mismatched_sources=mismatched,
        frame_of_reference_uid=text(dataset, "FrameOfReferenceUID"),
        references_ct_series=references_ct_series,
        has_referenced_series=bool(items(dataset, "ReferencedSeriesSequence")),
        referenced_instance_count=len(referenced),
        missing_references=tuple(sorted(referenced - came)),
        raw_segment_numbers=tuple(header.raw_numbers),
        undeclared_numbers=tuple(sorted(painted.undeclared)),
        study_differs=text(dataset, "StudyInstanceUID").strip(" \0") != ct.record.study_instance_uid,
    )


def _referenced_instances(dataset: Dataset) -> frozenset[str]:
    found = {
        text(reference, "ReferencedSOPInstanceUID")
        for series in referenced_series(dataset)
        for reference in items(series, "ReferencedInstanceSequence")
    }
    return frozenset(found - {""})


def _source_offsets(header: _Header, painted: _Painted, ct: CtVolume) -> tuple[NDArray[np.float64], int]:
    """Distance of each frame that claims to be a CT slice from that slice, and how many name another slice.

    A frame claims to be a CT slice if it is on the CT's pixel grid; the claim is held against the nearest slice, which
    the frame is put on. Naming another slice as its source does not move it.
    """
    if not painted.on_ct_grid:
        return np.zeros(0), 0
    slices: dict[str, list[int]] = {}
    for index, ref in enumerate(ct.record.slices):
        slices.setdefault(ref.sop_instance_uid, []).append(index)
    inside = np.flatnonzero(~painted.placement.outside)
    offsets = np.empty(len(inside))
    mismatched = 0
    for at, frame in enumerate(inside):
        nearest = int(painted.placement.slice_index[frame])
        named = [index for uid in header.sources[frame] for index in slices.get(uid, [])]
        mismatched += bool(named) and nearest not in named
        vector = header.grid.origins_mm[frame] - ct.geometry.slice_origins_mm[nearest]
        offsets[at] = np.linalg.norm(vector)
    return offsets, mismatched


def _grid_note(grid: FrameGrid, ct: CtVolume) -> str:
    rows, columns = grid.matrix
    spacing = (float(np.linalg.norm(grid.row_step_mm)), float(np.linalg.norm(grid.column_step_mm)))
    ct_rows, ct_columns = ct.geometry.shape[1:]
    return (
        f"SEG frames of {rows} x {columns} pixels at {spacing[0]:.4g} x {spacing[1]:.4g} mm, "
        f"CT slices of {ct_rows} x {ct_columns} at {ct.geometry.spacing_mm[1]:.4g} x {ct.geometry.spacing_mm[2]:.4g} mm"
    )


def _record(
    opened: OpenedObject, header: _Header, segments: tuple[Segment, ...], layers: list[NDArray[Any]]
) -> SegRecord:
    dataset = opened.dataset
    name, version = _model(dataset)
    return SegRecord(
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=text(dataset, "SOPClassUID"),
        series_instance_uid=normalised_uid(dataset.get("SeriesInstanceUID"), what="Series Instance UID"),
        study_instance_uid=normalised_uid(dataset.get("StudyInstanceUID"), what="Study Instance UID"),
        series_description=text(dataset, "SeriesDescription"),
        series_number=_series_number(dataset),
        content_date=text(dataset, "ContentDate"),
        content_time=text(dataset, "ContentTime"),
        model_name=name,
        model_version=version,
        manufacturer=text(dataset, "Manufacturer"),
        path=str(opened.path),
        file_digest=file_digest(opened.path),
        content_digest=_content_digest(segments, layers),
    )


def _series_number(dataset: Dataset) -> int | None:
    try:
        return int(dataset.get("SeriesNumber"))
    except (TypeError, ValueError):
        return None


def _model(dataset: Dataset) -> tuple[str, str]:
    """Name and version of the model: as the segments state it, else as the equipment does."""
    for item in items(dataset, "SegmentSequence"):
        algorithm = first_item(item, "SegmentationAlgorithmIdentificationSequence")
        if algorithm is not None and text(algorithm, "AlgorithmName"):
            return text(algorithm, "AlgorithmName"), text(algorithm, "AlgorithmVersion")
    for item in items(dataset, "SegmentSequence"):
        if name := text(item, "SegmentAlgorithmName"):
            return name, text(dataset, "SoftwareVersions")
    return text(dataset, "ManufacturerModelName"), text(dataset, "SoftwareVersions")


def _content_digest(segments: tuple[Segment, ...], layers: list[NDArray[Any]]) -> str:
    """SHA-256 of what is depicted: the segments with their codes, and their voxels; not who stored it how and when."""
    digest = hashlib.sha256()
    described = [[segment.number, segment.label, segment.codes.key, segment.layer] for segment in segments]
    digest.update(canonical_json([described, [list(layer.shape) for layer in layers]]).encode())
    for layer in layers:
        digest.update(np.ascontiguousarray(layer).data)
    return digest.hexdigest()
