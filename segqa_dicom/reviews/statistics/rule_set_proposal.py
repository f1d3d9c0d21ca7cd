"""Proposed changes of a rule set, from the performance of its rules."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from difflib import unified_diff
from typing import Any

import numpy as np

from segqa_dicom.checks import RuleSet, ruleset_with
from segqa_dicom.checks.ruleset import ruleset_from_toml
from segqa_dicom.model import SegmentRef
from segqa_dicom.reviews.statistics.estimates import wilson
from segqa_dicom.reviews.statistics.rule_performance import (
    METADATA,
    MINIMUM,
    SAME_MATTER,
    RuleWorth,
    Sample,
    part,
    said,
    share,
)

THRESHOLDS: Mapping[str, str] = {"F3": "max_fraction_outside", "T3": "max_fraction"}
"""Rules that complain where their value is above one parameter: those for which a threshold can be looked for. That T3
needs a least volume, too, stays as it is."""

_PRIOR = 30
"""Complaints that the present weight counts as much as: with few reviews it stays what it is."""

_LEAST_CHANGE = 0.05

_LARGEST_WEIGHT = 2.0

_LEAST_GAIN = 0.1
"""Of sensitivity plus specificity, for another threshold to be worth proposing."""

_USELESS = 0.1
"""A rule whose precision is surely below is right less than once in ten times."""

_LEAST_ADDED = 0.05
"""By so much a complaint must raise the share of faulty segments above that of segments without any."""


def proposal(
    worths: Iterable[RuleWorth],
    ruleset: RuleSet,
    *,
    sample: Sample,
    outcomes: Mapping[tuple[SegmentRef, str], str] | None = None,
    values: Mapping[str, Mapping[SegmentRef, float]] | None = None,
    minimum: int = MINIMUM,
) -> str:
    """Changes of the rules that the reviews suggest, as TOML for ``--ruleset``; comments only if they suggest none.

    ruleset : the one in use
    outcomes : what rules said of segments, "WARN" or "FAIL", for the weights of the risk; None = weights stay
    values : what a rule of `THRESHOLDS` measured on segments, whether it complained or not, for its threshold
    minimum : of segments, see `MINIMUM`
    Every change states its numbers. All of it is provisional: found on the segments that it is to be used on, and on a
    sample that is not fair.
    """
    lines = [
        "# Changes of the rules that reviews suggest. Provisional: look at them before they are used, and review again",
        "# with new cases. The file holds the changes only: what a rule set of your own changes is to be added.",
        *(f"# {note}" for note in sample.notes),
    ]
    thresholds = {
        rule: part
        for rule, found in (values or {}).items()
        if (part := _threshold(rule, found, sample, ruleset, minimum))
    }
    parts = [
        *_risk(sample, ruleset, outcomes or {}, minimum),
        *(line for rule in sorted(thresholds) for line in thresholds[rule]),
        *(
            line
            for one in worths
            if one.rule not in thresholds
            for line in _switched_off(one, sample, ruleset, minimum)
        ),
    ]
    return "\n".join([*lines, "", *(parts or ["# Nothing is to be changed by what is known now."])]) + "\n"


def difference(current: str, proposed: str) -> str:
    """What a proposal changes, as a unified diff of all parameters; empty if nothing.

    current : TOML of the rule set in use; empty = the default
    Raises `ConfigurationError` if one of them is no rule set.
    """
    before = _listed(ruleset_from_toml(current, "in use"))
    ruleset_from_toml(proposed, "proposed")
    after = _listed(ruleset_with(_joined(tomllib.loads(current), tomllib.loads(proposed))))
    return "\n".join(unified_diff(before, after, "current", "proposed", n=1, lineterm=""))


def _risk(sample: Sample, ruleset: RuleSet, outcomes: Mapping[tuple[SegmentRef, str], str], minimum: int) -> list[str]:
    """The weight of a warning against that of an error: by how much each makes a fault more likely."""
    counted: dict[str, list[bool]] = {"FAIL": [], "WARN": []}
    for (place, rule), outcome in outcomes.items():
        if place in sample.truth and outcome in counted and rule in sample.rules[place] and rule[0] not in METADATA:
            counted[outcome].append(sample.truth[place].is_faulty)
    quiet = _quiet(sample)
    errors, warnings = counted["FAIL"], counted["WARN"]
    fewest = min(len(errors), len(warnings), len(quiet))
    if fewest < minimum:
        return []
    base, error = share(quiet), share(errors)
    low = wilson(sum(errors), len(errors), level=sample.level).low
    if low is None or low <= base:
        return []
    present = ruleset.risk["warning"] / ruleset.risk["error"] if ruleset.risk["error"] else 0.0
    found = min(max((share(warnings) - base) / (error - base), 0.0), _LARGEST_WEIGHT)
    n = min(len(errors), len(warnings))
    weight = (n * found + _PRIOR * present) / (n + _PRIOR)
    if abs(weight - present) < _LEAST_CHANGE:
        return []
    return [
        f"# Faulty: {part(errors)} of the segments by error, {part(warnings)} by warning, {part(quiet)} without",
        f"# complaint. A warning adds {found:.2f} times as much as an error; drawn towards the present {present:.2f},",
        f"# which counts as {_PRIOR} complaints.",
        "[risk]",
        f"warning = {weight * ruleset.risk['error']:.2f}",
        "",
    ]


def _switched_off(worth: RuleWorth, sample: Sample, ruleset: RuleSet, minimum: int) -> list[str]:
    """Rules that surely tell nothing; not those about metadata, which readers cannot judge."""
    is_judged = worth.rule in ruleset.rules and worth.rule[0] not in METADATA
    high = worth.precision.high
    if not is_judged or worth.n_complained < minimum or high is None:
        return []
    alone = wilson(worth.n_alone_true, worth.n_alone, level=sample.level)
    quiet = _quiet(sample)
    is_known = min(worth.n_alone, len(quiet)) >= minimum and alone.high is not None
    adds_nothing = is_known and (alone.high or 0.0) < share(quiet) + _LEAST_ADDED
    if high >= _USELESS and not adds_nothing:
        return []
    return [
        f"# {worth.rule} {worth.title}: {worth.n_true} of {worth.n_complained} faulty, {said(worth.precision)}.",
        f"# Where no other rule complains {worth.n_alone_true} of {worth.n_alone}, {said(alone)}: segments that would",
        f"# have no complaint any more. Where none complains at all {part(quiet)} are faulty.",
        f"[rules.{worth.rule}]",
        "enabled = false",
        "",
    ]


def _quiet(sample: Sample) -> list[bool]:
    """Whether the decided segments without any complaint are faulty."""
    return [truth.is_faulty for place, truth in sample.truth.items() if not sample.rules[place]]


def _threshold(
    rule: str, values: Mapping[SegmentRef, float], sample: Sample, ruleset: RuleSet, minimum: int
) -> list[str]:
    """The threshold that tells segments with an error of the matter of the rule best from the others (Youden 1950)."""
    parameter = THRESHOLDS.get(rule)
    if parameter is None or rule not in ruleset.rules:
        return []
    known = [
        (value, bool(sample.truth[p].types & SAME_MATTER[rule])) for p, value in values.items() if p in sample.truth
    ]
    n_faulty = sum(is_faulty for _, is_faulty in known)
    if min(n_faulty, len(known) - n_faulty) < minimum:
        return []
    present = ruleset.rules[rule][parameter]
    best = _best_threshold(known, present)
    if _youden(known, [best])[0] - _youden(known, [present])[0] < _LEAST_GAIN:
        return []
    return [
        f"# {rule} {parameter}: at the present {present:g} {_hits(known, present)};",
        f"# at {best:g} {_hits(known, best)}. Chosen on the same segments, so it will do less well on others.",
        f"[rules.{rule}]",
        f"{parameter} = {best!r}",
        "",
    ]


def _best_threshold(known: Sequence[tuple[float, bool]], present: float) -> float:
    """Between two values that occur, to three digits; of equal ones the nearest to the present one."""
    levels = np.unique([value for value, _ in known])
    candidates = [float(f"{middle:.3g}") for middle in (levels[1:] + levels[:-1]) / 2] or [present]
    scores = _youden(known, candidates)
    return max(zip(candidates, scores, strict=True), key=lambda one: (one[1], -abs(one[0] - present)))[0]


def _youden(known: Sequence[tuple[float, bool]], thresholds: Sequence[float]) -> list[float]:
    """Sensitivity plus specificity minus 1 of each threshold."""
    faulty, others = (np.sort([value for value, is_faulty in known if is_faulty is wanted]) for wanted in (True, False))
    missed = np.searchsorted(faulty, thresholds, side="right") / faulty.size
    spared = np.searchsorted(others, thresholds, side="right") / others.size
    return [float(score) for score in spared - missed]


def _hits(known: Sequence[tuple[float, bool]], threshold: float) -> str:
    found = [value > threshold for value, is_faulty in known if is_faulty]
    spared = [value <= threshold for value, is_faulty in known if not is_faulty]
    return f"{part(found)} errors found, {part(spared)} others left in peace"


def _joined(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(one)
    for name, value in other.items():
        into = result.get(name)
        result[name] = _joined(into, value) if isinstance(into, Mapping) and isinstance(value, Mapping) else value
    return result


def _listed(ruleset: RuleSet) -> list[str]:
    """All parameters, one a line; a rule that is switched off is not there."""
    lines = ["[risk]", *(f"{name} = {value:g}" for name, value in ruleset.risk.items())]
    for rule, parameters in ruleset.rules.items():
        lines += [f"[rules.{rule}]", *(f"{name} = {value:g}" for name, value in parameters.items())]
    return lines
