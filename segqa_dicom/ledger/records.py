"""Small records: how far feeds were read, contents in conflict, and objects in quarantine."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import exists, insert, literal, or_, select

from segqa_dicom.ledger.batches import batches
from segqa_dicom.ledger.database import Database
from segqa_dicom.ledger.rows import Conflict, Refusal
from segqa_dicom.ledger.tables import conflicts, cursors, refusals


class Records(Database):
    """The part of the ledger that knows cursors, conflicts and refusals."""

    def cursor(self, name: str) -> str:
        """How far a feed was read; empty if it never was."""
        with self._reading() as connection:
            value = connection.execute(select(cursors.c.value).where(cursors.c.name == name)).scalar()
        return value or ""

    def set_cursor(self, name: str, value: str) -> None:
        """Note how far a feed was read, after what it gave was dealt with."""
        statement = self._insert(cursors).values(name=name, value=value)
        statement = statement.on_conflict_do_update(index_elements=[cursors.c.name], set_={"value": value})
        with self._writing() as connection:
            connection.execute(statement)

    def add_conflict(self, conflict: Conflict) -> bool:
        """Note a conflict. False if it was noted before."""
        statement = (
            self._insert(conflicts)
            .values(
                sop_instance_uid=conflict.sop_instance_uid,
                kept_digest=conflict.kept_digest,
                refused_digest=conflict.refused_digest,
                series_instance_uid=conflict.series_instance_uid,
                seen_at=conflict.seen_at,
            )
            .on_conflict_do_nothing()
            .returning(conflicts.c.sop_instance_uid)
        )
        with self._writing() as connection:
            return connection.execute(statement).first() is not None

    def conflicts_in(self, uids: Iterable[str]) -> list[Conflict]:
        """Conflicts of series or of objects, by Series or SOP Instance UIDs; the oldest first."""
        found: set[Conflict] = set()
        with self._reading() as connection:
            for batch in batches(uids):
                named = or_(conflicts.c.series_instance_uid.in_(batch), conflicts.c.sop_instance_uid.in_(batch))
                found.update(Conflict(**row) for row in connection.execute(select(conflicts).where(named)).mappings())
        return sorted(
            found, key=lambda conflict: (conflict.seen_at, conflict.sop_instance_uid, conflict.refused_digest)
        )

    def refuse(self, *, sop_instance_uid: str, name: str, reason: str, path: str, now: float) -> bool:
        """Note an object that was put into quarantine. False if it was noted before, for the same and at that path."""
        same = exists().where(
            refusals.c.path == path, refusals.c.name == name, refusals.c.sop_instance_uid == sop_instance_uid
        )
        values = {"sop_instance_uid": sop_instance_uid, "name": name, "reason": reason, "path": path, "seen_at": now}
        row = select(*(literal(value) for value in values.values())).where(~same)
        statement = insert(refusals).from_select(list(values), row).returning(refusals.c.refusal_id)
        with self._writing() as connection:
            return connection.execute(statement).first() is not None

    def refusals(self, limit: int = 100) -> list[Refusal]:
        """Objects in quarantine, the newest first."""
        query = select(refusals).order_by(refusals.c.refusal_id.desc()).limit(limit)
        with self._reading() as connection:
            return [Refusal(**row) for row in connection.execute(query).mappings()]
