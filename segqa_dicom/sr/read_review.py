"""What readers say: our `review` documents read back, and what people drew in other programs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from segqa_dicom.assessment.model import Location, Purpose, Review, Reviewer, ReviewFinding, SegmentReview
from segqa_dicom.assessment.vocabulary import Vocabulary, default_vocabulary
from segqa_dicom.dicom.sop_classes import SEG_CLASSES
from segqa_dicom.model import WHOLE, Code
from segqa_dicom.sr import codes
from segqa_dicom.sr.content import Document, Group, Item
from segqa_dicom.sr.cornerstone import parsed_identifier
from segqa_dicom.sr.kinds import Kind
from segqa_dicom.sr.outcomes import below, point_of

_MARKER_KINDS = (Kind.KEYIMG.value, Kind.REVIEW_KEYIMG.value)
_FREE_TEXT = frozenset(("CORNERSTONEFREETEXT", "CS3DTEXT"))
"""Code values under which OHIF (dcmjs) writes what a person has typed; their scheme has changed several times."""
_NOBODY = frozenset(("", "unknown^unknown", "unknown", "anonymous"))
"""What programs write if they do not know the person, in small letters."""
_NEAR_PIXELS = 1.5
_PURPOSES = {code: purpose for purpose, code in codes.PURPOSES.items()}


# ---------------------------------------------------------------------------------------------------- our reviews


def read_review(document: Document, vocabulary: Vocabulary) -> Review | None:
    """The review that a `review` document of ours was written from; None for any other document.

    What `sr.write.review.as_written` leaves of a review comes back as it is. Codes become words of `vocabulary`,
    or of the one that comes with segqa; a code that neither has stays as it is: what a reader has said is never lost.
    """
    if not (document.is_own and document.kind == Kind.REVIEW.value):
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
        segments=_segments(document, _Words(vocabulary), _times(document.items)),
        made_at=_text(top, codes.REVIEWED_AT) or f"{document.content_date}{document.content_time}",
        purpose=_PURPOSES.get(_code(top, codes.PURPOSE) or codes.PURPOSE, Purpose.READING),
        reading=_reading(_number(top, codes.READING_NUMBER)),
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
        properties = list(below(members, at))
        yield ReviewFinding(
            type=words.id("findings", item.code),
            severity=words.id("severities", _code(properties, codes.SEVERITY)),
            location=_location(properties),
            comment=_text(properties, codes.COMMENT),
        )


def _location(properties: Sequence[Item]) -> Location | None:
    point, low, high = (
        point_of(properties, names) for names in (codes.LOCATION, codes.LOWEST_CORNER, codes.HIGHEST_CORNER)
    )
    if point is None:
        return None
    return Location(point, None if low is None or high is None else (low, high))


def _times(items: Sequence[Item]) -> dict[int, float]:
    """Seconds by Segment Number."""
    found = {}
    for at, item in enumerate(items):
        if item.name == codes.SEGMENT_TIME and item.number is not None:
            about = next((one.reference for one in below(items, at) if one.reference is not None), None)
            found[about.segments[0] if about and about.segments else WHOLE] = item.number
    return found


def _reading(number: float | None) -> int:
    return int(number) if number is not None and number >= 1 else 1


def _number(items: Iterable[Item], name: Code) -> float | None:
    return next((item.number for item in items if item.name == name and item.number is not None), None)


def _text(items: Iterable[Item], name: Code) -> str:
    return next((item.text.replace("\r\n", "\n") for item in items if item.name == name and item.text), "")


def _code(items: Iterable[Item], name: Code) -> Code | None:
    return next((item.code for item in items if item.name == name and item.code is not None), None)


# --------------------------------------------------------------------------------------- annotations of other programs


@dataclass(frozen=True, slots=True)
class RawAnnotation:
    """What somebody drew, or said of a segment, in another program, as it stands in its document.

    document, group : SOP Instance UID, and number of the Measurement Group in it
    author : name of the person as DICOM writes it; empty if it is not known
    program, tool : what wrote the document, and with what it was drawn (``ArrowAnnotate``); may be empty
    text : what the person wrote; may be empty
    label : what it is said to be about, or what was measured; may be empty
    made_at : date and time of the document as DICOM writes them
    graphic_type : POINT, MULTIPOINT, POLYLINE, CIRCLE, ELLIPSE, POLYGON, ELLIPSOID; empty if nothing was drawn, and
        `segmentation` says what it is about
    points : (column, row) in image coordinates, where the first pixel's centre is (0.5, 0.5); of something in space
        (x, y, z) in LPS mm. Of an arrow the tip comes first
    image, frame : SOP Instance UID of the image that it was drawn on, and number of its frame; in space the
        image is empty, and frame_of_reference_uid says which space
    segmentation, segment : SOP Instance UID and Segment Number that the group names; empty and 0 if it names none
    is_copy : it is one of our own markers, loaded in a viewer and stored again
    """

    document: str
    group: int
    study: str
    author: str
    program: str
    tool: str
    text: str
    label: str
    made_at: str
    graphic_type: str = ""
    points: tuple[tuple[float, ...], ...] = ()
    image: str = ""
    frame: int | None = None
    frame_of_reference_uid: str = ""
    tracking_identifier: str = ""
    tracking_uid: str = ""
    segmentation: str = ""
    segment: int = 0
    is_copy: bool = False

    @property
    def is_in_space(self) -> bool:
        """Whether `points` are LPS mm."""
        return bool(self.points) and len(self.points[0]) == 3


def read_annotations(document: Document, markers: Iterable[RawAnnotation] = ()) -> list[RawAnnotation]:
    """What persons drew, or wrote about segments, in a document of another program; none of a document of ours.

    markers : our own (`own_markers`) on the same study. OHIF stores a marker of ours under a new UID, beside what
        a person drew; it is known for a copy by its text and place alone. One that somebody has moved, or written
        something else to, is theirs.

    Documents that name devices as their only observers are left out: what a program measured is no finding of a person.
    """
    if document.is_own or _is_of_device(document):
        return []
    known = list(markers)
    return [replace(one, is_copy=_is_copy(one, known)) for one in _annotations(document) if one.points or one.text]


def own_markers(document: Document) -> list[RawAnnotation]:
    """The markers of a document of ours, of the machine or of a reader; none of any other."""
    if not (document.is_own and document.kind in _MARKER_KINDS):
        return []
    return [one for one in _annotations(document) if one.points]


def _is_of_device(document: Document) -> bool:
    kinds = {kind for kind, _ in document.observers}
    return kinds == {"device"}


def _annotations(document: Document) -> Iterator[RawAnnotation]:
    members: dict[int, list[Item]] = {group.number: [] for group in document.groups}
    for item in document.items:
        if item.group:
            members[item.group].append(item)
    author = _author(document)
    for group in document.groups:
        found = _annotation(document, group, members[group.number], author)
        if found.graphic_type or found.segmentation:
            yield found


def _annotation(document: Document, group: Group, members: Sequence[Item], author: str) -> RawAnnotation:
    direct = [item for item in members if item.depth == members[0].depth + 1]
    cornerstone = parsed_identifier(group.tracking_identifier)
    drawn = RawAnnotation(
        document=document.sop_instance_uid,
        group=group.number,
        study=document.study_instance_uid,
        author=author,
        program="OHIF" if cornerstone else document.model or document.manufacturer,
        tool=cornerstone.tool if cornerstone else "",
        text=_written(direct),
        label=_label(direct, group, is_cornerstone=cornerstone is not None),
        made_at=f"{document.content_date}{document.content_time}",
        tracking_identifier=group.tracking_identifier,
        tracking_uid=group.tracking_uid,
        segmentation=group.segmentation,
        segment=group.segment,
    )
    at = next((at for at, item in enumerate(members) if item.graphic is not None and item.graphic.data), None)
    return drawn if at is None else _located(drawn, members, at)


def _located(drawn: RawAnnotation, members: Sequence[Item], at: int) -> RawAnnotation:
    """With the first graphic of the group, and the image that it was selected from."""
    item, graphic = members[at], members[at].graphic
    if graphic is None:
        return drawn
    size = 3 if item.value_type == "SCOORD3D" else 2
    data = graphic.data[: len(graphic.data) - len(graphic.data) % size]
    points = tuple(data[start : start + size] for start in range(0, len(data), size))
    image, frame = "", None
    for other in members[at + 1 :]:
        if other.depth <= item.depth:
            break
        if other.value_type == "IMAGE" and other.reference is not None:
            image, frame = other.reference.sop_instance_uid, next(iter(other.reference.frames), None)
            break
    return replace(
        drawn,
        graphic_type=graphic.type,
        points=points,
        image=image if size == 2 else "",
        frame=frame if size == 2 else None,
        frame_of_reference_uid=graphic.frame_of_reference_uid,
    )


def _author(document: Document) -> str:
    persons = (name for kind, name in document.observers if kind == "person")
    return next((name for name in persons if name.casefold() not in _NOBODY), "")


def _written(direct: Iterable[Item]) -> str:
    """What a person typed: a comment, or the meaning of a code that stands for free text."""
    texts = [item.text for item in direct if item.name == codes.COMMENT and item.text]
    texts += [item.code.meaning for item in direct if item.code is not None and item.code.value in _FREE_TEXT]
    return "; ".join(dict.fromkeys(text.replace("\r\n", "\n").strip() for text in texts if text.strip()))


def _label(direct: Sequence[Item], group: Group, *, is_cornerstone: bool) -> str:
    """What it is about: Finding or Finding Site; else what was measured; else the tracking identifier."""
    for code in (group.finding, group.finding_site):
        if code is not None and code.value not in _FREE_TEXT and code.meaning:
            return code.meaning
    for item in direct:
        # OHIF writes NUMs without a meaning where it needs something to hang coordinates on.
        if item.number is not None and item.name is not None and item.unit is not None and item.unit.value != "1":
            return f"{item.name.meaning} {item.number:g} {item.unit.value}"
    return "" if is_cornerstone else group.tracking_identifier


def _is_copy(one: RawAnnotation, markers: Iterable[RawAnnotation]) -> bool:
    cornerstone = parsed_identifier(one.tracking_identifier)
    is_labelled = cornerstone is not None and cornerstone.label != ""
    return any(
        (one.tracking_uid and one.tracking_uid == marker.tracking_uid)
        or (is_labelled and one.tracking_identifier == marker.tracking_identifier)
        or (bool(one.text) and one.text.split() == marker.text.split() and _is_at(one, marker))
        for marker in markers
    )


def _is_at(one: RawAnnotation, marker: RawAnnotation) -> bool:
    if not one.points or one.is_in_space or (one.image, one.frame) != (marker.image, marker.frame):
        return False
    return math.dist(one.points[0], marker.points[0]) <= _NEAR_PIXELS
