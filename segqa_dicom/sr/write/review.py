"""`review`: what a reader says about the segments of one SEG, and the markers that show on the CT where.

The `review` document alone says everything. Severity, location and comment of a finding lie below it, so that they can
be read back exactly; viewers that show direct children of containers only show the same in words beside it. The markers
(`review_keyimg`) are for people: nothing is read from them.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from segqa_dicom.assessment.model import Location, Review, Reviewer, ReviewFinding, SegmentReview
from segqa_dicom.assessment.vocabulary import Vocabulary
from segqa_dicom.dicom.uids import stable_uid
from segqa_dicom.errors import Inconsistent
from segqa_dicom.model import WHOLE, Code, CtRecord, Geometry, PointMm, Segment, Segmentation, SegRecord
from segqa_dicom.sr import codes, reader_text, tree
from segqa_dicom.sr.ascii import counted
from segqa_dicom.sr.kinds import Kind
from segqa_dicom.sr.segment_items import finding, finding_site, name_of, seg_name, tracking_identifier, tracking_uids
from segqa_dicom.sr.write.document import Document, document_kind, language, series_description, series_number
from segqa_dicom.sr.write.evidence import Predecessor, ct_evidence, evidence_elements
from segqa_dicom.sr.write.header import Header, Signature, encoded_file
from segqa_dicom.sr.write.markers import ARROW, RECTANGLE, Marker, marked_box, marked_point, marker_group
from segqa_dicom.sr.write.review_context import Context, outcome, sentence, summary
from segqa_dicom.sr.write.vocabulary_words import Words

MOST_MARKERS = 100
_MADE_AT = re.compile(r"[0-9]{14}(\.[0-9]{1,6})?[+-][0-9]{4}\Z")
_NO_UID = "2.25.0"


def build_review_documents(
    review: Review,
    *,
    ct: CtRecord,
    geometry: Geometry,
    segmentation: Segmentation,
    segmentation_rank: int,
    vocabulary: Vocabulary,
    machine_report: Predecessor | None,
    considered: Sequence[Predecessor] = (),
    earlier: Mapping[Kind, Predecessor] | None = None,
) -> list[Document]:
    """The `review` document, and after it, if anything is located, the reader's `review_keyimg`.

    segmentation_rank : of the SEG among those of its CT, for the series number
    vocabulary : that the words were chosen of; a word that it lacks is written as it is
    machine_report : the `report` that the reader had beside the images
    considered : of an adjudication the reviews that were decided about
    earlier : by kind, the documents of the same reader and reading that these replace. Markers that nothing new
        replaces are replaced by the review.

    The same arguments give the same bytes, and other bytes always have another SOP Instance UID. Texts are written as
    `as_written` has them. Raises `Inconsistent` if the review is of another SEG, of a segment that the SEG does not
    have, or says nothing, ValueError if its `made_at` is no time.
    """
    written = as_written(review)
    _check(written, segmentation)
    context = Context(written, ct, geometry, segmentation, segmentation_rank, Words(vocabulary))
    earlier = earlier or {}
    groups, located = _marker_groups(context)
    replaced = [earlier[kind] for kind in (Kind.REVIEW, Kind.REVIEW_KEYIMG) if kind in earlier]
    if groups:
        replaced = [one for one in replaced if one is not earlier.get(Kind.REVIEW_KEYIMG)]
    documents = [_review_document(context, machine_report, considered, replaced)]
    if groups:
        explained = Predecessor(documents[0].sop_instance_uid, documents[0].series_instance_uid)
        before = [earlier[Kind.REVIEW_KEYIMG]] if Kind.REVIEW_KEYIMG in earlier else []
        documents.append(_keyimg_document(context, groups, located, explained, before))
    return documents


def as_written(review: Review) -> Review:
    """The review as its document says it, and as it is read back.

    Texts without control characters, trimmed, cut with a mark where they are too long (`sr.reader_text`); segments
    without content after that are left out, and so are locations that are not finite.
    """
    person = review.reviewer
    login = reader_text.line_text(person.login)
    return replace(
        review,
        reviewer=Reviewer(
            login, reader_text.person_name(person.name, otherwise=login), reader_text.long_string(person.organization)
        ),
        segments=tuple(one for one in map(_segment_as_written, review.segments) if not one.is_empty),
        vocabulary_version=reader_text.line_text(review.vocabulary_version),
    )


def _segment_as_written(said: SegmentReview) -> SegmentReview:
    findings = tuple(
        replace(one, comment=reader_text.comment_text(one.comment), location=_finite(one.location))
        for one in said.findings
    )
    seconds = max(float(said.seconds), 0.0) if math.isfinite(said.seconds) else 0.0
    return replace(said, findings=findings, comment=reader_text.comment_text(said.comment), seconds=seconds)


def _finite(location: Location | None) -> Location | None:
    """None for what is no place."""
    if location is None:
        return None
    points = (location.point_mm, *(location.box_mm or ()))
    return location if all(math.isfinite(value) for point in points for value in point) else None


def _check(review: Review, segmentation: Segmentation) -> None:
    uid = segmentation.record.sop_instance_uid
    if review.segmentation != uid:
        raise Inconsistent(f"the review is about segmentation {review.segmentation}, not about {uid}")
    numbers = {segment.number for segment in segmentation.segments} | {WHOLE}
    for one in review.segments:
        if one.segment_number not in numbers:
            raise Inconsistent(f"segmentation {uid} has no segment {one.segment_number}, which the review is about")
    if not review.segments:
        raise Inconsistent(f"the review of segmentation {uid} says nothing; say something about one segment at least")
    if not _MADE_AT.match(review.made_at):
        raise ValueError("made_at of a review is YYYYMMDDHHMMSS with the offset from UTC: 20261121203015+0000")


# ------------------------------------------------------------------------------------------------------------ words


# ------------------------------------------------------------------------------------------------- review document


def _review_document(
    context: Context, report: Predecessor | None, considered: Sequence[Predecessor], replaced: Sequence[Predecessor]
) -> Document:
    referenced = [*([report] if report else []), *considered]
    content = [
        *_preface(context),
        *(tree.human_text(codes.SUMMARY, line) for line in summary(context)),
        *_measurements(context),
        *_of_whole(context),
        *_about_review(context),
        *_composites(codes.REVIEWED_REPORT, [report] if report else []),
        *_composites(codes.CONSIDERED_REVIEW, considered),
        _kind(context, Kind.REVIEW),
    ]
    return _document(context, Kind.REVIEW, codes.QA_REPORT, content, referenced, replaced)


def _preface(context: Context) -> Iterator[tree.Item]:
    """Language, observer (TID 1002 and 1003) and procedure."""
    person = context.review.reviewer
    yield language()
    yield tree.code(codes.OBSERVER_TYPE, codes.PERSON, tree.OBS_CONTEXT)
    yield tree.person(codes.PERSON_NAME, person.name, tree.OBS_CONTEXT)
    yield tree.human_text(codes.PERSON_LOGIN, person.login, tree.OBS_CONTEXT)
    if person.organization:
        yield tree.human_text(codes.PERSON_ORGANIZATION, person.organization, tree.OBS_CONTEXT)
    yield tree.code(codes.PERSON_ROLE, codes.VERIFYING, tree.OBS_CONTEXT)
    yield tree.code(codes.PROCEDURE_REPORTED, codes.CT_PROCEDURE, tree.CONCEPT_MOD)


def _measurements(context: Context) -> list[tree.Item]:
    if not context.said:
        return []
    uids = tracking_uids(context.segmentation.record, context.segmentation.segments)
    groups = [_group(context, said, segment, uids[segment.number]) for said, segment in context.said]
    return [tree.container(codes.IMAGING_MEASUREMENTS, groups)]


def _group(context: Context, said: SegmentReview, segment: Segment, tracking_uid: str) -> tree.Item:
    record = context.segmentation.record
    children = [
        tree.text(codes.TRACKING_IDENTIFIER, tracking_identifier(segment), tree.OBS_CONTEXT),
        tree.uid_reference(codes.TRACKING_UID, tracking_uid, tree.OBS_CONTEXT),
        finding(segment),
        tree.segment_image(codes.REFERENCED_SEGMENT, record.sop_class_uid, record.sop_instance_uid, (segment.number,)),
        tree.uid_reference(codes.SOURCE_SERIES, context.ct.series_instance_uid),
        *finding_site(segment),
        *_judgements(context.words, said),
    ]
    return tree.container(codes.MEASUREMENT_GROUP, children, template="1411")


def _of_whole(context: Context) -> list[tree.Item]:
    """TID 1500 row 12."""
    if context.whole is None:
        return []
    return [tree.container(codes.QUALITATIVE_EVALUATIONS, list(_judgements(context.words, context.whole)))]


def _judgements(words: Words, said: SegmentReview) -> Iterator[tree.Item]:
    if said.rating:
        yield tree.word(codes.RATING, words.code("ratings", said.rating))
    for found in said.findings:
        yield tree.word(
            codes.SEGMENTATION_FINDING, words.code("findings", found.type), children=list(_properties(words, found))
        )
        yield tree.human_text(codes.FINDING_DETAILS, _details(words, found))
    if said.action:
        yield tree.word(codes.ACTION, words.code("actions", said.action))
    if said.confidence:
        yield tree.word(codes.CONFIDENCE, words.code("confidences", said.confidence))
    if said.comment:
        yield tree.human_text(codes.COMMENT, said.comment)


def _properties(words: Words, found: ReviewFinding) -> Iterator[tree.Item]:
    """What lies below a finding, for programs."""
    if found.severity:
        yield tree.word(codes.SEVERITY, words.code("severities", found.severity), tree.CONCEPT_MOD)
    if found.location:
        yield from _coordinates(found.location)
    if found.comment:
        yield tree.human_text(codes.COMMENT, found.comment, tree.PROPERTIES)


def _coordinates(location: Location) -> Iterator[tree.Item]:
    yield from tree.coordinates(codes.LOCATION, location.point_mm)
    if location.box_mm:
        low, high = location.box_mm
        yield from tree.coordinates(codes.LOWEST_CORNER, low)
        yield from tree.coordinates(codes.HIGHEST_CORNER, high)


def _details(words: Words, found: ReviewFinding) -> str:
    """The same for people."""
    said = words.finding(found)
    if found.location:
        said += f"; {_where(found.location)}"
    return f"{said}: {reader_text.line_text(found.comment, reader_text.COMMENT_LENGTH)}" if found.comment else said


def _where(location: Location) -> str:
    """For people, who look it up in a viewer."""
    place = ", ".join(f"{value:.1f}" for value in location.point_mm)
    if not location.box_mm:
        return f"at {place} mm"
    return f"box of {_extent(location.box_mm)} around {place} mm"


def _extent(box: tuple[PointMm, PointMm]) -> str:
    return " x ".join(f"{high - low:.1f}" for low, high in zip(*box, strict=True)) + " mm"


def _about_review(context: Context) -> Iterator[tree.Item]:
    review = context.review
    yield tree.code(codes.PURPOSE, codes.PURPOSES[review.purpose])
    yield tree.exact_number(codes.READING_NUMBER, review.reading, codes.COUNT, tree.CONTAINS)
    yield tree.date_time(codes.REVIEWED_AT, review.made_at)
    if review.vocabulary_version:
        yield tree.human_text(codes.VOCABULARY_VERSION, review.vocabulary_version)
    yield from _times(context)


def _times(context: Context) -> Iterator[tree.Item]:
    """Seconds in all, below them those of each segment."""
    record = context.segmentation.record
    parts = [
        tree.exact_number(codes.SEGMENT_TIME, one.seconds, codes.SECOND, children=[_about(record, one.segment_number)])
        for one in context.review.segments
        if one.seconds
    ]
    if parts:
        total = round(sum(one.seconds for one in context.review.segments), 1)
        yield tree.exact_number(codes.TIME_SPENT, total, codes.SECOND, tree.CONTAINS, parts)


def _about(record: SegRecord, segment_number: int) -> tree.Item:
    numbers = () if segment_number == WHOLE else (segment_number,)
    return tree.segment_image(
        codes.REFERENCED_SEGMENT, record.sop_class_uid, record.sop_instance_uid, numbers, tree.PROPERTIES
    )


def _kind(context: Context, kind: Kind) -> tree.Item:
    record = context.segmentation.record
    return document_kind(kind, [(record, seg_name(record))])


def _composites(name: Code, documents: Iterable[Predecessor]) -> list[tree.Item]:
    return [tree.composite(name, one.sop_class_uid, one.sop_instance_uid) for one in documents]


# --------------------------------------------------------------------------------------------------------- summary


# --------------------------------------------------------------------------------------------------------- markers


def _marker_groups(context: Context) -> tuple[list[tree.Item], int]:
    """Groups of the worst located findings, and how many located ones there are."""
    located = [
        (said, at, found)
        for said in context.review.segments
        for at, found in enumerate(said.findings)
        if found.location
    ]
    words = context.words
    located.sort(key=lambda one: (words.severity_rank(one[2].severity), words.order(one[0]), one[1]))
    return [_marker(context, *one) for one in located[:MOST_MARKERS]], len(located)


def _marker(context: Context, said: SegmentReview, at: int, found: ReviewFinding) -> tree.Item:
    if found.location is None:
        raise ValueError("a finding without a location has no marker")
    review, location = context.review, found.location
    segment = context.segments.get(said.segment_number)
    rectangle = marked_box(context.geometry, context.ct, location.box_mm) if location.box_mm else None
    place = rectangle or marked_point(context.geometry, context.ct, location.point_mm)
    code = context.words.code("findings", found.type)
    uid = stable_uid(
        "marker", review.segmentation, review.reviewer.login, review.purpose, review.reading, said.segment_number, at
    )
    label = f"segment {segment.number}" if segment else "whole"
    marker = Marker(
        tracking=f"{RECTANGLE if rectangle else ARROW}:{code.value} {label}",
        uid=uid,
        about=[finding(segment), *finding_site(segment)] if segment else [tree.word(codes.FINDING, code)],
        numbers=[tree.number(codes.FINDING_COUNT, len(said.findings), codes.COUNT, [place])],
        comment=tree.human_text(codes.COMMENT, _marker_text(context, segment, found, is_box=rectangle is not None)),
    )
    return marker_group(marker, context.segmentation.record, segment.number if segment else None)


def _marker_text(context: Context, segment: Segment | None, found: ReviewFinding, *, is_box: bool) -> str:
    name = name_of(segment) if segment else "Whole segmentation"
    text = f"{name}: {context.words.finding(found)}"
    if found.location and found.location.box_mm and not is_box:
        text += f" [{_extent(found.location.box_mm)}]"
    if found.comment:
        text += f" - {reader_text.line_text(found.comment)}"
    return f"{text} ({reader_text.spoken_name(context.review.reviewer.name)})"


def _keyimg_document(
    context: Context,
    groups: Sequence[tree.Item],
    located: int,
    explained: Predecessor,
    replaced: Sequence[Predecessor],
) -> Document:
    rest = f"; the worst {len(groups)} are shown" if len(groups) < located else ", worst first"
    content = [
        *_preface(context),
        tree.text(codes.SUMMARY, f"{counted(located, 'located finding')}{rest}."),
        tree.human_text(codes.SUMMARY, sentence(context)),
        tree.container(codes.IMAGING_MEASUREMENTS, groups),
        *_composites(codes.EXPLAINED_REVIEW, [explained]),
        _kind(context, Kind.REVIEW_KEYIMG),
    ]
    return _document(context, Kind.REVIEW_KEYIMG, codes.IMAGING_MEASUREMENT_REPORT, content, [explained], replaced)


# ------------------------------------------------------------------------------------------------------------ files


def _document(
    context: Context,
    kind: Kind,
    title: Code,
    content: Iterable[tree.Item],
    referenced: Iterable[Predecessor],
    replaced: Sequence[Predecessor],
) -> Document:
    review, record = context.review, context.segmentation.record
    root = tree.container(title, content, template="1500", is_root=True)
    elements = [*root.elements(), *evidence_elements(ct_evidence(context.ct), (record,), referenced)]
    person = review.reviewer
    header = Header(
        sop_instance_uid=_NO_UID,
        series_instance_uid=_NO_UID,
        series_number=series_number(kind, context.rank),
        series_description=series_description(kind, outcome(context), (seg_name(record),)),
        date=review.made_at[:8],
        time=review.made_at[8:14],
        predecessors=tuple(replaced),
        signature=Signature(person.name, person.organization, review.made_at) if review.is_signed else None,
    )
    # Whatever changes a byte changes the UID: one SOP Instance UID must never stand for two contents.
    content_digest = hashlib.sha256(encoded_file(header, context.ct, elements)).hexdigest()
    parts = (
        *(kind.value, record.sop_instance_uid, person.login, review.purpose.value, review.reading),
        *(content_digest, [one.sop_instance_uid for one in replaced]),
    )
    header = replace(header, sop_instance_uid=stable_uid(*parts), series_instance_uid=stable_uid(*parts, "series"))
    return Document(
        kind,
        header.sop_instance_uid,
        (record.sop_instance_uid,),
        encoded_file(header, context.ct, elements),
        header.series_instance_uid,
    )
