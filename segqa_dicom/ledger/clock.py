"""Times in questions to the ledger, such that a clock that was wrong stops nothing for ever.

The ledger knows no clock; hosts pass the time, their clocks differ by some seconds, and one may be set back or forward.
A time in the ledger that lies further in the future than a right clock can have put there was written by a wrong one,
and counts as past:

* a lease is over when its end has passed, or lies more than two of its lengths ahead: so no lease lasts longer than two
  lengths, whatever any clock does, and clocks may differ by one length without taking a lease from a live worker;
* a case that is not to start before some time starts anyway if its row was written "later than now";
* likewise for a message that was queued "later than now", and for a quiet time longer than its own length.

Taking over too early does no harm: the old worker's token is refused (fencing), and only time is lost.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, or_

from segqa_dicom.ledger.rows import DELIVERING, CaseState
from segqa_dicom.ledger.tables import cases, subjects

SKEW_S = 60.0
"""So much the clocks of hosts may differ."""


def lease_is_over(now: float) -> ColumnElement[bool]:
    """Of a case: nobody holds it, as far as one can know."""
    until = cases.c.lease_until
    return or_(until.is_(None), until < now, until > now + 2 * cases.c.lease_s)


def may_start(now: float) -> ColumnElement[bool]:
    """Of a case: it was not put off to a later time."""
    return or_(cases.c.not_before <= now, cases.c.updated_at > now + SKEW_S)


def claimable(now: float) -> tuple[ColumnElement[bool], ...]:
    """Of a case: a worker may have it now. Kinds of such cases, those that go first first.

    What is done only has to be sent; what was lost with its worker has waited longest. Asked one after the other,
    each finds its oldest in an index, however many cases are ready.
    """
    return (
        and_(cases.c.state.in_(DELIVERING), lease_is_over(now), may_start(now)),
        and_(cases.c.state == CaseState.RUNNING, lease_is_over(now)),
        and_(cases.c.state == CaseState.READY, may_start(now)),
    )


def is_to_queue(now: float, resend_after_s: float) -> ColumnElement[bool]:
    """Of a case: no message for it can still be on its way."""
    queued = cases.c.queued_at
    return or_(queued.is_(None), queued <= now - resend_after_s, queued > now + SKEW_S)


def is_due(now: float) -> ColumnElement[bool]:
    """Of a subject: it is to be evaluated."""
    ends_too_late = and_(subjects.c.is_touched, subjects.c.check_at > now + subjects.c.quiet_s + SKEW_S)
    return or_(subjects.c.check_at <= now, ends_too_late)
