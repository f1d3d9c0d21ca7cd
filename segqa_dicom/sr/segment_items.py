"""What a segment and a SEG are called in our documents, and how a segment's codes become content items."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from segqa_dicom.dicom.uids import stable_uid
from segqa_dicom.model import Code, Segment, SegRecord
from segqa_dicom.sr import codes, tree
from segqa_dicom.sr.ascii import LONG_STRING, ascii_text, clipped

_SIDES = {
    # CID 244, and the SNOMED-RT codes that older SEGs use.
    ("7771000", "SCT"): "left",
    ("24028007", "SCT"): "right",
    ("51440002", "SCT"): "both sides",
    ("66459002", "SCT"): "one side",
    ("G-A101", "SRT"): "left",
    ("G-A100", "SRT"): "right",
    ("G-A102", "SRT"): "both sides",
}
_MORPHOLOGICALLY_ABNORMAL = {("49755003", "SCT"), ("M-01000", "SRT")}
_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+\Z")


def name_of(segment: Segment) -> str:
    """What people call the segment, with its side in words: readers show no laterality codes."""
    name = ascii_text(segment.label) or _meaning(segment.codes.type) or f"Segment {segment.number}"
    return _with_side(clipped(name, LONG_STRING), segment)


def tracking_identifier(segment: Segment) -> str:
    """The Tracking ID of the segment, else ``Segment 3: Left kidney``."""
    given = clipped(ascii_text(segment.tracking_id), LONG_STRING)
    return _with_side(given, segment) if given else f"Segment {segment.number}: {name_of(segment)}"


def tracking_uids(record: SegRecord, segments: Iterable[Segment]) -> dict[int, str]:
    """Tracking UID by Segment Number: the one in the SEG if it is a UID and no other segment has it, else a stable own.

    OHIF takes groups with the same tracking UID for one.
    """
    everything = list(segments)
    uses = Counter(segment.tracking_uid for segment in everything)
    return {
        segment.number: segment.tracking_uid
        if uses[segment.tracking_uid] == 1 and _is_uid(segment.tracking_uid)
        else stable_uid("segment", record.sop_instance_uid, segment.number)
        for segment in everything
    }


def finding(segment: Segment) -> tree.Item:
    """CODE "Finding" = the property type, with the label of the segment below it."""
    label = tree.text(codes.SEGMENT_LABEL, name_of(segment), tree.PROPERTIES)
    return tree.code(codes.FINDING, _usable(segment.codes.type) or codes.UNCODED, children=[label])


def finding_site(segment: Segment) -> list[tree.Item]:
    """CODE "Finding Site" = the anatomic region, else the property type if that is an anatomical structure.

    Empty if neither is coded: a lesion without a region has no known site.
    """
    coded = segment.codes
    site, modifier = _usable(coded.region), coded.region_modifier or coded.modifier
    if site is None:
        is_lesion = coded.category is not None and (coded.category.value, coded.category.scheme) in (
            _MORPHOLOGICALLY_ABNORMAL
        )
        site = None if is_lesion else _usable(coded.type)
    if site is None:
        return []
    return [tree.code(codes.FINDING_SITE, site, tree.CONCEPT_MOD, _site_modifiers(modifier))]


def seg_name(record: SegRecord) -> str:
    """What people call the SEG: its series, else the model that made it, else the end of its UID."""
    model = f"{record.model_name} {record.model_version}"
    name = ascii_text(record.series_description) or ascii_text(model)
    return clipped(name or f"SEG ..{record.sop_instance_uid[-8:]}", LONG_STRING)


def pair_names(evaluated: SegRecord, reference: SegRecord) -> tuple[str, str]:
    """Names of two SEGs that differ from each other."""
    first, second = seg_name(evaluated), seg_name(reference)
    if first != second:
        return first, second
    if evaluated.series_number != reference.series_number:
        return f"{first} (series {evaluated.series_number})", f"{second} (series {reference.series_number})"
    return f"{first} (..{evaluated.sop_instance_uid[-8:]})", f"{second} (..{reference.sop_instance_uid[-8:]})"


def _site_modifiers(modifier: Code | None) -> list[tree.Item]:
    usable = _usable(modifier)
    if usable is None:
        return []
    name = codes.LATERALITY if (usable.value, usable.scheme) in _SIDES else codes.TOPOGRAPHICAL_MODIFIER
    return [tree.code(name, usable, tree.CONCEPT_MOD)]


def _with_side(name: str, segment: Segment) -> str:
    for modifier in (segment.codes.region_modifier, segment.codes.modifier):
        side = _SIDES.get((modifier.value, modifier.scheme)) if modifier else None
        if side in ("left", "right"):
            return name if side in name.lower() else f"{name}, {side}"
    return name


def _usable(code: Code | None) -> Code | None:
    return code if code and ascii_text(code.value) and ascii_text(code.scheme) else None


def _meaning(code: Code | None) -> str:
    return ascii_text(code.meaning) if code else ""


def _is_uid(text: str) -> bool:
    return len(text) <= 64 and _UID.match(text) is not None
