"""Worklist of a reader: segments in order of risk, with the progress of the reader."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from segqa_dicom.assessment.model import Purpose, Reviewer
from segqa_dicom.findings.worklist import machine_segments, matching_places
from segqa_dicom.ledger import DraftState
from segqa_dicom.model import WHOLE, SegmentRef
from segqa_dicom.reviews.workflow.differences import places_reviewed
from segqa_dicom.reviews.workflow.model import Progress, Task, WorklistFilters, WorklistPage, WorklistRow
from segqa_dicom.reviews.workflow.progress_of_readers import Readings
from segqa_dicom.reviews.workflow.shared import Shared

_FINISHED = (DraftState.DONE, DraftState.SIGNED)


class Worklist:
    """Worklist of readers."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def page(self, reviewer: Reviewer, filters: WorklistFilters, *, limit: int = 50, offset: int = 0) -> WorklistPage:
        """Some of the segments that match, highest risk first, and the progress of the reader in all that match.

        A segment that is scheduled for a second reading looks like any other.
        """
        self._shared.memory.refresh()
        readings = self._shared.readings(reviewer)
        only, without = self._selection(reviewer, filters, readings)
        found, total = machine_segments(
            self._shared.index, filters, only=only, without=without, limit=limit, offset=offset
        )
        uids = {one.place.segmentation for one in found}
        names = self._reader_names(reviewer, uids)
        assigned = self._assigned(uids)
        annotations = self._shared.ledger.annotation_counts(uids) if uids else {}
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
        return WorklistPage(rows, total, self.progress(reviewer, filters, readings))

    def next_task(self, reviewer: Reviewer, filters: WorklistFilters, after: Task | None) -> Task | None:
        """The next segment in the order of the worklist that is not finished; None behind the last one.

        after : None = the first one. It need not match the filters any more, as after it was finished.
        """
        self._shared.memory.refresh()
        return self.neighbours(reviewer, filters, after, self._shared.readings(reviewer))[1]

    def previous_task(self, reviewer: Reviewer, filters: WorklistFilters, before: Task | None) -> Task | None:
        """Likewise the one before; None before the first one."""
        self._shared.memory.refresh()
        return self.neighbours(reviewer, filters, before, self._shared.readings(reviewer))[0]

    def task_of(self, reviewer: Reviewer, place: SegmentRef) -> Task:
        """What there is to do for a reader about a segment: the first reading, or a repeat that is scheduled."""
        self._shared.memory.refresh()
        return self._shared.readings(reviewer, segmentation=place.segmentation).task(place)

    def neighbours(
        self, reviewer: Reviewer, filters: WorklistFilters, at: Task | None, readings: Readings
    ) -> tuple[Task | None, Task | None]:
        """The unfinished segments before and after one; without one (None) nothing, and the first of all."""
        only, without = self._selection(reviewer, filters, readings)
        if filters.status not in [one.value for one in _FINISHED]:
            without = without | readings.places(*_FINISHED)
        if at is not None:
            only = None if only is None else only | {at.place}
            without = without - {at.place}
        places = matching_places(self._shared.index, filters, only=only, without=without)
        if at is None or at.place not in places:
            return None, readings.task(places[0]) if places else None
        position = places.index(at.place)
        before = readings.task(places[position - 1]) if position else None
        return before, readings.task(places[position + 1]) if position + 1 < len(places) else None

    def progress(self, reviewer: Reviewer, filters: WorklistFilters, readings: Readings) -> Progress:
        """Numbers of segments that match, by how far the reader is with them."""
        wider = replace(filters, status="")
        only, _ = self._selection(reviewer, wider, readings)

        def count(places: set[SegmentRef] | None) -> int:
            return 0 if places == set() else machine_segments(self._shared.index, wider, only=places, limit=0)[1]

        draft, done, signed = (
            count(places if only is None else places & only)
            for places in (readings.places(state) for state in (DraftState.DRAFT, *_FINISHED))
        )
        return Progress(count(only), draft, done, signed)

    def _selection(
        self, reviewer: Reviewer, filters: WorklistFilters, readings: Readings
    ) -> tuple[set[SegmentRef] | None, set[SegmentRef]]:
        """What the filters mean that the index of findings cannot answer: places to keep (None = all) and to leave."""
        keep: list[set[SegmentRef]] = []
        leave: set[SegmentRef] = set()
        if filters.status == DraftState.OPEN:
            leave = readings.places(DraftState.DRAFT, *_FINISHED)
        elif filters.status:
            keep.append({place for place, status in readings.statuses.items() if status == filters.status})
        if filters.reviewer:
            keep.append(self._places_of_reader(reviewer, filters.reviewer))
        if filters.is_annotated:
            keep.append({SegmentRef(*place) for place in self._shared.ledger.annotation_counts()})
        if filters.is_major:
            keep.append(self._major_places(reviewer))
        return (set.intersection(*keep) if keep else None), leave

    def _places_of_reader(self, reviewer: Reviewer, login: str) -> set[SegmentRef]:
        """What is assigned to somebody, and what they have signed as far as the reader who asks may know."""
        places: set[SegmentRef] = set()
        for one in self._shared.ledger.assignments(login=login):
            if one.segment == WHOLE:
                places |= set(matching_places(self._shared.index, WorklistFilters(segmentation=one.segmentation)))
            else:
                places.add(SegmentRef(one.segmentation, one.segment))
        if login == reviewer.login or self._shared.sees_others(reviewer):
            places |= places_reviewed(self._shared.memory.current(login=login))
        return places

    def _major_places(self, reviewer: Reviewer) -> set[SegmentRef]:
        """What was found in need of major edits or worse, by whom the reader may know of."""
        login = None if self._shared.sees_others(reviewer) else reviewer.login
        severities = list(self._shared.vocabulary.severities)
        worst = set(severities[severities.index("major") :]) if "major" in severities else set()
        found = set()
        for review in self._shared.memory.current(login=login):
            for one in review.review.segments:
                kinds = self._shared.vocabulary.findings
                is_bad = any(
                    finding.severity in worst and (finding.type not in kinds or kinds[finding.type].is_error)
                    for finding in one.findings
                )
                if one.rating in ("1", "2") or is_bad:
                    found.add(SegmentRef(review.review.segmentation, one.segment_number))
        return found

    def _reader_names(self, reviewer: Reviewer, segmentations: Collection[str]) -> dict[SegmentRef, tuple[str, ...]]:
        login = None if self._shared.sees_others(reviewer) else reviewer.login
        names: dict[SegmentRef, dict[str, None]] = {}
        for review in self._shared.memory.current(login=login, segmentations=segmentations) if segmentations else ():
            if review.review.purpose is Purpose.REPEAT:
                continue  # not even its reader is told
            for one in review.review.segments:
                place = SegmentRef(review.review.segmentation, one.segment_number)
                names.setdefault(place, {})[review.review.reviewer.name] = None
        hidden = self._shared.repeated(reviewer)
        return {place: tuple(found) for place, found in names.items() if place not in hidden}

    def _assigned(self, segmentations: Collection[str]) -> dict[SegmentRef, list[str]]:
        found: dict[SegmentRef, list[str]] = {}
        for one in self._shared.ledger.assignments(segmentations=segmentations) if segmentations else ():
            found.setdefault(SegmentRef(one.segmentation, one.segment), []).append(one.login)
        return found


def _assigned_to(assigned: Mapping[SegmentRef, Sequence[str]], place: SegmentRef) -> tuple[str, ...]:
    whole = SegmentRef(place.segmentation, WHOLE)
    return tuple(dict.fromkeys((*assigned.get(place, ()), *assigned.get(whole, ()))))
