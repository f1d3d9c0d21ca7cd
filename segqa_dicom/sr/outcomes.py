"""Outcomes of checks in a structured report, read back from its codes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from segqa_dicom.checks.finding import Outcome, Severity, is_failed
from segqa_dicom.model import Code, PointMm
from segqa_dicom.sr import codes
from segqa_dicom.sr.content import Document, Item

OUTCOMES = tuple(code.value for code in codes.OUTCOMES.values())
"""Code values of outcomes."""
SEVERITIES = (Severity.ERROR.value, Severity.WARNING.value, Severity.INFO.value)
"""Worst first."""
_OUTCOMES = {code: outcome for outcome, code in codes.OUTCOMES.items()}
_SEVERITIES = {code: severity for severity, code in codes.SEVERITIES.items()}
_UNSTATED = {Outcome.FAIL: Severity.ERROR, Outcome.WARNING: Severity.WARNING}
"""Severity of an outcome that states none; `Severity.INFO` for all others."""


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """The outcome of a rule in a document.

    position : of its item in `Document.items`
    group : number of the measurement group; 0 = about the SEG as a whole
    outcome : code value, one of `OUTCOMES`
    severity : one of `SEVERITIES`
    value, limit : in `unit` (UCUM); None where the rule has none
    location_mm : LPS mm; None = not located
    segments : Segment Numbers that an outcome of group 0 names; empty = the whole
    """

    position: int
    group: int
    rule: str
    title: str
    outcome: str
    severity: str
    value: float | None = None
    limit: float | None = None
    unit: str = ""
    location_mm: PointMm | None = None
    segments: tuple[int, ...] = ()
    message: str = ""

    @property
    def is_failed(self) -> bool:
        """Whether it counts as failed (`checks.finding.is_failed`)."""
        return is_failed(_OUTCOMES[Code(self.outcome, codes.SCHEME)], Severity(self.severity))


def is_check(item: Item) -> bool:
    """Whether an item is the outcome of a check."""
    return item.name is not None and item.code in _OUTCOMES and bool(codes.rule_of(item.name))


def rule_outcomes(document: Document) -> list[RuleOutcome]:
    """The outcomes of a document, in its order.

    A group does not repeat the message of a finding that names several segments: it is taken from the whole.
    """
    found = [_outcome(document.items, at) for at, item in enumerate(document.items) if is_check(item)]
    named = [one for one in found if not one.group and one.segments]
    segments = {group.number: group.segment for group in document.groups}
    uses: Counter[tuple[object, ...]] = Counter()
    explained = []
    for one in found:
        if one.group and not one.message:
            same = [other for other in named if other.rule == one.rule and segments[one.group] in other.segments]
            equal = [other for other in same if _judged(other) == _judged(one)] or same
            key = (one.group, *_judged(one))
            # Equal outcomes stand in the order of the findings that they come from.
            explained.append(replace(one, message=equal[uses[key] % len(equal)].message) if equal else one)
            uses[key] += 1
        else:
            explained.append(one)
    return explained


def below(items: Sequence[Item], at: int) -> Iterator[Item]:
    """The items below the one at position `at`, in the order of the document."""
    for item in items[at + 1 :]:
        if item.depth <= items[at].depth:
            return
        yield item


def point_of(items: Iterable[Item], names: Sequence[Code]) -> PointMm | None:
    """A point in LPS mm of which each coordinate is a NUM item; None unless all three are there."""
    found = {item.name: item.number for item in items if item.name in names}
    x, y, z = (found.get(name) for name in names)
    return None if x is None or y is None or z is None else (x, y, z)


def _outcome(items: Sequence[Item], at: int) -> RuleOutcome:
    item = items[at]
    assert item.name is not None and item.code is not None  # noqa: S101, PT018 - `is_check`
    properties = list(below(items, at))
    named = {one.name: one for one in properties if one.name is not None}
    severity = named.get(codes.CHECK_SEVERITY)
    stated = _SEVERITIES.get(severity.code) if severity is not None and severity.code is not None else None
    numbers = [named.get(codes.CHECK_VALUE), named.get(codes.CHECK_LIMIT)]
    units = [one.unit.value for one in numbers if one is not None and one.unit is not None]
    follower = at + 1 + len(properties)
    message = ""
    if follower < len(items):
        following = items[follower]
        is_message = following.value_type == "TEXT" and following.name == item.name and following.depth == item.depth
        message = following.text if is_message else ""
    return RuleOutcome(
        position=at,
        group=item.group,
        rule=codes.rule_of(item.name),
        title=codes.rule_title(item.name),
        outcome=item.code.value,
        severity=(stated or _UNSTATED.get(_OUTCOMES[item.code], Severity.INFO)).value,
        value=None if numbers[0] is None else numbers[0].number,
        limit=None if numbers[1] is None else numbers[1].number,
        unit=units[0] if units else "",
        location_mm=point_of(properties, codes.LOCATION),
        segments=tuple(
            number
            for one in properties
            if one.name == codes.CONCERNED and one.reference is not None
            for number in one.reference.segments
        ),
        message=message,
    )


def _judged(one: RuleOutcome) -> tuple[object, ...]:
    return one.rule, one.outcome, one.severity, one.value, one.limit, one.location_mm
