"""Rules: a case and its measures in, outcomes and findings out."""

from segqa_dicom.checks.finding import Check, Finding, Outcome, Severity, Verdict, verdict_of
from segqa_dicom.checks.registry import Rule, Scope, all_rules, rule_titles
from segqa_dicom.checks.ruleset import RuleSet, default_ruleset, ruleset_with
from segqa_dicom.checks.run import CheckedCase, check_case
from segqa_dicom.checks.subject import MeasuredCase, MeasuredSegment, MeasuredSegmentation

__all__ = [
    "Check",
    "CheckedCase",
    "Finding",
    "MeasuredCase",
    "MeasuredSegment",
    "MeasuredSegmentation",
    "Outcome",
    "Rule",
    "RuleSet",
    "Scope",
    "Severity",
    "Verdict",
    "all_rules",
    "check_case",
    "default_ruleset",
    "rule_titles",
    "ruleset_with",
    "verdict_of",
]
