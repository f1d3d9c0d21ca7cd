"""What a rule says: about one segment (`Check`), or about a series or several structures (`Finding`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from segqa_dicom.model import PointMm


class Outcome(StrEnum):
    """Result of one rule on one object."""

    PASS = "pass"  # noqa: S105 - not a password
    WARNING = "warning"
    FAIL = "fail"
    NOT_RUN = "not_run"

    @property
    def is_violation(self) -> bool:
        """Whether the rule is not kept."""
        return self in (Outcome.WARNING, Outcome.FAIL)


class Severity(StrEnum):
    """How much an outcome matters; outcomes that are not a complaint are INFO."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Verdict(StrEnum):
    """What the checks of one segment say together."""

    USABLE = "usable"
    REVIEW = "review"
    UNUSABLE = "unusable"


SEVERITY_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}
"""Worst first."""


def is_failed(outcome: Outcome, severity: Severity) -> bool:
    """Whether an outcome counts as failed: the rule is not kept, with severity warning or error."""
    return outcome.is_violation and severity is not Severity.INFO


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one rule on one segment.

    value, limit : measured number and threshold, in `unit` (UCUM); None where the rule has none
    location_mm : LPS mm; None = not located
    """

    rule: str
    outcome: Outcome
    severity: Severity = Severity.INFO
    message: str = ""
    value: float | None = None
    limit: float | None = None
    location_mm: PointMm | None = None
    unit: str = "1"

    @property
    def is_failed(self) -> bool:
        """Whether it counts as failed."""
        return is_failed(self.outcome, self.severity)


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of a rule that is not about one segment alone.

    sop_instance_uids, structure_keys : whom it is about, the one to blame first
    """

    rule: str
    outcome: Outcome
    severity: Severity
    message: str
    value: float | None = None
    limit: float | None = None
    location_mm: PointMm | None = None
    sop_instance_uids: tuple[str, ...] = ()
    structure_keys: tuple[str, ...] = ()
    unit: str = "1"

    @property
    def is_failed(self) -> bool:
        """Whether it counts as failed."""
        return is_failed(self.outcome, self.severity)


def verdict_of(checks: Iterable[Check | Finding]) -> Verdict:
    """UNUSABLE if a check failed with severity error, REVIEW if one did with severity warning, else USABLE."""
    severities = {check.severity for check in checks if check.is_failed}
    if Severity.ERROR in severities:
        return Verdict.UNUSABLE
    return Verdict.REVIEW if Severity.WARNING in severities else Verdict.USABLE
