"""The review of a case, as data: rendered to SR, JSON, HTML and text, never the other way round."""

from __future__ import annotations

from dataclasses import dataclass

from segqa_dicom.checks.finding import Check, Finding, Verdict
from segqa_dicom.measures.results import PairComparison, SegmentMeasures
from segqa_dicom.model import ContentConflict, CtRecord, Geometry, Segment, SegmentationType, SegRecord


@dataclass(frozen=True, slots=True)
class RuleSetId:
    """Which rules and thresholds were used; `hash` covers every parameter."""

    version: str
    hash: str


@dataclass(frozen=True, slots=True)
class SegmentReport:
    """One segment: what it is, what was measured, what the rules say.

    structure_key : identity after the table of equivalent codes (see `segqa_dicom.anatomy`)
    truncated : it reaches the end of the scan or of the field of view (rules F1, F2)
    risk : >= 0, higher = look at it earlier
    mean_dice : against the other segmentations of the case; None if nothing was compared
    findings : complaints about the segmentation or the case that name it; they stand there, and count here
    """

    segment: Segment
    structure_key: str
    measures: SegmentMeasures
    truncated: bool
    verdict: Verdict
    checks: tuple[Check, ...]
    risk: float
    mean_dice: float | None
    findings: tuple[Finding, ...] = ()

    @property
    def failed_checks(self) -> tuple[Check, ...]:
        """The checks that count as failed."""
        return tuple(check for check in self.checks if check.is_failed)


@dataclass(frozen=True, slots=True)
class SegmentationReport:
    """One segmentation; `findings` are about it as a whole, or about several of its structures.

    risk : >= 0, higher = look at it earlier
    """

    record: SegRecord
    type: SegmentationType
    segments: tuple[SegmentReport, ...]
    findings: tuple[Finding, ...]
    mean_dice: float | None
    risk: float = 0.0

    def with_verdict(self, verdict: Verdict) -> tuple[SegmentReport, ...]:
        """Its segments with that verdict, highest risk first."""
        chosen = [segment for segment in self.segments if segment.verdict is verdict]
        return tuple(sorted(chosen, key=lambda segment: (-segment.risk, segment.segment.number)))


@dataclass(frozen=True, slots=True)
class CaseReport:
    """One CT series with all its segmentations.

    parameters : "name=value" of everything that decides the numbers, for Algorithm Parameters
    conflicts : objects that came twice with different content, sorted
    """

    ct: CtRecord
    geometry: Geometry
    hu_defined: bool
    ruleset: RuleSetId
    parameters: tuple[str, ...]
    findings: tuple[Finding, ...]
    segmentations: tuple[SegmentationReport, ...]
    comparisons: tuple[PairComparison, ...]
    conflicts: tuple[ContentConflict, ...] = ()
