"""T: parts, islands, missing slices, overlaps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.anatomy import Group, are_exclusive, may_overlap
from segqa_dicom.checks.finding import Severity
from segqa_dicom.checks.gates import cut_off
from segqa_dicom.checks.registry import Result, Scope, SegmentResult, Unit, failed, not_run, passed, rule, warned
from segqa_dicom.checks.ruleset import Limits
from segqa_dicom.checks.subject import MeasuredSegment, MeasuredSegmentation


@rule(
    "T1",
    "Number of separate parts",
    scope=Scope.SEGMENT,
    severity=Severity.ERROR,
    unit=Unit.COUNT,
    source="Krishnaswamy 2024 (arXiv 2406.14486), with exceptions by structure and by share",
    gate="structures that have a known number of parts; not truncated",
)
def parts(part: MeasuredSegment, _context: MeasuredSegmentation, limits: Limits) -> SegmentResult:
    """Most of a structure must lie in as many components as it has in anatomy."""
    allowed = part.known.components
    if part.is_empty or allowed is None:
        return None
    if cut_off(part):
        return not_run("the structure may go on outside the image, where its parts may be joined")
    counts = part.measures.shape.components.voxel_counts
    if len(counts) <= allowed:
        return passed(value=float(len(counts)), limit=float(allowed))
    share = float(counts[:allowed].sum() / counts.sum())
    # Islands have a rule of their own (T2): a part that is next to nothing does not make a structure fall apart.
    message = f"{len(counts)} separate parts (limit {allowed}); the largest {_number(allowed)} {share:.1%} of it"
    if share >= limits["pass_fraction"]:
        return passed(message, value=float(len(counts)), limit=float(allowed))
    where = part.component_mm(allowed)
    complain = warned if share >= limits["warning_fraction"] or part.known.parts_warn_only else failed
    return complain(message, value=float(len(counts)), limit=float(allowed), location_mm=where)


def _number(allowed: int) -> str:
    return "has" if allowed == 1 else f"{allowed} have"


@rule(
    "T2",
    "Islands",
    scope=Scope.SEGMENT,
    severity=Severity.WARNING,
    unit=Unit.COUNT,
    source="TotalSegmentator vertebrae_pp: components below 100 mm3 are dropped",
    gate="structures that have a known number of parts",
)
def islands(part: MeasuredSegment, _context: MeasuredSegmentation, limits: Limits) -> SegmentResult:
    """Components that are next to nothing: stray voxels, or a label that leaked elsewhere."""
    if part.is_empty or part.known.components is None:
        return None
    small = _islands(part, limits)
    if len(small) == 0:
        return passed(value=0.0, limit=0.0)
    volume = sum(part.component_ml(int(number)) for number in small)
    what = "1 island" if len(small) == 1 else f"{len(small)} islands"
    message = f"{what} of {volume:.2g} mL in all, apart from the rest"
    return warned(message, value=float(len(small)), limit=0.0, location_mm=part.component_mm(int(small[0])))


def _islands(part: MeasuredSegment, limits: Limits) -> NDArray[np.intp]:
    """Which components are islands; the largest one never is."""
    counts = part.measures.shape.components.voxel_counts
    small = counts * part.ct.geometry.voxel_volume_ml < limits["max_volume_ml"]
    if part.known.group is not Group.VERTEBRA:
        small &= counts < limits["max_fraction"] * counts.sum()
    if len(small):
        small[0] = False
    return np.flatnonzero(small)


@rule(
    "T3",
    "Holes",
    scope=Scope.SEGMENT,
    severity=Severity.WARNING,
    unit=Unit.RATIO,
    source="proposal; 1 % is not calibrated",
    gate="complete structures that have no cavity or wall of their own (bowel, vessels, airways, skull, bladder)",
)
def holes(part: MeasuredSegment, _context: MeasuredSegmentation, limits: Limits) -> SegmentResult:
    """Voxels without a label that a structure encloses on all sides."""
    cavities = part.measures.cavities
    if part.is_empty or cavities is None or part.known.holes_are_normal:
        return None
    if reason := cut_off(part):
        return not_run(reason)
    share = cavities.voxel_count / part.measures.shape.voxel_count
    volume = cavities.voxel_count * part.ct.geometry.voxel_volume_ml
    limit = limits["max_fraction"]
    if share <= limit or volume < limits["min_volume_ml"] or cavities.location is None:
        return passed(value=share, limit=limit)
    k, i, j = cavities.location
    message = f"encloses {volume:.2g} mL that have no label: {share:.1%} of its volume (limit {limit:.0%})"
    return warned(message, value=share, limit=limit, location_mm=part.ct.geometry.point_at(k, i, j))


@rule(
    "T4",
    "Missing slices",
    scope=Scope.SEGMENT,
    severity=Severity.WARNING,
    unit=Unit.COUNT,
    source="AIMI reviewers' comments: last slice wrong",
)
def missing_slices(part: MeasuredSegment, context: MeasuredSegmentation, limits: Limits) -> SegmentResult:
    """Empty slices between two cross-sections that lie over each other: the structure went on there.

    Parts that do not face each other across the gap are a matter of T1 and T2.
    """
    components = part.measures.shape.components
    if part.is_empty:
        return None
    if components.count < 2:
        return passed(value=0.0, limit=0.0)
    empty = 0
    where: tuple[float, float, float] | None = None
    for below, above in _gaps(components.boxes):
        if _likeness(part, context, below, above) >= limits["min_dice"]:
            empty += above - below - 1
            where = where or _middle(part, context, below, above)
    if empty == 0:
        return passed(value=0.0, limit=0.0)
    slices = "1 slice is" if empty == 1 else f"{empty} slices are"
    return warned(
        f"{slices} empty between cross-sections that face each other", value=float(empty), limit=0.0, location_mm=where
    )


def _gaps(boxes: NDArray[np.int32]) -> list[tuple[int, int]]:
    """(last slice before, first slice after) of each run of slices that no component reaches."""
    order = np.argsort(boxes[:, 0], kind="stable")
    gaps: list[tuple[int, int]] = []
    reached = int(boxes[order[0], 3])
    for start, stop in boxes[order][:, [0, 3]]:
        if start > reached:
            gaps.append((reached - 1, int(start)))
        reached = max(reached, int(stop))
    return gaps


def _section(part: MeasuredSegment, context: MeasuredSegmentation, index: int) -> NDArray[np.bool_]:
    box = part.measures.shape.bounding_box
    layer = context.segmentation.layers[part.segment.layer]
    assert box is not None  # noqa: S101 - not empty
    _, rows, columns = box.slices
    section: NDArray[np.bool_] = layer[index, rows, columns] == part.index + 1
    return section


def _likeness(part: MeasuredSegment, context: MeasuredSegmentation, below: int, above: int) -> float:
    """Dice of two cross-sections: high if the same piece was cut, low for an island over an organ."""
    lower, upper = _section(part, context, below), _section(part, context, above)
    return float(2 * (lower & upper).sum() / (lower.sum() + upper.sum()))


def _middle(part: MeasuredSegment, context: MeasuredSegmentation, below: int, above: int) -> tuple[float, float, float]:
    box = part.measures.shape.bounding_box
    assert box is not None  # noqa: S101 - not empty
    both = _section(part, context, below) & _section(part, context, above)
    rows, columns = np.nonzero(both)
    middle = len(rows) // 2
    return part.ct.geometry.point_at(
        (below + above) / 2, float(rows[middle] + box.start[1]), float(columns[middle] + box.start[2])
    )


@rule(
    "T5",
    "Duplicate or overlapping segments",
    scope=Scope.SEGMENT,
    severity=Severity.ERROR,
    unit=Unit.RATIO,
    source="DICOM SEG permits overlap (PS3.3, section C.8.20.3); anatomy mostly does not",
    gate="parts and wholes, tissues and regions exempt from the overlap limit; organs that exclude each other: C2",
)
def overlapping(part: MeasuredSegment, context: MeasuredSegmentation, limits: Limits) -> SegmentResult:
    """Two segments that are the same voxels, or that share some although both cannot be there."""
    if part.is_empty:
        return None
    worst: Result | None = None
    for one, other, shared in context.overlaps:
        if part.index not in (one, other):
            continue
        partner = context.segments[other if part.index == one else one]
        found = _judged(part, partner, shared, limits)
        if found is not None and (worst is None or found.severity is Severity.ERROR):
            worst = found
    return worst or passed()


def _judged(part: MeasuredSegment, partner: MeasuredSegment, shared: int, limits: Limits) -> Result | None:
    counts = part.measures.shape.voxel_count, partner.measures.shape.voxel_count
    dice = 2 * shared / sum(counts)
    if dice > limits["duplicate_dice"]:
        message = f"same voxels as segment {partner.segment.number} {partner.label} (Dice {dice:.3f})"
        return failed(message, value=dice, limit=limits["duplicate_dice"], location_mm=part.anchor_mm)
    share = shared / min(counts)
    is_free = may_overlap(part.segment.codes, partner.segment.codes) or are_exclusive(part.known, partner.known)
    if share > limits["max_overlap_fraction"] and not is_free:
        message = (
            f"shares {shared} voxels with segment {partner.segment.number} {partner.label} ({share:.1%} of the smaller)"
        )
        return warned(message, value=share, limit=limits["max_overlap_fraction"], location_mm=part.anchor_mm)
    return None
