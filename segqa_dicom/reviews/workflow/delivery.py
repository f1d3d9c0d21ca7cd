"""From the outbox of readers to the archive."""

from __future__ import annotations

from segqa_dicom import log
from segqa_dicom.archive import Archive, Instance, Outcome, Outgoing
from segqa_dicom.errors import SegQaError
from segqa_dicom.findings import FindingsIndex, read_document
from segqa_dicom.ledger import Ledger, PendingReview

REFUSED_PAUSE_S = 600.0
"""So long a document rests that the archive does not take: somebody has to change something."""
_AT_ONCE = 20


def deliver(ledger: Ledger, archive: Archive, index: FindingsIndex, *, now: float) -> int:
    """Send documents of readers that the archive has not confirmed; returns how many it has confirmed.

    Any number of processes may do so at once. Raises `PeerError` if the archive or the ledger fails; all stay in the
    outbox then.
    """
    confirmed = 0
    tried: set[str] = set()
    while True:
        pending = [one for one in ledger.pending_reviews(now=now) if one.document.sop_instance_uid not in tried]
        if not pending:
            return confirmed
        batch = {one.document.sop_instance_uid: one for one in pending[:_AT_ONCE]}
        tried |= batch.keys()
        for outcome in archive.store([_outgoing(one) for one in batch.values()]):
            one = batch[outcome.sop_instance_uid]
            if outcome.outcome in (Outcome.CONFLICT, Outcome.REFUSED):
                reason = outcome.reason or "another content with its SOP Instance UID is there"
                ledger.review_refused(outcome.sop_instance_uid, reason, not_before=now + REFUSED_PAUSE_S)
                log.event("review refused", object=log.hashed(outcome.sop_instance_uid), kind=one.document.kind)
                continue
            _index(index, one)
            # Last: as long as it is in the outbox, nobody needs the index to know of it.
            confirmed += ledger.review_confirmed(outcome.sop_instance_uid)


def _index(index: FindingsIndex, one: PendingReview) -> None:
    """Into the index at once, as far as that works: else it is found in the archive a little later."""
    try:
        index.add([read_document(one.document.content)])
    except SegQaError as error:
        log.event("review not indexed", object=log.hashed(one.document.sop_instance_uid), reason=type(error).__name__)


def _outgoing(one: PendingReview) -> Outgoing:
    document = one.document
    instance = Instance(
        document.study_instance_uid, document.series_instance_uid, document.sop_instance_uid, document.sop_class_uid
    )
    return Outgoing(instance, document.content)
