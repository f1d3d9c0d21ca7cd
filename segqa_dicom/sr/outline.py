"""Structured reports as pages that browsers show: the content tree as an outline, in HTML or plain text."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

from pydicom import Dataset

from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import first_item, items, open_object, text, translated

HTML, PLAIN = "text/html", "text/plain"
_MAX_DEPTH = 64
_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}ul{padding-left:1.2rem}"
    "b{font-weight:600}"
)
_VALUES = {
    "TEXT": "TextValue",
    "DATE": "Date",
    "TIME": "Time",
    "DATETIME": "DateTime",
    "UIDREF": "UID",
    "PNAME": "PersonName",
}
"""Where the value of a content item is, by its Value Type."""

_Line = tuple[int, str, str]


def is_document(dataset: Dataset) -> bool:
    """Whether an object is a structured report."""
    return text(dataset, "ValueType") == "CONTAINER"


def document(path: Path, media_type: str, limits: Limits) -> bytes | None:
    """The report in a file as a page; None if it is none. Raises as `dicom.opening.open_object` does."""
    dataset = open_object(path, limits).dataset
    with translated("document"):
        if not is_document(dataset):
            return None
        lines = list(_lines(dataset, 0))
    return (_html(lines) if media_type == HTML else _plain(lines)).encode()


def _lines(item: Dataset, depth: int) -> Iterator[_Line]:
    """Depth, name and value of an item and of those below it."""
    yield depth, _meaning(item, "ConceptNameCodeSequence"), _value(item)
    if depth < _MAX_DEPTH:
        for child in items(item, "ContentSequence"):
            yield from _lines(child, depth + 1)


def _meaning(item: Dataset | None, keyword: str) -> str:
    code = first_item(item, keyword)
    return (text(code, "CodeMeaning") or text(code, "CodeValue")) if code is not None else ""


def _value(item: Dataset) -> str:
    kind = text(item, "ValueType")
    if kind == "CODE":
        return _meaning(item, "ConceptCodeSequence")
    if kind == "NUM":
        measured = first_item(item, "MeasuredValueSequence")
        if measured is None:
            return _meaning(item, "NumericValueQualifierCodeSequence") or "no value"
        unit = first_item(measured, "MeasurementUnitsCodeSequence")
        symbol = text(unit, "CodeValue") if unit is not None else ""
        return " ".join(part for part in (text(measured, "NumericValue"), symbol if symbol != "1" else "") if part)
    if kind in _VALUES:
        return text(item, _VALUES[kind])
    reference = first_item(item, "ReferencedSOPSequence")
    if reference is not None:
        return _reference(reference)
    if kind in ("SCOORD", "SCOORD3D"):
        return f"{text(item, 'GraphicType')} {text(item, 'GraphicData')}".replace("\\", " ")
    return ""


def _reference(reference: Dataset) -> str:
    segments, frames = text(reference, "ReferencedSegmentNumber"), text(reference, "ReferencedFrameNumber")
    parts = [text(reference, "ReferencedSOPInstanceUID")]
    parts += [f"segment {segments}"] if segments else []
    parts += [f"frame {frames}"] if frames else []
    return ", ".join(parts).replace("\\", " ")


def _plain(lines: list[_Line]) -> str:
    return "".join(
        f"{'  ' * depth}{': '.join(part for part in (name, value) if part)}\n" for depth, name, value in lines
    )


def _html(lines: list[_Line]) -> str:
    title = escape(lines[0][1] or "Structured report")
    found = [f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>']
    found.append(f"<h1>{title}</h1>")
    open_depth = 0
    for depth, name, value in lines[1:]:
        found.append("<ul>" * (depth - open_depth) if depth > open_depth else "</ul>" * (open_depth - depth))
        open_depth = depth
        bold = f"<b>{escape(name)}</b>" if name else ""
        found.append(f"<li>{': '.join(part for part in (bold, escape(value)) if part)}</li>\n")
    found.append("</ul>" * open_depth)
    return "".join(found)
