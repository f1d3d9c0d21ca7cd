"""C: what lies in what, what shares no voxels, what lies near, above and below."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segqa_dicom.anatomy import (
    Group,
    Neighbour,
    Place,
    Position,
    Side,
    are_exclusive,
    neighbours,
    opposite_name,
    positions,
    structure_named,
)
from segqa_dicom.checks.distance import distance_mm, is_within
from segqa_dicom.checks.finding import Severity
from segqa_dicom.checks.gates import cut_off
from segqa_dicom.checks.registry import Result, Scope, SegmentResult, Unit, failed, not_run, noted, passed, rule, warned
from segqa_dicom.checks.ruleset import Limits
from segqa_dicom.checks.subject import MeasuredSegment, MeasuredSegmentation
from segqa_dicom.model import PointMm

_SIDES = (Place.LEFT, Place.RIGHT)


def _shared(part: MeasuredSegment, other: MeasuredSegment, context: MeasuredSegmentation) -> int:
    wanted = {part.index, other.index}
    return sum(shared for one, two, shared in context.overlaps if {one, two} == wanted)


# ------------------------------------------------------------------------------------------------- C1


@rule(
    "C1",
    "Part lies in its whole",
    scope=Scope.SEGMENT,
    severity=Severity.WARNING,
    unit=Unit.RATIO,
    source="anatomy",
    gate="parts whose whole is a segment, too; complete ones where the labels of both exclude each other",
)
def inside(part: MeasuredSegment, context: MeasuredSegmentation, limits: Limits) -> SegmentResult:
    """A part lies in its whole.

    Models whose labels exclude each other take the part out of the whole: there it must lie against it. So must
    lesions, which may bulge out of their organ.
    """
    whole = None if part.is_empty else _whole(part, context)
    if whole is None:
        return None
    share = _shared(part, whole, context) / part.measures.shape.voxel_count
    if share >= limits["min_share"]:
        return passed(value=share, limit=limits["min_share"])
    if share > limits["max_share_apart"] and part.known.group is not Group.TISSUE:
        message = f"{share:.1%} of it lie in {whole.label} (limit {limits['min_share']:.0%})"
        return warned(message, value=share, limit=limits["min_share"], location_mm=part.anchor_mm)
    if reason := cut_off(part) or cut_off(whole):
        return not_run(reason)
    # Voxels that touch at a corner are as far apart as their diagonal.
    limit = max(limits["max_distance_mm"], float(np.linalg.norm(part.ct.geometry.spacing_mm)))
    if is_within(part, whole, context, limit):
        return passed(limit=limit, unit=Unit.MM)
    distance = distance_mm(part, whole, context)
    message = f"lies {distance:.0f} mm away from {whole.label}, of which it is a part (limit {limit:.0f} mm)"
    return warned(message, value=distance, limit=limit, unit=Unit.MM, location_mm=part.anchor_mm)


def _whole(part: MeasuredSegment, context: MeasuredSegmentation) -> MeasuredSegment | None:
    """The nearest of its wholes that is there exactly once, of the same side or of both."""
    named = context.by_name
    for name in part.known.wholes:
        for found in (named.get(name, []), named.get(structure_named(name).base, [])):
            if len(found) == 1 and found[0] is not part:
                return found[0]
    return None


# ------------------------------------------------------------------------------------------------- C2


@rule(
    "C2",
    "Shares voxels with another organ",
    scope=Scope.SEGMENT,
    severity=Severity.WARNING,
    unit=Unit.RATIO,
    source="anatomy: pairs in docs/reference/structures.md",
    gate="pairs of which the table of structures says so; duplicates and all other overlaps: T5",
)
def exclusive(part: MeasuredSegment, context: MeasuredSegmentation, limits: Limits) -> SegmentResult:
    """Two organs, or a bone and what runs along it, overlap; told once, of the smaller one, by its worst overlap."""
    worst: tuple[float, MeasuredSegment] | None = None
    for one, two, shared in context.overlaps:
        if part.index not in (one, two):
            continue
        other = context.segments[two if part.index == one else one]
        counts = part.measures.shape.voxel_count, other.measures.shape.voxel_count
        is_smaller = (counts[0], part.index) < (counts[1], other.index)
        is_duplicate = 2 * shared / sum(counts) > limits["duplicate_dice"]
        if not is_smaller or is_duplicate or not are_exclusive(part.known, other.known):
            continue
        if worst is None or shared / counts[0] > worst[0]:
            worst = shared / counts[0], other
    if worst is None:
        return None
    share, other = worst
    if share <= limits["max_share"]:
        return passed(value=share, limit=limits["max_share"])
    message = (
        f"{share:.1%} of it are also {other.label} (segment {other.segment.number}), which cannot be in the same place "
        f"(limit {limits['max_share']:.0%})"
    )
    return warned(message, value=share, limit=limits["max_share"], location_mm=_common_mm(part, other, context))


def _common_mm(part: MeasuredSegment, other: MeasuredSegment, context: MeasuredSegmentation) -> PointMm | None:
    """The middle one of the voxels that two segments share."""
    box = part.measures.shape.bounding_box
    if box is None:
        return None
    k, i, j = np.nonzero(context.mask(part, box.slices) & context.mask(other, box.slices))
    middle = len(k) // 2
    place = [float(axis[middle]) + start for axis, start in zip((k, i, j), box.start, strict=True)]
    return part.ct.geometry.point_at(place[0], place[1], place[2])


# ------------------------------------------------------------------------------------------------- C3


@rule(
    "C3",
    "Lies where it belongs",
    scope=Scope.SEGMENT,
    severity=Severity.WARNING,
    unit=Unit.MM,
    source="anatomy: neighbours and positions in docs/reference/structures.md",
    gate="the other structure is a segment, too, and the image cuts off neither; sides: of the midline of the spine",
)
def place(part: MeasuredSegment, context: MeasuredSegmentation, limits: Limits) -> SegmentResult:
    """Near its neighbours, above or below others, on its side of the midline; ribs and their vertebrae: R3."""
    if part.is_empty or part.known.group is Group.RIB:
        return None
    found = [_near(part, context, one) for one in neighbours(part.known)]
    found += [_position(part, context, one, limits) for one in positions(part.known)]
    results = [one for one in found if one is not None]
    return max(results, key=_weight, default=None)


def _weight(result: Result) -> int:
    order = (Severity.INFO, Severity.WARNING, Severity.ERROR)
    return 2 * order.index(result.severity) + (result.message != "")


def _near(part: MeasuredSegment, context: MeasuredSegmentation, wanted: Neighbour) -> SegmentResult:
    others = [other for name in wanted.to for other in context.by_name.get(name, [])]
    if not others:
        return None
    limit = wanted.max_distance_mm
    if any(is_within(part, other, context, limit) for other in _nearest_first(part, others)):
        return passed(limit=limit)
    for one in (part, *others):
        if reason := cut_off(one):
            return not_run(f"{one.label}: {reason}")
    of_other_side = [other for name in wanted.to for other in context.by_name.get(opposite_name(name) or "", [])]
    if any(is_within(part, other, context, limit) for other in of_other_side):
        return not_run("it lies near that of the other side: a matter of left and right (rule L1)")
    distance, other = min(((distance_mm(part, other, context), other) for other in others), key=lambda pair: pair[0])
    message = f"lies {distance:.0f} mm away from {other.label} (limit {limit:.0f} mm)"
    return warned(message, value=distance, limit=limit, location_mm=part.anchor_mm)


def _nearest_first(part: MeasuredSegment, others: Sequence[MeasuredSegment]) -> list[MeasuredSegment]:
    centre = np.array(part.measures.shape.centroid_mm)
    return sorted(others, key=lambda other: float(np.linalg.norm(np.array(other.measures.shape.centroid_mm) - centre)))


def _position(part: MeasuredSegment, context: MeasuredSegmentation, wanted: Position, limits: Limits) -> SegmentResult:
    if wanted.place in _SIDES:
        return _on_its_side(part, context, wanted, limits["midline_margin_mm"])
    others = context.by_name.get(wanted.than, [])
    if len(others) != 1:
        return None
    other = others[0]
    for one in (part, other):
        if reason := cut_off(one):
            return not_run(f"{one.label}: {reason}")
    height = _centre(part)[2] - _centre(other)[2]
    above = height if wanted.place is Place.ABOVE else -height
    if above > 0:
        return passed(value=above, limit=0.0)
    is_now, belongs = ("below", "above") if wanted.place is Place.ABOVE else ("above", "below")
    message = f"its centre lies {abs(above):.0f} mm {is_now} that of {other.label}, but belongs {belongs} it"
    return warned(message, value=above, limit=0.0, location_mm=part.anchor_mm)


def _centre(part: MeasuredSegment) -> PointMm:
    centre = part.measures.shape.centroid_mm
    assert centre is not None  # noqa: S101 - callers skip empty segments
    return centre


def _beyond_midline(part: MeasuredSegment, context: MeasuredSegmentation, wanted: Position) -> float | None:
    """How far the centre lies on the right side of the midline, in mm; None if there is no midline."""
    x, _, z = _centre(part)
    middle = context.midline_x_mm(z)
    if middle is None:
        return None
    return x - middle if wanted.place is Place.LEFT else middle - x


def _on_its_side(
    part: MeasuredSegment, context: MeasuredSegmentation, wanted: Position, margin: float
) -> SegmentResult:
    distance = _beyond_midline(part, context, wanted)
    if distance is None:
        return not_run("there is no midline to compare with")
    if distance > -margin:
        return passed(value=distance, limit=-margin)
    message = f"lies {abs(distance):.0f} mm on the wrong side of the spine: its place is on the {wanted.place}"
    if all(_is_mirrored(other, context, margin) for other in _sided(context)) and len(_sided(context)) > 1:
        # One cause, one complaint: of the first of them, or that of the pairs (rules L1 and L3).
        message += ", as for all organs that have a side: a mirrored image (rule L3), or situs inversus"
        complain = warned if part is _sided(context)[0] and not _has_swapped_pairs(context) else noted
        return complain(message, value=distance, limit=-margin, location_mm=part.anchor_mm)
    return warned(message, value=distance, limit=-margin, location_mm=part.anchor_mm)


def _sided(context: MeasuredSegmentation) -> list[MeasuredSegment]:
    """Unpaired organs that lie on one side."""
    return [
        part
        for part in context.segments
        if not part.is_empty and any(one.place in _SIDES for one in positions(part.known))
    ]


def _has_swapped_pairs(context: MeasuredSegmentation) -> bool:
    named = context.by_name
    pairs = (
        (parts, named.get(opposite_name(name) or "", [])) for name, parts in named.items() if name.endswith(Side.LEFT)
    )
    return any(_centre(left[0])[0] < _centre(right[0])[0] for left, right in pairs if right)


def _is_mirrored(part: MeasuredSegment, context: MeasuredSegmentation, margin: float) -> bool:
    wanted = next(one for one in positions(part.known) if one.place in _SIDES)
    distance = _beyond_midline(part, context, wanted)
    return distance is not None and distance <= -margin


# ------------------------------------------------------------------------------------------------- C4


@rule(
    "C4",
    "Piece of lung below the lung",
    scope=Scope.SEGMENT,
    severity=Severity.ERROR,
    unit=Unit.MM,
    source="TotalSegmentator issue 245",
    gate="lungs and lobes in several components; the liver or L3 is a segment, too",
)
def below_lung(part: MeasuredSegment, context: MeasuredSegmentation, limits: Limits) -> SegmentResult:
    """A component apart from the largest one, all of it below the tip of the liver or below L3, or as dense as no lung.

    The dome of the diaphragm is no limit: the recesses behind it reach 10 cm below.
    """
    components = part.measures.shape.components
    if part.known.group is not Group.LUNG or components.count < 2:
        return None
    lowest = _lowest_lung_mm(context)
    dense: SegmentResult = None
    for number in range(1, components.count):
        volume = part.component_ml(number)
        if volume < limits["min_volume_ml"]:
            break
        top = part.extent_z_mm(number)[1]
        if lowest is not None and top < lowest[0]:
            message = f"a separate piece of {volume:.1f} mL lies {lowest[0] - top:.0f} mm below {lowest[1]}"
            return failed(message, value=top - lowest[0], limit=0.0, location_mm=part.component_mm(number))
        dense = dense or _dense(part, context, number, limits)
    return dense or passed()


def _lowest_lung_mm(context: MeasuredSegmentation) -> tuple[float, str] | None:
    """Z below which there is no lung, and what says so: the lower end of the liver, or of L3."""
    found: list[tuple[float, str]] = []
    for name, what in (("liver", "the tip of the liver"), ("vertebrae_L3", "L3")):
        found.extend((part.extent_z_mm()[0], what) for part in context.by_name.get(name, []))
    return max(found, default=None)


def _dense(part: MeasuredSegment, context: MeasuredSegmentation, number: int, limits: Limits) -> SegmentResult:
    components = part.measures.shape.components
    if part.measures.intensity is None or components.voxel_counts[number] < 1:
        return None
    box, mask = context.component(part, number)
    value = float(np.median(part.ct.hu[box.slices][mask]))
    if value <= limits["max_median_hu"]:
        return None
    message = (
        f"a separate piece of {part.component_ml(number):.1f} mL has a median of {value:.0f} HU: no lung "
        f"(limit {limits['max_median_hu']:.0f} HU)"
    )
    where = part.component_mm(number)
    return warned(message, value=value, limit=limits["max_median_hu"], unit=Unit.HU, location_mm=where)
