"""What a person says about segments, as data: written to SR, shown on pages, compared with what others say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from segqa_dicom.model import PointMm


class Purpose(StrEnum):
    """Why somebody reviews."""

    READING = "reading"
    REPEAT = "repeat"
    """The same reader again, without being told what they said the first time."""
    ADJUDICATION = "adjudication"
    """Somebody decides between readers."""


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Who reviews.

    login : tells one reader from all others; never changes
    name : person name as DICOM writes it (``Doe^Jane``)
    """

    login: str
    name: str
    organization: str = ""


@dataclass(frozen=True, slots=True)
class Location:
    """Where in the patient something is, in LPS mm.

    point_mm : the point, or the centre of the box
    box_mm : lowest and highest corner along x, y and z; a box drawn in a plane has no extent across it
    """

    point_mm: PointMm
    box_mm: tuple[PointMm, PointMm] | None = None


@dataclass(frozen=True, slots=True)
class ReviewFinding:
    """One complaint of a reader about a segment.

    type, severity : ids of words of the vocabulary
    location : None = not located
    """

    type: str
    severity: str = ""
    location: Location | None = None
    comment: str = ""


@dataclass(frozen=True, slots=True)
class SegmentReview:
    """What a reader says about one segment.

    segment_number : `WHOLE` = the segmentation as a whole
    rating, action, confidence : ids of words of the vocabulary; empty = not said
    seconds : time spent on it
    """

    segment_number: int
    rating: str = ""
    findings: tuple[ReviewFinding, ...] = ()
    action: str = ""
    confidence: str = ""
    comment: str = ""
    seconds: float = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether nothing is said."""
        return not (self.rating or self.findings or self.action or self.confidence or self.comment.strip())


@dataclass(frozen=True, slots=True)
class Review:
    """What one reader says about one segmentation in one reading: the content of one `review` SR.

    segmentation : SOP Instance UID
    reading : 1, and higher for repeats
    segments : by segment number, none twice
    made_at : date and time as DICOM writes them, with the offset from UTC: ``20261121203015+0000``
    is_signed : the reader stands for it; else it is preliminary
    vocabulary_version : of the words that were offered
    """

    segmentation: str
    reviewer: Reviewer
    segments: tuple[SegmentReview, ...]
    made_at: str
    purpose: Purpose = Purpose.READING
    reading: int = 1
    is_signed: bool = True
    vocabulary_version: str = ""

    def __post_init__(self) -> None:
        numbers = [one.segment_number for one in self.segments]
        if sorted(set(numbers)) != numbers:
            raise ValueError("a review says something about a segment once, in the order of their numbers")
