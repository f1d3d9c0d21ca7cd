"""D: what is wrong with the objects themselves, whatever they depict."""

from __future__ import annotations

from collections import Counter

from segqa_dicom.checks.finding import Severity
from segqa_dicom.checks.registry import (
    Scope,
    SegmentResult,
    SeriesResults,
    Unit,
    failed,
    listing,
    noted,
    passed,
    plural,
    rule,
    warned,
)
from segqa_dicom.checks.ruleset import Limits
from segqa_dicom.checks.subject import MeasuredCase, MeasuredSegment, MeasuredSegmentation
from segqa_dicom.model import SegmentationType


@rule(
    "D1",
    "Referenced images",
    scope=Scope.SEGMENTATION,
    severity=Severity.ERROR,
    unit=Unit.COUNT,
    source="OHIF issues 4030 and 3936: a SEG without its images is not shown",
)
def referenced_images(context: MeasuredSegmentation, _limits: Limits) -> SeriesResults:
    """Every image that the SEG refers to must be there, and it must refer to the CT it was drawn on."""
    facts = context.segmentation.facts
    if facts.missing_references:
        count = len(facts.missing_references)
        yield failed(
            f"{plural(count, 'image')} of {facts.referenced_instance_count} that it refers to did not come with the CT"
            f" (first: {facts.missing_references[0]})",
            value=float(count),
            limit=0.0,
        )
    if not facts.references_ct_series:
        yield warned("it does not refer to this CT series; it was matched by frame of reference and position")
    elif not facts.has_referenced_series:
        yield warned("it has no Referenced Series Sequence; viewers may not find the images that it belongs to")
    if facts.study_differs:
        yield warned("it is in another study than its CT; the documents are in the study of the CT")


@rule(
    "D2",
    "Frame of reference",
    scope=Scope.SEGMENTATION,
    severity=Severity.ERROR,
    source="PS3.3, section C.7.4.1; dcmqi issue 157",
)
def frame_of_reference(context: MeasuredSegmentation, _limits: Limits) -> SeriesResults:
    """SEG and CT must share their frame of reference, or their coordinates do not mean the same place."""
    mine, its = context.segmentation.facts.frame_of_reference_uid, context.ct.record.frame_of_reference_uid
    if not mine:
        yield warned("it states no Frame of Reference UID; its coordinates were taken to be those of the CT")
    elif mine != its:
        yield failed("its Frame of Reference UID is not the CT's; its coordinates were taken to be those of the CT")


@rule(
    "D3",
    "Frames lie on CT slices",
    scope=Scope.SEGMENTATION,
    severity=Severity.ERROR,
    unit=Unit.MM,
    source="dcmqi issues 425, 430, 439, 449, 473 and 489",
)
def frame_positions(context: MeasuredSegmentation, limits: Limits) -> SeriesResults:
    """Frames that claim to be CT slices must lie on them; a SEG on a grid of its own was resampled, which is said."""
    facts = context.segmentation.facts
    if facts.resampled:
        yield noted(f"it has another grid than the CT and was put on it by nearest neighbour: {facts.grid_note}")
    offset = facts.max_slice_offset_mm
    if offset > limits["pass_mm"]:
        complain = warned if offset <= limits["warning_mm"] else failed
        yield complain(
            f"{plural(facts.frames_off_slice, 'frame')} lie up to {offset:.3g} mm off the CT slice they are on; "
            "their voxels were counted on that slice",
            value=offset,
            limit=limits["warning_mm"],
        )
    if facts.mismatched_sources:
        yield failed(
            f"{plural(facts.mismatched_sources, 'frame')} lie on another CT slice than the one that they name as their "
            "source; they were put where their position says",
            value=float(facts.mismatched_sources),
            limit=0.0,
            unit=Unit.COUNT,
        )
    if facts.type is SegmentationType.FRACTIONAL:
        yield noted("FRACTIONAL: a voxel counts from half of Maximum Fractional Value on")


@rule(
    "D4",
    "CT series is complete and even",
    scope=Scope.CASE,
    severity=Severity.ERROR,
    unit=Unit.COUNT,
    source="QuantitativeReporting issue 264; PS3.3, section C.7.6.2",
)
def ct_slices(case: MeasuredCase, _limits: Limits) -> SeriesResults:
    """Gaps, several images at one position, uneven distances, images of other kinds: nothing is filled in silently."""
    facts = case.ct.facts
    if facts.missing_slices:
        yield warned(
            f"{plural(facts.missing_slices, 'CT slice')} missing in {plural(len(facts.gap_locations_mm), 'place')}: "
            "volumes and distances across the gap are too small",
            value=float(facts.missing_slices),
            limit=0.0,
            location_mm=facts.gap_locations_mm[0],
        )
    if facts.duplicate_positions:
        yield warned(
            f"{plural(facts.duplicate_positions, 'CT image')} at positions that another image already has; of each "
            "position the one that the segmentations refer to was used, else the first acquired",
            value=float(facts.duplicate_positions),
            limit=0.0,
        )
    if facts.uneven_spacing_mm is not None:
        low, high = facts.uneven_spacing_mm
        yield warned(
            f"CT slice distances vary from {low:.4g} to {high:.4g} mm: volumes use the true distances, surface "
            f"distances {case.ct.geometry.slice_spacing_mm:.4g} mm throughout",
            value=high - low,
            unit=Unit.MM,
        )
    yield from _unused_images(case)
    if facts.single_slice:
        yield noted("the CT has a single slice: distances along it mean little")


def _unused_images(case: MeasuredCase) -> SeriesResults:
    facts = case.ct.facts
    for reason, count in facts.excluded:
        tell = noted if reason == "localizer" else warned
        yield tell(f"{plural(count, 'image')} of the CT series not used: {reason}", value=float(count))
    if facts.unreadable:
        yield warned(
            f"{plural(len(facts.unreadable), 'image')} of the CT cannot be used, first: {facts.unreadable[0][1]}",
            value=float(len(facts.unreadable)),
            limit=0.0,
        )
    if facts.conflicting_instances:
        yield failed(
            f"{plural(len(facts.conflicting_instances), 'CT image')} came twice with different content under one SOP "
            f"Instance UID (first: {facts.conflicting_instances[0]}); the first file was used"
        )


@rule(
    "D5",
    "Segment numbers and labels",
    scope=Scope.SEGMENTATION,
    severity=Severity.ERROR,
    source="PS3.3, section C.8.20.4; dcmqi issue 69",
)
def segment_numbers(context: MeasuredSegmentation, _limits: Limits) -> SeriesResults:
    """Numbers unique, and (but for label maps) from 1 without gaps; labels unique; no frame of an unknown segment."""
    facts = context.segmentation.facts
    raw = facts.raw_segment_numbers
    twice = sorted(number for number, count in Counter(raw).items() if count > 1)
    if twice:
        names = listing(map(str, twice), most=5)
        yield failed(f"Segment Number {names} is declared more than once; the first declaration was used")
    if facts.type is not SegmentationType.LABELMAP and sorted(set(raw)) != list(range(1, len(set(raw)) + 1)):
        yield warned("Segment Numbers do not run from 1 without a gap")
    if facts.undeclared_numbers:
        names = listing(map(str, facts.undeclared_numbers), most=5)
        yield failed(f"frames use Segment Number {names}, which no segment has: left out")
    labels = Counter(part.label for part in context.segments)
    for label, count in labels.items():
        if count > 1:
            about = tuple(part.index for part in context.segments if part.label == label)
            yield warned(f"{count} segments have the label {label!r}", segments=about)


@rule(
    "D6",
    "Segment has voxels",
    scope=Scope.SEGMENT,
    severity=Severity.WARNING,
    source="PS3.3, section C.8.20.4",
)
def has_voxels(part: MeasuredSegment, context: MeasuredSegmentation, _limits: Limits) -> SegmentResult:
    """A declared segment without a frame is a promise not kept; one whose frames are empty may be meant so."""
    if not part.is_empty:
        return passed()
    if part.segment.voxels_outside_ct:
        return noted("all of it lies outside the CT")
    if part.segment.frame_count == 0 and context.segmentation.facts.type is not SegmentationType.LABELMAP:
        return warned("declared, but no frame belongs to it")
    return noted("no voxel is set")


@rule(
    "D8",
    "Origin of the segmentation",
    scope=Scope.SEGMENTATION,
    severity=Severity.WARNING,
    source="PS3.3, section C.8.20.2: algorithm identification of AUTOMATIC segments",
)
def provenance(context: MeasuredSegmentation, _limits: Limits) -> SeriesResults:
    """An automatic segmentation must say which algorithm made it, and which version."""
    record = context.segmentation.record
    automatic = [part for part in context.segments if part.segment.algorithm_type == "AUTOMATIC"]
    if any(part.segment.algorithm_type not in ("AUTOMATIC", "SEMIAUTOMATIC", "MANUAL") for part in context.segments):
        yield warned("Segment Algorithm Type is missing or unknown")
    if automatic and not record.model_name:
        yield warned("AUTOMATIC, but no algorithm is named")
    elif automatic and not record.model_version:
        yield warned(f"made by {record.model_name}, but its version is not stated")


@rule(
    "D9",
    "Same content twice",
    scope=Scope.CASE,
    severity=Severity.WARNING,
    source="two exports of one result look like perfect agreement of two models",
)
def same_content(case: MeasuredCase, _limits: Limits) -> SeriesResults:
    """Two SEG objects that depict the same: comparing them says nothing."""
    by_digest: dict[str, list[int]] = {}
    for index, context in enumerate(case.segmentations):
        if context.segmentation.record.content_digest:
            by_digest.setdefault(context.segmentation.record.content_digest, []).append(index)
    for same in by_digest.values():
        if len(same) > 1:
            names = ", ".join(_name(case.segmentations[index]) for index in same)
            yield warned(f"{len(same)} segmentations have the same content: {names}", segmentations=tuple(same))


def _name(context: MeasuredSegmentation) -> str:
    record = context.segmentation.record
    return record.series_description or record.sop_instance_uid


@rule(
    "D10",
    "Gantry tilt",
    scope=Scope.CASE,
    severity=Severity.WARNING,
    unit=Unit.DEGREE,
    source="PS3.3, section C.8.2.1: slices of a tilted gantry form a sheared stack",
)
def tilt(case: MeasuredCase, _limits: Limits) -> SeriesResults:
    """Positions and volumes follow the tilt; surface distances do not."""
    degrees = case.ct.facts.tilt_degrees
    if degrees:
        yield warned(
            f"slices are tilted by {degrees:.1f} degrees: positions and volumes take that into account, surface "
            "distances treat the stack as straight",
            value=degrees,
            limit=0.0,
        )


@rule("D11", "CT in Hounsfield units", scope=Scope.CASE, severity=Severity.WARNING, source="PS3.3, section C.8.2.1.1.5")
def hounsfield(case: MeasuredCase, _limits: Limits) -> SeriesResults:
    """Without a rescale to HU the values mean nothing: they are left out, and rules that need them are not run."""
    if not case.ct.facts.hu_defined:
        yield warned(f"the CT is not in HU ({case.ct.facts.hu_note}): no attenuation is reported")


@rule("D12", "Lossy compression", scope=Scope.CASE, severity=Severity.WARNING, source="PS3.3, section C.7.6.1.1.5")
def lossy(case: MeasuredCase, _limits: Limits) -> SeriesResults:
    """HU of an image that went through lossy compression are approximate."""
    if case.ct.facts.lossy:
        yield warned(f"the CT was compressed lossily ({case.ct.facts.lossy}): HU are approximate")


@rule(
    "D13",
    "One content per SOP Instance UID",
    scope=Scope.CASE,
    severity=Severity.ERROR,
    source="PS3.5, section 9: a UID identifies one object for ever",
)
def conflicting_content(case: MeasuredCase, _limits: Limits) -> SeriesResults:
    """An object came again with other content under its old UID: the first stays and is reviewed, as archives do it."""
    positions = {part.segmentation.record.sop_instance_uid: at for at, part in enumerate(case.segmentations)}
    for conflict in sorted(case.conflicts):
        at = positions.get(conflict.sop_instance_uid)
        yield failed(
            f"{'the segmentation' if at is not None else 'the CT image'} {conflict.sop_instance_uid} came again with "
            f"other content: the first (SHA-256 {conflict.kept_digest[:16]}) was reviewed, the other "
            f"({conflict.refused_digest[:16]}) was refused; whoever changed it must give it a new UID",
            **({} if at is None else {"segmentations": (at,)}),
        )
