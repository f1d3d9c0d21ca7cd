"""A reader of SR trees for the tests, independent of what wrote them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from segqa_dicom.sr import Document, write


def walk(item: Dataset) -> Iterator[Dataset]:
    yield item
    for child in item.get("ContentSequence", ()):
        yield from walk(child)


def name(item: Dataset) -> str:
    code = item.ConceptNameCodeSequence[0]
    return f"{code.get('CodeValue') or code.LongCodeValue}.{code.CodingSchemeDesignator}"


def children(item: Dataset, wanted: str, value_type: str = "") -> list[Dataset]:
    return [c for c in item.ContentSequence if name(c) == wanted and (not value_type or c.ValueType == value_type)]


def texts(item: Dataset, wanted: str) -> list[str]:
    return [c.TextValue for c in children(item, wanted, "TEXT")]


def summary(item: Dataset) -> list[str]:
    return texts(item, "55112-7.LN")


def groups(item: Dataset) -> list[Dataset]:
    return [g for container in children(item, "126010.DCM") for g in children(container, "125007.DCM")]


def numbers(group: Dataset) -> dict[str, str]:
    """NUMs of a group as they are written, in their order."""
    return {
        name(c): str(c.MeasuredValueSequence[0].NumericValue) for c in group.ContentSequence if c.ValueType == "NUM"
    }


def coded(item: Dataset, wanted: str) -> list[str]:
    return [c.ConceptCodeSequence[0].CodeValue for c in children(item, wanted, "CODE")]


def evidence(dataset: Dataset) -> list[str]:
    """SOP Instance UIDs in the order of the evidence."""
    sequences = (
        dataset.get("CurrentRequestedProcedureEvidenceSequence", ()),
        dataset.get("PertinentOtherEvidenceSequence", ()),
    )
    return [
        str(instance.ReferencedSOPInstanceUID)
        for sequence in sequences
        for study in sequence
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    ]


def written(document: Document, folder: Path) -> Dataset:
    """The document as somebody else reads it from its file."""
    path = folder / f"{document.sop_instance_uid}.dcm"
    write(document, path)
    return dcmread(path)
