"""CT and SEG files made with pydicom alone, every attribute of geometry and encoding free to choose."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from segqa_dicom.dicom.limits import Limits

CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT_CLASS = "1.2.840.10008.5.1.4.1.1.2.1"
LEGACY_CT_CLASS = "1.2.840.10008.5.1.4.1.1.2.2"
SEG_CLASS = "1.2.840.10008.5.1.4.1.1.66.4"
LABELMAP_CLASS = "1.2.840.10008.5.1.4.1.1.66.7"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
LIMITS = Limits()
STUDY, SERIES, FRAME_OF_REFERENCE = "1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3"


@dataclass(frozen=True)
class Grid:
    """A stack of planes: `origins` (n, 3), orientation (6), pixel spacing (row, column), matrix (rows, columns)."""

    origins: np.ndarray
    orientation: tuple[float, ...]
    spacing: tuple[float, float]
    matrix: tuple[int, int]
    step: float

    @property
    def column_step(self) -> np.ndarray:
        return np.array(self.orientation[:3]) * self.spacing[1]

    @property
    def row_step(self) -> np.ndarray:
        return np.array(self.orientation[3:]) * self.spacing[0]

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.orientation[:3], self.orientation[3:])

    def points(self, plane: int) -> np.ndarray:
        """(rows, columns, 3) world coordinates of the pixel centres of one plane."""
        rows, columns = np.mgrid[: self.matrix[0], : self.matrix[1]]
        return self.origins[plane] + rows[..., None] * self.row_step + columns[..., None] * self.column_step


def grid(
    count: int,
    matrix: tuple[int, int] = (8, 10),
    spacing: tuple[float, float] = (1.0, 1.0),
    step: float = 3.0,
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    orientation: Sequence[float] = AXIAL,
    drift: Sequence[float] = (0.0, 0.0, 0.0),
) -> Grid:
    orientation = tuple(float(v) for v in orientation)
    normal = np.cross(orientation[:3], orientation[3:])
    along = np.arange(count)[:, None] * (step * normal + np.array(drift))
    return Grid(np.array(origin) + along, orientation, spacing, matrix, abs(step))


def rotated(degrees: Sequence[float]) -> tuple[float, ...]:
    """Direction cosines turned about x, y and z."""
    a, b, c = np.radians(degrees)
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    turned = z @ y @ x
    return (*turned[:, 0], *turned[:, 1])


def _ds(values: Iterable[float]) -> list[str]:
    return [f"{float(v):.10f}"[:16] for v in values]


def blank(sop_class: str, uid: str, **more: Any) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, uid
    dataset.PatientName, dataset.PatientID = "Secret^Person", "P1"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = STUDY, SERIES
    dataset.FrameOfReferenceUID = FRAME_OF_REFERENCE
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.Modality = 1, 1, "CT"
    change(dataset, more)
    return dataset


def change(dataset: Dataset, values: dict[str, Any]) -> None:
    """Set attributes; None deletes one."""
    for keyword, value in values.items():
        if value is not None:
            setattr(dataset, keyword, value)
        elif keyword in dataset:
            delattr(dataset, keyword)


def set_pixels(dataset: Dataset, pixels: np.ndarray, bits_stored: int | None = None) -> None:
    bits = pixels.dtype.itemsize * 8
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored = bits, bits_stored or bits
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    data = pixels.tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OW"


def hu_pattern(shape: tuple[int, ...], low: int = -1000, high: int = 1500) -> np.ndarray:
    return np.random.default_rng(7).integers(low, high, shape).astype(np.int16)


def ct_images(where: Grid, hu: np.ndarray | None = None, **more: Any) -> list[FileDataset]:
    """One data set per plane with stored values HU + 1024, in the order of `where`."""
    values = hu_pattern((len(where.origins), *where.matrix)) if hu is None else hu
    images = []
    for index, origin in enumerate(where.origins):
        one = blank(CT_CLASS, f"{more.get('SeriesInstanceUID', SERIES)}.{index + 1}")
        one.ImageType, one.InstanceNumber, one.AcquisitionNumber = ["ORIGINAL", "PRIMARY", "AXIAL"], index + 1, 1
        one.ImagePositionPatient, one.ImageOrientationPatient = _ds(origin), _ds(where.orientation)
        one.PixelSpacing, one.SliceThickness = _ds(where.spacing), f"{where.step:.6g}"
        one.RescaleSlope, one.RescaleIntercept = "1", "-1024"
        set_pixels(one, (values[index].astype(np.int32) + 1024).astype(np.uint16))
        change(one, more)
        images.append(one)
    return images


def _group(**values: Any) -> Items:
    inner = Dataset()
    change(inner, values)
    return Items([inner])


def enhanced_ct(where: Grid, hu: np.ndarray, uid: str = f"{SERIES}.900", **more: Any) -> FileDataset:
    dataset = blank(ENHANCED_CT_CLASS, uid)
    set_pixels(dataset, (hu.astype(np.int32) + 1024).astype(np.uint16))
    dataset.NumberOfFrames = len(where.origins)
    shared = Dataset()
    shared.PlaneOrientationSequence = _group(ImageOrientationPatient=_ds(where.orientation))
    shared.PixelMeasuresSequence = _group(PixelSpacing=_ds(where.spacing), SliceThickness=f"{where.step:.6g}")
    shared.PixelValueTransformationSequence = _group(RescaleSlope="1", RescaleIntercept="-1024", RescaleType="HU")
    dataset.SharedFunctionalGroupsSequence = Items([shared])
    frames = []
    for origin in where.origins:
        frame = Dataset()
        frame.PlanePositionSequence = _group(ImagePositionPatient=_ds(origin))
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = Items(frames)
    change(dataset, more)
    return dataset


def code(value: str = "10200004", meaning: str = "Liver", scheme: str = "SCT") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def segment_item(number: int) -> Dataset:
    item = Dataset()
    item.SegmentNumber, item.SegmentLabel, item.SegmentAlgorithmType = number, f"part {number}", "AUTOMATIC"
    item.SegmentAlgorithmName = "tool"
    item.SegmentedPropertyCategoryCodeSequence = Items([code("91723000", "Anatomical Structure")])
    item.SegmentedPropertyTypeCodeSequence = Items([code()])
    return item


@dataclass(frozen=True)
class Frame:
    """One frame: the plane of the grid it lies on, its segment (None for LABELMAP), its pixels."""

    plane: int
    segment: int | None
    pixels: np.ndarray


def seg(
    where: Grid,
    frames: Sequence[Frame],
    numbers: Sequence[int] | None = None,
    kind: str = "BINARY",
    ct: Sequence[Dataset] = (),
    uid: str = "1.2.3.9.1",
    step: float | None = -1.0,
    thickness: float | None = -1.0,
    shared_identification: bool = False,
    edit: Callable[[Dataset], None] | None = None,
    **more: Any,
) -> FileDataset:
    """A SEG object; `step` and `thickness` are what it states about its planes (-1: the truth, None: nothing)."""
    dataset = blank(LABELMAP_CLASS if kind == "LABELMAP" else SEG_CLASS, uid)
    dataset.Modality, dataset.SeriesInstanceUID, dataset.SegmentationType = "SEG", "1.2.3.9.2", kind
    stack = np.stack([frame.pixels for frame in frames])
    if kind == "BINARY":
        set_pixels(dataset, stack.astype(np.uint8))
        bits = np.packbits(stack.astype(bool).ravel(), bitorder="little").tobytes()
        dataset.PixelData = bits + b"\0" * (len(bits) % 2)
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 1, 1, 0
    else:
        set_pixels(dataset, stack)
    dataset["PixelData"].VR = "OB" if stack.dtype == np.uint8 or kind == "BINARY" else "OW"
    if kind == "FRACTIONAL":
        dataset.SegmentationFractionalType, dataset.MaximumFractionalValue = "PROBABILITY", 255
    dataset.NumberOfFrames = len(frames)
    used = sorted({frame.segment for frame in frames if frame.segment is not None})
    dataset.SegmentSequence = Items([segment_item(number) for number in (used if numbers is None else numbers)])
    shared = Dataset()
    shared.PlaneOrientationSequence = _group(ImageOrientationPatient=_ds(where.orientation))
    measures: dict[str, Any] = {"PixelSpacing": _ds(where.spacing)}
    for keyword, value in (("SpacingBetweenSlices", step), ("SliceThickness", thickness)):
        if value is not None:
            measures[keyword] = f"{where.step if value < 0 else value:.6g}"
    shared.PixelMeasuresSequence = _group(**measures)
    dataset.SharedFunctionalGroupsSequence = Items([shared])
    if shared_identification:
        shared.SegmentIdentificationSequence = _group(ReferencedSegmentNumber=frames[0].segment)
    per_frame = []
    for frame in frames:
        item = Dataset()
        item.PlanePositionSequence = _group(ImagePositionPatient=_ds(where.origins[frame.plane]))
        if frame.segment is not None and not shared_identification:
            item.SegmentIdentificationSequence = _group(ReferencedSegmentNumber=frame.segment)
        per_frame.append(item)
    dataset.PerFrameFunctionalGroupsSequence = Items(per_frame)
    if ct:
        dataset.ReferencedSeriesSequence = _group(
            SeriesInstanceUID=ct[0].SeriesInstanceUID, ReferencedInstanceSequence=references(ct)
        )
    change(dataset, more)
    if edit is not None:
        edit(dataset)
    return dataset


def references(images: Sequence[Dataset]) -> Items:
    found = []
    for image in images:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
        found.append(item)
    return Items(found)


def save(dataset: Dataset, path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True, **options)
    return path


def save_all(images: Sequence[Dataset], folder: Path) -> list[Path]:
    return [save(image, folder / f"i{index:04d}.dcm") for index, image in enumerate(images)]


def run(program: str, *arguments: object) -> None:
    """A DCMTK program on files; its own complaints are the failure message."""
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def new_uid() -> str:
    return str(generate_uid())


def decoded_hu(path: Path) -> np.ndarray:
    """HU by pydicom's own way from file to array, with the rescale of the top level."""
    dataset = dcmread(path)
    return dataset.pixel_array.astype(np.float64) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)


def nearest_reference(ct: Grid, where: Grid, volume: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(labels on the CT grid, whether a CT voxel is so near a tie that either neighbour is right).

    volume : (planes, rows, columns), the SEG on its own grid. Every CT voxel centre, one by one in world coordinates,
    takes the value of the SEG voxel whose box it lies in.
    """
    result = np.zeros((len(ct.origins), *ct.matrix), volume.dtype)
    tie = np.zeros(result.shape, bool)
    for k in range(len(ct.origins)):
        points = ct.points(k)
        for i in range(ct.matrix[0]):
            for j in range(ct.matrix[1]):
                point = points[i, j]
                along = (point - where.origins) @ where.normal
                plane = int(np.argmin(np.abs(along)))
                offset = point - where.origins[plane]
                row = offset @ where.row_step / (where.row_step @ where.row_step)
                column = offset @ where.column_step / (where.column_step @ where.column_step)
                depth = abs(along[plane]) / where.step
                parts = (depth - 0.5, abs(row - round(row)) - 0.5, abs(column - round(column)) - 0.5)
                tie[k, i, j] = any(abs(part) < 1e-4 for part in parts)
                inside = depth <= 0.5 and 0 <= round(row) < where.matrix[0] and 0 <= round(column) < where.matrix[1]
                if inside:
                    result[k, i, j] = volume[plane, round(row), round(column)]
    return result, tie


def labels_of(segmentation: Any, number: int) -> np.ndarray:
    """The voxels of a segment, by its number."""
    index, segment = next((n, s) for n, s in enumerate(segmentation.segments) if s.number == number)
    return segmentation.layers[segment.layer] == index + 1


def frames_of(volume: np.ndarray, kind: str = "BINARY", *, sparse: bool = True) -> list[Frame]:
    """Frames of a label volume; BINARY and FRACTIONAL one per segment and plane."""
    if kind == "LABELMAP":
        return [Frame(k, None, plane) for k, plane in enumerate(volume) if plane.any() or not sparse]
    found = []
    for number in np.unique(volume[volume > 0]):
        for k, plane in enumerate(volume):
            mask = plane == number
            if mask.any() or not sparse:
                found.append(Frame(k, int(number), mask if kind == "BINARY" else (mask * 200).astype(np.uint8)))
    return found


def blobs(shape: tuple[int, int, int], labels: int = 3, seed: int = 5) -> np.ndarray:
    """A label volume with contiguous and with scattered voxels, every plane used."""
    random = np.random.default_rng(seed)
    volume = random.integers(0, labels + 1, shape).astype(np.uint8)
    volume[:, shape[1] // 3 : 2 * shape[1] // 3, :] = 1
    return volume
