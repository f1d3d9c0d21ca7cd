"""What the machine says about segments, worst first: the worklist of readers, asked of the index of findings.

Only the current `report` of each segmentation counts. If two are current, as after revisions on two nodes at once, it
is the newer one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from segqa_dicom.findings.failed_checks import failed_outcomes, reason_of, rules_of
from segqa_dicom.findings.filters import VERDICTS
from segqa_dicom.findings.index import FindingsIndex
from segqa_dicom.findings.listing import structures
from segqa_dicom.findings.schema import CURRENT, json_list
from segqa_dicom.findings.segments import MachineSegment, WorklistFilters
from segqa_dicom.model import SegmentRef
from segqa_dicom.sr import codes

WHOLE_LABEL = "Whole segmentation"
_FEW_REPORTS = 30
_RANKS = (*VERDICTS, "")


@dataclass(frozen=True, slots=True)
class SegmentationSummary:
    """What the machine says about one segmentation.

    verdict : of the whole: the worst of its segments and of the findings about it
    counts : number of segments by verdict
    reason : why the whole did not pass: what is said about it or its case, else about its worst segment; in words
    date : of the report, YYYYMMDD
    """

    segmentation: str
    study: str
    ct_series: str
    model: str
    version: str
    verdict: str
    counts: Mapping[str, int]
    reason: str
    report: str
    date: str


@dataclass(frozen=True, slots=True)
class StudySummary:
    """What the machine says about the segmentations of one study; they stand with the worst one first.

    verdict : the worst one
    counts : number of segments by verdict
    date : of the newest report, YYYYMMDD: who the patient is stands in the archive only
    """

    study: str
    verdict: str
    counts: Mapping[str, int]
    reason: str
    date: str
    segmentations: tuple[SegmentationSummary, ...]


@dataclass(frozen=True, slots=True)
class _Report:
    """A report that counts; `number` is that of its row."""

    number: int
    study: str
    ct_series: str
    uid: str
    date: str
    segmentation: str
    verdict: str
    risk: float
    model: str
    version: str
    searched: str = field(repr=False)


# ------------------------------------------------------------------------------------------------------ segments


def machine_segments(
    index: FindingsIndex,
    filters: WorklistFilters,
    *,
    only: Collection[SegmentRef] | None = None,
    without: Collection[SegmentRef] = (),
    limit: int,
    offset: int = 0,
) -> tuple[list[MachineSegment], int]:
    """Some of the segments that match, and how many those are.

    They stand by verdict, worst first, then by risk, highest first, then by segmentation and number. Of the filters
    those count that the index can answer: model, structure, rule, verdict, study and segmentation; what readers have
    done comes in by `only` (None = all) and `without`.
    """
    with index.reading() as connection:
        question = _Question(connection, filters, only, without)
        total = question.count()
        rows = question.rows(limit, offset) if limit > 0 and offset < total else []
        return _segments(connection, question.reports, rows), total


def matching_places(
    index: FindingsIndex,
    filters: WorklistFilters,
    *,
    only: Collection[SegmentRef] | None = None,
    without: Collection[SegmentRef] = (),
) -> list[SegmentRef]:
    """All places that `machine_segments` would give, in its order: who goes from one to the next needs no more."""
    with index.reading() as connection:
        question = _Question(connection, filters, only, without)
        return [SegmentRef(row[0], row[1]) for row in question.rows(-1, 0)]


def machine_segment(index: FindingsIndex, place: SegmentRef) -> MachineSegment | None:
    """What the machine says about one segment, or a whole segmentation (segment 0); None if there is no report."""
    filters = WorklistFilters(segmentation=place.segmentation)
    if place.segment:
        found, _ = machine_segments(index, filters, only=[place], limit=1)
        return found[0] if found else None
    with index.reading() as connection:
        for report in _reports(connection, filters):
            failed = failed_outcomes(connection, [(report.number, 0)])[report.number, 0]
            return MachineSegment(
                place=place,
                study=report.study,
                ct_series=report.ct_series,
                label=WHOLE_LABEL,
                structure="",
                verdict=report.verdict,
                risk=report.risk,
                reason=reason_of(failed),
                rules=rules_of(failed),
                model=report.model,
                report=report.uid,
            )
    return None


class _Question:
    """Filters as SQL about `segment_by_risk`, which lies in the order of the worklist."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        filters: WorklistFilters,
        only: Collection[SegmentRef] | None,
        without: Collection[SegmentRef],
    ) -> None:
        self._connection = connection
        self.reports = {report.number: report for report in _reports(connection, filters)}
        # Of few documents it reads the segments, of many it walks in the order of the list: SQLite cannot know which.
        is_few = len(self.reports) <= _FEW_REPORTS
        conditions = [_OF_FEW if is_few else _OF_MANY]
        self._values: dict[str, object] = {"documents": json_list(self.reports)}
        if filters.verdict:
            conditions.append("s.rank = :rank")
            self._values["rank"] = _RANKS.index(filters.verdict) if filters.verdict in VERDICTS else -1
        if filters.structure:
            conditions.append("s.structure IN (SELECT value FROM json_each(:structures))")
            self._values["structures"] = json_list(structures(connection, [filters.structure]))
        if filters.rule:
            conditions.append(_FAILS)
            self._values["rule"] = codes.check_code(filters.rule).value
        for word, operator, places in (("only", "IN", only), ("without", "NOT IN", without or None)):
            if places is not None:
                conditions.append(f"{_PLACE} {operator} (SELECT value FROM json_each(:{word}))")  # noqa: S608
                self._values[word] = json_list(f"{one.segmentation} {one.segment}" for one in places)
        self._where = " AND ".join(conditions)

    def count(self) -> int:
        """How many segments match."""
        sql = f"SELECT COUNT(*) FROM segment_by_risk s WHERE {self._where}"  # noqa: S608 - our own words
        return int(self._connection.execute(sql, self._values).fetchone()[0])

    def rows(self, limit: int, offset: int) -> list[tuple[str, int, int, int, int, float, int]]:
        """(SEG, segment, rank, document, group, risk, structure) of some of them, in order; a limit of -1 = all."""
        sql = (
            "SELECT s.segmentation, s.segment, s.rank, s.document, s.number, -s.minus_risk, s.structure"  # noqa: S608
            f" FROM segment_by_risk s WHERE {self._where}"
            " ORDER BY s.rank, s.minus_risk, s.segmentation, s.segment LIMIT :limit OFFSET :offset"
        )
        return self._connection.execute(sql, {**self._values, "limit": limit, "offset": offset}).fetchall()


_OF_FEW = "s.document IN (SELECT value FROM json_each(:documents))"
_OF_MANY = f"+{_OF_FEW}"
_PLACE = "s.segmentation || ' ' || s.segment"
"""One text for both: pairs SQLite looks up one by one."""
_FAILS = (
    "(s.document, s.number) IN (SELECT document, number FROM failed_check WHERE name IN"  # noqa: S608 - our own words
    f" (SELECT id FROM concept WHERE value = :rule AND scheme = '{codes.SCHEME}'))"
)


def _segments(
    connection: sqlite3.Connection,
    reports: Mapping[int, _Report],
    rows: Sequence[tuple[str, int, int, int, int, float, int]],
) -> list[MachineSegment]:
    groups = [(row[3], row[4]) for row in rows]
    outcomes = failed_outcomes(connection, groups)
    known = _structures(connection, {row[6] for row in rows})
    sources = _source_series(connection, groups)
    found = []
    for segmentation, segment, rank, document, group, risk, structure in rows:
        report, (label, name) = reports[document], known.get(structure, ("", ""))
        failed = outcomes[document, group]
        found.append(
            MachineSegment(
                place=SegmentRef(segmentation, segment),
                study=report.study,
                ct_series=sources.get((document, group)) or report.ct_series,
                label=label or f"Segment {segment}",
                structure=name,
                verdict=_RANKS[rank],
                risk=risk,
                reason=reason_of(failed),
                rules=rules_of(failed),
                model=report.model,
                report=report.uid,
            )
        )
    return found


def _structures(connection: sqlite3.Connection, numbers: Iterable[int]) -> dict[int, tuple[str, str]]:
    """(label, canonical name) by the number of the structure."""
    sql = "SELECT id, label, name FROM structure WHERE id IN (SELECT value FROM json_each(?))"
    return {row[0]: (row[1], row[2]) for row in connection.execute(sql, (json_list(numbers),))}


def _source_series(connection: sqlite3.Connection, groups: Sequence[tuple[int, int]]) -> dict[tuple[int, int], str]:
    rows = connection.execute(
        "SELECT g.document, g.number, text.value FROM json_each(?) AS wanted CROSS JOIN measurement_group g"
        " ON g.document = json_extract(wanted.value, '$[0]') AND g.number = json_extract(wanted.value, '$[1]')"
        " CROSS JOIN text ON text.id = g.source_series",
        (json_list(groups),),
    )
    return {(row[0], row[1]): row[2] for row in rows}


# ------------------------------------------------------------------------------------------------------ summaries


def segmentations(index: FindingsIndex, filters: WorklistFilters | None = None) -> list[SegmentationSummary]:
    """What is said about each segmentation, worst first.

    Of the filters model, study, segmentation and verdict (of the whole) count.
    """
    wanted = filters or WorklistFilters()
    with index.reading() as connection:
        reports = {r.number: r for r in _reports(connection, wanted) if wanted.verdict in ("", r.verdict)}
        documents = json_list(reports)
        counts = connection.execute(
            "SELECT document, rank, COUNT(*) FROM segment_by_risk"
            " WHERE document IN (SELECT value FROM json_each(?)) GROUP BY document, rank",
            (documents,),
        ).fetchall()
        by_document: dict[int, dict[str, int]] = {number: {} for number in reports}
        for document, rank, count in counts:
            by_document[document][_RANKS[rank]] = count
        reasons = _whole_reasons(connection, reports)
    found = [
        SegmentationSummary(
            segmentation=report.segmentation,
            study=report.study,
            ct_series=report.ct_series,
            model=report.model,
            version=report.version,
            verdict=report.verdict,
            counts=by_document[number],
            reason=reasons.get(number, ""),
            report=report.uid,
            date=report.date,
        )
        for number, report in reports.items()
    ]
    return sorted(found, key=_badness)


def studies(index: FindingsIndex, filters: WorklistFilters | None = None) -> list[StudySummary]:
    """What is said about the segmentations of each study, the study with the worst one first; filters as above."""
    by_study: dict[str, list[SegmentationSummary]] = {}
    for one in segmentations(index, filters):
        by_study.setdefault(one.study, []).append(one)
    return [
        StudySummary(
            study=study,
            verdict=found[0].verdict,
            counts={
                verdict: count for verdict in _RANKS if (count := sum(one.counts.get(verdict, 0) for one in found))
            },
            reason=found[0].reason,
            date=max(one.date for one in found),
            segmentations=tuple(found),
        )
        for study, found in by_study.items()
    ]


def _badness(one: SegmentationSummary) -> tuple[int, int, int, str]:
    return _rank(one.verdict), -one.counts.get("unusable", 0), -one.counts.get("review", 0), one.segmentation


def _rank(verdict: str) -> int:
    return _RANKS.index(verdict) if verdict in _RANKS else len(_RANKS)


def _whole_reasons(connection: sqlite3.Connection, reports: Mapping[int, _Report]) -> dict[int, str]:
    """Why segmentations did not pass, by report."""
    bad = [number for number, report in reports.items() if report.verdict in ("unusable", "review")]
    whole = failed_outcomes(connection, [(number, 0) for number in bad])
    reasons = {number: reason_of(whole[number, 0]) for number in bad if whole[number, 0]}
    unexplained = [number for number in bad if number not in reasons]
    worst = connection.execute(
        "SELECT s.segmentation, s.segment, s.rank, s.document, s.number, -s.minus_risk, s.structure"
        " FROM json_each(?) AS wanted CROSS JOIN segment_by_risk s ON s.document = wanted.value"
        " WHERE (s.rank, s.minus_risk, s.segment) = (SELECT t.rank, t.minus_risk, t.segment FROM segment_by_risk t"
        " WHERE t.document = s.document ORDER BY t.rank, t.minus_risk, t.segment LIMIT 1)",
        (json_list(unexplained),),
    ).fetchall()
    for row, one in zip(worst, _segments(connection, reports, worst), strict=True):
        reasons[row[3]] = f"{one.label}: {one.reason}" if one.reason else ""
    return reasons


# --------------------------------------------------------------------------------------------------------- reports


def _reports(connection: sqlite3.Connection, filters: WorklistFilters) -> list[_Report]:
    """The current report of each segmentation, as far as the filters want it."""
    conditions, values = "", []
    for column, value in (("d.study_instance_uid", filters.study), ("seg.value", filters.segmentation)):
        if value:
            conditions += f" AND {column} = ?"
            values.append(value)
    # From the segmentation it is a short way to its documents; SQLite takes it only if it is told.
    joins = (
        " FROM text seg CROSS JOIN measurement_group g ON g.segmentation = seg.id AND g.number = 0"
        " CROSS JOIN document d ON d.id = g.document"
        if filters.segmentation
        else " FROM document d CROSS JOIN measurement_group g ON g.document = d.id AND g.number = 0"
        " CROSS JOIN text seg ON seg.id = g.segmentation"
    )
    current = CURRENT.replace("document.id", "d.id").replace("document.sop", "d.sop")
    sql = (
        "SELECT d.id, d.study_instance_uid, d.ct_series, d.sop_instance_uid, d.content_date, seg.value, g.verdict,"
        " COALESCE(g.risk, 0), d.segmentation_name, named.series_description, named.model, named.version"
        f"{joins} LEFT JOIN segmentation named ON named.sop_instance_uid = seg.value"
        f" WHERE d.is_own AND d.kind = 'report' AND {current}{conditions} ORDER BY d.content_date, d.content_time, d.id"
    )
    found: dict[str, _Report] = {}
    for row in connection.execute(sql, values):
        report = _report(row)
        found[report.segmentation] = report
    wanted = filters.model.casefold()
    return [report for report in found.values() if wanted in report.searched]


def _report(row: tuple[int, str, str, str, str, str, str, float, str, str | None, str | None, str | None]) -> _Report:
    told, description, model = row[8], row[9] or "", row[10] or ""
    return _Report(
        *row[:8],
        model=description or model or told or f"SEG ..{row[5][-8:]}",
        version=row[11] or "",
        searched=(f"{description} {model}" if description or model else told).casefold(),
    )


# --------------------------------------------------------------------------------------------------- in words
