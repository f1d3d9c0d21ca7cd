"""What the pages of readers are made of. Plain data: no archive, no ledger, no HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from segqa_dicom.assessment.model import Purpose, Review, ReviewFinding, SegmentReview
from segqa_dicom.findings.segments import MachineSegment as MachineSegment
from segqa_dicom.findings.segments import WorklistFilters as WorklistFilters
from segqa_dicom.ledger import DraftState as DraftState
from segqa_dicom.model import PointMm, SegmentRef


@dataclass(frozen=True, slots=True)
class Task:
    """One thing for one reader to review.

    reading : 1, and higher for repeats of the same reader
    """

    place: SegmentRef
    purpose: Purpose = Purpose.READING
    reading: int = 1


@dataclass(frozen=True, slots=True)
class WorklistRow:
    """A line of the worklist.

    status : of the reader who asks
    readers : names of those who have signed, as far as the reader who asks may know
    assigned_to : logins
    annotations : number of annotations from other programs that lie on it
    task : what a click opens
    """

    machine: MachineSegment
    task: Task
    status: DraftState
    readers: tuple[str, ...] = ()
    assigned_to: tuple[str, ...] = ()
    annotations: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a reader is with what matches: numbers of segments."""

    total: int
    draft: int
    done: int
    signed: int


@dataclass(frozen=True, slots=True)
class WorklistPage:
    """Some of the segments, highest risk first, and how many there are."""

    rows: tuple[WorklistRow, ...]
    total: int
    progress: Progress


@dataclass(frozen=True, slots=True)
class MachineCheck:
    """The outcome of a rule on a segment: "PASS", "WARN", "FAIL", "NOTRUN"; location if one is known."""

    rule: str
    title: str
    outcome: str
    message: str = ""
    location_mm: PointMm | None = None
    severity: str = ""


@dataclass(frozen=True, slots=True)
class MachineComparison:
    """A segment against the one of another model; None = not defined."""

    model: str
    segmentation: str
    segment: int
    dice: float | None = None
    nsd: float | None = None
    hd95_mm: float | None = None
    assd_mm: float | None = None
    volume_difference_percent: float | None = None


@dataclass(frozen=True, slots=True)
class MachineView:
    """All that the machine's documents say about a segment.

    numbers : (name, value with unit) as to be shown
    checks : complaints first
    findings : about the segmentation or the case, naming this segment or the whole, as lines
    locations_mm : where the machine points to, worst first
    """

    segment: MachineSegment
    numbers: tuple[tuple[str, str], ...] = ()
    checks: tuple[MachineCheck, ...] = ()
    findings: tuple[str, ...] = ()
    comparisons: tuple[MachineComparison, ...] = ()
    locations_mm: tuple[PointMm, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """What a reader has typed about a segment.

    version : grows with each change; 0 = nothing was saved yet
    """

    task: Task
    content: SegmentReview
    status: DraftState = DraftState.OPEN
    version: int = 0


@dataclass(frozen=True, slots=True)
class SignedReview:
    """A `review` SR that is current: nobody has replaced it."""

    document: str
    series: str
    study: str
    ct_series: str
    review: Review


@dataclass(frozen=True, slots=True)
class Annotation:
    """What somebody drew in another program: a located finding of theirs.

    document, group : SOP Instance UID of the SR, and number of the Measurement Group in it
    place : the segment it lies on; None if on none
    distance_mm : from the segment, if it lies beside it; 0 = on it, or the document names the segment
    """

    document: str
    group: int
    author: str
    program: str
    finding: ReviewFinding
    study: str
    made_at: str = ""
    place: SegmentRef | None = None
    distance_mm: float = 0.0


@dataclass(frozen=True, slots=True)
class Unsigned:
    """What a reader has finished of one segmentation and not signed.

    drafts : number of further segments in which something was typed that is not finished
    """

    segmentation: str
    model: str
    study: str
    purpose: Purpose
    reading: int
    segments: tuple[SegmentReview, ...]
    labels: Mapping[int, str] = field(default_factory=dict)
    drafts: int = 0


@dataclass(frozen=True, slots=True)
class Written:
    """A document of a reader, and whether the archive has confirmed it yet; else it is on its way."""

    kind: str
    sop_instance_uid: str
    segmentation: str
    is_confirmed: bool
