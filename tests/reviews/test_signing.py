"""From what is finished to documents in the archive: nothing lost, no chain of documents forked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import create_engine, text

from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.assessment.model import Purpose, Review, SegmentReview
from segqa_dicom.assessment.vocabulary import default_vocabulary
from segqa_dicom.errors import InputError
from segqa_dicom.findings import Document, reindex
from segqa_dicom.model import SegmentRef
from segqa_dicom.reviews.workflow.drafts import DraftConflict
from segqa_dicom.reviews.workflow.model import DraftState, Task
from segqa_dicom.reviews.workflow.workflow import ReviewWorkflow
from segqa_dicom.sr.read_review import read_review
from tests.reviews.office import ANNA, BEN, LIVER, Office, finish, said


def review_of(document: Document) -> Review:
    found = read_review(document, default_vocabulary())
    assert found is not None
    return found


def ratings(document: Document) -> dict[int, str]:
    return {one.segment_number: one.rating for one in review_of(document).segments}


def current(office: Office, kind: str = "review") -> list[Document]:
    """Documents that no other names as the one it replaces."""
    documents = office.documents(kind)
    replaced = {uid for one in [*documents, *office.documents("review")] for uid in one.predecessors}
    return [one for one in documents if one.sop_instance_uid not in replaced]


def test_what_is_finished_becomes_one_document_per_segmentation(workflow: ReviewWorkflow, office: Office) -> None:
    one, other = office.segmentations()
    first = [place for place in office.places() if place.segmentation == one][:3]
    last = next(place for place in office.places() if place.segmentation == other)
    for place in (*first, last):
        finish(workflow, ANNA, place, "2", LIVER)
    draft = [place for place in office.places() if place.segmentation == one][4]
    workflow.save(ANNA, Task(draft), said(draft), version=0)
    unsigned = {entry.segmentation: entry for entry in workflow.unsigned(ANNA)}
    assert [said.segment_number for said in unsigned[one].segments] == sorted(place.segment for place in first)
    assert (unsigned[one].drafts, unsigned[other].drafts) == (1, 0)
    assert unsigned[one].model
    assert all(not label.startswith("Segment ") for label in unsigned[one].labels.values())

    written = workflow.sign(ANNA, [one, other])
    assert sorted(entry.kind for entry in written) == ["review", "review", "review_keyimg", "review_keyimg"]
    assert all(entry.is_confirmed for entry in written)
    assert workflow.unsigned(ANNA) == []
    found = {review_of(document).segmentation: document for document in office.documents()}
    assert set(ratings(found[one])) == {place.segment for place in first}
    assert review_of(found[one]).is_signed
    assert review_of(found[one]).reviewer == ANNA
    for place in (*first, last):
        draft_now = workflow.draft(ANNA, Task(place))
        assert draft_now.status is DraftState.SIGNED
        assert draft_now.content.findings == (LIVER,)
    assert workflow.draft(ANNA, Task(draft)).status is DraftState.DRAFT


def test_the_index_knows_a_document_right_after_signing(workflow: ReviewWorkflow, office: Office) -> None:
    place = office.places()[0]
    finish(workflow, ANNA, place)
    (written,) = workflow.sign(ANNA, [place.segmentation])
    assert office.index.known([written.sop_instance_uid])
    (review,) = workflow.signed(place)
    assert (review.document, review.review.reviewer) == (written.sop_instance_uid, ANNA)
    assert workflow.signed(place.segmentation) == [review]
    assert workflow.signed(SegmentRef(place.segmentation, 60_000)) == []


def test_an_amended_document_takes_over_what_was_signed_before(workflow: ReviewWorkflow, office: Office) -> None:
    first, second, third = [place for place in office.places() if place.segmentation == office.segmentations()[0]][:3]
    finish(workflow, ANNA, first, "5", LIVER)
    finish(workflow, ANNA, second, "2")
    workflow.sign(ANNA, [first.segmentation])
    office.clock.pass_s(100)
    finish(workflow, ANNA, third, "1")
    workflow.reopen(ANNA, Task(second))
    finish(workflow, ANNA, second, "4")
    workflow.sign(ANNA, [first.segmentation])
    (newest,) = current(office)
    assert ratings(newest) == {first.segment: "5", second.segment: "4", third.segment: "1"}
    assert len(office.documents()) == 2
    assert len(current(office, "review_keyimg")) == 1
    assert len(office.documents("review_keyimg")) == 2


def test_a_reopened_segment_counts_as_signed_until_it_is_finished(workflow: ReviewWorkflow, office: Office) -> None:
    first, second = [place for place in office.places() if place.segmentation == office.segmentations()[0]][:2]
    finish(workflow, ANNA, first, "5")
    workflow.sign(ANNA, [first.segmentation])
    again = workflow.reopen(ANNA, Task(first))
    workflow.save(ANNA, Task(first), said(first, "1"), version=again.version)
    office.clock.pass_s(100)
    finish(workflow, ANNA, second, "2")
    workflow.sign(ANNA, [first.segmentation])
    (newest,) = current(office)
    assert ratings(newest) == {first.segment: "5", second.segment: "2"}
    assert workflow.draft(ANNA, Task(first)).status is DraftState.DRAFT
    assert workflow.draft(ANNA, Task(first)).content.rating == "1"


def test_what_is_taken_back_is_left_out_of_the_amended_document(workflow: ReviewWorkflow, office: Office) -> None:
    first, second = [place for place in office.places() if place.segmentation == office.segmentations()[0]][:2]
    finish(workflow, ANNA, first, "5", LIVER)
    finish(workflow, ANNA, second, "2")
    workflow.sign(ANNA, [first.segmentation])
    office.clock.pass_s(100)
    again = workflow.reopen(ANNA, Task(first))
    workflow.save(ANNA, Task(first), SegmentReview(first.segment), version=again.version, finish=True)
    workflow.sign(ANNA, [first.segmentation])
    (newest,) = current(office)
    assert ratings(newest) == {second.segment: "2"}
    # Its markers are gone with it.
    assert current(office, "review_keyimg") == []
    again = workflow.reopen(ANNA, Task(second))
    workflow.save(ANNA, Task(second), SegmentReview(second.segment), version=again.version, finish=True)
    with pytest.raises(InputError, match="nothing would be left"):
        workflow.sign(ANNA, [first.segmentation])


def test_signing_again_writes_nothing(workflow: ReviewWorkflow, office: Office) -> None:
    place = office.places()[0]
    finish(workflow, ANNA, place)
    assert len(workflow.sign(ANNA, [place.segmentation, place.segmentation])) == 1
    assert workflow.sign(ANNA, [place.segmentation]) == []
    assert workflow.sign(BEN, [place.segmentation]) == []
    assert len(office.documents()) == 1


def test_a_preliminary_document_is_replaced_by_the_signed_one(workflow: ReviewWorkflow, office: Office) -> None:
    place = office.places()[0]
    finish(workflow, ANNA, place)
    workflow.sign(ANNA, [place.segmentation], is_signed=False)
    assert [review_of(one).is_signed for one in current(office)] == [False]
    assert workflow.ratings() == []
    office.clock.pass_s(10)
    workflow.sign(ANNA, [place.segmentation])
    assert [review_of(one).is_signed for one in current(office)] == [True]
    assert len(workflow.ratings()) == 1


def test_a_window_that_was_open_while_signing_does_not_take_the_signature_back(
    workflow: ReviewWorkflow, office: Office
) -> None:
    place = office.places()[0]
    done = finish(workflow, ANNA, place, "5")
    workflow.sign(ANNA, [place.segmentation])
    with pytest.raises(DraftConflict) as caught:
        workflow.save(ANNA, Task(place), said(place, "4"), version=done.version)
    assert caught.value.current.status is DraftState.SIGNED


def test_signing_in_two_windows_at_once_makes_one_document(workflow: ReviewWorkflow, office: Office) -> None:
    places = [place for place in office.places() if place.segmentation == office.segmentations()[0]][:4]
    for place in places:
        finish(workflow, ANNA, place)
    desks = [office.workflow() for _ in range(4)]
    counts: list[int] = []
    threads = [
        threading.Thread(target=lambda one=one: counts.append(len(one.sign(ANNA, [places[0].segmentation]))))
        for one in desks
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts) == [0, 0, 0, 1]
    assert len(office.documents()) == 1


def test_signing_while_going_on_with_other_segments_forks_nothing(workflow: ReviewWorkflow, office: Office) -> None:
    """Each signs what they have just finished; whoever comes second replaces the document of the first."""
    places = [place for place in office.places() if place.segmentation == office.segmentations()[0]][:6]
    failures: list[Exception] = []

    def work(place: SegmentRef) -> None:
        own = office.workflow()
        try:
            finish(own, ANNA, place, "4")
            own.sign(ANNA, [place.segmentation])
        except Exception as error:  # noqa: BLE001 - told by the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(place,)) for place in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    (newest,) = current(office)
    assert ratings(newest) == {place.segment: "4" for place in places}


def _lose_nothing(_office: Office) -> None:
    pass


def _lose_ledger(office: Office) -> None:
    office.lose_ledger()


def _lose_index(office: Office) -> None:
    office.lose_index()
    reindexed(office)


def _lose_both(office: Office) -> None:
    office.lose_ledger()
    _lose_index(office)


def reindexed(office: Office) -> None:
    reindex(office.index, office.archive)


@pytest.mark.parametrize("lose", [_lose_nothing, _lose_ledger, _lose_index, _lose_both])
def test_what_was_signed_outlives_ledger_and_index(
    workflow: ReviewWorkflow, office: Office, lose: Callable[[Office], None]
) -> None:
    first, second = [place for place in office.places() if place.segmentation == office.segmentations()[0]][:2]
    finish(workflow, ANNA, first, "5", LIVER)
    workflow.sign(ANNA, [first.segmentation])
    before = workflow.draft(ANNA, Task(first)).content
    office.clock.pass_s(100)
    lose(office)
    later = office.workflow()
    assert later.draft(ANNA, Task(first)).content == before
    assert later.draft(ANNA, Task(first)).status is DraftState.SIGNED
    finish(later, ANNA, second, "2")
    later.sign(ANNA, [first.segmentation])
    (newest,) = current(office)
    assert ratings(newest) == {first.segment: "5", second.segment: "2"}
    assert len(current(office, "review_keyimg")) == 1


def test_a_document_that_only_the_archive_knows_is_not_forked(workflow: ReviewWorkflow, office: Office) -> None:
    """Ledger gone, and the index has not caught up: what counts is in the archive."""
    first, second = [place for place in office.places() if place.segmentation == office.segmentations()[0]][:2]
    finish(workflow, ANNA, first, "5")
    (written,) = workflow.sign(ANNA, [first.segmentation])
    office.clock.pass_s(100)
    office.lose_ledger()
    office.index.remove([written.sop_instance_uid])
    later = office.workflow()
    later.save(ANNA, Task(second), said(second, "2"), version=0, finish=True)
    later.sign(ANNA, [first.segmentation])
    (newest,) = current(office)
    assert ratings(newest) == {first.segment: "5", second.segment: "2"}


def test_a_ledger_of_yesterday_does_not_bring_back_what_was_said_then(workflow: ReviewWorkflow, office: Office) -> None:
    place = office.places()[0]
    finish(workflow, ANNA, place, "1")
    (row,) = office.ledger.drafts("anna")
    office.clock.pass_s(100)
    workflow.reopen(ANNA, Task(place))
    finish(workflow, ANNA, place, "5")
    office.clock.pass_s(100)
    workflow.sign(ANNA, [place.segmentation])
    # The backup: the draft as it was, and nothing of what was signed.
    office.lose_ledger()
    office.ledger.save_draft(row.mark.key, row.content, state=row.mark.state, version=0, now=row.mark.updated_at)
    later = office.workflow()
    shown = later.draft(ANNA, Task(place))
    assert (shown.content.rating, shown.status) == ("5", DraftState.SIGNED)
    assert later.unsigned(ANNA) == []
    assert later.sign(ANNA, [place.segmentation]) == []
    assert len(office.documents()) == 1
    office.clock.pass_s(100)
    later.save(ANNA, Task(place), said(place, "4"), version=shown.version, finish=True)
    later.sign(ANNA, [place.segmentation])
    assert [ratings(one) for one in current(office)] == [{place.segment: "4"}]


def test_a_document_that_was_deleted_in_the_archive_is_forgotten_and_can_be_signed_again(
    workflow: ReviewWorkflow, office: Office
) -> None:
    place = office.places()[0]
    finish(workflow, ANNA, place)
    (written,) = workflow.sign(ANNA, [place.segmentation])
    assert isinstance(office.archive, FolderArchive)
    office.archive.delete([written.sop_instance_uid])
    office.index.remove([written.sop_instance_uid])
    later = office.workflow()
    assert later.forget_deleted() == 1
    assert later.draft(ANNA, Task(place)).status is DraftState.DONE
    office.clock.pass_s(10)
    assert len(later.sign(ANNA, [place.segmentation])) == 1
    assert len(office.documents()) == 1


def test_a_segment_that_the_segmentation_does_not_have_costs_no_other_segmentation(
    workflow: ReviewWorkflow, office: Office
) -> None:
    one, other = office.segmentations()
    good = next(place for place in office.places() if place.segmentation == other)
    finish(workflow, ANNA, good)
    bad = SegmentRef(one, 1)
    finish(workflow, ANNA, bad)
    engine = create_engine(office.ledger_url)
    with engine.begin() as connection:
        changed = "replace(content, '\"segment_number\": 1,', '\"segment_number\": 999,')"
        statement = f"UPDATE drafts SET segment = 999, content = {changed} WHERE segmentation = :uid"
        connection.execute(text(statement), {"uid": one})
    engine.dispose()
    with pytest.raises(InputError, match="999"):
        workflow.sign(ANNA, [one, other])
    assert [review_of(document).segmentation for document in office.documents()] == [other]
    assert [entry.segmentation for entry in workflow.unsigned(ANNA)] == [one]


def test_a_segmentation_without_a_report_cannot_be_signed(workflow: ReviewWorkflow) -> None:
    with pytest.raises(InputError, match=r"1\.2\.3 has no report"):
        workflow.sign(ANNA, ["1.2.3"])


def test_names_and_organizations_of_readers_stand_in_documents(office: Office) -> None:
    place = office.places()[0]
    workflow = office.workflow(reviewer_organization="Hospital of Ö")
    nameless = replace(ANNA, name="", organization="")
    finish(workflow, nameless, place)
    workflow.sign(nameless, [place.segmentation])
    reviewer = review_of(office.documents()[0]).reviewer
    assert (reviewer.login, reviewer.name, reviewer.organization) == ("anna", "anna", "Hospital of Ö")


def test_each_reader_has_a_chain_of_their_own(workflow: ReviewWorkflow, office: Office) -> None:
    place = office.places()[0]
    for reader, rating in ((ANNA, "5"), (BEN, "1"), (ANNA, "4")):
        office.clock.pass_s(10)
        workflow.reopen(reader, Task(place))
        finish(workflow, reader, place, rating)
        workflow.sign(reader, [place.segmentation])
    assert sorted((review_of(one).reviewer.login, *ratings(one).values()) for one in current(office)) == [
        ("anna", "4"),
        ("ben", "1"),
    ]
    assert all(review_of(one).purpose is Purpose.READING for one in office.documents())
