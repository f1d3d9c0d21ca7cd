"""The one way through the house: a case in, its report out. Pure: no disk, no network, no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TypeAlias

import numpy as np

from segqa_dicom.anatomy import Group, knowledge, match, side_of, structure_key, tolerance_mm
from segqa_dicom.checks import (
    CheckedCase,
    MeasuredCase,
    MeasuredSegment,
    MeasuredSegmentation,
    RuleSet,
    check_case,
    verdict_of,
)
from segqa_dicom.checks.risk import segment_risk, segmentation_risk
from segqa_dicom.measures import (
    Comparand,
    JointCounts,
    Runs,
    StructurePair,
    compare_segmentations,
    extract_surfaces,
    find_runs,
    find_surroundings,
    joint_counts_of_layers,
    joint_counts_of_runs,
    measure_segmentation,
)
from segqa_dicom.measures.results import MEASURING_VERSION, PairComparison, SegmentMeasures
from segqa_dicom.model import Case, CtVolume, Segmentation
from segqa_dicom.progress import Progress, silent
from segqa_dicom.report.model import CaseReport, RuleSetId, SegmentationReport, SegmentReport

_SharedVoxels: TypeAlias = Mapping[tuple[int, int], JointCounts]
"""What two segmentations share, by their indices, the smaller one first."""

MIN_POINTS_OF_MIDLINE = 3
"""Parts of the spine that a midline needs at least."""


def review(case: Case, ruleset: RuleSet, progress: Progress = silent) -> CaseReport:
    """Measure, compare and check everything in a case."""
    progress("measuring segments", 0, len(case.segmentations))
    layer_runs = [[find_runs(layer) for layer in one.layers] for one in case.segmentations]
    measured = _with_midlines(_measured(case, layer_runs, progress))
    progress("comparing segmentations", 0, 1)
    shared = _shared_voxels(layer_runs)
    comparisons = _comparisons(measured, shared, case.ct, ruleset, progress)
    subject = MeasuredCase(case.ct, measured, comparisons, shared, case.conflicts)
    progress("checking rules", 0, 1)
    checked = check_case(subject, ruleset)
    return CaseReport(
        ct=case.ct.record,
        geometry=case.ct.geometry,
        hu_defined=case.ct.facts.hu_defined,
        ruleset=RuleSetId(ruleset.version, ruleset.hash),
        parameters=_parameters(ruleset),
        findings=checked.findings,
        segmentations=tuple(_report(subject, at, checked, ruleset) for at in range(len(measured))),
        comparisons=subject.comparisons,
        conflicts=tuple(sorted(case.conflicts)),
    )


def _measured(case: Case, layer_runs: Sequence[Sequence[Runs]], progress: Progress) -> tuple[MeasuredSegmentation, ...]:
    progress("finding the body", 0, 1)
    surroundings = find_surroundings(case.ct)
    measured = []
    for at, (segmentation, runs) in enumerate(zip(case.segmentations, layer_runs, strict=True)):
        progress("measuring segments", at, len(case.segmentations))
        measures = measure_segmentation(segmentation, case.ct, surroundings=surroundings, layer_runs=runs)
        segments = tuple(_measured_segment(segmentation, index, one, case.ct) for index, one in enumerate(measures))
        overlaps = _overlaps(runs)
        measured.append(MeasuredSegmentation(segmentation, segments, overlaps, _midline(segments), case.ct))
    return tuple(measured)


def _measured_segment(
    segmentation: Segmentation, index: int, measures: SegmentMeasures, ct: CtVolume
) -> MeasuredSegment:
    segment = segmentation.segments[index]
    return MeasuredSegment(
        index=index,
        segment=segment,
        key=structure_key(segment.codes),
        side=side_of(segment.codes),
        known=knowledge(segment.codes),
        measures=measures,
        ct=ct,
    )


def _overlaps(layer_runs: Sequence[Runs]) -> tuple[tuple[int, int, int], ...]:
    """(index, index, shared voxels) of the segments that overlap: they lie in different layers."""
    found = []
    for one, other in combinations(layer_runs, 2):
        shared = joint_counts_of_runs(one, other)
        for first, second, count in zip(shared.label_a, shared.label_b, shared.voxel_count, strict=True):
            if first and second:
                found.append((int(first) - 1, int(second) - 1, int(count)))
    return tuple(found)


def _shared_voxels(layer_runs: Sequence[Sequence[Runs]]) -> _SharedVoxels:
    """What the segments of each two segmentations share, by the indices of the two."""
    pairs = combinations(range(len(layer_runs)), 2)
    return {(one, other): joint_counts_of_layers(layer_runs[one], layer_runs[other]) for one, other in pairs}


def _midline(segments: Sequence[MeasuredSegment]) -> tuple[float, float] | None:
    """X = a + b * z through the centroids of the spine's parts: right for a patient who lies askew, too."""
    spine = [part for part in segments if part.known.group in (Group.VERTEBRA, Group.NERVE)]
    points = np.array([part.measures.shape.centroid_mm for part in spine if part.measures.shape.centroid_mm])
    if len(points) < MIN_POINTS_OF_MIDLINE:
        return None
    x, z = points[:, 0], points[:, 2]
    slope = float(np.polyfit(z, x, 1)[0]) if np.ptp(z) > 100 else 0.0
    return float(np.median(x - slope * z)), slope


def _with_midlines(measured: tuple[MeasuredSegmentation, ...]) -> tuple[MeasuredSegmentation, ...]:
    """The same body has the same midline: who has no spine takes that of another segmentation."""
    known = next((part.midline for part in measured if part.midline is not None), None)
    return tuple(part if part.midline is not None else replace(part, midline=known) for part in measured)


def _comparisons(
    measured: Sequence[MeasuredSegmentation],
    shared: _SharedVoxels,
    ct: CtVolume,
    ruleset: RuleSet,
    progress: Progress,
) -> tuple[PairComparison, ...]:
    """All pairs; of each the segmentation with the smaller SOP Instance UID is the reference."""
    if len(measured) < 2:
        return ()
    progress("extracting surfaces", 0, len(measured))
    comparands = [
        Comparand(
            part.segmentation, tuple(one.measures.shape for one in part.segments), extract_surfaces(part.segmentation)
        )
        for part in measured
    ]
    by_uid = sorted(range(len(measured)), key=lambda at: measured[at].segmentation.record.sop_instance_uid)
    pairs = list(combinations(by_uid, 2))
    found = []
    for done, (reference, evaluated) in enumerate(pairs):
        progress("comparing segmentations", done, len(pairs))
        found.append(_compared(measured, comparands, evaluated, reference, shared, ct, ruleset))
    return tuple(found)


def _compared(
    measured: Sequence[MeasuredSegmentation],
    comparands: Sequence[Comparand],
    evaluated: int,
    reference: int,
    shared: _SharedVoxels,
    ct: CtVolume,
    ruleset: RuleSet,
) -> PairComparison:
    sides = [[(part.key, part.label) for part in measured[at].segments] for at in (evaluated, reference)]
    matched = match(*sides)
    codes = [part.segment.codes for part in measured[evaluated].segments]
    pairs = [
        StructurePair(key, mine, its, _tolerance(tolerance_mm(codes[mine], ruleset.tolerance_scheme), ct))
        for key, mine, its in matched
    ]
    turned = reference < evaluated
    counts = shared[reference, evaluated].transposed() if turned else shared[evaluated, reference]
    return PairComparison(
        evaluated=measured[evaluated].segmentation.record.sop_instance_uid,
        reference=measured[reference].segmentation.record.sop_instance_uid,
        segments=compare_segmentations(comparands[evaluated], comparands[reference], pairs, ct.geometry, shared=counts),
        only_evaluated=_alone(measured[evaluated], {mine for _, mine, _ in matched}),
        only_reference=_alone(measured[reference], {its for _, _, its in matched}),
    )


def _tolerance(wanted_mm: float, ct: CtVolume) -> float:
    """Never below the largest voxel edge: there surface Dice measures the grid, not the segmentation."""
    return max(wanted_mm, round(max(ct.geometry.spacing_mm), 6))


def _alone(context: MeasuredSegmentation, matched: set[int]) -> tuple[int, ...]:
    """Numbers of the segments with voxels that have no counterpart."""
    return tuple(part.segment.number for part in context.segments if part.index not in matched and not part.is_empty)


def _parameters(ruleset: RuleSet) -> tuple[str, ...]:
    """What decides the numbers, as name=value; tolerances of surface Dice stand with the comparisons."""
    return (
        "connectivity=26",
        "surface_distance=area-weighted surfels",
        f"measuring_version={MEASURING_VERSION}",
        f"ruleset_version={ruleset.version}",
        f"ruleset_hash={ruleset.hash}",
    )


def _report(subject: MeasuredCase, at: int, checked: CheckedCase, ruleset: RuleSet) -> SegmentationReport:
    context = subject.segmentations[at]
    uid = context.segmentation.record.sop_instance_uid
    dice = _dice_by_segment(subject, uid)
    # What names all of them and no structure is about the CT: it makes none of them riskier than the others.
    shared = [
        finding
        for finding in checked.findings
        if uid in finding.sop_instance_uids
        and (finding.structure_keys or len(finding.sop_instance_uids) < len(subject.segmentations))
    ]
    about = (*checked.segmentation_findings[at], *shared)
    segments = []
    for part, checks in zip(context.segments, checked.segment_checks[at], strict=True):
        values = dice.get(part.segment.number, [])
        mean = sum(values) / len(values) if values else None
        named = tuple(finding for finding in about if finding.is_failed and part.key in finding.structure_keys)
        segments.append(
            SegmentReport(
                segment=part.segment,
                structure_key=part.key,
                measures=part.measures,
                truncated=part.is_truncated,
                verdict=verdict_of((*checks, *named)),
                checks=checks,
                findings=named,
                risk=segment_risk(checks, named, mean, ruleset.risk),
                mean_dice=mean,
            )
        )
    means = [part.mean_dice for part in segments if part.mean_dice is not None]
    return SegmentationReport(
        record=context.segmentation.record,
        type=context.segmentation.facts.type,
        segments=tuple(segments),
        findings=checked.segmentation_findings[at],
        mean_dice=sum(means) / len(means) if means else None,
        risk=segmentation_risk(about, [part.risk for part in segments], ruleset.risk),
    )


def _dice_by_segment(subject: MeasuredCase, uid: str) -> dict[int, list[float]]:
    """All defined Dice values of each segment of one segmentation, by Segment Number."""
    found: dict[int, list[float]] = {}
    for pair in subject.comparisons:
        for segment in pair.segments:
            number = {pair.evaluated: segment.evaluated_segment, pair.reference: segment.reference_segment}.get(uid)
            if number is not None and segment.dice is not None:
                found.setdefault(number, []).append(segment.dice)
    return found
