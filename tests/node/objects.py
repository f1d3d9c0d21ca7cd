"""Small objects to send, and DCMTK's programs that send them."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from segqa_dicom.config import ServiceSettings
from segqa_dicom.inbox import Inbox
from segqa_dicom.node import IsHeld, Node
from tests.servers.process import program

CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
SEG_CLASS = "1.2.840.10008.5.1.4.1.1.66.4"
PATIENT_NAME = "Nobody^Secret"
TITLE = "SEGQA"
UID_ROOT = "1.2.826.0.1.3680043.10.1.7"
"""With a number of nine digits behind it; so all files have one length."""


def uid(number: int) -> str:
    return f"{UID_ROOT}.{number + 100_000_000}"


def ct(number: int = 0, *, rows: int = 16, **changes: object) -> Dataset:
    """A CT slice; `changes` by keyword, None removes an attribute."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = CT_CLASS, uid(number)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.Modality = "CT"
    dataset.PatientName, dataset.PatientID = PATIENT_NAME, "secret-1"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"{UID_ROOT}.1", f"{UID_ROOT}.2"
    dataset.Rows = dataset.Columns = rows
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.PixelData = np.arange(rows * rows, dtype=np.uint16).tobytes()
    for keyword, value in changes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    return dataset


def write_ct(folder: Path, count: int, *, rows: int = 16) -> list[Path]:
    """Files of `count` slices that differ in their UIDs."""
    folder.mkdir(parents=True, exist_ok=True)
    first = folder / f"{0:06d}.dcm"
    ct(rows=rows).save_as(first, enforce_file_format=True)
    content = first.read_bytes()
    paths = [folder / f"{number:06d}.dcm" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(content.replace(uid(0).encode(), uid(number).encode()))
    return paths


def written(path: Path, dataset: Dataset) -> Path:
    dataset.save_as(path, enforce_file_format=True)
    return path


def node_at(
    folder: Path, *, is_held: IsHeld | None = None, max_file_bytes: int | None = None, **settings: object
) -> Node:
    """A node with an inbox in `folder`; small enough disks are good enough."""
    return Node(
        ae_title=TITLE,
        host="127.0.0.1",
        port=0,
        inbox=Inbox(folder / "inbox"),
        settings=ServiceSettings(**{"min_free_bytes": 0, "allowed_ae": "", **settings}),  # type: ignore[arg-type]
        max_file_bytes=max_file_bytes,
        is_held=is_held,
    )


def run(name: str, port: int, *arguments: str | Path, title: str = "SENDER") -> subprocess.CompletedProcess[str]:
    """One of DCMTK's programs."""
    return subprocess.run(
        [program(name), "-v", "-aet", title, "-aec", TITLE, "127.0.0.1", str(port), *map(str, arguments)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def send(port: int, files: Sequence[Path], *options: str, title: str = "SENDER") -> subprocess.CompletedProcess[str]:
    """By storescu, which stops at the first refusal."""
    return run("storescu", port, *options, *files, title=title)


def received(inbox: Inbox) -> list[str]:
    """SOP Instance UIDs in the inbox, oldest first; reads all of each file."""
    found = []
    for path in inbox.waiting():
        dataset = dcmread(path)
        assert len(dataset.get("PixelData", b"")) or dataset.Modality == "SR", path
        found.append(str(dataset.SOPInstanceUID))
    return found
