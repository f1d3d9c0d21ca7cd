"""Drafts of readers: kept at every change, until they are signed."""

from __future__ import annotations

from dataclasses import replace

from segqa_dicom.assessment.codec import check_content, content_as_json, content_from_json
from segqa_dicom.assessment.model import Purpose, Reviewer, SegmentReview
from segqa_dicom.errors import Inconsistent, InputError
from segqa_dicom.findings.worklist import machine_segment
from segqa_dicom.ledger import DraftKey, DraftRow, DraftState, ReadingKey, RepeatRow
from segqa_dicom.model import SegmentRef
from segqa_dicom.reviews.workflow.model import Draft, Task
from segqa_dicom.reviews.workflow.progress_of_readers import Standing, standing
from segqa_dicom.reviews.workflow.shared import LONGEST_LOGIN, NotYours, Shared

MOST_SECONDS = 4 * 3600.0
"""Limit of the time that is accepted for one segment."""
_SLACK_S = 60.0
"""Tolerance between the time that a page reports and the clock."""
_ATTEMPTS = 8
_FINISHED = (DraftState.DONE, DraftState.SIGNED)


class DraftConflict(InputError):
    """Another window of the same reader has saved something since; `current` is what."""

    def __init__(self, current: Draft) -> None:
        super().__init__("this was changed in another window meanwhile; look at it again before you go on")
        self.current = current


class Drafts:
    """Drafts of readers."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def draft(self, reviewer: Reviewer, task: Task) -> Draft:
        """What the reader has entered so far: typed, or else signed; empty if nothing."""
        self._shared.memory.refresh()
        return self.current(reviewer, task)

    def current(self, reviewer: Reviewer, task: Task) -> Draft:
        """The same, of the signed reviews that are known already."""
        return self._draft(self._key(reviewer, task), task)

    def save(
        self, reviewer: Reviewer, task: Task, content: SegmentReview, *, version: int, finish: bool = False
    ) -> Draft:
        """Keep what was typed; cheap enough for every key press.

        version : of the draft that was changed
        finish : the reader is done with it (Enter)

        Saving the same again changes nothing. Raises `DraftConflict` if another window has saved something since, and
        `Inconsistent` for words that the vocabulary does not have, comments that are too long, and a segment that is
        finished without anything said about it.
        """
        key = self._key(reviewer, task)
        if content.segment_number != task.place.segment:
            raise Inconsistent("what is said is about another segment")
        check_content(content, self._shared.vocabulary)
        known, row = self._standing(key)
        before = _content_of(known, row, task)
        if finish and content.is_empty and known.signed is None:
            raise Inconsistent("nothing was said about this segment: give a rating or a finding first")
        now = self._shared.clock()
        content = replace(content, seconds=_believed_s(before.seconds, content.seconds, known, now))
        if _says_the_same(before, content) and (known.status in _FINISHED or not finish):
            return Draft(task, before, known.status, known.version)
        if row is None and known.signed is None:
            self._check_place(task.place)
        state = DraftState.DONE if finish else DraftState.DRAFT
        saved, is_mine = self._shared.ledger.save_draft(
            key, content_as_json(content), state=state, version=version, now=now, document=known.document
        )
        if not is_mine:
            raise DraftConflict(self._draft(key, task))
        return Draft(task, content_from_json(saved.content), saved.mark.state, saved.mark.version)

    def reopen(self, reviewer: Reviewer, task: Task) -> Draft:
        """Go on with what was finished or signed; what was signed counts until it is signed anew."""
        key = self._key(reviewer, task)
        for _ in range(_ATTEMPTS):
            known, row = self._standing(key)
            if known.status not in _FINISHED:
                break
            content = content_as_json(_content_of(known, row, task))
            _, is_mine = self._shared.ledger.save_draft(
                key,
                content,
                state=DraftState.DRAFT,
                version=known.version,
                now=self._shared.clock(),
                document=known.document,
            )
            if is_mine:
                break
        return self._draft(key, task)

    def _draft(self, key: DraftKey, task: Task) -> Draft:
        known, row = self._standing(key)
        return Draft(task, _content_of(known, row, task), known.status, known.version)

    def _standing(self, key: DraftKey) -> tuple[Standing, DraftRow | None]:
        row = self._shared.ledger.draft(key)
        heads = self._shared.memory.heads(key.reading)
        return standing(row.mark if row else None, heads[-1] if heads else None, key.segment), row

    def _key(self, reviewer: Reviewer, task: Task) -> DraftKey:
        if not reviewer.login or len(reviewer.login) > LONGEST_LOGIN or not reviewer.login.isprintable():
            raise Inconsistent(f"a login has 1 to {LONGEST_LOGIN} characters that can be seen")
        if task.purpose is Purpose.ADJUDICATION and reviewer.login not in self._shared.adjudicators:
            raise NotYours("only adjudicators decide between readers (SEGQA_ADJUDICATORS)")
        if task.purpose is Purpose.REPEAT:
            row = RepeatRow(reviewer.login, task.place.segmentation, task.place.segment, task.reading)
            if row not in self._shared.ledger.repeats(reviewer.login):
                raise NotYours("there is no such task")
        elif task.reading != 1:
            raise NotYours("there is no such task")
        reading = ReadingKey(reviewer.login, task.place.segmentation, task.purpose.value, task.reading)
        return DraftKey(reading, task.place.segment)

    def _check_place(self, place: SegmentRef) -> None:
        if machine_segment(self._shared.index, place) is None:
            raise Inconsistent(f"nothing is known about segment {place.segment} of segmentation {place.segmentation}")


def _content_of(known: Standing, row: DraftRow | None, task: Task) -> SegmentReview:
    if known.is_of_document and known.signed is not None:
        return known.signed
    return SegmentReview(task.place.segment) if row is None else content_from_json(row.content)


def _says_the_same(one: SegmentReview, other: SegmentReview) -> bool:
    return replace(one, seconds=0.0) == replace(other, seconds=0.0)


def _believed_s(before: float, reported: float, known: Standing, now: float) -> float:
    """Time spent in all: it does not shrink, and does not grow faster than the clock."""
    most = MOST_SECONDS
    if known.mark is not None:
        most = min(most, before + max(0.0, now - known.mark.updated_at) + _SLACK_S)
    return round(max(before, min(reported, most)), 1)
