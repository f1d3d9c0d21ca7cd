"""What a review complains about, in a form in which two reviews can be held against each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from segqa_dicom.checks.finding import Severity
from segqa_dicom.report.model import CaseReport


@dataclass(frozen=True, slots=True)
class Complaint:
    """One complaint of a rule, without its numbers: these change a little whenever anything does.

    uids : SOP Instance UIDs of the segmentations that it is about
    keys : identity keys of the structures; none = the segmentations as a whole
    """

    rule: str
    severity: Severity
    uids: tuple[str, ...]
    keys: tuple[str, ...] = ()

    def concerns(self, uid: str, keys: frozenset[str]) -> bool:
        """Whether it is about a segmentation, and about one of some structures of it (none = all of it)."""
        return uid in self.uids and (not keys or not self.keys or not keys.isdisjoint(self.keys))


def complaints_of(report: CaseReport) -> Counter[Complaint]:
    """All complaints of a review, notes (severity info) included."""
    return Counter(_complaints(report))


def _complaints(report: CaseReport) -> Iterator[Complaint]:
    for segmentation in report.segmentations:
        uids = (segmentation.record.sop_instance_uid,)
        for segment in segmentation.segments:
            for check in segment.checks:
                if check.outcome.is_violation:
                    yield Complaint(check.rule, check.severity, uids, (segment.structure_key,))
    findings = [*report.findings, *(one for part in report.segmentations for one in part.findings)]
    for finding in findings:
        if finding.outcome.is_violation:
            yield Complaint(finding.rule, finding.severity, finding.sop_instance_uids, finding.structure_keys)
