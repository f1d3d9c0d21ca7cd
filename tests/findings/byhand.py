"""What documents say, found by walking through them with pydicom: written without looking at the index."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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
    return float(sequence[0].get("FloatingPointValue", sequence[0].NumericValue)) if sequence else None


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
    return [(uid(file), one.segment, one.rule, one.outcome, one.message) for one in outcomes(file)]


@dataclass
class Stated:
    """An outcome as a document states it; a group's own messages and those of findings that name its segment."""

    segment: int
    rule: str
    outcome: str
    message: str
    severity: str
    value: float | None
    limit: float | None
    location_mm: tuple[float, ...] | None
    named: tuple[int, ...]


def outcomes(file: bytes) -> list[Stated]:
    """All outcomes of checks, in the order of the document."""
    found: list[Stated] = []
    segments: dict[int, int] = {}
    last: dict[int, Stated] = {}
    for item, group in items(file):
        if name(item) == "121191" and group:
            segments.setdefault(group, int(item.ReferencedSOPSequence[0].ReferencedSegmentNumber))
        if not name(item).startswith("CHK-"):
            continue
        if item.ValueType == "TEXT":
            last[group].message = item.TextValue
        elif item.ValueType == "CODE" and coded(item) in OUTCOMES:
            last[group] = _stated(item, segments.get(group, 0))
            found.append(last[group])
    whole = [one for one in found if one.named]
    uses: Counter[tuple[int, str, str]] = Counter()
    for one in found:
        if one.segment and not one.message:
            same = [other for other in whole if other.rule == one.rule and one.segment in other.named]
            key = one.segment, one.rule, one.outcome
            if same:
                one.message = same[min(uses[key], len(same) - 1)].message
            uses[key] += 1
    return found


def is_failed(item: Dataset) -> bool:
    """Whether an item is an outcome that counts as failed."""
    is_outcome = item.ValueType == "CODE" and coded(item) in ("WARN", "FAIL")
    return is_outcome and _stated(item, 0).severity in ("warning", "error")


def _stated(item: Dataset, segment: int) -> Stated:
    below = {name(child): child for child in item.get("ContentSequence", ())}
    point = [number(below[axis]) for axis in ("LOCX", "LOCY", "LOCZ") if axis in below]
    severity = coded(below["CHKSEV"]).removeprefix("CSEV-").lower() if "CHKSEV" in below else "info"
    numbers = below["CONCERNS"].ReferencedSOPSequence[0].ReferencedSegmentNumber if "CONCERNS" in below else ()
    return Stated(
        segment,
        name(item)[4:],
        coded(item),
        "",
        severity,
        number(below["CHKVALUE"]) if "CHKVALUE" in below else None,
        number(below["CHKLIMIT"]) if "CHKLIMIT" in below else None,
        tuple(point) or None,  # type: ignore[arg-type]
        tuple(numbers) if hasattr(numbers, "__len__") else (int(numbers),),
    )
