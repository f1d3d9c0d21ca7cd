"""What readers type: kept at once, never overwritten by an older window, never mixed with what others type."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from segqa_dicom.assessment.model import Location, Purpose, ReviewFinding, SegmentReview
from segqa_dicom.errors import Inconsistent, InputError
from segqa_dicom.model import SegmentRef
from segqa_dicom.reviews.workflow.drafts import MOST_SECONDS, DraftConflict
from segqa_dicom.reviews.workflow.model import DraftState, Task
from segqa_dicom.reviews.workflow.shared import NotYours
from segqa_dicom.reviews.workflow.workflow import ReviewWorkflow
from tests.reviews.office import ANNA, BEN, LIVER, NOW, Office, said


def test_a_draft_comes_back_as_it_was_typed(workflow: ReviewWorkflow, office: Office) -> None:
    place = office.places()[0]
    empty = workflow.draft(ANNA, Task(place))
    assert (empty.content, empty.status, empty.version) == (SegmentReview(place.segment), DraftState.OPEN, 0)
    box = Location((1.0, 2.0, 3.0), ((0.0, 1.0, 2.0), (2.0, 3.0, 4.0)))
    content = said(place, "2", LIVER, ReviewFinding("hole", "minor", box, "ö\n2"), comment="äöü", action="edit")
    saved = workflow.save(ANNA, Task(place), replace(content, confidence="low", seconds=3.0), version=0)
    assert (saved.status, saved.version) == (DraftState.DRAFT, 1)
    assert saved.content == replace(content, confidence="low", seconds=3.0)
    assert office.workflow().draft(ANNA, Task(place)) == saved
    assert workflow.draft(BEN, Task(place)).status is DraftState.OPEN


def test_looking_at_a_segment_makes_no_draft(workflow: ReviewWorkflow, office: Office) -> None:
    place = office.places()[0]
    seen = workflow.save(ANNA, Task(place), SegmentReview(place.segment, seconds=30.0), version=0)
    assert (seen.status, seen.version) == (DraftState.OPEN, 0)
    assert office.ledger.draft_marks("anna") == []


def test_saving_the_same_again_changes_nothing(workflow: ReviewWorkflow, office: Office) -> None:
    place = office.places()[0]
    first = workflow.save(ANNA, Task(place), said(place), version=0)
    office.clock.pass_s(5)
    # The answer was lost; the page asks once more with the version that it knows.
    assert workflow.save(ANNA, Task(place), said(place), version=0) == first
    assert office.ledger.draft_marks("anna")[0].updated_at == NOW


def test_an_older_window_does_not_overwrite_what_a_newer_one_said(workflow: ReviewWorkflow, office: Office) -> None:
    place = office.places()[0]
    workflow.save(ANNA, Task(place), said(place, "3"), version=0)
    newer = workflow.save(ANNA, Task(place), said(place, "4"), version=1)
    with pytest.raises(DraftConflict) as caught:
        workflow.save(ANNA, Task(place), said(place, "5"), version=1)
    assert caught.value.current == newer
    assert workflow.draft(ANNA, Task(place)) == newer


def test_of_many_windows_at_once_one_wins_and_the_others_are_told(workflow: ReviewWorkflow, office: Office) -> None:
    place = office.places()[0]
    workflow.save(ANNA, Task(place), said(place, "3"), version=0)
    outcomes: list[str] = []

    def save(number: int) -> None:
        try:
            workflow.save(ANNA, Task(place), said(place, "3", comment=str(number)), version=1)
            outcomes.append("saved")
        except DraftConflict:
            outcomes.append("conflict")

    threads = [threading.Thread(target=save, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["conflict"] * 7 + ["saved"]
    assert workflow.draft(ANNA, Task(place)).version == 2


def test_readers_who_work_at_once_do_not_meet(workflow: ReviewWorkflow, office: Office) -> None:
    place = office.places()[0]
    workflow.save(ANNA, Task(place), said(place, "5"), version=0)
    workflow.save(BEN, Task(place), said(place, "1"), version=0)
    assert workflow.draft(ANNA, Task(place)).content.rating == "5"
    assert workflow.draft(BEN, Task(place)).content.rating == "1"


def test_enter_finishes_and_reopening_goes_on(workflow: ReviewWorkflow, office: Office) -> None:
    place = office.places()[0]
    done = workflow.save(ANNA, Task(place), said(place, "4"), version=0, finish=True)
    assert done.status is DraftState.DONE
    # What the page had still on its way says the same.
    assert workflow.save(ANNA, Task(place), said(place, "4"), version=done.version) == done
    again = workflow.reopen(ANNA, Task(place))
    assert (again.status, again.content, again.version) == (DraftState.DRAFT, done.content, done.version + 1)
    assert workflow.reopen(ANNA, Task(place)) == again
    assert workflow.save(ANNA, Task(place), said(place, "5"), version=again.version).status is DraftState.DRAFT


def test_typing_into_what_was_finished_makes_it_unfinished(workflow: ReviewWorkflow, office: Office) -> None:
    place = office.places()[0]
    done = workflow.save(ANNA, Task(place), said(place, "4"), version=0, finish=True)
    assert workflow.save(ANNA, Task(place), said(place, "3"), version=done.version).status is DraftState.DRAFT


def test_nothing_said_cannot_be_finished(workflow: ReviewWorkflow, office: Office) -> None:
    place = office.places()[0]
    with pytest.raises(Inconsistent, match="rating or a finding"):
        workflow.save(ANNA, Task(place), said(place, "", comment="  "), version=0, finish=True)


def test_time_spent_grows_no_faster_than_the_clock(workflow: ReviewWorkflow, office: Office) -> None:
    place = office.places()[0]
    first = workflow.save(ANNA, Task(place), said(place, "1", seconds=10 * MOST_SECONDS), version=0)
    assert first.content.seconds == MOST_SECONDS
    place = office.places()[1]
    first = workflow.save(ANNA, Task(place), said(place, "1", seconds=20.0), version=0)
    office.clock.pass_s(10)
    second = workflow.save(ANNA, Task(place), said(place, "2", seconds=10_000.0), version=first.version)
    assert second.content.seconds == 20 + 10 + 60
    third = workflow.save(ANNA, Task(place), said(place, "3", seconds=1.0), version=second.version)
    assert third.content.seconds == second.content.seconds


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rating": "6"}, "no rating '6'"),
        ({"action": "burn"}, "no action"),
        ({"confidence": "5"}, "no confidence"),
        ({"comment": "x" * 2001}, "2001 characters"),
        ({"findings": (ReviewFinding("nose"),)}, "no finding"),
        ({"findings": (ReviewFinding("hole", "mild"),)}, "no severity"),
        ({"findings": (ReviewFinding("hole", location=Location((float("nan"), 0, 0))),)}, "no point in a patient"),
        ({"findings": (ReviewFinding("hole", location=Location((1e9, 0, 0))),)}, "no point in a patient"),
        ({"findings": (ReviewFinding("hole"),) * 101}, "more than 100"),
        ({"seconds": float("inf")}, "no number of seconds"),
        ({"segment_number": 77}, "another segment"),
    ],
)
def test_what_cannot_be_written_to_a_document_is_refused_at_once(
    workflow: ReviewWorkflow, office: Office, changes: dict[str, object], words: str
) -> None:
    place = office.places()[0]
    with pytest.raises(InputError, match=words):
        workflow.save(ANNA, Task(place), replace(said(place), **changes), version=0)  # type: ignore[arg-type]
    assert office.ledger.draft_marks("anna") == []


@pytest.mark.parametrize("place", [SegmentRef("1.2.3", 1), SegmentRef("1.2.3", 0)])
def test_segments_that_nobody_knows_get_no_drafts(workflow: ReviewWorkflow, place: SegmentRef) -> None:
    with pytest.raises(InputError, match="nothing is known"):
        workflow.save(ANNA, Task(place), said(place), version=0)


def test_a_whole_segmentation_can_be_reviewed(workflow: ReviewWorkflow, office: Office) -> None:
    place = SegmentRef(office.segmentations()[0], 0)
    assert workflow.save(ANNA, Task(place), said(place), version=0, finish=True).status is DraftState.DONE


@pytest.mark.parametrize(
    "task",
    [
        Task(SegmentRef("1.2", 1), Purpose.ADJUDICATION),
        Task(SegmentRef("1.2", 1), Purpose.REPEAT, 2),
        Task(SegmentRef("1.2", 1), Purpose.READING, 2),
    ],
)
def test_tasks_that_a_reader_does_not_have_are_refused(workflow: ReviewWorkflow, task: Task) -> None:
    with pytest.raises(NotYours):
        workflow.draft(ANNA, task)


@pytest.mark.parametrize("login", ["", "x" * 65, "a\nb"])
def test_logins_that_no_document_can_hold_are_refused(workflow: ReviewWorkflow, office: Office, login: str) -> None:
    with pytest.raises(InputError, match="login"):
        workflow.draft(replace(ANNA, login=login), Task(office.places()[0]))
