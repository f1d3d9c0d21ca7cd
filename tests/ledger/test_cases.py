"""Opening, superseding, replaying and looking up cases."""

from __future__ import annotations

import pytest

from segqa_dicom.errors import ConfigurationError, Inconsistent
from segqa_dicom.ledger import CaseState, Ledger
from tests.ledger.factories import ATTEMPTS, LEASE_S, NOW, claimed, document, finished, new_case, opened, stored


def test_a_new_case_is_the_first_revision_and_ready(ledger: Ledger) -> None:
    missing = tuple(f"1.1.{number}" for number in range(30))
    case = opened(ledger, missing={"1.9.1": missing})
    assert case == ledger.case(case.case_id)
    assert case.case_id == case.key[:16]
    assert (case.revision, case.state, case.attempt, case.token) == (1, CaseState.READY, 0, 0)
    assert case.segmentations == ("1.9.1",)
    assert case.missing == {"1.9.1": missing[:20]}
    assert (case.created_at, case.ready_at, case.lease_until, case.queued_at) == (NOW, NOW, None, None)


def test_the_same_key_is_opened_once(ledger: Ledger) -> None:
    opened(ledger)
    assert ledger.open_revision(new_case(), now=NOW + 1) is None
    assert len(ledger.cases()) == 1


def test_a_key_that_is_no_digest_is_a_mistake_of_the_caller(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="64 hexadecimal"):
        ledger.open_revision(new_case(key="1.2.3"), now=NOW)


def test_a_newer_revision_supersedes_older_ones_that_wait(ledger: Ledger) -> None:
    first, other = opened(ledger), opened(ledger, "2.1")
    second = opened(ledger, segmentations=("1.9.1", "1.9.2"))
    assert second.revision == 2
    assert ledger.case(first.case_id).state is CaseState.SUPERSEDED
    assert ledger.case(other.case_id).state is CaseState.READY
    newest = ledger.newest_case("1.1")
    assert newest is not None
    assert newest.case_id == second.case_id
    assert ledger.newest_case("9.9") is None


def test_a_running_older_revision_is_left_alone_and_ends_superseded(ledger: Ledger) -> None:
    first = claimed(ledger, opened(ledger).case_id)
    second = claimed(ledger, opened(ledger, segmentations=("1.9.1", "1.9.2")).case_id)
    assert ledger.case(first.case_id).state is CaseState.RUNNING
    stored(ledger, first)
    finished(ledger, second)
    assert ledger.delivered(first.case_id, first.token, now=NOW)
    assert ledger.case(first.case_id).state is CaseState.SUPERSEDED
    assert ledger.case(second.case_id).state is CaseState.CONFIRMED


def test_an_older_revision_that_is_tried_again_is_superseded(ledger: Ledger) -> None:
    first = claimed(ledger, opened(ledger).case_id)
    opened(ledger, segmentations=("1.9.1", "1.9.2"))
    later = NOW + LEASE_S + 1
    assert ledger.claim(first.case_id, "b", now=later, lease_s=LEASE_S, max_attempts=ATTEMPTS) is None
    assert ledger.case(first.case_id).state is CaseState.SUPERSEDED


def test_a_superseded_case_is_opened_again_only_if_no_newer_one_counts(ledger: Ledger) -> None:
    first = opened(ledger)
    second = opened(ledger, segmentations=("1.9.1", "1.9.2"))
    assert ledger.open_revision(new_case(), now=NOW) is None
    claim = claimed(ledger, second.case_id)
    assert ledger.fail(claim.case_id, claim.token, now=NOW, reason="memory", max_attempts=ATTEMPTS, final=True)
    again = ledger.open_revision(new_case(), now=NOW + 9)
    assert again is not None
    assert (again.case_id, again.state, again.revision) == (first.case_id, CaseState.READY, 3)
    assert claimed(ledger, first.case_id, now=NOW + 9).case.attempt == 1


@pytest.mark.parametrize("is_finished", [False, True])
def test_rules_that_were_changed_and_changed_back_leave_nothing_that_nobody_can_do(
    ledger: Ledger, *, is_finished: bool
) -> None:
    first = opened(ledger)
    if is_finished:
        finished(ledger, claimed(ledger, first.case_id))
    other = opened(ledger, key="b" * 64, ruleset_hash="others")
    again = ledger.open_revision(new_case(), now=NOW)
    assert again is not None
    assert (again.case_id, again.state, again.revision) == (first.case_id, CaseState.READY, 3)
    assert ledger.case(other.case_id).state is CaseState.SUPERSEDED
    assert ledger.open_revision(new_case(), now=NOW) is None
    assert finished(ledger, claimed(ledger, first.case_id)).state is CaseState.CONFIRMED
    # And what was reviewed by the others is not reviewed again.
    opened(ledger, "2.1")
    finished(ledger, claimed(ledger, opened(ledger, "2.1", key="c" * 64, ruleset_hash="others").case_id))
    assert ledger.open_revision(new_case("2.1"), now=NOW) is None


def test_a_revision_that_a_newer_one_has_overtaken_is_not_delivered(ledger: Ledger) -> None:
    slow = claimed(ledger, opened(ledger).case_id)
    newer = claimed(ledger, opened(ledger, segmentations=("1.9.1", "1.9.2")).case_id)
    stored(ledger, newer)
    assert not ledger.produced(slow.case_id, slow.token, [document("1.7.66")], now=NOW, lease_s=LEASE_S)
    assert ledger.case(slow.case_id).state is CaseState.SUPERSEDED
    assert ledger.pending_documents(slow.case_id) == []
    assert ledger.delivered(newer.case_id, newer.token, now=NOW)


def test_a_finished_revision_supersedes_older_ones_and_their_documents(ledger: Ledger) -> None:
    first = finished(ledger, claimed(ledger, opened(ledger).case_id))
    second = claimed(ledger, opened(ledger, segmentations=("1.9.2",)).case_id)
    assert ledger.produced(second.case_id, second.token, [document()], now=NOW, lease_s=LEASE_S)
    assert ledger.fail(second.case_id, second.token, now=NOW, reason="refused", max_attempts=ATTEMPTS, final=True)
    assert ledger.case(first.case_id).state is CaseState.CONFIRMED
    assert ledger.pending_documents(second.case_id) == [document()]
    finished(ledger, claimed(ledger, opened(ledger, segmentations=("1.9.3",)).case_id))
    assert ledger.case(first.case_id).state is CaseState.SUPERSEDED
    assert ledger.case(second.case_id).state is CaseState.SUPERSEDED
    assert ledger.summary(NOW).outbox == 0


def test_a_case_in_quarantine_is_replayed_with_all_its_attempts(ledger: Ledger) -> None:
    claim = claimed(ledger, opened(ledger).case_id)
    assert ledger.produced(claim.case_id, claim.token, [document()], now=NOW, lease_s=LEASE_S)
    ledger.fail(claim.case_id, claim.token, now=NOW, reason="refused", max_attempts=ATTEMPTS, final=True)
    case = ledger.replay(claim.case_id[:8], now=NOW + 5)
    assert case == ledger.case(claim.case_id)
    assert (case.state, case.attempt, case.reason, case.ready_at) == (CaseState.READY, 0, "", NOW + 5)
    assert ledger.pending_documents(case.case_id) == []
    again = claimed(ledger, case.case_id, now=NOW + 5)
    assert not again.to_deliver
    assert again.token > claim.token
    assert finished(ledger, again).state is CaseState.CONFIRMED
    assert ledger.replay(case.case_id, now=NOW).state is CaseState.READY


def test_what_cannot_be_replayed_says_why(ledger: Ledger) -> None:
    first = opened(ledger)
    claimed(ledger, first.case_id)
    with pytest.raises(ConfigurationError, match="is running: wait"):
        ledger.replay(first.case_id, now=NOW)
    second = opened(ledger, "2.1")
    third = opened(ledger, "2.1", ("1.9.2",))
    with pytest.raises(ConfigurationError, match=f"replay {third.case_id}"):
        ledger.replay(second.case_id, now=NOW)
    with pytest.raises(ConfigurationError, match="no case"):
        ledger.replay("%", now=NOW)


def test_an_older_case_that_is_replayed_becomes_the_newest(ledger: Ledger) -> None:
    first = finished(ledger, claimed(ledger, opened(ledger).case_id))
    second = claimed(ledger, opened(ledger, segmentations=("1.9.2",)).case_id)
    ledger.fail(second.case_id, second.token, now=NOW, reason="memory", max_attempts=ATTEMPTS, final=True)
    assert ledger.replay(first.case_id, now=NOW).revision == 3
    assert finished(ledger, claimed(ledger, first.case_id)).state is CaseState.CONFIRMED


def test_cases_are_found_by_id_key_or_beginning(ledger: Ledger) -> None:
    keys = ("ab" * 32, "ac" * 32, "ff" * 32)
    for number, key in enumerate(keys):
        opened(ledger, f"{number}.1", key=key)
    assert ledger.case("ab" * 8).key == keys[0]
    assert ledger.case("ac" * 32).key == keys[1]
    assert ledger.case("f").key == keys[2]
    with pytest.raises(ConfigurationError, match="more than one"):
        ledger.case("a")
    for absent in ("", "e", "%", "_", "ab" * 33):
        with pytest.raises(ConfigurationError, match="no case"):
            ledger.case(absent)


def test_two_keys_with_one_id_are_told_apart(ledger: Ledger) -> None:
    opened(ledger, key="0" * 16 + "a" * 48)
    with pytest.raises(Inconsistent, match="same id"):
        ledger.open_revision(new_case("2.1", key="0" * 16 + "b" * 48), now=NOW)
    assert len(ledger.cases()) == 1


def test_cases_are_listed_by_state_and_subject_last_changed_first(ledger: Ledger) -> None:
    ids = [opened(ledger, f"{number}.1", now=NOW + number).case_id for number in range(4)]
    claimed(ledger, ids[0], now=NOW + 10)
    assert [case.case_id for case in ledger.cases()] == [ids[0], *reversed(ids[1:])]
    assert [case.case_id for case in ledger.cases(limit=2)] == [ids[0], ids[3]]
    assert [case.case_id for case in ledger.cases(CaseState.RUNNING)] == [ids[0]]
    assert [case.case_id for case in ledger.cases(subject="2.1")] == [ids[2]]
    assert ledger.cases(CaseState.QUARANTINED) == []
