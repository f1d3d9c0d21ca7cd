"""Claims: who works on a case, for how long, and what becomes of it if he does not come back.

A claim is a lease with a token. The lease says when others may take over; the token makes sure that he who was taken
over from can change nothing any more, even if he does not know it yet.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy import ColumnElement, Connection, and_, case, or_, select, update

from segqa_dicom.ledger.batches import batches
from segqa_dicom.ledger.case_rows import case_of, free_lease, newer_case, one_case
from segqa_dicom.ledger.clock import claimable, is_to_queue, lease_is_over
from segqa_dicom.ledger.database import Database
from segqa_dicom.ledger.rows import DELIVERING, HELD, Case, CaseState, Claim
from segqa_dicom.ledger.tables import cases

_OLDEST_FIRST = (cases.c.ready_at, cases.c.case_id)


class Claims(Database):
    """The part of the ledger that workers use to share cases."""

    def claim(self, case_id: str, owner: str, *, now: float, lease_s: float, max_attempts: int) -> Claim | None:
        """Take a case, if it is there to be taken.

        A ready case, or a running one whose lease is over, starts an attempt; it is counted before the work begins, so
        that a case which kills its workers ends in quarantine. One whose documents are in the outbox is claimed for
        delivery, which is not an attempt. A ready or running one that a newer revision exists of is superseded.
        Returns None whenever there is nothing to do: the caller need not know why.
        """
        with self._writing() as connection:
            found = one_case(connection, and_(cases.c.case_id == case_id, or_(*claimable(now))), is_locking=True)
            return None if found is None else _taken(connection, found, owner, now, lease_s, max_attempts)

    def claim_next(
        self, owner: str, *, now: float, lease_s: float, max_attempts: int, but: Collection[str] = ()
    ) -> Claim | None:
        """Take a case that is there to be taken; None if there is none.

        but : ids of cases that are not for this worker, unless all that is left to do is to deliver them

        First come those to deliver, then those whose worker was lost, then ready ones; of each the oldest.
        """
        while True:
            with self._writing() as connection:
                found = _oldest(connection, now, but)
                if found is None:
                    return None
                claim = _taken(connection, found, owner, now, lease_s, max_attempts)
            if claim is not None:
                return claim

    def renew(self, case_id: str, token: int, *, now: float, lease_s: float) -> bool:
        """Prolong a lease. False: somebody else has the case, or it is over; stop working on it."""
        statement = update(cases).where(is_held(case_id, token)).values(lease_until=now + lease_s, lease_s=lease_s)
        with self._writing() as connection:
            return connection.execute(statement).rowcount == 1

    def hand_back(
        self, case_id: str, token: int, *, now: float, not_before: float, reason: str, count_attempt: bool
    ) -> bool:
        """Give a case back unfinished, for others to go on with; documents in its outbox stay there.

        not_before : when to try again
        count_attempt : False if the case is not to blame (the archive is down, the worker is to stop)

        False, and nothing changed, if the claim is no longer valid.
        """
        with self._writing() as connection:
            held = one_case(connection, is_held(case_id, token), is_locking=True)
            if held is None:
                return False
            attempt = held.attempt if count_attempt or held.state in DELIVERING else max(0, held.attempt - 1)
            _free(connection, held, _left(held), now, reason, attempt=attempt, not_before=not_before)
            return True

    def fail(self, case_id: str, token: int, *, now: float, reason: str, max_attempts: int, final: bool) -> bool:
        """End an attempt that failed. The case is tried again, or put into quarantine if that is no use.

        final : trying again would fail again
        max_attempts : so many attempts and no more

        False, and nothing changed, if the claim is no longer valid.
        """
        with self._writing() as connection:
            held = one_case(connection, is_held(case_id, token), is_locking=True)
            if held is None:
                return False
            is_over = final or held.attempt >= max_attempts
            _free(connection, held, CaseState.QUARANTINED if is_over else _left(held), now, reason)
            return True

    def requeue_expired(self, now: float) -> int:
        """Make running cases ready again whose lease is over; returns how many. Their attempt stays counted."""
        is_lost = and_(cases.c.state == CaseState.RUNNING, lease_is_over(now))
        until = cases.c.lease_until
        with self._writing() as connection:
            query = select(cases.c.case_id).where(is_lost).with_for_update(skip_locked=True)
            lost = list(connection.execute(query).scalars())
            for batch in batches(lost):
                connection.execute(
                    update(cases)
                    .where(cases.c.case_id.in_(batch))
                    .values(
                        state=CaseState.READY,
                        ready_at=case((until < now, until), else_=now),
                        not_before=0.0,
                        updated_at=now,
                        reason="its worker died or ran out of time",
                        **free_lease(),
                    )
                )
        return len(lost)

    def sendable(self, now: float, limit: int, resend_after_s: float) -> list[str]:
        """Ids of cases that could be claimed now and that no message was sent for of late, in the order of claiming."""
        found: list[str] = []
        with self._reading() as connection:
            for kind in claimable(now):
                query = select(cases.c.case_id).where(kind, is_to_queue(now, resend_after_s)).order_by(*_OLDEST_FIRST)
                found += connection.execute(query.limit(limit - len(found))).scalars()
        return found

    def queued(self, case_ids: Iterable[str], *, now: float) -> None:
        """Note that a message was sent for each of the cases."""
        with self._writing() as connection:
            for batch in batches(sorted(case_ids)):
                rows = select(cases.c.case_id).where(cases.c.case_id.in_(batch)).order_by(cases.c.case_id)
                there = list(connection.execute(rows.with_for_update()).scalars())
                connection.execute(update(cases).where(cases.c.case_id.in_(there)).values(queued_at=now))


def is_held(case_id: str, token: int) -> ColumnElement[bool]:
    """That a claim is valid: the case is under way, and nobody has claimed it since.

    A lease that is over does not end a claim by itself; taking over, or `requeue_expired`, does.
    """
    return and_(
        cases.c.case_id == case_id,
        cases.c.token == token,
        cases.c.state.in_(HELD),
        cases.c.lease_until.is_not(None),
    )


def _oldest(connection: Connection, now: float, but: Collection[str]) -> Case | None:
    """The case to be claimed next, locked."""
    to_deliver, *to_work_on = claimable(now)
    for kind in (to_deliver, *(and_(kind, cases.c.case_id.not_in(but)) for kind in to_work_on)):
        # SKIP LOCKED: workers that ask at the same time look at different cases instead of waiting.
        query = select(cases).where(kind).order_by(*_OLDEST_FIRST).limit(1).with_for_update(skip_locked=True)
        row = connection.execute(query).mappings().one_or_none()
        if row is not None:
            return case_of(row)
    return None


def _taken(
    connection: Connection, found: Case, owner: str, now: float, lease_s: float, max_attempts: int
) -> Claim | None:
    """What claiming makes of a case that is claimable and locked."""
    is_delivering = found.state in DELIVERING
    if not is_delivering and newer_case(connection, found):
        _free(connection, found, CaseState.SUPERSEDED, now, "a newer revision was opened")
        return None
    if not is_delivering and found.attempt >= max_attempts:
        reason = f"its worker died or ran out of time {found.attempt} times"
        _free(connection, found, CaseState.QUARANTINED, now, reason)
        return None
    connection.execute(
        update(cases)
        .where(cases.c.case_id == found.case_id)
        .values(
            state=found.state if is_delivering else CaseState.RUNNING,
            attempt=found.attempt if is_delivering else found.attempt + 1,
            token=found.token + 1,
            lease_owner=owner,
            lease_until=now + lease_s,
            lease_s=lease_s,
            queued_at=None,
            updated_at=now,
        )
    )
    claimed = one_case(connection, cases.c.case_id == found.case_id)
    return None if claimed is None else Claim(claimed, claimed.token, is_delivering)


def _left(held: Case) -> CaseState:
    """The state of a case that its holder leaves unfinished: what is in the outbox is only delivered."""
    return held.state if held.state in DELIVERING else CaseState.READY


def _free(
    connection: Connection,
    held: Case,
    state: CaseState,
    now: float,
    reason: str,
    *,
    attempt: int | None = None,
    not_before: float = 0.0,
) -> None:
    connection.execute(
        update(cases)
        .where(cases.c.case_id == held.case_id)
        .values(
            state=state,
            attempt=held.attempt if attempt is None else attempt,
            not_before=not_before,
            updated_at=now,
            reason=reason,
            **free_lease(),
        )
    )
