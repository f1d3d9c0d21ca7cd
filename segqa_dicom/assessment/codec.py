"""What readers say as JSON, to and fro, and whether it may be kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from segqa_dicom.assessment.model import Location, Purpose, Review, Reviewer, ReviewFinding, SegmentReview
from segqa_dicom.assessment.vocabulary import Vocabulary
from segqa_dicom.errors import Inconsistent
from segqa_dicom.model import PointMm

MOST_FINDINGS = 100
"""Of one reader about one segment."""
LONGEST_COMMENT = 2000
"""Characters; documents keep no more."""
_FARTHEST_MM = 100_000.0


def content_as_json(content: SegmentReview) -> dict[str, Any]:
    """A draft as it is kept and sent: ids of words, LPS mm."""
    return {
        "segment_number": content.segment_number,
        "rating": content.rating,
        "findings": [
            {
                "type": one.type,
                "severity": one.severity,
                "comment": one.comment,
                "point_mm": list(one.location.point_mm) if one.location else None,
                "box_mm": [list(corner) for corner in one.location.box_mm]
                if one.location and one.location.box_mm
                else None,
            }
            for one in content.findings
        ],
        "action": content.action,
        "confidence": content.confidence,
        "comment": content.comment,
        "seconds": round(content.seconds, 1),
    }


def content_from_json(values: Mapping[str, Any]) -> SegmentReview:
    """What `content_as_json` made of it; raises `Inconsistent` for anything else."""
    try:
        return SegmentReview(
            segment_number=int(values["segment_number"]),
            rating=str(values.get("rating", "")),
            findings=tuple(_finding(one) for one in values.get("findings", ())),
            action=str(values.get("action", "")),
            confidence=str(values.get("confidence", "")),
            comment=str(values.get("comment", "")),
            seconds=float(values.get("seconds", 0.0)),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise Inconsistent(f"what is said about a segment has another form ({type(error).__name__})") from error


def _finding(values: Mapping[str, Any]) -> ReviewFinding:
    point, box = values.get("point_mm"), values.get("box_mm")
    location = None
    if point is not None:
        location = Location(_point(point), None if box is None else (_point(box[0]), _point(box[1])))
    return ReviewFinding(
        type=str(values["type"]),
        severity=str(values.get("severity", "")),
        location=location,
        comment=str(values.get("comment", "")),
    )


def _point(values: Sequence[Any]) -> PointMm:
    x, y, z = (float(one) for one in values)
    return x, y, z


def review_as_json(review: Review) -> dict[str, Any]:
    """A whole review, as the ledger remembers it."""
    return {
        "segmentation": review.segmentation,
        "login": review.reviewer.login,
        "name": review.reviewer.name,
        "organization": review.reviewer.organization,
        "segments": [content_as_json(one) for one in review.segments],
        "made_at": review.made_at,
        "purpose": review.purpose.value,
        "reading": review.reading,
        "is_signed": review.is_signed,
        "vocabulary_version": review.vocabulary_version,
    }


def review_from_json(values: Mapping[str, Any]) -> Review:
    """What `review_as_json` made of it."""
    return Review(
        segmentation=values["segmentation"],
        reviewer=Reviewer(values["login"], values["name"], values["organization"]),
        segments=tuple(content_from_json(one) for one in values["segments"]),
        made_at=values["made_at"],
        purpose=Purpose(values["purpose"]),
        reading=values["reading"],
        is_signed=values["is_signed"],
        vocabulary_version=values["vocabulary_version"],
    )


def check_content(content: SegmentReview, vocabulary: Vocabulary) -> None:
    """Raise `Inconsistent`, saying what is wrong, for what cannot be written to a document as it is."""
    for what, word, words in (
        ("rating", content.rating, vocabulary.ratings),
        ("action", content.action, vocabulary.actions),
        ("confidence", content.confidence, vocabulary.confidences),
    ):
        if word and word not in words:
            raise Inconsistent(f"the vocabulary has no {what} {word[:20]!r}; it has {', '.join(words)}")
    if len(content.findings) > MOST_FINDINGS:
        raise Inconsistent(f"more than {MOST_FINDINGS} findings about one segment")
    if not math.isfinite(content.seconds) or content.seconds < 0:
        raise Inconsistent("the time spent is no number of seconds")
    _check_comment(content.comment)
    for one in content.findings:
        _check_finding(one, vocabulary)


def _check_finding(finding: ReviewFinding, vocabulary: Vocabulary) -> None:
    if finding.type not in vocabulary.findings:
        raise Inconsistent(f"the vocabulary has no finding {finding.type[:20]!r}")
    if finding.severity and finding.severity not in vocabulary.severities:
        raise Inconsistent(f"the vocabulary has no severity {finding.severity[:20]!r}")
    _check_comment(finding.comment)
    if finding.location is not None:
        corners = finding.location.box_mm or ()
        numbers = [number for point in (finding.location.point_mm, *corners) for number in point]
        if not all(math.isfinite(number) and abs(number) < _FARTHEST_MM for number in numbers):
            raise Inconsistent("a location is no point in a patient")


def _check_comment(text: str) -> None:
    if len(text) > LONGEST_COMMENT:
        raise Inconsistent(f"a comment has {len(text)} characters; documents keep {LONGEST_COMMENT}")
