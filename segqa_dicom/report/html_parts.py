"""Parts of the HTML page as data: models, cards, rows, cells."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from markupsafe import Markup

from segqa_dicom.checks import Check, Finding, Severity, Verdict
from segqa_dicom.model import PointMm
from segqa_dicom.rendering.finding_figure import colour_of, is_dashed
from segqa_dicom.report.model import CaseReport, SegmentationReport, SegmentReport
from segqa_dicom.report.wording import LOW_DICE

SHADES = (0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
"""Lower ends of the classes of Dice that the heat map tells apart."""


@dataclass(frozen=True, slots=True)
class Model:
    """A segmentation of the case as the page names it; `letter` stands for it in the heat map."""

    number: int
    letter: str
    name: str
    colour: str
    dashed: bool
    part: SegmentationReport
    verdicts: Counter[Verdict]
    failed_checks: int


@dataclass(frozen=True, slots=True)
class Who:
    """A segmentation that a statement is about, and what is particular to it."""

    number: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Statement:
    """What a rule says; the same words about several segmentations are one statement."""

    severity: Severity
    rule: str
    title: str
    message: str
    value: float | None = None
    limit: float | None = None
    location: PointMm | None = None
    who: tuple[Who, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """Three planes, and in words what they show."""

    svg: Markup
    place: str
    window: str


@dataclass(frozen=True)
class Card:
    """All that there is to say about one structure, one segmentation, or the CT.

    risk : None for what is not about a single structure
    focus : (index of segmentation, index of segment) of what it is about, those at fault first
    """

    subject: str
    statements: tuple[Statement, ...]
    focus: tuple[tuple[int, int], ...] = ()
    risk: float | None = None
    pictures: tuple[Picture, ...] = ()

    @property
    def severity(self) -> Severity:
        """That of its worst statement."""
        return self.statements[0].severity

    @property
    def blamed(self) -> tuple[int, ...]:
        """Indices of the segmentations that are at fault, in the order of the case."""
        return tuple(sorted({who.number for one in self.statements for who in one.who}))


@dataclass(slots=True)
class Draft:
    """A card while statements are gathered."""

    subject: str
    statements: list[Statement] = field(default_factory=list)
    focus: list[tuple[int, int]] = field(default_factory=list)
    risk: float | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of the heat map; `shade` is a class of `SHADES`, -1 where there is no value."""

    text: str
    shade: int
    title: str


@dataclass(frozen=True, slots=True)
class Row:
    """One structure of the heat map."""

    label: str
    cells: tuple[Cell, ...]
    mean: Cell


def model(at: int, part: SegmentationReport) -> Model:
    """Model number `at` of a case, with its letter."""
    letter = chr(ord("A") + at) if at < 26 else str(at + 1)
    name = part.record.series_description or f"{part.record.model_name} {part.record.model_version}".strip()
    verdicts = Counter(segment.verdict for segment in part.segments)
    failed = sum(len(segment.failed_checks) for segment in part.segments)
    name = name or part.record.sop_instance_uid
    return Model(at, letter, name, colour_of(at), is_dashed(at), part, verdicts, failed)


def identities(report: CaseReport) -> Iterator[tuple[tuple[int, int], str]]:
    """What says that segments of two segmentations are the same structure, for (segmentation, segment) indices.

    The key; with the label if a segmentation has several segments of that key; nothing shared if there is no code.
    """
    repeated = {
        key
        for part in report.segmentations
        for key, count in Counter(one.structure_key for one in part.segments).items()
        if count > 1
    }
    for at, part in enumerate(report.segmentations):
        for index, one in enumerate(part.segments):
            key, label = one.structure_key, re.sub(r"[^a-z0-9]+", " ", one.segment.label.lower()).strip()
            if not key.strip("|"):
                yield (at, index), f"uncoded {at} {index}"
            else:
                yield (at, index), f"{key} {label}" if key in repeated else key


def statement(one: Check | Finding, titles: Mapping[str, str], who: Iterable[Who]) -> Statement:
    """A check or finding as a statement about `who`."""
    title = titles.get(one.rule, "")
    return Statement(one.severity, one.rule, title, one.message, one.value, one.limit, one.location_mm, tuple(who))


def disagreement(segment: SegmentReport, at: int) -> Statement:
    """A low mean Dice as a statement."""
    message = f"mean Dice against the other segmentations below {LOW_DICE:g}"
    who = Who(at, f"{segment.mean_dice:.2f}")
    return Statement(Severity.WARNING, "", "Disagreement", message, who=(who,))


def merged(statements: Iterable[Statement]) -> list[Statement]:
    """Statements with the same words as one about all of their segmentations; each keeps its first place."""
    found: dict[tuple[str, Severity, str], Statement] = {}
    for one in statements:
        key = one.rule, one.severity, one.message
        known = found.get(key)
        found[key] = (
            one
            if known is None
            else replace(
                known,
                who=(*known.who, *(who for who in one.who if who not in known.who)),
                location=known.location or one.location,
            )
        )
    return list(found.values())


def is_located(card: Card) -> bool:
    """Whether a statement of the card has a location."""
    return any(one.location is not None for one in card.statements)


def distance(one: PointMm, other: PointMm) -> float:
    """Largest difference of a coordinate: what decides whether both are in one picture."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def least(values: Iterable[float | None]) -> tuple[float, float]:
    """Sort key: lowest and mean value; what has none comes last."""
    known = [value for value in values if value is not None]
    return (min(known), sum(known) / len(known)) if known else (2.0, 2.0)


def cell(value: float | None, names: str) -> Cell:
    """A cell of the Dice heat map."""
    if value is None:
        return Cell("–", -1, f"undefined: both are empty ({names})")
    shade = sum(value >= low for low in SHADES) - 1
    return Cell(f"{value:.2f}", max(shade, 0), f"Dice {value:.4f} ({names})")
