"""A structured report as a flat list of its content items (PS3.3, section C.17.3), whoever wrote it.

Files in the usual form are read from their bytes, which takes a tenth of the time that pydicom needs; whatever is
unusual about a file pydicom reads instead. Nothing here believes what a document says about itself: depth, number of
items and length of texts are limited, and a value that is none is left out.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias, TypeVar

from segqa_dicom.dicom.elements import Unfamiliar
from segqa_dicom.dicom.headers import open_plainly
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import open_object, translated
from segqa_dicom.dicom.sop_classes import SEG_CLASSES, SR_CLASSES
from segqa_dicom.dicom.uids import normalised_uid
from segqa_dicom.errors import LimitExceeded, UnreadableObject
from segqa_dicom.model import Code
from segqa_dicom.sr import codes
from segqa_dicom.sr.content import Document, Graphic, Group, Item, ReferencedInstance
from segqa_dicom.sr.values import Node, ValueReader
from segqa_dicom.sr.write.header import MANUFACTURER, PRODUCT

MAX_FILE_BYTES = 100_000_000
"""A report on a thousand structures has 8 MB."""
MAX_DEPTH = 32
"""Templates of PS3.16 nest ten levels or so."""
MAX_ITEMS = 250_000
"""A report on a thousand structures has 60,000."""
MAX_REFERENCES = 250_000

FINDING_SITES = (codes.FINDING_SITE, Code("G-C0E3", "SRT"))
LATERALITIES = (codes.LATERALITY, Code("G-C171", "SRT"))
_REFERENCED_SEGMENTS = (codes.REFERENCED_SEGMENT, Code("121214", "DCM"), Code("121233", "DCM"))
_OBSERVER_NAMES = {
    Code("121008", "DCM"): "person",
    Code("121013", "DCM"): "device",
}
_KINDS = {code: kind.value for kind, code in codes.KINDS.items()}
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

_T = TypeVar("_T")
_Common: TypeAlias = "tuple[tuple[Code, ...], int, int, str, str, Code | None]"


def read_document(content: Path | bytes, limits: Limits | None = None) -> Document:
    """The structured report in a DICOM file.

    Raises `UnreadableObject` for what is no SR or cannot be read, `LimitExceeded` for one that is too large, too deep
    or has too many items, `Inconsistent` if its own UIDs are no UIDs.
    """
    return _read(content, limits or Limits(), _document)


@dataclass(frozen=True, slots=True)
class Origin:
    """Identity of a document of segqa, and its place among the revisions.

    kind : value of its `sr.Kind`; empty if it states none
    segmentations : SOP Instance UIDs of the SEGs that it is about; of a pair the evaluated one first
    predecessors : (SOP Instance, Series Instance, SOP Class UID) of the documents that it replaces
    """

    kind: str
    sop_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    segmentations: tuple[str, ...]
    predecessors: tuple[tuple[str, str, str], ...]


def read_origin(content: Path | bytes, limits: Limits | None = None) -> Origin | None:
    """The origin of an SR by its header and the last items of its root; None if segqa did not write it."""
    return _read(content, limits or Limits(), _origin)


def _read(content: Path | bytes, given: Limits, read: Callable[[Node], _T]) -> _T:
    """What `read` makes of a file: from its bytes, or where these are unusual by pydicom."""
    if isinstance(content, bytes):
        with tempfile.NamedTemporaryFile(prefix="segqa-sr-", suffix=".dcm") as file:
            file.write(content)
            file.flush()
            return _read(Path(file.name), given, read)
    limits = replace(
        given,
        max_file_bytes=min(given.max_file_bytes, MAX_FILE_BYTES),
        max_inflated_bytes=min(given.max_inflated_bytes, MAX_FILE_BYTES),
    )
    with translated("document"):
        plain = open_plainly(content, limits)
        if plain is not None:
            try:
                return read(plain.dataset)
            except Unfamiliar:
                pass
        return read(open_object(content, limits).dataset)


def _origin(node: Node) -> Origin | None:
    reader = ValueReader(node)
    if not _is_own(reader, node):
        return None
    kind, segmentations = "", []
    for child in reversed(reader.items(node, "ContentSequence")):
        if reader.code(child, "ConceptNameCodeSequence") == codes.DOCUMENT_KIND:
            stated = reader.code(child, "ConceptCodeSequence")
            kind = _KINDS.get(stated, "") if stated else ""
            segmentations = [
                found.sop_instance_uid
                for name in reader.items(child, "ContentSequence")
                for image in reader.items(name, "ContentSequence")
                if (found := _reference(reader, image)) is not None
            ]
            break
    return Origin(
        kind=kind,
        sop_instance_uid=reader.text(node, "SOPInstanceUID"),
        series_instance_uid=reader.text(node, "SeriesInstanceUID"),
        sop_class_uid=reader.text(node, "SOPClassUID"),
        segmentations=tuple(segmentations),
        predecessors=tuple(
            (one.sop_instance_uid, one.series_instance_uid, one.sop_class_uid)
            for one in _listed(reader, node, "PredecessorDocumentsSequence", "predecessor")
        ),
    )


def _is_own(reader: ValueReader, node: Node) -> bool:
    return (reader.text(node, "Manufacturer"), reader.text(node, "ManufacturerModelName")) == (MANUFACTURER, PRODUCT)


def _document(node: Node) -> Document:
    reader = ValueReader(node)
    text = reader.text
    if not text(node, "SOPClassUID").startswith(SR_CLASSES):
        raise UnreadableObject("object is no structured report (by its SOP Class UID)")
    items = tuple(_walked(reader, node))
    if len(items) < 2:  # pydicom reads a file that is cut short up to its last whole element
        raise UnreadableObject("document has no content: nothing is said in it, or its file is cut short")
    title = items[0].name
    is_own = _is_own(reader, node)
    references = _references(reader, node, items)
    return Document(
        study_instance_uid=normalised_uid(text(node, "StudyInstanceUID"), what="Study Instance UID"),
        series_instance_uid=normalised_uid(text(node, "SeriesInstanceUID"), what="Series Instance UID"),
        sop_instance_uid=normalised_uid(text(node, "SOPInstanceUID"), what="SOP Instance UID"),
        sop_class_uid=normalised_uid(text(node, "SOPClassUID"), what="SOP Class UID"),
        title=title,
        content_date=text(node, "ContentDate"),
        content_time=text(node, "ContentTime"),
        series_description=text(node, "SeriesDescription"),
        manufacturer=text(node, "Manufacturer"),
        model=text(node, "ManufacturerModelName"),
        version=text(node, "SoftwareVersions"),
        completion=text(node, "CompletionFlag"),
        verification=text(node, "VerificationFlag"),
        is_own=is_own,
        kind=kind_of(items) if is_own else "",
        observers=_observers(items),
        predecessors=tuple(dict.fromkeys(one.sop_instance_uid for one in references if one.role == "predecessor")),
        references=references,
        items=items,
        groups=_groups(items),
    )


def kind_of(items: Iterable[Item]) -> str:
    """Kind (`sr.Kind`) that a document of segqa states at its root; empty if it states none."""
    stated = (item.code for item in items if item.depth == 1 and item.name == codes.DOCUMENT_KIND)
    return next((_KINDS[code] for code in stated if code in _KINDS), "")


# ------------------------------------------------------------------------------------------------------- the tree


def _walked(reader: ValueReader, root: Node) -> Iterator[Item]:
    """All items, each before what it contains, in the order of the document."""
    group_count, count = 0, 0
    waiting: list[tuple[Node, tuple[Code, ...], int]] = [(root, (), 0)]
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


def _item(
    reader: ValueReader, node: Node, value_type: str, name: Code | None, path: tuple[Code, ...], group: int
) -> Item:
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


def _measured(reader: ValueReader, node: Node, common: _Common) -> Item:
    for measured in reader.items(node, "MeasuredValueSequence")[:1]:
        unit = reader.code(measured, "MeasurementUnitsCodeSequence")
        number = reader.floating(measured)
        if number is None:
            number = _finite(reader.text(measured, "NumericValue"))
        return Item(*common, number=number, unit=unit)
    return Item(*common)


def _finite(text: str) -> float | None:
    try:
        number = float(text.partition("\\")[0])
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _reference(reader: ValueReader, node: Node) -> ReferencedInstance | None:
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


def _graphic(reader: ValueReader, node: Node) -> Graphic | None:
    kind = reader.text(node, "GraphicType")
    frame_of_reference = _uid(reader.text(node, "ReferencedFrameOfReferenceUID"))
    return Graphic(kind, reader.floats(node, "GraphicData"), frame_of_reference) if kind else None


def _uid(text: str) -> str:
    return text if _UID.match(text) else ""


# ------------------------------------------------------------------------------------- what the tree and header mean


def _references(reader: ValueReader, node: Node, items: Sequence[Item]) -> tuple[ReferencedInstance, ...]:
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


def _listed(reader: ValueReader, node: Node, keyword: str, role: str) -> Iterator[ReferencedInstance]:
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
        label=_first_text(members, codes.SEGMENT_LABEL),
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
