"""CT series that segmentations may be drawn on, and when to look at each again."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, RowMapping, case, func, select, update

from segqa_dicom.ledger.clock import is_due
from segqa_dicom.ledger.database import Database
from segqa_dicom.ledger.rows import Subject, Touch
from segqa_dicom.ledger.tables import subjects

_TICK_S = 1e-6
"""A time in this century as a float tells such differences."""


class Subjects(Database):
    """The part of the ledger that knows subjects."""

    def touch(
        self, ct_series_instance_uid: str, ct_study_instance_uid: str | None, *, arrived_at: float, check_at: float
    ) -> None:
        """Note that something of a subject has arrived; see `touch_many`."""
        self.touch_many([Touch(ct_series_instance_uid, ct_study_instance_uid, arrived_at, check_at)])

    def touch_many(self, touches: Iterable[Touch]) -> None:
        """Note arrivals; unknown subjects are added.

        While things keep arriving, `check_at` moves on to the latest (a debounce). After an evaluation the first
        arrival sets it anew: what the evaluation left there is a deadline, for which news must not wait.
        `arrived_at` grows with each touch, by a microsecond at least, so that `evaluated` sees every one of them.
        """
        merged = _merged(touches)
        if not merged:
            return
        with self._writing() as connection:
            self._touch(connection, merged)

    def _touch(self, connection: Connection, touches: list[Touch]) -> None:
        statement = self._insert(subjects)
        new, old = statement.excluded, subjects.c
        statement = statement.on_conflict_do_update(
            index_elements=[old.ct_series_instance_uid],
            set_={
                "ct_study_instance_uid": func.coalesce(new.ct_study_instance_uid, old.ct_study_instance_uid),
                "arrived_at": case((new.arrived_at > old.arrived_at, new.arrived_at), else_=old.arrived_at + _TICK_S),
                "check_at": case((old.is_touched & (old.check_at > new.check_at), old.check_at), else_=new.check_at),
                "quiet_s": new.quiet_s,
                "is_touched": True,
            },
        )
        connection.execute(
            statement,
            [
                {
                    "ct_series_instance_uid": touch.ct_series_instance_uid,
                    "ct_study_instance_uid": touch.ct_study_instance_uid,
                    "arrived_at": touch.arrived_at,
                    "check_at": touch.check_at,
                    "quiet_s": max(0.0, touch.check_at - touch.arrived_at),
                    "is_touched": True,
                }
                for touch in touches
            ],
        )

    def look_again(self, ct_series_instance_uids: Iterable[str], *, now: float) -> None:
        """Have subjects evaluated now although nothing has arrived; unknown ones are added.

        `arrived_at` stays, and whoever waits for the end of a quiet time goes on waiting for it.
        """
        rows = [
            {"ct_series_instance_uid": uid, "arrived_at": now, "check_at": now, "quiet_s": 0.0, "is_touched": False}
            for uid in sorted(set(ct_series_instance_uids))
        ]
        statement = self._insert(subjects)
        new, old = statement.excluded, subjects.c
        statement = statement.on_conflict_do_update(
            index_elements=[old.ct_series_instance_uid],
            set_={"check_at": case((old.is_touched, old.check_at), else_=new.check_at)},
        )
        if rows:
            with self._writing() as connection:
                connection.execute(statement, rows)

    def due_subjects(self, now: float, limit: int) -> list[Subject]:
        """Subjects to evaluate now, the most overdue first."""
        query = select(subjects).where(is_due(now)).order_by(subjects.c.check_at, subjects.c.ct_series_instance_uid)
        with self._reading() as connection:
            return [_subject(row) for row in connection.execute(query.limit(limit)).mappings()]

    def subject(self, ct_series_instance_uid: str) -> Subject | None:
        """A subject, if it is known."""
        query = select(subjects).where(subjects.c.ct_series_instance_uid == ct_series_instance_uid)
        with self._reading() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else _subject(row)

    def evaluated(
        self, ct_series_instance_uid: str, seen_arrived_at: float, *, now: float, check_at: float | None
    ) -> bool:
        """Note that a subject was evaluated, and when it is due again (None: not before something arrives).

        seen_arrived_at : `arrived_at` as it was before evaluating

        False, and nothing changed, if something has arrived since: it stays due.
        """
        statement = (
            update(subjects)
            .where(
                subjects.c.ct_series_instance_uid == ct_series_instance_uid, subjects.c.arrived_at == seen_arrived_at
            )
            .values(evaluated_at=now, check_at=check_at, is_touched=False)
        )
        with self._writing() as connection:
            return connection.execute(statement).rowcount == 1


def _merged(touches: Iterable[Touch]) -> list[Touch]:
    """One touch per subject; sorted, so that two batches lock rows in the same order."""
    merged: dict[str, Touch] = {}
    for touch in touches:
        uid, other = touch.ct_series_instance_uid, merged.get(touch.ct_series_instance_uid)
        if other is not None:
            study = touch.ct_study_instance_uid or other.ct_study_instance_uid
            arrived_at, check_at = max(touch.arrived_at, other.arrived_at), max(touch.check_at, other.check_at)
            touch = Touch(uid, study, arrived_at, check_at)  # noqa: PLW2901
        merged[uid] = touch
    return [merged[uid] for uid in sorted(merged)]


def _subject(row: RowMapping) -> Subject:
    return Subject(
        ct_series_instance_uid=row["ct_series_instance_uid"],
        ct_study_instance_uid=row["ct_study_instance_uid"],
        arrived_at=row["arrived_at"],
        check_at=row["check_at"],
        evaluated_at=row["evaluated_at"],
    )
