"""What anatomy says about the numbering of spine and ribs: which of two numberings is right, and contradictions in one.

Evidence: ribs of one level lie at one height on both sides, rib n begins at vertebra Tn, the lowest rib is the twelfth,
nothing lies above the first one, L5 lies on the sacrum. Variants (11 or 13 ribs, L6) make each of them wrong in some
people, so they are votes and not proofs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from statistics import median

import numpy as np

from segqa_dicom.checks.chains import (
    L5,
    OTHER_SIDE,
    RIB_TO_SPINE,
    RIBS,
    Chain,
    Shift,
    centre,
    head_offset,
    heads,
    heights,
    is_complete,
    left_offset,
    level_name,
    members,
    name_of,
    side_offset,
    span,
)
from segqa_dicom.checks.registry import SeriesResults, failed, warned
from segqa_dicom.checks.ruleset import Limits
from segqa_dicom.checks.subject import MeasuredCase, MeasuredSegment, MeasuredSegmentation

SACRUM = "54735007.SCT"
"""Type of the sacrum."""
_LAST_RIB = 12
_ROOM_MM = 40.0
"""Room in the image beyond a rib that shows that it is the last one: ribs lie 20 to 35 mm apart."""
_ON_SACRUM = 2.1
"""Largest distance of the vertebra that lies on the sacrum from its centre, in distances of the lowest vertebrae."""
_CLEAR = 0.25
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
        found = [_spine_at_ribs(case, shift, disputed), _on_the_sacrum(case, shift), _jump(case, shift)]
    else:
        found = [_other_side(case, shift), _ribs_at_spine(case, shift, disputed)]
        found += [*_ends(case, shift), _jump(case, shift)]
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
    ends = heads(contexts[0], shift.chain)
    level = next(level for level, head in ends.items() if level in shift.levels and head.is_near)
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
    low, high = _scan_z_mm(case)
    for seen in (shift, shift.reversed()):
        sign = 1 if seen is shift else -1
        found, its = (members(case.segmentations[at], shift.chain) for at in (seen.one, seen.other))
        last, first = max(found), min(found)
        # Of two results the one whose chain goes on further has the bone at the end; at a tie one of them is enough.
        if _goes_to_end(seen, last, max(its), sign) and found[last].extent_z_mm()[0] - low >= _ROOM_MM:
            yield _numbered(
                last, _LAST_RIB, seen.by, sign, _where(case, seen, sign, f"the lowest rib is numbered {last}")
            )
        if _goes_to_end(seen, -first, -min(its), sign) and high - found[first].extent_z_mm()[1] >= _ROOM_MM:
            yield _numbered(first, 1, seen.by, sign, _where(case, seen, sign, f"the topmost rib is numbered {first}"))


def _goes_to_end(seen: Shift, end: int, other_end: int, sign: int) -> bool:
    """Whether the run of a shift goes to an end of the chain, and the first result has the bone there.

    Levels are negative for the upper end.
    """
    by = seen.by if end > 0 else -seen.by
    run = seen.levels if end > 0 else [-level for level in seen.levels]
    ahead = end - (other_end + by)
    return max(run) in (end, other_end + by) and (ahead > 0 or (ahead == 0 and sign > 0))


def _on_the_sacrum(case: MeasuredCase, shift: Shift) -> Evidence | None:
    """L5 lies on the sacrum, whichever result has one."""
    bones = [bone for at in (shift.one, shift.other) if (bone := sacrum(case.segmentations[at])) is not None]
    for seen in (shift, shift.reversed()):
        sign = 1 if seen is shift else -1
        found, its = (members(case.segmentations[at], Chain.SPINE) for at in (seen.one, seen.other))
        last = max(found)
        if bones and _goes_to_end(seen, last, max(its), sign) and lies_on(found, bones[0]):
            words = _where(case, seen, sign, f"{level_name(Chain.SPINE, last)} lies on the sacrum")
            return _numbered(last, L5, seen.by, sign, words)
    return None


def _where(case: MeasuredCase, seen: Shift, sign: int, words: str) -> str:
    """Words about the other result name it."""
    return words if sign > 0 else f"{words} in {name_of(case.segmentations[seen.one])}"


def _numbered(level: int, expected: int, by: int, sign: int, words: str) -> Evidence | None:
    """What the number of a bone that should have another one, or has it, says.

    sign : 1 if it is that of the result in question, -1 if it is that of the other one
    """
    if level - by == expected:
        return Evidence(sign, words)
    return Evidence(-sign, words) if level == expected else None


def _jump(case: MeasuredCase, shift: Shift) -> Evidence | None:
    """A number is left out at an end of the run that the other result does not leave out: the bones are neighbours."""
    for seen in (shift, shift.reversed()):
        found, its = (members(case.segmentations[at], shift.chain) for at in (seen.one, seen.other))
        for edge, step in ((max(seen.levels), 1), (min(seen.levels), -1)):
            beyond = edge - seen.by + step
            jumps = (beyond - edge) * step > 1 and edge + step not in found
            if jumps and beyond in found and beyond in its:
                names = " and ".join(level_name(shift.chain, level) for level in sorted((edge, beyond)))
                words = f"{names} are neighbours" if shift.chain is Chain.SPINE else f"ribs {names} are neighbours"
                return Evidence(1, words) if seen is shift else Evidence(-1, "")
    return None


def sacrum(context: MeasuredSegmentation) -> MeasuredSegment | None:
    """The sacrum of a result, if it has one with voxels."""
    return next((part for part in context.segments if part.key.startswith(SACRUM) and not part.is_empty), None)


def lies_on(vertebrae: Mapping[int, MeasuredSegment], bone: MeasuredSegment) -> bool:
    """Whether the lowest vertebra is the one next to the sacrum.

    It reaches into the sacrum's height, or is not further from it than L5 is: 1.6 times the distance of L5 and L4, and
    2.5 times for L4.
    """
    *_, last = vertebrae
    vertebra = vertebrae[last]
    if float(centre(vertebra)[2]) < float(centre(bone)[2]):
        return False
    if vertebra.extent_z_mm()[0] <= bone.extent_z_mm()[1]:
        return True
    if last - 1 not in vertebrae or not is_complete(bone):
        return False
    step = float(np.linalg.norm(centre(vertebra) - centre(vertebrae[last - 1])))
    return float(np.linalg.norm(centre(vertebra) - centre(bone))) < _ON_SACRUM * step


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
    by = left_offset(context)
    if by:
        yield from _sides_differ(context, at, by)
    elif Chain.SPINE not in explained:
        yield from _ribs_differ_from_spine(context, at, limits)


def _sides_differ(context: MeasuredSegmentation, at: int, by: int) -> SeriesResults:
    """One finding about the side that is wrong; if the heads do not tell which one, a warning about both.

    Of ribs that the image cuts off the place alone proves nothing: in a patient who is turned they differ, too.
    """
    left = members(context, Chain.LEFT_RIBS)
    pairs = [level for level in left if level - by in members(context, Chain.RIGHT_RIBS)]
    chain = _wrong_side(context, by)
    if chain is None and side_offset(context, Chain.LEFT_RIBS, only_complete=True) != by:
        return
    of = chain or Chain.LEFT_RIBS
    by = by if of is Chain.LEFT_RIBS else -by
    levels = pairs if of is Chain.LEFT_RIBS else [level + by for level in pairs]
    direction = "lower" if by < 0 else "higher"
    why = (
        "these are wrong: their heads lie at other vertebrae" if chain else "nothing in the image tells which are wrong"
    )
    mine = members(context, of)
    complain = failed if chain else warned
    yield complain(
        f"{name_of(context)}: the {of} are numbered {abs(by)} {direction} than the {OTHER_SIDE[of]} at their places: "
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
        f"{name_of(context)}: the ribs are numbered {abs(by)} {direction} than the vertebrae at which they begin; "
        "nothing in the image tells which are wrong",
        value=offset,
        limit=limits["min_head_offset"],
        location_mm=parts[levels[len(levels) // 2]].anchor_mm,
        segments=tuple(parts[level].index for level in levels),
        segmentations=(at,),
    )
