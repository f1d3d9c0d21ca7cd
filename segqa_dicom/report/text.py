"""The review as a table that a person reads in a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from segqa_dicom.checks import Finding, Severity, Verdict
from segqa_dicom.report.model import CaseReport, SegmentationReport
from segqa_dicom.report.wording import ct_name, reason, worst

WORST_SHOWN = 5
_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: "dim"}
_VERDICT_STYLES = {Verdict.UNUSABLE: "bold red", Verdict.REVIEW: "yellow", Verdict.USABLE: "green"}


def case_table(report: CaseReport) -> RenderableType:
    """One case: a row per segmentation, highest risk first, what is wrong with it, and its worst structures."""
    shape = " x ".join(str(size) for size in report.geometry.shape)
    spacing = " x ".join(f"{value:.4g}" for value in report.geometry.spacing_mm)
    table = Table(title=f"{ct_name(report)}: {shape} voxels of {spacing} mm", title_justify="left", title_style="bold")
    for name, justify in (
        ("segmentation", "left"),
        ("model", "left"),
        ("structures", "right"),
        ("failed", "right"),
        ("to look at", "right"),
        ("failed checks", "right"),
        ("mean Dice", "right"),
        ("risk", "right"),
    ):
        table.add_column(name, justify="right" if justify == "right" else "left", overflow="fold")
    by_risk = sorted(report.segmentations, key=lambda part: -part.risk)
    for part in by_risk:
        table.add_row(*_row(part))
    findings = [Text.assemble("  ", line) for line in _findings(report.findings)]
    details = [block for part in by_risk for block in _details(part)]
    return Group(table, *findings, *details)


def _row(part: SegmentationReport) -> tuple[RenderableType, ...]:
    verdicts = Counter(segment.verdict for segment in part.segments)
    failed_checks = sum(len(segment.failed_checks) for segment in part.segments)
    return (
        Text(part.record.series_description or part.record.sop_instance_uid),
        Text(f"{part.record.model_name} {part.record.model_version}".strip()),
        str(len(part.segments)),
        _count(verdicts[Verdict.UNUSABLE], Verdict.UNUSABLE),
        _count(verdicts[Verdict.REVIEW], Verdict.REVIEW),
        str(failed_checks),
        "" if part.mean_dice is None else f"{part.mean_dice:.3f}",
        f"{part.risk:.2f}",
    )


def _count(count: int, verdict: Verdict) -> Text:
    return Text(str(count), style=_VERDICT_STYLES[verdict] if count else "dim")


def _findings(findings: Sequence[Finding]) -> list[Text]:
    return [
        Text(f"{finding.rule} {finding.severity.value}: {finding.message}", style=_STYLES[finding.severity])
        for finding in findings
        if finding.severity is not Severity.INFO
    ]


def _details(part: SegmentationReport) -> list[RenderableType]:
    lines: list[RenderableType] = [Text.assemble("  ", line) for line in _findings(part.findings)]
    shown = worst(part, WORST_SHOWN)
    total = len(worst(part, len(part.segments)))
    for segment in shown:
        label = Text(f"  {segment.segment.label}", style=_VERDICT_STYLES[segment.verdict])
        lines.append(Text.assemble(label, f": {reason(segment)}"))
    if total > len(shown):
        lines.append(Text(f"  and {total - len(shown)} more", style="dim"))
    if not lines:
        return []
    name = part.record.series_description or part.record.sop_instance_uid
    return [Text(""), Text(name, style="bold"), *lines]
