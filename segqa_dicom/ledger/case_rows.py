"""Rows of the table of cases, read and changed inside a transaction that somebody else has begun."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, func, select, update

from segqa_dicom.ledger.rows import Case, CaseState
from segqa_dicom.ledger.tables import cases, outbox

DEAD = (CaseState.QUARANTINED, CaseState.SUPERSEDED)
"""States of a revision that an older one may take the place of."""


def case_of(row: RowMapping) -> Case:
    """A row as a value."""
    return Case(
        case_id=row["case_id"],
        key=row["key"],
        ct_study_instance_uid=row["ct_study_instance_uid"],
        ct_series_instance_uid=row["ct_series_instance_uid"],
        revision=row["revision"],
        segmentations=tuple(row["segmentations"]),
        missing={uid: tuple(missing) for uid, missing in row["missing"].items()},
        state=CaseState(row["state"]),
        attempt=row["attempt"],
        lease_owner=row["lease_owner"],
        lease_until=row["lease_until"],
        token=row["token"],
        ready_at=row["ready_at"],
        not_before=row["not_before"],
        queued_at=row["queued_at"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        reason=row["reason"],
        documents=tuple(row["documents"]),
        ruleset_hash=row["ruleset_hash"],
        code_version=row["code_version"],
    )


def one_case(connection: Connection, condition: ColumnElement[bool], *, is_locking: bool = False) -> Case | None:
    """The case that a condition is true of, if any; locked until the end of the transaction if so wanted."""
    query = select(cases).where(condition)
    row = connection.execute(query.with_for_update() if is_locking else query).mappings().one_or_none()
    return None if row is None else case_of(row)


def newer_case(connection: Connection, of: Case, *, but: tuple[CaseState, ...] = ()) -> str | None:
    """The id of the newest revision of the same subject after `of`, leaving out those in the states `but`."""
    query = select(cases.c.case_id).where(
        cases.c.ct_series_instance_uid == of.ct_series_instance_uid,
        cases.c.revision > of.revision,
        cases.c.state.not_in(but),
    )
    return connection.execute(query.order_by(cases.c.revision.desc()).limit(1)).scalar()


def free_lease() -> dict[str, object]:
    """Values of a case that nobody holds, and that no message is on its way for."""
    return {"lease_owner": None, "lease_until": None, "queued_at": None}


def make_ready(connection: Connection, old: Case, now: float) -> None:
    """Ready to run as the newest revision of its subject; a higher token shuts out whoever worked on it before.

    What a quarantine has kept in the outbox is dropped: the case makes it again.
    """
    connection.execute(delete(outbox).where(outbox.c.case_id == old.case_id))
    last = last_revision(connection, old.ct_series_instance_uid)
    connection.execute(
        update(cases)
        .where(cases.c.case_id == old.case_id)
        .values(
            state=CaseState.READY,
            revision=old.revision if old.revision == last else last + 1,
            attempt=0,
            token=cases.c.token + 1,
            ready_at=now,
            not_before=0.0,
            updated_at=now,
            reason="",
            **free_lease(),
        )
    )


def last_revision(connection: Connection, ct_series_instance_uid: str) -> int:
    """The highest revision number of a subject; 0 if it has none."""
    query = select(func.max(cases.c.revision)).where(cases.c.ct_series_instance_uid == ct_series_instance_uid)
    return int(connection.execute(query).scalar() or 0)
