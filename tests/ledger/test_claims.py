"""Claims, leases, attempts, and the order in which cases are given out."""

from __future__ import annotations

import pytest

from segqa_dicom.ledger import CaseState, Claim, Ledger
from tests.ledger.factories import ATTEMPTS, LEASE_S, NOW, claimed, document, finished, opened, stored


def claim_next(ledger: Ledger, now: float = NOW, owner: str = "worker") -> Claim | None:
    return ledger.claim_next(owner, now=now, lease_s=LEASE_S, max_attempts=ATTEMPTS)


def claim(ledger: Ledger, case_id: str, now: float) -> Claim | None:
    return ledger.claim(case_id, "other", now=now, lease_s=LEASE_S, max_attempts=ATTEMPTS)


def test_a_claim_counts_an_attempt_before_the_work_begins(ledger: Ledger) -> None:
    case = opened(ledger)
    first = claimed(ledger, case.case_id, owner="host-1")
    assert (first.case.state, first.case.attempt, first.token, first.to_deliver) == (CaseState.RUNNING, 1, 1, False)
    assert (first.case.lease_owner, first.case.lease_until) == ("host-1", NOW + LEASE_S)
    assert first.case == ledger.case(case.case_id)
    assert claim(ledger, case.case_id, NOW + LEASE_S) is None
    assert claim(ledger, "0" * 16, NOW) is None


def test_a_lease_that_is_over_is_taken_over_with_a_higher_token(ledger: Ledger) -> None:
    first = claimed(ledger, opened(ledger).case_id)
    second = claimed(ledger, first.case_id, now=NOW + LEASE_S + 1, owner="host-2")
    assert second.token == first.token + 1
    assert (second.case.attempt, second.case.lease_owner) == (2, "host-2")


def test_a_renewed_lease_lasts_longer(ledger: Ledger) -> None:
    first = claimed(ledger, opened(ledger).case_id)
    assert ledger.renew(first.case_id, first.token, now=NOW + 40, lease_s=LEASE_S)
    assert claim(ledger, first.case_id, NOW + 80) is None
    assert claim(ledger, first.case_id, NOW + 86) is not None


def test_a_late_renewal_holds_if_nobody_has_taken_over(ledger: Ledger) -> None:
    first = claimed(ledger, opened(ledger).case_id)
    assert ledger.renew(first.case_id, first.token, now=NOW + 1000, lease_s=LEASE_S)
    assert claim(ledger, first.case_id, NOW + 1001) is None


def test_a_case_that_kills_its_workers_ends_in_quarantine(ledger: Ledger) -> None:
    case = opened(ledger)
    for attempt in range(ATTEMPTS):
        assert claim(ledger, case.case_id, NOW + attempt * 100) is not None
    assert claim(ledger, case.case_id, NOW + 1000) is None
    ended = ledger.case(case.case_id)
    assert (ended.state, ended.attempt, ended.lease_until) == (CaseState.QUARANTINED, ATTEMPTS, None)
    assert ended.reason == "its worker died or ran out of time 3 times"
    assert claim_next(ledger, NOW + 2000) is None


def test_after_takeover_the_first_worker_can_change_nothing(ledger: Ledger) -> None:
    """F22: fencing."""
    old = claimed(ledger, opened(ledger).case_id)
    later = NOW + LEASE_S + 1
    new = claimed(ledger, old.case_id, now=later)
    before = ledger.case(old.case_id)

    def tries(now: float) -> list[bool]:
        return [
            ledger.renew(old.case_id, old.token, now=now, lease_s=LEASE_S),
            ledger.produced(old.case_id, old.token, [document("1.7.66")], now=now, lease_s=LEASE_S),
            ledger.document_stored(old.case_id, old.token, "1.7.2"),
            ledger.delivered(old.case_id, old.token, now=now),
            ledger.hand_back(old.case_id, old.token, now=now, not_before=now, reason="stop", count_attempt=True),
            ledger.fail(old.case_id, old.token, now=now, reason="no", max_attempts=ATTEMPTS, final=True),
        ]

    assert not any(tries(later))
    assert ledger.case(old.case_id) == before
    assert ledger.produced(new.case_id, new.token, [document("1.7.2")], now=later, lease_s=LEASE_S)
    assert not any(tries(later))
    assert ledger.pending_documents(old.case_id) == [document("1.7.2")]
    assert ledger.document_stored(new.case_id, new.token, "1.7.2")
    assert not any(tries(later))
    assert ledger.delivered(new.case_id, new.token, now=later)
    assert not any(tries(later))
    assert ledger.case(old.case_id).state is CaseState.CONFIRMED


def test_a_case_made_ready_again_is_lost_to_its_worker(ledger: Ledger) -> None:
    first = claimed(ledger, opened(ledger).case_id)
    opened(ledger, "2.1", now=NOW)
    assert ledger.requeue_expired(NOW + LEASE_S) == 0
    assert ledger.requeue_expired(NOW + LEASE_S + 9) == 1
    case = ledger.case(first.case_id)
    assert (case.state, case.attempt, case.lease_owner, case.ready_at) == (CaseState.READY, 1, None, NOW + LEASE_S)
    assert not ledger.renew(first.case_id, first.token, now=NOW + 60, lease_s=LEASE_S)
    assert claimed(ledger, first.case_id, now=NOW + 60).case.attempt == 2


@pytest.mark.parametrize("count_attempt", [True, False])
def test_a_case_handed_back_waits_until_it_may_start(ledger: Ledger, count_attempt: bool) -> None:
    first = claimed(ledger, opened(ledger).case_id)
    assert ledger.hand_back(
        first.case_id, first.token, now=NOW + 1, not_before=NOW + 30, reason="archive", count_attempt=count_attempt
    )
    case = ledger.case(first.case_id)
    assert (case.state, case.attempt, case.reason) == (CaseState.READY, int(count_attempt), "archive")
    assert claim(ledger, case.case_id, NOW + 29) is None
    assert claim_next(ledger, NOW + 29) is None
    assert claim(ledger, case.case_id, NOW + 30) is not None


def test_documents_that_are_handed_back_are_only_delivered(ledger: Ledger) -> None:
    first = claimed(ledger, opened(ledger).case_id)
    ledger.produced(first.case_id, first.token, [document()], now=NOW, lease_s=LEASE_S)
    assert ledger.hand_back(
        first.case_id, first.token, now=NOW, not_before=NOW + 30, reason="archive", count_attempt=True
    )
    assert ledger.case(first.case_id).state is CaseState.STORING
    assert claim(ledger, first.case_id, NOW + 29) is None
    second = claimed(ledger, first.case_id, now=NOW + 30)
    assert second.to_deliver
    assert (second.case.state, second.case.attempt) == (CaseState.STORING, 1)
    assert not ledger.produced(second.case_id, second.token, [], now=NOW + 30, lease_s=LEASE_S)
    assert ledger.pending_documents(first.case_id) == [document()]


def test_who_has_handed_back_can_change_nothing_any_more(ledger: Ledger) -> None:
    one = claimed(ledger, opened(ledger).case_id)
    stored(ledger, one)
    assert ledger.hand_back(one.case_id, one.token, now=NOW, not_before=NOW, reason="stop", count_attempt=False)
    assert not ledger.renew(one.case_id, one.token, now=NOW, lease_s=LEASE_S)
    assert not ledger.delivered(one.case_id, one.token, now=NOW)
    assert not ledger.hand_back(one.case_id, one.token, now=NOW, not_before=NOW, reason="stop", count_attempt=False)
    assert ledger.case(one.case_id).state is CaseState.STORED


def test_a_delivery_whose_worker_died_is_claimed_for_delivery_however_often(ledger: Ledger) -> None:
    first = claimed(ledger, opened(ledger).case_id)
    stored(ledger, first)
    assert ledger.case(first.case_id).state is CaseState.STORED
    opened(ledger, segmentations=("1.9.2",))
    for number in range(ATTEMPTS + 2):
        again = claimed(ledger, first.case_id, now=NOW + 100 * (number + 1))
        assert again.to_deliver
        assert again.case.attempt == 1
    assert ledger.delivered(again.case_id, again.token, now=NOW + 1000)


def test_a_failed_case_is_tried_again_and_then_put_into_quarantine(ledger: Ledger) -> None:
    case = opened(ledger)
    for attempt in range(1, ATTEMPTS + 1):
        one = claimed(ledger, case.case_id)
        assert ledger.fail(case.case_id, one.token, now=NOW, reason="memory", max_attempts=ATTEMPTS, final=False)
        state = CaseState.QUARANTINED if attempt == ATTEMPTS else CaseState.READY
        now = ledger.case(case.case_id)
        assert (now.state, now.reason, now.attempt) == (state, "memory", attempt)


def test_a_delivery_that_failed_is_tried_again_unless_that_is_no_use(ledger: Ledger) -> None:
    one = claimed(ledger, opened(ledger).case_id)
    ledger.produced(one.case_id, one.token, [document()], now=NOW, lease_s=LEASE_S)
    assert ledger.fail(one.case_id, one.token, now=NOW, reason="proxy", max_attempts=ATTEMPTS, final=False)
    two = claimed(ledger, one.case_id)
    assert two.to_deliver
    assert ledger.fail(two.case_id, two.token, now=NOW, reason="conflict", max_attempts=ATTEMPTS, final=True)
    assert ledger.case(one.case_id).state is CaseState.QUARANTINED
    assert ledger.pending_documents(one.case_id) == [document()]


def test_the_oldest_comes_first_but_deliveries_before_all(ledger: Ledger) -> None:
    ids = [opened(ledger, f"{number}.1", now=NOW + number).case_id for number in (3, 1, 2, 0)]
    later = NOW + 100
    youngest = claimed(ledger, ids[0], now=later)
    ledger.produced(youngest.case_id, youngest.token, [document()], now=later, lease_s=LEASE_S)
    ledger.hand_back(youngest.case_id, youngest.token, now=later, not_before=0, reason="stop", count_attempt=False)
    order = []
    while one := claim_next(ledger, later):
        order.append(one.case_id)
    assert order == [ids[0], ids[3], ids[1], ids[2]]


def test_the_next_claim_passes_over_what_is_not_to_run(ledger: Ledger) -> None:
    old = claimed(ledger, opened(ledger).case_id)
    new = opened(ledger, segmentations=("1.9.2",), now=NOW + 1)
    poison = opened(ledger, "2.1", now=NOW - 1)
    for attempt in range(ATTEMPTS):
        claimed(ledger, poison.case_id, now=NOW - 1000 + attempt * 100)
    following = claim_next(ledger, NOW + 100)
    assert following is not None
    assert following.case_id == new.case_id
    assert ledger.case(old.case_id).state is CaseState.SUPERSEDED
    assert ledger.case(poison.case_id).state is CaseState.QUARANTINED
    assert claim_next(ledger, NOW + 100) is None


def test_cases_are_sent_once_until_it_is_time_to_send_again(ledger: Ledger) -> None:
    ids = [opened(ledger, f"{number}.1", now=NOW + number).case_id for number in range(3)]
    assert ledger.sendable(NOW + 5, 10, 30) == ids
    assert ledger.sendable(NOW + 5, 2, 30) == ids[:2]
    ledger.queued(ids[:2], now=NOW + 5)
    ledger.queued([], now=NOW + 5)
    assert ledger.case(ids[0]).queued_at == NOW + 5
    assert ledger.sendable(NOW + 6, 10, 30) == ids[2:]
    assert ledger.sendable(NOW + 35, 10, 30) == ids


def test_a_case_whose_lease_is_over_is_sent_at_once(ledger: Ledger) -> None:
    running, storing = (claimed(ledger, opened(ledger, subject).case_id) for subject in ("1.1", "2.1"))
    ledger.queued([running.case_id], now=NOW - 5)
    claimed(ledger, running.case_id, now=NOW + 50)
    ledger.produced(storing.case_id, storing.token, [document()], now=NOW, lease_s=LEASE_S)
    assert ledger.sendable(NOW + 51, 10, 30) == [storing.case_id]
    assert set(ledger.sendable(NOW + 100, 10, 30)) == {running.case_id, storing.case_id}


def test_a_case_that_is_put_off_is_not_sent(ledger: Ledger) -> None:
    one = claimed(ledger, opened(ledger).case_id)
    ledger.hand_back(one.case_id, one.token, now=NOW, not_before=NOW + 30, reason="archive", count_attempt=False)
    assert ledger.sendable(NOW + 29, 10, 30) == []
    assert ledger.sendable(NOW + 30, 10, 30) == [one.case_id]


@pytest.mark.parametrize("step_s", [pytest.param(-3600, id="back 1 h"), pytest.param(86_400, id="forward 1 day")])
def test_no_lease_lasts_for_ever_when_the_clock_is_set(ledger: Ledger, step_s: float) -> None:
    """F20."""
    first = claimed(ledger, opened(ledger).case_id)
    second = claimed(ledger, first.case_id, now=NOW + step_s)
    assert second.token > first.token
    assert not ledger.renew(first.case_id, first.token, now=NOW + step_s, lease_s=LEASE_S)
    assert ledger.renew(second.case_id, second.token, now=NOW + step_s, lease_s=LEASE_S)
    assert claim(ledger, first.case_id, NOW + step_s + 1) is None
    assert finished(ledger, second, now=NOW + step_s + 1).state is CaseState.CONFIRMED


@pytest.mark.parametrize("skew_s", [-LEASE_S, -5.0, 5.0, LEASE_S])
def test_clocks_that_differ_by_less_than_a_lease_take_nothing_from_a_live_worker(ledger: Ledger, skew_s: float) -> None:
    first = claimed(ledger, opened(ledger).case_id)
    assert claim(ledger, first.case_id, NOW + skew_s) is None
    assert ledger.requeue_expired(NOW + skew_s) == 0


def test_a_clock_set_back_makes_lost_cases_ready_and_sends_again(ledger: Ledger) -> None:
    one, two = opened(ledger), opened(ledger, "2.1")
    claimed(ledger, one.case_id)
    ledger.queued([two.case_id], now=NOW)
    past = NOW - 3600
    assert ledger.requeue_expired(past) == 1
    assert set(ledger.sendable(past, 10, 30)) == {one.case_id, two.case_id}
    assert ledger.summary(past).oldest_runnable_s == 0


def test_a_case_put_off_by_a_clock_that_was_ahead_starts_at_once(ledger: Ledger) -> None:
    ahead = NOW + 86_400
    one = claimed(ledger, opened(ledger).case_id, now=ahead)
    ledger.hand_back(one.case_id, one.token, now=ahead, not_before=ahead + 60, reason="x", count_attempt=False)
    assert claim(ledger, one.case_id, NOW) is not None


def test_a_worker_may_leave_cases_to_others_but_delivers_them(ledger: Ledger) -> None:
    left, other = opened(ledger, "1.1"), opened(ledger, "2.1", now=NOW + 1)

    def next_but_left() -> Claim | None:
        return ledger.claim_next("w", now=NOW + 5, lease_s=LEASE_S, max_attempts=ATTEMPTS, but=[left.case_id])

    found = next_but_left()
    assert found is not None
    assert found.case_id == other.case_id
    assert next_but_left() is None
    done = claimed(ledger, left.case_id, now=NOW + 5)
    ledger.produced(done.case_id, done.token, [document()], now=NOW + 5, lease_s=LEASE_S)
    ledger.hand_back(done.case_id, done.token, now=NOW + 5, not_before=0, reason="stop", count_attempt=False)
    again = next_but_left()
    assert again is not None
    assert (again.case_id, again.to_deliver) == (left.case_id, True)
