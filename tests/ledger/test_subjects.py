"""Arrivals, the debounce, segmentations, and the small records."""

from __future__ import annotations

import pytest

from segqa_dicom.ledger import CaseState, Conflict, Ledger, SegmentationState, Subject, Touch
from tests.ledger.factories import NOW, claimed, document, opened, segmentation


def test_arrivals_push_the_evaluation_on(ledger: Ledger) -> None:
    ledger.touch("1.1", None, arrived_at=NOW, check_at=NOW + 5)
    ledger.touch("1.1", "1.0", arrived_at=NOW + 3, check_at=NOW + 8)
    ledger.touch("1.1", None, arrived_at=NOW + 4, check_at=NOW + 2)
    assert ledger.subject("1.1") == Subject("1.1", "1.0", NOW + 4, NOW + 8, None)
    assert ledger.subject("2.1") is None
    assert ledger.due_subjects(NOW + 7, 10) == []
    assert [subject.ct_series_instance_uid for subject in ledger.due_subjects(NOW + 8, 10)] == ["1.1"]


def test_what_arrives_during_an_evaluation_is_not_forgotten(ledger: Ledger) -> None:
    ledger.touch("1.1", "1.0", arrived_at=NOW, check_at=NOW)
    (seen,) = ledger.due_subjects(NOW, 10)
    # It arrived before what was seen, but was noted after: another process was slower.
    ledger.touch("1.1", "1.0", arrived_at=NOW - 1, check_at=NOW + 4)
    assert not ledger.evaluated("1.1", seen.arrived_at, now=NOW + 1, check_at=None)
    (again,) = ledger.due_subjects(NOW + 4, 10)
    assert again.arrived_at == pytest.approx(NOW, abs=1e-3)
    assert ledger.evaluated("1.1", again.arrived_at, now=NOW + 5, check_at=None)
    assert ledger.due_subjects(NOW + 1e6, 10) == []
    assert ledger.subject("1.1") == Subject("1.1", "1.0", again.arrived_at, None, NOW + 5)
    assert not ledger.evaluated("9.9", NOW, now=NOW, check_at=None)


def test_news_do_not_wait_for_a_deadline(ledger: Ledger) -> None:
    ledger.touch("1.1", "1.0", arrived_at=NOW, check_at=NOW + 5)
    assert ledger.evaluated("1.1", NOW, now=NOW + 5, check_at=NOW + 100)
    assert ledger.due_subjects(NOW + 99, 10) == []
    assert len(ledger.due_subjects(NOW + 100, 10)) == 1
    ledger.touch("1.1", "1.0", arrived_at=NOW + 60, check_at=NOW + 65)
    assert len(ledger.due_subjects(NOW + 65, 10)) == 1


def test_many_arrivals_are_noted_at_once(ledger: Ledger) -> None:
    touches = [Touch(f"{n % 300}.1", None if n % 2 else "1.0", NOW + n, NOW + n + 5) for n in range(900)]
    ledger.touch_many(touches)
    ledger.touch_many([])
    due = ledger.due_subjects(NOW + 1e6, 1000)
    assert len(due) == 300
    assert due[0] == Subject("0.1", "1.0", NOW + 600, NOW + 605, None)
    assert [subject.check_at for subject in due] == sorted(subject.check_at or 0 for subject in due)
    assert len(ledger.due_subjects(NOW + 1e6, 7)) == 7


def test_a_quiet_time_set_by_a_clock_that_was_ahead_is_over_at_once(ledger: Ledger) -> None:
    """F20."""
    ahead = NOW + 86_400
    ledger.touch("1.1", "1.0", arrived_at=ahead, check_at=ahead + 5)
    ledger.touch("2.1", "1.0", arrived_at=NOW, check_at=NOW + 5)
    ledger.touch("3.1", "1.0", arrived_at=NOW, check_at=NOW + 5)
    ledger.evaluated("3.1", NOW, now=NOW, check_at=NOW + 86_400)
    (due,) = ledger.due_subjects(NOW, 10)
    assert due.ct_series_instance_uid == "1.1"
    assert ledger.evaluated("1.1", due.arrived_at, now=NOW, check_at=NOW + 86_400)
    assert ledger.due_subjects(NOW, 10) == []


def test_a_segmentation_is_added_once_and_comes_out_as_it_went_in(ledger: Ledger) -> None:
    row = segmentation()
    assert ledger.add_segmentation(row)
    assert not ledger.add_segmentation(segmentation(digest="f" * 64))
    assert ledger.segmentations_on("1.1") == [row]
    assert ledger.segmentation("1.9.1") == row
    assert ledger.segmentation("1.9.2") is None
    assert ledger.segmentations_on("2.1") == []


def test_segmentations_are_resolved_and_marked(ledger: Ledger) -> None:
    for number in (2, 1, 3):
        ledger.add_segmentation(segmentation(f"1.9.{number}", None, arrived_at=NOW + number))
    assert ledger.mark_segmentation("1.9.3", SegmentationState.REFUSED, "it refers to no image")
    assert [row.sop_instance_uid for row in ledger.unresolved_segmentations()] == ["1.9.1", "1.9.2"]
    assert ledger.resolve_segmentation("1.9.1", "1.1")
    assert [row.sop_instance_uid for row in ledger.unresolved_segmentations()] == ["1.9.2"]
    assert [row.sop_instance_uid for row in ledger.segmentations_on("1.1")] == ["1.9.1"]
    refused = ledger.segmentation("1.9.3")
    assert refused is not None
    assert (refused.state, refused.reason) == (SegmentationState.REFUSED, "it refers to no image")
    assert not ledger.resolve_segmentation("9.9", "1.1")
    assert not ledger.mark_segmentation("9.9", SegmentationState.REVIEWED)


def test_known_segmentations_are_told_from_thousands(ledger: Ledger) -> None:
    ledger.add_segmentation(segmentation("1.9.1"))
    ledger.add_segmentation(segmentation("1.9.700"))
    assert ledger.known_segmentations(f"1.9.{number}" for number in range(1200)) == {"1.9.1", "1.9.700"}
    assert ledger.known_segmentations([]) == set()


def test_a_cursor_is_empty_and_then_what_it_was_set_to(ledger: Ledger) -> None:
    assert ledger.cursor("changes") == ""
    ledger.set_cursor("changes", "12")
    ledger.set_cursor("changes", "13")
    ledger.set_cursor("other", "1")
    assert ledger.cursor("changes") == "13"


def test_conflicts_are_noted_once_and_found_by_series_or_object(ledger: Ledger) -> None:
    conflict = Conflict("1.1.5", "a" * 64, "b" * 64, "1.1", NOW)
    assert ledger.add_conflict(conflict)
    assert not ledger.add_conflict(Conflict("1.1.5", "a" * 64, "b" * 64, "1.1", NOW + 5))
    other = Conflict("1.9.1", "a" * 64, "b" * 64, "1.9", NOW - 1)
    assert ledger.add_conflict(other)
    assert ledger.conflicts_in(["1.1"]) == [conflict]
    assert ledger.conflicts_in(["1.1.5", "1.1", "1.9"]) == [other, conflict]
    assert ledger.conflicts_in([]) == []


def test_refusals_are_noted_once_and_listed_newest_first(ledger: Ledger) -> None:
    added = [
        ledger.refuse(sop_instance_uid="", name="UnreadableObject", reason="not DICOM", path=f"q/{number}", now=NOW)
        for number in (1, 1, 2)
    ]
    assert added == [True, False, True]
    assert [refusal.path for refusal in ledger.refusals()] == ["q/2", "q/1"]
    (newest,) = ledger.refusals(1)
    assert (newest.sop_instance_uid, newest.name, newest.seen_at) == ("", "UnreadableObject", NOW)


def test_the_summary_of_an_empty_ledger_has_every_state(ledger: Ledger) -> None:
    summary = ledger.summary(NOW)
    assert summary.cases == {state.value: 0 for state in CaseState}
    assert summary.segmentations == {state.value: 0 for state in SegmentationState}
    assert summary.oldest_runnable_s is None
    assert (summary.outbox, summary.quarantined_objects, summary.conflicts, summary.attempts) == (0, 0, 0, 0)


def test_the_summary_counts(ledger: Ledger) -> None:
    for uid, subject in [("1.9.1", "1.1"), ("2.9.1", "2.1"), ("2.9.2", "2.1"), ("3.9.1", None), ("4.9.1", "4.1")]:
        ledger.add_segmentation(segmentation(uid, subject))
    ledger.mark_segmentation("4.9.1", SegmentationState.REVIEWED)
    opened(ledger, now=NOW + 1)
    other = claimed(ledger, opened(ledger, "5.1", now=NOW).case_id, now=NOW + 2)
    ledger.produced(other.case_id, other.token, [document()], now=NOW + 2, lease_s=10)
    ledger.add_conflict(Conflict("1.1.5", "a", "b", "1.1", NOW))
    ledger.refuse(sop_instance_uid="", name="UnreadableObject", reason="not DICOM", path="q/1", now=NOW)
    summary = ledger.summary(NOW + 11)
    # Subject 2.1 has segmentations and no case; 1.1 has one that is ready.
    assert {state: count for state, count in summary.cases.items() if count} == {"waiting": 1, "ready": 1, "storing": 1}
    assert summary.segmentations == {"waiting": 4, "reviewed": 1, "incomplete": 0, "refused": 0}
    assert (summary.outbox, summary.quarantined_objects, summary.conflicts, summary.attempts) == (1, 1, 1, 1)
    assert summary.oldest_runnable_s == 10
    assert ledger.summary(NOW + 112).oldest_runnable_s == 111


def test_the_oldest_that_could_run_may_be_a_lease_that_is_over(ledger: Ledger) -> None:
    claimed(ledger, opened(ledger).case_id)
    assert ledger.summary(NOW + 40).oldest_runnable_s is None
    assert ledger.summary(NOW + 55).oldest_runnable_s == 10


def test_subjects_with_waiting_segmentations_are_listed_once(ledger: Ledger) -> None:
    for uid, subject in [("2.9.1", "2.1"), ("1.9.1", "1.1"), ("1.9.2", "1.1"), ("3.9.1", None), ("4.9.1", "4.1")]:
        ledger.add_segmentation(segmentation(uid, subject))
    ledger.mark_segmentation("4.9.1", SegmentationState.REVIEWED)
    assert ledger.waiting_subjects() == ["1.1", "2.1"]


def test_looking_again_moves_nothing_but_what_waits_for_a_deadline(ledger: Ledger) -> None:
    ledger.look_again([], now=NOW)
    ledger.look_again(["1.1"], now=NOW)
    assert [one.ct_series_instance_uid for one in ledger.due_subjects(NOW, 10)] == ["1.1"]
    ledger.touch("1.1", "1.0", arrived_at=NOW + 1, check_at=NOW + 6)
    ledger.look_again(["1.1"], now=NOW + 2)
    assert ledger.due_subjects(NOW + 5, 10) == []
    assert ledger.evaluated("1.1", NOW + 1, now=NOW + 6, check_at=NOW + 1000)
    ledger.look_again(["1.1", "1.1"], now=NOW + 30)
    (found,) = ledger.due_subjects(NOW + 30, 10)
    assert (found.ct_study_instance_uid, found.arrived_at) == ("1.0", NOW + 1)
