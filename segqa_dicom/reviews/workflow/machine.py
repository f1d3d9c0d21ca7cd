"""All that the machine's documents say about a segment, as a page shows it.

Reports and comparisons are asked of the index, which has every item of them; the key findings come from the archive,
because only they have coordinates.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from threading import Lock

from segqa_dicom.archive import Archive
from segqa_dicom.errors import InputError
from segqa_dicom.findings import Document, FindingsIndex, Group, read_document
from segqa_dicom.findings.index import CURRENT
from segqa_dicom.findings.worklist import RuleOutcome, explained, machine_segment, rule_outcomes
from segqa_dicom.model import Code, CtVolume, PointMm, SegmentRef
from segqa_dicom.reviews.workflow.model import MachineCheck, MachineComparison, MachineView
from segqa_dicom.reviews.workflow.patient_positions import image_point_mm
from segqa_dicom.sr import codes

_KEPT_DOCUMENTS = 200
"""Of key findings, at most 60 arrows each."""
_ARROW = "ArrowAnnotate:"
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


@dataclass(frozen=True, slots=True)
class _Arrow:
    """A located complaint in the key findings.

    segment : 0 = it is about the whole
    names : of the structures it is about, as a list in words
    """

    rule: str
    segment: int
    names: str
    point_mm: PointMm


def machine_view(
    index: FindingsIndex, archive: Archive, place: SegmentRef, folder: Path, *, ct: CtVolume | None = None
) -> MachineView | None:
    """What the machine says about a segment, or a whole segmentation (segment 0); None if there is no report.

    folder : where files of the archive are put while they are read
    ct : the CT that the segmentation was drawn on; without it nothing is located

    Raises `PeerUnavailable` and `PeerRefused` if the archive does not answer, which is asked only for what is located.
    """
    segment = machine_segment(index, place)
    if segment is None:
        return None
    with index.reading() as connection:
        document, group = _group_of(connection, segment.report, place)
        told = rule_outcomes(connection, [(document, group), (document, 0)])
        whole = [one for one in told[document, 0] if one.is_complaint]
        own = explained(told[document, group], whole, segment.label, segment.structure) if group else told[document, 0]
        numbers = _numbers(connection, document, group) if group else ()
        named = _rules_of_segments(connection, document, group) if group else {}
        comparisons = _comparisons(connection, index, place) if group else ()
        key_findings = _key_findings(connection, place.segmentation) if ct is not None else []
    arrows = [
        arrow
        for found in (_cached(archive, uid, folder) for uid in key_findings)
        if found is not None and ct is not None
        for arrow in _arrows(found, ct)
    ]
    mine = _arrows_of(arrows, place, segment.label)
    return MachineView(
        segment=segment,
        numbers=numbers,
        checks=tuple(_check(one, mine) for one in own),
        findings=tuple(_line(one) for one in whole if named.get(one.rule, True)),
        comparisons=comparisons,
        locations_mm=tuple(dict.fromkeys(arrow.point_mm for arrow in mine)),
    )


def forget_documents() -> None:
    """Forget all key findings that were read."""
    with _lock:
        _read.clear()


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


def _rules_of_segments(connection: sqlite3.Connection, document: int, group: int) -> dict[str, bool]:
    """Rules that complain about segments by name, and whether about this one."""
    rows = connection.execute(
        "SELECT concept.value, MAX(complaint.number = ?) FROM complaint JOIN concept ON concept.id = complaint.name"
        " WHERE complaint.document = ? AND complaint.number > 0 GROUP BY concept.value",
        (group, document),
    )
    return {name.removeprefix("CHK-"): bool(is_here) for name, is_here in rows}


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


# ----------------------------------------------------------------------------------------------------- key findings


def _key_findings(connection: sqlite3.Connection, segmentation: str) -> list[str]:
    """SOP Instance UIDs of the machine's key findings on a segmentation."""
    current = CURRENT.replace("document.id", "d.id").replace("document.sop", "d.sop")
    rows = connection.execute(
        "SELECT d.sop_instance_uid FROM measurement_group g CROSS JOIN document d ON d.id = g.document"  # noqa: S608
        " WHERE g.segmentation = (SELECT id FROM text WHERE value = ?) AND g.number = 0"
        f" AND d.is_own AND d.kind = 'keyimg' AND d.persons = '' AND {current} ORDER BY d.id DESC LIMIT 1",
        (segmentation,),
    )
    return [row[0] for row in rows]


_read: OrderedDict[str, Document] = OrderedDict()
_lock = Lock()


def _cached(archive: Archive, uid: str, folder: Path) -> Document | None:
    """A document of the archive; None if it is gone, or cannot be read. Objects never change, so it is read once."""
    with _lock:
        if uid in _read:
            _read.move_to_end(uid)
            return _read[uid]
    with tempfile.TemporaryDirectory(prefix="machine-", dir=folder) as name:
        paths = archive.fetch(archive.find_instances([uid]), Path(name))
        try:
            document = read_document(paths[uid]) if uid in paths else None
        except InputError:
            document = None
    if document is not None:
        with _lock:
            _read[uid] = document
            while len(_read) > _KEPT_DOCUMENTS:
                _read.popitem(last=False)
    return document


def _arrows(document: Document, ct: CtVolume) -> Iterator[_Arrow]:
    """The located complaints, worst first as they stand there; those on other images are left out."""
    for group in document.groups:
        point = _point(document, group, ct)
        if point is None:
            continue
        said = next((one.text for one in document.items if one.group == group.number and one.name == codes.COMMENT), "")
        rule = group.tracking_identifier.partition(_ARROW)[2].split(" ")[0]
        yield _Arrow(rule, group.segment, said.partition(": ")[0], point)


def _point(document: Document, group: Group, ct: CtVolume) -> PointMm | None:
    items = [one for one in document.items if one.group == group.number]
    for item, below in pairwise(items):
        if item.graphic is not None and item.graphic.type == "POINT" and below.reference is not None:
            frame = below.reference.frames[0] if below.reference.frames else None
            return image_point_mm(ct, below.reference.sop_instance_uid, frame, item.graphic.data)
    return None


def _arrows_of(arrows: Sequence[_Arrow], place: SegmentRef, label: str) -> list[_Arrow]:
    """Those on the segment, then those on several structures of which it is one; of the whole: all that name none."""
    own = [arrow for arrow in arrows if arrow.segment == place.segment]
    shared = [arrow for arrow in arrows if place.segment and arrow.segment != place.segment and _names(arrow, label)]
    return [*own, *shared]


def _names(arrow: _Arrow, label: str) -> bool:
    """Whether a segment is among those that an arrow names; labels may begin with the name of their model."""
    return any(label == name or label.endswith(f" {name}") for name in arrow.names.split(", ") if name)


# --------------------------------------------------------------------------------------------------------- in words


def _check(one: RuleOutcome, arrows: Sequence[_Arrow]) -> MachineCheck:
    location = next((arrow.point_mm for arrow in arrows if arrow.rule == one.rule), None) if one.is_complaint else None
    return MachineCheck(one.rule, one.title, one.outcome, one.message, location)


def _line(one: RuleOutcome) -> str:
    return f"{one.title}: {one.message}" if one.message and one.title else one.message or one.title or one.rule


def _short(value: float) -> str:
    """Three significant digits, but no fewer than those before the point."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"
