"""Sentences about results that text, page and documents share."""

from __future__ import annotations

from collections.abc import Sequence

from segqa_dicom.checks import Verdict
from segqa_dicom.checks.finding import SEVERITY_ORDER
from segqa_dicom.report.model import CaseReport, SegmentationReport, SegmentReport

LOW_DICE = 0.7
"""Mean Dice against the others below which disagreement is worth a word; provisional."""


def ct_name(report: CaseReport) -> str:
    """What people call the CT series; its UID if it has no description."""
    name = report.ct.series_description or report.ct.series_instance_uid
    return name if name.upper().startswith("CT") else f"CT {name}"


def reason(report: SegmentReport) -> str:
    """Why a segment needs a look, worst first; empty if there is no reason."""
    checks = sorted(report.failed_checks, key=lambda check: SEVERITY_ORDER[check.severity])
    reasons = [check.message for check in checks]
    reasons += [f"see {rule}" for rule in dict.fromkeys(finding.rule for finding in report.findings)]
    if disagrees(report):
        reasons.append(f"mean Dice {report.mean_dice:.2f} against the others")
    return "; ".join(reasons)


def disagrees(report: SegmentReport) -> bool:
    """Whether a segment differs so much from the others that it is worth a word, whatever the rules say."""
    return report.mean_dice is not None and report.mean_dice < LOW_DICE


def worst(part: SegmentationReport, count: int) -> Sequence[SegmentReport]:
    """The segments of a segmentation to look at first: those with a reason, highest risk first."""
    order = {Verdict.UNUSABLE: 0, Verdict.REVIEW: 1, Verdict.USABLE: 2}
    with_reason = [segment for segment in part.segments if reason(segment)]
    return sorted(with_reason, key=lambda one: (order[one.verdict], -one.risk, one.segment.number))[:count]
