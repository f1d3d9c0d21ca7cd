"""What tests of the DICOMweb archive share."""

from __future__ import annotations

from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import ComprehensiveSRStorage

from segqa_dicom.archive import Instance, Outgoing
from segqa_dicom.archive.dicomweb import DicomwebArchive
from segqa_dicom.archive.transport import Patience
from tests.archive.objects import ct, outgoing
from tests.servers.orthanc import Orthanc

QUICK = Patience(attempts=4, deadline_s=30, first_wait_s=0.02, longest_wait_s=0.1)


def archive(server: Orthanc | str, **more: object) -> DicomwebArchive:
    """The archive behind a server, with little patience."""
    if isinstance(server, str):
        return DicomwebArchive(server, patience=QUICK, timeout_s=30, **more)  # type: ignore[arg-type]
    user, password = server.auth or ("", "")
    return DicomwebArchive(
        server.dicomweb_url,
        user=user,
        password=password,
        patience=QUICK,
        timeout_s=30,
        **more,  # type: ignore[arg-type]
    )


def sr(number: int = 1, *, comment: str = "", size: int = 0, **attributes: object) -> Dataset:
    """An object of an SR class; `size` bytes of text make it large."""
    dataset = ct(number, series="1.2.826.0.1.3680043.10.1.9")
    for keyword in ("Rows", "Columns", "PixelData", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        delattr(dataset, keyword)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = ComprehensiveSRStorage
    dataset.Modality, dataset.ValueType = "SR", "CONTAINER"
    dataset.TextValue = comment + "x" * size
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


def series(count: int) -> list[Outgoing]:
    return [outgoing(ct(number)) for number in range(1, count + 1)]


def of_file(path: Path) -> Outgoing:
    dataset = dcmread(path, stop_before_pixels=True)
    uids = (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID, dataset.SOPClassUID)
    return Outgoing(Instance(*map(str, uids)), path)
