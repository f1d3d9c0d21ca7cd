"""Running all rules of a rule set over a measured case."""

from __future__ import annotations

from dataclasses import dataclass

from segqa_dicom.checks import (
    adjacency,
    attenuation,
    codes,
    dicom,
    expected,
    field_of_view,
    models,
    ribs,
    sides,
    spine,
    spine_volumes,
    topology,
    volumes,
)
from segqa_dicom.checks.finding import SEVERITY_ORDER, Check, Finding
from segqa_dicom.checks.registry import Result, Rule, Scope, all_rules
from segqa_dicom.checks.ruleset import RuleSet
from segqa_dicom.checks.subject import MeasuredCase, MeasuredSegment, MeasuredSegmentation

RULE_MODULES = (
    *(field_of_view, expected, topology, sides, spine, spine_volumes, ribs, adjacency, attenuation, volumes, models),
    *(dicom, codes),
)
"""Importing these fills the registry."""


@dataclass(frozen=True, slots=True)
class CheckedCase:
    """What the rules say, in the order of the segmentations and their segments."""

    findings: tuple[Finding, ...]
    segmentation_findings: tuple[tuple[Finding, ...], ...]
    segment_checks: tuple[tuple[tuple[Check, ...], ...], ...]


def check_case(case: MeasuredCase, ruleset: RuleSet) -> CheckedCase:
    """Every rule of `ruleset` on everything it is made for; findings worst first, checks in the registry's order."""
    return CheckedCase(
        findings=_case_findings(case, ruleset),
        segmentation_findings=tuple(_segmentation_findings(part, ruleset) for part in case.segmentations),
        segment_checks=tuple(
            tuple(_segment_checks(part, context, ruleset) for part in context.segments)
            for context in case.segmentations
        ),
    )


def _active(scope: Scope, ruleset: RuleSet) -> list[Rule]:
    return [rule for rule in all_rules() if rule.scope is scope and rule.id in ruleset.rules]


def _segment_checks(part: MeasuredSegment, context: MeasuredSegmentation, ruleset: RuleSet) -> tuple[Check, ...]:
    checks = []
    for rule in _active(Scope.SEGMENT, ruleset):
        found: Result | None = rule.function(part, context, ruleset.rules[rule.id])
        if found is not None:
            checks.append(
                Check(
                    rule=rule.id,
                    outcome=found.outcome,
                    severity=found.severity,
                    message=found.message,
                    value=found.value,
                    limit=found.limit,
                    location_mm=found.location_mm,
                    unit=found.unit or rule.unit,
                )
            )
    return tuple(checks)


def _segmentation_findings(context: MeasuredSegmentation, ruleset: RuleSet) -> tuple[Finding, ...]:
    findings = []
    for rule in _active(Scope.SEGMENTATION, ruleset):
        for found in rule.function(context, ruleset.rules[rule.id]):
            keys = tuple(context.segments[index].key for index in found.segments)
            uids = (context.segmentation.record.sop_instance_uid,)
            findings.append(_finding(rule, found, uids, tuple(dict.fromkeys(keys))))
    return _worst_first(findings)


def _case_findings(case: MeasuredCase, ruleset: RuleSet) -> tuple[Finding, ...]:
    findings = []
    for rule in _active(Scope.CASE, ruleset):
        for found in rule.function(case, ruleset.rules[rule.id]):
            about = found.segmentations or range(len(case.segmentations))
            uids = tuple(case.segmentations[index].segmentation.record.sop_instance_uid for index in about)
            keys = tuple(case.segmentations[about[0]].segments[index].key for index in found.segments)
            findings.append(_finding(rule, found, uids, tuple(dict.fromkeys(keys))))
    return _worst_first(findings)


def _finding(rule: Rule, found: Result, uids: tuple[str, ...], keys: tuple[str, ...]) -> Finding:
    return Finding(
        rule=rule.id,
        outcome=found.outcome,
        severity=found.severity,
        message=found.message,
        value=found.value,
        limit=found.limit,
        location_mm=found.location_mm,
        sop_instance_uids=uids,
        structure_keys=keys,
        unit=found.unit or rule.unit,
    )


def _worst_first(findings: list[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: SEVERITY_ORDER[finding.severity]))
