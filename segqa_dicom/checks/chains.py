"""Chains of numbered structures, the spine and the ribs of each side: what the rules about them share."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from segqa_dicom import anatomy
from segqa_dicom.anatomy import Group, Side
from segqa_dicom.checks.gates import END_MARGIN_MM, cut_off
from segqa_dicom.checks.subject import MeasuredSegment, MeasuredSegmentation
from segqa_dicom.model import PointMm


class Chain(StrEnum):
    """The chains that there are, as they are called in messages."""

    SPINE = "vertebrae"
    LEFT_RIBS = "left ribs"
    RIGHT_RIBS = "right ribs"


RIBS = (Chain.LEFT_RIBS, Chain.RIGHT_RIBS)
OTHER_SIDE = {Chain.LEFT_RIBS: Chain.RIGHT_RIBS, Chain.RIGHT_RIBS: Chain.LEFT_RIBS}
_SIDES = {Side.LEFT: Chain.LEFT_RIBS, Side.RIGHT: Chain.RIGHT_RIBS}

T1, T12, L1, L5, L6 = 8, 19, 20, 24, 25
"""Levels of the spine (VerSe numbering)."""
RIB_TO_SPINE = 7
"""Rib n belongs to vertebra Tn, whose level is n + 7."""
_LAST = {Chain.SPINE: L6, Chain.LEFT_RIBS: 13, Chain.RIGHT_RIBS: 13}

MAX_SHIFT = 4
"""Largest shift of a chain that is looked for."""
_BEYOND = 1.5
"""Levels beyond the last complete vertebra to which heights are extrapolated."""
_USUAL_HEAD, _FIRST_LOW_HEAD = 0.3, 11
"""Levels that the head of a rib lies above the centroid of its vertebra (between two of them); from rib 11 on 0."""
_ALONG = 0.99
"""Cosine from which on an axis of the image counts as an axis of the body."""
_SAMPLE_MM = 3.0
"""Distance of the voxels that are looked at where every voxel is too many."""
_HEAD_MM = 8.0
"""Length of what counts as the head of a rib."""
_NEAR_SPINE_MM = 60.0
"""Distance from the body's middle beyond which the end of a rib is no true head: it was cut off, or not segmented."""

Members = Mapping[int, MeasuredSegment]
"""Level -> the one segment with voxels that has it, in ascending order."""


@dataclass(frozen=True, slots=True)
class Shift:
    """A run of levels that one result numbers otherwise than another.

    one, other : indices of the results
    levels : as `one` has them
    by : its number minus that of `other`
    """

    one: int
    other: int
    chain: Chain
    levels: tuple[int, ...]
    by: int

    def reversed(self) -> Shift:
        """The same, seen from the other result."""
        return Shift(self.other, self.one, self.chain, tuple(level - self.by for level in self.levels), -self.by)


_members: WeakKeyDictionary[MeasuredSegmentation, dict[Chain, dict[int, MeasuredSegment]]] = WeakKeyDictionary()
_offsets: WeakKeyDictionary[MeasuredSegmentation, int | None] = WeakKeyDictionary()
_heads: WeakKeyDictionary[MeasuredSegmentation, dict[Chain, dict[int, Head]]] = WeakKeyDictionary()


def name_of(context: MeasuredSegmentation) -> str:
    """What people call a result."""
    record = context.segmentation.record
    return record.series_description or record.sop_instance_uid


def chain_of(part: MeasuredSegment) -> Chain | None:
    """The chain a segment belongs to by its codes."""
    if part.known.level is None:
        return None
    if part.known.group is Group.VERTEBRA:
        return Chain.SPINE
    return _SIDES[part.side] if part.known.group is Group.RIB and part.side is not None else None


def members(context: MeasuredSegmentation, chain: Chain) -> Members:
    """What a segmentation has of a chain; levels that two segments claim are left out (rule K3)."""
    if context not in _members:
        _members[context] = {name: _members_of(context, name) for name in Chain}
    return _members[context][chain]


def _members_of(context: MeasuredSegmentation, chain: Chain) -> dict[int, MeasuredSegment]:
    found: dict[int, list[MeasuredSegment]] = {}
    for part in context.segments:
        level = part.known.level
        if level is not None and level <= _LAST[chain] and not part.is_empty and chain_of(part) is chain:
            found.setdefault(level, []).append(part)
    return {level: found[level][0] for level in sorted(found) if len(found[level]) == 1}


def level_name(chain: Chain, level: int) -> str:
    """``T9``, or ``9`` for a rib."""
    if chain is not Chain.SPINE:
        return str(level)
    return anatomy.level_name(level) or str(level)


def span(chain: Chain, levels: Iterable[int]) -> str:
    """``T8-T12, L3``: runs of levels with their ends."""
    runs: list[list[int]] = []
    for level in sorted(levels):
        if runs and level == runs[-1][-1] + 1:
            runs[-1].append(level)
        else:
            runs.append([level])
    ends = [[level_name(chain, end) for end in ((run[0],) if len(run) == 1 else (run[0], run[-1]))] for run in runs]
    return ", ".join("-".join(pair) for pair in ends)


def is_complete(part: MeasuredSegment) -> bool:
    """Whether all of it can be expected to be in the image."""
    return not cut_off(part)


def complete(found: Members) -> dict[int, MeasuredSegment]:
    """The complete ones."""
    return {level: part for level, part in found.items() if is_complete(part)}


def centre(part: MeasuredSegment) -> NDArray[np.float64]:
    """Centroid in LPS mm; of the largest component (the middle of its box) if there are others worth mentioning."""
    components = part.measures.shape.components
    if (components.largest_fraction or 1.0) < 0.95:
        return component_centre(part, 0)
    assert part.measures.shape.centroid_mm is not None  # noqa: S101 - members have voxels
    return np.array(part.measures.shape.centroid_mm)


def component_centre(part: MeasuredSegment, number: int) -> NDArray[np.float64]:
    """Middle of the box of a component in LPS mm."""
    box = part.measures.shape.components.boxes[number].astype(np.float64)
    middle = (box[:3] + box[3:] - 1) / 2
    return np.array(part.ct.geometry.point_at(*(float(value) for value in middle)))


def mirrored(context: MeasuredSegmentation, point: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The point on the other side of the body's middle; None if that is not known."""
    middle = context.midline_x_mm(float(point[2]))
    return None if middle is None else np.array([2 * middle - point[0], point[1], point[2]])


# ------------------------------------------------------------------------------------------------- ribs and sides


def side_offset(
    context: MeasuredSegmentation, chain: Chain, levels: Collection[int] | None = None, *, only_complete: bool = False
) -> int | None:
    """Level of a rib minus that of the other side's rib at the same place, if it is the same for all; else None.

    levels : of the ribs to look at; None = all
    only_complete : leave out ribs that the image cuts off. Both sides are cut off alike if the patient lies straight;
        a patient who is turned has other ribs in the last slice on the left than on the right
    Places are compared as mirror images of centroids.
    """
    here, there = members(context, chain), members(context, OTHER_SIDE[chain])
    if only_complete:
        here, there = complete(here), complete(there)
    chosen = {level: part for level, part in here.items() if levels is None or level in levels}
    images = {level: mirrored(context, centre(part)) for level, part in chosen.items()}
    places = {level: centre(part) for level, part in there.items()}
    distances = {
        shift: [
            float(np.linalg.norm(image - places[level - shift]))
            for level, image in images.items()
            if image is not None and level - shift in places
        ]
        for shift in range(-MAX_SHIFT, MAX_SHIFT + 1)
    }
    means = {shift: sum(found) / len(found) for shift, found in distances.items() if len(found) >= 2}
    if not means:
        return None
    best = min(means, key=lambda shift: (means[shift], abs(shift)))
    # Ribs lie 20 to 30 mm apart; a scoliosis moves both sides against each other by less than half of that.
    others = [mean for shift, mean in means.items() if shift != best]
    return best if means[best] < 20 and all(mean > means[best] + 8 for mean in others) else None


def left_offset(context: MeasuredSegmentation) -> int | None:
    """`side_offset` of the left ribs: what is not 0 is a matter of X4, and of no other rule."""
    if context not in _offsets:
        _offsets[context] = side_offset(context, Chain.LEFT_RIBS)
    return _offsets[context]


@dataclass(frozen=True, eq=False)
class Head:
    """End of a rib towards the spine, in LPS mm.

    middle : of the voxels that are the head
    points : some of them
    is_near : it is so near to the spine that its height is that of the vertebra
    """

    middle: PointMm
    points: NDArray[np.float64]
    is_near: bool


def heads(context: MeasuredSegmentation, chain: Chain) -> Mapping[int, Head]:
    """Level -> head of the rib, where it is in the image and ends before its border."""
    if context not in _heads:
        _heads[context] = {}
    found = _heads[context]
    if chain not in found:
        ends = {level: _head(part, context) for level, part in members(context, chain).items()}
        found[chain] = {level: end for level, end in ends.items() if end is not None}
    return found[chain]


def _head(part: MeasuredSegment, context: MeasuredSegmentation) -> Head | None:
    """The voxels of the dorsal half that are nearest to the body's middle.

    In front the ribs come near to the middle, too.
    """
    start, stop, middle_y = _dorsal_box(part)
    points, indices = sampled_in(part, context, start, stop)
    dorsal = points[:, 1] >= middle_y
    points, indices = points[dorsal], indices[dorsal]
    if len(points) == 0:
        return None
    middle = context.midline_x_mm(float(points[:, 2].mean()))
    if middle is None:
        return None
    away = np.abs(points[:, 0] - middle)
    is_near = bool(away.min() <= _NEAR_SPINE_MM)
    if not is_near and not is_complete(part):
        return None
    end = away <= away.min() + _HEAD_MM
    shape = np.array(part.ct.geometry.shape)
    margin = np.ceil(END_MARGIN_MM / np.array(part.ct.geometry.spacing_mm))
    if (indices[end] < margin).any() or (indices[end] >= shape - margin).any():
        return None
    x, y, z = points[end].mean(axis=0)
    return Head((float(x), float(y), float(z)), points[end], is_near)


def _dorsal_box(part: MeasuredSegment) -> tuple[NDArray[np.intp], NDArray[np.intp], float]:
    """Start and stop of the box of a segment (of its dorsal half if rows lie so), and y of the middle of all of it."""
    box, geometry = part.measures.shape.bounding_box, part.ct.geometry
    assert box is not None  # noqa: S101 - members have voxels
    start, stop = np.array(box.start), np.array(box.stop)
    k, i, j = ((a + b - 1) / 2 for a, b in zip(box.start, box.stop, strict=True))
    middle_y = geometry.point_at(k, i, j)[1]
    # Only to save time: the points are compared with the middle anyway.
    backwards = geometry.row_step_mm[1] / geometry.spacing_mm[1]
    if backwards > _ALONG:
        start[1] = int(i)
    elif backwards < -_ALONG:
        stop[1] = int(i) + 2
    return start, stop, middle_y


def sampled(part: MeasuredSegment, context: MeasuredSegmentation) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points in LPS mm and (slice, row, column) of voxels of a segment, one for about 3 mm of each axis."""
    box = part.measures.shape.bounding_box
    assert box is not None  # noqa: S101 - members have voxels
    return sampled_in(part, context, np.array(box.start), np.array(box.stop))


def sampled_in(
    part: MeasuredSegment, context: MeasuredSegmentation, start: NDArray[np.intp], stop: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same in the box from `start` up to `stop`."""
    step = np.maximum((_SAMPLE_MM / np.array(part.ct.geometry.spacing_mm)).astype(int), 1)
    k, i, j = (slice(int(a), int(b), int(c)) for a, b, c in zip(start, stop, step, strict=True))
    mask = context.mask(part, (k, i, j))
    # Several times as fast as np.argwhere.
    indices = np.stack(np.unravel_index(np.flatnonzero(mask), mask.shape), axis=1) * step + start
    return part.ct.geometry.to_world(indices.astype(np.float64)), indices.astype(np.float64)


# ------------------------------------------------------------------------------------------------- heights


@dataclass(frozen=True, eq=False)
class Heights:
    """Height of each level of the spine.

    levels : ascending
    z_mm : of the centroids of complete vertebrae
    """

    levels: NDArray[np.float64]
    z_mm: NDArray[np.float64]

    def level_at(self, z_mm: float) -> float | None:
        """Level of the spine, with fraction, at a height; None too far beyond the last complete vertebra."""
        levels, z = self.levels, self.z_mm
        if z_mm > z[0]:
            level = levels[0] + (z_mm - z[0]) / (z[1] - z[0]) * (levels[1] - levels[0])
        elif z_mm < z[-1]:
            level = levels[-1] + (z_mm - z[-1]) / (z[-1] - z[-2]) * (levels[-1] - levels[-2])
        else:
            level = np.interp(-z_mm, -z, levels)
        return float(level) if levels[0] - _BEYOND <= level <= levels[-1] + _BEYOND else None


def heights(context: MeasuredSegmentation) -> Heights | None:
    """Heights of the complete vertebrae; None if there are fewer than two, or they are not in order."""
    found = complete(members(context, Chain.SPINE))
    z = np.array([float(centre(part)[2]) for part in found.values()])
    if len(z) < 2 or (np.diff(z) >= 0).any():
        return None
    return Heights(np.array(list(found), np.float64), z)


def head_offset(
    context: MeasuredSegmentation, chain: Chain, spine: Heights, levels: Collection[int] | None = None
) -> tuple[float, int] | None:
    """(median of number of rib minus number of vertebra at its head, how many ribs that is); about 0 if right."""
    found = []
    for level, head in heads(context, chain).items():
        at = spine.level_at(head.middle[2])
        if at is not None and head.is_near and (levels is None or level in levels):
            usual = _USUAL_HEAD if level < _FIRST_LOW_HEAD else 0.0
            found.append(level - (at - RIB_TO_SPINE) - usual)
    return (median(found), len(found)) if found else None
