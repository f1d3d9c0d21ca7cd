"""Findings as rows: which of them match, how many those are, and one page of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

from segqa_dicom.findings.filters import KINDS, Filters
from segqa_dicom.findings.index import FindingsIndex
from segqa_dicom.findings.schema import COUNT_COLUMNS, CURRENT, json_list
from segqa_dicom.model import Code, PointMm
from segqa_dicom.sr import codes
from segqa_dicom.sr.interpretation import FindingKind
from segqa_dicom.sr.outcomes import OUTCOMES, SEVERITIES

_NAMES = {
    "scheme": codes.SCHEME,
    "complaint": codes.SEGMENTATION_FINDING.value,
    "details": codes.FINDING_DETAILS.value,
}
"""Of a reader's finding, and of the words about it, which stand after it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One finding: the outcome of a check, or of documents of others a measurement or an evaluation.

    segment_number : 0 = it is about the whole segmentation or case
    structure, scheme, meaning : what the segment is said to be; structure_name is its name in our table, if it is there
    rule, outcome, severity : of a check; empty for others
    title : of the rule, or the concept name
    value, limit, unit : of a check, or of a measurement, which has no limit; the unit as UCUM code
    location_mm : of a check, LPS mm; None = not located
    verdict, risk : of the segment, or of the whole
    date : of the document, YYYY-MM-DD
    model, version : of what made the SEG
    """

    study: str
    ct_series: str
    seg: str
    segment_number: int
    label: str
    structure: str
    scheme: str
    meaning: str
    structure_name: str
    laterality: str
    kind: str
    rule: str
    title: str
    outcome: str
    severity: str
    value: float | None
    limit: float | None
    unit: str
    location_mm: PointMm | None
    detail: str
    verdict: str
    risk: float | None
    document: str
    date: str
    observer: str
    model: str
    version: str
    current: bool


COLUMNS = tuple(one.name for one in fields(Row))


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the findings, and how many there are in all."""

    total: int
    rows: tuple[Row, ...]


def as_json(row: Row) -> dict[str, Any]:
    """A row by its columns; the location as a list."""
    values = dict(zip(COLUMNS, astuple(row), strict=True))
    return {**values, "location_mm": None if row.location_mm is None else list(row.location_mm)}


# --------------------------------------------------------------------------------------------------------- finding


def find(index: FindingsIndex, filters: Filters, *, limit: int, offset: int = 0) -> Page:
    """One page of the findings, those of the newest documents first, within a document in its order.

    First it is counted how many each document has, from what the index knows of groups; then rows are read of those
    documents that the page touches. So a page costs the same wherever it lies.
    """
    with index.reading() as connection:
        question = _Question(connection, filters)
        counts = question.counts()
        rows: list[Row] = []
        seen = 0
        for document, count in counts:
            first = max(offset - seen, 0)
            if first < count and len(rows) < limit:
                rows += question.rows(document, limit=limit - len(rows), offset=first)
            seen += count
    return Page(seen, tuple(rows))


def pages(index: FindingsIndex, filters: Filters, *, size: int = 10_000) -> Iterator[tuple[Row, ...]]:
    """All findings, page by page."""
    offset = 0
    while True:
        page = find(index, filters, limit=size, offset=offset)
        if page.rows:
            yield page.rows
        offset += len(page.rows)
        if not page.rows or offset >= page.total:
            return


class _Question:
    """Filters as SQL. Documents, groups and items are narrowed down one after the other."""

    def __init__(self, connection: sqlite3.Connection, filters: Filters) -> None:
        self._connection = connection
        self._filters = filters
        self._outcomes = _wanted_outcomes(filters)
        self._groups, self._group_values = self._on_groups()
        self._outcome_codes = self._concepts(OUTCOMES)
        self._rule_names = self._concepts([codes.check_code(rule).value for rule in filters.rule])

    def counts(self) -> list[tuple[int, int]]:
        """(document, number of its findings), the newest document first; without those that have none."""
        if self._filters.rule and not self._rule_names:
            return []
        documents = self._documents()
        found = dict(self._connection.execute(*self._counting(documents)).fetchall())
        return [(number, found[number]) for number in documents if found.get(number)]

    def rows(self, document: int, *, limit: int, offset: int) -> list[Row]:
        """Some findings of a document, in its order."""
        where, values = self._on_items()
        group = "measurement_group g ON g.document = d.id"
        item = "item i ON i.document = d.id"
        joined = (
            f"CROSS JOIN {item} CROSS JOIN {group} AND g.number = i.measurement_group"
            if self._filters.rule
            else f"CROSS JOIN {group} CROSS JOIN {item} AND i.measurement_group = g.number"
        )
        sql = (
            f"{_SELECT} FROM document d {joined} {_LOOK_UPS} WHERE d.id = :document AND {where}"
            " ORDER BY g.number, i.position LIMIT :limit OFFSET :offset"
        )
        given = {**values, **_NAMES, "document": document, "limit": limit, "offset": offset}
        cursor = self._connection.execute(sql, given)
        names = [one[0] for one in cursor.description]
        return [_row(dict(zip(names, row, strict=True))) for row in cursor]

    def _counting(self, documents: Sequence[int]) -> tuple[str, dict[str, object]]:
        """Numbers of findings by document: from the counts of groups if they say enough, else from the items."""
        where, values = self._on_items()
        if self._filters.rule and "g." not in where:  # the index of names alone says it
            sql = f"SELECT document, COUNT(*) FROM item i INDEXED BY items_by_name WHERE {where} GROUP BY document"  # noqa: S608
            return sql, values
        if self._filters.rule:
            sql = (
                "SELECT i.document, COUNT(*) FROM item i INDEXED BY items_by_name"  # noqa: S608 - our own words
                " CROSS JOIN measurement_group g ON g.document = i.document AND g.number = i.measurement_group"
                f" WHERE {where} GROUP BY i.document"
            )
            return sql, values
        if {KINDS[kind] for kind in self._filters.kind} & {FindingKind.MEASUREMENT, FindingKind.EVALUATION}:
            sql = (
                "SELECT i.document, COUNT(*) FROM measurement_group g"  # noqa: S608 - our own words
                " CROSS JOIN item i ON i.document = g.document"
                f" AND i.measurement_group = g.number WHERE {where} GROUP BY i.document"
            )
            return sql, values
        total = " + ".join(f"g.{COUNT_COLUMNS[wanted]}" for wanted in self._outcomes) or "0"
        sql = f"SELECT g.document, SUM({total}) FROM measurement_group g WHERE {self._groups}"  # noqa: S608
        values = dict(self._group_values)
        if self._narrows_documents():
            sql += " AND g.document IN (SELECT value FROM json_each(:wanted))"
            values["wanted"] = json_list(documents)
        return f"{sql} GROUP BY g.document", values

    def _narrows_documents(self) -> bool:
        one = self._filters
        return any((one.study, one.series, one.document, one.reviewer, one.first_date, one.last_date))

    def _on_items(self) -> tuple[str, dict[str, object]]:
        """Conditions on items `i` of groups `g`."""
        values = dict(self._group_values)
        conditions = [self._groups]
        if self._filters.rule:
            conditions.append(f"i.name IN ({_numbers(self._rule_names.values())})")
            wanted = {self._outcome_codes.get(outcome, -1) for outcome, _ in self._outcomes if outcome}
            conditions.append(f"i.code IN ({_numbers(sorted(wanted))})")
        else:
            conditions.append("i.finding IS NOT NULL")
        if self._filters.kind:
            conditions.append(f"i.finding IN ({_numbers(KINDS[kind] for kind in self._filters.kind)})")
        if self._filters.outcome or self._filters.severity:
            conditions.append(f"({' OR '.join(map(self._is_outcome, self._outcomes)) or '0'})")
        return " AND ".join(conditions), values

    def _is_outcome(self, wanted: tuple[str, str]) -> str:
        outcome, severity = wanted
        if not outcome:
            return f"i.finding != {int(FindingKind.CHECK)}"
        code = self._outcome_codes.get(outcome, -1)
        # The index of names has code and severity; whether it is a finding only the item itself, which is further away.
        is_check = "" if self._filters.rule else f"i.finding = {int(FindingKind.CHECK)} AND "
        return f"({is_check}i.code = {code} AND i.severity = {SEVERITIES.index(severity)})"

    def _on_groups(self) -> tuple[str, dict[str, object]]:
        """Conditions on groups `g`."""
        filters = self._filters
        conditions: list[str] = []
        values: dict[str, object] = {}
        if filters.verdict:
            conditions.append("g.verdict IN (SELECT value FROM json_each(:verdicts))")
            values["verdicts"] = json_list(filters.verdict)
        if filters.structure:
            conditions.append(f"g.structure IN ({_numbers(structures(self._connection, filters.structure))})")
        if filters.seg:
            ids = "(SELECT id FROM text WHERE value IN (SELECT value FROM json_each(:segs)))"
            conditions.append(f"(g.segmentation IN {ids} OR g.other_segmentation IN {ids})")
            values["segs"] = json_list(filters.seg)
        for name, wanted in (("model", filters.model), ("version", filters.version)):
            if wanted:
                conditions.append(self._of_segmentations(name, wanted))
        return " AND ".join(conditions) or "1", values

    def _of_segmentations(self, name: str, wanted: Sequence[str]) -> str:
        """A condition on what SEGs are called, by the SEG itself or by our document about it."""
        known = self._connection.execute(
            "SELECT text.id, series_description, model, version FROM segmentation"
            " JOIN text ON text.value = segmentation.sop_instance_uid"
        ).fetchall()
        told = self._connection.execute(
            "SELECT id, segmentation_name, '', '' FROM document WHERE segmentation_name != ''"
        )
        is_wanted = _is_model if name == "model" else _is_version
        segmentations = [row[0] for row in known if any(is_wanted(one, *row[1:]) for one in wanted)]
        documents = [row[0] for row in told if any(is_wanted(one, *row[1:]) for one in wanted)]
        names = _numbers(row[0] for row in known)
        return (
            f"(g.segmentation IN ({_numbers(segmentations)})"
            f" OR (g.segmentation NOT IN ({names}) AND g.document IN ({_numbers(documents)})))"
        )

    def _documents(self) -> list[int]:
        """Numbers of the documents that come into question, the newest first."""
        filters = self._filters
        conditions = [CURRENT] if filters.is_current_only else []
        values: list[object] = []
        for columns, wanted in (
            (("study_instance_uid",), filters.study),
            (("ct_series", "series_instance_uid"), filters.series),
            (("sop_instance_uid",), filters.document),
        ):
            if wanted:
                one_of = " OR ".join(f"{column} IN (SELECT value FROM json_each(?))" for column in columns)  # noqa: S608
                conditions.append(f"({one_of})")
                values += [json_list(wanted)] * len(columns)
        if filters.reviewer:
            conditions.append(f"({' OR '.join(['instr(persons, ?) > 0'] * len(filters.reviewer))})")
            values += [name.casefold() for name in filters.reviewer]
        if filters.first_date or filters.last_date:
            conditions.append("content_date != '' AND content_date BETWEEN ? AND ?")
            values += [filters.first_date or "0", filters.last_date or "9"]
        where = " AND ".join(conditions) or "1"
        order = "ORDER BY content_date DESC, content_time DESC, id DESC"
        return [row[0] for row in self._connection.execute(f"SELECT id FROM document WHERE {where} {order}", values)]  # noqa: S608

    def _concepts(self, values: Sequence[str]) -> dict[str, int]:
        """Numbers of our own codes by their values."""
        sql = "SELECT value, id FROM concept WHERE scheme = ? AND value IN (SELECT value FROM json_each(?))"
        return dict(self._connection.execute(sql, (codes.SCHEME, json_list(values))).fetchall())


def structures(connection: sqlite3.Connection, wanted: Sequence[str]) -> list[int]:
    """Numbers of the structures that one of the words means, of the few hundred that there are."""
    rows = connection.execute(
        "SELECT structure.id, finding.value, finding.scheme, site.value, structure.name, structure.words"
        " FROM structure LEFT JOIN concept AS finding ON finding.id = structure.finding"
        " LEFT JOIN concept AS site ON site.id = structure.site"
    )
    return [row[0] for row in rows if any(_is_structure(one, *row[1:]) for one in wanted)]


def _wanted_outcomes(filters: Filters) -> list[tuple[str, str]]:
    """(outcome, severity) of the findings that the filters admit; ("", "") is what is no outcome of a check."""
    wants_checks = not filters.kind or "check" in filters.kind
    wants_others = not (filters.outcome or filters.severity or filters.kind == ("check",))
    return [
        (outcome, severity)
        for outcome, severity in COUNT_COLUMNS
        if (wants_checks and outcome in (filters.outcome or OUTCOMES) and severity in (filters.severity or SEVERITIES))
        or (wants_others and not outcome)
    ]


def _is_structure(wanted: str, value: str | None, scheme: str | None, site: str | None, name: str, words: str) -> bool:
    base = name.removesuffix("_left").removesuffix("_right")
    if wanted in (value, site, f"{value}.{scheme}") or (name and wanted in (name, base)):
        return True
    parts = wanted.casefold().replace("_", " ").split()
    return bool(parts) and all(part in words for part in parts)


def _is_model(wanted: str, description: str, model: str, _version: str) -> bool:
    return wanted.casefold() in f"{description} {model}".casefold()


def _is_version(wanted: str, description: str, model: str, version: str) -> bool:
    return wanted == version or wanted in f"{description} {model} {version}".split()


def _numbers(values: Any) -> str:
    return ", ".join(str(int(value)) for value in values)


_SELECT = """
SELECT d.study_instance_uid, d.ct_series, d.sop_instance_uid, d.content_date, d.observers, d.segmentation_name,
  d.model AS device, d.is_own, i.finding, i.number, g.segment, g.verdict, g.risk, seg.value AS seg,
  source.value AS source_series, structure.label, structure.meaning, structure.name AS structure_name,
  found.value AS structure, found.scheme, side.meaning AS laterality, name.value AS name, name.scheme AS name_scheme,
  name.meaning AS title,
  code.value AS code, code.meaning AS code_meaning, unit.value AS unit, said.value AS said,
  segmentation.series_description, segmentation.model, segmentation.version,
  i.severity, o.value AS outcome_value, o.value_limit, o.unit AS outcome_unit, o.x_mm, o.y_mm, o.z_mm,
  message.value AS message,
  CASE WHEN name.value = :complaint AND name.scheme = :scheme THEN (
    SELECT detail.value FROM item x JOIN text detail ON detail.id = x.text JOIN concept noted ON noted.id = x.name
    WHERE x.document = i.document AND x.measurement_group = i.measurement_group AND x.position > i.position
      AND noted.value = :details AND noted.scheme = :scheme ORDER BY x.position LIMIT 1) END AS detail,
"""
_SELECT += f"({CURRENT.replace('document.id', 'd.id').replace('document.sop', 'd.sop')}) AS current"
_LOOK_UPS = """
LEFT JOIN text seg ON seg.id = g.segmentation
LEFT JOIN text source ON source.id = g.source_series
LEFT JOIN structure ON structure.id = g.structure
LEFT JOIN concept found ON found.id = structure.finding
LEFT JOIN concept side ON side.id = structure.laterality
LEFT JOIN concept name ON name.id = i.name
LEFT JOIN concept code ON code.id = i.code
LEFT JOIN concept unit ON unit.id = i.unit
LEFT JOIN text said ON said.id = i.text
LEFT JOIN segmentation ON segmentation.sop_instance_uid = seg.value
LEFT JOIN outcome o ON o.document = i.document AND o.measurement_group = i.measurement_group AND o.position = i.position
LEFT JOIN text message ON message.id = o.message
"""


def _row(found: Mapping[str, Any]) -> Row:
    is_check = found["finding"] == FindingKind.CHECK
    concept = Code(found["name"] or "", found["name_scheme"] or "", found["title"] or "")
    date = found["content_date"]
    return Row(
        study=found["study_instance_uid"],
        ct_series=found["source_series"] or found["ct_series"],
        seg=found["seg"] or "",
        segment_number=found["segment"],
        label=found["label"] or "",
        structure=found["structure"] or "",
        scheme=found["scheme"] or "",
        meaning=found["meaning"] or "",
        structure_name=found["structure_name"] or "",
        laterality=found["laterality"] or "",
        kind=FindingKind(found["finding"]).name.lower(),
        rule=codes.rule_of(concept) if is_check else "",
        title=codes.rule_title(concept) if is_check else concept.meaning or concept.value,
        outcome=found["code"] if is_check else "",
        severity=SEVERITIES[found["severity"]] if is_check else "",
        value=found["outcome_value"] if is_check else found["number"],
        limit=found["value_limit"],
        unit=(found["outcome_unit"] if is_check else found["unit"]) or "",
        location_mm=None if found["x_mm"] is None else (found["x_mm"], found["y_mm"], found["z_mm"]),
        detail=(found["message"] if is_check else _said(found)) or "",
        verdict=found["verdict"],
        risk=found["risk"],
        document=found["sop_instance_uid"],
        date=f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 else date,
        observer=found["observers"],
        model=found["series_description"] or found["model"] or found["segmentation_name"] or _device(found),
        version=found["version"] or "",
        current=bool(found["current"]),
    )


def _said(found: Mapping[str, Any]) -> Any:
    return found["said"] or found["detail"] or found["code_meaning"] or found["code"]


def _device(found: Mapping[str, Any]) -> str:
    """Of a document of others what wrote it: it is all that is known."""
    return "" if found["is_own"] else str(found["device"])
