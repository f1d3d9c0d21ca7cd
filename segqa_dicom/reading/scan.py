"""CT and SEG objects in files and folders, recognised by content."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydicom import Dataset
from pydicom._uid_dict import UID_dictionary

from segqa_dicom.dicom.headers import open_plainly
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import (
    items,
    looks_like_dicom,
    media_class,
    open_object,
    referenced_series,
    source_instances,
    text,
    translated,
)
from segqa_dicom.dicom.sop_classes import CT_CLASSES, MEDIA_STORAGE_DIRECTORY, SEG_CLASSES
from segqa_dicom.dicom.uids import normalised_uid
from segqa_dicom.errors import ConfigurationError, Inconsistent, InputError
from segqa_dicom.progress import Progress, silent

_SEG_CLASS_BYTES = re.compile(b"(%s)(?![0-9.])" % "|".join(map(re.escape, sorted(SEG_CLASSES))).encode())
_START_BYTES = 4096
"""Bytes of an unreadable file that are searched for the SOP Class UID of a segmentation."""
OWN_MODEL_NAME = "segqa"
"""Manufacturer's Model Name of segqa's documents."""

_COMPANIONS = frozenset(
    (
        *(".json", ".html", ".htm", ".csv", ".tsv", ".txt", ".md", ".pdf", ".png", ".jpg", ".jpeg", ".gif", ".svg"),
        *(".nii", ".gz", ".nrrd", ".mha", ".xml", ".yaml", ".yml", ".toml", ".log", ".py", ".ipynb", ".zip", ".tar"),
        *(".parquet", ".xlsx", ".docx", ".js", ".css", ".db", ".sqlite"),
    )
)
"""Suffixes of files that are often stored beside DICOM; without DICOM content they are not reported."""

_HEADER_KEYWORDS = (
    *("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "PatientID"),
    *("Modality", "ManufacturerModelName", "SpecificCharacterSet", "ReferencedSeriesSequence"),
    *("StudiesContainingOtherReferencedInstancesSequence", "SourceImageSequence"),
)
_FRAME_KEYWORDS = ("SOPClassUID", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")


class Kind(StrEnum):
    """Kind of object."""

    CT = "ct"
    SEG = "seg"
    OWN = "own"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Header:
    """The attributes of an object for grouping.

    referenced_series, referenced_instances : UIDs of the images of a SEG
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
    """An excluded object or file with the reason."""

    path: Path
    sop_instance_uid: str | None
    reason: str
    is_segmentation: bool = False


def scan(paths: Iterable[Path], limits: Limits, progress: Progress = silent) -> tuple[list[Header], list[NotReviewed]]:
    """The headers of all CT and SEG objects under `paths`, and other files.

    Raises `ConfigurationError` if a path does not exist.
    """
    not_reviewed: list[NotReviewed] = []
    files = list(_files(paths, not_reviewed))
    headers: list[Header] = []
    for done, path in enumerate(files, start=1):
        try:
            header = read_header(path, limits)
        except InputError as error:
            if path.suffix.lower() not in _COMPANIONS or looks_like_dicom_quietly(path):
                not_reviewed.append(NotReviewed(path, None, str(error), is_segmentation=_says_segmentation(path)))
        else:
            if header.kind is Kind.OTHER:
                name = UID_dictionary.get(header.sop_class_uid, [header.sop_class_uid])[0]
                not_reviewed.append(NotReviewed(path, header.sop_instance_uid, f"{name}: neither CT nor segmentation"))
            elif header.kind is not Kind.OWN:
                headers.append(header)
        progress("looking for DICOM objects", done, len(files))
    return headers, not_reviewed


def _files(paths: Iterable[Path], not_reviewed: list[NotReviewed]) -> Iterator[Path]:
    """Every regular file under `paths` once, in a fixed order."""
    seen: set[str] = set()
    for root in paths:
        if not os.path.exists(root):  # noqa: PTH110 - Path.exists can raise
            raise ConfigurationError(f"no such file or folder: {root}")
        found = _walk(root, not_reviewed) if os.path.isdir(root) else [root]  # noqa: PTH112 - Path.is_dir can raise
        for path in found:
            real = os.path.realpath(path)
            if real not in seen and _is_regular(path, not_reviewed):
                seen.add(real)
                yield path


def _is_regular(path: Path, not_reviewed: list[NotReviewed]) -> bool:
    """Whether a path is a regular file: opening a pipe could block forever."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError as error:  # dangling link, folder without execute permission
        not_reviewed.append(NotReviewed(path, None, f"file cannot be opened ({error.strerror})"))
        return False


def _walk(root: Path, not_reviewed: list[NotReviewed]) -> Iterator[Path]:
    """All files below a folder; links are followed, but no folder is entered twice."""

    def note(error: OSError) -> None:
        not_reviewed.append(NotReviewed(Path(error.filename), None, f"folder cannot be opened ({error.strerror})"))

    entered = {os.path.realpath(root)}
    for folder, folders, names in os.walk(root, onerror=note, followlinks=True):
        folders.sort()
        for name in list(folders):
            real = os.path.realpath(os.path.join(folder, name))  # noqa: PTH118 - names may be any bytes
            if real in entered:
                folders.remove(name)
            entered.add(real)
        for name in sorted(names):
            yield Path(folder) / name


def looks_like_dicom_quietly(path: Path) -> bool:
    """`looks_like_dicom`; False for a file that cannot be opened."""
    try:
        return looks_like_dicom(path)
    except InputError:
        return False


def _says_segmentation(path: Path) -> bool:
    """Whether an unreadable file has the SOP Class UID of a segmentation in its meta information or first bytes."""
    stated = media_class(path)
    if stated in SEG_CLASSES:
        return True
    if stated in UID_dictionary or not looks_like_dicom_quietly(path):  # another known class
        return False
    with path.open("rb") as stream:
        return _SEG_CLASS_BYTES.search(stream.read(_START_BYTES)) is not None


def read_header(path: Path, limits: Limits) -> Header:
    """The header of one file; raises an `InputError` if it is no usable DICOM object."""
    opened = open_plainly(path, limits, keywords=_HEADER_KEYWORDS)
    if opened is None:
        return _read_header_with_pydicom(path, limits)
    with translated("header"):
        return _header(path, opened.dataset, limits)


def _read_header_with_pydicom(path: Path, limits: Limits) -> Header:
    if not looks_like_dicom(path):
        raise Inconsistent("not a DICOM file")
    if media_class(path) == MEDIA_STORAGE_DIRECTORY:
        return _other(path, MEDIA_STORAGE_DIRECTORY, "")
    dataset = open_object(path, limits, keywords=_HEADER_KEYWORDS).dataset
    with translated("header"):
        return _header(path, dataset, limits)


def _header(path: Path, dataset: Dataset, limits: Limits) -> Header:
    sop_class = text(dataset, "SOPClassUID")
    if sop_class not in CT_CLASSES | SEG_CLASSES:
        own = text(dataset, "Modality") == "SR" and text(dataset, "ManufacturerModelName") == OWN_MODEL_NAME
        return _other(path, sop_class, text(dataset, "SOPInstanceUID"), Kind.OWN if own else Kind.OTHER)
    kind = Kind.CT if sop_class in CT_CLASSES else Kind.SEG
    series, instances = _references(dataset) if kind is Kind.SEG else (frozenset(), frozenset())
    if kind is Kind.SEG and not (series or instances):
        instances = _frame_sources(path, limits)
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


def _other(path: Path, sop_class: str, uid: str, kind: Kind = Kind.OTHER) -> Header:
    sop_class = normalised_uid(sop_class, what="SOP Class UID")
    return Header(path, kind, sop_class, uid, "", "", "", "")


def _references(dataset: Dataset) -> tuple[frozenset[str], frozenset[str]]:
    """UIDs of the series and instances that a SEG refers to, in its study and in others."""
    named = referenced_series(dataset)
    series = {text(item, "SeriesInstanceUID") for item in named}
    references = [reference for item in named for reference in items(item, "ReferencedInstanceSequence")]
    references += items(dataset, "SourceImageSequence")
    instances = {text(reference, "ReferencedSOPInstanceUID") for reference in references}
    return frozenset(series - {""}), frozenset(instances - {""})


def _frame_sources(path: Path, limits: Limits) -> frozenset[str]:
    """Source images of the frames of a SEG without other references."""
    opened = open_plainly(path, limits, keywords=_FRAME_KEYWORDS)
    dataset = (opened or open_object(path, limits, keywords=_FRAME_KEYWORDS)).dataset
    groups = items(dataset, "SharedFunctionalGroupsSequence") + items(dataset, "PerFrameFunctionalGroupsSequence")
    return frozenset().union(*(source_instances(group) for group in groups))
