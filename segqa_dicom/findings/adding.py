"""Rows of the index of findings made of documents."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from segqa_dicom.dicom.sop_classes import CT_CLASSES, SEG_CLASSES
from segqa_dicom.findings.schema import COUNT_COLUMNS, RELATIONS, VALUE_TYPES, VERDICT_RANKS, json_list
from segqa_dicom.model import Code
from segqa_dicom.sr import codes, interpretation
from segqa_dicom.sr.content import Document, Group, Item
from segqa_dicom.sr.kinds import Kind
from segqa_dicom.sr.outcomes import SEVERITIES, RuleOutcome, rule_outcomes

_ADD_GROUP = f"INSERT INTO measurement_group VALUES ({', '.join('?' * (12 + len(COUNT_COLUMNS)))})"  # noqa: S608
_ADD_SEGMENT = (
    f"INSERT INTO segment_by_risk SELECT CASE g.verdict {VERDICT_RANKS} END, -COALESCE(g.risk, 0), text.value,"  # noqa: S608
    " g.segment, g.document, g.number, g.structure FROM measurement_group g JOIN text ON text.id = g.segmentation"
    " WHERE g.document = ? AND g.number > 0 AND g.segment > 0"
)
_ADD_ITEM = f"INSERT INTO item VALUES ({', '.join('?' * 14)})"  # noqa: S608 - our own words
_TABLES_OF_DOCUMENT = (
    *("item", "outcome", "failed_check", "segment_by_risk", "measurement_group", "reference", "predecessor"),
)
_ADD_OUTCOME = f"INSERT INTO outcome VALUES ({', '.join('?' * 11)})"  # noqa: S608 - our own words


class Words:
    """Numbers of codes and texts, within one transaction; 0 stands for none."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._codes: dict[Code, int] = {}
        self._texts: dict[str, int] = {}

    def code(self, code: Code | None) -> int:
        """Number of a code, which is added if it is new."""
        if code is None:
            return 0
        known = self._codes.get(code)
        if known is None:
            known = self._codes[code] = self._number(
                "SELECT id FROM concept WHERE value = ? AND scheme = ?",
                (code.value, code.scheme),
                "INSERT INTO concept (value, scheme, meaning) VALUES (?, ?, ?)",
                (code.value, code.scheme, code.meaning),
            )
        return known

    def text(self, text: str) -> int:
        """Number of a text, which is added if it is new."""
        if not text:
            return 0
        known = self._texts.get(text)
        if known is None:
            known = self._texts[text] = self._number(
                "SELECT id FROM text WHERE value = ?", (text,), "INSERT INTO text (value) VALUES (?)", (text,)
            )
        return known

    def _number(self, find: str, key: Sequence[str], add: str, row: Sequence[str]) -> int:
        found = self._connection.execute(find, [_storable(value) for value in key]).fetchone()
        if found is not None:
            return int(found[0])
        return int(self._connection.execute(add, [_storable(value) for value in row]).lastrowid or 0)


def add_document(connection: sqlite3.Connection, words: Words, document: Document) -> bool:
    """Add a document; False if it is there."""
    uid = document.sop_instance_uid
    if connection.execute("SELECT 1 FROM document WHERE sop_instance_uid = ?", (uid,)).fetchone():
        return False
    connection.execute("DELETE FROM refused WHERE sop_instance_uid = ?", (uid,))
    outcomes = rule_outcomes(document)
    kinds, judged = interpretation.finding_kinds(document, outcomes)
    number = _add_header(connection, words, document)
    _add_references(connection, words, number, document)
    connection.executemany(
        _ADD_GROUP,
        [
            _group_row(connection, words, number, group, judged[group.number])
            for group in (_whole(document), *document.groups)
        ],
    )
    if document.is_own and document.kind == Kind.REPORT.value:
        connection.execute(_ADD_SEGMENT, (number,))
        connection.executemany(
            "INSERT OR IGNORE INTO failed_check VALUES (?, ?, ?)",
            [(words.code(document.items[one.position].name), number, one.group) for one in outcomes if one.is_failed],
        )
    severities = {one.position: SEVERITIES.index(one.severity) for one in outcomes}
    connection.executemany(
        _ADD_ITEM,
        [
            _item_row(words, number, position, item, kind, severities.get(position))
            for position, (item, kind) in enumerate(zip(document.items, kinds, strict=True))
        ],
    )
    connection.executemany(
        _ADD_OUTCOME, [_outcome_row(words, number, one) for one in outcomes if one.outcome != "PASS" or one.message]
    )
    return True


def _add_references(connection: sqlite3.Connection, words: Words, number: int, document: Document) -> None:
    connection.executemany(
        "INSERT OR IGNORE INTO predecessor VALUES (?, ?)", [(number, one) for one in document.predecessors]
    )
    connection.executemany(
        "INSERT OR IGNORE INTO reference VALUES (?, ?, ?, ?, ?, ?)",
        [
            (
                number,
                words.text(one.sop_instance_uid),
                words.text(one.series_instance_uid),
                words.text(one.study_instance_uid),
                words.text(one.sop_class_uid),
                one.role,
            )
            for one in document.references
        ],
    )


def _add_header(connection: sqlite3.Connection, words: Words, document: Document) -> int:
    persons = [name for kind, name in document.observers if kind == "person"]
    if document.is_own:
        persons += [item.text for item in document.items if item.depth == 1 and item.name == codes.PERSON_LOGIN]
    row: dict[str, object] = {
        "study_instance_uid": document.study_instance_uid,
        "series_instance_uid": document.series_instance_uid,
        "sop_instance_uid": document.sop_instance_uid,
        "sop_class_uid": document.sop_class_uid,
        "title": words.code(document.title),
        "content_date": document.content_date,
        "content_time": document.content_time,
        "series_description": document.series_description,
        "manufacturer": document.manufacturer,
        "model": document.model,
        "version": document.version,
        "completion": document.completion,
        "verification": document.verification,
        "is_own": int(document.is_own),
        "kind": document.kind,
        "observers": "; ".join(name for _, name in document.observers),
        "persons": "; ".join(persons).casefold(),
        "segmentation_name": interpretation.segmentation_name(document),
        "ct_series": _ct_series(document),
    }
    values = [_storable(value) for value in row.values()]
    sql = f"INSERT INTO document ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"  # noqa: S608 - our own words
    return int(connection.execute(sql, values).lastrowid or 0)


def _ct_series(document: Document) -> str:
    """The first CT series among the evidence."""
    return next(
        (
            one.series_instance_uid
            for one in document.references
            if one.role != "predecessor" and one.sop_class_uid in CT_CLASSES and one.series_instance_uid
        ),
        "",
    )


def _whole(document: Document) -> Group:
    """What stands for the document as a whole: its SEG, if it is about one only."""
    about = {(group.segmentation, group.other_segmentation): group for group in document.groups if group.segmentation}
    if not about and document.is_own:  # a review of the whole has no groups
        listed = {one.sop_instance_uid for one in document.references if one.sop_class_uid in SEG_CLASSES}
        return Group(0, segmentation=listed.pop()) if len(listed) == 1 else Group(0)
    if len(about) != 1:
        return Group(0)
    (group,) = about.values()
    return Group(0, segmentation=group.segmentation, other_segmentation=group.other_segmentation)


def _group_row(
    connection: sqlite3.Connection, words: Words, document: int, group: Group, judged: interpretation.Judged
) -> tuple[object, ...]:
    return (
        document,
        group.number,
        _structure(connection, words, group) if group.number else 0,
        words.text(group.tracking_identifier),
        words.text(group.tracking_uid),
        words.text(group.segmentation),
        group.segment,
        words.text(group.other_segmentation),
        group.other_segment,
        words.text(group.source_series),
        judged.verdict,
        judged.risk,
        *(judged.counts.get(key, 0) for key in COUNT_COLUMNS),
    )


def _structure(connection: sqlite3.Connection, words: Words, group: Group) -> int:
    label = str(_storable(interpretation.label(group)))
    key = (words.code(group.finding), words.code(group.finding_site), words.code(group.laterality), label)
    sql = "SELECT id FROM structure WHERE finding = ? AND site = ? AND laterality = ? AND label = ?"
    found = connection.execute(sql, key).fetchone()
    if found is not None:
        return int(found[0])
    name = interpretation.structure_name(group.finding, group.finding_site, group.laterality)
    said = group.finding.meaning if group.finding else ""
    side = group.laterality.meaning if group.laterality else ""
    site = group.finding_site.meaning if group.finding_site else ""
    searched = " ".join((label, said, side, site, name.replace("_", " "))).casefold()
    row = [_storable(value) for value in (*key, said, name, searched)]
    sql = "INSERT INTO structure (finding, site, laterality, label, meaning, name, words) VALUES (?, ?, ?, ?, ?, ?, ?)"
    return int(connection.execute(sql, row).lastrowid or 0)


def _item_row(
    words: Words,
    document: int,
    position: int,
    item: Item,
    kind: interpretation.FindingKind | None,
    severity: int | None,
) -> tuple[object, ...]:
    text, segment = item.text, None
    if item.reference is not None:
        text = item.reference.sop_instance_uid
        segment = item.reference.segments[0] if item.reference.segments else None
    return (
        document,
        item.group,
        position,
        item.depth,
        RELATIONS.index(item.relation) if item.relation in RELATIONS else 0,
        VALUE_TYPES.index(item.value_type) if item.value_type in VALUE_TYPES else 0,
        words.code(item.name) or None,
        words.code(item.code) or None,
        item.number,
        words.code(item.unit) or None,
        words.text(text) or None,
        segment,
        None if kind is None else int(kind),
        severity,
    )


def _outcome_row(words: Words, document: int, one: RuleOutcome) -> tuple[object, ...]:
    x, y, z = one.location_mm or (None, None, None)
    segments, message = json_list(one.segments), words.text(one.message)
    return (document, one.group, one.position, one.value, one.limit, one.unit, x, y, z, segments, message)


def remove_document(connection: sqlite3.Connection, sop_instance_uid: str) -> bool:
    """Remove a document, and the record that it was refused; False if it was not there."""
    connection.execute("DELETE FROM refused WHERE sop_instance_uid = ?", (sop_instance_uid,))
    sql = "SELECT id FROM document WHERE sop_instance_uid = ?"
    found = connection.execute(sql, (sop_instance_uid,)).fetchone()
    if found is None:
        return False
    for table in _TABLES_OF_DOCUMENT:
        connection.execute(f"DELETE FROM {table} WHERE document = ?", found)  # noqa: S608 - our own words
    connection.execute("DELETE FROM document WHERE id = ?", found)
    return True


def _storable(value: object) -> object:
    """Text without lone surrogates, which SQLite does not take."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
