"""R: the ribs as two chains of levels.

A numbering of one side that is shifted against the other side or against the spine is a matter of X4, which says so
once; the rules here keep silent about its consequences.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.checks.chains import (
    OTHER_SIDE,
    RIB_TO_SPINE,
    RIBS,
    Chain,
    Head,
    complete,
    heads,
    is_complete,
    left_offset,
    level_name,
    members,
    mirrored,
    sampled,
    sampled_in,
    span,
)
from segqa_dicom.checks.finding import Severity
from segqa_dicom.checks.registry import Result, Scope, SeriesResults, Unit, failed, noted, rule, warned
from segqa_dicom.checks.ruleset import Limits
from segqa_dicom.checks.subject import MeasuredSegment, MeasuredSegmentation
from segqa_dicom.measures.crops import point_distances

_FLOATING = 12
"""The rib that may be missing on one side, and the number of pairs that is usual."""


# ------------------------------------------------------------------------------------------------- R1


@rule(
    "R1",
    "Pairs of ribs, and how many",
    scope=Scope.SEGMENTATION,
    severity=Severity.WARNING,
    unit=Unit.COUNT,
    source="TotalSegmentator issue 309: shifted labels, patients with 11 pairs",
    gate="ribs that are complete and whose counterpart would be in the image; both sides numbered alike (X4)",
)
def pairs(context: MeasuredSegmentation, limits: Limits) -> SeriesResults:
    """Every rib has a counterpart; there are 12 pairs, 11 or 13 as a variant. One finding for all of a segmentation."""
    if not all(members(context, chain) for chain in RIBS) or left_offset(context):
        return
    alone = {chain: _without_counterpart(context, chain) for chain in RIBS}
    skipped = _skipped_on_both_sides(context)
    usual = [(chain, level) for chain in RIBS for level in alone[chain] if level < _FLOATING]
    floating = [(chain, level) for chain in RIBS for level in alone[chain] if level >= _FLOATING]
    what = [f"only among the {chain}: {span(chain, alone[chain])}" for chain in RIBS if alone[chain]]
    if skipped:
        what.append(f"on neither side: {span(Chain.LEFT_RIBS, skipped)}")
    if usual or skipped:
        yield _unpaired(context, warned, "; ".join(what), usual or [(Chain.LEFT_RIBS, skipped[0] - 1)])
    elif floating:
        yield _unpaired(context, noted, f"{'; '.join(what)} (a small last rib may be missing on one side)", floating)
    yield from _number_of_pairs(context, limits)


def _without_counterpart(context: MeasuredSegmentation, chain: Chain) -> list[int]:
    other = members(context, OTHER_SIDE[chain])
    return [
        level
        for level, part in complete(members(context, chain)).items()
        if level not in other and _counterpart_is_in_view(part, context)
    ]


def _counterpart_is_in_view(part: MeasuredSegment, context: MeasuredSegmentation) -> bool:
    """Whether the mirror image of a rib lies in the image."""
    box, geometry = part.measures.shape.bounding_box, part.ct.geometry
    if box is None:
        return False
    ends = (box.start, tuple(stop - 1 for stop in box.stop))
    for corner in ((a, b, c) for a in range(2) for b in range(2) for c in range(2)):
        index = [float(ends[end][axis]) for axis, end in enumerate(corner)]
        image = mirrored(context, np.array(geometry.point_at(*index)))
        if image is None:
            return False
        at = geometry.nearest_slice((float(image[0]), float(image[1]), float(image[2])))
        row, column = geometry.in_slice(at, (float(image[0]), float(image[1]), float(image[2])))
        if not (0 <= row < geometry.shape[1] and 0 <= column < geometry.shape[2]):
            return False
    return True


def _skipped_on_both_sides(context: MeasuredSegmentation) -> list[int]:
    """Levels between the first and the last one that neither side has."""
    levels = set(members(context, RIBS[0])) | set(members(context, RIBS[1]))
    return [level for level in range(min(levels), max(levels)) if level not in levels]


def _unpaired(
    context: MeasuredSegmentation,
    complain: Callable[..., Result],
    message: str,
    which: Sequence[tuple[Chain, int]],
) -> Result:
    found = [members(context, chain)[level] for chain, level in which if level in members(context, chain)]
    return complain(
        f"ribs without a counterpart or skipped: {message}",
        value=float(len(which)),
        limit=0.0,
        location_mm=found[0].anchor_mm if found else None,
        segments=tuple(part.index for part in found),
    )


def _number_of_pairs(context: MeasuredSegmentation, limits: Limits) -> SeriesResults:
    """How many pairs there are, if the image goes on above the first and below the last one."""
    found = {**members(context, RIBS[0]), **members(context, RIBS[1])}
    number = max(found)
    if number == _FLOATING or min(found) != 1 or not is_complete(found[1]) or not is_complete(found[number]):
        return
    lowest = float(found[number].ct.geometry.slice_origins_mm[:, 2].min())
    if found[number].extent_z_mm()[0] - lowest < limits["min_room_mm"]:
        return
    variant = number in (_FLOATING - 1, _FLOATING + 1)
    message = f"{number} pairs of ribs" + ("; a known variant, or a wrong number" if variant else "")
    complain = noted if variant else warned
    part = found[number]
    yield complain(
        message, value=float(number), limit=float(_FLOATING), location_mm=part.anchor_mm, segments=(part.index,)
    )


# ------------------------------------------------------------------------------------------------- R2


@dataclass(frozen=True, eq=False)
class _Piece:
    """A component of a rib, as voxel indices (slice, row, column)."""

    part: MeasuredSegment
    level: int
    points: NDArray[np.float64]


@rule(
    "R2",
    "Piece of the neighbouring rib",
    scope=Scope.SEGMENTATION,
    severity=Severity.ERROR,
    unit=Unit.COUNT,
    source="In Search of Truth (segmentation-comparison): ribs that continue as their neighbour",
    gate="ribs in several pieces that the image does not cut off",
)
def neighbour_piece(context: MeasuredSegmentation, limits: Limits) -> SeriesResults:
    """A piece of a rib that goes on as the next rib: it touches that one and lies apart from its own."""
    found = [(chain, piece, level) for chain in RIBS for piece, level in _foreign_pieces(context, chain, limits)]
    if found:
        what = ", ".join(
            f"{piece.part.label} holds {_share(piece):.0%} that continues rib {level_name(chain, level)}"
            for chain, piece, level in found
        )
        first = found[0][1]
        k, i, j = (float(value) for value in first.points[len(first.points) // 2])
        yield failed(
            f"pieces of ribs belong to their neighbour: {what}",
            value=float(len(found)),
            limit=0.0,
            location_mm=first.part.ct.geometry.point_at(k, i, j),
            segments=tuple(dict.fromkeys(piece.part.index for _, piece, _ in found)),
        )


def _share(piece: _Piece) -> float:
    return len(piece.points) / piece.part.measures.shape.voxel_count


def _foreign_pieces(context: MeasuredSegmentation, chain: Chain, limits: Limits) -> Iterator[tuple[_Piece, int]]:
    """(piece, level of the rib that it continues)."""
    there = members(context, chain)
    for level, part in complete(there).items():
        pieces = _large_pieces(context, level, part, limits)
        for at, piece in enumerate(pieces):
            own = np.concatenate([other.points for other in pieces if other is not piece])
            neighbours = [other for other in (level - 1, level + 1) if other in there]
            near = [other for other in neighbours if _touches(context, piece, there[other], limits)]
            if near and _distance_mm(part, piece.points, own) >= limits["min_distance_mm"] and at > 0:
                yield piece, near[0]


def _large_pieces(context: MeasuredSegmentation, level: int, part: MeasuredSegment, limits: Limits) -> list[_Piece]:
    """Components that are more than islands, largest first; none if there is only one."""
    counts = part.measures.shape.components.voxel_counts
    wanted = counts >= max(limits["min_share"] * counts.sum(), limits["min_volume_ml"] / _voxel_ml(part))
    if wanted.sum() < 2:
        return []
    return [_Piece(part, level, _component(context, part, int(number))) for number in np.flatnonzero(wanted)]


def _voxel_ml(part: MeasuredSegment) -> float:
    return part.ct.geometry.voxel_volume_ml


def _component(context: MeasuredSegmentation, part: MeasuredSegment, number: int) -> NDArray[np.float64]:
    """Indices of the voxels of a component."""
    box, mask = context.component(part, number)
    points: NDArray[np.float64] = (np.argwhere(mask) + box.start).astype(np.float64)
    return points


def _touches(context: MeasuredSegmentation, piece: _Piece, other: MeasuredSegment, limits: Limits) -> bool:
    """Whether a piece comes within `max_gap_voxels` of another segment."""
    reach = int(limits["max_gap_voxels"])
    shape = np.array(other.ct.geometry.shape)
    start = np.maximum(piece.points.min(axis=0).astype(int) - reach, 0)
    stop = np.minimum(piece.points.max(axis=0).astype(int) + reach + 1, shape)
    k, i, j = (slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
    theirs = context.mask(other, (k, i, j))
    if not theirs.any():
        return False
    grown = np.zeros(theirs.shape, bool)
    grown[tuple((piece.points.astype(int) - start).T)] = True
    for axis in range(3):
        line = np.moveaxis(grown, axis, 0)  # a view: what is set here is set in `grown`
        before = line.copy()
        for step in range(1, min(reach, len(line) - 1) + 1):
            line[step:] |= before[:-step]
            line[:-step] |= before[step:]
    return bool((grown & theirs).any())


def _distance_mm(part: MeasuredSegment, one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Smallest distance between two sets of voxels."""
    spacing = np.array(part.ct.geometry.spacing_mm)
    return float(point_distances(one * spacing, other * spacing).min())


# ------------------------------------------------------------------------------------------------- R3, R4


@rule(
    "R3",
    "Gap between rib and vertebra",
    scope=Scope.SEGMENTATION,
    severity=Severity.WARNING,
    unit=Unit.MM,
    source="TotalSegmentator issue 29: the training data leave a gap; CADS looks within 10 voxels of the spine",
    gate="ribs whose head is in the image; most ribs of the segmentation have no gap; both sides numbered alike (X4)",
)
def head_gap(context: MeasuredSegmentation, limits: Limits) -> SeriesResults:
    """Ribs that begin too far from their vertebra, where the others of the same result do not."""
    if left_offset(context):
        return
    gaps = {
        (chain, level): gap
        for chain in RIBS
        for level, head in heads(context, chain).items()
        if (gap := _gap_mm(context, head, level + RIB_TO_SPINE, limits["max_gap_mm"])) is not None
    }
    wide = {which: gap for which, gap in gaps.items() if gap > limits["max_gap_mm"]}
    if not wide or len(gaps) < limits["min_heads"] or len(wide) > limits["max_share"] * len(gaps):
        return
    parts = [members(context, chain)[level] for chain, level in wide]
    what = ", ".join(f"{part.label} {gap:.0f} mm" for part, gap in zip(parts, wide.values(), strict=True))
    yield warned(
        f"ribs begin far from their vertebra: {what}",
        value=max(wide.values()),
        limit=limits["max_gap_mm"],
        location_mm=heads(context, next(iter(wide))[0])[next(iter(wide))[1]].middle,
        segments=tuple(part.index for part in parts),
    )


def _gap_mm(context: MeasuredSegmentation, head: Head, level: int, reach_mm: float) -> float | None:
    """Distance from the head of a rib to its vertebra or one of that's neighbours: numbers are a matter of other rules.

    None if the vertebra or one of its neighbours is not there.
    """
    spine = members(context, Chain.SPINE)
    near = [spine[other] for other in (level - 1, level, level + 1) if other in spine]
    if len(near) < 3:
        return None
    points = [_points_around(context, vertebra, head, reach_mm) for vertebra in near]
    if not any(len(found) for found in points):
        points = [sampled(vertebra, context)[0] for vertebra in near]
    return float(point_distances(head.points, np.concatenate(points)).min())


def _points_around(
    context: MeasuredSegmentation, vertebra: MeasuredSegment, head: Head, reach_mm: float
) -> NDArray[np.float64]:
    """Points of a vertebra in LPS mm in a box around the head of a rib."""
    geometry = vertebra.ct.geometry
    at = geometry.nearest_slice(head.middle)
    middle = np.array((at, *geometry.in_slice(at, head.middle)))
    reach = (reach_mm + 10) / np.array(geometry.spacing_mm)
    start = np.maximum(np.floor(middle - reach), 0).astype(int)
    stop = np.maximum(np.ceil(middle + reach), 0).astype(int)
    return sampled_in(vertebra, context, start, stop)[0]


@rule(
    "R4",
    "Order of the ribs",
    scope=Scope.SEGMENTATION,
    severity=Severity.ERROR,
    unit=Unit.COUNT,
    source="anatomy",
    gate="ribs whose heads are in the image",
)
def order(context: MeasuredSegmentation, limits: Limits) -> SeriesResults:
    """The head of each rib lies above that of the next one: one finding per side."""
    for chain in RIBS:
        found = {level: head.middle for level, head in heads(context, chain).items()}
        wrong = [
            (upper, lower)
            for upper, lower in pairwise(found)
            if found[lower][2] - found[upper][2] > limits["min_step_mm"]
            # Where a rib was segmented from further outside on only, its end lies lower than its head would.
            and abs(found[lower][0] - found[upper][0]) <= limits["max_sideways_mm"]
        ]
        if wrong:
            what = ", ".join(f"{upper} lies below {lower}" for upper, lower in wrong)
            levels = dict.fromkeys(level for pair in wrong for level in pair)
            yield failed(
                f"{chain} out of order at the spine: {what}",
                value=float(len(wrong)),
                limit=0.0,
                location_mm=found[wrong[0][0]],
                segments=tuple(members(context, chain)[level].index for level in levels),
            )
