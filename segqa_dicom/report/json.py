"""The review as JSON. Keys are an interface that other programs rely on: they are added to, never renamed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from segqa_dicom.checks import Check, Finding
from segqa_dicom.measures.results import PairComparison
from segqa_dicom.model import Code, CodedStructure
from segqa_dicom.report.model import CaseReport, SegmentationReport, SegmentReport
from segqa_dicom.report.rounding import rounded, rounded_point

Json: TypeAlias = dict[str, Any]


def document_entry(kind: str, path: str, sop_instance_uid: str, references: Sequence[str]) -> Json:
    """One entry of ``documents``; `path` relative to the output folder, `references` = SEG SOP Instance UIDs."""
    return {"kind": kind, "path": path, "sop_instance_uid": sop_instance_uid, "references": list(references)}


def not_reviewed_entry(path: str, sop_instance_uid: str | None, reason: str) -> Json:
    """One entry of ``not_reviewed``."""
    return {"path": path, "sop_instance_uid": sop_instance_uid, "reason": reason}


def case_json(report: CaseReport, documents: Sequence[Json]) -> Json:
    """One entry of ``cases``."""
    return {
        "study_uid": report.ct.study_instance_uid,
        "ct_series_uid": report.ct.series_instance_uid,
        "ct_series_description": report.ct.series_description,
        "shape": list(report.geometry.shape),
        "spacing_mm": [round(value, 6) for value in report.geometry.spacing_mm],
        "parameters": list(report.parameters),
        "findings": [_finding(finding) for finding in report.findings],
        "segmentations": [_segmentation(part) for part in report.segmentations],
        "comparisons": [_comparison(pair) for pair in report.comparisons],
        "documents": list(documents),
    }


def _segmentation(part: SegmentationReport) -> Json:
    record = part.record
    return {
        "sop_instance_uid": record.sop_instance_uid,
        "series_uid": record.series_instance_uid,
        "series_description": record.series_description,
        "segmentation_type": part.type.value,
        "path": record.path,
        "model": {"name": record.model_name, "version": record.model_version},
        "mean_dice": rounded(part.mean_dice),
        "risk": rounded(part.risk),
        "findings": [_finding(finding) for finding in part.findings],
        "segments": [_segment(segment) for segment in part.segments],
    }


def _segment(report: SegmentReport) -> Json:
    shape, intensity = report.measures.shape, report.measures.intensity
    box = shape.bounding_box
    return {
        "segment_number": report.segment.number,
        "label": report.segment.label,
        "structure": _structure(report.structure_key, report.segment.codes),
        "voxel_count": shape.voxel_count,
        "volume_ml": rounded(shape.volume_ml),
        "mean_hu": rounded(intensity.mean_hu if intensity else None),
        "sd_hu": rounded(intensity.sd_hu if intensity else None),
        "min_hu": rounded(intensity.min_hu if intensity else None),
        "max_hu": rounded(intensity.max_hu if intensity else None),
        "median_hu": rounded(intensity.median_hu if intensity else None),
        "component_count": shape.components.count,
        "largest_component_fraction": rounded(shape.components.largest_fraction),
        "centroid_mm": rounded_point(shape.centroid_mm),
        "bounding_box": None if box is None else {"start": list(box.start), "stop": list(box.stop)},
        "truncated": report.truncated,
        "verdict": report.verdict.value,
        "risk": rounded(report.risk),
        "named_by": [finding.rule for finding in report.findings],
        "mean_dice": rounded(report.mean_dice),
        "checks": [_check(check) for check in report.checks],
    }


def _structure(key: str, codes: CodedStructure) -> Json:
    return {
        "key": key,
        "type": _code(codes.type),
        "modifier": _code(codes.modifier),
        "region": _code(codes.region),
        "region_modifier": _code(codes.region_modifier),
    }


def _code(code: Code | None) -> Json | None:
    return None if code is None else {"value": code.value, "scheme": code.scheme, "meaning": code.meaning}


def _check(check: Check | Finding) -> Json:
    return {
        "rule": check.rule,
        "outcome": check.outcome.value,
        "severity": check.severity.value,
        "message": check.message,
        "value": rounded(check.value),
        "limit": rounded(check.limit),
        "location_mm": rounded_point(check.location_mm),
    }


def _finding(finding: Finding) -> Json:
    return {
        **_check(finding),
        "sop_instance_uids": list(finding.sop_instance_uids),
        "structure_keys": list(finding.structure_keys),
    }


def _comparison(pair: PairComparison) -> Json:
    return {
        "evaluated": pair.evaluated,
        "reference": pair.reference,
        "segments": [
            {
                "structure_key": segment.structure_key,
                "evaluated_segment": segment.evaluated_segment,
                "reference_segment": segment.reference_segment,
                "dice": rounded(segment.dice),
                "iou": rounded(segment.iou),
                "nsd": rounded(segment.nsd),
                "tolerance_mm": segment.tolerance_mm,
                "hd_mm": rounded(segment.hd_mm),
                "hd95_mm": rounded(segment.hd95_mm),
                "assd_mm": rounded(segment.assd_mm),
                "volume_difference_percent": rounded(segment.volume_difference_percent),
            }
            for segment in pair.segments
        ],
        "only_evaluated": list(pair.only_evaluated),
        "only_reference": list(pair.only_reference),
    }
