"""Outcomes of rules in the index, and reasons made of the failed ones."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from segqa_dicom.findings.schema import json_list
from segqa_dicom.model import Code
from segqa_dicom.sr import codes
from segqa_dicom.sr.ascii import clipped
from segqa_dicom.sr.outcomes import OUTCOMES, SEVERITIES, RuleOutcome

REASON_LENGTH = 300
"""Characters of a reason: what does not fit is in the report."""

_OUTCOME_RANKS = {"FAIL": 0, "WARN": 1, "NOTRUN": 2, "PASS": 3}


def rule_outcomes(
    connection: sqlite3.Connection, groups: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], list[RuleOutcome]]:
    """Outcomes of rules by (document, group); group 0 = the whole. Failed ones first, the worst at the top."""
    rows = connection.execute(
        "SELECT i.document, i.measurement_group, i.position, name.value, name.meaning, code.value, i.severity,"
        " o.value, o.value_limit, COALESCE(o.unit, ''), o.x_mm, o.y_mm, o.z_mm, COALESCE(o.segments, '[]'),"
        " COALESCE(message.value, '')"
        " FROM json_each(?) AS wanted CROSS JOIN item i"
        " ON i.document = json_extract(wanted.value, '$[0]')"
        " AND i.measurement_group = json_extract(wanted.value, '$[1]') AND i.severity IS NOT NULL"
        " CROSS JOIN concept name ON name.id = i.name CROSS JOIN concept code ON code.id = i.code"
        " LEFT JOIN outcome o ON o.document = i.document AND o.measurement_group = i.measurement_group"
        " AND o.position = i.position LEFT JOIN text message ON message.id = o.message"
        " ORDER BY i.document, i.measurement_group, i.position",
        (json_list(groups),),
    )
    found: dict[tuple[int, int], list[RuleOutcome]] = {group: [] for group in groups}
    for document, group, position, name, meaning, outcome, severity, value, limit, unit, x, y, z, numbers, text in rows:
        concept = Code(name, codes.SCHEME, meaning)
        one = RuleOutcome(
            position=position,
            group=group,
            rule=codes.rule_of(concept),
            title=codes.rule_title(concept),
            outcome=outcome,
            severity=SEVERITIES[severity],
            value=value,
            limit=limit,
            unit=unit,
            location_mm=None if x is None else (x, y, z),
            segments=tuple(json.loads(numbers)),
            message=text,
        )
        found[document, group].append(one)
    return {group: sorted(outcomes, key=_worst_first) for group, outcomes in found.items()}


def _worst_first(one: RuleOutcome) -> tuple[bool, int]:
    return not one.is_failed, _OUTCOME_RANKS.get(one.outcome, len(OUTCOMES))


def failed_outcomes(
    connection: sqlite3.Connection, groups: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], list[RuleOutcome]]:
    """The failed ones of `rule_outcomes`."""
    found = rule_outcomes(connection, groups)
    return {group: [one for one in outcomes if one.is_failed] for group, outcomes in found.items()}


def reason_of(failed: Sequence[RuleOutcome]) -> str:
    """Messages of failed rules as one text, cut to `REASON_LENGTH`."""
    reasons = [one.message or one.title or one.rule for one in failed]
    return clipped("; ".join(dict.fromkeys(reasons)), REASON_LENGTH)


def rules_of(failed: Sequence[RuleOutcome]) -> tuple[str, ...]:
    """Ids of failed rules, without repetitions."""
    return tuple(dict.fromkeys(one.rule for one in failed))
