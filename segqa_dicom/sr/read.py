"""A structured report as a flat list of its content items (PS3.3, section C.17.3), whoever wrote it.

Files in the usual form are read from their bytes, which takes a tenth of the time that pydicom needs; whatever is
unusual about a file pydicom reads instead. Nothing here believes what a document says about itself: depth, number of
items and length of texts are limited, and a value that is none is left out.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path
from struct import iter_unpack
from typing import Any, TypeAlias

from pydicom import Dataset
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.valuerep import TEXT_VR_DELIMS

from segqa_dicom.dicom import opening
from segqa_dicom.dicom.elements import Unfamiliar
from segqa_dicom.dicom.headers import PlainDataset, open_plainly
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import open_object, translated
from segqa_dicom.dicom.sop_classes import SEG_CLASSES, SR_CLASSES
from segqa_dicom.dicom.uids import normalised_uid
from segqa_dicom.errors import LimitExceeded, UnreadableObject
from segqa_dicom.model import Code
from segqa_dicom.sr import Kind, codes
from segqa_dicom.sr.write.document import SERIES_NAMES
from segqa_dicom.sr.write.header import MANUFACTURER, PRODUCT

MAX_FILE_BYTES = 100_000_000
"""A report on a thousand structures has 8 MB."""
MAX_DEPTH = 32
"""Templates of PS3.16 nest ten levels or so."""
MAX_ITEMS = 250_000
"""A report on a thousand structures has 60,000."""
MAX_REFERENCES = 250_000
MAX_TEXT = 4_000
"""Characters of a text that are kept."""
MAX_POINTS = 3000
"""Coordinates of a graphic that are kept."""

FINDING_SITES = (codes.FINDING_SITE, Code("G-C0E3", "SRT"))
LATERALITIES = (codes.LATERALITY, Code("G-C171", "SRT"))
_REFERENCED_SEGMENTS = (codes.REFERENCED_SEGMENT, Code("121214", "DCM"), Code("121233", "DCM"))
_OBSERVER_NAMES = {
    Code("121008", "DCM"): "person",
    Code("121013", "DCM"): "device",
}
_KINDS = {f"SEGQA {name}": kind.value for kind, name in SERIES_NAMES.items()}
_OUR_KIND = re.compile(rf"({'|'.join(sorted(_KINDS, reverse=True))})\b")
_TEXT_KEYWORDS = {
    "TEXT": "TextValue",
    "UIDREF": "UID",
    "DATE": "Date",
    "TIME": "Time",
    "DATETIME": "DateTime",
    "PNAME": "PersonName",
}
_REFERENCES = frozenset(("IMAGE", "COMPOSITE", "WAVEFORM"))
_GRAPHICS = frozenset(("SCOORD", "SCOORD3D"))
_UID = re.compile(r"[0-9.]{1,64}\Z")

_Node: TypeAlias = PlainDataset | Dataset
_Common: TypeAlias = "tuple[tuple[Code, ...], int, int, str, str, Code | None]"


@dataclass(frozen=True, slots=True)
class ReferencedInstance:
    """An instance that a document refers to.

    study_instance_uid, series_instance_uid : empty where an item of the tree does not say them
    role : "evidence", "other evidence", "predecessor" or "item"
    frames, segments : numbers of the frames and segments that an item means; none = the whole
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str = ""
    study_instance_uid: str = ""
    role: str = "item"
    frames: tuple[int, ...] = ()
    segments: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Graphic:
    """Coordinates; `data` has at most `MAX_POINTS` numbers of them.

    frame_of_reference_uid : of coordinates in the patient (SCOORD3D)
    """

    type: str
    data: tuple[float, ...]
    frame_of_reference_uid: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """A content item.

    path : concept names of what it lies in, the document title first
    depth : 0 for the title
    group : number of the Measurement Group that it lies in, from 1; 0 = in none
    relation : to what it lies in, as Relationship Type says it
    name : its concept name; None if it has none
    code, number (with unit), text, reference, graphic : its value, by its value type; texts are also UIDs, names of
        persons, dates and times. None, or empty, if it has no value that can be used
    """

    path: tuple[Code, ...]
    depth: int
    group: int
    relation: str
    value_type: str
    name: Code | None
    code: Code | None = None
    number: float | None = None
    unit: Code | None = None
    text: str = ""
    reference: ReferencedInstance | None = None
    graphic: Graphic | None = None

    def is_named(self, *names: Code) -> bool:
        """Whether it has one of these concept names."""
        return self.name in names


@dataclass(frozen=True, slots=True)
class Group:
    """A Measurement Group (TID 1410, 1411, 1501).

    segmentation, segment : SOP Instance UID of the SEG, and Segment Number in it; "" and 0 if it names none
    other_segmentation, other_segment : what it is compared with
    source_series : Series Instance UID of the images that the SEG was drawn on, as the group says it
    """

    number: int
    tracking_identifier: str = ""
    tracking_uid: str = ""
    finding: Code | None = None
    finding_site: Code | None = None
    laterality: Code | None = None
    segmentation: str = ""
    segment: int = 0
    other_segmentation: str = ""
    other_segment: int = 0
    source_series: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A structured report.

    content_date, content_time : as DICOM writes them
    observers : ("person" or "device", name)
    predecessors : SOP Instance UIDs of the documents that it replaces
    references : what it names as evidence, as predecessor and in its items, without repetitions
    kind : of a document of ours "report", "compare" or "keyimg", of a reader's "review" or "review_keyimg" (`sr.Kind`);
        else empty
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    title: Code | None
    content_date: str
    content_time: str
    series_description: str
    manufacturer: str
    model: str
    version: str
    completion: str
    verification: str
    is_own: bool
    kind: str
    observers: tuple[tuple[str, str], ...] = ()
    predecessors: tuple[str, ...] = ()
    references: tuple[ReferencedInstance, ...] = ()
    items: tuple[Item, ...] = field(default=(), repr=False)
    groups: tuple[Group, ...] = field(default=(), repr=False)


def read_document(content: Path | bytes, limits: Limits | None = None) -> Document:
    """The structured report in a DICOM file.

    Raises `UnreadableObject` for what is no SR or cannot be read, `LimitExceeded` for one that is too large, too deep
    or has too many items, `Inconsistent` if its own UIDs are no UIDs.
    """
    if isinstance(content, bytes):
        with tempfile.NamedTemporaryFile(prefix="segqa-sr-", suffix=".dcm") as file:
            file.write(content)
            file.flush()
            return read_document(Path(file.name), limits)
    given = limits or Limits()
    limits = replace(
        given,
        max_file_bytes=min(given.max_file_bytes, MAX_FILE_BYTES),
        max_inflated_bytes=min(given.max_inflated_bytes, MAX_FILE_BYTES),
    )
    with translated("document"):
        plain = open_plainly(content, limits)
        if plain is not None:
            try:
                return _document(plain.dataset)
            except Unfamiliar:
                pass
        return _document(open_object(content, limits).dataset)


def _document(node: _Node) -> Document:
    reader = _Reader(node)
    text = reader.text
    if not text(node, "SOPClassUID").startswith(SR_CLASSES):
        raise UnreadableObject("object is no structured report (by its SOP Class UID)")
    items = tuple(_walked(reader, node))
    if len(items) < 2:  # pydicom reads a file that is cut short up to its last whole element
        raise UnreadableObject("document has no content: nothing is said in it, or its file is cut short")
    title = items[0].name
    manufacturer, model = text(node, "Manufacturer"), text(node, "ManufacturerModelName")
    description = text(node, "SeriesDescription")
    is_own = manufacturer == MANUFACTURER and model == PRODUCT
    references = _references(reader, node, items)
    return Document(
        study_instance_uid=normalised_uid(text(node, "StudyInstanceUID"), what="Study Instance UID"),
        series_instance_uid=normalised_uid(text(node, "SeriesInstanceUID"), what="Series Instance UID"),
        sop_instance_uid=normalised_uid(text(node, "SOPInstanceUID"), what="SOP Instance UID"),
        sop_class_uid=normalised_uid(text(node, "SOPClassUID"), what="SOP Class UID"),
        title=title,
        content_date=text(node, "ContentDate"),
        content_time=text(node, "ContentTime"),
        series_description=description,
        manufacturer=manufacturer,
        model=model,
        version=text(node, "SoftwareVersions"),
        completion=text(node, "CompletionFlag"),
        verification=text(node, "VerificationFlag"),
        is_own=is_own,
        kind=_our_kind(description, items) if is_own else "",
        observers=_observers(items),
        predecessors=tuple(dict.fromkeys(one.sop_instance_uid for one in references if one.role == "predecessor")),
        references=references,
        items=items,
        groups=_groups(items),
    )


def _our_kind(description: str, items: Sequence[Item]) -> str:
    found = _OUR_KIND.search(description)
    if found:
        return _KINDS[found[1]]
    is_marked = items[0].name == codes.IMAGING_MEASUREMENT_REPORT
    if any(item.is_named(codes.OBSERVER_TYPE) and item.code == codes.PERSON for item in items):
        return Kind.REVIEW_KEYIMG.value if is_marked else Kind.REVIEW.value
    return Kind.REPORT.value


class _Reader:
    """Values of a data set, or of an item in one, as text; empty where there is none."""

    def __init__(self, node: _Node) -> None:
        raw = node.raw("SpecificCharacterSet") if isinstance(node, PlainDataset) else b""
        self._codes: dict[bytes, Code | None] = {}
        self._encodings = _encodings((raw or b"").decode("ascii", "replace").strip())

    def text(self, node: _Node, keyword: str) -> str:
        """A value, several joined by backslashes, cut to `MAX_TEXT` characters."""
        if not isinstance(node, PlainDataset):
            return opening.text(node, keyword)[:MAX_TEXT]
        raw = node.raw(keyword)
        if not raw:
            return ""
        if raw.isascii() and b"\x1b" not in raw:
            return raw.decode("ascii").strip(" \0")[:MAX_TEXT]
        return decode_bytes(raw, list(self._encodings), TEXT_VR_DELIMS).strip(" \0")[:MAX_TEXT]

    def items(self, node: _Node, keyword: str) -> list[Any]:
        """The items of a sequence."""
        if not isinstance(node, PlainDataset):
            return opening.items(node, keyword)
        return list(node.plain(keyword) or ())

    def numbers(self, node: _Node, keyword: str) -> tuple[int, ...]:
        """Whole numbers; what is none is left out."""
        if isinstance(node, PlainDataset) and keyword == "ReferencedSegmentNumber":
            raw = node.raw(keyword) or b""
            return tuple(int.from_bytes(raw[at : at + 2], "little") for at in range(0, len(raw) & ~1, 2))
        parts = self.text(node, keyword).split("\\")
        return tuple(int(part) for part in (one.strip() for one in parts) if part.isdecimal() and len(part) < 10)

    def floats(self, node: _Node, keyword: str) -> tuple[float, ...]:
        """Finite numbers of VR FL, at most `MAX_POINTS`."""
        if isinstance(node, PlainDataset):
            raw = (node.raw(keyword) or b"")[: 4 * MAX_POINTS]
            return tuple(one for (one,) in iter_unpack("<f", raw[: len(raw) & ~3]) if math.isfinite(one))
        value = node.get(keyword)
        several = value if hasattr(value, "__len__") and not isinstance(value, (str, bytes)) else [value]
        return tuple(float(one) for one in several[:MAX_POINTS] if isinstance(one, (int, float)) and math.isfinite(one))

    def code(self, node: _Node, keyword: str) -> Code | None:
        """The first item of a code sequence (PS3.3, section 8.8); None if it names no code.

        The same bytes are the same code: a document has thousands of sequences and few dozens of codes.
        """
        raw = node.raw(keyword) if isinstance(node, PlainDataset) else None
        if raw is None:
            return None if isinstance(node, PlainDataset) else self._first_code(node, keyword)
        if raw not in self._codes:
            self._codes[raw] = self._first_code(node, keyword)
        return self._codes[raw]

    def _first_code(self, node: _Node, keyword: str) -> Code | None:
        for item in self.items(node, keyword)[:1]:
            value = next(
                (found for name in ("CodeValue", "LongCodeValue", "URNCodeValue") if (found := self.text(item, name))),
                "",
            )
            if value:
                return _code(value, self.text(item, "CodingSchemeDesignator"), self.text(item, "CodeMeaning"))
        return None


@cache
def _encodings(charset: str) -> tuple[str, ...]:
    return tuple(convert_encodings(charset.split("\\")))


@lru_cache(maxsize=8192)
def _code(value: str, scheme: str, meaning: str) -> Code:
    """One object for each code, of which a document has thousands."""
    return Code(value, scheme, meaning)


# ------------------------------------------------------------------------------------------------------- the tree


def _walked(reader: _Reader, root: _Node) -> Iterator[Item]:
    """All items, each before what it contains, in the order of the document."""
    group_count, count = 0, 0
    waiting: list[tuple[_Node, tuple[Code, ...], int]] = [(root, (), 0)]
    while waiting:
        node, path, group = waiting.pop()
        count += 1
        if count > MAX_ITEMS:
            raise LimitExceeded(f"document has more than {MAX_ITEMS} content items")
        depth = len(path)
        name = reader.code(node, "ConceptNameCodeSequence")
        value_type = reader.text(node, "ValueType")
        if depth and value_type == "CONTAINER" and name == codes.MEASUREMENT_GROUP:
            group_count += 1
            group = group_count
        yield _item(reader, node, value_type, name, path, group)
        children = reader.items(node, "ContentSequence")
        if children and depth >= MAX_DEPTH:
            raise LimitExceeded(f"document is nested deeper than {MAX_DEPTH} content items")
        if len(children) > MAX_ITEMS:
            raise LimitExceeded(f"document has more than {MAX_ITEMS} content items")
        below = (*path, name or _NAMELESS)
        waiting += [(child, below, group) for child in reversed(children)]


_NAMELESS = Code("", "")


def _item(reader: _Reader, node: _Node, value_type: str, name: Code | None, path: tuple[Code, ...], group: int) -> Item:
    common: _Common = (path, len(path), group, reader.text(node, "RelationshipType"), value_type, name)
    if value_type == "CODE":
        return Item(*common, code=reader.code(node, "ConceptCodeSequence"))
    if value_type == "NUM":
        return _measured(reader, node, common)
    if keyword := _TEXT_KEYWORDS.get(value_type):
        return Item(*common, text=reader.text(node, keyword))
    if value_type in _REFERENCES:
        return Item(*common, reference=_reference(reader, node))
    if value_type in _GRAPHICS:
        return Item(*common, graphic=_graphic(reader, node))
    return Item(*common)


def _measured(reader: _Reader, node: _Node, common: _Common) -> Item:
    for measured in reader.items(node, "MeasuredValueSequence")[:1]:
        unit = reader.code(measured, "MeasurementUnitsCodeSequence")
        return Item(*common, number=_finite(reader.text(measured, "NumericValue")), unit=unit)
    return Item(*common)


def _finite(text: str) -> float | None:
    try:
        number = float(text.partition("\\")[0])
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _reference(reader: _Reader, node: _Node) -> ReferencedInstance | None:
    for one in reader.items(node, "ReferencedSOPSequence")[:1]:
        uid = _uid(reader.text(one, "ReferencedSOPInstanceUID"))
        if not uid:
            return None
        return ReferencedInstance(
            _uid(reader.text(one, "ReferencedSOPClassUID")),
            uid,
            frames=reader.numbers(one, "ReferencedFrameNumber"),
            segments=reader.numbers(one, "ReferencedSegmentNumber"),
        )
    return None


def _graphic(reader: _Reader, node: _Node) -> Graphic | None:
    kind = reader.text(node, "GraphicType")
    frame_of_reference = _uid(reader.text(node, "ReferencedFrameOfReferenceUID"))
    return Graphic(kind, reader.floats(node, "GraphicData"), frame_of_reference) if kind else None


def _uid(text: str) -> str:
    return text if _UID.match(text) else ""


# ------------------------------------------------------------------------------------- what the tree and header mean


def _references(reader: _Reader, node: _Node, items: Sequence[Item]) -> tuple[ReferencedInstance, ...]:
    found: dict[ReferencedInstance, None] = {}
    for keyword, role in (
        ("CurrentRequestedProcedureEvidenceSequence", "evidence"),
        ("PertinentOtherEvidenceSequence", "other evidence"),
        ("PredecessorDocumentsSequence", "predecessor"),
    ):
        for one in _listed(reader, node, keyword, role):
            found[one] = None
            if len(found) > MAX_REFERENCES:
                raise LimitExceeded(f"document refers to more than {MAX_REFERENCES} instances")
    known = {one.sop_instance_uid for one in found}
    for item in items:
        if item.reference is not None and item.reference.sop_instance_uid not in known:
            known.add(item.reference.sop_instance_uid)
            found[ReferencedInstance(item.reference.sop_class_uid, item.reference.sop_instance_uid)] = None
    return tuple(found)


def _listed(reader: _Reader, node: _Node, keyword: str, role: str) -> Iterator[ReferencedInstance]:
    for study in reader.items(node, keyword):
        study_uid = _uid(reader.text(study, "StudyInstanceUID"))
        for series in reader.items(study, "ReferencedSeriesSequence"):
            series_uid = _uid(reader.text(series, "SeriesInstanceUID"))
            for one in reader.items(series, "ReferencedSOPSequence"):
                if uid := _uid(reader.text(one, "ReferencedSOPInstanceUID")):
                    sop_class = _uid(reader.text(one, "ReferencedSOPClassUID"))
                    yield ReferencedInstance(sop_class, uid, series_uid, study_uid, role)


def _observers(items: Sequence[Item]) -> tuple[tuple[str, str], ...]:
    """Names of persons and devices that observed, in the order of the document; of a group's own ones as well."""
    found: dict[tuple[str, str], None] = {}
    for item in items:
        if item.name in _OBSERVER_NAMES and item.text:
            found[_OBSERVER_NAMES[item.name], item.text] = None
    return tuple(found)


def _groups(items: Sequence[Item]) -> tuple[Group, ...]:
    by_group: dict[int, list[Item]] = {}
    for item in items:
        if item.group:
            by_group.setdefault(item.group, []).append(item)
    return tuple(_group(number, members) for number, members in by_group.items())


def _group(number: int, members: Sequence[Item]) -> Group:
    """What the items of a group, its container first, say about it."""
    direct = [item for item in members if item.depth == members[0].depth + 1]
    segments = [
        item
        for item in direct
        if item.reference is not None
        and (item.is_named(*_REFERENCED_SEGMENTS) or item.reference.sop_class_uid in SEG_CLASSES)
    ]
    evaluated = [item for item in segments if not item.is_named(codes.REFERENCE_SEGMENT)]
    others = [item for item in segments if item.is_named(codes.REFERENCE_SEGMENT)] or evaluated[1:]
    segmentation, segment = _segment(evaluated[:1])
    other_segmentation, other_segment = _segment(others[:1])
    return Group(
        number,
        tracking_identifier=_first_text(direct, codes.TRACKING_IDENTIFIER),
        tracking_uid=_first_text(direct, codes.TRACKING_UID),
        finding=_first_code(direct, codes.FINDING),
        finding_site=_first_code(direct, *FINDING_SITES) or _first_code(members, *FINDING_SITES),
        laterality=_first_code(members, *LATERALITIES),
        segmentation=segmentation,
        segment=segment,
        other_segmentation=other_segmentation,
        other_segment=other_segment,
        source_series=_uid(_first_text(direct, codes.SOURCE_SERIES)),
    )


def _segment(items: Sequence[Item]) -> tuple[str, int]:
    for item in items:
        if item.reference is not None:
            numbers = item.reference.segments
            return item.reference.sop_instance_uid, numbers[0] if numbers else 0
    return "", 0


def _first_text(items: Sequence[Item], name: Code) -> str:
    return next((item.text for item in items if item.name == name and item.text), "")


def _first_code(items: Sequence[Item], *names: Code) -> Code | None:
    return next((item.code for item in items if item.name in names and item.code is not None), None)
