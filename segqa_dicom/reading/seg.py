"""SEG object to `Segmentation` on the grid of its CT."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from segqa_dicom.dicom.elements import Unfamiliar
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import (
    OpenedObject,
    first_item,
    items,
    referenced_series,
    text,
    translated,
    whole_number,
)
from segqa_dicom.dicom.uids import normalised_uid
from segqa_dicom.digests import digest
from segqa_dicom.errors import Inconsistent, LimitExceeded
from segqa_dicom.model import CtVolume, Geometry, SegFacts, Segment, Segmentation, SegmentationType, SegRecord
from segqa_dicom.progress import Progress, silent
from segqa_dicom.reading.codes import read_structure, unlisted
from segqa_dicom.reading.content import changes, content_digest, header_digest
from segqa_dicom.reading.frame_index import open_indexed
from segqa_dicom.reading.frame_table import FrameGroups, open_parsed
from segqa_dicom.reading.frames import open_frames
from segqa_dicom.reading.grid import FrameGrid, slices_at
from segqa_dicom.reading.painting import Drawing, Painted, paint

_Result = TypeVar("_Result")

MOST_SEGMENTS = 65_535
"""Segments of a label volume of 16 bits."""


def read_seg(
    path: Path,
    ct: CtVolume,
    limits: Limits,
    *,
    references_ct_series: bool = True,
    progress: Progress = silent,
) -> Segmentation:
    """The segmentation in a file, on the grid of `ct`.

    references_ct_series : False if the CT was matched by frame of reference
    Raises an `InputError` if the object is damaged, too large, or inconsistent.
    """
    header = _by_either_path(path, limits, partial(_Header, ct, limits))
    with translated("segmentation"):
        drawing = Drawing(
            kind=header.kind,
            background=header.background,
            numbers=[segment.number for segment in header.segments],
            table=header.frames,
            frames=open_frames(header.opened, header.kind, limits),
        )
        painted = paint(drawing, ct.geometry, limits, progress)
        runs = [changes(layer, limits) for layer in painted.layers]
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
        content = content_digest(segments, runs)
        record = _record(header.opened, header, content, _file_digest(header.opened, content, segments, facts))
    return Segmentation(record, segments, tuple(painted.layers), facts)


def frames_within(path: Path, ct: Geometry, limits: Limits) -> bool:
    """Whether the centre of each frame of a SEG is inside a CT.

    Raises an `InputError` if the object cannot be read or its frames have no position.
    """
    grid = _by_either_path(path, limits, _grid)
    rows, columns = grid.matrix
    middle = grid.origins_mm + (rows - 1) / 2 * grid.row_step_mm + (columns - 1) / 2 * grid.column_step_mm
    for point in np.unique(middle, axis=0):
        index, beyond = slices_at(ct, np.array([point @ ct.normal]))
        if beyond[0]:
            return False
        row, column = ct.in_slice(int(index[0]), (point[0], point[1], point[2]))
        if not (-0.5 <= row <= ct.shape[1] - 0.5 and -0.5 <= column <= ct.shape[2] - 0.5):
            return False
    return True


def _by_either_path(path: Path, limits: Limits, use: Callable[[OpenedObject, FrameGroups], _Result]) -> _Result:
    """The result of `use` for a SEG object opened by the fast path, else by the reference path."""
    with translated("segmentation"):
        try:
            return use(*open_indexed(path, limits))
        except Unfamiliar:
            return use(*open_parsed(path, limits))


def _grid(opened: OpenedObject, groups: FrameGroups) -> FrameGrid:  # noqa: ARG001 - see `_by_either_path`
    if groups.count == 0:
        raise Inconsistent("it has no frames")
    return groups.table(SegmentationType.LABELMAP, None).grid


class _Header:
    """A SEG object without its pixels."""

    def __init__(self, ct: CtVolume, limits: Limits, opened: OpenedObject, groups: FrameGroups) -> None:
        self.opened = opened
        self.dataset = dataset = opened.dataset
        self.sop_instance_uid = normalised_uid(dataset.get("SOPInstanceUID"), what="SOP Instance UID")
        if opened.pixel_offset < 0:
            raise Inconsistent("it has no pixel data")
        self.kind = _kind(dataset)
        self.background = _background(dataset) if self.kind is SegmentationType.LABELMAP else 0
        self.raw_numbers, self.segments = _segments(dataset, self.kind, self.background, limits)
        frame_count = whole_number(dataset, "NumberOfFrames", low=0, high=2**31)
        if frame_count > limits.max_frames:
            raise LimitExceeded(f"{frame_count} frames; the limit is {limits.max_frames}")
        if groups.count != frame_count:
            raise Inconsistent(f"it says {frame_count} frames but describes {groups.count}")
        if frame_count == 0:
            raise Inconsistent("it has no frames")
        self.frames = groups.table(self.kind, ct)


def _kind(dataset: Dataset) -> SegmentationType:
    stated = text(dataset, "SegmentationType").upper()
    if stated not in SegmentationType.__members__:
        raise Inconsistent(f"Segmentation Type is {stated or 'missing'}, not BINARY, FRACTIONAL or LABELMAP")
    return SegmentationType(stated)


def _background(dataset: Dataset) -> int:
    """The background label (PS3.3, section C.8.20.2): Pixel Padding Value, else 0."""
    if "PixelPaddingValue" not in dataset:
        return 0
    return whole_number(dataset, "PixelPaddingValue", low=0, high=65535)


def _segments(
    dataset: Dataset, kind: SegmentationType, background: int, limits: Limits
) -> tuple[list[int], list[Segment]]:
    """Segment Numbers in the order of the file, and segments in ascending order, the first of duplicates."""
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
            continue  # label maps may describe the background
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


def _facts(header: _Header, painted: Painted, ct: CtVolume, *, references_ct_series: bool) -> SegFacts:
    dataset = header.dataset
    came = {uid for _, uid in ct.record.instances}
    referenced = _referenced_instances(dataset).union(*set(header.frames.sources))
    offsets, mismatched = _source_offsets(header, painted, ct)
    note = "" if painted.on_ct_grid else _grid_note(header.frames.grid, ct)
    return SegFacts(
        type=header.kind,
        resampled=not painted.on_ct_grid,
        grid_note=note,
        frame_count=len(header.frames.sources),
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


def _source_offsets(header: _Header, painted: Painted, ct: CtVolume) -> tuple[NDArray[np.float64], int]:
    """Distance of each frame from its CT slice, and the number of frames whose source is another slice.

    Only frames on the CT's pixel grid are compared, with the nearest slice, on which they are painted. A source that is
    another slice does not move a frame.
    """
    if not painted.on_ct_grid:
        return np.zeros(0), 0
    slices: dict[str, set[int]] = {}
    for index, ref in enumerate(ct.record.slices):
        slices.setdefault(ref.sop_instance_uid, set()).add(index)
    frames = header.frames
    named = {sources: set().union(*(slices.get(uid, ()) for uid in sources)) for sources in set(frames.sources)}
    inside = np.flatnonzero(~painted.placement.outside)
    nearest = painted.placement.slice_index[inside]
    offsets = np.linalg.norm(frames.grid.origins_mm[inside] - ct.geometry.slice_origins_mm[nearest], axis=1)
    claims = (named[frames.sources[frame]] for frame in inside.tolist())
    mismatched = sum(bool(claim) and at not in claim for claim, at in zip(claims, nearest.tolist(), strict=True))
    return offsets, mismatched


def _grid_note(grid: FrameGrid, ct: CtVolume) -> str:
    rows, columns = grid.matrix
    spacing = (float(np.linalg.norm(grid.row_step_mm)), float(np.linalg.norm(grid.column_step_mm)))
    ct_rows, ct_columns = ct.geometry.shape[1:]
    return (
        f"SEG frames of {rows} x {columns} pixels at {spacing[0]:.4g} x {spacing[1]:.4g} mm, "
        f"CT slices of {ct_rows} x {ct_columns} at {ct.geometry.spacing_mm[1]:.4g} x {ct.geometry.spacing_mm[2]:.4g} mm"
    )


def _record(opened: OpenedObject, header: _Header, content: str, file: str) -> SegRecord:
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
        file_digest=file,
        content_digest=content,
    )


def _file_digest(opened: OpenedObject, content: str, segments: Sequence[Segment], facts: SegFacts) -> str:
    """SHA-256 of everything that determines documents: the file without pixel data, and the result of reading these."""
    counts = [[segment.frame_count, segment.voxels_outside_ct] for segment in segments]
    outside = [facts.frames_outside_ct, [repr(value) for value in facts.outside_location_mm or ()]]
    return digest([header_digest(opened), content, counts, outside, facts.undeclared_numbers])


def _series_number(dataset: Dataset) -> int | None:
    try:
        return int(dataset.get("SeriesNumber"))
    except (TypeError, ValueError):
        return None


def _model(dataset: Dataset) -> tuple[str, str]:
    """Name and version of the model, from the Segment Sequence, else from the General Equipment module."""
    for item in items(dataset, "SegmentSequence"):
        algorithm = first_item(item, "SegmentationAlgorithmIdentificationSequence")
        if algorithm is not None and text(algorithm, "AlgorithmName"):
            return text(algorithm, "AlgorithmName"), text(algorithm, "AlgorithmVersion")
    for item in items(dataset, "SegmentSequence"):
        if name := text(item, "SegmentAlgorithmName"):
            return name, text(dataset, "SoftwareVersions")
    return text(dataset, "ManufacturerModelName"), text(dataset, "SoftwareVersions")
