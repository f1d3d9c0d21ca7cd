"""`report`: measurements and check outcomes of one SEG, a TID 1411 group per segment."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from segqa_dicom.checks.finding import Outcome, Verdict
from segqa_dicom.checks.registry import listing
from segqa_dicom.measures.results import Intensity
from segqa_dicom.model import Code, SegRecord
from segqa_dicom.report.model import SegmentationReport, SegmentReport
from segqa_dicom.report.wording import LOW_DICE, disagrees
from segqa_dicom.sr import codes, tree
from segqa_dicom.sr.ascii import counted
from segqa_dicom.sr.kinds import Kind
from segqa_dicom.sr.segment_items import finding, finding_site, name_of, seg_name, tracking_identifier, tracking_uids
from segqa_dicom.sr.write.document import Body, Context, Document, assemble
from segqa_dicom.sr.write.outcomes import outcome_items
from segqa_dicom.sr.write.summary import Judgement, judge, summary_lines

_MOST_NAMES = 20
_VERDICT_ORDER = {Verdict.UNUSABLE: 0, Verdict.REVIEW: 1, Verdict.USABLE: 2}


@dataclass(frozen=True, slots=True)
class Column:
    """One NUM that every group has; `value` gives None where it is undefined."""

    name: Code
    unit: Code
    value: Callable[[SegmentReport], float | None]
    method: Code | None = None


def report_document(context: Context, segmentation: SegmentationReport) -> Document:
    """The report on one SEG."""
    judgement, shown = judge(context.case, segmentation), _shown(segmentation, context.max_groups)
    left_out = len(segmentation.segments) - len(shown)
    return assemble(
        context,
        Body(
            kind=Kind.REPORT,
            title=context.title,
            about=(segmentation.record,),
            outcome=judgement.outcome,
            subjects=(seg_name(segmentation.record),),
            summary=[
                judgement.sentence,
                *summary_lines(judgement, context.titles),
                *_notes(context, segmentation, left_out),
            ],
            groups=_groups(context, segmentation, shown),
            evaluations=_evaluations(judgement, segmentation, context.titles),
        ),
    )


def measurements(structure: SegmentReport, columns: list[Column]) -> list[tree.Item]:
    """The NUMs of one structure: all columns, or none if one is undefined (tables read them by position)."""
    values = [column.value(structure) for column in columns]
    if any(value is None or not math.isfinite(value) for value in values):
        return []
    return [_number(column, value) for column, value in zip(columns, values, strict=True) if value is not None]


def report_columns(*, hu_defined: bool) -> list[Column]:
    """The NUMs of a report, in their order."""
    return [*_SHAPE, *(_INTENSITY if hu_defined else ()), *_SCORES]


def _number(column: Column, value: float) -> tree.Item:
    method = [tree.code(codes.MEASUREMENT_METHOD, column.method, tree.CONCEPT_MOD)] if column.method else []
    return tree.number(column.name, value, column.unit, method)


def _largest_share(structure: SegmentReport) -> float | None:
    fraction = structure.measures.shape.components.largest_fraction
    return None if fraction is None else 100.0 * fraction


def _hu(value: Callable[[Intensity], float]) -> Callable[[SegmentReport], float | None]:
    def of(structure: SegmentReport) -> float | None:
        intensity = structure.measures.intensity
        return None if intensity is None else value(intensity)

    return of


_SHAPE = (
    Column(codes.VOLUME, codes.CUBIC_CENTIMETER, lambda s: s.measures.shape.volume_ml, codes.SUM_OF_VOXELS),
    # None for an empty mask: its group has no NUMs at all, a volume of 0 would look like a measurement.
    Column(codes.VOXEL_COUNT, codes.VOXELS, lambda s: s.measures.shape.voxel_count or None),
    Column(codes.COMPONENT_COUNT, codes.COUNT, lambda s: s.measures.shape.components.count),
    Column(codes.LARGEST_COMPONENT_SHARE, codes.PERCENT, _largest_share),
)
_INTENSITY = (
    Column(codes.MEAN_HU, codes.HOUNSFIELD_UNIT, _hu(lambda i: i.mean_hu)),
    Column(codes.SD_HU, codes.HOUNSFIELD_UNIT, _hu(lambda i: i.sd_hu)),
    Column(codes.MEDIAN_HU, codes.HOUNSFIELD_UNIT, _hu(lambda i: i.median_hu)),
    Column(codes.MINIMUM_HU, codes.HOUNSFIELD_UNIT, _hu(lambda i: i.min_hu)),
    Column(codes.MAXIMUM_HU, codes.HOUNSFIELD_UNIT, _hu(lambda i: i.max_hu)),
)
_SCORES = (
    Column(codes.RISK, codes.RATIO, lambda s: s.risk),
    Column(codes.FAILED_CHECKS, codes.COUNT, lambda s: len(s.failed_checks)),
)


def _shown(segmentation: SegmentationReport, most: int) -> list[SegmentReport]:
    """The segments that get a group: all, or the worst ones if there are too many; by number."""
    worst = sorted(segmentation.segments, key=lambda s: (_VERDICT_ORDER[s.verdict], -s.risk, s.segment.number))
    return sorted(worst[:most], key=lambda s: s.segment.number)


def _groups(context: Context, segmentation: SegmentationReport, shown: list[SegmentReport]) -> list[tree.Item]:
    """Groups with measurements first: 3D Slicer takes the columns of its table from the first group."""
    columns = report_columns(hu_defined=context.case.hu_defined)
    uids = tracking_uids(segmentation.record, (s.segment for s in segmentation.segments))
    measured: list[tree.Item] = []
    unmeasured: list[tree.Item] = []
    for structure in shown:
        numbers = measurements(structure, columns)
        identity = _identity(context, segmentation.record, structure, uids[structure.segment.number])
        children = [*identity, *numbers, *_judgements(structure, context.titles)]
        group = tree.container(codes.MEASUREMENT_GROUP, children, template="1411")
        (measured if numbers else unmeasured).append(group)
    return [*measured, *unmeasured]


def _identity(context: Context, record: SegRecord, structure: SegmentReport, tracking_uid: str) -> list[tree.Item]:
    segment = structure.segment
    return [
        tree.text(codes.TRACKING_IDENTIFIER, tracking_identifier(segment), tree.OBS_CONTEXT),
        tree.uid_reference(codes.TRACKING_UID, tracking_uid, tree.OBS_CONTEXT),
        finding(segment),
        tree.segment_image(codes.REFERENCED_SEGMENT, record.sop_class_uid, record.sop_instance_uid, (segment.number,)),
        tree.uid_reference(codes.SOURCE_SERIES, context.case.ct.series_instance_uid),
        *finding_site(segment),
    ]


def _judgements(structure: SegmentReport, titles: Mapping[str, str]) -> list[tree.Item]:
    verdict = tree.code(codes.SEGMENTATION_QUALITY, codes.VERDICTS[structure.verdict])
    return [
        verdict,
        *outcome_items(structure.checks, titles),
        # The message of a finding that names several segments stands once, in the Qualitative Evaluations.
        *outcome_items(structure.findings, titles, with_messages=False),
    ]


def _evaluations(judgement: Judgement, segmentation: SegmentationReport, titles: Mapping[str, str]) -> list[tree.Item]:
    """TID 1500 row 12: the SEG as a whole."""
    evaluations = [tree.code(codes.SEGMENTATION_QUALITY, codes.VERDICTS[judgement.verdict])]
    # "Needs review" is neither of the two: somebody has to look first.
    standard = {Verdict.USABLE: codes.MEETS_STANDARD, Verdict.UNUSABLE: codes.MISSES_STANDARD}.get(judgement.verdict)
    if standard is not None:
        evaluations.append(tree.code(codes.QUALITY_ASSESSMENT, standard))
    return [
        *evaluations,
        *outcome_items(judgement.findings, titles, segmentation=segmentation),
        tree.text(codes.COMMENT, judgement.sentence),
    ]


def _notes(context: Context, segmentation: SegmentationReport, left_out: int) -> list[str]:
    """What a reader must know beside the complaints."""
    segments = segmentation.segments
    differing = sorted((s.mean_dice or 0.0, s.segment.number, name_of(s.segment)) for s in segments if disagrees(s))
    empty = [name_of(s.segment) for s in segments if not s.measures.shape.voxel_count]
    checks = [check for s in segments for check in s.checks]
    not_run = sum(check.outcome is Outcome.NOT_RUN for check in checks)
    notes = []
    if differing:
        names = listing((f"{name} {dice:.2f}" for dice, _, name in differing), most=_MOST_NAMES)
        notes.append(f"Mean Dice against the other segmentations below {LOW_DICE:g}: {names}.")
    if empty:
        notes.append(f"Empty, without measurements: {listing(empty, most=_MOST_NAMES)}.")
    if not context.case.hu_defined:
        notes.append("The values of the CT are not Hounsfield units; HU statistics are left out.")
    if left_out:
        notes.append(f"Left out of the measurements: {counted(left_out, 'structure')} with the lowest risk.")
    if not_run:
        notes.append(f"Not evaluated: {not_run} of {counted(len(checks), 'check')}.")
    return notes
