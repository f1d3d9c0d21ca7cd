"""The review workflow: worklist, drafts, signing, adjudication and repeats of readers.

No HTTP here, and no clock but the one that is passed in. All methods block, may be called from any number of threads,
and raise `InputError` for what the reader must change, `PeerError` for an archive or a ledger that does not answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from segqa_dicom.archive import Archive
from segqa_dicom.assessment.model import Purpose, Reviewer, SegmentReview
from segqa_dicom.assessment.vocabulary import Vocabulary
from segqa_dicom.config import ServiceSettings
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.findings import FindingsIndex
from segqa_dicom.ledger import DraftState, Ledger
from segqa_dicom.model import SegmentRef
from segqa_dicom.pictures import OpenCases
from segqa_dicom.reviews.statistics.agreement import Rating
from segqa_dicom.reviews.workflow.drafts import Drafts
from segqa_dicom.reviews.workflow.model import Draft, Progress, SignedReview, Task, WorklistFilters
from segqa_dicom.reviews.workflow.planning import Planning
from segqa_dicom.reviews.workflow.shared import Shared
from segqa_dicom.reviews.workflow.signatures import Signatures
from segqa_dicom.reviews.workflow.signed_reviews import ReviewMemory
from segqa_dicom.reviews.workflow.visibility import Visibility
from segqa_dicom.reviews.workflow.worklist import Worklist


@dataclass(frozen=True, slots=True)
class OpenedSegment:
    """A segment as a reader opens it, from one look at ledger and index.

    others : signed reviews of others that the reader may see
    previous, next : unfinished segments before and after it in the worklist
    """

    task: Task
    draft: Draft
    others: list[tuple[SignedReview, SegmentReview]]
    previous: Task | None
    next: Task | None
    progress: Progress


@dataclass(frozen=True, slots=True)
class Waiting:
    """Numbers of segments that wait for a reader: finished but not signed, and to be adjudicated."""

    to_sign: int
    to_adjudicate: int


class ReviewWorkflow:
    """Everything that pages and commands for readers need.

    cases : open cases, for writing documents; None where nobody signs
    clock : seconds since 1970
    folder : for files of the archive while they are read; None = the system's
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        archive: Archive,
        index: FindingsIndex,
        cases: OpenCases | None,
        vocabulary: Vocabulary,
        settings: ServiceSettings,
        clock: Callable[[], float] = time.time,
        folder: Path | None = None,
        limits: Limits | None = None,
    ) -> None:
        memory = ReviewMemory(ledger, archive, index, vocabulary, folder=folder, limits=limits)
        adjudicators = frozenset(one.strip() for one in settings.adjudicators.split(",") if one.strip())
        self._shared = Shared(ledger, archive, index, vocabulary, settings, clock, memory, adjudicators)
        self._worklist, self._drafts = Worklist(self._shared), Drafts(self._shared)
        self._visibility = Visibility(self._shared)
        signatures, planning = Signatures(self._shared, cases), Planning(self._shared)
        self.worklist, self.task_of = self._worklist.page, self._worklist.task_of
        self.next_task, self.previous_task = self._worklist.next_task, self._worklist.previous_task
        self.draft, self.save, self.reopen = self._drafts.draft, self._drafts.save, self._drafts.reopen
        self.unsigned, self.sign = signatures.unsigned, signatures.sign
        self.deliver, self.forget_deleted = signatures.deliver, signatures.forget_deleted
        self.signed, self.visible_reviews = self._visibility.signed, self._visibility.visible_reviews
        self.adjudication_tasks = self._visibility.adjudication_tasks
        self.assign, self.schedule_repeats = planning.assign, planning.schedule_repeats

    def open_segment(
        self, reviewer: Reviewer, place: SegmentRef, purpose: Purpose, filters: WorklistFilters
    ) -> OpenedSegment:
        """All that the page of a segment shows of the workflow; looks for new signed reviews once.

        purpose : adjudication, or anything else for the reading that is due
        """
        self._shared.memory.refresh()
        readings = self._shared.readings(reviewer)
        task = Task(place, purpose) if purpose is Purpose.ADJUDICATION else readings.task(place)
        draft = self._drafts.current(reviewer, task)
        before, after = self._worklist.neighbours(reviewer, filters, task, readings)
        return OpenedSegment(
            task=task,
            draft=draft,
            others=self._visibility.visible(reviewer, task),
            previous=before,
            next=after,
            progress=self._worklist.progress(reviewer, filters, readings),
        )

    def waiting(self, reviewer: Reviewer) -> Waiting:
        """What waits for a reader, by the signed reviews that are known already: for the menu of every page."""
        drafts = self._shared.begun(reviewer).drafts.values()
        finished = sum(one.status is DraftState.DONE for one in drafts)
        return Waiting(finished, len(self._visibility.adjudications(reviewer)))

    def ratings(self) -> list[Rating]:
        """Signed and imported ratings of all readers, for statistics; without adjudications."""
        from segqa_dicom.reviews.statistics.ratings import all_ratings

        self._shared.memory.refresh()
        return all_ratings(
            self._shared.memory.current(), self._shared.ledger.imported(is_waiting=True), self._shared.index
        )
