"""Which segments readers are to read again without being told."""

from __future__ import annotations

from collections.abc import Iterable

from segqa_dicom.assessment.model import Purpose
from segqa_dicom.digests import digest
from segqa_dicom.ledger import RepeatRow
from segqa_dicom.model import WHOLE, SegmentRef
from segqa_dicom.reviews.workflow.model import SignedReview


def chosen_repeats(
    reviews: Iterable[SignedReview], scheduled: Iterable[RepeatRow], share: float, seed: int
) -> list[RepeatRow]:
    """New repeats, such that of the segments that each reader has read n times `share` is read n + 1 times.

    Which ones is decided by the seed, as by lot; more signed segments do not change those that were drawn. Reviews of
    whole segmentations are not repeated.
    """
    read: dict[tuple[str, int], set[SegmentRef]] = {}
    for one in reviews:
        if one.review.purpose is not Purpose.ADJUDICATION and one.review.is_signed:
            places = read.setdefault((one.review.reviewer.login, one.review.reading), set())
            uid = one.review.segmentation
            places |= {
                SegmentRef(uid, said.segment_number) for said in one.review.segments if said.segment_number != WHOLE
            }
    there: dict[tuple[str, int], set[SegmentRef]] = {}
    for row in scheduled:
        there.setdefault((row.login, row.reading), set()).add(SegmentRef(row.segmentation, row.segment))
    found = []
    for (login, reading), places in sorted(read.items()):
        again = reading + 1
        taken = there.get((login, again), set())
        count = round(share * len(places | taken)) - len(taken)
        drawn = sorted(places - taken, key=lambda place: _lot(seed, login, again, place))
        found += [RepeatRow(login, place.segmentation, place.segment, again) for place in drawn[: max(0, count)]]
    return found


def _lot(seed: int, login: str, reading: int, place: SegmentRef) -> str:
    return digest([seed, login, reading, place.segmentation, place.segment])
