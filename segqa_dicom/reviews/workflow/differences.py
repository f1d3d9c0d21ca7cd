"""Where readers differ so much that somebody should decide."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

from segqa_dicom.assessment.model import Purpose, SegmentReview
from segqa_dicom.assessment.vocabulary import Vocabulary
from segqa_dicom.model import SegmentRef
from segqa_dicom.reviews.workflow.model import SignedReview

_STEPS = 1
"""Ratings that are further apart differ."""
_OUTRIGHT = 10
"""As much as no difference between ratings can be."""
_ACCEPT = "accept"


def places_reviewed(reviews: Iterable[SignedReview]) -> set[SegmentRef]:
    """All that something is said about; repeats do not count, because nobody is to see that there are any."""
    return {
        SegmentRef(one.review.segmentation, said.segment_number)
        for one in reviews
        if one.review.purpose is not Purpose.REPEAT
        for said in one.review.segments
    }


def differs(reviews: Iterable[SignedReview], vocabulary: Vocabulary) -> list[SegmentRef]:
    """Segments where first readings differ and nobody has decided, those first where they differ most.

    They differ if ratings are more than one step apart or only one reader could assess the segment, if only one
    accepts it, or if they name different kinds of errors. Preliminary reviews do not count.
    """
    said: dict[SegmentRef, dict[str, SegmentReview]] = {}
    decided: set[SegmentRef] = set()
    for review in reviews:
        content = review.review
        for one in content.segments:
            place = SegmentRef(content.segmentation, one.segment_number)
            if content.purpose is Purpose.ADJUDICATION and content.is_signed:
                decided.add(place)
            elif content.purpose is Purpose.READING and content.is_signed:
                said.setdefault(place, {})[content.reviewer.login] = one
    found = []
    for place, by_reader in said.items():
        if place not in decided and (size := _difference(list(by_reader.values()), vocabulary)):
            found.append((-size, place))
    return [place for _, place in sorted(found)]


def _difference(said: Sequence[SegmentReview], vocabulary: Vocabulary) -> int:
    """The largest one between any two; 0 = none that matters."""
    return max((_between(one, other, vocabulary) for one, other in combinations(said, 2)), default=0)


def _between(one: SegmentReview, other: SegmentReview, vocabulary: Vocabulary) -> int:
    size = 0
    if one.rating and other.rating and one.rating != other.rating:
        steps = _steps(one.rating, other.rating)
        size = _OUTRIGHT if steps is None else steps * (steps > _STEPS)
    if one.action and other.action and (one.action == _ACCEPT) != (other.action == _ACCEPT):
        size = max(size, _STEPS)
    if _errors(one, vocabulary) != _errors(other, vocabulary):
        size = max(size, _STEPS)
    return size


def _steps(one: str, other: str) -> int | None:
    """None if one of them is no grade."""
    return abs(int(one) - int(other)) if one.isdecimal() and other.isdecimal() else None


def _errors(said: SegmentReview, vocabulary: Vocabulary) -> set[str]:
    known = vocabulary.findings
    return {one.type for one in said.findings if one.type not in known or known[one.type].is_error}
