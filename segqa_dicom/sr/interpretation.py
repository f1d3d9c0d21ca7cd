"""What items of a document mean as findings: outcomes of our checks, measurements and evaluations of others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache

from segqa_dicom.anatomy import knowledge, structure_of
from segqa_dicom.model import Code, CodedStructure
from segqa_dicom.sr import codes
from segqa_dicom.sr.content import Document, Group, Item
from segqa_dicom.sr.cornerstone import parsed_identifier
from segqa_dicom.sr.kinds import MACHINE_KINDS, Kind
from segqa_dicom.sr.outcomes import RuleOutcome, is_check
from segqa_dicom.sr.read import FINDING_SITES, LATERALITIES

_VERDICTS = {code: verdict.value for verdict, code in codes.VERDICTS.items()}
_WITH_CHECKS_ONLY = frozenset((*(kind.value for kind in MACHINE_KINDS), Kind.REVIEW_KEYIMG.value))
"""Kinds of our documents of which only outcomes of checks are findings: the markers of a reader repeat the review."""
_IDENTITY = frozenset(
    (
        codes.TRACKING_IDENTIFIER,
        codes.TRACKING_UID,
        codes.FINDING,
        codes.SOURCE_SERIES,
        codes.REFERENCED_SEGMENT,
        codes.SOURCE_OF_MEASUREMENT,
        codes.TOPOGRAPHICAL_MODIFIER,
        codes.MEASUREMENT_METHOD,
        codes.ALGORITHM_NAME,
        codes.ALGORITHM_VERSION,
        codes.ALGORITHM_PARAMETERS,
        codes.OBSERVER_TYPE,
        codes.SEGMENTATION_QUALITY,
        codes.FINDING_DETAILS,  # beside the finding itself
        *FINDING_SITES,
        *LATERALITIES,
        Code("276214006", "SCT"),  # Finding category
        Code("C67447", "NCIt"),  # Activity Session
        Code("C2348792", "NCIt"),  # Time Point
        *(Code(value, "DCM") for value in ("126072", "126073", "121005", "121008", "121011", "121012", "121013")),
    )
)
"""Names of items that say what a group is about, and nothing about that."""


class FindingKind(IntEnum):
    """What a finding is."""

    CHECK = 1
    MEASUREMENT = 2
    EVALUATION = 3


@dataclass(slots=True)
class Judged:
    """What a group says as a whole.

    verdict : "usable", "review", "unusable", or empty
    risk : Risk score; None if it has none
    counts : number of findings by (outcome, severity); those that are no outcome of a check under ("", "")
    """

    verdict: str = ""
    risk: float | None = None
    counts: dict[tuple[str, str], int] = field(default_factory=dict)


def finding_kinds(
    document: Document, outcomes: Iterable[RuleOutcome]
) -> tuple[list[FindingKind | None], dict[int, Judged]]:
    """What each item is as a finding (None = none), and what each group says; group 0 = the document as a whole.

    outcomes : all of the document (`outcomes.rule_outcomes`)

    Outcomes of checks are findings wherever they stand. Measurements and evaluations are those of documents of others,
    and of reviews: what ours measure is asked for by DICOMweb. A group without any is one finding itself.
    """
    kinds: list[FindingKind | None] = []
    judged: dict[int, Judged] = {0: Judged()} | {group.number: Judged() for group in document.groups}
    depths = _depths(document.items)
    is_all = not (document.is_own and document.kind in _WITH_CHECKS_ONLY)
    is_review = document.is_own and document.kind == Kind.REVIEW.value
    for item in document.items:
        kind = _kind(item, depths) if is_all or is_check(item) else None
        if is_review and not item.group and _is_about_whole(item):
            kind = FindingKind.EVALUATION
        kinds.append(kind)
        if item.name == codes.SEGMENTATION_QUALITY and item.code in _VERDICTS:
            judged[item.group].verdict = _VERDICTS[item.code]
        elif item.name == codes.RISK:
            judged[item.group].risk = item.number
        if kind is not None and kind is not FindingKind.CHECK:
            _count(judged[item.group], "", "")
    for one in outcomes:
        _count(judged[one.group], one.outcome, one.severity)
    if is_all:
        _count_empty(document, kinds, judged, depths)
    return kinds, judged


def _kind(item: Item, depths: Mapping[int, int]) -> FindingKind | None:
    if is_check(item):
        return FindingKind.CHECK
    if not item.group or item.depth != depths[item.group] + 1 or item.name in _IDENTITY:
        return None
    if item.value_type == "NUM" and item.number is not None:
        return FindingKind.MEASUREMENT
    is_said = (item.value_type == "CODE" and item.code is not None) or (item.value_type == "TEXT" and item.text != "")
    return FindingKind.EVALUATION if is_said and item.relation in ("CONTAINS", "") else None


def _is_about_whole(item: Item) -> bool:
    """Whether a reader says it of the SEG as a whole."""
    is_evaluation = item.depth == 2 and item.path[1] == codes.QUALITATIVE_EVALUATIONS
    return is_evaluation and item.name not in _IDENTITY and (item.code is not None or item.text != "")


def _count_empty(
    document: Document, kinds: list[FindingKind | None], judged: dict[int, Judged], depths: Mapping[int, int]
) -> None:
    """Of a group that says nothing the Finding is what it says: an arrow with a text has no more."""
    for at, item in enumerate(document.items):
        if not item.group or item.depth != depths[item.group] + 1 or item.name != codes.FINDING:
            continue
        if item.code is not None and not judged[item.group].counts:
            kinds[at] = FindingKind.EVALUATION
            _count(judged[item.group], "", "")


def _count(judged: Judged, outcome: str, severity: str) -> None:
    judged.counts[outcome, severity] = judged.counts.get((outcome, severity), 0) + 1


def _depths(items: Sequence[Item]) -> dict[int, int]:
    depths: dict[int, int] = {}
    for item in items:
        if item.group:
            depths.setdefault(item.group, item.depth)
    return depths


def label(group: Group) -> str:
    """What people call the structure: its label, else its tracking identifier, else its finding."""
    cornerstone = parsed_identifier(group.tracking_identifier)
    name = group.label or (cornerstone.label if cornerstone else group.tracking_identifier)
    return name or (group.finding.meaning if group.finding else "")


@lru_cache(maxsize=4096)
def structure_name(finding: Code | None, site: Code | None, laterality: Code | None) -> str:
    """Canonical name in our table of structures (``kidney_left``); empty if the codes are of none that it has."""
    if finding is None:
        return ""
    is_site = site is None or site == finding
    candidates = [CodedStructure(type=finding, modifier=laterality)]
    if not is_site:
        candidates.insert(0, CodedStructure(type=finding, region=site, region_modifier=laterality))
    for coded in candidates:
        found = structure_of(coded)
        if found is not None:
            return found.canonical
    return knowledge(CodedStructure(type=finding)).base if is_site and laterality is None else ""


def segmentation_name(document: Document) -> str:
    """What the SEG of a document of segqa is called, of a pair both; empty for any other document."""
    names = [item.text for item in document.items if item.name == codes.SEGMENTATION_NAME and item.text]
    return " vs ".join(names) if document.is_own else ""
