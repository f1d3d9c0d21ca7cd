"""The ledger in numbers."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, Table, and_, case, exists, false, func, select

from segqa_dicom.ledger.clock import claimable
from segqa_dicom.ledger.database import Database
from segqa_dicom.ledger.rows import ACTIVE, CaseState, LedgerSummary, SegmentationState
from segqa_dicom.ledger.tables import cases, conflicts, outbox, refusals, review_outbox, segmentations


class Summaries(Database):
    """The part of the ledger that counts."""

    def summary(self, now: float) -> LedgerSummary:
        """All numbers at one moment."""
        with self._reading() as connection:
            in_states = _by_state(connection, cases)
            in_states[CaseState.WAITING] = in_states.get(CaseState.WAITING, 0) + _waiting_subjects(connection)
            segmentations_in_states = _by_state(connection, segmentations)
            return LedgerSummary(
                cases={str(state): in_states.get(state, 0) for state in CaseState},
                oldest_runnable_s=_oldest_runnable_s(connection, now),
                outbox=_count(connection, outbox, outbox.c.is_stored.is_(false())) + _count(connection, review_outbox),
                quarantined_objects=_count(connection, refusals),
                conflicts=_count(connection, conflicts),
                attempts=int(connection.execute(select(func.sum(cases.c.attempt))).scalar() or 0),
                segmentations={str(state): segmentations_in_states.get(state, 0) for state in SegmentationState},
            )


def _by_state(connection: Connection, table: Table) -> dict[str, int]:
    query = select(table.c.state, func.count()).group_by(table.c.state)
    return {row[0]: row[1] for row in connection.execute(query)}


def _count(connection: Connection, table: Table, *conditions: ColumnElement[bool]) -> int:
    return int(connection.execute(select(func.count()).select_from(table).where(*conditions)).scalar_one())


def _waiting_subjects(connection: Connection) -> int:
    # A case in quarantine is counted as such; its subject does not also wait.
    has_case = exists().where(
        cases.c.ct_series_instance_uid == segmentations.c.ct_series_instance_uid,
        cases.c.state.in_((*ACTIVE, CaseState.QUARANTINED)),
    )
    query = select(func.count(segmentations.c.ct_series_instance_uid.distinct())).where(
        segmentations.c.state == SegmentationState.WAITING, ~has_case
    )
    return int(connection.execute(query).scalar_one())


def _oldest_runnable_s(connection: Connection, now: float) -> float | None:
    until = cases.c.lease_until
    # Claimable with a lease means that it is over; if its end lies ahead, a wrong clock has set it.
    since = case((and_(until.is_not(None), until < now), until), (until.is_not(None), now), else_=cases.c.ready_at)
    oldest = [connection.execute(select(func.min(since)).where(kind)).scalar() for kind in claimable(now)]
    return max((max(0.0, now - one) for one in oldest if one is not None), default=None)
