"""Which rules are worth it: what they complain about, held against what readers say about the same segments.

A segment is faulty if most of its readers say so: by a rating of 3 (minor edits needed) or less, or by a finding that
is an error. Where somebody has adjudicated, that alone counts; repeats do not. "Not assessable" says nothing, and a
segment on which as many say yes as no is not decided. Segments that nobody reviewed do not count: those who review
begin with the worst, so what is reviewed is no fair sample of all (`Sample.notes`); recall is an upper bound at best.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import unified_diff
from functools import partial
from typing import Any

import numpy as np

from segqa_dicom.assessment.model import Purpose, SegmentReview
from segqa_dicom.assessment.vocabulary import Vocabulary
from segqa_dicom.checks import RuleSet, ruleset_with
from segqa_dicom.checks.ruleset import ruleset_from_toml
from segqa_dicom.model import WHOLE, SegmentRef
from segqa_dicom.reviews.statistics.measures import Estimate, wilson
from segqa_dicom.reviews.workflow.model import MachineSegment, SignedReview

NEEDS_EDITS = 3
"""Ratings up to this one are of segments that need edits."""
ANY = "any"
"""Stands for the rule that complains where any of the rules complains."""

METADATA = "DK"
"""First letters of rules about references, codes and encoding: readers look at pictures, which do not show these."""

THRESHOLDS: Mapping[str, str] = {"F3": "max_fraction_outside", "T3": "max_fraction"}
"""Rules that complain where their value is above one parameter: those for which a threshold can be looked for. That T3
needs a least volume, too, stays as it is."""

MINIMUM = 30
"""Segments on either side of a question before a change of the rules is proposed."""
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

SAME_MATTER: Mapping[str, frozenset[str]] = {
    rule: frozenset(types.split())
    for rule, types in {
        "F3": "spurious leak", "T1": "fragmented spurious", "T2": "fragmented spurious", "T3": "hole", "T4": "slice",
        "T5": "mixed leak spurious", "L1": "side", "L2": "under leak truncated", "L3": "side", "S1": "level",
        "S2": "level missing", "S3": "mixed", "S4": "mixed", "S5": "mixed under leak", "R1": "missing level",
        "R2": "mixed", "R3": "under truncated", "R4": "level", "C2": "mixed leak", "C3": "level spurious",
        "C4": "spurious mixed fragmented", "V1": "under truncated missing", "D6": "missing", "K2": "side code",
        "K4": "side code", "K1": "code", "K5": "code", "X4": "level side",
    }.items()
}  # fmt: skip
"""Rule -> finding types by which a reader would say the same. Rules that are not here can mean too many things."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What readers say about a segment; types: ids of the errors that any of them found."""

    is_faulty: bool
    types: frozenset[str]


@dataclass(frozen=True, slots=True)
class Sample:
    """The segments that the machine has looked at, and what readers say about some of them.

    rules : of every segment, the rules that complain
    truth : of those that are decided
    n_reviewed : with a review, decided or not; n_undecided: as many say yes as no; n_unknown: nobody could or would say
    """

    rules: Mapping[SegmentRef, frozenset[str]]
    truth: Mapping[SegmentRef, Truth]
    n_reviewed: int
    n_undecided: int
    n_unknown: int
    level: float

    @property
    def n_faulty(self) -> int:
        """Of the decided ones."""
        return sum(one.is_faulty for one in self.truth.values())

    @property
    def base_rate(self) -> Estimate:
        """Share of faulty segments among the decided ones."""
        return wilson(self.n_faulty, len(self.truth), level=self.level)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person has to know to read the numbers."""
        complained = {place for place, rules in self.rules.items() if rules}
        decided = len(self.truth)
        with_complaint = sum(place in complained for place in self.truth)
        quiet = len(self.rules) - len(complained)
        undecided = f"{self.n_undecided} tied between readers, {self.n_unknown} not assessable or without a rating"
        seen = (
            f"{with_complaint} of {len(complained)} segments with complaints and {decided - with_complaint} of {quiet}"
        )
        reviewed = f"{self.n_reviewed} of {len(self.rules)} segments are reviewed: {decided} decided"
        return (
            f"{reviewed}, of which {self.n_faulty} are faulty; {undecided}.",
            f"No fair sample, because readers see the worst first: decided are {seen} without. Recall holds for these.",
            "Intervals: Wilson, for independent segments. Those of one segmentation are not, so less is certain.",
        )


@dataclass(frozen=True, slots=True)
class RuleWorth:
    """How often one rule is right, among decided segments.

    rule, title : `ANY` = all rules together
    n_complained, n_true : decided segments on which it complains, and how many of these are faulty
    n_not_reviewed : segments on which it complains and that are not decided
    precision, recall : n_true / n_complained; n_true / faulty
    lift : precision over the share of faulty segments; None if one of them is undefined
    n_matched : of n_true, those where a reader found an error of the same matter; None = not in `SAME_MATTER`
    n_alone, n_alone_true : segments on which no other rule complains, and how many of these are faulty. Without the
        rule, who looks at complaints only would be spared n_alone segments, and miss n_alone_true faults
    """

    rule: str
    title: str
    n_complained: int
    n_true: int
    n_not_reviewed: int
    precision: Estimate
    recall: Estimate
    lift: float | None
    n_matched: int | None
    matched: Estimate | None
    n_alone: int
    n_alone_true: int


def said_by_place(reviews: Iterable[SignedReview]) -> dict[SegmentRef, list[SegmentReview]]:
    """What counts about each segment: signed first readings of each reader, or the adjudication if there is one."""
    said: dict[SegmentRef, list[SegmentReview]] = {}
    decided: dict[SegmentRef, list[SegmentReview]] = {}
    for one in reviews:
        review = one.review
        if not review.is_signed or review.purpose is Purpose.REPEAT:
            continue
        into = decided if review.purpose is Purpose.ADJUDICATION else said
        for segment in review.segments:
            if segment.segment_number != WHOLE:
                into.setdefault(SegmentRef(review.segmentation, segment.segment_number), []).append(segment)
    return said | {place: several[-1:] for place, several in decided.items()}


def sample_of(
    machine: Iterable[MachineSegment],
    said: Mapping[SegmentRef, Sequence[SegmentReview]],
    vocabulary: Vocabulary,
    *,
    level: float = 0.95,
) -> Sample:
    """Join what the machine says with what readers say; what only readers know about is left out.

    Rules that only ever say what is worth knowing (severity info) complain about nothing.
    said : see `said_by_place`
    level : of confidence, of all intervals
    """
    from segqa_dicom.checks import (
        Severity,
        all_rules,
    )  # here, because with the rules their measures and numba are loaded

    silent = {rule.id for rule in all_rules() if rule.severity is Severity.INFO}
    rules = {one.place: frozenset(one.rules) - silent for one in machine if one.place.segment != WHOLE}
    truth: dict[SegmentRef, Truth] = {}
    n_reviewed = n_undecided = n_unknown = 0
    for place in rules:
        reviews = said.get(place, ())
        if not reviews:
            continue
        n_reviewed += 1
        votes = [vote for one in reviews if (vote := is_faulty(one, vocabulary)) is not None]
        n_faulty = sum(votes)
        if not votes:
            n_unknown += 1
        elif 2 * n_faulty == len(votes):
            n_undecided += 1
        else:
            types = frozenset(finding for one in reviews for finding in _errors(one, vocabulary))
            truth[place] = Truth(2 * n_faulty > len(votes), types)
    return Sample(rules, truth, n_reviewed, n_undecided, n_unknown, level)


def is_faulty(review: SegmentReview, vocabulary: Vocabulary) -> bool | None:
    """Whether a reader says that a segment is faulty; None if they say neither."""
    if _errors(review, vocabulary):
        return True
    return int(review.rating) <= NEEDS_EDITS if review.rating.isdecimal() else None


def _errors(review: SegmentReview, vocabulary: Vocabulary) -> list[str]:
    known = vocabulary.findings
    return [one.type for one in review.findings if one.type not in known or known[one.type].is_error]


def rule_worth(sample: Sample) -> list[RuleWorth]:
    """All rules that complain about anything, and first `ANY`: the most reliable first (lower end of precision)."""
    from segqa_dicom.checks import rule_titles  # here, as above

    titles = rule_titles()
    rules = sorted({rule for rules in sample.rules.values() for rule in rules})
    each = [_worth(sample, rule, titles.get(rule, rule), partial(_holds, rule)) for rule in rules]
    each.sort(key=lambda one: (-(one.precision.low or 0.0), -one.n_true, one.rule))
    return [_worth(sample, ANY, "Any rule", bool), *each]


def _holds(rule: str, rules: frozenset[str]) -> bool:
    return rule in rules


def _worth(sample: Sample, rule: str, title: str, complains: Callable[[frozenset[str]], bool]) -> RuleWorth:
    places = [place for place, rules in sample.rules.items() if complains(rules)]
    decided = [place for place in places if place in sample.truth]
    true = [place for place in decided if sample.truth[place].is_faulty]
    alone = [place for place in decided if len(sample.rules[place]) == 1 or rule == ANY]
    precision = wilson(len(true), len(decided), level=sample.level)
    base = sample.base_rate.value
    types = SAME_MATTER.get(rule)
    n_matched = None if types is None else sum(bool(sample.truth[place].types & types) for place in true)
    return RuleWorth(
        rule=rule,
        title=title,
        n_complained=len(decided),
        n_true=len(true),
        n_not_reviewed=len(places) - len(decided),
        precision=precision,
        recall=wilson(len(true), sample.n_faulty, level=sample.level),
        lift=precision.value / base if precision.value is not None and base else None,
        n_matched=n_matched,
        matched=None if n_matched is None else wilson(n_matched, len(true), level=sample.level),
        n_alone=len(alone),
        n_alone_true=sum(sample.truth[place].is_faulty for place in alone),
    )


def as_json(sample: Sample, worths: Collection[RuleWorth]) -> dict[str, Any]:
    """Counts, notes and rules as JSON values: the fields of the classes of this module, under their names."""
    return {
        "n_segments": len(sample.rules),
        "n_reviewed": sample.n_reviewed,
        "n_decided": len(sample.truth),
        "n_faulty": sample.n_faulty,
        "n_undecided": sample.n_undecided,
        "n_unknown": sample.n_unknown,
        "base_rate": asdict(sample.base_rate),
        "notes": list(sample.notes),
        "rules": [asdict(one) for one in worths],
    }


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
    base, error = _share(quiet), _share(errors)
    low = wilson(sum(errors), len(errors), level=sample.level).low
    if low is None or low <= base:
        return []
    present = ruleset.risk["warning"] / ruleset.risk["error"] if ruleset.risk["error"] else 0.0
    found = min(max((_share(warnings) - base) / (error - base), 0.0), _LARGEST_WEIGHT)
    n = min(len(errors), len(warnings))
    weight = (n * found + _PRIOR * present) / (n + _PRIOR)
    if abs(weight - present) < _LEAST_CHANGE:
        return []
    return [
        f"# Faulty: {_part(errors)} of the segments by error, {_part(warnings)} by warning, {_part(quiet)} without",
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
    adds_nothing = is_known and (alone.high or 0.0) < _share(quiet) + _LEAST_ADDED
    if high >= _USELESS and not adds_nothing:
        return []
    return [
        f"# {worth.rule} {worth.title}: {worth.n_true} of {worth.n_complained} faulty, {_said(worth.precision)}.",
        f"# Where no other rule complains {worth.n_alone_true} of {worth.n_alone}, {_said(alone)}: segments that would",
        f"# have no complaint any more. Where none complains at all {_part(quiet)} are faulty.",
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
    return f"{_part(found)} errors found, {_part(spared)} others left in peace"


def _share(values: Sequence[bool]) -> float:
    return sum(values) / len(values)


def _part(values: Sequence[bool]) -> str:
    return f"{sum(values)} of {len(values)}"


def _said(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "undefined"
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


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
