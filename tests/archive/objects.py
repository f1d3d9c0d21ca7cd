"""Small DICOM objects for tests of the archive and of DICOMweb."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from segqa_dicom.archive import Instance, Outgoing

STUDY, SERIES = "1.2.826.0.1.3680043.10.1", "1.2.826.0.1.3680043.10.1.1"


def ct(number: int = 1, *, study: str = STUDY, series: str = SERIES, size: int = 16, **attributes: object) -> Dataset:
    """A CT image; `number` decides its SOP Instance UID and its pixels."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, f"{series}.{number}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
    dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber = "20260102", "101500", "A1"
    dataset.ReferringPhysicianName, dataset.StudyID, dataset.StudyDescription = "", "S1", "Abdomen"
    dataset.PatientName, dataset.PatientID = "Müller^Anna", "P1"
    dataset.PatientBirthDate, dataset.PatientSex = "19700101", "F"
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "CT", "2", str(number)
    dataset.ImageType, dataset.ContentDate, dataset.ContentTime = ["ORIGINAL", "PRIMARY"], "20260102", "101501.5"
    dataset.Rows = dataset.Columns = size
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelData = np.random.default_rng(number).integers(0, 4096, (size, size)).astype("<u2").tobytes()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def encoded(dataset: Dataset) -> bytes:
    """The data set as a DICOM file."""
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def instance(dataset: Dataset) -> Instance:
    """What tells the data set from others."""
    return Instance(
        str(dataset.StudyInstanceUID),
        str(dataset.SeriesInstanceUID),
        str(dataset.SOPInstanceUID),
        str(dataset.SOPClassUID),
    )


def outgoing(dataset: Dataset, folder: Path | None = None) -> Outgoing:
    """The data set to be stored, as bytes or as a file in a folder."""
    content = encoded(dataset)
    if folder is None:
        return Outgoing(instance(dataset), content)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{dataset.SOPInstanceUID}.dcm"
    path.write_bytes(content)
    return Outgoing(instance(dataset), path)
