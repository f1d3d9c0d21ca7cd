"""F: what the scan does not show, and masks where there is nothing to segment."""

from __future__ import annotations

from segqa_dicom.checks.finding import Severity
from segqa_dicom.checks.registry import Scope, SegmentResult, Unit, failed, noted, passed, rule, warned
from segqa_dicom.checks.ruleset import Limits
from segqa_dicom.checks.subject import MeasuredSegment, MeasuredSegmentation
from segqa_dicom.model import PointMm


@rule(
    "F1",
    "Reaches first or last CT slice",
    scope=Scope.SEGMENT,
    severity=Severity.INFO,
    source="Krishnaswamy 2024 (arXiv 2406.14486), corrected: outermost CT slice, not outermost SEG frame",
)
def scan_ends(part: MeasuredSegment, _context: MeasuredSegmentation, _limits: Limits) -> SegmentResult:
    """A structure in the outermost CT slice goes on outside the scan; rules that need all of it are then not run."""
    if part.is_empty:
        return None
    if not part.at_scan_end:
        return passed()
    box = part.measures.shape.bounding_box
    ends = []
    if box is not None and box.start[0] == 0:
        ends.append("first")
    if box is not None and box.stop[0] == part.ct.geometry.shape[0]:
        ends.append("last")
    return noted(f"cut off by the end of the scan ({' and '.join(ends)} CT slice)")


@rule(
    "F2",
    "Reaches edge of the field of view",
    scope=Scope.SEGMENT,
    severity=Severity.WARNING,
    unit=Unit.COUNT,
    source="TotalSegmentator issues 34 and 245",
)
def field_of_view(part: MeasuredSegment, _context: MeasuredSegmentation, _limits: Limits) -> SegmentResult:
    """A voxel in the outermost row or column, or on padding outside the reconstruction circle."""
    if part.is_empty:
        return None
    if not part.at_fov_edge:
        return passed()
    box, shape = part.measures.shape.bounding_box, part.ct.geometry.shape
    edges = [
        name
        for axis, (low, high) in ((1, ("first row", "last row")), (2, ("first column", "last column")))
        for name, touched in ((low, box and box.start[axis] == 0), (high, box and box.stop[axis] == shape[axis]))
        if touched
    ]
    padding = part.measures.padding_voxel_count
    if padding:
        edges.append(f"{padding} voxels on padding")
    return warned(
        f"reaches the edge of the image ({', '.join(edges)})", value=float(padding), location_mm=part.anchor_mm
    )


@rule(
    "F3",
    "Lies outside the body",
    scope=Scope.SEGMENT,
    severity=Severity.ERROR,
    unit=Unit.RATIO,
    source="TotalSegmentator issues 34 and 245",
    gate="CT in HU",
)
def outside_body(part: MeasuredSegment, _context: MeasuredSegmentation, limits: Limits) -> SegmentResult:
    """A share of the voxels in the air around the patient."""
    outside = part.measures.outside_body
    if part.is_empty or outside is None:
        return None
    share = outside.voxel_count / part.measures.shape.voxel_count
    limit = limits["max_fraction_outside"]
    if share <= limit:
        return passed(value=share, limit=limit)
    where: PointMm | None = None
    if outside.location is not None:
        k, i, j = outside.location
        where = part.ct.geometry.point_at(k, i, j)
    message = f"{share:.1%} of its voxels lie outside the body (limit {limit:.1%})"
    return failed(message, value=share, limit=limit, location_mm=where)


@rule(
    "F4",
    "Extends beyond the CT",
    scope=Scope.SEGMENT,
    severity=Severity.ERROR,
    unit=Unit.COUNT,
    source="TotalSegmentator issue 245, dcmqi issue 430",
)
def beyond_ct(part: MeasuredSegment, context: MeasuredSegmentation, _limits: Limits) -> SegmentResult:
    """Voxels for which there is no CT voxel: no slice within half a slice distance, or outside the matrix."""
    outside = part.segment.voxels_outside_ct
    if outside == 0:
        return passed()
    frames = context.segmentation.facts.frames_outside_ct
    message = f"{outside} voxels lie where the CT has no image; they are not part of any number here"
    if frames:
        message += f" ({frames} frames of this segmentation have no CT slice)"
    return failed(message, value=float(outside), limit=0.0, location_mm=context.segmentation.facts.outside_location_mm)
