"""The registry of rules: what each one is called, how bad it is, and where it comes from.

A rule is one function with the decorator `rule`. Command line, docs and SR codes are made from the registry; adding a
rule means adding its function and its section in `ruleset.toml`, nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from segqa_dicom.checks.finding import Outcome, Severity
from segqa_dicom.model import PointMm


class Unit(StrEnum):
    """Units of the values and limits of rules, as UCUM codes."""

    NONE = "1"
    COUNT = "{count}"
    RATIO = "{ratio}"
    MM = "mm"
    ML = "mL"
    DEGREE = "deg"
    HU = "[hnsf'U]"


class Scope(StrEnum):
    """What a rule function is called with, once for each."""

    SEGMENT = "segment"
    SEGMENTATION = "segmentation"
    CASE = "case"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule and its description.

    severity : the worst it can say
    gate : when it is meaningful
    unit : of value and limit, where an outcome states no other
    source : paper, repository, clause or issue behind it
    """

    id: str
    title: str
    scope: Scope
    severity: Severity
    gate: str
    source: str
    function: Callable[..., Any]
    unit: Unit = Unit.NONE


@dataclass(frozen=True, slots=True)
class Result:
    """What a rule function yields: the outcome without the name of the rule.

    segments : indices of the segments it is about, the one to blame first (rules about a segmentation; rules about a
        case: segments of the first one of `segmentations`)
    segmentations : indices of the segmentations it is about, likewise (rules about a case)
    unit : of value and limit; None = that of the rule
    """

    outcome: Outcome
    severity: Severity
    message: str
    value: float | None = None
    limit: float | None = None
    location_mm: PointMm | None = None
    segments: tuple[int, ...] = ()
    segmentations: tuple[int, ...] = ()
    unit: Unit | None = None


GROUPS = "FTLSRCHVXDK"
"""First letters of rule ids in the order in which rules are run and listed: field of view, topology, side, ..."""

_defined: dict[str, Rule] = {}


def all_rules() -> tuple[Rule, ...]:
    """Every rule that was defined, in the order of `GROUPS` and of their numbers."""
    return tuple(sorted(_defined.values(), key=lambda entry: (GROUPS.index(entry.id[0]), int(entry.id[1:]))))


def rule(
    rule_id: str,
    title: str,
    *,
    scope: Scope,
    severity: Severity,
    source: str,
    gate: str = "always",
    unit: Unit = Unit.NONE,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function as a rule."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        if rule_id in _defined:
            raise ValueError(f"rule {rule_id} is defined twice")
        _defined[rule_id] = Rule(rule_id, title, scope, severity, gate, source, function, unit)
        return function

    return register


def rule_titles() -> dict[str, str]:
    """Rule id -> title."""
    return {entry.id: entry.title for entry in all_rules()}


def passed(
    message: str = "", *, value: float | None = None, limit: float | None = None, unit: Unit | None = None
) -> Result:
    """The rule is kept."""
    return Result(Outcome.PASS, Severity.INFO, message, value, limit, unit=unit)


def not_run(reason: str) -> Result:
    """The rule does not make sense here, for a reason that a person should know."""
    return Result(Outcome.NOT_RUN, Severity.INFO, reason)


def noted(message: str, **details: Any) -> Result:
    """Worth knowing, no complaint."""
    return Result(Outcome.WARNING, Severity.INFO, message, **details)


def warned(message: str, **details: Any) -> Result:
    """Someone should look at it."""
    return Result(Outcome.WARNING, Severity.WARNING, message, **details)


def failed(message: str, **details: Any) -> Result:
    """It is wrong."""
    return Result(Outcome.FAIL, Severity.ERROR, message, **details)


def plural(count: int, thing: str) -> str:
    """``1 slice``, ``2 slices``."""
    return f"1 {thing}" if count == 1 else f"{count} {thing}s"


def listing(words: Iterable[str], *, most: int) -> str:
    """``a, b, c and 4 more``."""
    everything = list(words)
    shown = ", ".join(everything[:most])
    return shown if len(everything) <= most else f"{shown} and {len(everything) - most} more"


SegmentResult = Result | None
"""What a rule about one segment returns; None = it does not apply to such a structure at all."""
SeriesResults = Iterator[Result]
"""What a rule about a segmentation or a case yields; nothing = nothing to say."""
