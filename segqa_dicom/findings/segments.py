"""What the machine's reports say about segments in short, and which of them are wanted. Plain data."""

from __future__ import annotations

from dataclasses import dataclass

from segqa_dicom.model import SegmentRef


@dataclass(frozen=True, slots=True)
class WorklistFilters:
    """Which segments are wanted; empty = whatever it is.

    model : part of the name of the SEG or of what made it, whatever the case
    structure : canonical name, code value or words of the label
    rule : id of a rule that complains
    status : of the reader who asks
    reviewer : login of somebody who has signed something about it, or whom it is assigned to
    verdict : "unusable", "review", "usable"
    study, segmentation : UIDs
    is_annotated : only those with annotations of other programs
    is_major : only those that a reader found in need of major edits or worse
    """

    model: str = ""
    structure: str = ""
    rule: str = ""
    status: str = ""
    reviewer: str = ""
    verdict: str = ""
    study: str = ""
    segmentation: str = ""
    is_annotated: bool = False
    is_major: bool = False


@dataclass(frozen=True, slots=True)
class MachineSegment:
    """What the machine's report says about a segment, in short.

    label : with its side in words
    structure : canonical name of our table; empty if it has none
    verdict : "unusable", "review", "usable", or empty
    reason : why it did not pass, in words; empty if it passed
    rules : ids of the rules that complain
    model : what the SEG is called
    report : SOP Instance UID of the SR that says so
    """

    place: SegmentRef
    study: str
    ct_series: str
    label: str
    structure: str
    verdict: str
    risk: float
    reason: str
    rules: tuple[str, ...]
    model: str
    report: str
