"""What the documents of a reader share: the review, its subject and its summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from segqa_dicom.assessment.model import Purpose, Review, SegmentReview
from segqa_dicom.model import WHOLE, CtRecord, Geometry, Segment, Segmentation
from segqa_dicom.sr import reader_text
from segqa_dicom.sr.ascii import counted
from segqa_dicom.sr.segment_items import name_of
from segqa_dicom.sr.write.vocabulary_words import Words

SUMMARY_LINES = 40


@dataclass(frozen=True, eq=False)
class Context:
    """What both documents need. review : as it will be read back."""

    review: Review
    ct: CtRecord
    geometry: Geometry
    segmentation: Segmentation
    rank: int
    words: Words

    @cached_property
    def segments(self) -> Mapping[int, Segment]:
        """Segments of the SEG by Segment Number."""
        return {segment.number: segment for segment in self.segmentation.segments}

    @cached_property
    def said(self) -> list[tuple[SegmentReview, Segment]]:
        """What is said about segments, in the order of their numbers."""
        return [(one, self.segments[one.segment_number]) for one in self.review.segments if one.segment_number != WHOLE]

    @property
    def whole(self) -> SegmentReview | None:
        """What is said about the SEG as a whole."""
        return next((one for one in self.review.segments if one.segment_number == WHOLE), None)


def outcome(context: Context) -> str:
    """What stands first in the series description."""
    if context.said:
        count = sum(context.words.needs_work(said) for said, _ in context.said)
        return f"{count} of {len(context.said)} need edits"
    return f"whole {'needs edits' if context.whole and context.words.needs_work(context.whole) else 'reviewed'}"


def summary(context: Context) -> list[str]:
    """The outcome in one sentence, then a line for each segment reviewed, worst first."""
    words, worst = context.words, sorted(context.said, key=lambda pair: context.words.order(pair[0]))
    lines = [sentence(context)]
    if context.whole:
        lines.append(f"Segmentation as a whole: {_in_words(words, context.whole)}")
    lines += [
        f"{name_of(segment)} (segment {segment.number}): {_in_words(words, said)}"
        for said, segment in worst[:SUMMARY_LINES]
    ]
    rest = len(worst) - SUMMARY_LINES
    return [*lines, f"and {rest} more"] if rest > 0 else lines


def sentence(context: Context) -> str:
    """The result in one sentence."""
    start = "Adjudication: " if context.review.purpose is Purpose.ADJUDICATION else ""
    start += "" if context.review.is_signed else "Preliminary, not signed: "
    if not context.said:
        return f"{start}reviewed as a whole only."
    reviewed = counted(len(context.said), "segment")
    count = sum(context.words.needs_work(said) for said, _ in context.said)
    names: dict[str, int] = {}
    for said, _ in sorted(context.said, key=lambda pair: context.words.order(pair[0])):
        name = context.words.name("ratings", said.rating) if said.rating else "not rated"
        names[name] = names.get(name, 0) + 1
    listed = ", ".join(f"{name} {number}" for name, number in names.items())
    return f"{start}{count} of {reviewed} reviewed need edits ({listed})."


def _in_words(words: Words, said: SegmentReview) -> str:
    parts = [words.name("ratings", said.rating)] if said.rating else []
    parts += [
        f"{words.finding(one)} ({reader_text.line_text(one.comment)})" if one.comment else words.finding(one)
        for one in said.findings
    ]
    if said.action:
        parts.append(f"proposed action: {words.name('actions', said.action).lower()}")
    if said.comment:
        parts.append(f'"{reader_text.line_text(said.comment)}"')
    return reader_text.line_text("; ".join(parts) or "confidence only")
