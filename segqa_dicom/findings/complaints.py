"""Which rules complain in a report of ours, and of what: not every warning is a complaint.

An outcome says how far a rule is kept, not how much it matters: a note ("cut off by the end of the scan") is a warning
just as a complaint is. The Summary tells them apart, for it names complaints only: a line for each finding about the
whole, and one for each segment that failed checks, with the ids of the rules. Where it was cut, warnings count.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from segqa_dicom.model import Code
from segqa_dicom.sr import codes
from segqa_dicom.sr.interpretation import CHECK, is_check
from segqa_dicom.sr.read import Document, Item

_LINE = re.compile(r"(?:Failed|Needs review)(?: - |: )")
_SEGMENT = re.compile(r"[^:]* - [^:]*\(segment ([0-9]{1,5})\): ")
_RULE = re.compile(r"\(([^()\s]{1,16})\)(?:; |\Z)")
_REST = re.compile(r"and [0-9]+ more\Z")
_CUT = "..."


@dataclass(slots=True)
class _Told:
    """What a Summary names.

    of_segments : rules by Segment Number
    cut : segments whose line was cut
    is_cut : lines are missing
    """

    of_whole: set[str] = field(default_factory=set)
    of_segments: dict[int, set[str]] = field(default_factory=dict)
    cut: set[int] = field(default_factory=set)
    is_cut: bool = False


def complaints(document: Document) -> set[tuple[int, Code]]:
    """(number of the group, concept name of the rule) of all that complains; group 0 = about the whole.

    Empty for what is no report of ours.
    """
    if not (document.is_own and document.kind == "report"):
        return set()
    told = _told(document.items)
    segments = {group.number: group.segment for group in document.groups}
    return {
        (item.group, item.name)
        for item in document.items
        if item.name is not None and is_check(item) and _complains(item, segments.get(item.group, 0), told)
    }


def _complains(item: Item, segment: int, told: _Told) -> bool:
    outcome = item.code.value if item.code is not None else ""
    if outcome != "WARN":
        return outcome == "FAIL"
    rule = item.name.value.removeprefix(CHECK) if item.name is not None else ""
    if rule in told.of_whole:
        return True
    if not item.group:
        return told.is_cut
    if segment in told.of_segments:
        return rule in told.of_segments[segment] or segment in told.cut
    return told.is_cut


def _told(items: Iterable[Item]) -> _Told:
    told = _Told()
    for item in items:
        if item.depth != 1 or item.name != codes.SUMMARY:
            continue
        if _REST.match(item.text):
            told.is_cut = True
            continue
        if not _LINE.match(item.text):
            continue
        rules = set(_RULE.findall(item.text))
        segment = _SEGMENT.match(item.text)
        if segment is None:
            told.of_whole |= rules
            continue
        number = int(segment[1])
        told.of_segments.setdefault(number, set()).update(rules)
        if item.text.endswith(_CUT):
            told.cut.add(number)
    return told
