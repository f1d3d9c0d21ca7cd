"""The outbox: documents are here from the moment they exist until the archive is known to have them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, and_, delete, exists, false, select, update

from segqa_dicom.ledger.case_rows import free_lease, newer_case, one_case
from segqa_dicom.ledger.claims import is_held
from segqa_dicom.ledger.database import Database
from segqa_dicom.ledger.document_rows import document_of, document_values
from segqa_dicom.ledger.rows import (
    DELIVERING,
    FINISHED,
    Case,
    CaseState,
    OutboxDocument,
    SegmentationState,
)
from segqa_dicom.ledger.tables import cases, outbox, segmentations

_REPLACED = (*FINISHED, CaseState.QUARANTINED)
"""States of a revision that end when a newer one is finished."""


class Outbox(Database):
    """The part of the ledger that knows documents on their way to the archive."""

    def produced(
        self, case_id: str, token: int, documents: Sequence[OutboxDocument], *, now: float, lease_s: float
    ) -> bool:
        """Put what a case produced into the outbox; from now on it is delivered, not computed again.

        False, and nothing written, if the claim is no longer valid or is one for delivery; or if a newer revision has
        come first, whose documents do not name these as replaced: then the case is superseded.
        """
        with self._writing() as connection:
            held = one_case(connection, is_held(case_id, token), is_locking=True)
            if held is None or held.state is not CaseState.RUNNING:
                return False
            if newer_case(connection, held, but=tuple(set(CaseState) - {*DELIVERING, *FINISHED})):
                _supersede(connection, held, now)
                return False
            if documents:
                connection.execute(
                    outbox.insert(),
                    [
                        {**document_values(one), "case_id": case_id, "position": at, "is_stored": False}
                        for at, one in enumerate(documents)
                    ],
                )
            connection.execute(
                update(cases)
                .where(cases.c.case_id == case_id)
                .values(
                    state=CaseState.STORING,
                    documents=[document.sop_instance_uid for document in documents],
                    lease_until=now + lease_s,
                    lease_s=lease_s,
                    not_before=0.0,
                    updated_at=now,
                    reason="",
                )
            )
            return True

    def pending_documents(self, case_id: str) -> list[OutboxDocument]:
        """Documents of a case that the archive has not confirmed, in the order in which they were produced."""
        query = select(outbox).where(outbox.c.case_id == case_id, outbox.c.is_stored.is_(false()))
        with self._reading() as connection:
            return [document_of(row) for row in connection.execute(query.order_by(outbox.c.position)).mappings()]

    def document_stored(self, case_id: str, token: int, sop_instance_uid: str) -> bool:
        """Note that the archive has a document; after the last one the case is `stored`.

        False, and nothing changed, if the claim is no longer valid.
        """
        with self._writing() as connection:
            held = one_case(connection, is_held(case_id, token), is_locking=True)
            if held is None or held.state not in DELIVERING:
                return False
            connection.execute(
                update(outbox)
                .where(outbox.c.case_id == case_id, outbox.c.sop_instance_uid == sop_instance_uid)
                .values(is_stored=True)
            )
            if not _is_pending(connection, case_id):
                connection.execute(update(cases).where(cases.c.case_id == case_id).values(state=CaseState.STORED))
            return True

    def delivered(self, case_id: str, token: int, *, now: float) -> bool:
        """End a case whose documents the archive has all confirmed (`document_stored`).

        It is confirmed, or incomplete if images were missing; its segmentations likewise; older revisions are
        superseded, and so is the case itself if a newer one was finished meanwhile. False, and nothing changed, if the
        claim is no longer valid or a document is still pending.
        """
        with self._writing() as connection:
            held = one_case(connection, is_held(case_id, token))
            if held is None:
                return False
            self._lock_subject(connection, held.ct_series_instance_uid)
            held = one_case(connection, is_held(case_id, token), is_locking=True)
            if held is None or held.state not in DELIVERING or _is_pending(connection, case_id):
                return False
            connection.execute(delete(outbox).where(outbox.c.case_id == case_id))
            _finish(connection, held, now)
            return True


def _finish(connection: Connection, held: Case, now: float) -> None:
    of_subject = cases.c.ct_series_instance_uid == held.ct_series_instance_uid
    newer = exists().where(of_subject, cases.c.revision > held.revision, cases.c.state.in_(FINISHED))
    state, reason = CaseState.INCOMPLETE if held.missing else CaseState.CONFIRMED, ""
    if connection.execute(select(newer)).scalar():
        state, reason = CaseState.SUPERSEDED, "a newer revision was finished before"
    else:
        _mark_segmentations(connection, held)
        is_older = and_(of_subject, cases.c.revision < held.revision, cases.c.state.in_(_REPLACED))
        older = select(cases.c.case_id).where(is_older)
        connection.execute(delete(outbox).where(outbox.c.case_id.in_(older)))
        reason_of_older = "a newer revision was finished"
        connection.execute(
            update(cases).where(is_older).values(state=CaseState.SUPERSEDED, updated_at=now, reason=reason_of_older)
        )
    connection.execute(
        update(cases)
        .where(cases.c.case_id == held.case_id)
        .values(state=state, not_before=0.0, updated_at=now, reason=reason, **free_lease())
    )


def _supersede(connection: Connection, held: Case, now: float) -> None:
    values = {"state": CaseState.SUPERSEDED, "reason": "a newer revision came first", "updated_at": now}
    connection.execute(update(cases).where(cases.c.case_id == held.case_id).values(**values, **free_lease()))


def _mark_segmentations(connection: Connection, held: Case) -> None:
    incomplete = [uid for uid in held.segmentations if uid in held.missing]
    complete = [uid for uid in held.segmentations if uid not in held.missing]
    marks = ((incomplete, SegmentationState.INCOMPLETE), (complete, SegmentationState.REVIEWED))
    for uids, state in marks:
        connection.execute(
            update(segmentations)
            .where(segmentations.c.sop_instance_uid.in_(uids), segmentations.c.state != SegmentationState.REFUSED)
            .values(state=state, reason="")
        )


def _is_pending(connection: Connection, case_id: str) -> bool:
    query = select(exists().where(outbox.c.case_id == case_id, outbox.c.is_stored.is_(false())))
    return bool(connection.execute(query).scalar())
