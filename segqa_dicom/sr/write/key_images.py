"""`keyimg`: an arrow on the CT for everything that is located, in the one shape that OHIF shows at once.

TID 1501 groups under the title 126000. Every NUM has the point as its first and only child, and everything a reader
must know stands in the Comment: OHIF shows that line, and no qualitative evaluation.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from segqa_dicom.checks.finding import SEVERITY_ORDER, Finding, Severity
from segqa_dicom.checks.registry import listing
from segqa_dicom.dicom.uids import stable_uid
from segqa_dicom.model import Code, PointMm, SegRecord
from segqa_dicom.report.model import CaseReport, SegmentationReport, SegmentReport
from segqa_dicom.sr import codes, tree
from segqa_dicom.sr.ascii import counted
from segqa_dicom.sr.kinds import Kind
from segqa_dicom.sr.segment_items import finding, finding_site, name_of, seg_name
from segqa_dicom.sr.write.document import Body, Context, Document, assemble
from segqa_dicom.sr.write.markers import ARROW, Marker, marked_point, marker_group
from segqa_dicom.sr.write.summary import SEVERITY_WORDS, judge

MOST_ARROWS = 60


@dataclass(frozen=True, slots=True)
class _Arrow:
    """One located complaint.

    structure : the segment it is about, if one can be named
    failed_checks : of that segment, and the complaint itself if it is not one of them
    """

    rule: str
    severity: Severity
    label: str
    message: str
    location_mm: PointMm
    structure: SegmentReport | None
    failed_checks: int

    @property
    def order(self) -> tuple[int, float, int]:
        """Errors before warnings; what is about the whole comes before its parts, those by risk."""
        if self.structure is None:
            return SEVERITY_ORDER[self.severity], -math.inf, 0
        return SEVERITY_ORDER[self.severity], -self.structure.risk, self.structure.segment.number

    @property
    def volume_ml(self) -> float | None:
        return self.structure.measures.shape.volume_ml if self.structure else None

    @property
    def mean_hu(self) -> float | None:
        intensity = self.structure.measures.intensity if self.structure else None
        return intensity.mean_hu if intensity else None


def keyimg_document(context: Context, segmentation: SegmentationReport) -> Document | None:
    """The arrows of one SEG; None if nothing is located."""
    arrows = sorted((*_of_segments(context, segmentation), *_of_findings(context, segmentation)), key=lambda a: a.order)
    if not arrows:
        return None
    shown = arrows[:MOST_ARROWS]
    judgement = judge(context.case, segmentation)
    return assemble(
        context,
        Body(
            kind=Kind.KEYIMG,
            title=codes.IMAGING_MEASUREMENT_REPORT,
            about=(segmentation.record,),
            outcome=judgement.outcome,
            subjects=(seg_name(segmentation.record),),
            summary=[_sentence(len(arrows), len(shown)), judgement.sentence],
            groups=_groups(context.case, segmentation.record, shown),
        ),
    )


def _sentence(total: int, shown: int) -> str:
    rest = f"; the worst {shown} are shown" if shown < total else ", worst first"
    return f"{counted(total, 'located finding')}{rest}."


# ------------------------------------------------------------------------------------------- what gets an arrow


def _of_segments(context: Context, segmentation: SegmentationReport) -> list[_Arrow]:
    return [
        _Arrow(
            rule=check.rule,
            severity=check.severity,
            label=name_of(structure.segment),
            message=check.message or context.titles.get(check.rule, check.rule),
            location_mm=check.location_mm,
            structure=structure,
            failed_checks=len(structure.failed_checks),
        )
        for structure in segmentation.segments
        for check in structure.failed_checks
        if _is_point(check.location_mm) and check.location_mm is not None
    ]


def _of_findings(context: Context, segmentation: SegmentationReport) -> list[_Arrow]:
    of_case = [found for found in context.case.findings if _goes_to(found, segmentation, context.case)]
    arrows = []
    for found in (*segmentation.findings, *of_case):
        if not found.is_failed or found.location_mm is None or not _is_point(found.location_mm):
            continue
        structures = [s for key in found.structure_keys for s in segmentation.segments if s.structure_key == key]
        title = context.titles.get(found.rule, "")
        names = listing((name_of(s.segment) for s in structures), most=3)
        arrow = _Arrow(
            rule=found.rule,
            severity=found.severity,
            label=names or title or "Whole segmentation",
            message=found.message or title or found.rule,
            location_mm=found.location_mm,
            structure=structures[0] if structures else None,
            failed_checks=1 + (len(structures[0].failed_checks) if structures else 0),
        )
        arrows.append(arrow)
    return arrows


def _goes_to(found: Finding, segmentation: SegmentationReport, case: CaseReport) -> bool:
    """A finding of the case is shown on the SEG that is blamed, else on every one."""
    segs = {other.record.sop_instance_uid for other in case.segmentations}
    blamed = next((uid for uid in found.sop_instance_uids if uid in segs), None)
    return blamed in (None, segmentation.record.sop_instance_uid)


def _is_point(location: PointMm | None) -> bool:
    return location is not None and all(math.isfinite(value) for value in location)


# ------------------------------------------------------------------------------------------------------ groups


def _groups(case: CaseReport, record: SegRecord, arrows: Sequence[_Arrow]) -> list[tree.Item]:
    """A group per arrow, all with the same NUMs: those that every arrow of the document has."""
    has_volume = all(arrow.volume_ml is not None for arrow in arrows)
    has_hu = case.hu_defined and all(arrow.mean_hu is not None for arrow in arrows)
    repeats: Counter[tuple[str, int]] = Counter()
    groups = []
    for arrow in arrows:
        number = arrow.structure.segment.number if arrow.structure else 0
        # The same complaint keeps its UID in the next revision; OHIF takes groups with the same UID for one.
        uid = stable_uid("arrow", record.sop_instance_uid, number, arrow.rule, repeats[arrow.rule, number])
        repeats[arrow.rule, number] += 1
        numbers = _numbers(arrow, case, has_volume=has_volume, has_hu=has_hu)
        groups.append(_group(record, arrow, uid, numbers))
    return groups


def _numbers(arrow: _Arrow, case: CaseReport, *, has_volume: bool, has_hu: bool) -> list[tree.Item]:
    values: list[tuple[Code, Code, float | None]] = [
        (codes.VOLUME, codes.CUBIC_CENTIMETER, arrow.volume_ml if has_volume else None),
        (codes.FAILED_CHECKS, codes.COUNT, arrow.failed_checks),
        (codes.MEAN_HU, codes.HOUNSFIELD_UNIT, arrow.mean_hu if has_hu else None),
    ]
    return [
        tree.number(name, value, unit, [marked_point(case.geometry, case.ct, arrow.location_mm)])
        for name, unit, value in values
        if value is not None
    ]


def _group(record: SegRecord, arrow: _Arrow, uid: str, numbers: Sequence[tree.Item]) -> tree.Item:
    segment = arrow.structure.segment if arrow.structure else None
    place = f"segment {segment.number}" if segment else "whole"
    about = [finding(segment), *finding_site(segment)] if segment else [_rule_finding(arrow)]
    comment = tree.text(codes.COMMENT, f"{arrow.label}: {SEVERITY_WORDS[arrow.severity]} - {arrow.message}")
    return marker_group(
        Marker(f"{ARROW}:{arrow.rule} {place}", uid, about, numbers, comment),
        record,
        segment.number if segment else None,
    )


def _rule_finding(arrow: _Arrow) -> tree.Item:
    """Without a structure the finding is the rule itself."""
    return tree.code(codes.FINDING, codes.check_code(arrow.rule, arrow.label))
