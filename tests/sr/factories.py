"""Small case reports: everything that matters to a document has a default and can be replaced."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from segqa_dicom.checks.finding import Check, Finding, Outcome, Severity, verdict_of
from segqa_dicom.measures.results import (
    Box,
    Components,
    Intensity,
    PairComparison,
    SegmentMeasures,
    Shape,
    StructureComparison,
)
from segqa_dicom.model import (
    Code,
    CodedStructure,
    CtRecord,
    Geometry,
    PatientStudy,
    PointMm,
    Segment,
    SegmentationType,
    SegRecord,
    SliceRef,
)
from segqa_dicom.report.model import CaseReport, RuleSetId, SegmentationReport, SegmentReport

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
SEG_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"
STUDY = "1.2.826.0.1.3680043.8.498.1"
CT_SERIES = f"{STUDY}.1"

LEFT = Code("7771000", "SCT", "Left")
RIGHT = Code("24028007", "SCT", "Right")
ANATOMY = Code("123037004", "SCT", "Anatomical Structure")
LIVER = CodedStructure(category=ANATOMY, type=Code("10200004", "SCT", "Liver"))
SPLEEN = CodedStructure(category=ANATOMY, type=Code("78961009", "SCT", "Spleen"))
LEFT_KIDNEY = CodedStructure(category=ANATOMY, type=Code("64033007", "SCT", "Kidney"), modifier=LEFT)
RIGHT_KIDNEY = CodedStructure(category=ANATOMY, type=Code("64033007", "SCT", "Kidney"), modifier=RIGHT)
COLON = CodedStructure(category=ANATOMY, type=Code("71854001", "SCT", "Colon"))
TUMOR = CodedStructure(
    category=Code("49755003", "SCT", "Morphologically Abnormal Structure"), type=Code("108369006", "SCT", "Neoplasm")
)

TITLES = {
    "T1": "Number of components",
    "H1": "Median HU plausible",
    "F1": "Touches the end of the scan",
    "L3": "Image flipped left to right",
    "X4": "Level shift between segmentations",
    "G1": "Missing slices in the CT",
}

PATIENT = (
    ("PatientName", "Mustermann-M\u00fcller^J\u00fcrgen^^Dr."),
    ("PatientID", "0042"),
    ("PatientBirthDate", "19500102"),
    ("PatientSex", "M"),
    ("StudyDate", "20240305"),
    ("StudyTime", "101112.5"),
    ("AccessionNumber", "A1"),
    ("StudyID", "S1"),
    ("ReferringPhysicianName", ""),
    ("StudyDescription", "CT Abdomen nativ"),
    ("PatientWeight", "70.50"),
    ("PatientComments", "\u0420\u0443\u0441\u0441\u043a\u0438\u0439"),
)


def ok(rule: str = "F1", message: str = "") -> Check:
    return Check(rule, Outcome.PASS, message=message)


def failed(rule: str = "T1", message: str = "3 components, largest 61 %", at: PointMm | None = None) -> Check:
    return Check(rule, Outcome.FAIL, Severity.ERROR, message, 0.61, 0.8, at)


def warned(rule: str = "H1", message: str = "median 300 HU", at: PointMm | None = None) -> Check:
    return Check(rule, Outcome.WARNING, Severity.WARNING, message, 300.0, 220.0, at)


def not_run(rule: str = "H1", message: str = "truncated") -> Check:
    return Check(rule, Outcome.NOT_RUN, message=message)


def finding(rule: str = "L3", **values: object) -> Finding:
    base = Finding(rule, Outcome.FAIL, Severity.ERROR, "left and right are exchanged")
    return replace(base, **values)  # type: ignore[arg-type]


def measures(voxels: int, *, hu: bool = True) -> SegmentMeasures:
    if not voxels:
        return SegmentMeasures(Shape(0, 0.0, None, None, Components()), None)
    counts = np.array([voxels - voxels // 10, voxels // 10] if voxels >= 10 else [voxels], np.int64)
    components = Components(counts, np.zeros((len(counts), 3), np.int32), np.zeros((len(counts), 6), np.int32))
    shape = Shape(voxels, voxels * 0.027, (1.0, 2.0, 3.0), Box((0, 0, 0), (1, 1, 1)), components)
    return SegmentMeasures(shape, Intensity(45.123456789, 59.1, -778.0, 221.0, 44.5) if hu else None)


def segment(
    number: int,
    label: str = "Liver",
    codes: CodedStructure = LIVER,
    *,
    voxels: int = 107098,
    checks: tuple[Check, ...] = (ok(),),
    risk: float = 0.0,
    hu: bool = True,
    truncated: bool = False,
    tracking: tuple[str, str] = ("", ""),
) -> SegmentReport:
    return SegmentReport(
        segment=Segment(number, label, codes, tracking_id=tracking[0], tracking_uid=tracking[1]),
        structure_key=codes.key,
        measures=measures(voxels, hu=hu),
        truncated=truncated,
        verdict=verdict_of(checks),
        checks=checks,
        risk=risk,
        mean_dice=None,
    )


def seg_record(index: int = 1, **values: object) -> SegRecord:
    base = SegRecord(
        sop_instance_uid=f"{STUDY}.2.{index}.1",
        sop_class_uid=SEG_STORAGE,
        series_instance_uid=f"{STUDY}.2.{index}",
        study_instance_uid=STUDY,
        series_description=f"TotalSegmentator 2.{index}",
        series_number=10 + index,
        content_date="20240401",
        content_time=f"12000{index}",
        file_digest=f"{index:064x}",
    )
    return replace(base, **values)  # type: ignore[arg-type]


def segmentation(
    index: int = 1,
    segments: tuple[SegmentReport, ...] | None = None,
    findings: tuple[Finding, ...] = (),
    **record: object,
) -> SegmentationReport:
    if segments is None:
        segments = (segment(1), segment(2, "Spleen", SPLEEN, voxels=9000))
    return SegmentationReport(seg_record(index, **record), SegmentationType.BINARY, segments, findings, None)


def geometry(slices: int = 6, rows: int = 20, columns: int = 30) -> Geometry:
    origins = np.array([[-50.0, -60.0, 3.0 * k] for k in range(slices)])
    return Geometry((slices, rows, columns), origins, np.array([0.0, 2.0, 0.0]), np.array([1.5, 0.0, 0.0]), 3.0)


def ct_record(slices: int = 6, *, enhanced: bool = False, patient: tuple[tuple[str, str], ...] = PATIENT) -> CtRecord:
    if enhanced:
        refs = tuple(SliceRef(ENHANCED_CT, f"{CT_SERIES}.9", frame) for frame in range(1, slices + 1))
    else:
        refs = tuple(SliceRef(CT_IMAGE, f"{CT_SERIES}.{n}") for n in range(1, slices + 1))
    instances = tuple(sorted({(ref.sop_class_uid, ref.sop_instance_uid) for ref in refs}))
    return CtRecord(CT_SERIES, STUDY, f"{STUDY}.7", PatientStudy(patient), refs, instances)


def comparison(
    evaluated_segment: int, reference_segment: int, key: str, dice: float | None = 0.9
) -> StructureComparison:
    return StructureComparison(
        key, evaluated_segment, reference_segment, dice, 0.8, 0.95, 3.0, 12.5, 2.25, 0.5123456789, -3.25
    )


def pair(evaluated: SegmentationReport, reference: SegmentationReport, dice: float = 0.9) -> PairComparison:
    """All structures of two SEGs that have the same key, everything measured."""
    numbers = {s.structure_key: s.segment.number for s in reference.segments}
    rows = tuple(
        comparison(s.segment.number, numbers[s.structure_key], s.structure_key, dice)
        for s in evaluated.segments
        if s.structure_key in numbers
    )
    return PairComparison(evaluated.record.sop_instance_uid, reference.record.sop_instance_uid, rows)


def case(*segmentations: SegmentationReport, enhanced: bool = False, **values: object) -> CaseReport:
    segmentations = segmentations or (segmentation(),)
    ordered = sorted(segmentations, key=lambda s: s.record.sop_instance_uid)
    pairs = tuple(pair(b, a) for i, a in enumerate(ordered) for b in ordered[i + 1 :])
    base = CaseReport(
        ct=ct_record(enhanced=enhanced),
        geometry=geometry(),
        hu_defined=True,
        ruleset=RuleSetId("1.0", "abc123"),
        parameters=("connectivity=26", "surface_tolerance_mm=3.0"),
        findings=(),
        segmentations=segmentations,
        comparisons=pairs,
    )
    return replace(base, **values)  # type: ignore[arg-type]


def rich_case(**values: object) -> CaseReport:
    """Everything that occurs: failed, warned, truncated, empty, located; umlauts, lesions, nothing coded."""
    here = (-20.0, -41.0, 7.4)
    structures = (
        segment(1, "Liver", LIVER, checks=(ok("F1"), failed(at=here), warned()), risk=4.0),
        segment(2, "D\u00fcnndarm \u6e2c\u8a66", COLON, voxels=4000, checks=(warned(at=(0.0, 0.0, 500.0)),), risk=1.0),
        segment(3, "", LEFT_KIDNEY, voxels=0, checks=(failed("V0", "no voxels"), not_run()), risk=9.0),
        segment(4, "kidney_right", RIGHT_KIDNEY, voxels=3, checks=(ok(), not_run()), truncated=True),
        segment(5, "Lesion 1", TUMOR, voxels=50, tracking=("lesion-1", "1.2.3.4.5")),
        segment(9, "mystery", CodedStructure(), voxels=77, checks=(ok("F1", "1 component"),)),
    )
    first = segmentation(1, structures, (finding("X4", location_mm=here, structure_keys=(LIVER.key,)),))
    second = segmentation(2)
    case_findings = (
        finding("G1", message="2 slices are missing", severity=Severity.WARNING, location_mm=here),
        finding("S6", message="11 pairs of ribs", severity=Severity.INFO, outcome=Outcome.WARNING),
        finding("L3", sop_instance_uids=(second.record.sop_instance_uid,)),
    )
    return case(first, second, **{"findings": case_findings, **values})
