"""Cases: opening revisions of the review of a subject, looking them up, and running them again."""

from __future__ import annotations

import re

from sqlalchemy import Connection, select, update

from segqa_dicom.errors import ConfigurationError, Inconsistent
from segqa_dicom.ledger.case_rows import DEAD, case_of, last_revision, make_ready, newer_case, one_case
from segqa_dicom.ledger.database import Database
from segqa_dicom.ledger.rows import ACTIVE, HELD, LONGEST_MISSING, Case, CaseState, NewCase
from segqa_dicom.ledger.tables import cases

_CASE_ID_DIGITS = 16
_KEY = re.compile(r"[0-9a-f]{64}\Z")
_PREFIX = re.compile(r"[0-9a-f]{1,64}\Z")


class Cases(Database):
    """The part of the ledger that knows cases."""

    def open_revision(self, new: NewCase, *, now: float) -> Case | None:
        """Open a case as the newest revision of its subject, ready to run; older ones that wait are superseded.

        None, and nothing changed, if its key is known: however often, and by however many, a case is opened, there is
        one. Only a superseded one is opened again, as the newest revision, if no newer one is left that counts (each
        is in quarantine), and so is any if newer ones wait that are to be reviewed by other rules: the rules were
        changed, and changed back before anybody had used them.
        """
        if not _KEY.match(new.key):
            raise ValueError("the key of a case is 64 hexadecimal digits")
        subject = new.ct_series_instance_uid
        with self._writing() as connection:
            self._lock_subject(connection, subject)
            known = one_case(connection, cases.c.key == new.key)
            if known is None:
                self._add(connection, new, now)
            elif _is_to_reopen(connection, known):
                make_ready(connection, known, now)
            else:
                return None
            opened = one_case(connection, cases.c.key == new.key)
            if opened is None:
                raise Inconsistent(f"case {new.key[:_CASE_ID_DIGITS]} has the same id as another one with another key")
            waiting = cases.c.state.in_((CaseState.WAITING, CaseState.READY))
            connection.execute(
                update(cases)
                .where(cases.c.ct_series_instance_uid == subject, cases.c.revision < opened.revision, waiting)
                .values(state=CaseState.SUPERSEDED, updated_at=now, reason="a newer revision was opened")
            )
            return opened

    def _add(self, connection: Connection, new: NewCase, now: float) -> None:
        values = {
            "case_id": new.key[:_CASE_ID_DIGITS],
            "key": new.key,
            "ct_study_instance_uid": new.ct_study_instance_uid,
            "ct_series_instance_uid": new.ct_series_instance_uid,
            "revision": last_revision(connection, new.ct_series_instance_uid) + 1,
            "segmentations": list(new.segmentations),
            "missing": {uid: list(missing)[:LONGEST_MISSING] for uid, missing in new.missing.items() if missing},
            "state": CaseState.READY,
            "attempt": 0,
            "lease_s": 0.0,
            "token": 0,
            "ready_at": now,
            "not_before": 0.0,
            "created_at": now,
            "updated_at": now,
            "reason": "",
            "documents": [],
            "ruleset_hash": new.ruleset_hash,
            "code_version": new.code_version,
        }
        connection.execute(self._insert(cases).values(values).on_conflict_do_nothing())

    def replay(self, case_id: str, *, now: float) -> Case:
        """Make a case ready to run from its beginning, with all its attempts.

        case_id : or the beginning of it that no other case has

        What its last run left in the outbox is dropped; the new run makes it again. Raises `ConfigurationError`, saying
        what to do, if there is no such case or more than one, if it is under way, or if a newer revision counts.
        """
        found = self.case(case_id)
        with self._writing() as connection:
            self._lock_subject(connection, found.ct_series_instance_uid)
            found = one_case(connection, cases.c.case_id == found.case_id, is_locking=True) or found
            if found.state in HELD:
                raise ConfigurationError(
                    f"case {found.case_id} is {found.state}: wait until it has ended, then replay it"
                )
            newer = newer_case(connection, found, but=DEAD)
            if newer:
                raise ConfigurationError(
                    f"case {found.case_id} is revision {found.revision} of a subject that case {newer} has a newer "
                    f"one of: replay {newer}"
                )
            make_ready(connection, found, now)
            replayed = one_case(connection, cases.c.case_id == found.case_id)
        return replayed or found

    def case(self, case_id: str) -> Case:
        """A case by its id, by its key, or by the beginning of either that no other case has.

        Raises `ConfigurationError` if there is none or more than one.
        """
        # "g" comes after all hexadecimal digits. A range finds its rows in the index, LIKE does not always.
        query = select(cases).where(cases.c.key >= case_id, cases.c.key < f"{case_id}g").limit(2)
        found: list[Case] = []
        if _PREFIX.match(case_id):
            with self._reading() as connection:
                found = [case_of(row) for row in connection.execute(query).mappings()]
        if not found:
            raise ConfigurationError(f"the ledger has no case {case_id[:64]!r}; `segqa status` lists what it has")
        if len(found) > 1:
            raise ConfigurationError(f"more than one case begins with {case_id!r}: give more of its digits")
        return found[0]

    def cases(self, state: CaseState | None = None, *, limit: int = 100, subject: str | None = None) -> list[Case]:
        """Cases in a state and of a subject, or of any; the last changed first."""
        query = select(cases).order_by(cases.c.updated_at.desc(), cases.c.case_id.desc()).limit(limit)
        if state is not None:
            query = query.where(cases.c.state == state)
        if subject is not None:
            query = query.where(cases.c.ct_series_instance_uid == subject)
        with self._reading() as connection:
            return [case_of(row) for row in connection.execute(query).mappings()]

    def newest_case(self, ct_series_instance_uid: str) -> Case | None:
        """The last revision of the review of a subject, in whatever state."""
        query = select(cases).where(cases.c.ct_series_instance_uid == ct_series_instance_uid)
        with self._reading() as connection:
            row = connection.execute(query.order_by(cases.c.revision.desc()).limit(1)).mappings().one_or_none()
        return None if row is None else case_of(row)


def _is_to_reopen(connection: Connection, known: Case) -> bool:
    """Whether a case that is over is what is to be done, though newer revisions of its subject may exist."""
    query = select(cases.c.state, cases.c.ruleset_hash).where(
        cases.c.ct_series_instance_uid == known.ct_series_instance_uid,
        cases.c.revision > known.revision,
        cases.c.state.not_in(DEAD),
    )
    newer = list(connection.execute(query))
    if any(state != CaseState.READY or ruleset_hash == known.ruleset_hash for state, ruleset_hash in newer):
        return False
    return known.state is CaseState.SUPERSEDED or (known.state not in ACTIVE and bool(newer))
