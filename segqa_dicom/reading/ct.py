"""CT series to `CtVolume`: one file per slice or Enhanced CT, any order, orientation and supported encoding."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from segqa_dicom.dicom.headers import open_header
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import (
    OpenedObject,
    numbers,
    text,
    translated,
    whole_number,
    whole_number_or,
)
from segqa_dicom.dicom.transfer_syntaxes import frame_decoder, lossy_method
from segqa_dicom.dicom.uids import normalised_uid
from segqa_dicom.errors import Inconsistent, InputError, LimitExceeded, UnreadableObject
from segqa_dicom.model import CtFacts, CtRecord, CtVolume, Geometry, PatientStudy
from segqa_dicom.progress import Progress, silent
from segqa_dicom.reading.native import native_pixels, rescaled_in_place
from segqa_dicom.reading.slices import Rescale, Slice, direction_cosines, slices_of
from segqa_dicom.reading.stacks import one_acquisition, one_per_position, one_volume

__all__ = ["direction_cosines", "read_ct", "read_ct_geometry"]

TILT_TOLERANCE_DEGREES = 0.1
"""Smaller tilts are noise of written positions."""
PATIENT_STUDY_KEYWORDS = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientBirthTime"),
    *("OtherPatientIDs", "EthnicGroup", "PatientComments", "PatientIdentityRemoved", "DeidentificationMethod"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber", "StudyDescription"),
    *("PatientAge", "PatientSize", "PatientWeight"),
)
"""Patient, General Study and Patient Study attributes that are copied to documents."""


def read_ct(
    paths: Sequence[Path],
    limits: Limits,
    *,
    preferred: Collection[str] = (),
    progress: Progress = silent,
) -> CtVolume:
    """The volume of a CT series.

    paths : its files, in any order
    preferred : SOP Instance UIDs referenced by segmentations; preferred among slices at one position

    Raises an `InputError` if there is no volume; single images that do not fit are reported in `CtFacts`.
    """
    with translated("CT series"):
        found, stack, duplicates = _stack(paths, limits, preferred)
        _check_size(stack, limits)
        hu, failed = _decode(stack, found, limits, progress)
        found.unreadable.extend(sorted(set(failed.values())))
        stack = [part for index, part in enumerate(stack) if index not in failed]
        if not stack:
            raise UnreadableObject(f"no image of the CT series can be decoded: {next(iter(failed.values()))[1]}")
        geometry = _geometry(stack)
        return CtVolume(geometry, hu, _record(found, stack), _facts(found, stack, geometry, duplicates))


def read_ct_geometry(paths: Sequence[Path], limits: Limits) -> Geometry:
    """The geometry of a CT series, without reading pixels; raises an `InputError` as `read_ct` does."""
    with translated("CT series"):
        return _geometry(_stack(paths, limits, ())[1])


def _stack(paths: Sequence[Path], limits: Limits, preferred: Collection[str]) -> tuple[_Files, list[Slice], int]:
    """The files, the slices of the volume in ascending position, and the number of duplicates at their positions."""
    found = _Files(limits)
    for path in sorted(paths):
        found.add(path)
    if not found.slices:
        reasons = sorted({reason for _, reason in found.unreadable} | set(found.excluded))
        raise UnreadableObject(f"no usable CT image in the series: {'; '.join(reasons) or 'no images'}")
    stack = one_volume(found.slices, preferred, found.excluded)
    stack, duplicates = one_per_position(stack, preferred)
    stack = one_acquisition(stack, preferred, found.excluded)
    return found, stack, duplicates


class _Files:
    """The files of a series, opened one by one; errors are collected."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.objects: list[OpenedObject] = []
        self.slices: list[Slice] = []
        self.excluded: Counter[str] = Counter()
        self.unreadable: list[tuple[str, str]] = []
        self.instances: dict[str, str] = {}
        self.conflicts: set[str] = set()
        self.lossy: set[str] = set()
        self._first: dict[str, Path] = {}

    def add(self, path: Path) -> None:
        uid = path.name
        try:
            opened = open_header(path, self.limits)
            with translated("CT image"):
                uid = normalised_uid(opened.dataset.get("SOPInstanceUID"), what="SOP Instance UID")
                if uid in self._first:
                    if not _same_content(path, self._first[uid]):
                        self.conflicts.add(uid)
                    return
                self._take(opened, uid)
                self._first[uid] = path
        except InputError as error:
            self.unreadable.append((uid, str(error)))

    def _take(self, opened: OpenedObject, uid: str) -> None:
        dataset = opened.dataset
        self.instances[uid] = text(dataset, "SOPClassUID")
        if opened.pixel_offset < 0:
            raise Inconsistent("it has no pixel data")
        if "LOCALIZER" in text(dataset, "ImageType").upper():
            self.excluded["localizer"] += 1
            return
        new = slices_of(opened, uid, len(self.objects), self.limits)
        self.objects.append(opened)
        self.slices.extend(new)
        if (method := lossy_method(dataset, opened.transfer_syntax)) != "":
            self.lossy.add(method)


def _same_content(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as a, other.open("rb") as b:
        return hashlib.file_digest(a, "sha256").digest() == hashlib.file_digest(b, "sha256").digest()


def _check_size(stack: list[Slice], limits: Limits) -> None:
    rows, columns = stack[0].matrix
    voxels = len(stack) * rows * columns
    if voxels > limits.max_voxels:
        raise LimitExceeded(f"CT series of {len(stack)} x {rows} x {columns} voxels; the limit is {limits.max_voxels}")


def _decode(
    stack: list[Slice], found: _Files, limits: Limits, progress: Progress
) -> tuple[NDArray[Any], dict[int, tuple[str, str]]]:
    """HU of the stack, (slice, row, column), without undecodable slices; and these with UID and reason."""
    whole = all(part.rescale.slope.is_integer() and part.rescale.intercept.is_integer() for part in stack)
    hu = np.empty((len(stack), *stack[0].matrix), np.int16 if whole else np.float32)
    failed: dict[int, tuple[str, str]] = {}
    by_file: dict[int, list[int]] = {}
    for index, part in enumerate(stack):
        by_file.setdefault(part.file, []).append(index)
    done = 0
    for file, indices in by_file.items():
        with_it = _with_native(hu, indices[0], found.objects[file], stack[indices[0]])
        if with_it is not None:  # then it is the only slice of its file
            hu = with_it
            progress("reading CT", done := done + 1, len(stack))
            continue
        left = list(indices)
        try:
            with translated("pixel data"):
                for pixels in _decoded_frames(found.objects[file], [stack[index] for index in indices], limits):
                    hu = _store(hu, left[0], pixels, stack[left[0]].rescale)
                    left.pop(0)
                    progress("reading CT", done := done + 1, len(stack))
        except InputError as error:
            failed |= {index: (stack[index].ref.sop_instance_uid, str(error)) for index in left}
            done += len(left)
        found.objects[file].inflated = None
    return _without(hu, failed), failed


def _without(hu: NDArray[Any], failed: Collection[int]) -> NDArray[Any]:
    """The decoded slices of `hu`, moved together in place to save a second volume."""
    kept = [index for index in range(len(hu)) if index not in failed]
    for to, index in enumerate(kept):
        if to != index:
            hu[to] = hu[index]
    return hu[: len(kept)]


def _with_native(hu: NDArray[Any], index: int, opened: OpenedObject, part: Slice) -> NDArray[Any] | None:
    """`hu` with one more slice decoded by the fast path; None if that is not possible."""
    whole = hu.dtype == np.int16
    pixels = native_pixels(opened, part, hu[index] if whole else np.empty(part.matrix, np.int16))
    if pixels is None:
        return None
    if whole and rescaled_in_place(pixels, part.rescale):
        return hu
    return _store(hu, index, pixels.values, part.rescale)


def _store(hu: NDArray[Any], index: int, pixels: NDArray[Any], rescale: Rescale) -> NDArray[Any]:
    if hu.dtype == np.int16:
        values = pixels.astype(np.int64) * int(rescale.slope) + int(rescale.intercept)
        if values.min() >= -32768 and values.max() <= 32767:
            hu[index] = values
            return hu
        hu = hu.astype(np.float32)  # extended scale beyond the range of int16: rare, worth the memory
    hu[index] = pixels.astype(np.float64) * rescale.slope + rescale.intercept
    return hu


def _decoded_frames(opened: OpenedObject, parts: list[Slice], limits: Limits) -> Iterator[NDArray[Any]]:
    """The decoded frames of one object in order; raises at the first damaged one."""
    _check_encoding(opened, parts[0].matrix, limits)
    dataset = opened.with_pixels()
    decoder, options = frame_decoder(opened)
    for array, _ in decoder.iter_array(dataset, indices=[part.frame for part in parts], **options):
        yield _checked(array, parts[0].matrix, dataset)


def _check_encoding(opened: OpenedObject, matrix: tuple[int, int], limits: Limits) -> None:
    dataset = opened.dataset
    if whole_number_or(dataset, "SamplesPerPixel", 1) != 1:
        raise Inconsistent("it has more than one sample per pixel")
    frames = whole_number_or(dataset, "NumberOfFrames", 1)
    bits = whole_number(dataset, "BitsAllocated", low=8, high=32)
    decoded = matrix[0] * matrix[1] * frames * bits // 8
    encoded = opened.path.stat().st_size if opened.inflated is None else len(opened.inflated)
    allowed = 1 if opened.is_native_little_endian else limits.max_compression_ratio
    if decoded > encoded * allowed:
        raise Inconsistent("it is shorter than its Rows, Columns and Number of Frames say")


def _checked(array: NDArray[Any], matrix: tuple[int, int], dataset: Dataset) -> NDArray[Any]:
    if array.shape != matrix:
        raise Inconsistent(f"it decodes to {array.shape}, not to {matrix} pixels")
    overlay_bits = any(
        element.tag.group & 0xFF00 == 0x6000 and element.tag.element == 0x0102 and element.value
        for element in dataset.group_dataset(0x6000)
    )
    stored, allocated = int(dataset.BitsStored), int(dataset.BitsAllocated)
    if overlay_bits and stored < allocated and array.dtype.itemsize * 8 == allocated:
        shift = allocated - stored  # retired overlays live in the unused high bits and are not part of the value
        return (array << shift) >> shift
    return array


def _geometry(stack: list[Slice]) -> Geometry:
    first = stack[0]
    rows, columns = first.matrix
    origins = np.stack([part.origin for part in stack])
    normal = np.cross(first.column_cosine, first.row_cosine)
    return Geometry(
        shape=(len(stack), rows, columns),
        slice_origins_mm=origins,
        row_step_mm=first.row_cosine * first.spacing[0],
        column_step_mm=first.column_cosine * first.spacing[1],
        slice_spacing_mm=_slice_spacing(origins @ normal, first.thickness),
    )


def _slice_spacing(positions: NDArray[np.float64], thickness: float) -> float:
    """Nominal slice spacing: the most frequent one, averaged over the stack; for a single slice its thickness."""
    if len(positions) < 2:
        return thickness or 1.0
    steps = np.diff(positions)
    common = Counter(np.round(steps, 2)).most_common(1)[0][0] or float(np.median(steps))
    whole = np.round(steps / common)
    even = np.abs(steps - whole * common) <= max(0.05 * common, 0.01)
    if even.all() and whole.sum() > 0:
        return float(steps.sum() / whole.sum())
    return float(common)


def _record(found: _Files, stack: list[Slice]) -> CtRecord:
    dataset = found.objects[stack[0].file].dataset
    with translated("CT image"):
        attributes = tuple(
            (keyword, text(dataset, keyword)) for keyword in PATIENT_STUDY_KEYWORDS if keyword in dataset
        )
        return CtRecord(
            series_instance_uid=normalised_uid(dataset.SeriesInstanceUID, what="Series Instance UID"),
            study_instance_uid=normalised_uid(dataset.StudyInstanceUID, what="Study Instance UID"),
            frame_of_reference_uid=text(dataset, "FrameOfReferenceUID"),
            patient_study=PatientStudy(attributes),
            slices=tuple(part.ref for part in stack),
            instances=tuple(sorted((sop_class, uid) for uid, sop_class in found.instances.items())),
            series_description=text(dataset, "SeriesDescription"),
            series_number=whole_number_or(dataset, "SeriesNumber", 0) or None,
            body_part_examined=text(dataset, "BodyPartExamined"),
        )


def _facts(found: _Files, stack: list[Slice], geometry: Geometry, duplicates: int) -> CtFacts:
    notes = sorted({part.rescale.note for part in stack if part.rescale.note})
    steps = np.diff(geometry.slice_positions_mm)
    gaps = np.flatnonzero(np.round(steps / geometry.slice_spacing_mm) > 1) if geometry.is_uniform else np.array([], int)
    centre = ((geometry.shape[1] - 1) / 2, (geometry.shape[2] - 1) / 2)
    return CtFacts(
        missing_slices=int(sum(round(steps[gap] / geometry.slice_spacing_mm) - 1 for gap in gaps)),
        gap_locations_mm=tuple(geometry.point_at(gap + 0.5, *centre) for gap in gaps),
        duplicate_positions=duplicates,
        uneven_spacing_mm=None if geometry.is_uniform else (float(steps.min()), float(steps.max())),
        tilt_degrees=_tilt(geometry),
        excluded=tuple(sorted(found.excluded.items())),
        hu_defined=not notes,
        hu_note="; ".join(notes),
        lossy=", ".join(sorted(found.lossy)),
        padding_hu=_padding(found, stack),
        unreadable=tuple(sorted(found.unreadable)),
        conflicting_instances=tuple(sorted(found.conflicts)),
        single_slice=len(stack) == 1,
    )


def _tilt(geometry: Geometry) -> float:
    """Gantry tilt: angle in degrees between the direction of the stack and the slice normal; 0 below the noise."""
    advance = geometry.slice_origins_mm[-1] - geometry.slice_origins_mm[0]
    length = float(np.linalg.norm(advance))
    if length == 0:
        return 0.0
    sideways = advance - (advance @ geometry.normal) * geometry.normal
    degrees = float(np.degrees(np.arctan2(np.linalg.norm(sideways), abs(advance @ geometry.normal))))
    return degrees if degrees > TILT_TOLERANCE_DEGREES else 0.0


def _padding(found: _Files, stack: list[Slice]) -> tuple[float, float] | None:
    """HU range of pixel padding (PS3.3, section C.7.5.1.1.2), from the first image that declares it."""
    for part in stack:
        dataset = found.objects[part.file].dataset
        if "PixelPaddingValue" not in dataset:
            continue
        try:
            low = _stored(dataset, "PixelPaddingValue")
            limit = _stored(dataset, "PixelPaddingRangeLimit") if "PixelPaddingRangeLimit" in dataset else low
        except Inconsistent:
            return None
        ends = sorted(value * part.rescale.slope + part.rescale.intercept for value in (low, limit))
        return ends[0], ends[1]
    return None


def _stored(dataset: Dataset, keyword: str) -> float:
    """The pixel value of an attribute; signed values are often written with VR US."""
    value = numbers(dataset, keyword, 1)[0]
    bits = whole_number_or(dataset, "BitsAllocated", 16)
    signed = whole_number_or(dataset, "PixelRepresentation", 0) == 1
    return value - 2**bits if signed and value >= 2 ** (bits - 1) else value
