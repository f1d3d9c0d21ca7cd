"""How far readers are: drafts of the ledger and what is signed, put together.

What is signed wins over a draft that is older than it and does not know of it: such a draft comes from a backup of the
ledger. A draft that says it is signed, in a document that is gone, is finished and in no document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from segqa_dicom.assessment.model import Purpose, SegmentReview
from segqa_dicom.ledger import DraftKey, DraftMark, DraftState
from segqa_dicom.model import SegmentRef
from segqa_dicom.reviews.workflow.model import SignedReview, Task
from segqa_dicom.reviews.workflow.signed_reviews import key_of
from segqa_dicom.reviews.workflow.timestamps import seconds_of

_PLACES: dict[str, tuple[SegmentRef, ...]] = {}
_MOST_PLACES = 5000
"""Documents of which it is kept."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a reader is with a segment.

    mark : of the draft, if there is one in the ledger
    review : the current document of that reading, if there is one
    signed : what that says about the segment; None if nothing
    """

    status: DraftState
    mark: DraftMark | None = None
    review: SignedReview | None = None
    signed: SegmentReview | None = None

    @property
    def version(self) -> int:
        """Of the draft."""
        return self.mark.version if self.mark else 0

    @property
    def document(self) -> str:
        """SOP Instance UID of the current document."""
        return self.review.document if self.review else ""

    @property
    def is_of_document(self) -> bool:
        """Whether what counts is what the document says, not the draft."""
        return self.status is DraftState.SIGNED or (self.mark is None and self.signed is not None)


def standing(mark: DraftMark | None, review: SignedReview | None, segment: int) -> Standing:
    """How far a reader is with one segment, by the draft and by the current document of the reading."""
    said = None if review is None else segments_of(review).get(segment)
    if mark is None:
        return Standing(DraftState.OPEN if said is None else DraftState.SIGNED, None, review, said)
    if said is not None and review is not None and _is_outdated(mark, review):
        return Standing(DraftState.SIGNED, mark, review, said)
    if mark.state is DraftState.SIGNED and said is None:
        # Taken back by the document that it is in, or in one that is gone.
        is_taken_back = review is not None and mark.document == review.document
        return Standing(DraftState.OPEN if is_taken_back else DraftState.DONE, mark, review)
    return Standing(mark.state, mark, review, said)


def standings(marks: Iterable[DraftMark], reviews: Iterable[SignedReview]) -> dict[DraftKey, Standing]:
    """How far readers are with what they have begun.

    reviews : all current ones of these readers
    """
    current = {key_of(one.review): one for one in reviews}
    return {mark.key: standing(mark, current.get(mark.key.reading), mark.key.segment) for mark in marks}


def segments_of(review: SignedReview) -> Mapping[int, SegmentReview]:
    """What a document says, by Segment Number."""
    return {one.segment_number: one for one in review.review.segments}


def _is_outdated(mark: DraftMark, review: SignedReview) -> bool:
    return mark.document != review.document and seconds_of(review.review.made_at) > mark.updated_at


@dataclass(frozen=True, slots=True)
class Readings:
    """How far one reader is with everything, hidden repeats taken for what they are shown as.

    tasks : what there is to do about segments that are to be read again
    statuses : of all that was begun or is to be read again; everything else is open
    """

    tasks: Mapping[SegmentRef, Task]
    statuses: Mapping[SegmentRef, DraftState]

    def task(self, place: SegmentRef) -> Task:
        """What there is to do about a segment."""
        return self.tasks.get(place, Task(place))

    def status(self, place: SegmentRef) -> DraftState:
        """How far that is."""
        return self.statuses.get(place, DraftState.OPEN)

    def places(self, *statuses: DraftState) -> set[SegmentRef]:
        """Segments with one of these statuses; not `DraftState.OPEN`, which all others have."""
        return {place for place, status in self.statuses.items() if status in statuses}


def readings_of(
    found: Mapping[DraftKey, Standing],
    reviews: Iterable[SignedReview],
    repeats: Mapping[SegmentRef, Sequence[int]],
) -> Readings:
    """How far a reader is.

    found : with what is begun
    reviews : all current ones of this reader
    repeats : numbers of the readings that are scheduled, by segment, in ascending order
    """
    statuses: dict[SegmentRef, DraftState] = {}
    again: dict[tuple[int, SegmentRef], DraftState] = {}
    for review in reviews:
        if review.review.purpose is Purpose.READING:
            statuses.update(dict.fromkeys(places_of(review), DraftState.SIGNED))
        elif review.review.purpose is Purpose.REPEAT:
            again |= {(review.review.reading, place): DraftState.SIGNED for place in places_of(review)}
    for key, one in found.items():
        place = SegmentRef(key.reading.segmentation, key.segment)
        if key.reading.purpose == Purpose.READING:
            statuses[place] = one.status
        elif key.reading.purpose == Purpose.REPEAT:
            again[key.reading.reading, place] = one.status
    tasks: dict[SegmentRef, Task] = {}
    for place, numbers in repeats.items():
        for number in numbers:
            statuses[place] = again.get((number, place), DraftState.OPEN)
            tasks[place] = Task(place, Purpose.REPEAT, number)
            if statuses[place] is not DraftState.SIGNED:
                break
    return Readings(tasks, statuses)


def places_of(review: SignedReview) -> tuple[SegmentRef, ...]:
    """What a document is about; found out once for each, because documents do not change."""
    found = _PLACES.get(review.document)
    if found is None:
        if len(_PLACES) >= _MOST_PLACES:
            _PLACES.clear()
        content = review.review
        found = tuple(SegmentRef(content.segmentation, one.segment_number) for one in content.segments)
        _PLACES[review.document] = found
    return found
