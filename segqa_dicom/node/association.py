"""One association: pynetdicom's, with our guards, our receiver, and our decision on who may come in."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from pynetdicom import evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.acse import ACSE
from pynetdicom.association import Association
from pynetdicom.transport import AddressInformation

from segqa_dicom import log
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.errors import InputError
from segqa_dicom.inbox import Inbox
from segqa_dicom.node.budget import Arrival, Budget
from segqa_dicom.node.commitment import Commitments
from segqa_dicom.node.contexts import Status, supported_contexts
from segqa_dicom.node.guards import GuardedProvider, GuardedSocket
from segqa_dicom.node.peers import AllowList
from segqa_dicom.node.receiving import Receiver, Room
from segqa_dicom.node.storing import status_of, stored

if TYPE_CHECKING:
    from pynetdicom.ae import ApplicationEntity
    from pynetdicom.events import Event

LOGGER = logging.getLogger("segqa.node")

_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
Rejection = tuple[int, int, int]
"""Result, source and reason of A-ASSOCIATE-RJ (PS3.8, section 9.3.4)."""
CONTEXT_NOT_SUPPORTED: Rejection = (1, 1, 2)
CALLING_NOT_RECOGNIZED: Rejection = (1, 1, 3)
CALLED_NOT_RECOGNIZED: Rejection = (1, 1, 7)
LIMIT_EXCEEDED: Rejection = (2, 3, 2)
_JOIN_S = 5.0


@dataclass(frozen=True)
class House:
    """What all associations of a node share."""

    ae: ApplicationEntity
    port: int
    inbox: Inbox
    room: Room
    limits: Limits
    budget: Budget
    allowed: AllowList
    commitments: Commitments
    read_deadline_s: float
    network_timeout_s: float
    ended: Callable[[NodeAssociation], None]


class _Doorkeeper(ACSE):
    """pynetdicom's negotiation, after our own decision: an error in that lets nobody in."""

    def _negotiate_as_acceptor(self) -> None:
        association = cast("NodeAssociation", self.assoc)
        if (rejection := association.rejection()) is not None:
            association.outcome = "rejected {}-{}-{}".format(*rejection)
            self.send_reject(*rejection)
            association.kill()
            return
        super()._negotiate_as_acceptor()


class NodeAssociation(Association):
    """An association that somebody asks us for. Its thread answers, that of its upper layer receives."""

    def __init__(self, house: House, arrival: Arrival) -> None:
        super().__init__(house.ae, MODE_ACCEPTOR)
        self._house = house
        self.address = arrival.address[0]
        self.outcome = ""
        self._opened_at = time.monotonic()
        self._has_place = False
        self.receiver = Receiver(self, house.room)
        self.dimse = self.receiver
        self.dul = GuardedProvider(self, take=self.receiver.take, notify=self.receiver.wake)
        self.acse = _Doorkeeper(self)
        self._guarded = GuardedSocket(
            self, arrival, read_deadline_s=house.read_deadline_s, send_timeout_s=house.network_timeout_s
        )
        self.set_socket(self._guarded)
        self.acse_timeout, self.network_timeout = house.ae.acse_timeout, house.ae.network_timeout
        self._introduce(arrival)
        self.bind(evt.EVT_C_ECHO, lambda _: 0x0000)
        self.bind(evt.EVT_C_STORE, self._store)
        self.bind(evt.EVT_N_ACTION, self._commit)

    def _introduce(self, arrival: Arrival) -> None:
        """Say who is who, as pynetdicom's own server does."""
        acceptor, ae = self.acceptor, self._house.ae
        acceptor.maximum_length = ae.maximum_pdu_size
        acceptor.ae_title = ae.ae_title
        acceptor.address_info = AddressInformation.from_tuple((arrival.connection.getsockname()[0], self._house.port))
        acceptor.implementation_class_uid = ae.implementation_class_uid
        acceptor.implementation_version_name = ae.implementation_version_name
        acceptor.supported_contexts = supported_contexts()
        self.requestor.address_info = AddressInformation.from_tuple(arrival.address)

    @property
    def title(self) -> str:
        """The calling AE title; empty as long as it is not known."""
        primitive = self.requestor.primitive
        return str(primitive.calling_ae_title or "").strip() if primitive is not None else ""

    def rejection(self) -> Rejection | None:
        """Why this association is not accepted; None takes a place of the budget, which ends with the association."""
        request: Any = self.requestor.primitive
        if request.application_context_name != _APPLICATION_CONTEXT:
            return CONTEXT_NOT_SUPPORTED
        if str(request.called_ae_title).strip() != self._house.ae.ae_title.strip():
            return CALLED_NOT_RECOGNIZED
        if not self._house.allowed.admits(self.title, self.address):
            return CALLING_NOT_RECOGNIZED
        self._has_place = self._house.budget.take(self.address)
        return None if self._has_place else LIMIT_EXCEEDED

    def run_reactor(self) -> None:
        """Serve the association until it is over, and clean up, whatever happens."""
        try:
            super().run_reactor()
        except Exception as error:
            LOGGER.exception("an association ended by an error of ours (%s)", type(error).__name__)
        finally:
            self._end()

    def _end(self) -> None:
        self.dul.kill_dul()
        if self.dul.ident is not None:
            self.dul.join(_JOIN_S)
        self._guarded.dispose()
        if self._has_place:
            self._house.budget.give_back(self.address)
        self.receiver.end()
        traffic = self.receiver.traffic
        log.event(
            "association",
            ae=log.hashed(self.title),
            peer=log.hashed(self.address),
            instances=traffic.instances,
            refused=traffic.refused,
            bytes=traffic.bytes,
            commitments=traffic.commitments,
            seconds=round(time.monotonic() - self._opened_at, 3),
            end=self.outcome or self._how_it_ended(),
        )
        self._house.ended(self)

    def _how_it_ended(self) -> str:
        if self.is_released:
            return "released"
        if self.receiver.is_draining:
            return "stopped"
        return "aborted" if self.is_aborted else "dropped"

    def close(self) -> None:
        """Cut the connection; from any thread."""
        self._guarded._shutdown_socket()  # noqa: SLF001 - pynetdicom has no other way that does not wait
        self._guarded.wake()

    def _store(self, event: Event) -> int:
        """Answer a C-STORE request; never raises."""
        request: Any = event.request
        traffic, part = self.receiver.traffic, self.receiver.finished(request._dataset_path)  # noqa: SLF001 - see Receiver
        reason = "no data set"
        status = Status.CANNOT_UNDERSTAND
        try:
            if request.AffectedSOPClassUID != event.context.abstract_syntax:
                status, reason = Status.SOP_CLASS_NOT_SUPPORTED, "SOP class of another presentation context"
            elif part is not None:
                status = stored(
                    part,
                    self._house.inbox,
                    self._house.limits,
                    sop_class_uid=request.AffectedSOPClassUID,
                    sop_instance_uid=request.AffectedSOPInstanceUID,
                )
                reason = part.refusal[1] if part.refusal else ""
        except Exception as error:
            status, reason = status_of(error), type(error).__name__
            if not isinstance(error, (InputError, OSError)):
                LOGGER.exception("storing failed by an error of ours (%s)", reason)
        finally:
            if part is not None and status != Status.SUCCESS:
                part.discard()
        if status == Status.SUCCESS:
            traffic.instances += 1
        else:
            traffic.refused += 1
            log.event("refused", status=f"{status:04X}", reason=reason, ae=log.hashed(self.title))
        return int(status)

    def _commit(self, event: Event) -> tuple[int, None]:
        """Answer a request for storage commitment."""
        self.receiver.traffic.commitments += 1
        peer = self._house.allowed.listener(self.title, self.address)
        return self._house.commitments.request(event, self.receiver, peer), None
