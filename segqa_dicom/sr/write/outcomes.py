"""Outcomes of checks as content items.

An outcome is a CODE named by its rule. What programs need to know of it lies below it (severity, value, limit,
location, segments concerned), because viewers read tables from the direct children of a group by position. A rule that
is kept has nothing below it. The message, for people, follows as TEXT of the same name.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from segqa_dicom.checks.finding import Check, Finding, Outcome
from segqa_dicom.model import SegRecord
from segqa_dicom.report.model import SegmentationReport
from segqa_dicom.report.rounding import rounded, rounded_point
from segqa_dicom.sr import codes, tree


def outcome_items(
    checks: Sequence[Check | Finding],
    titles: Mapping[str, str],
    *,
    with_messages: bool = True,
    segmentation: SegmentationReport | None = None,
) -> Iterator[tree.Item]:
    """The outcomes in their order, each followed by its message if it has one.

    segmentation : that the document is about; its segments that a finding names are listed below the outcome.
        None in groups, where the group names the segment
    """
    for check in checks:
        name = codes.check_code(check.rule, titles.get(check.rule, ""))
        below = list(_properties(check))
        if segmentation is not None and isinstance(check, Finding) and check.outcome is not Outcome.PASS:
            below += _concerned(check, segmentation)
        yield tree.code(name, codes.OUTCOMES[check.outcome], children=below)
        if check.message and with_messages:
            yield tree.text(name, check.message)


def _properties(check: Check | Finding) -> Iterator[tree.Item]:
    if check.outcome is Outcome.PASS:
        return
    yield tree.code(codes.CHECK_SEVERITY, codes.SEVERITIES[check.severity], tree.PROPERTIES)
    unit = codes.RULE_UNITS[check.unit]
    for name, number in ((codes.CHECK_VALUE, rounded(check.value)), (codes.CHECK_LIMIT, rounded(check.limit))):
        if number is not None and math.isfinite(number):
            yield tree.exact_number(name, number, unit)
    point = rounded_point(check.location_mm)
    if point is not None and all(map(math.isfinite, point)):
        yield from tree.coordinates(codes.LOCATION, point)


def _concerned(finding: Finding, segmentation: SegmentationReport) -> Iterator[tree.Item]:
    """Only the SEG of the document is referenced as an image: a viewer loads every SEG that is."""
    record: SegRecord = segmentation.record
    is_about_seg = not finding.sop_instance_uids or record.sop_instance_uid in finding.sop_instance_uids
    numbers = sorted(
        part.segment.number
        for part in segmentation.segments
        if is_about_seg and part.structure_key in finding.structure_keys
    )
    if numbers:
        yield tree.segment_image(
            codes.CONCERNED, record.sop_class_uid, record.sop_instance_uid, numbers, tree.PROPERTIES
        )
    for uid in finding.sop_instance_uids:
        if uid != record.sop_instance_uid:
            yield tree.uid_reference(codes.CONCERNED, uid, tree.PROPERTIES)
