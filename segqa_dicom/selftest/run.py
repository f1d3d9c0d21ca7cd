"""Putting every error into every subject, reviewing it, and holding the result against the untouched one."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from segqa_dicom import log
from segqa_dicom.checks import RuleSet, Severity, all_rules
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.errors import ConfigurationError, SegQaError
from segqa_dicom.pipeline import review
from segqa_dicom.progress import Progress, silent
from segqa_dicom.reading.case import read_case
from segqa_dicom.reading.grouping import CaseFiles, group
from segqa_dicom.reading.scan import NotReviewed, scan
from segqa_dicom.selftest.catalogue import INJECTIONS
from segqa_dicom.selftest.complaints import Complaint, complaints_of
from segqa_dicom.selftest.injection import Injection, Subject
from segqa_dicom.selftest.phantom import PHANTOM_SHAPE, write_phantom_study

PHANTOM_NAME = "torso phantom"


class Status(StrEnum):
    """What became of an injected error."""

    FOUND = "found"
    MISSED = "missed"
    NO_RULE = "no rule yet"
    RULE_OFF = "rule switched off"
    NOT_POSSIBLE = "not possible here"
    NOT_REVIEWED = "not reviewed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One error in one subject, and what the rules said that they did not say before.

    what : the structures that were made wrong
    found_by : expected rules that complain about them
    others : rules that complain besides, with the number of complaints (warnings and errors)
    reason : why it could not be reviewed
    """

    subject: str
    injection: Injection
    status: Status
    what: str = ""
    found_by: tuple[str, ...] = ()
    others: tuple[tuple[str, int], ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the rules say about a subject that nothing was done to; on a phantom each complaint is a false alarm."""

    subject: str
    segmentations: int
    structures: int
    complaints: Counter[Complaint]

    def count(self, severity: Severity, rule: str | None = None) -> int:
        """Complaints of a severity, of all rules or of one."""
        return sum(
            number
            for complaint, number in self.complaints.items()
            if complaint.severity is severity and rule in (None, complaint.rule)
        )

    def per_100_structures(self, severity: Severity, rule: str | None = None) -> float:
        """The same for 100 structures."""
        return 100 * self.count(severity, rule) / max(self.structures, 1)


@dataclass(slots=True)
class Selftest:
    """Everything that came out.

    registered, active : ids of the rules that exist, and of those that the rule set has switched on
    """

    ruleset: RuleSet
    registered: frozenset[str]
    baselines: list[Baseline] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    not_reviewed: list[NotReviewed] = field(default_factory=list)

    @property
    def active(self) -> frozenset[str]:
        """Ids of the rules that exist and are switched on."""
        return self.registered & frozenset(self.ruleset.rules)

    @property
    def is_complete(self) -> bool:
        """Whether everything could be reviewed."""
        failed = any(outcome.status is Status.NOT_REVIEWED for outcome in self.outcomes)
        return not failed and not any(one.is_segmentation for one in self.not_reviewed)


def run_selftest(
    paths: Sequence[Path],
    ruleset: RuleSet,
    limits: Limits,
    *,
    shape: tuple[int, int, int] = PHANTOM_SHAPE,
    injections: Sequence[Injection] = INJECTIONS,
    progress: Progress = silent,
) -> Selftest:
    """All injections in the torso phantom, and in each case under some paths.

    Raises `ConfigurationError` if a path does not exist, or there is no case under the paths.
    """
    result = Selftest(ruleset, frozenset(rule.id for rule in all_rules()))
    with tempfile.TemporaryDirectory(prefix="segqa-selftest-") as folder:
        cases = _cases(paths, limits, result.not_reviewed) if paths else []
        progress("making the torso phantom", 0, 1)
        write_phantom_study(Path(folder) / "phantom", shape)
        phantom, _ = group(scan([Path(folder) / "phantom"], limits)[0], limits)
        for name, files in [(PHANTOM_NAME, phantom[0]), *cases]:
            progress(f"{name}: reading", 0, 1)
            case, left_out = read_case(files, limits)
            result.not_reviewed.extend(left_out)
            if case is not None:
                subject = Subject(name, case, files, limits, Path(folder))
                _test(subject, injections, result, progress)
    return result


def _cases(paths: Sequence[Path], limits: Limits, not_reviewed: list[NotReviewed]) -> list[tuple[str, CaseFiles]]:
    """Name and files of each case under the paths; a case is called what the folder with all of its files is."""
    headers, left_out = scan(paths, limits)
    found, ungrouped = group(headers, limits)
    not_reviewed.extend([*left_out, *ungrouped])
    if not found and not any(one.is_segmentation for one in not_reviewed):
        raise ConfigurationError("nothing to test under the given paths: no DICOM segmentation was found")
    return [(_name(files), files) for files in found]


def _name(files: CaseFiles) -> str:
    paths = [*files.ct_paths, *(part.header.path for part in files.segmentations)]
    return Path(os.path.commonpath([path.resolve().parent for path in paths])).name


def _test(subject: Subject, injections: Sequence[Injection], result: Selftest, progress: Progress) -> None:
    """The untouched subject first, then every error in it, each alone."""
    step, total = f"{subject.name}: injecting errors", len(injections) + 1
    progress(step, 0, total)
    untouched = review(subject.case, result.ruleset)
    baseline = Baseline(
        subject.name,
        segmentations=len(untouched.segmentations),
        structures=sum(len(part.segments) for part in untouched.segmentations),
        complaints=complaints_of(untouched),
    )
    result.baselines.append(baseline)
    doubtful = {complaint.uids[:1] for complaint in baseline.complaints if complaint.severity is Severity.ERROR}
    subject = replace(subject, doubtful=frozenset(uid for uids in doubtful for uid in uids))
    for done, injection in enumerate(injections, start=1):
        progress(step, done, total)
        result.outcomes.append(_outcome(subject, injection, baseline, result))
    progress(step, total, total)


def _outcome(subject: Subject, injection: Injection, baseline: Baseline, result: Selftest) -> Outcome:
    """What the rules say about an error; a review that fails is told of and does not stop the others."""
    try:
        injected = injection.function(subject)
        if injected is None:
            return Outcome(subject.name, injection, Status.NOT_POSSIBLE)
        complaints = complaints_of(review(injected.case, result.ruleset))
    except Exception as error:  # noqa: BLE001 - a rule that fails on wrong data is what this is for
        log.LOGGER.exception("self-test, injection %s", injection.id)
        reason = str(error) if isinstance(error, SegQaError) else f"{type(error).__name__}: {error}"
        return Outcome(subject.name, injection, Status.NOT_REVIEWED, reason=reason)
    new = Counter(
        {
            complaint: number
            for complaint, number in (complaints - baseline.complaints).items()
            if complaint.severity is not Severity.INFO
        }
    )
    found_by = tuple(
        rule
        for rule in injection.expected
        if any(one.rule == rule and one.concerns(injected.sop_instance_uid, injected.keys) for one in new)
    )
    others: Counter[str] = Counter()
    for complaint, number in new.items():
        if complaint.rule not in found_by:
            others[complaint.rule] += number
    status = Status.FOUND if found_by else _why_missed(injection, result)
    return Outcome(subject.name, injection, status, injected.what, found_by, tuple(sorted(others.items())))


def _why_missed(injection: Injection, result: Selftest) -> Status:
    if result.active & set(injection.expected):
        return Status.MISSED
    return Status.RULE_OFF if result.registered & set(injection.expected) else Status.NO_RULE
