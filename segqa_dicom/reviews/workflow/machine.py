"""What the machine's reports and comparisons state about a segment, for a page: read from the index of findings."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace

from segqa_dicom.findings import FindingsIndex
from segqa_dicom.findings.failed_checks import rule_outcomes
from segqa_dicom.findings.schema import CURRENT
from segqa_dicom.findings.worklist import machine_segment
from segqa_dicom.model import Code, SegmentRef
from segqa_dicom.reviews.workflow.model import MachineCheck, MachineComparison, MachineView
from segqa_dicom.sr import codes
from segqa_dicom.sr.outcomes import RuleOutcome

_NUMBERS: tuple[tuple[Code, str, Callable[[float], str]], ...] = (
    (codes.VOLUME, "Volume", lambda value: f"{_short(value)} mL"),
    (codes.VOXEL_COUNT, "Voxels", lambda value: f"{value:,.0f}"),
    (codes.COMPONENT_COUNT, "Parts", lambda value: f"{value:,.0f}"),
    (codes.LARGEST_COMPONENT_SHARE, "Largest part", lambda value: f"{_short(value)} %"),
    (codes.MEAN_HU, "Mean", lambda value: f"{value:.0f} HU"),
    (codes.SD_HU, "Standard deviation", lambda value: f"{value:.0f} HU"),
    (codes.MEDIAN_HU, "Median", lambda value: f"{value:.0f} HU"),
    (codes.MINIMUM_HU, "Minimum", lambda value: f"{value:.0f} HU"),
    (codes.MAXIMUM_HU, "Maximum", lambda value: f"{value:.0f} HU"),
    (codes.RISK, "Risk score", lambda value: f"{value:.2f}"),
)
_COMPARED = {
    codes.DICE: "dice",
    codes.SURFACE_DICE: "nsd",
    codes.HAUSDORFF_95: "hd95_mm",
    codes.ASSD: "assd_mm",
    codes.VOLUME_DIFFERENCE: "volume_difference_percent",
}


def machine_view(index: FindingsIndex, place: SegmentRef) -> MachineView | None:
    """What the machine states about a segment, or a whole segmentation (segment 0); None if there is no report."""
    segment = machine_segment(index, place)
    if segment is None:
        return None
    with index.reading() as connection:
        document, group = _group_of(connection, segment.report, place)
        outcomes = rule_outcomes(connection, [(document, group), (document, 0)])
        own = outcomes[document, group]
        about = [one for one in outcomes[document, 0] if one.is_failed and _is_about(one, place.segment)]
        numbers = _numbers(connection, document, group) if group else ()
        comparisons = _comparisons(connection, index, place) if group else ()
    located = [one.location_mm for one in (*own, *about) if one.is_failed and one.location_mm is not None]
    return MachineView(
        segment=segment,
        numbers=numbers,
        checks=tuple(_check(one) for one in own),
        findings=tuple(_line(one) for one in about),
        comparisons=comparisons,
        locations_mm=tuple(dict.fromkeys(located)),
    )


def _is_about(one: RuleOutcome, segment: int) -> bool:
    """Whether an outcome of the whole names a segment, or no segment at all."""
    return not segment or not one.segments or segment in one.segments


# -------------------------------------------------------------------------------------------- report and comparisons


def _group_of(connection: sqlite3.Connection, report: str, place: SegmentRef) -> tuple[int, int]:
    """Numbers of the document and of its group on the segment (0 = the whole)."""
    (document,) = connection.execute("SELECT id FROM document WHERE sop_instance_uid = ?", (report,)).fetchone()
    if not place.segment:
        return document, 0
    sql = "SELECT number FROM measurement_group WHERE document = ? AND number > 0 AND segment = ?"
    found = connection.execute(sql, (document, place.segment)).fetchone()
    return document, found[0] if found else 0


def _numbers(connection: sqlite3.Connection, document: int, group: int) -> tuple[tuple[str, str], ...]:
    values = dict(_measured(connection, document, group))
    return tuple((name, shown(values[code])) for code, name, shown in _NUMBERS if code in values)


def _measured(connection: sqlite3.Connection, document: int, group: int) -> Iterator[tuple[Code, float]]:
    rows = connection.execute(
        "SELECT concept.value, concept.scheme, concept.meaning, item.number FROM item"
        " JOIN concept ON concept.id = item.name"
        " WHERE document = ? AND measurement_group = ? AND number IS NOT NULL ORDER BY position",
        (document, group),
    )
    for value, scheme, meaning, number in rows:
        yield Code(value, scheme, meaning), number


def _comparisons(
    connection: sqlite3.Connection, index: FindingsIndex, place: SegmentRef
) -> tuple[MachineComparison, ...]:
    """With the same structure of other segmentations, the lowest Dice first; of several documents the newest counts."""
    current = CURRENT.replace("document.id", "d.id").replace("document.sop", "d.sop")
    found: dict[SegmentRef, MachineComparison] = {}
    for is_turned, mine, other in ((False, "", "other_"), (True, "other_", "")):
        rows = connection.execute(
            f"SELECT g.document, g.number, text.value, g.{other}segment FROM measurement_group g"  # noqa: S608
            f" CROSS JOIN document d ON d.id = g.document CROSS JOIN text ON text.id = g.{other}segmentation"
            f" WHERE g.{mine}segmentation = (SELECT id FROM text WHERE value = ?) AND g.{mine}segment = ?"
            f" AND g.number > 0 AND d.is_own AND d.kind = 'compare' AND {current} ORDER BY d.id",
            (place.segmentation, place.segment),
        )
        for document, group, segmentation, segment in rows.fetchall():
            values = {
                _COMPARED[name]: value for name, value in _measured(connection, document, group) if name in _COMPARED
            }
            one = MachineComparison(_model(index, segmentation), segmentation, segment, **values)
            found[SegmentRef(segmentation, segment)] = _turned(one) if is_turned else one
    return tuple(sorted(found.values(), key=lambda one: (1.0 if one.dice is None else one.dice, one.model)))


def _turned(one: MachineComparison) -> MachineComparison:
    """The same seen from the other side; all but the volume difference, a share of the reference, is symmetric."""
    difference = one.volume_difference_percent
    if difference is None or difference <= -100.0:
        return replace(one, volume_difference_percent=None)
    return replace(one, volume_difference_percent=-difference / (1.0 + difference / 100.0))


def _model(index: FindingsIndex, segmentation: str) -> str:
    found = machine_segment(index, SegmentRef(segmentation, 0))
    return found.model if found else f"SEG ..{segmentation[-8:]}"


# --------------------------------------------------------------------------------------------------------- in words


def _check(one: RuleOutcome) -> MachineCheck:
    location = one.location_mm if one.is_failed else None
    return MachineCheck(one.rule, one.title, one.outcome, one.message, location, one.severity)


def _line(one: RuleOutcome) -> str:
    return f"{one.title}: {one.message}" if one.message and one.title else one.message or one.title or one.rule


def _short(value: float) -> str:
    """Three significant digits, but no fewer than those before the point."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"
