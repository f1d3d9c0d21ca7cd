"""H: HU that a structure cannot have.

Windows hold with and without contrast agent, and are wide: fat in the liver is no error of a segmentation. Where metal
is near, HU say nothing, and no complaint is made.
"""

from __future__ import annotations

from segqa_dicom.anatomy import Group
from segqa_dicom.checks.finding import Severity
from segqa_dicom.checks.gates import cut_off, is_near_metal
from segqa_dicom.checks.registry import Scope, SegmentResult, Unit, not_run, passed, rule, warned
from segqa_dicom.checks.ruleset import Limits
from segqa_dicom.checks.subject import MeasuredSegment, MeasuredSegmentation
from segqa_dicom.measures.results import AIR_BELOW_HU, DENSE_ABOVE_HU, FAT_HU

_NO_HU = "the CT is not in HU"
_METAL = "metal is near: HU there may be artefacts"


@rule(
    "H1",
    "Median HU",
    scope=Scope.SEGMENT,
    severity=Severity.WARNING,
    unit=Unit.HU,
    source="windows by structure, with and without contrast agent: docs/reference/structures.md",
    gate="CT in HU; structures that have a window; no metal near; of what the image cuts off only larger pieces",
)
def median(part: MeasuredSegment, _context: MeasuredSegmentation, limits: Limits) -> SegmentResult:
    """The middle one of its voxels must look like what it is called."""
    window, intensity = part.known.hu_window, part.measures.intensity
    if part.is_empty or window is None:
        return None
    if intensity is None:
        return not_run(_NO_HU)
    reason = cut_off(part)
    if reason and part.measures.shape.volume_ml < limits["min_volume_cut_off_ml"]:
        return not_run(reason)
    value = intensity.median_hu
    limit = window.low if window.high is None or (window.low is not None and value < window.low) else window.high
    if value in window:
        return passed(value=value, limit=limit)
    if is_near_metal(part):
        return not_run(_METAL)
    return warned(f"median {value:.0f} HU, not {_window(window.low, window.high)}", value=value, limit=limit,
                  location_mm=part.anchor_mm)  # fmt: skip


def _window(low: float | None, high: float | None) -> str:
    if low is None:
        return f"below {high:.0f} HU"
    return f"above {low:.0f} HU" if high is None else f"{low:.0f} to {high:.0f} HU"


@rule(
    "H2",
    "Voxels with impossible HU",
    scope=Scope.SEGMENT,
    severity=Severity.WARNING,
    unit=Unit.RATIO,
    source="proposal; HU of fat: body-composition convention",
    gate="CT in HU; complete lungs, solid organs and muscles; no metal near; not what H1 complains about",
)
def impossible(part: MeasuredSegment, _context: MeasuredSegmentation, limits: Limits) -> SegmentResult:
    """Dense voxels in the lung, air in a solid organ, fat in a muscle: it holds something else as well."""
    found = _share(part, limits)
    if part.is_empty or found is None:
        return None
    value, limit, what = found
    if value is None:
        return not_run(_NO_HU)
    if reason := cut_off(part):
        return not_run(reason)
    if value <= limit:
        return passed(value=value, limit=limit)
    if is_near_metal(part):
        return not_run(_METAL)
    intensity, window = part.measures.intensity, part.known.hu_window
    if intensity is not None and window is not None and intensity.median_hu not in window:
        return not_run("its median is not plausible (rule H1)")
    return warned(f"{value:.1%} of its voxels are {what} (limit {limit:.0%})", value=value, limit=limit,
                  location_mm=part.anchor_mm)  # fmt: skip


def _share(part: MeasuredSegment, limits: Limits) -> tuple[float | None, float, str] | None:
    """(share of impossible voxels or None without HU, limit, what they are); None if nothing is known to be so."""
    shares = part.measures.intensity.shares if part.measures.intensity else None
    if part.known.group is Group.LUNG:
        what = f"above {DENSE_ABOVE_HU} HU, which lung is not"
        return None if shares is None else shares.dense, limits["max_dense_in_lung"], what
    if part.known.group is Group.ORGAN and not part.known.may_leave_body:
        what = f"below {AIR_BELOW_HU} HU: air or lung"
        return None if shares is None else shares.air, limits["max_air_in_organ"], what
    if part.known.group is Group.MUSCLE:
        what = f"fat ({FAT_HU[0]} to {FAT_HU[1]} HU)"
        return None if shares is None else shares.fat, limits["max_fat_in_muscle"], what
    return None
