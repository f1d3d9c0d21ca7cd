"""The desk at which readers work: whose turn it is, what they typed, what they sign, and what they may see of others.

No HTTP here, and no clock but the one that is passed in. All methods block, may be called from any number of threads,
and raise `InputError` for what the reader must change, `PeerError` for an archive or a ledger that does not answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from segqa_dicom import log
from segqa_dicom.archive import Archive
from segqa_dicom.assessment.codec import check_content, content_as_json, content_from_json
from segqa_dicom.assessment.model import Purpose, Reviewer, SegmentReview
from segqa_dicom.assessment.vocabulary import Vocabulary
from segqa_dicom.config import ServiceSettings
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.errors import Inconsistent, InputError, PeerError, SegQaError
from segqa_dicom.findings import FindingsIndex
from segqa_dicom.findings.worklist import machine_segment, machine_segments, matching_places
from segqa_dicom.ledger import DraftKey, DraftRow, DraftState, Ledger, ReadingKey, RepeatRow
from segqa_dicom.model import WHOLE, SegmentRef
from segqa_dicom.pictures import OpenCases
from segqa_dicom.reviews.statistics.agreement import Rating
from segqa_dicom.reviews.workflow.delivery import deliver
from segqa_dicom.reviews.workflow.differences import differs, places_reviewed
from segqa_dicom.reviews.workflow.model import (
    Draft,
    MachineSegment,
    Progress,
    SignedReview,
    Status,
    Task,
    Unsigned,
    WorklistFilters,
    WorklistPage,
    WorklistRow,
    Written,
)
from segqa_dicom.reviews.workflow.progress_of_readers import (
    Readings,
    Standing,
    readings_of,
    segments_of,
    standing,
    standings,
)
from segqa_dicom.reviews.workflow.repeats import chosen_repeats
from segqa_dicom.reviews.workflow.signed_reviews import ReviewMemory, key_of
from segqa_dicom.reviews.workflow.signing import Order, Signer
from segqa_dicom.sr import Document, Predecessor

LONGEST_LOGIN = 64
MOST_SECONDS = 4 * 3600.0
"""Time spent on one segment that is believed at all."""
_SLACK_S = 60.0
"""So much more time than has passed since it was last saved may be reported: clocks and pages are not exact."""
_ATTEMPTS = 8
_FINISHED = (Status.DONE, Status.SIGNED)


class DraftConflict(InputError):
    """Another window of the same reader has saved something since; `current` is what."""

    def __init__(self, current: Draft) -> None:
        super().__init__("this was changed in another window meanwhile; look at it again before you go on")
        self.current = current


class NotYours(InputError):
    """A task that this reader does not have."""


class ReviewDesk:
    """All that pages of readers need.

    cases : open cases, for writing documents; None for a desk at which nobody signs
    clock : seconds since 1970
    folder : for files of the archive while they are read; None = the system's
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        archive: Archive,
        index: FindingsIndex,
        cases: OpenCases | None,
        vocabulary: Vocabulary,
        settings: ServiceSettings,
        clock: Callable[[], float] = time.time,
        folder: Path | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._ledger, self._archive, self._index, self._vocabulary = ledger, archive, index, vocabulary
        self._settings, self._clock = settings, clock
        self._memory = ReviewMemory(ledger, archive, index, vocabulary, folder=folder, limits=limits)
        self._signer = Signer(ledger, index, cases, self._memory, vocabulary)
        self._differing: tuple[frozenset[str], list[SegmentRef]] | None = None
        self._adjudicators = {one.strip() for one in settings.adjudicators.split(",") if one.strip()}

    # The worklist

    def worklist(
        self, reviewer: Reviewer, filters: WorklistFilters, *, limit: int = 50, offset: int = 0
    ) -> WorklistPage:
        """Some of the segments that match, highest risk first, and how far the reader is with all that match.

        A segment that the reader is to read again looks like any other.
        """
        readings = self._readings(reviewer)
        only, without = self._selection(reviewer, filters, readings)
        found, total = machine_segments(self._index, filters, only=only, without=without, limit=limit, offset=offset)
        names = self._reader_names(reviewer, {one.place.segmentation for one in found})
        uids = {one.place.segmentation for one in found}
        assigned = self._assigned(uids)
        annotations = self._ledger.annotation_counts(uids) if uids else {}
        rows = tuple(
            WorklistRow(
                machine=one,
                task=readings.task(one.place),
                status=readings.status(one.place),
                readers=names.get(one.place, ()),
                assigned_to=_assigned_to(assigned, one.place),
                annotations=annotations.get((one.place.segmentation, one.place.segment), 0),
            )
            for one in found
        )
        return WorklistPage(rows, total, self._progress(reviewer, filters, readings))

    def next_task(self, reviewer: Reviewer, filters: WorklistFilters, after: Task | None) -> Task | None:
        """The next segment in the order of the worklist that is not finished; None behind the last one.

        after : None = the first one. It need not match the filters any more, as after it was finished.
        """
        return self._neighbour(reviewer, filters, after, step=1)

    def previous_task(self, reviewer: Reviewer, filters: WorklistFilters, before: Task | None) -> Task | None:
        """Likewise the one before; None before the first one."""
        return self._neighbour(reviewer, filters, before, step=-1)

    def task_of(self, reviewer: Reviewer, place: SegmentRef) -> Task:
        """What there is to do for a reader about a segment: the first reading, or a repeat that is scheduled."""
        return self._readings(reviewer, segmentation=place.segmentation).task(place)

    def _neighbour(self, reviewer: Reviewer, filters: WorklistFilters, at: Task | None, *, step: int) -> Task | None:
        readings = self._readings(reviewer)
        only, without = self._selection(reviewer, filters, readings)
        if filters.status not in [one.value for one in _FINISHED]:
            without = without | readings.places(*_FINISHED)
        if at is not None:
            only = None if only is None else only | {at.place}
            without = without - {at.place}
        places = matching_places(self._index, filters, only=only, without=without)
        if at is None or at.place not in places:
            return readings.task(places[0]) if places and step > 0 else None
        position = places.index(at.place) + step
        return readings.task(places[position]) if 0 <= position < len(places) else None

    def _selection(
        self, reviewer: Reviewer, filters: WorklistFilters, readings: Readings
    ) -> tuple[set[SegmentRef] | None, set[SegmentRef]]:
        """What the filters mean that the index of findings cannot answer: places to keep (None = all) and to leave."""
        keep: list[set[SegmentRef]] = []
        leave: set[SegmentRef] = set()
        if filters.status == Status.OPEN:
            leave = readings.places(Status.DRAFT, *_FINISHED)
        elif filters.status:
            keep.append({place for place, status in readings.statuses.items() if status == filters.status})
        if filters.reviewer:
            keep.append(self._places_of_reader(reviewer, filters.reviewer))
        if filters.is_annotated:
            keep.append({SegmentRef(*place) for place in self._ledger.annotation_counts()})
        if filters.is_major:
            keep.append(self._major_places(reviewer))
        return (set.intersection(*keep) if keep else None), leave

    def _progress(self, reviewer: Reviewer, filters: WorklistFilters, readings: Readings) -> Progress:
        wider = replace(filters, status="")
        only, _ = self._selection(reviewer, wider, readings)

        def count(places: set[SegmentRef] | None) -> int:
            return 0 if places == set() else machine_segments(self._index, wider, only=places, limit=0)[1]

        numbers = {}
        for status in (Status.DRAFT, *_FINISHED):
            places = readings.places(status)
            numbers[status] = count(places if only is None else places & only)
        return Progress(count(only), numbers[Status.DRAFT], numbers[Status.DONE], numbers[Status.SIGNED])

    def _places_of_reader(self, reviewer: Reviewer, login: str) -> set[SegmentRef]:
        """What is assigned to somebody, and what they have signed as far as the reader who asks may know."""
        places: set[SegmentRef] = set()
        for one in self._ledger.assignments(login=login):
            if one.segment == WHOLE:
                places |= set(matching_places(self._index, WorklistFilters(segmentation=one.segmentation)))
            else:
                places.add(SegmentRef(one.segmentation, one.segment))
        if login == reviewer.login or self._sees_others(reviewer):
            places |= places_reviewed(self._memory.current(login=login))
        return places

    def _major_places(self, reviewer: Reviewer) -> set[SegmentRef]:
        """What was found in need of major edits or worse, by whom the reader may know of."""
        login = None if self._sees_others(reviewer) else reviewer.login
        severities = list(self._vocabulary.severities)
        worst = set(severities[severities.index("major") :]) if "major" in severities else set()
        found = set()
        for review in self._memory.current(login=login):
            for one in review.review.segments:
                kinds = self._vocabulary.findings
                is_bad = any(
                    finding.severity in worst and (finding.type not in kinds or kinds[finding.type].is_error)
                    for finding in one.findings
                )
                if one.rating in ("1", "2") or is_bad:
                    found.add(SegmentRef(review.review.segmentation, one.segment_number))
        return found

    def _reader_names(self, reviewer: Reviewer, segmentations: Collection[str]) -> dict[SegmentRef, tuple[str, ...]]:
        login = None if self._sees_others(reviewer) else reviewer.login
        names: dict[SegmentRef, dict[str, None]] = {}
        for review in self._memory.current(login=login, segmentations=segmentations) if segmentations else ():
            if review.review.purpose is Purpose.REPEAT:
                continue  # not even its reader is told
            for one in review.review.segments:
                place = SegmentRef(review.review.segmentation, one.segment_number)
                names.setdefault(place, {})[review.review.reviewer.name] = None
        hidden = self._repeated(reviewer)
        return {place: tuple(found) for place, found in names.items() if place not in hidden}

    def _assigned(self, segmentations: Collection[str]) -> dict[SegmentRef, list[str]]:
        found: dict[SegmentRef, list[str]] = {}
        for one in self._ledger.assignments(segmentations=segmentations) if segmentations else ():
            found.setdefault(SegmentRef(one.segmentation, one.segment), []).append(one.login)
        return found

    # Drafts

    def draft(self, reviewer: Reviewer, task: Task) -> Draft:
        """What the reader has said so far: typed, or else signed; empty if nothing."""
        key = self._key(reviewer, task)
        self._memory.refresh()
        return self._draft(key, task)

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
        check_content(content, self._vocabulary)
        known, row = self._standing(key)
        before = _content_of(known, row, task)
        if finish and content.is_empty and known.signed is None:
            raise Inconsistent("nothing was said about this segment: give a rating or a finding first")
        now = self._clock()
        content = replace(content, seconds=_believed_s(before.seconds, content.seconds, known, now))
        if _says_the_same(before, content) and (known.status in _FINISHED or not finish):
            return Draft(task, before, known.status, known.version)
        if row is None and known.signed is None:
            self._check_place(task.place)
        state = DraftState.DONE if finish else DraftState.DRAFT
        saved, is_mine = self._ledger.save_draft(
            key, content_as_json(content), state=state, version=version, now=now, document=known.document
        )
        if not is_mine:
            raise DraftConflict(self._draft(key, task))
        return Draft(task, content_from_json(saved.content), Status(saved.mark.state.value), saved.mark.version)

    def reopen(self, reviewer: Reviewer, task: Task) -> Draft:
        """Go on with what was finished or signed; what was signed counts until it is signed anew."""
        key = self._key(reviewer, task)
        for _ in range(_ATTEMPTS):
            known, row = self._standing(key)
            if known.status not in _FINISHED:
                break
            content = content_as_json(_content_of(known, row, task))
            _, is_mine = self._ledger.save_draft(
                key,
                content,
                state=DraftState.DRAFT,
                version=known.version,
                now=self._clock(),
                document=known.document,
            )
            if is_mine:
                break
        return self._draft(key, task)

    def _draft(self, key: DraftKey, task: Task) -> Draft:
        known, row = self._standing(key)
        return Draft(task, _content_of(known, row, task), known.status, known.version)

    def _standing(self, key: DraftKey) -> tuple[Standing, DraftRow | None]:
        row = self._ledger.draft(key)
        heads = self._memory.heads(key.reading)
        return standing(row.mark if row else None, heads[-1] if heads else None, key.segment), row

    def _key(self, reviewer: Reviewer, task: Task) -> DraftKey:
        if not reviewer.login or len(reviewer.login) > LONGEST_LOGIN or not reviewer.login.isprintable():
            raise Inconsistent(f"a login has 1 to {LONGEST_LOGIN} characters that can be seen")
        if task.purpose is Purpose.ADJUDICATION and reviewer.login not in self._adjudicators:
            raise NotYours("only adjudicators decide between readers (SEGQA_ADJUDICATORS)")
        if task.purpose is Purpose.REPEAT:
            row = RepeatRow(reviewer.login, task.place.segmentation, task.place.segment, task.reading)
            if row not in self._ledger.repeats(reviewer.login):
                raise NotYours("there is no such task")
        elif task.reading != 1:
            raise NotYours("there is no such task")
        reading = ReadingKey(reviewer.login, task.place.segmentation, task.purpose.value, task.reading)
        return DraftKey(reading, task.place.segment)

    def _check_place(self, place: SegmentRef) -> None:
        if machine_segment(self._index, place) is None:
            raise Inconsistent(f"nothing is known about segment {place.segment} of segmentation {place.segmentation}")

    # Signing

    def unsigned(self, reviewer: Reviewer) -> list[Unsigned]:
        """What the reader has finished and not signed, one entry for each document that would be written."""
        finished: dict[ReadingKey, list[int]] = {}
        begun: dict[ReadingKey, int] = {}
        for draft, one in sorted(self._begun(reviewer).drafts.items()):
            if one.status is Status.DONE:
                finished.setdefault(draft.reading, []).append(draft.segment)
            elif one.status is Status.DRAFT:
                begun[draft.reading] = begun.get(draft.reading, 0) + 1
        entries = []
        for key, segments in finished.items():
            said = self._said(key, segments)
            machine = machine_segment(self._index, SegmentRef(key.segmentation, WHOLE))
            entries.append(
                Unsigned(
                    segmentation=key.segmentation,
                    model=machine.model if machine else "",
                    study=machine.study if machine else "",
                    purpose=Purpose(key.purpose),
                    reading=key.reading,
                    segments=tuple(said[segment][0] for segment in segments),
                    labels=self._labels(key.segmentation, segments),
                    drafts=begun.get(key, 0),
                )
            )
        return entries

    def sign(self, reviewer: Reviewer, segmentations: Sequence[str], *, is_signed: bool = True) -> list[Written]:
        """Write what the reader has finished of these segmentations into documents, and send them to the archive.

        is_signed : False = the documents are preliminary

        What was signed before and not changed is taken over into the new document, which replaces the one before. If
        the archive does not take a document now, it is sent later: `Written.is_confirmed` is False. If a segmentation
        cannot be signed, the others are nevertheless, and then the reason is raised; nothing that was typed is lost.
        """
        documents: list[tuple[str, Document]] = []
        failures: list[SegQaError] = []
        for uid in dict.fromkeys(segmentations):
            try:
                documents += [(uid, one) for one in self._sign(reviewer, uid, is_signed=is_signed)]
            except (InputError, PeerError) as error:
                failures.append(error)
        try:
            self.deliver()
        except PeerError as error:
            log.event("reviews wait", reason=type(error).__name__)
        if failures:
            raise failures[0]
        waiting = {one.document.sop_instance_uid for one in self._ledger.pending_reviews(login=reviewer.login)}
        return [
            Written(one.kind.value, one.sop_instance_uid, uid, one.sop_instance_uid not in waiting)
            for uid, one in documents
        ]

    def deliver(self) -> int:
        """Send documents that the archive has not confirmed; returns how many it has. For a job, and at the start."""
        return deliver(self._ledger, self._archive, self._index, now=self._clock())

    def forget_deleted(self) -> int:
        """Forget reviews whose documents were deleted in the archive; returns how many. For a job."""
        return self._memory.forget_deleted()

    def _sign(self, reviewer: Reviewer, segmentation: str, *, is_signed: bool) -> list[Document]:
        machine = machine_segment(self._index, SegmentRef(segmentation, WHOLE))
        if machine is None:
            raise Inconsistent(
                f"segmentation {segmentation} has no report in the index of findings yet; wait, or run `segqa reindex`"
            )
        self._signer.learn_of(machine.study)
        written: list[Document] = []
        for _ in range(_ATTEMPTS):
            wanted = _to_sign(self._begun(reviewer, segmentation=segmentation), is_signed=is_signed)
            if not wanted:
                return written
            for key, segments in wanted.items():
                documents = self._sign_reading(reviewer, key, segments, machine, is_signed=is_signed)
                written += documents or ()  # None: something was changed meanwhile; once more
        raise DraftsChanged(f"drafts of segmentation {segmentation} change again and again; sign when that is over")

    def _sign_reading(
        self,
        reviewer: Reviewer,
        key: ReadingKey,
        segments: Sequence[int],
        machine: MachineSegment,
        *,
        is_signed: bool,
    ) -> list[Document] | None:
        said = self._said(key, segments)
        order = Order(
            key=key,
            reviewer=self._named(reviewer),
            said={segment: content for segment, (content, _) in said.items()},
            versions={segment: version for segment, (_, version) in said.items()},
            now=self._clock(),
            is_signed=is_signed,
            considered=self._considered(key),
        )
        return self._signer.sign(order, machine)

    def _considered(self, key: ReadingKey) -> list[Predecessor]:
        """What an adjudicator had before their eyes."""
        if key.purpose != Purpose.ADJUDICATION:
            return []
        reviews = self._memory.current(segmentations=[key.segmentation])
        return [Predecessor(one.document, one.series) for one in reviews if one.review.purpose is Purpose.READING]

    def _said(self, key: ReadingKey, segments: Iterable[int]) -> dict[int, tuple[SegmentReview, int]]:
        """What is typed about segments, with the version of the draft; both from one look at the ledger."""
        rows = {row.mark.key: row for row in self._ledger.drafts(key.login, segmentation=key.segmentation)}
        said = {}
        for segment in segments:
            row = rows.get(DraftKey(key, segment))
            if row is not None:
                said[segment] = content_from_json(row.content), row.mark.version
        return said

    def _labels(self, segmentation: str, segments: Sequence[int]) -> dict[int, str]:
        filters = WorklistFilters(segmentation=segmentation)
        places = [SegmentRef(segmentation, segment) for segment in segments]
        found, _ = machine_segments(self._index, filters, only=places, limit=len(places))
        labels = {one.place.segment: one.label for one in found}
        return {segment: labels.get(segment, f"Segment {segment}" if segment else "Whole") for segment in segments}

    def _named(self, reviewer: Reviewer) -> Reviewer:
        organization = reviewer.organization or self._settings.reviewer_organization
        return replace(reviewer, name=reviewer.name or reviewer.login, organization=organization)

    # What others said

    def signed(self, place: SegmentRef | str | None = None) -> list[SignedReview]:
        """All current reviews: of a segmentation, of one segment, or (None) of everything."""
        self._memory.refresh()
        if place is None:
            return self._memory.current()
        uid = place if isinstance(place, str) else place.segmentation
        found = self._memory.current(segmentations=[uid])
        if isinstance(place, str):
            return found
        return [one for one in found if place.segment in segments_of(one)]

    def visible_reviews(self, reviewer: Reviewer, place: SegmentRef | Task) -> list[tuple[SignedReview, SegmentReview]]:
        """What others have signed about a segment, as far as this reader may see it now.

        Nothing while reading is blind; but adjudicators see all first readings of what they are to decide about. Who
        reads again sees nothing in any case.
        """
        task = place if isinstance(place, Task) else None
        where = place.place if isinstance(place, Task) else place
        is_deciding = reviewer.login in self._adjudicators and (task is None or task.purpose is Purpose.ADJUDICATION)
        if task is None and is_deciding:
            is_deciding = any(one.place == where for one in self._differences())
        if not is_deciding and (self._settings.blind or where in self._repeated(reviewer)):
            return []
        found = [
            (one, segments_of(one)[where.segment])
            for one in self.signed(where)
            if one.review.purpose is not Purpose.REPEAT
        ]
        if is_deciding:
            return [pair for pair in found if pair[0].review.purpose is Purpose.READING]
        return [pair for pair in found if pair[0].review.reviewer.login != reviewer.login]

    def adjudication_tasks(self, reviewer: Reviewer) -> list[Task]:
        """Segments where readers differ and nobody has decided yet, those where they differ most first.

        Empty for who is no adjudicator.
        """
        if reviewer.login not in self._adjudicators:
            return []
        self._memory.refresh()
        return self._differences()

    def _differences(self) -> list[Task]:
        reviews = self._memory.current()
        documents = frozenset(one.document for one in reviews)
        known = self._differing
        if known is None or known[0] != documents:  # documents do not change
            known = documents, differs(reviews, self._vocabulary)
            self._differing = known
        return [Task(place, Purpose.ADJUDICATION) for place in known[1]]

    def _sees_others(self, reviewer: Reviewer) -> bool:
        return not self._settings.blind or reviewer.login in self._adjudicators

    # Plans

    def assign(self, place: SegmentRef | str, login: str | None, by: str) -> None:
        """Have a reader look at a segment or a segmentation; None = nobody is asked any more."""
        where = SegmentRef(place, WHOLE) if isinstance(place, str) else place
        if login is None:
            self._ledger.unassign(where.segmentation, where.segment)
            return
        if not login or len(login) > LONGEST_LOGIN:
            raise Inconsistent(f"a login has 1 to {LONGEST_LOGIN} characters")
        self._ledger.assign(where.segmentation, where.segment, login, by=by, now=self._clock())

    def schedule_repeats(self, share: float, reviewer: str | None = None, seed: int = 0) -> int:
        """Have readers read a share of what they have signed again, without being told; returns how many are new.

        reviewer : login; None = all
        seed : decides which ones. The same call again adds only what is due to what was signed since.
        """
        if not 0 <= share <= 1:
            raise Inconsistent("the share of segments to be read again lies between 0 and 1")
        self._memory.refresh()
        rows = chosen_repeats(self._memory.current(login=reviewer), self._ledger.repeats(reviewer), share, seed)
        return self._ledger.add_repeats(rows, now=self._clock())

    def _repeated(self, reviewer: Reviewer) -> set[SegmentRef]:
        return {SegmentRef(one.segmentation, one.segment) for one in self._ledger.repeats(reviewer.login)}

    # Numbers

    def ratings(self) -> list[Rating]:
        """What all readers have signed, and what was imported, for statistics; adjudications are no readings."""
        from segqa_dicom.reviews.statistics.ratings import all_ratings

        self._memory.refresh()
        return all_ratings(self._memory.current(), self._ledger.imported(is_waiting=True), self._index)

    # Where readers are

    def _readings(self, reviewer: Reviewer, *, segmentation: str | None = None) -> Readings:
        repeats: dict[SegmentRef, list[int]] = {}
        for one in self._ledger.repeats(reviewer.login):
            repeats.setdefault(SegmentRef(one.segmentation, one.segment), []).append(one.reading)
        begun = self._begun(reviewer, segmentation=segmentation)
        return readings_of(begun.drafts, begun.reviews, repeats)

    def _begun(self, reviewer: Reviewer, *, segmentation: str | None = None) -> _Begun:
        self._memory.refresh()
        # First the drafts: what is signed in between is then seen twice, not never.
        marks = self._ledger.draft_marks(reviewer.login, segmentation=segmentation, is_unsettled=True)
        segmentations = None if segmentation is None else [segmentation]
        reviews = self._memory.current(login=reviewer.login, segmentations=segmentations)
        return _Begun(standings(marks, reviews), reviews)


@dataclass(frozen=True, slots=True)
class _Begun:
    """What a reader has typed that is in no document, and the current documents of that reader."""

    drafts: Mapping[DraftKey, Standing]
    reviews: Sequence[SignedReview]


class DraftsChanged(InputError):
    """Drafts were changed all the time while they were to be signed."""


def _to_sign(begun: _Begun, *, is_signed: bool) -> dict[ReadingKey, list[int]]:
    """Segments to be signed, by reading; none of a reading whose preliminary document is to become a signed one."""
    wanted: dict[ReadingKey, list[int]] = {}
    for key, one in sorted(begun.drafts.items()):
        if one.status is Status.DONE:
            wanted.setdefault(key.reading, []).append(key.segment)
    for review in begun.reviews:
        if is_signed and not review.review.is_signed:
            wanted.setdefault(key_of(review.review), [])
    return wanted


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


def _assigned_to(assigned: Mapping[SegmentRef, Sequence[str]], place: SegmentRef) -> tuple[str, ...]:
    whole = SegmentRef(place.segmentation, WHOLE)
    return tuple(dict.fromkeys((*assigned.get(place, ()), *assigned.get(whole, ()))))
