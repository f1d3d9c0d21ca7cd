"""Finding the CT and SEG objects in files and folders, by content, whatever the files are called."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import UID

from segqa_dicom.errors import ConfigurationError, Inconsistent, InputError
from segqa_dicom.progress import Progress, silent
from segqa_dicom.reading.dataset import items, looks_like_dicom, open_object, text
from segqa_dicom.reading.limits import Limits
from segqa_dicom.uids import normalised_uid

CT_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.2",  # CT Image Storage
        "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT Image Storage
        "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT Image Storage
    }
)
SEG_CLASSES = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.66.4",  # Segmentation Storage
        "1.2.840.10008.5.1.4.1.1.66.7",  # Label Map Segmentation Storage
    }
)
OWN_MODEL_NAME = "segqa"
"""Manufacturer's Model Name of the documents that segqa writes."""

_COMPANIONS = frozenset(
    [
        ".json",
        ".html",
        ".htm",
        ".csv",
        ".tsv",
        ".txt",
        ".md",
        ".pdf",
        ".png",
        ".jpg",
        ".jpeg",
        ".gif",
        ".svg",
        ".nii",
        ".gz",
        ".nrrd",
        ".mha",
        ".xml",
        ".yaml",
        ".yml",
        ".toml",
        ".log",
        ".py",
        ".ipynb",
        ".zip",
        ".tar",
        ".parquet",
        ".xlsx",
        ".docx",
        ".js",
        ".css",
        ".db",
        ".sqlite",
    ]
)
"""Endings of files that lie beside DICOM everywhere; unless their content is DICOM they are not worth a line."""

_HEADER_KEYWORDS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "PatientID",
    "Modality",
    "ManufacturerModelName",
    "SpecificCharacterSet",
    "ReferencedSeriesSequence",
    "SourceImageSequence",
)


class Kind(StrEnum):
    """What an object is to us."""

    CT = "ct"
    SEG = "seg"
    OWN = "own"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Header:
    """What grouping needs to know of an object.

    referenced_series, referenced_instances : UIDs of what a SEG says it was drawn on
    """

    path: Path
    kind: Kind
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    frame_of_reference_uid: str
    patient_id: str
    referenced_series: frozenset[str] = frozenset()
    referenced_instances: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class NotReviewed:
    """An object, or a file, that was left out, and why."""

    path: Path
    sop_instance_uid: str | None
    reason: str
    is_segmentation: bool = False


def scan(paths: Iterable[Path], limits: Limits, progress: Progress = silent) -> tuple[list[Header], list[NotReviewed]]:
    """The headers of all CT and SEG objects under `paths`, and what else was found there.

    Raises `ConfigurationError` if a path does not exist.
    """
    files = list(_files(paths))
    headers: list[Header] = []
    left_out: list[NotReviewed] = []
    for done, path in enumerate(files, start=1):
        try:
            header = read_header(path, limits)
        except InputError as error:
            if path.suffix.lower() not in _COMPANIONS or looks_like_dicom_quietly(path):
                left_out.append(NotReviewed(path, None, str(error)))
        else:
            if header.kind is Kind.OTHER:
                name = UID(header.sop_class_uid).name
                left_out.append(NotReviewed(path, header.sop_instance_uid, f"{name}: neither CT nor segmentation"))
            elif header.kind is not Kind.OWN:
                headers.append(header)
        progress("looking for DICOM objects", done, len(files))
    return headers, left_out


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """Every regular file under `paths` once, in a fixed order, however it is reached."""
    seen: set[str] = set()
    for root in paths:
        if not root.exists():
            raise ConfigurationError(f"no such file or folder: {root}")
        found = [root] if root.is_file() else _walk(root)
        for path in found:
            real = os.path.realpath(path)
            if real not in seen:
                seen.add(real)
                yield path


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = Path(folder) / name
            if path.is_file():  # no sockets, pipes or dangling links: opening them could wait for ever
                yield path


def looks_like_dicom_quietly(path: Path) -> bool:
    """`looks_like_dicom`, and False for what cannot be opened."""
    try:
        return looks_like_dicom(path)
    except InputError:
        return False


def read_header(path: Path, limits: Limits) -> Header:
    """The header of one file; raises an `InputError` for whatever is not a usable DICOM object."""
    if not looks_like_dicom(path):
        raise Inconsistent("not a DICOM file")
    dataset = open_object(path, limits, keywords=_HEADER_KEYWORDS).dataset
    sop_class = text(dataset, "SOPClassUID")
    if sop_class in CT_CLASSES:
        kind = Kind.CT
    elif sop_class in SEG_CLASSES:
        kind = Kind.SEG
    else:
        own = text(dataset, "Modality") == "SR" and text(dataset, "ManufacturerModelName") == OWN_MODEL_NAME
        kind = Kind.OWN if own else Kind.OTHER
    if kind in (Kind.OWN, Kind.OTHER):
        return Header(path, kind, sop_class, text(dataset, "SOPInstanceUID"), "", "", "", "")
    series, instances = _references(dataset) if kind is Kind.SEG else (frozenset(), frozenset())
    return Header(
        path=path,
        kind=kind,
        sop_class_uid=sop_class,
        sop_instance_uid=normalised_uid(dataset.get("SOPInstanceUID"), what="SOP Instance UID"),
        series_instance_uid=normalised_uid(dataset.get("SeriesInstanceUID"), what="Series Instance UID"),
        study_instance_uid=normalised_uid(dataset.get("StudyInstanceUID"), what="Study Instance UID"),
        frame_of_reference_uid=text(dataset, "FrameOfReferenceUID"),
        patient_id=text(dataset, "PatientID"),
        referenced_series=series,
        referenced_instances=instances,
    )


def _references(dataset: Dataset) -> tuple[frozenset[str], frozenset[str]]:
    series: set[str] = set()
    instances: set[str] = set()
    for item in items(dataset, "ReferencedSeriesSequence"):
        series.add(text(item, "SeriesInstanceUID"))
        for reference in items(item, "ReferencedInstanceSequence"):
            instances.add(text(reference, "ReferencedSOPInstanceUID"))
    for reference in items(dataset, "SourceImageSequence"):
        instances.add(text(reference, "ReferencedSOPInstanceUID"))
    return frozenset(series - {""}), frozenset(instances - {""})
