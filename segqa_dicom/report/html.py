"""The review as one self-contained page: findings worst first with pictures, Dice heat map, all numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from segqa_dicom import __version__
from segqa_dicom.checks import Check, Finding, Outcome, Severity, Verdict
from segqa_dicom.checks.finding import SEVERITY_ORDER
from segqa_dicom.model import Case, PointMm
from segqa_dicom.report.model import CaseReport, SegmentationReport, SegmentReport
from segqa_dicom.report.pictures import COLOURS, MAX_COLOURS, SOFT, colour_class, finding_picture, window_for
from segqa_dicom.report.words import LOW_DICE, ct_name, disagrees

MAX_CARDS = 200
"""Findings shown per case; the rest is counted."""
MAX_ROWS = 500
"""Rows of the heat map and of the table of segments per case; the rest is counted."""


@dataclass(frozen=True)
class Line:
    """One statement on a card."""

    severity: str
    rule: str
    title: str
    message: str


@dataclass(frozen=True)
class Card:
    """What there is to say about one structure, one segmentation or the CT, with a picture if it has a place.

    colour : class of the segmentation's colour, empty for the CT
    place : where, in words
    """

    severity: str
    subject: str
    source: str
    colour: str
    lines: tuple[Line, ...]
    place: str = ""
    picture: Markup = field(default_factory=Markup)


@dataclass(frozen=True)
class _Draft:
    """A card before its picture is drawn."""

    severity: Severity
    risk: float
    subject: str
    source: str
    colour: str
    lines: tuple[Line, ...]
    location: PointMm | None
    focus: tuple[tuple[int, int], ...]
    segment: SegmentReport | None


@dataclass(frozen=True)
class Cell:
    """One value of the heat map; `shade` 0-10, -1 where there is none."""

    text: str
    shade: int
    title: str


def render_page(sections: Sequence[str]) -> str:
    """The page around the sections that `render_case` and `render_not_reviewed` made."""
    template = _environment().get_template("page.html.j2")
    colours = [COLOURS[number % len(COLOURS)] for number in range(MAX_COLOURS)]
    return template.render(sections=[Markup(section) for section in sections], version=__version__, colours=colours)  # noqa: S704 - rendered with escaping


def render_case(report: CaseReport, case: Case, *, rule_titles: Mapping[str, str], max_pictures: int = 40) -> str:
    """The section of one case.

    rule_titles : rule id -> title
    max_pictures : the findings after that many have none
    """
    drafts = sorted(_drafts(report, rule_titles), key=lambda draft: (SEVERITY_ORDER[draft.severity], -draft.risk))
    notes = [draft for draft in drafts if draft.severity is Severity.INFO]
    shown = [draft for draft in drafts if draft.severity is not Severity.INFO]
    cards = []
    drawn = 0
    for draft in shown[:MAX_CARDS]:
        picture = draft.location is not None and drawn < max_pictures
        drawn += picture
        cards.append(_card(draft, report, case, draw=picture))
    rows, heat = _rows(report), _heat_map(report)
    return (
        _environment()
        .get_template("case.html.j2")
        .render(
            report=report,
            ct_name=ct_name(report),
            classes=[_colour(at) for at in range(len(report.segmentations))],
            counts=[_counts(part) for part in report.segmentations],
            cards=cards,
            more_cards=len(shown) - len(cards),
            notes=[_card(draft, report, case, draw=False) for draft in notes[:MAX_CARDS]],
            pairs=[_pair_name(report, pair.evaluated, pair.reference) for pair in report.comparisons],
            note_count=len(notes),
            heat=heat[:MAX_ROWS],
            more_heat=max(len(heat) - MAX_ROWS, 0),
            rows=rows[:MAX_ROWS],
            more_rows=max(len(rows) - MAX_ROWS, 0),
        )
    )


def render_not_reviewed(rows: Sequence[tuple[str, str | None, str]]) -> str:
    """The section of what was left out: (path, SOP Instance UID or None, reason)."""
    template = _environment().get_template("not_reviewed.html.j2")
    return template.render(rows=rows[:MAX_ROWS], more=max(len(rows) - MAX_ROWS, 0))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters["number"] = _number
    return environment


def _number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


# ------------------------------------------------------------------------------------------------------ cards


def _drafts(report: CaseReport, titles: Mapping[str, str]) -> Iterable[_Draft]:
    places = _places(report)
    for finding in report.findings:
        yield _of_finding(finding, "CT", report.ct.series_description, "", (), titles)
    for at, part in enumerate(report.segmentations):
        for finding in part.findings:
            focus = [place for key in finding.structure_keys for place in places.get(key, ()) if place[0] == at]
            yield _of_finding(finding, "whole segmentation", _name(part), _colour(at), focus, titles)
        for index in range(len(part.segments)):
            draft = _of_segment(report, places, (at, index), titles)
            if draft is not None:
                yield draft


def _places(report: CaseReport) -> dict[str, list[tuple[int, int]]]:
    """(index of segmentation, index of segment) of everything that has an identity key."""
    places: dict[str, list[tuple[int, int]]] = {}
    for at, part in enumerate(report.segmentations):
        for index, segment in enumerate(part.segments):
            if segment.structure_key.strip("|"):
                places.setdefault(segment.structure_key, []).append((at, index))
    return places


def _of_finding(
    finding: Finding,
    subject: str,
    source: str,
    colour: str,
    focus: Sequence[tuple[int, int]],
    titles: Mapping[str, str],
) -> _Draft:
    # Findings about the whole stand before those about single structures of the same severity.
    return _Draft(
        severity=finding.severity,
        risk=float("inf"),
        subject=subject,
        source=source,
        colour=colour,
        lines=(_line(finding, titles),),
        location=finding.location_mm,
        focus=tuple(focus),
        segment=None,
    )


def _of_segment(
    report: CaseReport, places: Mapping[str, list[tuple[int, int]]], place: tuple[int, int], titles: Mapping[str, str]
) -> _Draft | None:
    """One card for all that is to say about a structure; None if nothing is."""
    at, index = place
    segment = report.segmentations[at].segments[index]
    checks = [check for check in segment.checks if check.outcome in (Outcome.WARNING, Outcome.FAIL)]
    checks.sort(key=lambda check: SEVERITY_ORDER[check.severity])
    lines = [_line(check, titles) for check in checks]
    severity = checks[0].severity if checks else Severity.INFO
    if disagrees(segment):
        message = f"mean Dice {segment.mean_dice:.2f} against the other segmentations (below {LOW_DICE})"
        lines.append(Line(Severity.WARNING.value, "", "Disagreement", message))
        severity = min(severity, Severity.WARNING, key=lambda one: SEVERITY_ORDER[one])
    if not lines:
        return None
    location = next((check.location_mm for check in checks if check.location_mm is not None and check.is_failed), None)
    # The same structure in the other segmentations: seeing both is half of the answer.
    others = [one for one in places.get(segment.structure_key, ()) if one[0] != at]
    return _Draft(
        severity=severity,
        risk=segment.risk,
        subject=segment.segment.label,
        source=_name(report.segmentations[at]),
        colour=_colour(at),
        lines=tuple(lines),
        location=location or _inside(report, segment),
        focus=(place, *others),
        segment=segment,
    )


def _inside(report: CaseReport, segment: SegmentReport) -> PointMm | None:
    seeds = segment.measures.shape.components.seeds
    if len(seeds) == 0:
        return None
    k, i, j = (float(value) for value in seeds[0])
    return report.geometry.point_at(k, i, j)


def _line(check: Check | Finding, titles: Mapping[str, str]) -> Line:
    return Line(check.severity.value, check.rule, titles.get(check.rule, ""), check.message)


def _card(draft: _Draft, report: CaseReport, case: Case, *, draw: bool) -> Card:
    place = ""
    picture = Markup()
    if draft.location is not None:
        x, y, z = draft.location
        place = f"x {x:.0f}, y {y:.0f}, z {z:.0f} mm; CT slice {report.geometry.nearest_slice(draft.location) + 1}"
        if draw:
            segment, intensity = None, None
            if draft.segment is not None:
                segment, intensity = draft.segment.segment, draft.segment.measures.intensity
            window = window_for(segment, intensity.mean_hu if intensity else None) if segment else SOFT
            picture = Markup(finding_picture(case, draft.location, draft.focus, window))  # noqa: S704 - numbers only
    return Card(draft.severity.value, draft.subject, draft.source, draft.colour, draft.lines, place, picture)


def _colour(at: int) -> str:
    return colour_class(at)


def _name(part: SegmentationReport) -> str:
    return part.record.series_description or part.record.sop_instance_uid


# ----------------------------------------------------------------------------------------------------- tables


def _counts(part: SegmentationReport) -> tuple[int, int]:
    """How many segments failed, and how many are to be looked at."""
    return len(part.with_verdict(Verdict.UNUSABLE)), len(part.with_verdict(Verdict.REVIEW))


def _pair_name(report: CaseReport, evaluated: str, reference: str) -> tuple[str, str]:
    names = {part.record.sop_instance_uid: _name(part) for part in report.segmentations}
    return names[evaluated], names[reference]


def _heat_map(report: CaseReport) -> list[tuple[str, list[Cell]]]:
    """(structure, one cell per pair), the structures that agree least first."""
    labels = {
        (part.record.sop_instance_uid, segment.segment.number): segment.segment.label
        for part in report.segmentations
        for segment in part.segments
    }
    found: dict[tuple[str, str], dict[int, float | None]] = {}
    for column, pair in enumerate(report.comparisons):
        for one in pair.segments:
            label = labels[pair.reference, one.reference_segment]
            found.setdefault((one.structure_key, label), {})[column] = one.dice
    ordered = sorted(found.items(), key=lambda row: (_mean(row[1].values()), row[0]))
    width = range(len(report.comparisons))
    return [(label, [_cell(values, column) for column in width]) for (_, label), values in ordered]


def _mean(values: Iterable[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else 2.0


def _cell(values: Mapping[int, float | None], column: int) -> Cell:
    if column not in values:
        return Cell("", -1, "only one of the two has it")
    value = values[column]
    if value is None:
        return Cell("–", -1, "undefined: both are empty")
    return Cell(f"{value:.2f}", min(int(value * 10), 10), f"Dice {value:.4f}")


def _rows(report: CaseReport) -> list[tuple[str, str, SegmentReport]]:
    """(colour, segmentation, segment) of every segment."""
    return [(_colour(at), _name(part), one) for at, part in enumerate(report.segmentations) for one in part.segments]
