"""The review as one self-contained page: findings worst first with pictures, Dice heat map, all numbers."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from segqa_dicom import __version__
from segqa_dicom.checks import Finding, Outcome, Severity, Verdict
from segqa_dicom.checks.finding import SEVERITY_ORDER
from segqa_dicom.measures.results import PairComparison
from segqa_dicom.model import Case, PointMm
from segqa_dicom.rendering.finding_figure import finding_picture
from segqa_dicom.rendering.windows import Window, window_for
from segqa_dicom.report.html_parts import (
    SHADES,
    Card,
    Cell,
    Draft,
    Model,
    Picture,
    Row,
    Statement,
    Who,
    cell,
    disagreement,
    distance,
    identities,
    is_located,
    least,
    merged,
    model,
    statement,
)
from segqa_dicom.report.model import CaseReport, SegmentReport
from segqa_dicom.report.wording import ct_name, disagrees

MAX_CARDS = 200
"""Findings shown per case; the rest is counted."""
MAX_ROWS = 500
"""Rows of each table; the rest is counted."""
MAX_PICTURES_PER_CARD = 2
NEAR_MM = 60.0
"""Places that are this close to each other are in one picture."""


def render_page(sections: Sequence[str]) -> str:
    """The page around the sections that `render_case` and `render_not_reviewed` made."""
    template, script = _environment().get_template("page.html.j2"), _script()
    summaries = [_summary(section) for section in sections]
    totals: Counter[str] = Counter()
    for summary in summaries:
        totals.update({name: int(value) for name, value in summary.items() if value.isdecimal()})
    return template.render(
        sections=[Markup(section) for section in sections],  # noqa: S704 - rendered with escaping
        summaries=summaries,
        totals=totals,
        version=__version__,
        script=Markup(script),  # noqa: S704 - ours
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def render_case(report: CaseReport, case: Case, *, rule_titles: Mapping[str, str], max_pictures: int = 40) -> str:
    """The section of one case.

    rule_titles : rule id -> title
    max_pictures : the findings after that many have none
    """
    book = _CaseBook(report, case, rule_titles)
    cards = book.cards()
    shown = _illustrated(cards[:MAX_CARDS], book, max_pictures)
    notes, heat, rows = book.notes(), book.heat_map(), book.rows()
    return (
        _environment()
        .get_template("case.html.j2")
        .render(
            report=report,
            facts=case.ct.facts,
            ct_name=ct_name(report),
            anchor="ct-" + re.sub(r"[^0-9A-Za-z]+", "-", report.ct.series_instance_uid),
            models=book.models,
            counts=Counter(one.verdict.value for part in report.segmentations for one in part.segments),
            errors=sum(card.severity is Severity.ERROR for card in cards),
            cards=shown,
            left_cards=len(cards) - len(shown),
            left_pictures=sum(not card.pictures and is_located(card) for card in shown),
            max_pictures=max_pictures,
            notes=notes[:MAX_ROWS],
            left_notes=max(len(notes) - MAX_ROWS, 0),
            pairs=book.pairs,
            heat=heat[:MAX_ROWS],
            left_heat=max(len(heat) - MAX_ROWS, 0),
            shades=SHADES,
            alone=book.only_once(),
            rows=rows,
            segment_count=sum(len(part.segments) for part in report.segmentations),
        )
    )


def render_not_reviewed(rows: Sequence[tuple[str, str | None, str]]) -> str:
    """The section of what was left out: (path, SOP Instance UID or None, reason)."""
    template = _environment().get_template("not_reviewed.html.j2")
    return template.render(rows=rows[:MAX_ROWS], count=len(rows), left=max(len(rows) - MAX_ROWS, 0))


# ------------------------------------------------------------------------------------------------- templates


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=_printable,
    )
    environment.filters["number"] = _number
    environment.filters["compact"] = _compact
    environment.globals["MAX_ROWS"] = MAX_ROWS
    return environment


_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def _printable(value: Any) -> Any:
    """Text from files without what no page may contain."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return _UNPRINTABLE.sub("�", value)
    return value


def _number(value: float | None, digits: int = 1) -> str | Markup:
    if value is None:
        return Markup('<span title="undefined">–</span>')
    return f"{value:,.{digits}f}".replace(",", "\u202f").replace("-", "−")


def _compact(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")


@cache
def _script() -> str:
    return _environment().get_template("page.js").render()


def _summary(section: str) -> dict[str, str]:
    """What a section says about itself in the data attributes of its first tag."""
    tag = re.match(r"\s*<section\b[^>]*>", section)
    found = re.findall(r'\bdata-([a-z-]+)="([^"]*)"', tag[0]) if tag else []
    summary = {name.replace("-", "_"): html.unescape(value) for name, value in found}
    return {"title": "", "anchor": "", **summary}


# ------------------------------------------------------------------------------------------------------ cards


class _CaseBook:
    """A report seen by structure instead of by segmentation."""

    def __init__(self, report: CaseReport, case: Case, titles: Mapping[str, str]) -> None:
        self.report, self.case, self.titles = report, case, titles
        self.models = tuple(model(at, part) for at, part in enumerate(report.segmentations))
        self.number_of = {part.record.sop_instance_uid: at for at, part in enumerate(report.segmentations)}
        self.places: dict[str, list[tuple[int, int]]] = {}
        self.identity_of: dict[tuple[int, int], str] = {}
        for place, identity in identities(report):
            self.places.setdefault(identity, []).append(place)
            self.identity_of[place] = identity
        self.comparisons = sorted(report.comparisons, key=self._numbers)
        self.pairs = [tuple(self.models[at] for at in self._numbers(pair)) for pair in self.comparisons]

    def _numbers(self, pair: PairComparison) -> tuple[int, int]:
        first, second = sorted((self.number_of[pair.reference], self.number_of[pair.evaluated]))
        return first, second

    def segment(self, place: tuple[int, int]) -> SegmentReport:
        return self.report.segmentations[place[0]].segments[place[1]]

    # cards

    def cards(self) -> list[Card]:
        """All complaints, worst first: by severity, then what is about more than one structure, then by risk."""
        drafts: dict[str, Draft] = {}
        for at, finding in self._findings():
            if finding.is_failed:
                self._add_finding(drafts, at, finding)
        for place in self.identity_of:
            self._add_segment(drafts, place)
        cards = [self._finished(draft) for draft in drafts.values()]
        return sorted(
            cards,
            key=lambda card: (
                SEVERITY_ORDER[card.severity],
                card.risk is not None,
                -(card.risk or 0.0),
                card.subject,
            ),
        )

    def _findings(self) -> Iterator[tuple[int | None, Finding]]:
        for finding in self.report.findings:
            yield None, finding
        for at, part in enumerate(self.report.segmentations):
            for finding in part.findings:
                yield at, finding

    def _add_finding(self, drafts: dict[str, Draft], at: int | None, finding: Finding) -> None:
        numbers = [self.number_of[uid] for uid in finding.sop_instance_uids if uid in self.number_of]
        if at is not None and at not in numbers:
            numbers.insert(0, at)
        identities = self._with_keys(finding.structure_keys, numbers)
        focus = [place for identity in identities for place in self.places[identity]]
        subject = ", ".join(self.label(identity, numbers) for identity in identities)
        if not subject:
            subject = "whole segmentation" if at is not None else "several segmentations" if numbers else "CT series"
        key = identities[0] if len(identities) == 1 else f"{subject} {finding.rule} {identities}"
        draft = drafts.setdefault(key, Draft(subject))
        draft.focus.extend(place for place in focus if place not in draft.focus)
        if len(identities) == 1:
            risks = [self.segment(place).risk for place in focus if place[0] in numbers]
            draft.risk = max([draft.risk or 0.0, *risks])
        draft.statements.append(statement(finding, self.titles, [Who(number) for number in numbers]))

    def _with_keys(self, keys: Sequence[str], numbers: Collection[int]) -> list[str]:
        """The structures with these keys, those of the segmentations in question if several share a key."""
        found = []
        for key in dict.fromkeys(keys):
            same = [
                identity
                for identity, places in self.places.items()
                if any(self.segment(place).structure_key == key for place in places)
            ]
            mine = [one for one in same if not numbers or any(at in numbers for at, _ in self.places[one])]
            found.extend(mine or same)
        return found

    def label(self, identity: str, numbers: Collection[int] = ()) -> str:
        """What a structure is called, by the segmentations in question if they have it."""
        places = sorted(self.places[identity], key=lambda place: place[0] not in numbers)
        return self.segment(places[0]).segment.label

    def _add_segment(self, drafts: dict[str, Draft], place: tuple[int, int]) -> None:
        segment, identity = self.segment(place), self.identity_of[place]
        statements = [statement(check, self.titles, [Who(place[0])]) for check in segment.failed_checks]
        if disagrees(segment):
            statements.append(disagreement(segment, place[0]))
        if not statements:
            return
        draft = drafts.setdefault(identity, Draft(segment.segment.label))
        draft.statements.extend(statements)
        draft.risk = max(draft.risk or 0.0, segment.risk)
        draft.focus.extend(one for one in self.places[identity] if one not in draft.focus)

    def _finished(self, draft: Draft) -> Card:
        statements = sorted(merged(draft.statements), key=lambda one: SEVERITY_ORDER[one.severity])
        card = Card(draft.subject, tuple(statements), risk=draft.risk)
        worst = [who.number for who in statements[0].who]
        order = {number: rank for rank, number in enumerate(dict.fromkeys([*worst, *card.blamed]))}
        focus = sorted(draft.focus, key=lambda place: (order.get(place[0], len(order)), place))
        return replace(card, focus=tuple(focus))

    # pictures

    def spots(self, card: Card) -> list[tuple[PointMm, tuple[int, ...]]]:
        """Where to look and whom to blame there; places that one picture shows are one."""
        found: list[tuple[PointMm, list[int]]] = []
        for one in card.statements:
            if one.location is None:
                continue
            near = [numbers for spot, numbers in found if distance(spot, one.location) <= NEAR_MM]
            if near:
                near[0].extend(who.number for who in one.who)
            else:
                found.append((one.location, [who.number for who in one.who]))
        if not found and (inside := self._inside(card)) is not None:
            found.append(inside)
        return [(spot, tuple(dict.fromkeys(numbers))) for spot, numbers in found[:MAX_PICTURES_PER_CARD]]

    def _inside(self, card: Card) -> tuple[PointMm, list[int]] | None:
        """A point in the structure, where no rule says which."""
        for place in card.focus:
            seeds = self.segment(place).measures.shape.components.seeds
            if len(seeds):
                k, i, j = (float(value) for value in seeds[0])
                return self.report.geometry.point_at(k, i, j), list(card.blamed)
        return None

    def picture(self, card: Card, spot: PointMm, blamed: Sequence[int]) -> Picture:
        segment = self.segment(card.focus[0]) if card.focus else None
        intensity = segment.measures.intensity if segment else None
        window = window_for(segment.segment if segment else None, intensity.mean_hu if intensity else None)
        svg = finding_picture(self.case, spot, card.focus, window, blamed=blamed)
        return Picture(Markup(svg), self.place(spot), self._window(window))  # noqa: S704 - numbers and our words only

    def place(self, spot: PointMm) -> str:
        x, y, z = (f"{value:.0f}".replace("-", "−") for value in spot)
        slices = self.report.geometry.shape[0]
        return f"CT slice {self.report.geometry.nearest_slice(spot) + 1} of {slices}, x {x}, y {y}, z {z} mm"

    def _window(self, window: Window) -> str:
        if not self.report.hu_defined:
            return "values are not HU; darkest and brightest 1 % cut"
        return f"{window.name} window, W {window.width_hu:g} L {window.level_hu:g}".replace("-", "−")

    # tables

    def notes(self) -> list[tuple[list[str], Statement]]:
        """(subjects, statement) of what is worth knowing and no complaint; equal words about equal models are one."""
        said: dict[tuple[str, str, str], Statement] = {}
        for subject, one in self._all_notes():
            key = subject, one.rule, one.message
            known = said.get(key, replace(one, who=()))
            said[key] = replace(known, who=tuple(dict.fromkeys((*known.who, *one.who))))
        found: dict[tuple[str, str, tuple[Who, ...]], tuple[list[str], Statement]] = {}
        for (subject, rule, message), one in said.items():
            found.setdefault((rule, message, one.who), ([], one))[0].append(subject)
        return sorted(found.values(), key=lambda note: note[1].rule)

    def _all_notes(self) -> Iterator[tuple[str, Statement]]:
        for at, finding in self._findings():
            if finding.outcome is not Outcome.PASS and not finding.is_failed:
                who = [Who(at)] if at is not None else []
                yield ("whole segmentation" if at is not None else "case"), statement(finding, self.titles, who)
        for (at, _), segment in ((place, self.segment(place)) for place in self.identity_of):
            for check in segment.checks:
                if check.outcome.is_violation and not check.is_failed:
                    yield segment.segment.label, statement(check, self.titles, [Who(at)])

    def heat_map(self) -> list[Row]:
        """One row per structure, one cell per pair; those on which a pair agrees least first."""
        index_of = [
            {one.segment.number: i for i, one in enumerate(part.segments)} for part in self.report.segmentations
        ]
        found: dict[str, dict[int, float | None]] = {}
        for column, pair in enumerate(self.comparisons):
            at = self.number_of[pair.reference]
            for one in pair.segments:
                identity = self.identity_of[at, index_of[at][one.reference_segment]]
                found.setdefault(identity, {})[column] = one.dice
        ordered = sorted(found.items(), key=lambda row: (*least(row[1].values()), self.label(row[0])))
        return [self._row(identity, values) for identity, values in ordered]

    def _row(self, identity: str, values: Mapping[int, float | None]) -> Row:
        known = [value for value in values.values() if value is not None]
        mean = sum(known) / len(known) if known else None
        cells = tuple(self._cell(identity, values, column) for column in range(len(self.pairs)))
        return Row(self.label(identity), cells, cell(mean, f"mean of {len(known)} pairs"))

    def _cell(self, identity: str, values: Mapping[int, float | None], column: int) -> Cell:
        names = f"{self.pairs[column][0].name} and {self.pairs[column][1].name}"
        if column in values:
            return cell(values[column], names)
        having = {at for at, _ in self.places[identity]}
        missing = [model.name for model in self.pairs[column] if model.number not in having]
        reason = f"not in {' nor in '.join(missing)}" if missing else "not compared: several segments have this code"
        return Cell("", -1, reason)

    def only_once(self) -> list[tuple[Model, list[str]]]:
        """Structures that a single segmentation of several has, by segmentation."""
        if len(self.models) < 2:
            return []
        found: dict[int, list[str]] = {}
        for places in self.places.values():
            if len({at for at, _ in places}) == 1:
                found.setdefault(places[0][0], []).extend(self.segment(place).segment.label for place in places)
        return [(self.models[at], labels) for at, labels in sorted(found.items())]

    def rows(self) -> list[tuple[Model, SegmentReport]]:
        """Every segment, the same structures together; of too many, those of the highest risk."""
        verdicts = list(Verdict)[::-1]
        worst = sorted(self.identity_of, key=lambda p: (verdicts.index(self.segment(p).verdict), -self.segment(p).risk))
        chosen = sorted(worst[:MAX_ROWS], key=lambda place: (self.label(self.identity_of[place]).casefold(), place))
        return [(self.models[place[0]], self.segment(place)) for place in chosen]


def _illustrated(cards: Sequence[Card], book: _CaseBook, max_pictures: int) -> list[Card]:
    """The cards with pictures, as many as there may be."""
    left, found = max_pictures, []
    for card in cards:
        spots = book.spots(card)[: max(left, 0)]
        left -= len(spots)
        found.append(replace(card, pictures=tuple(book.picture(card, spot, blamed) for spot, blamed in spots)))
    return found
