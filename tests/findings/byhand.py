"""What documents say, found by walking through them with pydicom: written without looking at the index."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO

from pydicom import Dataset, dcmread

OUTCOMES = ("PASS", "WARN", "FAIL", "NOTRUN")


def items(file: bytes) -> Iterator[tuple[Dataset, int]]:
    """Content items, each with the number of the measurement group that it lies in."""
    count = 0

    def walk(item: Dataset, group: int) -> Iterator[tuple[Dataset, int]]:
        nonlocal count
        if name(item) == "125007":
            count += 1
            group = count
        yield item, group
        for child in item.get("ContentSequence", ()):
            yield from walk(child, group)

    return walk(dcmread(BytesIO(file)), 0)


def name(item: Dataset) -> str:
    sequence = item.get("ConceptNameCodeSequence") or ()
    return str(sequence[0].get("CodeValue", "")) if sequence else ""


def coded(item: Dataset) -> str:
    sequence = item.get("ConceptCodeSequence") or ()
    return str(sequence[0].get("CodeValue", "")) if sequence else ""


def number(item: Dataset) -> float | None:
    sequence = item.get("MeasuredValueSequence") or ()
    return float(sequence[0].NumericValue) if sequence else None


def with_item(files: list[bytes], *conditions: Callable[[Dataset], bool]) -> set[str]:
    """UIDs of the documents in which one group has an item for each condition; of one condition in any place."""
    found = set()
    for file in files:
        groups: list[set[int]] = [{group for item, group in items(file) if holds(item)} for holds in conditions]
        together = set.intersection(*groups)
        if len(conditions) > 1:
            together -= {0}
        if together:
            found.add(uid(file))
    return found


def uid(file: bytes) -> str:
    return str(dcmread(BytesIO(file)).SOPInstanceUID)


def checks(file: bytes) -> list[tuple[str, int, str, str, str]]:
    """Outcomes of our checks: document, segment (0 = none), rule, outcome, detail; in their order."""
    document, segments, details, found = uid(file), {}, {}, []
    for item, group in items(file):
        if name(item) == "121191":
            segments[group] = int(item.ReferencedSOPSequence[0].ReferencedSegmentNumber)
        if name(item).startswith("CHK-") and item.ValueType == "TEXT":
            details.setdefault((group, name(item)), item.TextValue)
    for item, group in items(file):
        if name(item).startswith("CHK-") and item.ValueType == "CODE" and coded(item) in OUTCOMES:
            detail = details.get((group, name(item)), "")
            found.append((document, segments.get(group, 0), name(item)[4:], coded(item), detail))
    return found
