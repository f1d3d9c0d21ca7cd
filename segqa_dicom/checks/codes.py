"""K: what the codes of a segment say, and what cannot be right about it (defects that real tables have)."""

from __future__ import annotations

from segqa_dicom.anatomy import Side, side_in_words, side_of
from segqa_dicom.anatomy.table import equivalent_categories
from segqa_dicom.checks.finding import Severity
from segqa_dicom.checks.registry import (
    Scope,
    SegmentResult,
    SeriesResults,
    Unit,
    listing,
    noted,
    passed,
    plural,
    rule,
    warned,
)
from segqa_dicom.checks.ruleset import Limits
from segqa_dicom.checks.subject import MeasuredSegment, MeasuredSegmentation

_RIGHT_SUBCLAVIAN_ARTERY = "29700009"
_COLOSTOMY_BAG = "339648008"
_OLD_ALTERED_MEANING = "Morphologically Altered Structure"
_NAMED_OTHERWISE = {
    # What the label says -> the code that tables put there by mistake, and what that code means.
    "gluteus minimus": ("78333006", "gluteus medius"),
    "bowel bag": (_COLOSTOMY_BAG, "colostomy bag, a physical object"),
}


@rule(
    "K1",
    "Category code",
    scope=Scope.SEGMENTATION,
    severity=Severity.WARNING,
    source="PS3.16, CID 7150; segmentation tables of TotalSegmentator and of the Imaging Data Commons",
)
def category(context: MeasuredSegmentation, _limits: Limits) -> SeriesResults:
    """Old and missing category codes; once per segmentation, because one table makes them all.

    The old category is in millions of segments and understood everywhere: told, but no reason to look at anything.
    """
    old = [part for part in context.segments if _category_key(part) in equivalent_categories()]
    if old:
        found = old[0].segment.codes.category
        assert found is not None  # noqa: S101 - its key was looked up
        current = equivalent_categories()[found.key].split(".")[0]
        yield noted(
            f"{plural(len(old), 'segment')} with the category ({found.value}, {found.scheme}, {found.meaning}); "
            f"CID 7150 now has {current}: treated as the same"
        )
    missing = [part.index for part in context.segments if part.segment.codes.category is None]
    if missing:
        yield warned(f"{plural(len(missing), 'segment')} without category code", segments=tuple(missing[:20]))


def _category_key(part: MeasuredSegment) -> str:
    code = part.segment.codes.category
    return code.key if code else ""


@rule(
    "K2",
    "Code of the other side",
    scope=Scope.SEGMENT,
    severity=Severity.WARNING,
    source="seven tables code the left subclavian artery as 29700009, Right subclavian artery, with modifier Left",
)
def sided_code(part: MeasuredSegment, _context: MeasuredSegmentation, _limits: Limits) -> SegmentResult:
    """A type code that itself names a side must not be modified by the other one."""
    found = part.segment.codes.type
    if found is None:
        return None
    if found.value == _RIGHT_SUBCLAVIAN_ARTERY and part.side is Side.LEFT:
        return warned("29700009 is the right subclavian artery, the modifier says left; 36765005 is meant")
    stated = side_in_words(found.meaning)
    if stated is not None and part.side is not None and stated is not part.side:
        return warned(f"the type is {found.meaning!r}, its modifier says {part.side}")
    return passed()


@rule(
    "K3",
    "One identity, two segments",
    scope=Scope.SEGMENTATION,
    severity=Severity.WARNING,
    unit=Unit.COUNT,
    source="MOOSE's table in the Imaging Data Commons: gluteus minimus coded as gluteus medius",
)
def shared_identity(context: MeasuredSegmentation, _limits: Limits) -> SeriesResults:
    """Segments of one SEG with the same codes: they are told apart by their labels."""
    for key, members in context.by_key.items():
        if len(members) > 1 and key.strip("|"):
            names = ", ".join(f"{part.segment.number} {part.label}" for part in members)
            yield warned(
                f"{len(members)} segments have the same codes and are told apart by label only: {names}",
                value=float(len(members)),
                limit=1.0,
                segments=tuple(part.index for part in members),
            )


@rule(
    "K4",
    "Label and code name one side",
    scope=Scope.SEGMENT,
    severity=Severity.WARNING,
    source="TotalSegmentator 2.6 table: right lateral-ventricle parts with modifier Left, quadriceps without side",
)
def label_side(part: MeasuredSegment, _context: MeasuredSegmentation, _limits: Limits) -> SegmentResult:
    """A side in the label must be in the codes as well, and the same one."""
    said = side_in_words(part.label)
    if said is None:
        if part.known.paired and part.side is None:
            return warned(f"{part.known.name} exists on both sides, but neither codes nor label say which one this is")
        return passed() if part.side is not None else None
    meaning = part.segment.codes.type.meaning if part.segment.codes.type else ""
    if part.side is None:
        if side_in_words(meaning) is said:
            return passed()
        if not part.known.paired and part.known.name:
            return None  # left atrium, left ventricle: the side is in the type, not of the body
        return warned(f"the label says {said}, the codes have no side")
    if part.side is not said:
        return warned(f"the label says {said}, the codes say {part.side}")
    return passed()


@rule(
    "K5",
    "Type code",
    scope=Scope.SEGMENT,
    severity=Severity.WARNING,
    source="TotalSegmentator 2.6 table: five structures without code; CADS: bowel bag coded as colostomy bag",
)
def type_code(part: MeasuredSegment, _context: MeasuredSegmentation, _limits: Limits) -> SegmentResult:
    """Every segment needs a type code, of the kind of thing that its label names."""
    found = part.segment.codes.type
    if found is None:
        return warned("it has no type code: nothing can be compared with it")
    words = part.label.lower().replace("_", " ")
    for name, (wrong, meaning) in _NAMED_OTHERWISE.items():
        if found.value == wrong and words.startswith(name):
            return warned(f"the label says {name}, the code {wrong} means {meaning}")
    return passed()


@rule(
    "K6",
    "Codes outside the DICOM context groups",
    scope=Scope.SEGMENTATION,
    severity=Severity.INFO,
    source="PS3.16: context groups are extensible; 20 to 67 types per table are not in them",
)
def unlisted_codes(context: MeasuredSegmentation, _limits: Limits) -> SeriesResults:
    """Valid SNOMED CT codes that no context group lists; other programs may not know them."""
    about = [
        part
        for part in context.segments
        if any(code.key != _category_key(part) for code in part.segment.unlisted_codes)
    ]
    if about:
        names = listing((part.label for part in about), most=5)
        yield noted(f"{plural(len(about), 'segment')} with codes that no DICOM context group lists: {names}")


@rule(
    "K7",
    "Side in the region modifier only",
    scope=Scope.SEGMENT,
    severity=Severity.INFO,
    source="TotalSegmentator table: kidney cysts",
)
def region_side(part: MeasuredSegment, _context: MeasuredSegmentation, _limits: Limits) -> SegmentResult:
    """The side of a lesion may stand with its region; readers that look at the type modifier miss it."""
    codes = part.segment.codes
    if side_of(codes) is None or codes.region is None:
        return None
    return noted("its side stands in the anatomic region modifier") if codes.modifier is None else passed()
