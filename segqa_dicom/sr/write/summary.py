"""What the rules say about one SEG, in the order and in the words in which people should read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from segqa_dicom.checks.finding import SEVERITY_ORDER, Check, Finding, Severity, Verdict
from segqa_dicom.report.model import CaseReport, SegmentationReport, SegmentReport
from segqa_dicom.sr.ascii import counted
from segqa_dicom.sr.segment_items import name_of

SUMMARY_LINES = 40
REASONS_LENGTH = 300
SEVERITY_WORDS = {Severity.ERROR: "Failed", Severity.WARNING: "Needs review", Severity.INFO: "Note"}


@dataclass(frozen=True, eq=False)
class Judgement:
    """The outcome of one SEG.

    failed, review : structures by verdict, highest risk first
    findings : about the SEG as a whole or the case, worst first, complaints or not
    """

    failed: tuple[SegmentReport, ...]
    review: tuple[SegmentReport, ...]
    structure_count: int
    findings: tuple[Finding, ...]

    @property
    def complaints(self) -> tuple[Finding, ...]:
        """The findings that complain."""
        return tuple(finding for finding in self.findings if finding.is_failed)

    @property
    def verdict(self) -> Verdict:
        """The worst of all structures and findings."""
        severities = {finding.severity for finding in self.complaints}
        if self.failed or Severity.ERROR in severities:
            return Verdict.UNUSABLE
        return Verdict.REVIEW if self.review or Severity.WARNING in severities else Verdict.USABLE

    @property
    def outcome(self) -> str:
        """``3 FAIL``, ``7 REVIEW``, ``PASS``: what stands first in the series description."""
        if self.verdict is Verdict.UNUSABLE:
            return f"{len(self.failed)} FAIL" if self.failed else "FAIL"
        if self.verdict is Verdict.REVIEW:
            return f"{len(self.review)} REVIEW" if self.review else "REVIEW"
        return "PASS"

    @property
    def sentence(self) -> str:
        """The outcome in one sentence."""
        total, complaints = self.structure_count, len(self.complaints)
        if self.failed or self.review:
            words = f"{len(self.failed)} of {counted(total, 'structure')} failed, {len(self.review)} to look at"
        elif total:
            words = "The only structure passed" if total == 1 else f"All {total} structures passed"
        else:
            words = "The segmentation has no structures"
        if complaints:
            words += f"; {counted(complaints, 'finding')} about the segmentation or the case as a whole"
        return words + "."


def judge(case: CaseReport, segmentation: SegmentationReport) -> Judgement:
    """What the rules say about `segmentation`, with the findings of the case that concern it."""
    concerning = [finding for finding in case.findings if _concerns(finding, segmentation, case)]
    findings = sorted((*segmentation.findings, *concerning), key=lambda finding: _rank(finding.severity, finding))
    return Judgement(
        failed=segmentation.with_verdict(Verdict.UNUSABLE),
        review=segmentation.with_verdict(Verdict.REVIEW),
        structure_count=len(segmentation.segments),
        findings=tuple(findings),
    )


def summary_lines(judgement: Judgement, titles: Mapping[str, str]) -> list[str]:
    """One line per complaint and per structure that did not pass, worst first; the rest is counted."""
    lines: list[str] = []
    for severity, structures in ((Severity.ERROR, judgement.failed), (Severity.WARNING, judgement.review)):
        lines += [_finding_line(f, titles) for f in judgement.complaints if f.severity is severity]
        # What a finding above has said already needs no line for each structure that it names.
        lines += [_structure_line(structure, severity, titles) for structure in structures if structure.failed_checks]
    rest = len(lines) - SUMMARY_LINES
    return lines if rest <= 0 else [*lines[:SUMMARY_LINES], f"and {rest} more"]


def worst_first(checks: tuple[Check, ...]) -> list[Check]:
    """Checks by severity, else in their order."""
    return sorted(checks, key=lambda check: SEVERITY_ORDER[check.severity])


def what(check: Check | Finding, titles: Mapping[str, str]) -> str:
    """What a rule says: its message, else its title, with the rule's id."""
    return f"{check.message or titles.get(check.rule, '') or 'rule not kept'} ({check.rule})"


def _structure_line(structure: SegmentReport, severity: Severity, titles: Mapping[str, str]) -> str:
    reasons = "; ".join(what(check, titles) for check in worst_first(structure.failed_checks))
    if len(reasons) > REASONS_LENGTH:
        reasons = reasons[: REASONS_LENGTH - 3].rstrip() + "..."
    segment = structure.segment
    return f"{SEVERITY_WORDS[severity]} - {name_of(segment)} (segment {segment.number}): {reasons}"


def _finding_line(finding: Finding, titles: Mapping[str, str]) -> str:
    title = titles.get(finding.rule, "")
    subject = f" - {title}" if title and finding.message else ""
    return f"{SEVERITY_WORDS[finding.severity]}{subject}: {what(finding, titles)}"


def _concerns(finding: Finding, segmentation: SegmentationReport, case: CaseReport) -> bool:
    segs = {other.record.sop_instance_uid for other in case.segmentations}
    named = segs.intersection(finding.sop_instance_uids)
    return not named or segmentation.record.sop_instance_uid in named


def _rank(severity: Severity, finding: Finding) -> tuple[bool, int]:
    return not finding.is_failed, SEVERITY_ORDER[severity]
