"""Storage Commitment Push Model as SCP (PS3.4, annex J): telling a sender what of its objects is safe with us."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from io import BytesIO
from itertools import count
from typing import TYPE_CHECKING, Any

from pydicom import Dataset
from pynetdicom import AE, build_context, build_role
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.dsutils import encode

from segqa_dicom.dicom.opening import items, text
from segqa_dicom.dicom.sop_classes import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
from segqa_dicom.dicom.uids import normalised_uid
from segqa_dicom.errors import Inconsistent
from segqa_dicom.log import event as log_event
from segqa_dicom.log import hashed
from segqa_dicom.node.peers import Peer
from segqa_dicom.node.receiving import Receiver, Report
from segqa_dicom.node.waiting import IsHeld

if TYPE_CHECKING:
    from pynetdicom.events import Event

LOGGER = logging.getLogger("segqa.node")

_REQUEST = 1
"""Action Type ID (PS3.4, table J.3-1)."""
_ALL_HELD, _SOME_FAILED = 1, 2
"""Event Type ID (PS3.4, table J.3-2)."""
_NO_SUCH_OBJECT, _PROCESSING_FAILURE = 0x0112, 0x0110
"""Failure Reason (PS3.3, section C.14.1.1)."""
SUCCESS, NO_SUCH_INSTANCE, NO_SUCH_ACTION, INVALID_ARGUMENT = 0x0000, 0x0112, 0x0123, 0x0115
"""Answers to N-ACTION (PS3.7, section 10.1.4.1.10)."""
_ATTEMPTS, _BETWEEN_ATTEMPTS_S = 3, 5.0
_WORKERS = 4
_STOP_S = 1.0
"""How long a report that is under way may take when the node stops."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked: a transaction, and (SOP Class UID, SOP Instance UID) of its objects."""

    transaction_uid: str
    instances: tuple[tuple[str, str], ...]


def requested(information: Dataset) -> Request:
    """The request in an N-ACTION's data set; raises `Inconsistent` if it is none."""
    transaction = normalised_uid(text(information, "TransactionUID"), what="Transaction UID")
    instances = tuple(
        (
            normalised_uid(text(item, "ReferencedSOPClassUID"), what="Referenced SOP Class UID"),
            normalised_uid(text(item, "ReferencedSOPInstanceUID"), what="Referenced SOP Instance UID"),
        )
        for item in items(information, "ReferencedSOPSequence")
    )
    if not instances:
        raise Inconsistent("a storage commitment request without objects; name them in Referenced SOP Sequence")
    return Request(transaction, instances)


class Commitments:
    """Answers requests: at once that they were understood, later what is held.

    ae_title : ours
    is_held : is asked in a thread of its own; what it raises is reported as a processing failure
    timeout_s : for each step of an association that we open
    """

    def __init__(self, *, ae_title: str, is_held: IsHeld, timeout_s: float) -> None:
        self._ae_title, self._is_held, self._timeout_s = ae_title, is_held, timeout_s
        self._numbers = count(1)
        self._stopped = threading.Event()
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(_WORKERS)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Report nothing more; whoever waits for it asks again."""
        self._stopped.set()
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join(_STOP_S)

    def _run(self) -> None:
        while (task := self._work.get()) is not None and not self._stopped.is_set():
            try:
                task()
            except Exception:
                LOGGER.exception("a storage commitment could not be reported")

    def request(self, event: Event, receiver: Receiver, peer: Peer | None) -> int:
        """The status for an N-ACTION request; its report follows on the same association, or else to `peer`."""
        action: Any = event.request
        if action.RequestedSOPInstanceUID != STORAGE_COMMITMENT_INSTANCE:
            return NO_SUCH_INSTANCE
        if action.ActionTypeID != _REQUEST:
            return NO_SUCH_ACTION
        try:
            request = requested(event.action_information)
        except Exception as error:  # noqa: BLE001 - pydicom parses it here
            LOGGER.warning("a storage commitment request is not understood (%s)", type(error).__name__)
            return INVALID_ARGUMENT
        syntax = event.context.transfer_syntax
        context_id = event.context.context_id
        self._work.put(lambda: self._report(request, receiver, context_id, syntax, peer))
        return SUCCESS

    def _report(self, request: Request, receiver: Receiver, context_id: int, syntax: Any, peer: Peer | None) -> None:
        kind, answer = self._answer(request)
        primitive = N_EVENT_REPORT()
        primitive.MessageID = next(self._numbers) % 0xFFFF
        primitive.AffectedSOPClassUID = STORAGE_COMMITMENT
        primitive.AffectedSOPInstanceUID = STORAGE_COMMITMENT_INSTANCE
        primitive.EventTypeID = kind
        primitive.EventInformation = BytesIO(encode(answer, syntax.is_implicit_VR, syntax.is_little_endian) or b"")

        def send_elsewhere() -> None:
            self._work.put(lambda: self._send_to(peer, kind, answer))

        if not receiver.report(Report(primitive, context_id, send_elsewhere)):
            send_elsewhere()

    def _answer(self, request: Request) -> tuple[int, Dataset]:
        """Event type and data set of the report (PS3.4, section J.3.3.1)."""
        held, failed = [], []
        for sop_class_uid, sop_instance_uid in request.instances:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
            try:
                is_held = self._is_held(sop_class_uid, sop_instance_uid)
                reason = _NO_SUCH_OBJECT
            except Exception as error:  # noqa: BLE001 - whatever the archive's client raises: it is not known
                LOGGER.warning("storage commitment: it is not known what is held (%s)", type(error).__name__)
                is_held, reason = False, _PROCESSING_FAILURE
            if is_held:
                held.append(item)
            else:
                item.FailureReason = reason
                failed.append(item)
        answer = Dataset()
        answer.TransactionUID = request.transaction_uid
        answer.RetrieveAETitle = self._ae_title
        _put(answer, "ReferencedSOPSequence", held)
        _put(answer, "FailedSOPSequence", failed)
        log_event("commitment", held=len(held), failed=len(failed))
        return (_SOME_FAILED if failed else _ALL_HELD), answer

    def _send_to(self, peer: Peer | None, kind: int, answer: Dataset) -> None:
        """Report on an association that we open."""
        if peer is None:
            LOGGER.warning(
                "a storage commitment is not reported: the association is over, and no address of the AE is known; "
                "give it as TITLE@HOST:PORT in SEGQA_ALLOWED_AE"
            )
            return
        for _ in range(_ATTEMPTS):
            if self._sent(peer, kind, answer):
                return
            if self._stopped.wait(_BETWEEN_ATTEMPTS_S):
                return
        log_event("commitment_unreported", ae=hashed(peer.title), attempts=_ATTEMPTS)

    def _sent(self, peer: Peer, kind: int, answer: Dataset) -> bool:
        ours = AE(self._ae_title)
        ours.acse_timeout = ours.dimse_timeout = ours.network_timeout = ours.connection_timeout = self._timeout_s
        association = ours.associate(
            peer.host or "",
            peer.port or 0,
            [build_context(STORAGE_COMMITMENT)],
            peer.title,
            ext_neg=[build_role(STORAGE_COMMITMENT, scp_role=True)],
        )
        if not association.is_established:
            return False
        try:
            status, _ = association.send_n_event_report(answer, kind, STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE)
            return bool(status) and status.Status == SUCCESS
        except (RuntimeError, ValueError):  # ended meanwhile, or the context was not accepted
            return False
        finally:
            association.release()


def _put(dataset: Dataset, keyword: str, found: Iterable[Dataset]) -> None:
    if several := list(found):
        setattr(dataset, keyword, several)
