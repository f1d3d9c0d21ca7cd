"""L: left and right."""

from __future__ import annotations

from segqa_dicom.anatomy import Group, Side, opposite_key, rib_asymmetry
from segqa_dicom.checks.chains import left_offset
from segqa_dicom.checks.finding import Severity
from segqa_dicom.checks.gates import cut_off
from segqa_dicom.checks.registry import Scope, SegmentResult, SeriesResults, Unit, failed, not_run, passed, rule, warned
from segqa_dicom.checks.ruleset import Limits
from segqa_dicom.checks.subject import MeasuredSegment, MeasuredSegmentation

CROSSES_MIDLINE = (Group.VESSEL, Group.BOWEL, Group.TISSUE, Group.REGION, Group.UNKNOWN)
"""Groups whose one-sided members may well lie on the other side of the midline (left brachiocephalic vein)."""


def _opposite(part: MeasuredSegment, context: MeasuredSegmentation) -> MeasuredSegment | None:
    """The same structure on the other side, if there is exactly one of each with voxels."""
    key = opposite_key(part.key)
    found = [other for other in context.by_key.get(key or "", []) if not other.is_empty]
    return found[0] if len(found) == 1 and len(context.by_key[part.key]) == 1 else None


def _x(part: MeasuredSegment) -> float:
    centroid = part.measures.shape.centroid_mm
    assert centroid is not None  # noqa: S101 - callers skip empty segments
    return centroid[0]


@rule(
    "L1",
    "Left and right",
    scope=Scope.SEGMENT,
    severity=Severity.ERROR,
    unit=Unit.MM,
    source="Krishnaswamy 2024 (arXiv 2406.14486), extended to one-sided structures by the midline of the spine",
    gate="structures with a side in their codes",
)
def sides(part: MeasuredSegment, context: MeasuredSegmentation, limits: Limits) -> SegmentResult:
    """What is coded left must lie to the patient's left (greater x in LPS) of its counterpart, or of the midline."""
    if part.side is None or part.is_empty:
        return None
    other = _opposite(part, context)
    if other is not None:
        return _against_counterpart(part, other)
    centroid = part.measures.shape.centroid_mm
    middle = context.midline_x_mm(centroid[2]) if centroid else None
    if part.known.group in CROSSES_MIDLINE or middle is None:
        return not_run("the other side is not there, and there is no midline to compare with")
    return _against_midline(part, middle, limits["midline_margin_mm"])


def _against_counterpart(part: MeasuredSegment, other: MeasuredSegment) -> SegmentResult:
    distance = _x(part) - _x(other) if part.side is Side.LEFT else _x(other) - _x(part)
    if distance > 0:
        return passed(value=distance, limit=0.0)
    wrong = Side.RIGHT if part.side is Side.LEFT else Side.LEFT
    message = f"coded {part.side}, but lies {abs(distance):.0f} mm to the {wrong} of {other.label}: sides are swapped"
    return failed(message, value=distance, limit=0.0, location_mm=part.anchor_mm)


def _against_midline(part: MeasuredSegment, middle: float, margin: float) -> SegmentResult:
    distance = _x(part) - middle if part.side is Side.LEFT else middle - _x(part)
    if distance > -margin:
        return passed(value=distance, limit=-margin)
    wrong = Side.RIGHT if part.side is Side.LEFT else Side.LEFT
    message = f"coded {part.side}, but lies {abs(distance):.0f} mm to the {wrong} of the spine"
    return failed(message, value=distance, limit=-margin, location_mm=part.anchor_mm)


@rule(
    "L2",
    "Left and right differ in size",
    scope=Scope.SEGMENT,
    severity=Severity.WARNING,
    unit=Unit.RATIO,
    source="Krishnaswamy 2024 (arXiv 2406.14486): ribs; 0.25 for other pairs is a proposal",
    gate="pairs of which both are complete",
)
def asymmetry(part: MeasuredSegment, context: MeasuredSegmentation, limits: Limits) -> SegmentResult:
    """Normalised difference |left - right| / (left + right) of the volumes of a pair."""
    if part.side is None or part.is_empty or not part.known.paired:
        return None
    other = _opposite(part, context)
    if other is None:
        return None
    if cut_off(part) or cut_off(other):
        return not_run("one of the two may go on outside the image")
    if part.known.group is Group.RIB and left_offset(context):
        return not_run("left and right ribs are numbered differently")
    volumes = part.measures.shape.volume_ml, other.measures.shape.volume_ml
    difference = abs(volumes[0] - volumes[1]) / sum(volumes)
    limit = _allowed_difference(part, limits)
    if difference <= limit:
        return passed(value=difference, limit=limit)
    message = (
        f"{volumes[0]:.1f} mL, {other.label} {volumes[1]:.1f} mL: "
        f"normalised difference {difference:.2f} (limit {limit:.2f})"
    )
    return warned(message, value=difference, limit=limit, location_mm=part.anchor_mm)


def _allowed_difference(part: MeasuredSegment, limits: Limits) -> float:
    published = rib_asymmetry(part.known.level or 0) if part.known.group is Group.RIB else None
    return limits["max_difference"] if published is None else limits["rib_factor"] * published


@rule(
    "L3",
    "Whole segmentation flipped",
    scope=Scope.SEGMENTATION,
    severity=Severity.ERROR,
    unit=Unit.RATIO,
    source="TotalSegmentator issues 144 and 229",
    gate="at least 3 pairs",
)
def flipped(context: MeasuredSegmentation, limits: Limits) -> SeriesResults:
    """Most pairs are the wrong way round: the image was flipped, or the patient has situs inversus."""
    pairs = [
        (part, other)
        for part in context.segments
        if part.side is Side.LEFT and not part.is_empty and (other := _opposite(part, context)) is not None
    ]
    if len(pairs) < limits["min_pairs"]:
        return
    wrong = [(part, other) for part, other in pairs if _x(part) <= _x(other)]
    share = len(wrong) / len(pairs)
    if share >= limits["min_fraction"]:
        yield failed(
            f"{len(wrong)} of {len(pairs)} pairs have left and right swapped: the whole segmentation is mirrored "
            "(or the patient has situs inversus)",
            value=share,
            limit=limits["min_fraction"],
            segments=tuple(one.index for pair in wrong for one in pair),
        )
