"""The self-test as JSON and as tables."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from segqa_dicom import __version__
from segqa_dicom.checks import Severity, rule_titles
from segqa_dicom.checks.not_implemented import LEFT_OUT
from segqa_dicom.selftest.run import Baseline, Outcome, Selftest, Status

_STYLES = {
    Status.FOUND: "green",
    Status.MISSED: "bold red",
    Status.NO_RULE: "yellow",
    Status.RULE_OFF: "yellow",
    Status.NOT_POSSIBLE: "dim",
    Status.NOT_REVIEWED: "bold red",
}


@dataclass(frozen=True, slots=True)
class RuleRow:
    """What the self-test says about one rule on one subject.

    expected, found : ids of the injections that it is there for, and of those that it found
    besides : ids of the injections at which it complained although another rule is there for them
    """

    subject: str
    rule: str
    title: str
    state: str
    expected: tuple[str, ...]
    found: tuple[str, ...]
    besides: tuple[str, ...]
    false_alarms: dict[str, int]
    per_100_structures: dict[str, float]

    @property
    def sensitivity(self) -> float | None:
        """Share of the injections that it is there for; None if there are none, or the rule does not exist."""
        return len(self.found) / len(self.expected) if self.expected and self.state == "active" else None


def rule_rows(result: Selftest) -> list[RuleRow]:
    """One row per subject and rule; rules that are expected somewhere and do not exist yet are there, too."""
    rows: list[RuleRow] = []
    for baseline in result.baselines:
        outcomes = [
            one
            for one in result.outcomes
            if one.subject == baseline.subject and one.status not in (Status.NOT_POSSIBLE, Status.NOT_REVIEWED)
        ]
        expected = {rule for one in result.outcomes for rule in one.injection.expected}
        ids = [*rule_titles(), *sorted(expected - result.registered)]
        rows.extend(_rule_row(rule, baseline, outcomes, result) for rule in ids)
    return rows


def _rule_row(rule: str, baseline: Baseline, outcomes: Iterable[Outcome], result: Selftest) -> RuleRow:
    return RuleRow(
        subject=baseline.subject,
        rule=rule,
        title=rule_titles().get(rule) or LEFT_OUT.get(rule, "").partition(":")[0],
        state=_state(rule, result),
        expected=tuple(one.injection.id for one in outcomes if rule in one.injection.expected),
        found=tuple(one.injection.id for one in outcomes if rule in one.found_by),
        besides=tuple(one.injection.id for one in outcomes if rule in dict(one.others)),
        false_alarms={severity.value: baseline.count(severity, rule) for severity in Severity},
        per_100_structures={
            severity.value: round(baseline.per_100_structures(severity, rule), 3) for severity in Severity
        },
    )


def _state(rule: str, result: Selftest) -> str:
    """A rule that was left out has its reason in the docs; one that nobody wrote has none."""
    if rule in result.registered:
        return "active" if rule in result.active else "off"
    return "left out" if rule in LEFT_OUT else Status.NO_RULE.value


# ------------------------------------------------------------------------------------------------- JSON


def as_json(result: Selftest) -> dict[str, Any]:
    """Everything, with keys that stay."""
    return {
        "segqa_version": __version__,
        "ruleset": {"version": result.ruleset.version, "hash": result.ruleset.hash},
        "injections": [_injection_entry(outcome, result) for outcome in result.outcomes],
        "rules": [_rule_entry(row) for row in rule_rows(result)],
        "baseline": {one.subject: _baseline_entry(one) for one in result.baselines},
        "not_reviewed": [
            {"path": str(one.path), "sop_instance_uid": one.sop_instance_uid, "reason": one.reason}
            for one in result.not_reviewed
        ],
    }


def _injection_entry(outcome: Outcome, result: Selftest) -> dict[str, Any]:
    expected = outcome.injection.expected
    return {
        "subject": outcome.subject,
        "id": outcome.injection.id,
        "title": outcome.injection.title,
        "what": outcome.what,
        "expected": list(expected),
        "without_rule": [rule for rule in expected if rule not in result.registered],
        "status": outcome.status.value,
        "found": outcome.status is Status.FOUND,
        "found_by": list(outcome.found_by),
        "other_rules": dict(outcome.others),
        "reason": outcome.reason,
    }


def _rule_entry(row: RuleRow) -> dict[str, Any]:
    return {
        "subject": row.subject,
        "rule": row.rule,
        "title": row.title,
        "state": row.state,
        "expected": list(row.expected),
        "found": list(row.found),
        "sensitivity": row.sensitivity,
        "also_fired": list(row.besides),
        "untouched": row.false_alarms,
        "untouched_per_100_structures": row.per_100_structures,
    }


def _baseline_entry(baseline: Baseline) -> dict[str, Any]:
    return {
        "segmentations": baseline.segmentations,
        "structures": baseline.structures,
        "complaints": {severity.value: baseline.count(severity) for severity in Severity},
        "per_100_structures": {
            severity.value: round(baseline.per_100_structures(severity), 3) for severity in Severity
        },
        "by_structure": [
            {
                "rule": complaint.rule,
                "severity": complaint.severity.value,
                "sop_instance_uids": list(complaint.uids),
                "structure_keys": list(complaint.keys),
                "count": number,
            }
            for complaint, number in sorted(baseline.complaints.items(), key=lambda entry: repr(entry[0]))
        ],
    }


# ------------------------------------------------------------------------------------------------- tables


def tables(result: Selftest) -> Group:
    """For the terminal: the injections and the rules of each subject."""
    shown: list[Table | Text] = []
    rows = rule_rows(result)
    for baseline in result.baselines:
        outcomes = [one for one in result.outcomes if one.subject == baseline.subject]
        shown += [_injection_table(baseline.subject, outcomes, result), _rule_table(baseline, rows)]
        shown += [_summary(baseline, outcomes), Text()]
    return Group(*shown)


def _injection_table(subject: str, outcomes: Iterable[Outcome], result: Selftest) -> Table:
    table = Table("injected error", "in", "should be found by", "", "by", "other rules", title_justify="left")
    table.title = f"{subject}: injected errors"
    for one in outcomes:
        table.add_row(
            one.injection.title,
            one.what,
            _expected(one.injection.expected, result),
            Text(f"{one.status} {one.reason}".strip(), _STYLES[one.status]),
            " ".join(one.found_by),
            " ".join(rule if count == 1 else f"{rule}({count})" for rule, count in one.others),
        )
    return table


def _expected(rules: Iterable[str], result: Selftest) -> Text:
    """Rules that do not exist yet in brackets."""
    return Text(" ").join(
        Text(rule) if rule in result.registered else Text(f"[{rule}]", style="yellow") for rule in rules
    )


def _rule_table(baseline: Baseline, rows: Iterable[RuleRow]) -> Table:
    """The rules that an injection is for, that fired, or that complain about the untouched subject."""
    table = Table("rule", "title", "found / expected", "also fired at", title_justify="left")
    table.title = f"{baseline.subject}: rules"
    for heading in ("errors untouched", "warnings", "notes"):
        table.add_column(heading, justify="right")
    for row in rows:
        alarms = row.false_alarms
        if row.subject != baseline.subject or not (row.expected or row.besides or any(alarms.values())):
            continue
        share = f"{len(row.found)} / {len(row.expected)}" if row.expected else ""
        state = share if row.state == "active" else f"{share} {'rule ' if row.state == 'off' else ''}{row.state}"
        counts = [str(alarms[one.value] or "") for one in (Severity.ERROR, Severity.WARNING, Severity.INFO)]
        table.add_row(row.rule, row.title, state.strip(), ", ".join(row.besides), *counts)
    return table


def _summary(baseline: Baseline, outcomes: Iterable[Outcome]) -> Text:
    possible = [one for one in outcomes if one.status is not Status.NOT_POSSIBLE]
    found = sum(one.status is Status.FOUND for one in possible)
    errors, warnings = (baseline.per_100_structures(one) for one in (Severity.ERROR, Severity.WARNING))
    return Text(
        f"{found} of {len(possible)} injected errors found by a rule that is there for them. Untouched, "
        f"{baseline.structures} structures in {baseline.segmentations} segmentations: "
        f"{errors:.2g} errors and {warnings:.2g} warnings per 100 structures."
    )
