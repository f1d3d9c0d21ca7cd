"""Questions of QIDO-RS about what is in documents: which of them refer to something, or say something.

PS3.18 (section 8.3.4) lets a key name an attribute inside sequences: ``ContentSequence.TextValue``. All keys that begin
so are about one and the same content item, wherever in the tree that lies. For more than one item there is nothing in
the standard, and the order of parameters, or their repetition, means nothing in HTTP: clients that take a dictionary
cannot send either, proxies may sort. So items are numbered, as elements of paths commonly are:
``ContentSequence.1.ConceptNameCodeSequence.CodeValue``. Conditions with the same number are about the same item, and
all numbered items lie in the same measurement group. Without a number the item may lie anywhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from segqa_dicom.archive.folder_search import UnsupportedQuestion, known_attribute
from segqa_dicom.dicom.uids import normalised_uid
from segqa_dicom.errors import Inconsistent
from segqa_dicom.findings.index import FindingsIndex
from segqa_dicom.findings.schema import RELATIONS, VALUE_TYPES, json_list

CONTENT = "ContentSequence"
MOST_ITEMS = 9
"""Numbered items in one question."""
MOST_CHARACTERS = 1024
"""Of a value."""
_EVIDENCE, _PREDECESSORS = "CurrentRequestedProcedureEvidenceSequence", "PredecessorDocumentsSequence"
_SERIES, _INSTANCE = "ReferencedSeriesSequence", "ReferencedSeriesSequence.ReferencedSOPSequence"
_TITLE = "ConceptNameCodeSequence"
_CODE_PARTS = {"CodeValue": "value", "CodingSchemeDesignator": "scheme", "CodeMeaning": "meaning"}
_CODES = {
    "ConceptNameCodeSequence": "name",
    "ConceptCodeSequence": "code",
    "MeasuredValueSequence.MeasurementUnitsCodeSequence": "unit",
}
_NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?"
_RANGE = re.compile(rf"(?P<low>{_NUMBER})?-(?P<high>{_NUMBER})?\Z")
_ONE = re.compile(rf"{_NUMBER}\Z")
_FIRST_NAMES = frozenset(
    ("ReferencedSOPInstanceUID", _EVIDENCE, _PREDECESSORS, "PertinentOtherEvidenceSequence", _TITLE, CONTENT)
)


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition on documents: SQL about `document`, and its values."""

    sql: str
    values: tuple[object, ...] = ()


@dataclass(slots=True)
class _ItemConditions:
    """What must hold for one content item: conditions on `item`; codes by column and part."""

    plain: list[Condition] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)


def is_content_key(name: str) -> bool:
    """Whether a key of QIDO-RS, by keywords or tags, is about what documents say or refer to."""
    first = name.split(".")[0]
    try:
        return known_attribute(first) in _FIRST_NAMES
    except UnsupportedQuestion:
        return False


def matching_documents(index: FindingsIndex, matches: Iterable[tuple[str, str]]) -> list[str]:
    """SOP Instance UIDs of the documents for which all of the keys (as `is_content_key` knows them) hold.

    A key with an empty value holds always. Raises `UnsupportedQuestion` for keys and values that cannot be answered.
    """
    conditions = parsed(matches)
    where = " AND ".join(f"({one.sql})" for one in conditions) or "1"
    values = [value for one in conditions for value in one.values]
    rows = index.rows(f"SELECT sop_instance_uid FROM document WHERE {where} ORDER BY id", values)  # noqa: S608
    return [row[0] for row in rows]


def references_of(index: FindingsIndex, sop_instance_uids: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
    """SOP Class and SOP Instance UIDs that documents refer to, their predecessors left out."""
    rows = index.rows(
        "SELECT DISTINCT document.sop_instance_uid, class.value, instance.value"
        " FROM json_each(?) AS wanted CROSS JOIN document ON document.sop_instance_uid = wanted.value"
        " CROSS JOIN reference ON reference.document = document.id AND reference.role != 'predecessor'"
        " CROSS JOIN text AS instance ON instance.id = reference.instance"
        " LEFT JOIN text AS class ON class.id = reference.sop_class ORDER BY 1, 2, 3",
        (json_list(sop_instance_uids),),
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for document, sop_class, instance in rows:
        found.setdefault(document, []).append((sop_class or "", instance))
    return found


def parsed(matches: Iterable[tuple[str, str]]) -> list[Condition]:
    """The conditions that keys and values stand for."""
    conditions: list[Condition] = []
    title: dict[str, str] = {}
    items: dict[int, _ItemConditions] = {}
    for key, value in matches:
        number, path = _numbered(key)
        if len(value) > MOST_CHARACTERS:
            raise UnsupportedQuestion(f"value of {path} has more than {MOST_CHARACTERS} characters")
        if number is not None:
            _add_to_item(items.setdefault(number, _ItemConditions()), path, value)
        elif path.startswith(f"{_TITLE}."):
            title[_code_part(path, path.removeprefix(f"{_TITLE}."))] = value
        elif condition := _on_references(path, value):
            conditions.append(condition)
    if found := _codes_in("document.title", title):
        conditions.append(found)
    return [*conditions, *_on_items(items)]


def _numbered(key: str) -> tuple[int | None, str]:
    """Number of the content item (0 = without one, None = not about items) and path in keywords."""
    first, _, rest = key.partition(".")
    if known_attribute(first) != CONTENT:
        return None, known_attribute(key)
    head, _, tail = rest.partition(".")
    if not (head.isascii() and head.isdecimal() and len(head) < 8):
        return 0, known_attribute(rest) if rest else ""
    number = int(head)
    if not 1 <= number <= MOST_ITEMS:
        raise UnsupportedQuestion(f"content items are numbered from 1 to {MOST_ITEMS}")
    return number, known_attribute(tail) if tail else ""


# ------------------------------------------------------------------------------------------------- content items


def _add_to_item(item: _ItemConditions, path: str, value: str) -> None:
    for sequence, column in _CODES.items():
        if path.startswith(f"{sequence}."):
            item.codes.setdefault(column, {})[_code_part(path, path.removeprefix(f"{sequence}."))] = value
            return
    if path.split(".")[0] == CONTENT:
        raise UnsupportedQuestion(f"write {CONTENT} once: it stands for content items at any depth")
    answering = _ON_ITEM.get(path)
    if answering is None:
        known = ", ".join((*(f"{name}.CodeValue" for name in _CODES), *_ON_ITEM))
        raise UnsupportedQuestion(f"{CONTENT}.{path or '?'} cannot be asked for; keys of content items: {known}")
    if value:
        item.plain.append(answering(path, value))


def _on_items(items: Mapping[int, _ItemConditions]) -> list[Condition]:
    conditions = []
    grouped: list[Condition] = []
    for number, item in sorted(items.items()):
        parts = [*item.plain, *(one for column, code in item.codes.items() if (one := _codes_in(column, code)))]
        if not parts:
            continue
        where = " AND ".join(part.sql for part in parts)
        values = tuple(value for part in parts for value in part.values)
        if number == 0:
            conditions.append(Condition(f"document.id IN (SELECT document FROM item WHERE {where})", values))  # noqa: S608
        else:
            sql = f"SELECT document, measurement_group FROM item WHERE {where} AND measurement_group > 0"  # noqa: S608
            grouped.append(Condition(sql, values))
    if grouped:
        sql = " INTERSECT ".join(one.sql for one in grouped)
        values = tuple(value for one in grouped for value in one.values)
        conditions.append(Condition(f"document.id IN (SELECT document FROM ({sql}))", values))  # noqa: S608
    return conditions


def _number(path: str, value: str) -> Condition:
    """One number, or a range with both ends or one; ends may be negative."""
    if _ONE.match(value) and not value.startswith("-"):
        return Condition("number = ?", (_finite(path, value),))
    found = _RANGE.match(value)
    if found is None or not (found["low"] or found["high"]):
        raise UnsupportedQuestion(f"value of {path} is no number and no range: LOW-HIGH, LOW-, -HIGH")
    low = _finite(path, found["low"]) if found["low"] else -math.inf
    high = _finite(path, found["high"]) if found["high"] else math.inf
    return Condition("number BETWEEN ? AND ?", (low, high))


def _finite(path: str, text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise UnsupportedQuestion(f"value of {path} is too large")
    return number


def _text(_path: str, value: str) -> Condition:
    sql, pattern = _like("value", value)
    return Condition(f"text IN (SELECT id FROM text WHERE {sql})", (pattern,))  # noqa: S608 - our own words


def _uid_item(path: str, value: str) -> Condition:
    return Condition(
        "text IN (SELECT id FROM text WHERE value IN (SELECT value FROM json_each(?)))", (_uids(path, value),)
    )


def _segment(path: str, value: str) -> Condition:
    if not (value.isascii() and value.isdecimal() and len(value) < 6):
        raise UnsupportedQuestion(f"value of {path} is no number of a segment")
    return Condition("segment = ?", (int(value),))


def _value_type(path: str, value: str) -> Condition:
    return Condition("value_type = ?", (_place(path, value, VALUE_TYPES),))


def _relation(path: str, value: str) -> Condition:
    return Condition("relation = ?", (_place(path, value, RELATIONS),))


def _place(path: str, value: str, terms: Sequence[str]) -> int:
    if value not in terms:
        raise UnsupportedQuestion(f"value of {path} is none of: {', '.join(terms[1:])}")
    return terms.index(value)


_ON_ITEM: dict[str, Callable[[str, str], Condition]] = {
    "MeasuredValueSequence.NumericValue": _number,
    "TextValue": _text,
    "PersonName": _text,
    "UID": _uid_item,
    "ReferencedSOPSequence.ReferencedSOPInstanceUID": _uid_item,
    "ReferencedSOPSequence.ReferencedSegmentNumber": _segment,
    "ValueType": _value_type,
    "RelationshipType": _relation,
}


# ----------------------------------------------------------------------------------------- documents and references


def _on_references(path: str, value: str) -> Condition | None:
    where = {
        "ReferencedSOPInstanceUID": ("instance", ""),
        f"{_EVIDENCE}.StudyInstanceUID": ("study", "evidence"),
        f"{_EVIDENCE}.{_SERIES}.SeriesInstanceUID": ("series", "evidence"),
        f"{_EVIDENCE}.{_INSTANCE}.ReferencedSOPInstanceUID": ("instance", "evidence"),
        f"{_EVIDENCE}.{_INSTANCE}.ReferencedSOPClassUID": ("sop_class", "evidence"),
        f"{_PREDECESSORS}.{_INSTANCE}.ReferencedSOPInstanceUID": ("instance", "predecessor"),
    }
    if path not in where:
        known = ", ".join((*where, f"{_TITLE}.CodeValue", f"{CONTENT}. ..."))
        raise UnsupportedQuestion(f"{path} cannot be asked for; keys of documents: {known}")
    if not value:
        return None
    column, role = where[path]
    sql = (
        f"document.id IN (SELECT document FROM reference WHERE {column} IN"  # noqa: S608 - our own words
        " (SELECT id FROM text WHERE value IN (SELECT value FROM json_each(?)))"
    )
    values: tuple[object, ...] = (_uids(path, value),)
    return Condition(f"{sql} AND role = ?)", (*values, role)) if role else Condition(f"{sql})", values)


def _uids(path: str, value: str) -> str:
    """UIDs, separated by commas or backslashes."""
    try:
        return json_list(normalised_uid(part, what=path) for part in re.split(r"[\\,]", value))
    except Inconsistent as error:
        raise UnsupportedQuestion(str(error)) from error


def _code_part(path: str, name: str) -> str:
    part = _CODE_PARTS.get(name)
    if part is None:
        raise UnsupportedQuestion(f"{path} cannot be asked for; of a code: {', '.join(_CODE_PARTS)}")
    return part


def _codes_in(column: str, parts: Mapping[str, str]) -> Condition | None:
    """A code by its value, scheme, meaning; each may be a list (backslashes) and have wild cards."""
    given = {part: value for part, value in parts.items() if value}
    if not given:
        return None
    conditions, values = [], []
    for part, value in given.items():
        alternatives = [_like(part, one) for one in value.split("\\") if one]
        if not alternatives:
            raise UnsupportedQuestion("a code is asked for by an empty list")
        conditions.append(f"({' OR '.join(sql for sql, _ in alternatives)})")
        values += [pattern for _, pattern in alternatives]
    sql = f"{column} IN (SELECT id FROM concept WHERE {' AND '.join(conditions)})"  # noqa: S608 - our own words
    return Condition(sql, tuple(values))


def _like(column: str, value: str) -> tuple[str, str]:
    """Equal, or wild card matching (PS3.4, section C.2.2.2.4), with regard to case."""
    if "*" in value or "?" in value:
        return f"{column} GLOB ?", value.replace("[", "[[]")
    return f"{column} = ?", value
