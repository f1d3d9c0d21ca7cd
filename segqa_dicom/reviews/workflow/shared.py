"""What the parts of the review workflow share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from segqa_dicom.archive import Archive
from segqa_dicom.assessment.model import Reviewer
from segqa_dicom.assessment.vocabulary import Vocabulary
from segqa_dicom.config import ServiceSettings
from segqa_dicom.errors import InputError
from segqa_dicom.findings import FindingsIndex
from segqa_dicom.ledger import DraftKey, Ledger
from segqa_dicom.model import SegmentRef
from segqa_dicom.reviews.workflow.model import SignedReview
from segqa_dicom.reviews.workflow.progress_of_readers import Readings, Standing, readings_of, standings
from segqa_dicom.reviews.workflow.signed_reviews import ReviewMemory

LONGEST_LOGIN = 64


class NotYours(InputError):
    """A task that this reader does not have."""


@dataclass(frozen=True, slots=True)
class Begun:
    """Drafts of a reader that are in no document, and the current documents of that reader."""

    drafts: Mapping[DraftKey, Standing]
    reviews: Sequence[SignedReview]


@dataclass(frozen=True, slots=True)
class Shared:
    """Collaborators, and questions about one reader. Nothing here refreshes `memory`: public methods do that once.

    clock : seconds since 1970
    adjudicators : logins
    """

    ledger: Ledger
    archive: Archive
    index: FindingsIndex
    vocabulary: Vocabulary
    settings: ServiceSettings
    clock: Callable[[], float]
    memory: ReviewMemory
    adjudicators: frozenset[str]

    def sees_others(self, reviewer: Reviewer) -> bool:
        """Whether a reader may see signed reviews of others."""
        return not self.settings.blind or reviewer.login in self.adjudicators

    def repeated(self, reviewer: Reviewer) -> set[SegmentRef]:
        """Segments that are scheduled for a second reading."""
        return {SegmentRef(one.segmentation, one.segment) for one in self.ledger.repeats(reviewer.login)}

    def readings(self, reviewer: Reviewer, *, segmentation: str | None = None) -> Readings:
        """Progress of a reader, in everything or in one segmentation."""
        repeats: dict[SegmentRef, list[int]] = {}
        for one in self.ledger.repeats(reviewer.login):
            repeats.setdefault(SegmentRef(one.segmentation, one.segment), []).append(one.reading)
        begun = self.begun(reviewer, segmentation=segmentation)
        return readings_of(begun.drafts, begun.reviews, repeats)

    def begun(self, reviewer: Reviewer, *, segmentation: str | None = None) -> Begun:
        """Unsettled drafts and current documents of a reader."""
        # First the drafts: what is signed in between is then seen twice, not never.
        marks = self.ledger.draft_marks(reviewer.login, segmentation=segmentation, is_unsettled=True)
        segmentations = None if segmentation is None else [segmentation]
        reviews = self.memory.current(login=reviewer.login, segmentations=segmentations)
        return Begun(standings(marks, reviews), reviews)
