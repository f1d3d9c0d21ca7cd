"""S: the spine as a chain of levels.

Where vertebrae lie is taken along the spine and not along z: it may be bent. All rules look at complete vertebrae only;
of what the image cuts off, neither volume nor centroid mean anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import numpy as np

from segqa_dicom.checks.chains import (
    L5,
    T12,
    Chain,
    centre,
    complete,
    component_centre,
    members,
    span,
)
from segqa_dicom.checks.finding import Severity
from segqa_dicom.checks.numbering import lies_on, sacrum
from segqa_dicom.checks.registry import Result, Scope, SeriesResults, Unit, failed, rule, warned
from segqa_dicom.checks.ruleset import Limits
from segqa_dicom.checks.subject import MeasuredSegment, MeasuredSegmentation
from segqa_dicom.checks.vertebrae import Point, centres_of, step_mm, vertebra_name, vertebra_names

# ------------------------------------------------------------------------------------------------- S1


@rule(
    "S1",
    "Order along the spine",
    scope=Scope.SEGMENTATION,
    severity=Severity.ERROR,
    unit=Unit.COUNT,
    source="anatomy; TotalSegmentator issue 291 (neighbours exchanged or mixed)",
    gate="at least 3 complete vertebrae",
)
def order(context: MeasuredSegmentation, limits: Limits) -> SeriesResults:
    """Going along the spine from one vertebra to the nearest next one, the levels must ascend."""
    centres = centres_of(context)
    if len(centres) < 3:
        return
    path = _path(centres)
    if _ascending(path) < _ascending(path[::-1]):
        path = path[::-1]
    found = members(context, Chain.SPINE)
    if _is_upside_down(path, centres):
        yield failed(
            "the vertebrae are numbered from the feet to the head: "
            f"{vertebra_name(path[0])} is the lowest of {span_of(path)}",
            location_mm=found[path[0]].anchor_mm,
            segments=tuple(found[level].index for level in path),
        )
        return
    wrong = _out_of_order(path, centres, limits["min_step_mm"])
    if wrong:
        shown = path[max(min(map(path.index, wrong)) - 1, 0) : max(map(path.index, wrong)) + 2]
        yield failed(
            f"{vertebra_names(wrong)} out of order: from the head down the spine there are {vertebra_names(shown)}",
            value=float(len(wrong)),
            limit=0.0,
            location_mm=found[wrong[0]].anchor_mm,
            segments=tuple(found[level].index for level in wrong),
        )


def span_of(levels: Sequence[int]) -> str:
    """``T8-T12``."""
    return span(Chain.SPINE, levels)


def _path(centres: Mapping[int, Point]) -> list[int]:
    """Levels in the order in which their centres lie along the spine, from its upper end.

    From one of the two centres that are furthest apart always to the nearest one that is left: neighbours are nearer
    than anything else however the spine is bent.
    """
    levels = list(centres)
    points = np.array([centres[level] for level in levels])
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    ends = np.unravel_index(int(distances.argmax()), distances.shape)
    at = int(max(ends, key=lambda end: points[end, 2]))
    path, left = [at], set(range(len(levels))) - {at}
    while left:
        at = min(left, key=lambda other: distances[path[-1], other])
        path.append(at)
        left.remove(at)
    return [levels[at] for at in path]


def _longest_ascent(path: Sequence[int]) -> list[int]:
    """The longest subsequence of ascending levels: what is not in it is out of place."""
    best: list[list[int]] = []
    for level in path:
        before = max((run for run in best if run[-1] < level), key=len, default=[])
        best.append([*before, level])
    return max(best, key=len, default=[])


def _ascending(path: Sequence[int]) -> int:
    return len(_longest_ascent(path))


def _is_upside_down(path: Sequence[int], centres: Mapping[int, Point]) -> bool:
    """Whether the levels go up the body and not down; a spine that lies level does not tell."""
    way = centres[path[-1]] - centres[path[0]]
    return bool(way[2] > 0.5 * np.linalg.norm(way))


def _out_of_order(path: Sequence[int], centres: Mapping[int, Point], min_step_mm: float) -> list[int]:
    """Levels that are out of place; of two that are exchanged both. Steps that are too small do not count."""
    clear: set[int] = set()
    for at, (upper, lower) in enumerate(pairwise(path)):
        if upper > lower:
            ends = centres[path[max(at - 1, 0)]], centres[path[min(at + 2, len(path) - 1)]]
            way = ends[1] - ends[0]
            step = float((centres[lower] - centres[upper]) @ way / max(float(np.linalg.norm(way)), 1e-6))
            if abs(step) >= min_step_mm:
                clear |= {upper, lower}
    kept = set(_longest_ascent(path))
    wrong = [level for level in path if level not in kept]
    # Of two that are exchanged either could be kept.
    exchanged = [level for level in clear if any(abs(level - other) == 1 for other in wrong)]
    return sorted({*(level for level in wrong if clear), *exchanged}) if clear else []


# ------------------------------------------------------------------------------------------------- S2


@rule(
    "S2",
    "Skipped level",
    scope=Scope.SEGMENTATION,
    severity=Severity.WARNING,
    unit=Unit.COUNT,
    source="VerSe numbering of levels; 11 or 13 thoracic and 4 or 6 lumbar vertebrae are variants (S6)",
    gate="between complete vertebrae, or the lowest one and the sacrum",
)
def skipped(context: MeasuredSegmentation, limits: Limits) -> SeriesResults:
    """A level without a segment between two that have one."""
    centres = centres_of(context)
    there = members(context, Chain.SPINE)
    step = step_mm(centres)
    for upper, lower in pairwise(centres):
        missing = [level for level in range(upper + 1, lower) if level not in there]
        if len(missing) != lower - upper - 1 or not missing:
            continue
        room = float(np.linalg.norm(centres[lower] - centres[upper])) / (step or np.inf)
        if missing == [T12] and room < limits["neighbours_within"]:
            continue
        yield _skipped(context, upper, lower, missing, None if step is None else room, limits)
    yield from _above_sacrum(context, step, limits)


def _skipped(
    context: MeasuredSegmentation, upper: int, lower: int, missing: list[int], room: float | None, limits: Limits
) -> Result:
    there = members(context, Chain.SPINE)
    message = f"no {vertebra_names(missing)} between {vertebra_name(upper)} and {vertebra_name(lower)}"
    larger = max((upper, lower), key=lambda level: there[level].measures.shape.volume_ml)
    volume = there[larger].measures.shape.volume_ml
    if volume > limits["merged_ratio"] * _volume_near(larger, there):
        message += f"; {there[larger].label} has {volume:.0f} mL and may hold two"
    elif room is not None and room < limits["neighbours_within"]:
        message += ", which are neighbours: the numbering jumps"
    return warned(
        message,
        value=float(len(missing)),
        limit=0.0,
        location_mm=there[upper].anchor_mm,
        segments=(there[upper].index, there[lower].index),
    )


def _volume_near(level: int, there: Mapping[int, MeasuredSegment]) -> float:
    """Median volume in mL of the four complete vertebrae that are nearest by level; infinite if there are none."""
    near = sorted((abs(other - level), part.measures.shape.volume_ml) for other, part in complete(there).items())
    volumes = [volume for distance, volume in near if distance > 0][:4]
    return median(volumes) if volumes else float("inf")


def _above_sacrum(context: MeasuredSegmentation, step: float | None, limits: Limits) -> SeriesResults:
    """L5 (or L4, a variant) lies on the sacrum; what is numbered higher skips levels."""
    there, bone = members(context, Chain.SPINE), sacrum(context)
    if not there or bone is None or max(there) >= L5 or max(there) not in complete(there):
        return
    last = max(there)
    missing = list(range(last + 1, L5 + 1))
    # The fifth lumbar vertebra may be missing (S6) if the fourth one lies on the sacrum.
    if last == L5 - 1 and lies_on(there, bone):
        return
    if lies_on(there, bone):
        message = f"{vertebra_name(last)} lies on the sacrum: no {vertebra_names(missing)}, the numbering jumps"
    elif _is_near(there[last], bone, step, limits):
        message = f"no {vertebra_names(missing)} between {vertebra_name(last)} and the sacrum"
    else:
        return
    indices = (there[last].index, bone.index)
    yield warned(message, value=float(len(missing)), limit=0.0, location_mm=there[last].anchor_mm, segments=indices)


def _is_near(vertebra: MeasuredSegment, bone: MeasuredSegment, step: float | None, limits: Limits) -> bool:
    """Whether there is not more room than for the levels that may be missing: else something else is wrong."""
    if step is None:
        return False
    distance = float(np.linalg.norm(centre(vertebra) - centre(bone)))
    return distance < limits["near_sacrum"] * step


# ------------------------------------------------------------------------------------------------- S3, S4


@dataclass(frozen=True, eq=False)
class _Piece:
    """A component of a vertebra that is not its largest one."""

    part: MeasuredSegment
    level: int
    number: int
    centre: Point
    share: float


def _pieces(context: MeasuredSegmentation, min_ml: float, min_share: float) -> Iterator[_Piece]:
    for level, part in complete(members(context, Chain.SPINE)).items():
        counts = part.measures.shape.components.voxel_counts
        for number in range(1, len(counts)):
            share = float(counts[number] / counts.sum())
            if part.component_ml(number) >= min_ml and share >= min_share:
                yield _Piece(part, level, number, component_centre(part, number), share)


def _true_level(piece: _Piece, centres: Mapping[int, Point], limits: Limits) -> int | None:
    """The level at which a piece really lies, if that is not its own."""
    own = component_centre(piece.part, 0)
    away = float(np.linalg.norm(piece.centre - own))
    others = {level: float(np.linalg.norm(piece.centre - at)) for level, at in centres.items() if level != piece.level}
    nearest = min(others, key=lambda level: others[level], default=None)
    if nearest is not None and others[nearest] < limits["nearer_than"] * away:
        return nearest
    step = step_mm(centres)
    if piece.share < limits["min_share_alone"] or step is None or away < limits["min_distance"] * step:
        return None
    return _at_missing_level(piece, own, centres)


def _at_missing_level(piece: _Piece, own: Point, centres: Mapping[int, Point]) -> int | None:
    """The neighbouring level that has no vertebra, if the piece and the largest part lie in line with it.

    Either of the two may be the one that belongs there.
    """
    for level, beyond in ((piece.level - 1, piece.level - 2), (piece.level + 1, piece.level + 2)):
        if level not in centres and beyond in centres:
            one, other = piece.centre - own, centres[beyond] - own
            if abs(one @ other) > 0.7 * np.linalg.norm(one) * np.linalg.norm(other):
                return level
    return None


@rule(
    "S3",
    "Interleaved vertebrae",
    scope=Scope.SEGMENTATION,
    severity=Severity.ERROR,
    unit=Unit.COUNT,
    source="TotalSegmentator vertebrae_pp; contact alone is normal at the facet joints",
    gate="complete vertebrae; pieces that S4 does not name",
)
def interleaved(context: MeasuredSegmentation, limits: Limits) -> SeriesResults:
    """A piece of one vertebra that lies beyond its neighbour, seen along the row of vertebral bodies."""
    centres = centres_of(context)
    found = [
        (piece, beyond)
        for piece in _pieces(context, limits["min_volume_ml"], limits["min_share"])
        if piece.share < limits["max_share"] and (beyond := _beyond(piece, centres, limits)) is not None
    ]
    if found:
        piece, _ = found[0]
        what = ", ".join(f"{vertebra_name(one.level)} beyond {vertebra_name(beyond)}" for one, beyond in found)
        yield failed(
            f"pieces of vertebrae lie on the other side of their neighbour: {what}",
            value=float(len(found)),
            limit=0.0,
            location_mm=piece.part.component_mm(piece.number),
            segments=tuple(dict.fromkeys(one.part.index for one, _ in found)),
        )


def _beyond(piece: _Piece, centres: Mapping[int, Point], limits: Limits) -> int | None:
    """The neighbour beyond whose centre a piece lies, near the line through both centres: processes lie off it."""
    own = component_centre(piece.part, 0)
    for level in (piece.level - 1, piece.level + 1):
        if level not in centres:
            continue
        way = centres[level] - own
        length = float(np.linalg.norm(way))
        along = float((piece.centre - own) @ way) / max(length, 1e-6)
        off = float(np.linalg.norm(piece.centre - own - along * way / max(length, 1e-6)))
        if along > length and off <= limits["max_off_line_mm"]:
            return level
    return None


@rule(
    "S4",
    "Mixed vertebra",
    scope=Scope.SEGMENTATION,
    severity=Severity.ERROR,
    unit=Unit.RATIO,
    source="TotalSegmentator issues 291 and 394: a radiologist found mixed vertebrae in 10-15 % of the training cases",
    gate="complete vertebrae",
)
def mixed(context: MeasuredSegmentation, limits: Limits) -> SeriesResults:
    """A large piece of one label that lies at the level of a neighbour.

    A spinous process alone may be nearer to the centre of the next vertebra: the piece must be much nearer, and large.
    """
    centres = centres_of(context)
    found = [
        (piece, level)
        for piece in _pieces(context, limits["min_volume_ml"], limits["min_share"])
        if (level := _true_level(piece, centres, limits)) is not None
    ]
    if found:
        piece, _ = found[0]
        what = ", ".join(
            f"{one.share:.0%} of {vertebra_name(one.level)} at {vertebra_name(level)}" for one, level in found
        )
        yield failed(
            f"pieces of vertebrae lie at another level: {what}",
            value=max(one.share for one, _ in found),
            limit=limits["min_share"],
            location_mm=piece.part.component_mm(piece.number),
            segments=tuple(dict.fromkeys(one.part.index for one, _ in found)),
        )
