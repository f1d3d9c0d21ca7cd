"""What readers say: our `review` documents read back, and what people drew in other programs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from segqa_dicom.checks.vocabulary import Vocabulary, default_vocabulary
from segqa_dicom.findings.content import SEG_CLASSES, Document, Item
from segqa_dicom.model import Code, PointMm
from segqa_dicom.report.review import WHOLE, Location, Purpose, Review, Reviewer, ReviewFinding, SegmentReview
from segqa_dicom.sr import codes

KIND = "review"
_NUMBER = r"[-+]?[0-9]{1,17}(?:\.[0-9]{1,24})?(?:e[-+]?[0-9]{1,3})?"
_POINT = rf"\(({_NUMBER}), ({_NUMBER}), ({_NUMBER})\)"
_LOCATION = re.compile(rf"{_POINT}(?: box {_POINT} to {_POINT})?\Z")
_TIME = re.compile(rf"([0-9]{{1,5}}): ({_NUMBER}) s")
_WHOLE_NUMBER = re.compile(r"[0-9]{1,6}\Z")
_PURPOSES = {code: purpose for purpose, code in codes.PURPOSES.items()}


# ---------------------------------------------------------------------------------------------------- our reviews


def read_review(document: Document, vocabulary: Vocabulary) -> Review | None:
    """The review that a `review` document of ours was written from; None for any other document.

    What `segqa_dicom.sr.review.as_written` leaves of a review comes back as it is. Codes become words of `vocabulary`,
    or of the one that comes with segqa; a code that neither has stays as it is: what a reader has said is never lost.
    """
    if not (document.is_own and document.kind == KIND):
        return None
    segmentation = _segmentation(document)
    if not segmentation:
        return None
    top = [item for item in document.items if item.depth == 1]
    return Review(
        segmentation=segmentation,
        reviewer=Reviewer(
            login=_text(top, codes.PERSON_LOGIN) or _text(top, codes.PERSON_NAME),
            name=_text(top, codes.PERSON_NAME),
            organization=_text(top, codes.PERSON_ORGANIZATION),
        ),
        segments=_segments(document, _Words(vocabulary), _times(top)),
        made_at=_text(top, codes.REVIEWED_AT) or f"{document.content_date}{document.content_time}",
        purpose=_PURPOSES.get(_code(top, codes.PURPOSE) or codes.PURPOSE, Purpose.READING),
        reading=_reading(_text(top, codes.READING_NUMBER)),
        is_signed=document.verification == "VERIFIED",
        vocabulary_version=_text(top, codes.VOCABULARY_VERSION),
    )


def reviewed_report(document: Document) -> str:
    """SOP Instance UID of the report of the machine that the reader had beside the images; empty if none."""
    return next(iter(_referenced(document, codes.REVIEWED_REPORT)), "")


def considered_reviews(document: Document) -> tuple[str, ...]:
    """SOP Instance UIDs of the reviews that an adjudication decided about."""
    return tuple(_referenced(document, codes.CONSIDERED_REVIEW))


def _referenced(document: Document, name: Code) -> Iterator[str]:
    for item in document.items:
        if item.depth == 1 and item.name == name and item.reference is not None:
            yield item.reference.sop_instance_uid


class _Words:
    """Ids of words by their codes."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabularies = (vocabulary, default_vocabulary())

    def id(self, section: str, code: Code | None) -> str:
        if code is None:
            return ""
        if code.scheme == codes.SCHEME:
            for vocabulary in self._vocabularies:
                for term in vocabulary.section(section).values():
                    if term.code == code.value:
                        return term.id
        return code.value


def _segmentation(document: Document) -> str:
    named = next((group.segmentation for group in document.groups if group.segmentation), "")
    listed = (one.sop_instance_uid for one in document.references if one.sop_class_uid in SEG_CLASSES)
    return named or next(listed, "")


def _segments(document: Document, words: _Words, times: Mapping[int, float]) -> tuple[SegmentReview, ...]:
    numbers = {group.number: group.segment for group in document.groups}
    said: dict[int, list[Item]] = {}
    for item in document.items:
        if item.group and numbers.get(item.group):
            said.setdefault(numbers[item.group], []).append(item)
        elif not item.group and codes.QUALITATIVE_EVALUATIONS in item.path[1:2]:
            said.setdefault(WHOLE, []).append(item)
    return tuple(_segment(number, said[number], words, times.get(number, 0.0)) for number in sorted(said))


def _segment(number: int, members: Sequence[Item], words: _Words, seconds: float) -> SegmentReview:
    """From the items of a group, its container and what is below it in the order of the document."""
    depth = members[0].depth + (members[0].value_type == "CONTAINER")
    direct = [item for item in members if item.depth == depth]
    return SegmentReview(
        segment_number=number,
        rating=words.id("ratings", _code(direct, codes.RATING)),
        findings=tuple(_findings(members, depth, words)),
        action=words.id("actions", _code(direct, codes.ACTION)),
        confidence=words.id("confidences", _code(direct, codes.CONFIDENCE)),
        comment=_text(direct, codes.COMMENT),
        seconds=seconds,
    )


def _findings(members: Sequence[Item], depth: int, words: _Words) -> Iterator[ReviewFinding]:
    for at, item in enumerate(members):
        if item.depth != depth or item.name != codes.SEGMENTATION_FINDING or item.code is None:
            continue
        below = []
        for other in members[at + 1 :]:
            if other.depth <= depth:
                break
            below.append(other)
        yield ReviewFinding(
            type=words.id("findings", item.code),
            severity=words.id("severities", _code(below, codes.SEVERITY)),
            location=_location(_text(below, codes.LOCATION)),
            comment=_text(below, codes.COMMENT),
        )


def _location(text: str) -> Location | None:
    found = _LOCATION.match(text)
    if found is None:
        return None
    point, *corners = (_point(found.groups()[at : at + 3]) for at in range(0, 9 if found[4] else 3, 3))
    return Location(point, (corners[0], corners[1]) if corners else None)


def _point(numbers: Sequence[str]) -> PointMm:
    x, y, z = (float(number) for number in numbers)
    return x, y, z


def _times(top: Iterable[Item]) -> dict[int, float]:
    lines = [item.text for item in top if item.name == codes.TIME_SPENT]
    return {int(number): float(seconds) for line in lines for number, seconds in _TIME.findall(line)}


def _reading(text: str) -> int:
    return int(text) if _WHOLE_NUMBER.match(text) else 1


def _text(items: Iterable[Item], name: Code) -> str:
    return next((item.text.replace("\r\n", "\n") for item in items if item.name == name and item.text), "")


def _code(items: Iterable[Item], name: Code) -> Code | None:
    return next((item.code for item in items if item.name == name and item.code is not None), None)
