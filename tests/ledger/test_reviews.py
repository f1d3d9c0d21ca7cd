"""Drafts, signing, the outbox of readers, plans, imported ratings and annotations, in both databases."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, inspect

from segqa_dicom.errors import ConfigurationError
from segqa_dicom.ledger import (
    AnnotationRow,
    AssignmentRow,
    DraftKey,
    DraftState,
    ImportedRow,
    Ledger,
    OutboxDocument,
    ReadingKey,
    RepeatRow,
    SignedRow,
    Signing,
    database,
)
from tests.ledger.factories import NOW, SR_CLASS, opened

KEY = ReadingKey("anna", "1.9.1", "reading", 1)
DRAFT = DraftKey(KEY, 3)


def save(ledger: Ledger, key: DraftKey = DRAFT, said: str = "x", *, version: int = 0, done: bool = False) -> bool:
    state = DraftState.DONE if done else DraftState.DRAFT
    return ledger.save_draft(key, {"said": said}, state=state, version=version, now=NOW + version)[1]


def signed(document: str = "1.8.1", predecessor: str = "", key: ReadingKey = KEY) -> SignedRow:
    return SignedRow(document, f"{document}.0", "1.0", "1.1", predecessor, key, NOW, {"of": document})


def outgoing(uid: str = "1.8.1", content: bytes = b"DICM" * 500) -> OutboxDocument:
    return OutboxDocument(uid, f"{uid}.0", "1.0", SR_CLASS, "review", content, "e" * 64)


def signing(document: str = "1.8.1", versions: dict[int, int] | None = None, seen: tuple[str, ...] = ()) -> Signing:
    predecessor = seen[-1] if seen else ""
    return Signing(signed(document, predecessor), frozenset(seen), versions or {3: 1}, (outgoing(document),))


# Drafts


def test_drafts_are_kept_by_reader_segmentation_segment_purpose_and_reading(ledger: Ledger) -> None:
    keys = [
        DRAFT,
        DraftKey(KEY, 4),
        DraftKey(replace(KEY, login="ben"), 3),
        DraftKey(replace(KEY, segmentation="1.9.2"), 3),
        DraftKey(replace(KEY, purpose="repeat", reading=2), 3),
    ]
    for number, key in enumerate(keys):
        assert save(ledger, key, str(number))
    assert [(row.content["said"]) for key in keys if (row := ledger.draft(key))] == ["0", "1", "2", "3", "4"]
    assert [row.mark.key for row in ledger.drafts("anna", segmentation="1.9.1")] == [DRAFT, keys[1], keys[4]]
    assert [mark.key for mark in ledger.draft_marks("ben")] == [keys[2]]
    assert ledger.drafts("anna", states=[DraftState.DONE]) == []
    assert ledger.draft(DraftKey(KEY, 5)) is None


def test_a_draft_is_changed_only_by_who_knows_its_newest_version(ledger: Ledger) -> None:
    assert save(ledger, said="first")
    assert save(ledger, said="second", version=1)
    assert not save(ledger, said="third", version=1)
    assert not save(ledger, said="third", version=0)
    row = ledger.draft(DRAFT)
    assert row is not None
    assert (row.content, row.mark.version) == ({"said": "second"}, 2)
    # The same again is no conflict, and no change.
    assert save(ledger, said="second", version=0)
    assert ledger.draft(DRAFT) == row


def test_a_window_that_outlived_the_ledger_goes_on(ledger: Ledger) -> None:
    assert save(ledger, said="typed before", version=7)
    row = ledger.draft(DRAFT)
    assert row is not None
    assert row.mark.version == 8


def test_of_many_who_begin_a_draft_at_once_one_wins(ledger: Ledger, ledger_url: str) -> None:
    won: list[bool] = []

    def begin(number: int) -> None:
        with Ledger(ledger_url) as own:
            won.append(save(own, said=str(number)))

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 7 + [True]


# Signing


def test_signing_changes_drafts_outbox_and_reviews_together(ledger: Ledger) -> None:
    save(ledger, done=True)
    save(ledger, DraftKey(KEY, 4), done=False)
    assert ledger.sign(signing(), now=NOW + 9)
    first, other = ledger.draft_marks("anna")
    assert (first.state, first.version, first.document, first.updated_at) == (DraftState.SIGNED, 2, "1.8.1", NOW + 9)
    assert (other.state, other.document) == (DraftState.DRAFT, "")
    (pending,) = ledger.pending_reviews()
    assert (pending.document, pending.login, pending.segmentation) == (outgoing(), "anna", "1.9.1")
    assert ledger.current_reviews() == [replace(signed(), content={})]
    assert ledger.review_contents(["1.8.1", "1.8.9"]) == {"1.8.1": {"of": "1.8.1"}}
    assert ledger.summary(NOW).outbox == 1


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"versions": {3: 2}}, id="a draft of another version"),
        pytest.param({"versions": {3: 1, 4: 1}}, id="a draft that is not there"),
        pytest.param({"versions": {3: 0}}, id="a draft that was not there before"),
    ],
)
def test_a_draft_that_has_changed_is_not_signed(ledger: Ledger, wrong: dict[str, dict[int, int]]) -> None:
    save(ledger, done=True)
    before = ledger.draft(DRAFT)
    assert not ledger.sign(signing(**wrong), now=NOW)
    assert ledger.draft(DRAFT) == before
    assert ledger.pending_reviews() == ledger.current_reviews() == []


def test_a_document_must_know_all_that_were_signed_before(ledger: Ledger) -> None:
    save(ledger, done=True)
    assert ledger.sign(signing(), now=NOW)
    save(ledger, DraftKey(KEY, 4), done=True)
    assert not ledger.sign(signing("1.8.2", {4: 1}), now=NOW)
    assert not ledger.sign(signing("1.8.1", {4: 1}, seen=("1.8.1",)), now=NOW)
    assert ledger.sign(signing("1.8.2", {4: 1}, seen=("1.8.1",)), now=NOW)
    assert [row.document for row in ledger.current_reviews()] == ["1.8.2"]
    assert {mark.document for mark in ledger.draft_marks("anna")} == {"1.8.2"}
    assert ledger.documents_of_reading(KEY) == {"1.8.1", "1.8.2"}


def test_of_many_who_sign_at_once_one_wins(ledger: Ledger, ledger_url: str) -> None:
    for segment in range(1, 9):
        save(ledger, DraftKey(KEY, segment), done=True)
    won: list[bool] = []

    def sign(segment: int) -> None:
        with Ledger(ledger_url) as own:
            won.append(own.sign(signing(f"1.8.{segment}", {segment: 1}), now=NOW))

    threads = [threading.Thread(target=sign, args=(segment,)) for segment in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 7 + [True]
    assert len(ledger.pending_reviews()) == len(ledger.current_reviews()) == 1


def test_documents_leave_the_outbox_when_the_archive_has_them(ledger: Ledger) -> None:
    save(ledger, done=True)
    ledger.sign(signing(), now=NOW)
    ledger.review_refused("1.8.1", "no room", not_before=NOW + 60)
    assert [one.reason for one in ledger.pending_reviews()] == ["no room"]
    assert ledger.pending_reviews(now=NOW + 59) == []
    assert len(ledger.pending_reviews(now=NOW + 60)) == 1
    assert ledger.pending_reviews(login="ben") == ledger.pending_reviews(segmentation="1.2") == []
    assert ledger.forget_reviews(["1.8.1"]) == 0
    assert ledger.review_confirmed("1.8.1")
    assert not ledger.review_confirmed("1.8.1")
    assert ledger.pending_reviews() == []
    assert ledger.forget_reviews(["1.8.1"]) == 1
    assert ledger.all_review_documents() == set()


def test_reviews_that_were_found_in_the_archive_are_remembered_once(ledger: Ledger) -> None:
    ben, none = replace(KEY, login="ben"), ReadingKey("", "", "", 0)
    rows = [signed("1.8.1"), signed("1.8.2", "1.8.1"), signed("1.8.3", key=ben), signed("1.8.4", key=none)]
    assert ledger.add_reviews(rows) == 4
    assert ledger.add_reviews(rows) == 0
    assert [row.document for row in ledger.current_reviews()] == ["1.8.2", "1.8.3"]
    assert [row.document for row in ledger.current_reviews(login="ben")] == ["1.8.3"]
    assert ledger.current_reviews(segmentations=["1.9.2"]) == ledger.current_reviews(segmentations=[]) == []
    assert ledger.known_reviews(["1.8.4", "1.8.5"]) == {"1.8.4"}
    # What replaced another is gone: the other counts again.
    assert ledger.forget_reviews(["1.8.2"]) == 1
    assert [row.document for row in ledger.current_reviews(login="anna")] == ["1.8.1"]


# Plans


def test_assignments_and_repeats_are_kept_once(ledger: Ledger) -> None:
    for _ in range(2):
        ledger.assign("1.9.1", 3, "anna", by="carl", now=NOW)
        ledger.assign("1.9.1", 0, "ben", by="carl", now=NOW)
    assert ledger.assignments() == [AssignmentRow("1.9.1", 0, "ben", "carl"), AssignmentRow("1.9.1", 3, "anna", "carl")]
    assert [one.segment for one in ledger.assignments(login="anna", segmentations=["1.9.1", "1.9.2"])] == [3]
    assert ledger.unassign("1.9.1", 3, "ben") == 0
    assert ledger.unassign("1.9.1", 3) == 1
    rows = [RepeatRow("anna", "1.9.1", segment, 2) for segment in (3, 4)]
    assert ledger.add_repeats(rows, now=NOW) == 2
    assert ledger.add_repeats(rows, now=NOW) == 0
    assert ledger.repeats("anna") == ledger.repeats() == rows
    assert ledger.repeats("ben") == []


def test_imported_ratings_become_part_of_a_document_with_its_signing(ledger: Ledger) -> None:
    rows = [ImportedRow(str(number) * 64, "anna", "ct/seg", {"rating": "3", "number": number}) for number in (1, 2)]
    assert ledger.add_imported(rows, now=NOW) == 2
    assert ledger.add_imported([replace(row, content={}) for row in rows], now=NOW) == 0
    assert ledger.imported() == rows
    assert ledger.sign(replace(signing(versions={0: 0}), imported=(rows[0].rating_id,)), now=NOW)
    assert ledger.imported(is_waiting=True) == rows[1:]
    assert ledger.imported()[0].document == "1.8.1"
    ledger.imported_in([rows[1].rating_id], "1.8.1")
    assert ledger.imported(is_waiting=True) == []


def test_annotations_lie_on_segments(ledger: Ledger) -> None:
    rows = [
        AnnotationRow("1.5.1", 1, "1.9.1", 3, "1.0", {"text": "a"}),
        AnnotationRow("1.5.1", 2, "1.9.1", 3, "1.0", {"text": "b"}),
        AnnotationRow("1.5.1", 3, "", 0, "1.0", {"text": "outside"}),
    ]
    ledger.add_annotations(["1.5.1", "1.5.2"], rows, now=NOW)
    ledger.add_annotations(["1.5.1", "1.5.2"], rows, now=NOW + 1)
    assert ledger.known_annotations(["1.5.1", "1.5.2", "1.5.3"]) == {"1.5.1", "1.5.2"}
    assert ledger.annotations_of(["1.9.1"]) == rows[:2]
    assert ledger.annotations_in("1.0") == rows
    assert ledger.annotation_counts() == ledger.annotation_counts(["1.9.1"]) == {("1.9.1", 3): 2}
    ledger.forget_annotations(["1.5.1"])
    assert ledger.annotations_in("1.0") == []
    assert ledger.known_annotations(["1.5.1", "1.5.2"]) == {"1.5.2"}


# Ledgers of older versions


def test_a_ledger_without_readers_is_brought_up_to_date_and_keeps_what_it_has(
    ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def to_first(connection: object) -> None:
        config = Config()
        config.set_main_option("script_location", str(database._MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")

    with monkeypatch.context() as older:
        older.setattr(database, "REVISIONS", ("0001",))
        older.setattr(database, "_upgrade", to_first)
        with Ledger(ledger_url) as ledger:
            ledger.migrate()
            case = opened(ledger)
    engine = create_engine(ledger_url)
    assert "drafts" not in inspect(engine).get_table_names()
    with Ledger(ledger_url) as ledger:
        with pytest.raises(ConfigurationError, match="older version"):
            ledger.cases()
        ledger.migrate()
        assert ledger.case(case.case_id) == case
        assert save(ledger)
    engine.dispose()
