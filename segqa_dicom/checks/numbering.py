"""What anatomy says about the numbering of spine and ribs: which of two numberings is right, and contradictions in one.

Evidence: ribs of one level lie at one height on both sides, rib n begins at vertebra Tn, the lowest rib is the twelfth,
nothing lies above the first one, L5 lies on the sacrum. Variants (11 or 13 ribs, L6) make each of them wrong in some
people, so they are votes and not proofs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from statistics import median

from segqa_dicom.checks.chains import (
    L5,
    OTHER_SIDE,
    RIB_TO_SPINE,
    RIBS,
    Chain,
    Shift,
    centre,
    extent_z_mm,
    head_offset,
    heads,
    heights,
    level_name,
    members,
    side_offset,
    span,
)
from segqa_dicom.checks.registry import Result, SeriesResults, failed, warned
from segqa_dicom.checks.ruleset import Limits
from segqa_dicom.checks.subject import MeasuredCase, MeasuredSegment, MeasuredSegmentation

SACRUM = "54735007.SCT"
"""Type of the sacrum."""
_LAST_RIB = 12
_ROOM_MM = 40.0
"""Room in the image beyond a rib that shows that it is the last one: ribs lie 20 to 35 mm apart."""
_CLEAR = 0.3
"""Levels by which one numbering must fit better than the other."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A vote for (> 0) or against a result being the wrong one, and what it is in words."""

    vote: int
    words: str


def anatomy(case: MeasuredCase, shift: Shift, disputed: Collection[Chain]) -> list[Evidence]:
    """Votes for ``shift.one`` being wrong.

    disputed : chains that the two results number differently; none of them can prove anything about another
    """
    if shift.chain is Chain.SPINE:
        found = [_spine_at_ribs(case, shift, disputed), _on_the_sacrum(case, shift)]
    else:
        found = [_other_side(case, shift), _ribs_at_spine(case, shift, disputed), *_ends(case, shift)]
    return [one for one in found if one is not None]


def _other_side(case: MeasuredCase, shift: Shift) -> Evidence | None:
    """Ribs against those of the other side of the same result."""
    mine = side_offset(case.segmentations[shift.one], shift.chain, shift.levels)
    back = shift.reversed()
    its = side_offset(case.segmentations[shift.other], shift.chain, back.levels)
    if mine == shift.by and its in (0, None):
        side = OTHER_SIDE[shift.chain]
        return Evidence(1, f"its own {side} at the same places are numbered {span(side, back.levels)}")
    return Evidence(-1, "") if its == back.by and mine in (0, None) else None


def _ribs_at_spine(case: MeasuredCase, shift: Shift, disputed: Collection[Chain]) -> Evidence | None:
    """Heads of ribs against vertebrae, of the result itself or of the other one: it is the same body."""
    if Chain.SPINE in disputed:
        return None
    contexts = [case.segmentations[at] for at in (shift.one, shift.other)]
    spine = next((found for context in contexts if (found := heights(context)) is not None), None)
    offset = None if spine is None else head_offset(contexts[0], shift.chain, spine, shift.levels)
    if spine is None or offset is None:
        return None
    level = next(level for level in heads(contexts[0], shift.chain) if level in shift.levels)
    at = level_name(Chain.SPINE, level - shift.by + RIB_TO_SPINE)
    return _closer(offset[0], shift.by, f"its rib {level} begins at {at}")


def _spine_at_ribs(case: MeasuredCase, shift: Shift, disputed: Collection[Chain]) -> Evidence | None:
    """Vertebrae against the heads of the ribs of the same result."""
    context = case.segmentations[shift.one]
    spine = heights(context)
    levels = [level - shift.by - RIB_TO_SPINE for level in shift.levels]
    found = [] if spine is None else [
        offset[0]
        for chain in RIBS
        if chain not in disputed and (offset := head_offset(context, chain, spine, levels)) is not None
    ]  # fmt: skip
    if not found:
        return None
    direction = "lower" if shift.by < 0 else "higher"
    return _closer(-median(found), shift.by, f"{abs(shift.by)} {direction} than the ribs that begin there")


def _closer(found: float, by: int, words: str) -> Evidence | None:
    """Whether the offset that was found is that of a wrong numbering or none."""
    if abs(found - by) + _CLEAR < abs(found):
        return Evidence(1, words)
    return Evidence(-1, "") if abs(found) + _CLEAR < abs(found - by) else None


def _ends(case: MeasuredCase, shift: Shift) -> Iterator[Evidence | None]:
    """The lowest rib is the twelfth, the topmost the first, if the image goes on beyond it."""
    found = members(case.segmentations[shift.one], shift.chain)
    low, high = _scan_z_mm(case)
    last, first = max(found), min(found)
    if last in shift.levels and extent_z_mm(found[last])[0] - low >= _ROOM_MM:
        yield _numbered(last, _LAST_RIB, shift.by, f"the lowest rib is numbered {last}")
    if first in shift.levels and high - extent_z_mm(found[first])[1] >= _ROOM_MM:
        yield _numbered(first, 1, shift.by, f"the topmost rib is numbered {first}")


def _on_the_sacrum(case: MeasuredCase, shift: Shift) -> Evidence | None:
    """L5 lies on the sacrum, whichever result has one."""
    found = members(case.segmentations[shift.one], Chain.SPINE)
    bones = [bone for at in (shift.one, shift.other) if (bone := sacrum(case.segmentations[at])) is not None]
    last = max(found)
    if not bones or last not in shift.levels or not lies_on(found[last], bones[0]):
        return None
    return _numbered(last, L5, shift.by, f"{level_name(Chain.SPINE, last)} lies on the sacrum")


def _numbered(level: int, expected: int, by: int, words: str) -> Evidence | None:
    if level - by == expected:
        return Evidence(1, words)
    return Evidence(-1, "") if level == expected else None


def sacrum(context: MeasuredSegmentation) -> MeasuredSegment | None:
    """The sacrum of a result, if it has one with voxels."""
    return next((part for part in context.segments if part.key.startswith(SACRUM) and not part.is_empty), None)


def lies_on(vertebra: MeasuredSegment, bone: MeasuredSegment) -> bool:
    """Whether a vertebra is the one next to the sacrum: they reach into each other's height."""
    return extent_z_mm(vertebra)[0] <= extent_z_mm(bone)[1] and float(centre(vertebra)[2]) > float(centre(bone)[2])


def _scan_z_mm(case: MeasuredCase) -> tuple[float, float]:
    z = case.ct.geometry.slice_origins_mm[:, 2]
    return float(z.min()), float(z.max())


# ------------------------------------------------------------------------------------------------- one result


def inconsistent(context: MeasuredSegmentation, at: int, explained: Collection[Chain], limits: Limits) -> SeriesResults:
    """Contradictions within one result: left ribs against right ribs, else both against the vertebrae.

    explained : chains of it that a finding already names
    """
    if set(explained) & set(RIBS):
        return
    by = side_offset(context, Chain.LEFT_RIBS)
    if by:
        yield _sides_differ(context, at, by)
    elif Chain.SPINE not in explained:
        yield from _ribs_differ_from_spine(context, at, limits)


def _sides_differ(context: MeasuredSegmentation, at: int, by: int) -> Result:
    """One finding about the side that is wrong, or about both."""
    left = members(context, Chain.LEFT_RIBS)
    pairs = [level for level in left if level - by in members(context, Chain.RIGHT_RIBS)]
    chain = _wrong_side(context, by)
    of = chain or Chain.LEFT_RIBS
    by = by if of is Chain.LEFT_RIBS else -by
    levels = pairs if of is Chain.LEFT_RIBS else [level + by for level in pairs]
    direction = "lower" if by < 0 else "higher"
    why = (
        "these are wrong: their heads lie at other vertebrae" if chain else "nothing in the image tells which are wrong"
    )
    mine = members(context, of)
    return failed(
        f"the {of} are numbered {abs(by)} {direction} than the {OTHER_SIDE[of]} at the same places: "
        f"{span(of, levels)} beside {span(of, [level - by for level in levels])}; {why}",
        value=float(by),
        limit=0.0,
        location_mm=mine[levels[len(levels) // 2]].anchor_mm,
        segments=tuple(mine[level].index for level in levels),
        segmentations=(at,),
    )


def _wrong_side(context: MeasuredSegmentation, by: int) -> Chain | None:
    """Which side's ribs do not begin at their vertebrae; None if that cannot be told."""
    spine = heights(context)
    if spine is None:
        return None
    found = {chain: head_offset(context, chain, spine) for chain in RIBS}
    wrong = []
    for chain, shift in zip(RIBS, (by, -by), strict=True):
        offset = found[chain]
        verdict = None if offset is None else _closer(offset[0], shift, "")
        if verdict is not None and verdict.vote > 0:
            wrong.append(chain)
    return wrong[0] if len(wrong) == 1 else None


def _ribs_differ_from_spine(context: MeasuredSegmentation, at: int, limits: Limits) -> SeriesResults:
    spine = heights(context)
    if spine is None:
        return
    found = [one for chain in RIBS if (one := head_offset(context, chain, spine)) is not None]
    count = sum(heads_there for _, heads_there in found)
    if count < limits["min_heads"] or len({round(value) for value, _ in found}) > 1:
        return
    offset = sum(value * heads_there for value, heads_there in found) / count
    if abs(offset) < limits["min_head_offset"]:
        return
    by = round(offset) or (1 if offset > 0 else -1)
    parts = {level: part for chain in RIBS for level, part in members(context, chain).items()}
    levels = sorted(parts)
    direction = "lower" if by < 0 else "higher"
    yield warned(
        f"the ribs are numbered {abs(by)} {direction} than the vertebrae at which they begin; "
        "nothing in the image tells which are wrong",
        value=offset,
        limit=limits["min_head_offset"],
        location_mm=parts[levels[len(levels) // 2]].anchor_mm,
        segments=tuple(parts[level].index for level in levels),
        segmentations=(at,),
    )
