"""X: what several results of one CT say about each other, and chains whose numbering is shifted.

X1 (Dice below what is usual for a structure and a pair of models) and X2 (definitions that differ) need a cohort; one
case cannot tell them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, permutations
from statistics import mean

import numpy as np

from segqa_dicom.anatomy import Side, opposite_key
from segqa_dicom.checks import numbering
from segqa_dicom.checks.chains import MAX_SHIFT, Chain, Shift, centre, chain_of, members, name_of, span
from segqa_dicom.checks.finding import Severity
from segqa_dicom.checks.registry import Result, Scope, SeriesResults, Unit, failed, listing, rule, warned
from segqa_dicom.checks.ruleset import Limits
from segqa_dicom.checks.sides import CROSSES_MIDLINE
from segqa_dicom.checks.subject import MeasuredCase, MeasuredSegment, MeasuredSegmentation
from segqa_dicom.measures.overlap import dice

_MIRRORED, _MIN_PAIRS = 0.7, 3
"""Share of the pairs that are the wrong way round in a mirrored segmentation, and how many there must be (as L3)."""
MAX_NAMES = 10
"""Structures that a message names before it says how many more there are."""


def dice_of(case: MeasuredCase, one: int, part: MeasuredSegment, other: int, its: MeasuredSegment) -> float:
    """Dice of any segment of one result with any of another; 0 if nothing is known about the two results."""
    counts = case.shared_voxels.get((min(one, other), max(one, other)))
    if counts is None:
        return 0.0
    labels = (part.index + 1, its.index + 1) if one < other else (its.index + 1, part.index + 1)
    voxels = part.measures.shape.voxel_count, its.measures.shape.voxel_count
    return dice(counts.get(*labels), *voxels) or 0.0


def _is_mirrored(context: MeasuredSegmentation) -> bool:
    """Whether most pairs are the wrong way round: rule L3 says that once for all of them."""
    pairs = [
        (part, others[0])
        for part in context.segments
        if part.side is Side.LEFT
        and not part.is_empty
        and len(others := context.by_key.get(opposite_key(part.key) or "", [])) == 1
        and not others[0].is_empty
    ]
    wrong = sum(centre(left)[0] <= centre(right)[0] for left, right in pairs)
    return len(pairs) >= _MIN_PAIRS and bool(wrong >= _MIRRORED * len(pairs))


# ------------------------------------------------------------------------------------------------- X3


@rule(
    "X3",
    "One result differs from all others",
    scope=Scope.CASE,
    severity=Severity.WARNING,
    unit=Unit.RATIO,
    source="proposal; disagreement of an ensemble is the best simple detector of failures (Zenk 2025)",
    gate="structures of three results or more; not what another number or the other side explains (X4)",
)
def outlier(case: MeasuredCase, limits: Limits) -> SeriesResults:
    """Structures in which one result agrees with no other, or much less than all others agree among themselves."""
    found: dict[int, list[tuple[MeasuredSegment, float]]] = {}
    for one, part, agreement in _outliers(case, limits):
        if not _is_mirrored(case.segmentations[one]):
            found.setdefault(one, []).append((part, agreement))
    for one in sorted(found):
        parts = sorted(found[one], key=lambda entry: entry[1])
        names = [f"{part.label} ({agreement:.2f})" for part, agreement in parts]
        yield warned(
            f"{name_of(case.segmentations[one])} differs from all other results, which agree: mean Dice of "
            f"{listing(names, most=MAX_NAMES)}",
            value=parts[0][1],
            limit=limits["max_dice"],
            location_mm=parts[0][0].anchor_mm,
            segments=tuple(part.index for part, _ in parts),
            segmentations=(one,),
        )


def _outliers(case: MeasuredCase, limits: Limits) -> list[tuple[int, MeasuredSegment, float]]:
    """(result, its segment, mean Dice with the others) of everything that only this result sees otherwise."""
    holders: dict[str, list[tuple[int, MeasuredSegment]]] = {}
    for at, context in enumerate(case.segmentations):
        for key, parts in context.by_key.items():
            if len(parts) == 1 and not parts[0].is_empty and key.strip("|"):
                holders.setdefault(key, []).append((at, parts[0]))
    found = []
    for entries in holders.values():
        if len(entries) < 3:
            continue
        table = _dice_table(case, entries)
        for place, (at, part) in enumerate(entries):
            others = [other for other in range(len(entries)) if other != place]
            agreement = float(table[place, others].mean())
            among = table[np.ix_(others, others)]
            rest = among[np.triu_indices(len(others), 1)]
            stands_out = rest.mean() > limits["min_dice_of_others"] and agreement < limits["max_dice"]
            # Organs that all others draw alike: there a much smaller difference stands out, too.
            stands_out |= rest.min() > limits["min_dice_of_others"] and rest.mean() - agreement > limits["min_gap"]
            if stands_out and not _under_another_label(case, at, part, limits["max_dice"]):
                found.append((at, part, agreement))
    return found


def _dice_table(case: MeasuredCase, entries: Sequence[tuple[int, MeasuredSegment]]) -> np.ndarray:
    table = np.ones((len(entries), len(entries)))
    for row, (one, part) in enumerate(entries):
        for column, (other, its) in enumerate(entries[:row]):
            table[row, column] = table[column, row] = dice_of(case, one, part, other, its)
    return table


def _under_another_label(case: MeasuredCase, at: int, part: MeasuredSegment, enough: float) -> bool:
    """Whether other results have the same voxels at another level of the chain, or on the other side."""
    chain, opposite = chain_of(part), opposite_key(part.key)
    for other, context in enumerate(case.segmentations):
        if other != at:
            candidates = [] if chain is None else list(members(context, chain).values())
            candidates += context.by_key.get(opposite or "", [])
            if any(its.key != part.key and dice_of(case, at, part, other, its) >= enough for its in candidates):
                return True
    return False


# ------------------------------------------------------------------------------------------------- X4


@rule(
    "X4",
    "Levels numbered otherwise, or sides exchanged",
    scope=Scope.CASE,
    severity=Severity.ERROR,
    unit=Unit.COUNT,
    source="proposal: the shift at which the levels of two results agree; TotalSegmentator issues 309 and 465",
    gate="at least 2 levels that two results share; a single result: its ribs against each other and the spine",
)
def level_shift(case: MeasuredCase, limits: Limits) -> SeriesResults:
    """One finding per chain and result whose numbering is shifted, with what tells that it is this result."""
    relations = {chain: _relation(case, chain, limits) for chain in Chain}
    named: set[tuple[int, Chain]] = set()
    for relation in relations.values():
        told, untold = _blamed(case, relation, relations)
        for blame in told:
            named |= {(blame.shifts[0].one, relation.chain)}
            yield _told(case, relation, blame)
        if untold:
            named |= {(at, relation.chain) for shift in untold for at in (shift.one, shift.other)}
            yield _untold(case, untold)
    for at, context in enumerate(case.segmentations):
        yield from numbering.inconsistent(context, at, {chain for one, chain in named if one == at}, limits)
    yield from _exchanged_sides(case, limits)


@dataclass(frozen=True, slots=True)
class _Relation:
    """How the results number a chain.

    shifts : all runs of levels that two results number differently, seen from either result
    agreeing : pairs of results (both ways round) that number everything alike that both have
    """

    chain: Chain
    shifts: tuple[Shift, ...]
    agreeing: frozenset[tuple[int, int]]

    def differing(self, one: int) -> list[int]:
        """Results that number it otherwise than `one`."""
        return sorted({shift.other for shift in self.shifts if shift.one == one})

    def alike(self, one: int) -> list[int]:
        """Results that number it as `one` does."""
        return sorted(other for first, other in self.agreeing if first == one)

    def between(self, one: int, other: int) -> list[Shift]:
        """What differs between two results, seen from the first."""
        return [shift for shift in self.shifts if (shift.one, shift.other) == (one, other)]


def _relation(case: MeasuredCase, chain: Chain, limits: Limits) -> _Relation:
    shifts: list[Shift] = []
    agreeing: set[tuple[int, int]] = set()
    for one, other in combinations(range(len(case.segmentations)), 2):
        matched = _matched(case, chain, one, other, limits["min_dice"])
        found = [
            Shift(one, other, chain, tuple(run), run[0] - matched[run[0]][0])
            for run in _runs(matched, limits["min_levels"])
            if _gain(case, chain, one, other, run, matched) >= limits["min_gain"]
        ]
        shifts += [seen for shift in found for seen in (shift, shift.reversed())]
        if not found and any(level == its for level, (its, _) in matched.items()):
            agreeing |= {(one, other), (other, one)}
    return _Relation(chain, tuple(shifts), frozenset(agreeing))


def _matched(case: MeasuredCase, chain: Chain, one: int, other: int, min_dice: float) -> dict[int, tuple[int, float]]:
    """Level of one result -> (level of the other that is the same bone, Dice): each the best for the other."""
    mine, its = (members(case.segmentations[at], chain) for at in (one, other))
    counts = case.shared_voxels.get((one, other))
    if not mine or not its or counts is None:
        return {}
    rows, columns = ({part.index + 1: at for at, part in enumerate(found.values())} for found in (mine, its))
    totals = [np.array([part.measures.shape.voxel_count for part in found.values()]) for found in (mine, its)]
    table = np.zeros((len(mine), len(its)))
    kept = np.isin(counts.label_a, list(rows)) & np.isin(counts.label_b, list(columns))
    for a, b, voxels in zip(counts.label_a[kept], counts.label_b[kept], counts.voxel_count[kept], strict=True):
        table[rows[int(a)], columns[int(b)]] = voxels
    table = 2 * table / (totals[0][:, None] + totals[1][None, :])
    levels, others = list(mine), list(its)
    best, best_back = table.argmax(axis=1), table.argmax(axis=0)
    return {
        level: (others[best[at]], float(table[at, best[at]]))
        for at, level in enumerate(levels)
        if best_back[best[at]] == at and table[at, best[at]] >= min_dice
    }


def _runs(matched: Mapping[int, tuple[int, float]], min_levels: float) -> list[list[int]]:
    """Levels that follow each other with one and the same shift, which is not 0."""
    runs: list[list[int]] = []
    before: int | None = None
    for level, (its, _) in matched.items():
        shift = level - its
        if shift == before:
            runs[-1].append(level)
        else:
            runs.append([level])
        before = shift
    return [run for run in runs if len(run) >= min_levels and 0 < abs(run[0] - matched[run[0]][0]) <= MAX_SHIFT]


def _gain(
    case: MeasuredCase,
    chain: Chain,
    one: int,
    other: int,
    run: Sequence[int],
    matched: Mapping[int, tuple[int, float]],
) -> float:
    """Mean Dice of the run as matched minus that of equal numbers."""
    mine, its = (members(case.segmentations[at], chain) for at in (one, other))
    as_numbered = [dice_of(case, one, mine[level], other, its[level]) if level in its else 0.0 for level in run]
    return mean(matched[level][1] for level in run) - mean(as_numbered)


@dataclass(frozen=True, slots=True)
class _Blame:
    """Why a result is the wrong one: its shifts against one that is right, the sum of the votes, and words for them."""

    shifts: tuple[Shift, ...]
    score: int
    words: tuple[str, ...]


def _blamed(
    case: MeasuredCase, relation: _Relation, relations: Mapping[Chain, _Relation]
) -> tuple[list[_Blame], list[Shift]]:
    """Who is wrong, and the shifts of which nothing tells that."""
    scores = {one: _score(case, relation, relations, one) for one in sorted({shift.one for shift in relation.shifts})}
    told: list[_Blame] = []
    untold: list[Shift] = []
    for one, blame in scores.items():
        right = [other for other in relation.differing(one) if scores[other].score < blame.score]
        if blame.score > 0 and right:
            best = max(right, key=lambda other: sum(len(shift.levels) for shift in relation.between(one, other)))
            told.append(replace(blame, shifts=tuple(relation.between(one, best))))
    wrong = {blame.shifts[0].one for blame in told}
    untold = [shift for shift in relation.shifts if shift.one < shift.other and not wrong & {shift.one, shift.other}]
    return told, untold


def _score(case: MeasuredCase, relation: _Relation, relations: Mapping[Chain, _Relation], one: int) -> _Blame:
    """Votes for `one` being wrong: two for the majority of the results, one for each thing in the anatomy."""
    others, alike = relation.differing(one), relation.alike(one)
    evidence: list[numbering.Evidence] = []
    if len(others) > len(alike) + 1:
        evidence.append(numbering.Evidence(2, f"the {len(others)} others agree with each other"))
    elif len(others) < len(alike) + 1:
        evidence.append(numbering.Evidence(-2, ""))
    partner = max(others, key=lambda other: sum(len(shift.levels) for shift in relation.between(one, other)))
    shift = max(relation.between(one, partner), key=lambda found: len(found.levels))
    disputed = {chain for chain in Chain if relations[chain].between(one, partner)}
    evidence += numbering.anatomy(case, shift, disputed)
    words = tuple(found.words for found in evidence if found.vote > 0)
    return _Blame((shift,), sum(found.vote for found in evidence), words)


def _told(case: MeasuredCase, relation: _Relation, blame: _Blame) -> Result:
    one = blame.shifts[0].one
    others = relation.differing(one)
    whom = name_of(case.segmentations[others[0]]) if len(others) == 1 else f"{len(others)} other results"
    runs = " and ".join(_in_words(shift, whom if at == 0 else "") for at, shift in enumerate(blame.shifts))
    levels = [level for shift in blame.shifts for level in shift.levels]
    mine = members(case.segmentations[one], relation.chain)
    return failed(
        f"{name_of(case.segmentations[one])}: the {relation.chain} are numbered {runs}. This result is wrong: "
        f"{'; '.join(blame.words)}",
        value=float(blame.shifts[0].by),
        limit=0.0,
        location_mm=mine[levels[len(levels) // 2]].anchor_mm,
        segments=tuple(mine[level].index for level in levels),
        segmentations=(one,),
    )


def _in_words(shift: Shift, whom: str) -> str:
    """``2 lower than in X: 5-10 for 7-12``."""
    direction = "lower" if shift.by < 0 else "higher"
    than = f" than in {whom}" if whom else ""
    theirs = span(shift.chain, [level - shift.by for level in shift.levels])
    return f"{abs(shift.by)} {direction}{than}: {span(shift.chain, shift.levels)} for {theirs}"


def _untold(case: MeasuredCase, shifts: Sequence[Shift]) -> Result:
    """One finding for all results that disagree: it names those of the longest run."""
    shift = max(shifts, key=lambda found: len(found.levels))
    mine = members(case.segmentations[shift.one], shift.chain)
    about = dict.fromkeys((shift.one, shift.other, *(at for found in shifts for at in (found.one, found.other))))
    numbered = _in_words(shift, name_of(case.segmentations[shift.other]))
    return failed(
        f"{name_of(case.segmentations[shift.one])}: the {shift.chain} are numbered {numbered}. "
        "Nothing in the image tells which result is wrong",
        value=float(shift.by),
        limit=0.0,
        location_mm=mine[shift.levels[len(shift.levels) // 2]].anchor_mm,
        segments=tuple(mine[level].index for level in shift.levels),
        segmentations=tuple(about),
    )


def _exchanged_sides(case: MeasuredCase, limits: Limits) -> SeriesResults:
    """Pairs whose left is what other results call right: one finding for each result that has them the wrong way."""
    found: dict[int, dict[str, MeasuredSegment]] = {}
    mirrored = [_is_mirrored(context) for context in case.segmentations]
    for one, other in permutations(range(len(case.segmentations)), 2):
        if mirrored[one]:
            continue
        for part, its in _exchanged(case, one, other, limits["min_dice_of_sides"]):
            if _lies_on_the_wrong_side(case.segmentations[one], part, its):
                found.setdefault(one, {})[part.key] = part
    for one, parts in found.items():
        names = [part.label for part in parts.values()]
        first = next(iter(parts.values()))
        yield failed(
            f"{name_of(case.segmentations[one])}: left and right are exchanged against the other results: "
            f"{listing(names, most=MAX_NAMES)}. This result is wrong: what it calls {first.side} lies on the other "
            "side of the body",
            location_mm=first.anchor_mm,
            segments=tuple(part.index for part in parts.values()),
            segmentations=(one,),
        )


def _exchanged(
    case: MeasuredCase, one: int, other: int, min_dice: float
) -> Iterator[tuple[MeasuredSegment, MeasuredSegment]]:
    """(segment, that of the other result with the opposite side and the same voxels)."""
    theirs = case.segmentations[other].by_key
    for key, parts in case.segmentations[one].by_key.items():
        opposite = theirs.get(opposite_key(key) or "", [])
        if len(parts) != 1 or len(opposite) != 1 or parts[0].is_empty or opposite[0].is_empty:
            continue
        same = max((dice_of(case, one, parts[0], other, its) for its in theirs.get(key, [])), default=0.0)
        if dice_of(case, one, parts[0], other, opposite[0]) >= max(min_dice, same):
            yield parts[0], opposite[0]


def _lies_on_the_wrong_side(context: MeasuredSegmentation, part: MeasuredSegment, its: MeasuredSegment) -> bool:
    """Whether it is this segment and not the other result's that has the wrong side.

    Left is where x is greater than that of the counterpart, or than the middle of the body; a vessel without
    counterpart may lie anywhere.
    """
    key = opposite_key(part.key)
    counterparts = [found for found in context.by_key.get(key or "", []) if not found.is_empty]
    x = float(centre(part)[0])
    if not counterparts and part.known.group in CROSSES_MIDLINE:
        return False
    middle = float(centre(counterparts[0])[0]) if counterparts else context.midline_x_mm(float(centre(its)[2]))
    return middle is not None and (x < middle if part.side is Side.LEFT else x > middle)
