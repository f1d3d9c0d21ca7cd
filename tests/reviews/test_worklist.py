"""What readers see of the worklist, in which order they go through it, and what is hidden from them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segqa_dicom.assessment.model import Purpose, ReviewFinding, SegmentReview
from segqa_dicom.errors import InputError
from segqa_dicom.ledger import AnnotationRow
from segqa_dicom.model import SegmentRef
from segqa_dicom.reviews.workflow.model import DraftState, Progress, Task, WorklistFilters, WorklistPage
from segqa_dicom.reviews.workflow.signed_reviews import ReviewMemory
from segqa_dicom.reviews.workflow.workflow import ReviewWorkflow
from tests.reviews.office import ALL, ANNA, BEN, CARL, Office, finish, said


def places_of(page: WorklistPage) -> list[SegmentRef]:
    return [row.machine.place for row in page.rows]


def test_the_worklist_shows_how_far_the_reader_who_asks_is(workflow: ReviewWorkflow, office: Office) -> None:
    first, second, third, *_ = office.places()
    finish(workflow, ANNA, first)
    workflow.sign(ANNA, [first.segmentation])
    finish(workflow, ANNA, second)
    workflow.save(ANNA, Task(third), said(third), version=0)
    page = workflow.worklist(ANNA, ALL, limit=4)
    assert [row.status for row in page.rows] == [DraftState.SIGNED, DraftState.DONE, DraftState.DRAFT, DraftState.OPEN]
    assert [row.task for row in page.rows] == [Task(place) for place in office.places()[:4]]
    assert page.total == len(office.places())
    assert page.progress == Progress(page.total, draft=1, done=1, signed=1)
    assert workflow.worklist(BEN, ALL, limit=1).progress == Progress(page.total, 0, 0, 0)
    assert places_of(workflow.worklist(ANNA, ALL, limit=3, offset=2)) == office.places()[2:5]


@pytest.mark.parametrize(("status", "wanted"), [("signed", [0]), ("done", [1]), ("draft", [2])])
def test_the_worklist_can_be_filtered_by_status(
    workflow: ReviewWorkflow, office: Office, status: str, wanted: list[int]
) -> None:
    places = office.places()
    finish(workflow, ANNA, places[0])
    workflow.sign(ANNA, [places[0].segmentation])
    finish(workflow, ANNA, places[1])
    workflow.save(ANNA, Task(places[2]), said(places[2]), version=0)
    page = workflow.worklist(ANNA, WorklistFilters(status=status))
    assert places_of(page) == [places[at] for at in wanted]
    assert page.progress == Progress(len(places), 1, 1, 1)
    rest = workflow.worklist(ANNA, WorklistFilters(status="open"), limit=1000)
    assert places_of(rest) == places[3:]


def test_next_follows_the_worklist_and_skips_what_is_finished(workflow: ReviewWorkflow, office: Office) -> None:
    places = office.places()
    assert workflow.next_task(ANNA, ALL, None) == Task(places[0])
    finish(workflow, ANNA, places[1])
    assert workflow.next_task(ANNA, ALL, Task(places[0])) == Task(places[2])
    assert workflow.previous_task(ANNA, ALL, Task(places[2])) == Task(places[0])
    assert workflow.previous_task(ANNA, ALL, Task(places[0])) is None
    assert workflow.next_task(ANNA, ALL, Task(places[-1])) is None
    assert workflow.next_task(BEN, ALL, Task(places[0])) == Task(places[1])


@pytest.mark.slow
def test_going_through_the_worklist_comes_by_every_segment_once_whatever_others_do(
    workflow: ReviewWorkflow, office: Office
) -> None:
    filters = WorklistFilters(segmentation=office.segmentations()[0])
    wanted = [place for place in office.places() if place.segmentation == filters.segmentation]
    seen: list[SegmentRef] = []
    at: Task | None = None
    while (at := workflow.next_task(ANNA, filters, at)) is not None:
        seen.append(at.place)
        finish(workflow, ANNA, at.place)
        if len(seen) % 5 == 0:
            workflow.sign(ANNA, [filters.segmentation])
        finish(workflow, BEN, wanted[-len(seen)], "1")
        office.clock.pass_s(10)
    assert seen == wanted


def test_next_goes_on_from_a_segment_that_matches_no_more(workflow: ReviewWorkflow, office: Office) -> None:
    places = office.places()
    for place in places[:3]:
        workflow.save(ANNA, Task(place), said(place), version=0)
    drafts = WorklistFilters(status="draft")
    finish(workflow, ANNA, places[1])
    assert workflow.next_task(ANNA, drafts, Task(places[1])) == Task(places[2])
    assert workflow.previous_task(ANNA, drafts, Task(places[1])) == Task(places[0])
    assert workflow.next_task(ANNA, drafts, Task(places[2])) is None
    finished = WorklistFilters(status="done")
    assert workflow.next_task(ANNA, finished, None) == Task(places[1])


def test_assignments_are_shown_and_can_be_filtered_by(workflow: ReviewWorkflow, office: Office) -> None:
    place, other = office.places()[:2]
    workflow.assign(place, "ben", by="anna")
    workflow.assign(place, "carl", by="anna")
    workflow.assign(place, "ben", by="carl")
    assert workflow.worklist(ANNA, ALL, limit=1).rows[0].assigned_to == ("ben", "carl")
    assert places_of(workflow.worklist(BEN, WorklistFilters(reviewer="ben"))) == [place]
    workflow.assign(office.segmentations()[1], "ben", by="anna")
    page = workflow.worklist(BEN, WorklistFilters(reviewer="ben"), limit=1000)
    whole = [one for one in office.places() if one.segmentation == office.segmentations()[1]]
    assert set(places_of(page)) == {place, *whole}
    workflow.assign(office.segmentations()[1], None, by="anna")
    workflow.assign(place, None, by="anna")
    assert workflow.worklist(BEN, WorklistFilters(reviewer="ben")).rows == ()
    with pytest.raises(InputError):
        workflow.assign(other, "", by="anna")


def test_segments_with_annotations_can_be_found(workflow: ReviewWorkflow, office: Office) -> None:
    place = office.places()[3]
    rows = [AnnotationRow("1.5", group, place.segmentation, place.segment, "1.2", {}) for group in (1, 2)]
    office.ledger.add_annotations(["1.5"], rows, now=office.clock())
    page = workflow.worklist(ANNA, WorklistFilters(is_annotated=True))
    assert [(row.machine.place, row.annotations) for row in page.rows] == [(place, 2)]


# What is hidden


def test_blind_readers_see_nothing_of_each_other(workflow: ReviewWorkflow, office: Office) -> None:
    place = office.places()[0]
    finish(workflow, BEN, place, "1", ReviewFinding("hole", "critical"))
    workflow.sign(BEN, [place.segmentation])
    assert workflow.visible_reviews(ANNA, place) == []
    assert workflow.visible_reviews(ANNA, Task(place)) == []
    assert workflow.worklist(ANNA, ALL, limit=1).rows[0].readers == ()
    assert workflow.worklist(BEN, ALL, limit=1).rows[0].readers == (BEN.name,)
    assert workflow.worklist(ANNA, WorklistFilters(reviewer="ben")).total == 0
    assert workflow.worklist(ANNA, WorklistFilters(is_major=True)).total == 0
    assert places_of(workflow.worklist(BEN, WorklistFilters(is_major=True))) == [place]
    # Having signed oneself opens nothing, either.
    finish(workflow, ANNA, place, "5")
    workflow.sign(ANNA, [place.segmentation])
    assert workflow.visible_reviews(ANNA, place) == []


def test_readers_who_are_not_blind_see_what_others_have_signed(office: Office) -> None:
    workflow, place = office.workflow(blind=False), office.places()[0]
    finish(workflow, BEN, place, "1")
    assert workflow.visible_reviews(ANNA, place) == []
    workflow.sign(BEN, [place.segmentation])
    ((review, content),) = workflow.visible_reviews(ANNA, place)
    assert (review.review.reviewer, content.rating) == (BEN, "1")
    assert workflow.visible_reviews(BEN, place) == []
    assert workflow.worklist(ANNA, ALL, limit=1).rows[0].readers == (BEN.name,)
    assert places_of(workflow.worklist(ANNA, WorklistFilters(reviewer="ben"))) == [place]
    assert places_of(workflow.worklist(ANNA, WorklistFilters(is_major=True))) == [place]


# Repeats


def test_a_segment_to_be_read_again_looks_like_one_that_was_never_read(
    workflow: ReviewWorkflow, office: Office
) -> None:
    places = office.places()[:4]
    for place in places:
        finish(workflow, ANNA, place, "2", ReviewFinding("hole", "minor"))
    workflow.sign(ANNA, office.segmentations())
    before = workflow.worklist(BEN, ALL, limit=4)
    assert workflow.schedule_repeats(1.0, seed=1) == 4
    assert workflow.schedule_repeats(1.0, seed=1) == 0
    page = workflow.worklist(ANNA, ALL, limit=4)
    hidden = [replace(row, task=Task(row.machine.place)) for row in page.rows]
    assert hidden == list(before.rows)
    assert page.progress == before.progress
    assert [row.task for row in page.rows] == [Task(place, Purpose.REPEAT, 2) for place in places]
    task = workflow.next_task(ANNA, ALL, None)
    assert task == Task(places[0], Purpose.REPEAT, 2)
    assert workflow.task_of(ANNA, places[0]) == task
    assert workflow.draft(ANNA, task).content == SegmentReview(places[0].segment)
    finish(workflow, ANNA, places[0], "4")
    assert workflow.next_task(ANNA, ALL, task) == Task(places[1], Purpose.REPEAT, 2)
    office.clock.pass_s(10)
    (written,) = workflow.sign(ANNA, [places[0].segmentation])
    assert workflow.worklist(ANNA, ALL, limit=1).rows[0].status is DraftState.SIGNED
    found = {
        (one.subject, one.reading): one.rating for one in workflow.ratings() if one.source == written.sop_instance_uid
    }
    assert found == {(f"{places[0].segmentation}/{places[0].segment}", 2): 4}
    assert len(workflow.ratings()) == 5
    # The first reading stays as it was.
    assert {one.rating for one in workflow.ratings() if one.reading == 1} == {2}


@pytest.mark.slow
def test_the_share_of_repeats_holds_while_more_is_signed(workflow: ReviewWorkflow, office: Office) -> None:
    places = office.places()[:20]
    for place in places[:10]:
        finish(workflow, ANNA, place)
        finish(workflow, BEN, place)
    workflow.sign(ANNA, office.segmentations())
    workflow.sign(BEN, office.segmentations())
    assert workflow.schedule_repeats(0.3, "anna", seed=7) == 3
    drawn = set(office.ledger.repeats("anna"))
    for place in places[10:]:
        finish(workflow, ANNA, place)
    office.clock.pass_s(10)
    workflow.sign(ANNA, office.segmentations())
    assert workflow.schedule_repeats(0.3, "anna", seed=7) == 3
    assert drawn < set(office.ledger.repeats("anna"))
    assert office.ledger.repeats("ben") == []
    assert workflow.schedule_repeats(0.3, seed=7) == 3
    with pytest.raises(InputError):
        workflow.schedule_repeats(1.5)


def test_what_was_read_again_can_be_read_a_third_time(workflow: ReviewWorkflow, office: Office) -> None:
    place = office.places()[0]
    for reading in (1, 2, 3):
        assert workflow.task_of(ANNA, place).reading == reading
        finish(workflow, ANNA, place, str(reading))
        workflow.sign(ANNA, [place.segmentation])
        office.clock.pass_s(10)
        assert workflow.schedule_repeats(1.0) == 1
    assert sorted((one.reading, one.rating) for one in workflow.ratings()) == [(1, 1), (2, 2), (3, 3)]


# Adjudication


def test_adjudicators_decide_where_readers_differ(office: Office) -> None:
    workflow = office.workflow(adjudicators="carl, dora")
    by_two, by_one, by_action, by_finding, agreed, by_assessing = office.places()[:6]
    hole, variant = ReviewFinding("hole", "minor"), ReviewFinding("variant", "cosmetic")
    contents = {
        by_two: (("5",), ("3",)),
        by_one: (("5",), ("4",)),
        by_finding: (("4", hole), ("4",)),
        agreed: (("4", variant), ("4",)),
        by_assessing: (("na",), ("5",)),
    }
    for place, both in contents.items():
        for reader, (rating, *findings) in zip((ANNA, BEN), both, strict=True):
            finish(workflow, reader, place, rating, *findings)
    for reader, action in ((ANNA, "accept"), (BEN, "edit")):
        workflow.save(reader, Task(by_action), said(by_action, "", action=action), version=0, finish=True)
    assert workflow.adjudication_tasks(CARL) == []
    for reader in (ANNA, BEN):
        workflow.sign(reader, office.segmentations())
    tasks = workflow.adjudication_tasks(CARL)
    assert [one.place for one in tasks[:2]] == [by_assessing, by_two]
    assert {one.place for one in tasks[2:]} == {by_action, by_finding}
    assert {one.purpose for one in tasks} == {Purpose.ADJUDICATION}
    assert workflow.adjudication_tasks(ANNA) == []
    assert workflow.visible_reviews(ANNA, tasks[0]) == []

    seen = workflow.visible_reviews(CARL, tasks[1])
    assert sorted((review.review.reviewer.login, content.rating) for review, content in seen) == [
        ("anna", "5"),
        ("ben", "3"),
    ]
    assert workflow.visible_reviews(CARL, by_two) == seen
    assert workflow.visible_reviews(CARL, by_one) == []
    assert workflow.visible_reviews(CARL, Task(by_two)) == []
    office.clock.pass_s(10)
    workflow.save(CARL, tasks[1], said(by_two, "4"), version=0, finish=True)
    workflow.sign(CARL, [by_two.segmentation])
    assert by_two not in [one.place for one in workflow.adjudication_tasks(CARL)]
    assert by_two not in [one.place for one in workflow.adjudication_tasks(replace(CARL, login="dora"))]
    assert "carl" not in {one.reader for one in workflow.ratings()}
    (decision,) = [one for one in workflow.signed(by_two) if one.review.purpose is Purpose.ADJUDICATION]
    (document,) = [one for one in office.documents() if one.sop_instance_uid == decision.document]
    considered = {one.sop_instance_uid for one in document.references} & {review.document for review, _ in seen}
    assert considered == {review.document for review, _ in seen}


def test_ratings_know_structure_and_case(workflow: ReviewWorkflow, office: Office) -> None:
    place = office.places()[0]
    finish(workflow, ANNA, place, "na")
    finish(workflow, ANNA, SegmentRef(place.segmentation, 0), "3")
    workflow.sign(ANNA, [place.segmentation])
    whole, one = sorted(workflow.ratings(), key=lambda rating: rating.subject)
    assert (whole.subject, whole.structure, whole.rating) == (f"{place.segmentation}/0", "", 3)
    assert (one.subject, one.rating) == (f"{place.segmentation}/{place.segment}", None)
    assert one.structure
    assert one.cluster == whole.cluster == workflow.worklist(ANNA, ALL, limit=1).rows[0].machine.ct_series


def test_opening_a_segment_looks_for_reviews_once_and_says_what_the_questions_say(
    workflow: ReviewWorkflow, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = office.places()
    finish(workflow, ANNA, places[0])
    workflow.sign(ANNA, [places[0].segmentation])
    finish(workflow, ANNA, places[2])
    for place in places[:4]:
        task = workflow.task_of(ANNA, place)
        expected = (
            task,
            workflow.draft(ANNA, task),
            workflow.visible_reviews(ANNA, task),
            workflow.previous_task(ANNA, ALL, task),
            workflow.next_task(ANNA, ALL, task),
            workflow.worklist(ANNA, ALL, limit=0).progress,
        )
        looks = []
        learn = ReviewMemory.refresh
        with monkeypatch.context() as patch:
            patch.setattr(ReviewMemory, "refresh", lambda memory: looks.append(1) or learn(memory))  # noqa: B023
            opened = workflow.open_segment(ANNA, place, Purpose.READING, ALL)
        assert len(looks) == 1
        found = (opened.task, opened.draft, opened.others, opened.previous, opened.next, opened.progress)
        assert found == expected
