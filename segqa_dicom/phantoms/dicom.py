"""Phantoms as DICOM objects; written twice they are the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as PydicomCode
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from segqa_dicom.dicom.uids import stable_uid
from segqa_dicom.model import Code, Geometry
from segqa_dicom.phantoms.structures import PhantomStructure
from segqa_dicom.phantoms.torso import Phantom

DATE, TIME = "20260101", "120000"
"""When phantoms were "made": nothing about them may depend on the clock."""
PATIENT_NAME, PATIENT_ID = "Phantom^Torso", "SEGQA-PHANTOM"


def write_ct(phantom: Phantom, folder: Path, *, name: str = "torso") -> list[Dataset]:
    """Write the CT of a phantom, one file per slice, and return the data sets; `name` decides all UIDs."""
    folder.mkdir(parents=True, exist_ok=True)
    slices = []
    for index in range(phantom.geometry.shape[0]):
        dataset = _ct_slice(phantom.hu[index], phantom.geometry, index, name)
        dataset.save_as(folder / f"ct_{index + 1:04d}.dcm", enforce_file_format=True)
        slices.append(dataset)
    return slices


def _ct_slice(hu: NDArray[np.int16], geometry: Geometry, index: int, name: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = stable_uid("phantom", name, "ct", index)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.Modality = "CT"
    dataset.Manufacturer, dataset.ManufacturerModelName = "SEGQA project", "phantom"
    dataset.PatientName, dataset.PatientID = PATIENT_NAME, PATIENT_ID
    dataset.PatientBirthDate, dataset.PatientSex = "", "O"
    dataset.StudyInstanceUID = stable_uid("phantom", name, "study")
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = DATE
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = TIME
    dataset.AccessionNumber, dataset.ReferringPhysicianName, dataset.StudyID = "", "", "1"
    dataset.StudyDescription, dataset.SeriesDescription = "segqa torso phantom", "CT torso phantom"
    dataset.SeriesInstanceUID = stable_uid("phantom", name, "ct")
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.AcquisitionNumber = 1, index + 1, 1
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = stable_uid("phantom", name, "frame"), ""
    dataset.PatientPosition, dataset.BodyPartExamined, dataset.KVP = "HFS", "CHEST", "120"
    _put_geometry(dataset, geometry, index)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = hu.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = "1", "-1024", "HU"
    dataset.WindowCenter, dataset.WindowWidth = "40", "400"
    dataset.PixelData = (hu.astype(np.int16) + 1024).astype("<i2").tobytes()
    return dataset


def _put_geometry(dataset: Dataset, geometry: Geometry, index: int) -> None:
    spacing = geometry.spacing_mm
    cosines = [*(geometry.column_step_mm / spacing[2]), *(geometry.row_step_mm / spacing[1])]
    dataset.ImageOrientationPatient = [f"{value:.10g}" for value in cosines]
    dataset.ImagePositionPatient = [f"{value:.10g}" for value in geometry.slice_origins_mm[index]]
    dataset.PixelSpacing = [f"{spacing[1]:.10g}", f"{spacing[2]:.10g}"]
    dataset.SliceThickness = f"{spacing[0]:.10g}"


def write_seg(
    labels: NDArray[np.uint8],
    structures: Sequence[PhantomStructure],
    ct: Sequence[Dataset],
    path: Path,
    *,
    model: str,
    version: str = "1.0",
    series_number: int = 100,
    type_: hd.seg.SegmentationTypeValues = hd.seg.SegmentationTypeValues.BINARY,
) -> None:
    """Write a label volume (slice, row, column) as a SEG object on a CT; label n + 1 is the structure at index n.

    Structures without a voxel are left out, and segments numbered anew: that is what models do.
    """
    present = [int(value) for value in np.unique(labels) if value]
    number_of = np.zeros(256, np.uint8)
    number_of[present] = np.arange(1, len(present) + 1)
    algorithm = hd.AlgorithmIdentificationSequence(model, codes.DCM.ArtificialIntelligence, version)
    descriptions = [
        _description(number, structures[value - 1], algorithm, str(path.name))
        for number, value in enumerate(present, start=1)
    ]
    identity = ("phantom", str(ct[0].SeriesInstanceUID), model, version, path.name)
    dataset = hd.seg.Segmentation(
        source_images=ct,
        pixel_array=number_of[labels],
        segmentation_type=type_,
        segment_descriptions=descriptions,
        series_instance_uid=stable_uid(*identity, "series"),
        series_number=series_number,
        sop_instance_uid=stable_uid(*identity),
        instance_number=1,
        manufacturer="SEGQA project",
        manufacturer_model_name="phantom",
        software_versions="1",
        device_serial_number="1",
        series_description=f"{model} {version}",
        content_label="SEGMENTATION",
    )
    _take_back_chance(dataset, stable_uid(*identity, "dimensions"))
    dataset.save_as(path, enforce_file_format=True)


def _description(
    number: int, structure: PhantomStructure, algorithm: hd.AlgorithmIdentificationSequence, name: str
) -> hd.seg.SegmentDescription:
    found = structure.codes
    description = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=structure.label,
        segmented_property_category=_coded(found.category),
        segmented_property_type=_coded(found.type),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=stable_uid("phantom", name, structure.label),
        tracking_id=structure.label,
    )
    if found.modifier is not None:
        item = description.SegmentedPropertyTypeCodeSequence[0]
        item.SegmentedPropertyTypeModifierCodeSequence = [hd.sr.CodedConcept.from_code(_coded(found.modifier))]
    return description


def _coded(code: Code | None) -> PydicomCode:
    if code is None:
        raise ValueError("structures of phantoms have category and type")
    return PydicomCode(code.value, code.scheme, code.meaning)


def _take_back_chance(dataset: Dataset, dimensions_uid: str) -> None:
    """highdicom writes the time of day and a random UID of the dimensions; a phantom is always the same."""  # noqa: D403
    for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimensions_uid
    for keyword in ("InstanceCreationDate", "ContentDate", "SeriesDate"):
        setattr(dataset, keyword, DATE)
    for keyword in ("InstanceCreationTime", "ContentTime", "SeriesTime"):
        setattr(dataset, keyword, TIME)
    for equipment in dataset.get("ContributingEquipmentSequence", ()):
        equipment.ContributionDateTime = DATE + TIME
