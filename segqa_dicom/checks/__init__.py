"""Rules: a case and its measures in, outcomes and findings out."""

# Nothing is imported before it is used: the command line needs the rule set only, and most of a second of imports
# (the rules, the measures, numba) would come with it.

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_LIGHT = {
    **dict.fromkeys(("Check", "Finding", "Outcome", "Severity", "Verdict", "verdict_of"), "finding"),
    **dict.fromkeys(("RuleSet", "default_ruleset", "ruleset_with"), "ruleset"),
}
_MODULES = {
    **_LIGHT,
    **dict.fromkeys(("Rule", "Scope", "all_rules", "rule_titles"), "registry"),
    **dict.fromkeys(("CheckedCase", "check_case"), "run"),
    **dict.fromkeys(("MeasuredCase", "MeasuredSegment", "MeasuredSegmentation"), "subject"),
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name not in _LIGHT:
        import_module(f"{__name__}.run")  # which imports all rules: without them the registry is empty
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
