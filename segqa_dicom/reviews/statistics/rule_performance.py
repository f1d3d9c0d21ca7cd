"""Which rules are worth it: what they complain about, held against what readers say about the same segments.

A segment is faulty if most of its readers say so: by a rating of 3 (minor edits needed) or less, or by a finding that
is an error. Where somebody has adjudicated, that alone counts; repeats do not. "Not assessable" says nothing, and a
segment on which as many say yes as no is not decided. Segments that nobody reviewed do not count: those who review
begin with the worst, so what is reviewed is no fair sample of all (`Sample.notes`); recall is an upper bound at best.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from segqa_dicom.assessment.model import Purpose, SegmentReview
from segqa_dicom.assessment.vocabulary import Vocabulary
from segqa_dicom.model import WHOLE, SegmentRef
from segqa_dicom.reviews.statistics.estimates import Estimate, wilson
from segqa_dicom.reviews.workflow.model import MachineSegment, SignedReview

NEEDS_EDITS = 3
"""Ratings up to this one are of segments that need edits."""
ANY = "any"
"""Stands for the rule that complains where any of the rules complains."""

METADATA = "DK"
"""First letters of rules about references, codes and encoding: readers look at pictures, which do not show these."""


MINIMUM = 30
"""Segments on either side of a question before a change of the rules is proposed."""

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


def share(values: Sequence[bool]) -> float:
    """Share of true values."""
    return sum(values) / len(values)


def part(values: Sequence[bool]) -> str:
    """``3 of 7``."""
    return f"{sum(values)} of {len(values)}"


def said(estimate: Estimate) -> str:
    """An estimate with its interval as text."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "undefined"
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"
