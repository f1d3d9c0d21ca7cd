"""Signed reviews and imported ratings as numbers for statistics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from segqa_dicom.assessment.model import Purpose
from segqa_dicom.findings import FindingsIndex
from segqa_dicom.findings.schema import json_list
from segqa_dicom.ledger import ImportedRow
from segqa_dicom.model import WHOLE, SegmentRef
from segqa_dicom.reviews.statistics.agreement import Rating
from segqa_dicom.reviews.workflow.model import SignedReview


def all_ratings(reviews: Iterable[SignedReview], imported: Iterable[ImportedRow], index: FindingsIndex) -> list[Rating]:
    """One for each segment that a reader has rated, and those that were imported and are in no document.

    Adjudications and preliminary reviews do not count. Subjects are ``SEG/segment``; segments of one CT belong
    together.
    """
    counted = [one for one in reviews if one.review.purpose is not Purpose.ADJUDICATION and one.review.is_signed]
    places = {
        SegmentRef(one.review.segmentation, said.segment_number)
        for one in counted
        for said in one.review.segments
        if said.rating
    }
    structures = _structures(index, [place for place in places if place.segment != WHOLE])
    found = [
        Rating(
            reader=one.review.reviewer.login,
            subject=f"{one.review.segmentation}/{said.segment_number}",
            structure=structures.get(
                SegmentRef(one.review.segmentation, said.segment_number), _unnamed(said.segment_number)
            ),
            rating=int(said.rating) if said.rating.isdecimal() else None,
            reading=one.review.reading,
            source=one.document,
            cluster=one.ct_series,
        )
        for one in counted
        for said in one.review.segments
        if said.rating
    ]
    return found + [_imported(row) for row in imported]


def _structures(index: FindingsIndex, places: Sequence[SegmentRef]) -> dict[SegmentRef, str]:
    """Canonical names, else labels; only of segments that the machine has reported on."""
    wanted = json_list(sorted({place.segmentation for place in places}))
    rows = index.rows(
        "SELECT seg.value, g.segment, structure.name, structure.label FROM json_each(?) AS wanted"
        " CROSS JOIN text seg ON seg.value = wanted.value CROSS JOIN measurement_group g ON g.segmentation = seg.id"
        " CROSS JOIN document ON document.id = g.document CROSS JOIN structure ON structure.id = g.structure"
        " WHERE document.kind = 'report' AND document.is_own AND g.segment > 0 ORDER BY document.id",
        (wanted,),
    )
    return {SegmentRef(row[0], row[1]): row[2] or row[3] for row in rows}


def _unnamed(segment: int) -> str:
    return "" if segment == WHOLE else f"Segment {segment}"


def _imported(row: ImportedRow) -> Rating:
    values = row.content
    rating = str(values["rating"])
    return Rating(
        reader=row.login,
        subject=row.subject,
        structure="",
        rating=int(rating) if rating.isdecimal() else None,
        reading=int(values["reading"]),
        source=str(values["source"]),
        cluster=str(values["cluster"]),
    )
