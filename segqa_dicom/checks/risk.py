"""The risk score: one number that says what to look at first. Its weights (rule set, `risk`) are provisional."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from segqa_dicom.checks.finding import Check, Finding, Severity


def segment_risk(
    checks: Iterable[Check], findings: Iterable[Finding], mean_dice: float | None, weights: Mapping[str, float]
) -> float:
    """Risk of a segment: its complaints, weighted, plus its disagreement with the other segmentations; >= 0.

    findings : those that name its structure in its segmentation
    mean_dice : against the other segmentations; None if nothing was compared, which adds nothing
    """
    disagreement = 0.0 if mean_dice is None else weights["disagreement"] * (1 - mean_dice)
    return _weighted((*checks, *findings), weights) + disagreement


def segmentation_risk(
    findings: Iterable[Finding], segment_risks: Sequence[float], weights: Mapping[str, float]
) -> float:
    """Risk of a segmentation: the findings about it, weighted, plus the mean risk of its segments; >= 0."""
    mean = sum(segment_risks) / len(segment_risks) if segment_risks else 0.0
    return _weighted(findings, weights) + mean


def _weighted(complaints: Iterable[Check | Finding], weights: Mapping[str, float]) -> float:
    by_severity = {Severity.ERROR: weights["error"], Severity.WARNING: weights["warning"]}
    return sum(by_severity[one.severity] for one in complaints if one.is_failed)
