"""Signed reviews, and what a reader may see of those of others; adjudication."""

from __future__ import annotations

from segqa_dicom.assessment.model import Purpose, Reviewer, SegmentReview
from segqa_dicom.model import SegmentRef
from segqa_dicom.reviews.workflow.differences import differs
from segqa_dicom.reviews.workflow.model import SignedReview, Task
from segqa_dicom.reviews.workflow.progress_of_readers import segments_of
from segqa_dicom.reviews.workflow.shared import Shared


class Visibility:
    """Signed reviews as readers may see them."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._differing: tuple[frozenset[str], list[SegmentRef]] | None = None

    def signed(self, place: SegmentRef | str | None = None) -> list[SignedReview]:
        """All current reviews: of a segmentation, of one segment, or (None) of everything."""
        self._shared.memory.refresh()
        return self._signed(place)

    def _signed(self, place: SegmentRef | str | None) -> list[SignedReview]:
        if place is None:
            return self._shared.memory.current()
        uid = place if isinstance(place, str) else place.segmentation
        found = self._shared.memory.current(segmentations=[uid])
        if isinstance(place, str):
            return found
        return [one for one in found if place.segment in segments_of(one)]

    def visible_reviews(self, reviewer: Reviewer, place: SegmentRef | Task) -> list[tuple[SignedReview, SegmentReview]]:
        """What others have signed about a segment, as far as this reader may see it now.

        Nothing while reading is blind; but adjudicators see all first readings of what they are to decide about. Who
        reads again sees nothing in any case.
        """
        self._shared.memory.refresh()
        return self.visible(reviewer, place)

    def visible(self, reviewer: Reviewer, place: SegmentRef | Task) -> list[tuple[SignedReview, SegmentReview]]:
        """The same, of the signed reviews that are known already."""
        task = place if isinstance(place, Task) else None
        where = place.place if isinstance(place, Task) else place
        is_deciding = reviewer.login in self._shared.adjudicators and (
            task is None or task.purpose is Purpose.ADJUDICATION
        )
        if task is None and is_deciding:
            is_deciding = any(one.place == where for one in self._differences())
        if not is_deciding and (self._shared.settings.blind or where in self._shared.repeated(reviewer)):
            return []
        found = [
            (one, segments_of(one)[where.segment])
            for one in self._signed(where)
            if one.review.purpose is not Purpose.REPEAT
        ]
        if is_deciding:
            return [pair for pair in found if pair[0].review.purpose is Purpose.READING]
        return [pair for pair in found if pair[0].review.reviewer.login != reviewer.login]

    def adjudication_tasks(self, reviewer: Reviewer) -> list[Task]:
        """Segments where readers differ and nobody has decided yet, those where they differ most first.

        Empty for who is no adjudicator.
        """
        self._shared.memory.refresh()
        return self.adjudications(reviewer)

    def adjudications(self, reviewer: Reviewer) -> list[Task]:
        """The same, of the signed reviews that are known already."""
        return self._differences() if reviewer.login in self._shared.adjudicators else []

    def _differences(self) -> list[Task]:
        reviews = self._shared.memory.current()
        documents = frozenset(one.document for one in reviews)
        known = self._differing
        if known is None or known[0] != documents:  # documents do not change
            known = documents, differs(reviews, self._shared.vocabulary)
            self._differing = known
        return [Task(place, Purpose.ADJUDICATION) for place in known[1]]
