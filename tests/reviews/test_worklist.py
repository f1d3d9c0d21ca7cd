"""What readers see of the worklist, in which order they go through it, and what is hidden from them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segqa_dicom.assessment.model import Purpose, ReviewFinding, SegmentReview
from segqa_dicom.errors import InputError
from segqa_dicom.ledger import AnnotationRow
from segqa_dicom.model import SegmentRef
from segqa_dicom.reviews.workflow.desk import ReviewDesk
from segqa_dicom.reviews.workflow.model import Progress, Status, Task, WorklistFilters, WorklistPage
from tests.reviews.office import ALL, ANNA, BEN, CARL, Office, finish, said


def places_of(page: WorklistPage) -> list[SegmentRef]:
    return [row.machine.place for row in page.rows]


def test_the_worklist_shows_how_far_the_reader_who_asks_is(desk: ReviewDesk, office: Office) -> None:
    first, second, third, *_ = office.places()
    finish(desk, ANNA, first)
    desk.sign(ANNA, [first.segmentation])
    finish(desk, ANNA, second)
    desk.save(ANNA, Task(third), said(third), version=0)
    page = desk.worklist(ANNA, ALL, limit=4)
    assert [row.status for row in page.rows] == [Status.SIGNED, Status.DONE, Status.DRAFT, Status.OPEN]
    assert [row.task for row in page.rows] == [Task(place) for place in office.places()[:4]]
    assert page.total == len(office.places())
    assert page.progress == Progress(page.total, draft=1, done=1, signed=1)
    assert desk.worklist(BEN, ALL, limit=1).progress == Progress(page.total, 0, 0, 0)
    assert places_of(desk.worklist(ANNA, ALL, limit=3, offset=2)) == office.places()[2:5]


@pytest.mark.parametrize(("status", "wanted"), [("signed", [0]), ("done", [1]), ("draft", [2])])
def test_the_worklist_can_be_filtered_by_status(
    desk: ReviewDesk, office: Office, status: str, wanted: list[int]
) -> None:
    places = office.places()
    finish(desk, ANNA, places[0])
    desk.sign(ANNA, [places[0].segmentation])
    finish(desk, ANNA, places[1])
    desk.save(ANNA, Task(places[2]), said(places[2]), version=0)
    page = desk.worklist(ANNA, WorklistFilters(status=status))
    assert places_of(page) == [places[at] for at in wanted]
    assert page.progress == Progress(len(places), 1, 1, 1)
    rest = desk.worklist(ANNA, WorklistFilters(status="open"), limit=1000)
    assert places_of(rest) == places[3:]


def test_next_follows_the_worklist_and_skips_what_is_finished(desk: ReviewDesk, office: Office) -> None:
    places = office.places()
    assert desk.next_task(ANNA, ALL, None) == Task(places[0])
    finish(desk, ANNA, places[1])
    assert desk.next_task(ANNA, ALL, Task(places[0])) == Task(places[2])
    assert desk.previous_task(ANNA, ALL, Task(places[2])) == Task(places[0])
    assert desk.previous_task(ANNA, ALL, Task(places[0])) is None
    assert desk.next_task(ANNA, ALL, Task(places[-1])) is None
    assert desk.next_task(BEN, ALL, Task(places[0])) == Task(places[1])


@pytest.mark.slow
def test_going_through_the_worklist_comes_by_every_segment_once_whatever_others_do(
    desk: ReviewDesk, office: Office
) -> None:
    filters = WorklistFilters(segmentation=office.segmentations()[0])
    wanted = [place for place in office.places() if place.segmentation == filters.segmentation]
    seen: list[SegmentRef] = []
    at: Task | None = None
    while (at := desk.next_task(ANNA, filters, at)) is not None:
        seen.append(at.place)
        finish(desk, ANNA, at.place)
        if len(seen) % 5 == 0:
            desk.sign(ANNA, [filters.segmentation])
        finish(desk, BEN, wanted[-len(seen)], "1")
        office.clock.pass_s(10)
    assert seen == wanted


def test_next_goes_on_from_a_segment_that_matches_no_more(desk: ReviewDesk, office: Office) -> None:
    places = office.places()
    for place in places[:3]:
        desk.save(ANNA, Task(place), said(place), version=0)
    drafts = WorklistFilters(status="draft")
    finish(desk, ANNA, places[1])
    assert desk.next_task(ANNA, drafts, Task(places[1])) == Task(places[2])
    assert desk.previous_task(ANNA, drafts, Task(places[1])) == Task(places[0])
    assert desk.next_task(ANNA, drafts, Task(places[2])) is None
    finished = WorklistFilters(status="done")
    assert desk.next_task(ANNA, finished, None) == Task(places[1])


def test_assignments_are_shown_and_can_be_filtered_by(desk: ReviewDesk, office: Office) -> None:
    place, other = office.places()[:2]
    desk.assign(place, "ben", by="anna")
    desk.assign(place, "carl", by="anna")
    desk.assign(place, "ben", by="carl")
    assert desk.worklist(ANNA, ALL, limit=1).rows[0].assigned_to == ("ben", "carl")
    assert places_of(desk.worklist(BEN, WorklistFilters(reviewer="ben"))) == [place]
    desk.assign(office.segmentations()[1], "ben", by="anna")
    page = desk.worklist(BEN, WorklistFilters(reviewer="ben"), limit=1000)
    whole = [one for one in office.places() if one.segmentation == office.segmentations()[1]]
    assert set(places_of(page)) == {place, *whole}
    desk.assign(office.segmentations()[1], None, by="anna")
    desk.assign(place, None, by="anna")
    assert desk.worklist(BEN, WorklistFilters(reviewer="ben")).rows == ()
    with pytest.raises(InputError):
        desk.assign(other, "", by="anna")


def test_segments_with_annotations_can_be_found(desk: ReviewDesk, office: Office) -> None:
    place = office.places()[3]
    rows = [AnnotationRow("1.5", group, place.segmentation, place.segment, "1.2", {}) for group in (1, 2)]
    office.ledger.add_annotations(["1.5"], rows, now=office.clock())
    page = desk.worklist(ANNA, WorklistFilters(is_annotated=True))
    assert [(row.machine.place, row.annotations) for row in page.rows] == [(place, 2)]


# What is hidden


def test_blind_readers_see_nothing_of_each_other(desk: ReviewDesk, office: Office) -> None:
    place = office.places()[0]
    finish(desk, BEN, place, "1", ReviewFinding("hole", "critical"))
    desk.sign(BEN, [place.segmentation])
    assert desk.visible_reviews(ANNA, place) == []
    assert desk.visible_reviews(ANNA, Task(place)) == []
    assert desk.worklist(ANNA, ALL, limit=1).rows[0].readers == ()
    assert desk.worklist(BEN, ALL, limit=1).rows[0].readers == (BEN.name,)
    assert desk.worklist(ANNA, WorklistFilters(reviewer="ben")).total == 0
    assert desk.worklist(ANNA, WorklistFilters(is_major=True)).total == 0
    assert places_of(desk.worklist(BEN, WorklistFilters(is_major=True))) == [place]
    # Having signed oneself opens nothing, either.
    finish(desk, ANNA, place, "5")
    desk.sign(ANNA, [place.segmentation])
    assert desk.visible_reviews(ANNA, place) == []


def test_readers_who_are_not_blind_see_what_others_have_signed(office: Office) -> None:
    desk, place = office.desk(blind=False), office.places()[0]
    finish(desk, BEN, place, "1")
    assert desk.visible_reviews(ANNA, place) == []
    desk.sign(BEN, [place.segmentation])
    ((review, content),) = desk.visible_reviews(ANNA, place)
    assert (review.review.reviewer, content.rating) == (BEN, "1")
    assert desk.visible_reviews(BEN, place) == []
    assert desk.worklist(ANNA, ALL, limit=1).rows[0].readers == (BEN.name,)
    assert places_of(desk.worklist(ANNA, WorklistFilters(reviewer="ben"))) == [place]
    assert places_of(desk.worklist(ANNA, WorklistFilters(is_major=True))) == [place]


# Repeats


def test_a_segment_to_be_read_again_looks_like_one_that_was_never_read(desk: ReviewDesk, office: Office) -> None:
    places = office.places()[:4]
    for place in places:
        finish(desk, ANNA, place, "2", ReviewFinding("hole", "minor"))
    desk.sign(ANNA, office.segmentations())
    before = desk.worklist(BEN, ALL, limit=4)
    assert desk.schedule_repeats(1.0, seed=1) == 4
    assert desk.schedule_repeats(1.0, seed=1) == 0
    page = desk.worklist(ANNA, ALL, limit=4)
    hidden = [replace(row, task=Task(row.machine.place)) for row in page.rows]
    assert hidden == list(before.rows)
    assert page.progress == before.progress
    assert [row.task for row in page.rows] == [Task(place, Purpose.REPEAT, 2) for place in places]
    task = desk.next_task(ANNA, ALL, None)
    assert task == Task(places[0], Purpose.REPEAT, 2)
    assert desk.task_of(ANNA, places[0]) == task
    assert desk.draft(ANNA, task).content == SegmentReview(places[0].segment)
    finish(desk, ANNA, places[0], "4")
    assert desk.next_task(ANNA, ALL, task) == Task(places[1], Purpose.REPEAT, 2)
    office.clock.pass_s(10)
    (written,) = desk.sign(ANNA, [places[0].segmentation])
    assert desk.worklist(ANNA, ALL, limit=1).rows[0].status is Status.SIGNED
    found = {(one.subject, one.reading): one.rating for one in desk.ratings() if one.source == written.sop_instance_uid}
    assert found == {(f"{places[0].segmentation}/{places[0].segment}", 2): 4}
    assert len(desk.ratings()) == 5
    # The first reading stays as it was.
    assert {one.rating for one in desk.ratings() if one.reading == 1} == {2}


@pytest.mark.slow
def test_the_share_of_repeats_holds_while_more_is_signed(desk: ReviewDesk, office: Office) -> None:
    places = office.places()[:20]
    for place in places[:10]:
        finish(desk, ANNA, place)
        finish(desk, BEN, place)
    desk.sign(ANNA, office.segmentations())
    desk.sign(BEN, office.segmentations())
    assert desk.schedule_repeats(0.3, "anna", seed=7) == 3
    drawn = set(office.ledger.repeats("anna"))
    for place in places[10:]:
        finish(desk, ANNA, place)
    office.clock.pass_s(10)
    desk.sign(ANNA, office.segmentations())
    assert desk.schedule_repeats(0.3, "anna", seed=7) == 3
    assert drawn < set(office.ledger.repeats("anna"))
    assert office.ledger.repeats("ben") == []
    assert desk.schedule_repeats(0.3, seed=7) == 3
    with pytest.raises(InputError):
        desk.schedule_repeats(1.5)


def test_what_was_read_again_can_be_read_a_third_time(desk: ReviewDesk, office: Office) -> None:
    place = office.places()[0]
    for reading in (1, 2, 3):
        assert desk.task_of(ANNA, place).reading == reading
        finish(desk, ANNA, place, str(reading))
        desk.sign(ANNA, [place.segmentation])
        office.clock.pass_s(10)
        assert desk.schedule_repeats(1.0) == 1
    assert sorted((one.reading, one.rating) for one in desk.ratings()) == [(1, 1), (2, 2), (3, 3)]


# Adjudication


def test_adjudicators_decide_where_readers_differ(office: Office) -> None:
    desk = office.desk(adjudicators="carl, dora")
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
            finish(desk, reader, place, rating, *findings)
    for reader, action in ((ANNA, "accept"), (BEN, "edit")):
        desk.save(reader, Task(by_action), said(by_action, "", action=action), version=0, finish=True)
    assert desk.adjudication_tasks(CARL) == []
    for reader in (ANNA, BEN):
        desk.sign(reader, office.segmentations())
    tasks = desk.adjudication_tasks(CARL)
    assert [one.place for one in tasks[:2]] == [by_assessing, by_two]
    assert {one.place for one in tasks[2:]} == {by_action, by_finding}
    assert {one.purpose for one in tasks} == {Purpose.ADJUDICATION}
    assert desk.adjudication_tasks(ANNA) == []
    assert desk.visible_reviews(ANNA, tasks[0]) == []

    seen = desk.visible_reviews(CARL, tasks[1])
    assert sorted((review.review.reviewer.login, content.rating) for review, content in seen) == [
        ("anna", "5"),
        ("ben", "3"),
    ]
    assert desk.visible_reviews(CARL, by_two) == seen
    assert desk.visible_reviews(CARL, by_one) == []
    assert desk.visible_reviews(CARL, Task(by_two)) == []
    office.clock.pass_s(10)
    desk.save(CARL, tasks[1], said(by_two, "4"), version=0, finish=True)
    desk.sign(CARL, [by_two.segmentation])
    assert by_two not in [one.place for one in desk.adjudication_tasks(CARL)]
    assert by_two not in [one.place for one in desk.adjudication_tasks(replace(CARL, login="dora"))]
    assert "carl" not in {one.reader for one in desk.ratings()}
    (decision,) = [one for one in desk.signed(by_two) if one.review.purpose is Purpose.ADJUDICATION]
    (document,) = [one for one in office.documents() if one.sop_instance_uid == decision.document]
    considered = {one.sop_instance_uid for one in document.references} & {review.document for review, _ in seen}
    assert considered == {review.document for review, _ in seen}


def test_ratings_know_structure_and_case(desk: ReviewDesk, office: Office) -> None:
    place = office.places()[0]
    finish(desk, ANNA, place, "na")
    finish(desk, ANNA, SegmentRef(place.segmentation, 0), "3")
    desk.sign(ANNA, [place.segmentation])
    whole, one = sorted(desk.ratings(), key=lambda rating: rating.subject)
    assert (whole.subject, whole.structure, whole.rating) == (f"{place.segmentation}/0", "", 3)
    assert (one.subject, one.rating) == (f"{place.segmentation}/{place.segment}", None)
    assert one.structure
    assert one.cluster == whole.cluster == desk.worklist(ANNA, ALL, limit=1).rows[0].machine.ct_series
