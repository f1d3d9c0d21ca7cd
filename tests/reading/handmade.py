"""CT series and SEG objects written by hand, so that every attribute can be wrong on purpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, FileMetaDataset
from pydicom.pixels.utils import pack_bits
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, SegmentationStorage

from segqa_dicom.dicom.limits import Limits
from segqa_dicom.model import Case
from segqa_dicom.reading.case import read_case
from segqa_dicom.reading.grouping import group
from segqa_dicom.reading.scan import NotReviewed, scan

LABEL_MAP_STORAGE = "1.2.840.10008.5.1.4.1.1.66.7"
STUDY, SERIES, FRAME = "1.2.3", "1.2.3.4", "1.2.3.9"
Axes = tuple[Sequence[float], Sequence[float]]
AXIAL: Axes = ((1, 0, 0), (0, 1, 0))
"""Direction in which columns ascend, and rows."""
SAGITTAL: Axes = ((0, 1, 0), (0, 0, -1))
CORONAL: Axes = ((1, 0, 0), (0, 0, -1))
FEET_FIRST: Axes = ((-1, 0, 0), (0, 1, 0))
_C, _S = np.cos(0.4), np.sin(0.4)
OBLIQUE: Axes = ((_C, _S, 0), (-_S * 0.8, _C * 0.8, 0.6))


def pixels(shape: tuple[int, int, int], seed: int = 0) -> NDArray[np.int16]:
    """Stored values that differ everywhere."""
    return np.random.default_rng(seed).integers(0, 3000, shape).astype(np.int16)


def normal(axes: Axes) -> NDArray[np.float64]:
    return np.cross(np.array(axes[0], float), np.array(axes[1], float))


def base(sop_class: str, uid: str, modality: str, series: str = SERIES) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID, dataset.file_meta.MediaStorageSOPInstanceUID = sop_class, uid
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = sop_class, uid, modality
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = STUDY, series, FRAME
    dataset.PatientName, dataset.PatientID, dataset.StudyDate = "Secret^Name", "SECRET-ID", "20240102"
    return dataset


def ct_series(
    values: NDArray[Any],
    *,
    axes: Axes = AXIAL,
    spacing: tuple[float, float, float] = (2.0, 1.5, 1.0),
    origin: Sequence[float] = (10.0, -20.0, 30.0),
    positions: Sequence[float] | None = None,
    drift: float = 0.0,
    series: str = SERIES,
    change: Callable[[Dataset, int], None] = lambda dataset, index: None,
) -> list[Dataset]:
    """One data set per slice of stored `values` (slice, row, column); slices ascend along the normal.

    positions : distances of the slices from `origin` along the normal, instead of even ones
    drift : mm by which each slice is moved along the rows (gantry tilt)
    """
    slices = []
    places = np.arange(len(values)) * spacing[0] if positions is None else np.asarray(positions, float)
    for index, plane in enumerate(values):
        dataset = base(CTImageStorage, f"{series}.{index + 1}", "CT", series)
        where = np.asarray(origin) + places[index] * normal(axes) + index * drift * np.asarray(axes[1], float)
        dataset.ImagePositionPatient = [f"{value:.9g}" for value in where]
        dataset.ImageOrientationPatient = [f"{value:.12g}" for value in (*axes[0], *axes[1])]
        dataset.PixelSpacing, dataset.SliceThickness = [spacing[1], spacing[2]], spacing[0]
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
        dataset.InstanceNumber, dataset.SeriesNumber = index + 1, 1
        put_pixels(dataset, plane)
        change(dataset, index)
        slices.append(dataset)
    return slices


def put_pixels(dataset: Dataset, values: NDArray[Any]) -> None:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = values.shape[-2:]
    dataset.BitsAllocated = dataset.BitsStored = values.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.PixelData = np.ascontiguousarray(values).tobytes()
    dataset["PixelData"].VR = "OW"


def enhanced_ct(slices: Sequence[Dataset], values: NDArray[Any], uid: str = f"{SERIES}.77") -> Dataset:
    """The same slices as one multi-frame object; rescale per frame."""
    dataset = base(EnhancedCTImageStorage, uid, "CT")
    put_pixels(dataset, values)
    dataset.NumberOfFrames = len(slices)
    shared = Dataset()
    shared.PlaneOrientationSequence = one(ImageOrientationPatient=list(slices[0].ImageOrientationPatient))
    shared.PixelMeasuresSequence = one(
        PixelSpacing=list(slices[0].PixelSpacing), SliceThickness=slices[0].SliceThickness
    )
    dataset.SharedFunctionalGroupsSequence = DicomSequence([shared])
    frames = []
    for part in slices:
        frame = Dataset()
        frame.PlanePositionSequence = one(ImagePositionPatient=list(part.ImagePositionPatient))
        frame.PixelValueTransformationSequence = one(
            RescaleSlope=part.RescaleSlope, RescaleIntercept=part.RescaleIntercept, RescaleType="HU"
        )
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = DicomSequence(frames)
    return dataset


def one(**values: Any) -> DicomSequence:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return DicomSequence([item])


def code(value: str, meaning: str, scheme: str = "SCT") -> DicomSequence:
    return one(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def seg(
    planes: Sequence[tuple[int, Sequence[float], NDArray[Any]]],
    *,
    axes: Axes = AXIAL,
    pixel_spacing: tuple[float, float] = (1.5, 1.0),
    spacing_between: float | None = 2.0,
    numbers: Sequence[int] = (1,),
    type_: str = "BINARY",
    references: Sequence[Dataset] = (),
    uid: str = "1.2.3.5.1",
    change: Callable[[Dataset], None] = lambda dataset: None,
) -> Dataset:
    """A SEG from frames (segment number, position of the first pixel, pixels); for LABELMAP the number is not used."""
    dataset = base(LABEL_MAP_STORAGE if type_ == "LABELMAP" else SegmentationStorage, uid, "SEG", f"{uid}.0")
    dataset.SegmentationType, dataset.NumberOfFrames = type_, len(planes)
    dataset.SeriesDescription, dataset.ContentDate, dataset.ContentTime = "model", "20240203", "040506"
    values = np.stack([plane for _, _, plane in planes])
    if type_ == "BINARY":
        put_pixels(dataset, values.astype(np.uint8))
        dataset.BitsAllocated = dataset.BitsStored = 1
        dataset.HighBit = 0
        dataset.PixelData = pack_bits(values.astype(np.uint8).reshape(-1))
    else:
        put_pixels(dataset, values)
    if type_ == "FRACTIONAL":
        dataset.SegmentationFractionalType, dataset.MaximumFractionalValue = "PROBABILITY", 255
    dataset.SegmentSequence = DicomSequence([segment(number) for number in numbers])
    shared = Dataset()
    shared.PlaneOrientationSequence = one(ImageOrientationPatient=[f"{v:.12g}" for v in (*axes[0], *axes[1])])
    measures: dict[str, Any] = {"PixelSpacing": list(pixel_spacing)}
    if spacing_between is not None:
        measures |= {"SpacingBetweenSlices": spacing_between, "SliceThickness": spacing_between}
    shared.PixelMeasuresSequence = one(**measures)
    dataset.SharedFunctionalGroupsSequence = DicomSequence([shared])
    frames = []
    for number, position, _ in planes:
        frame = Dataset()
        frame.PlanePositionSequence = one(ImagePositionPatient=[f"{value:.9g}" for value in position])
        if type_ != "LABELMAP":
            frame.SegmentIdentificationSequence = one(ReferencedSegmentNumber=number)
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = DicomSequence(frames)
    if references:
        dataset.ReferencedSeriesSequence = one(
            SeriesInstanceUID=references[0].SeriesInstanceUID,
            ReferencedInstanceSequence=DicomSequence(
                [
                    one(ReferencedSOPClassUID=part.SOPClassUID, ReferencedSOPInstanceUID=part.SOPInstanceUID)[0]
                    for part in references
                ]
            ),
        )
    change(dataset)
    return dataset


def segment(number: int) -> Dataset:
    item = Dataset()
    item.SegmentNumber, item.SegmentLabel, item.SegmentAlgorithmType = number, f"structure {number}", "AUTOMATIC"
    item.SegmentAlgorithmName = "model"
    item.SegmentedPropertyCategoryCodeSequence = code("91723000", "Anatomical Structure")
    item.SegmentedPropertyTypeCodeSequence = code(str(10200004 + number), "Structure")
    return item


def write(folder: Path, *datasets: Dataset, prefix: str = "f") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, dataset in enumerate(datasets):
        dataset.save_as(folder / f"{prefix}{index:04d}", enforce_file_format=True)


def read(folder: Path, limits: Limits | None = None) -> tuple[Case, list[NotReviewed]]:
    """The only case in a folder, and everything that was left out."""
    limits = limits or Limits()
    headers, left_out = scan([folder], limits)
    cases, ungrouped = group(headers, limits)
    assert len(cases) == 1, [*left_out, *ungrouped]
    case, more = read_case(cases[0], limits)
    assert case is not None, more
    return case, [*left_out, *ungrouped, *more]


def mask_of(case: Case, number: int = 1, which: int = 0) -> NDArray[np.bool_]:
    """Where a segment is, on the CT grid."""
    found = case.segmentations[which]
    index = next(index for index, part in enumerate(found.segments) if part.number == number)
    return found.layers[found.segments[index].layer] == index + 1
