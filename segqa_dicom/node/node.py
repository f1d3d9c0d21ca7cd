"""The node as a whole: starting, stopping, and running as a process of its own."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import pynetdicom
from pynetdicom import AE, _config

from segqa_dicom import log
from segqa_dicom.config import ServiceSettings, Settings
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.errors import ConfigurationError
from segqa_dicom.inbox import Inbox
from segqa_dicom.node.association import House, NodeAssociation
from segqa_dicom.node.budget import LIMIT_EXCEEDED_PDU, Arrival, Budget
from segqa_dicom.node.commitment import Commitments
from segqa_dicom.node.contexts import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, TESTED_PYNETDICOM
from segqa_dicom.node.gate import Gate
from segqa_dicom.node.peers import AllowList
from segqa_dicom.node.receiving import PART_PREFIX, Room
from segqa_dicom.node.waiting import IsHeld, WaitingInstances

LOGGER = logging.getLogger("segqa.node")

MAX_PDU_SIZE = 131_072
"""Maximum Length Received that we ask for (PS3.8, annex D.1)."""
GRACE_S = 10.0
"""How long C-STOREs that are under way may take when the node stops."""
_POLL_S = 0.05
_REJECTIONS = 32
"""Associations beyond the limit that are rejected in due form, by threads of their own, at a time."""


class Node:
    """Takes objects into an inbox; one node writes to an inbox at a time.

    ae_title : ours; associations that call another one are rejected
    port : 0 = a free one; `port` says which
    max_file_bytes : larger objects are refused
    is_held : for storage commitment: whether an instance is in the inbox or the archive; by default the inbox only

    Raises `ConfigurationError` for a wrong AE title or allow-list, and for an address that cannot be listened on.
    """

    def __init__(
        self,
        *,
        ae_title: str,
        host: str,
        port: int,
        inbox: Inbox,
        settings: ServiceSettings,
        max_file_bytes: int | None = None,
        is_held: IsHeld | None = None,
    ) -> None:
        max_file_bytes = max_file_bytes or Limits().max_file_bytes
        limits = Limits(max_file_bytes=max_file_bytes)
        self._inbox, self._stopped = inbox, threading.Event()
        self._associations: set[NodeAssociation] = set()
        self._most_threads = settings.max_associations + _REJECTIONS
        self._lock = threading.Lock()
        _quieten()
        allowed = AllowList(settings.allowed_ae)
        ae = _application_entity(ae_title, settings)
        try:
            self._gate = Gate(
                host,
                port,
                admit=self._admit,
                silence_s=settings.acse_timeout_s,
                read_deadline_s=settings.read_deadline_s,
            )
        except OSError as error:
            raise ConfigurationError(
                f"the DICOM node cannot listen on {host}:{port} ({error.strerror}); choose another address or port"
            ) from error
        self.port = self._gate.port
        """Where the node listens."""
        self._commitments = Commitments(
            ae_title=ae_title,
            is_held=is_held or WaitingInstances(inbox, limits).holds,
            timeout_s=settings.acse_timeout_s,
        )
        self._house = House(
            ae=ae,
            port=self.port,
            inbox=inbox,
            room=Room(inbox, max_file_bytes, settings.min_free_bytes),
            limits=limits,
            budget=Budget(total=settings.max_associations, per_address=settings.max_associations_per_address),
            allowed=allowed,
            commitments=self._commitments,
            read_deadline_s=settings.read_deadline_s,
            network_timeout_s=settings.network_timeout_s,
            ended=self._forget,
        )

    @property
    def association_count(self) -> int:
        """Associations that are established now."""
        return self._house.budget.count

    def start(self) -> None:
        """Begin to listen; returns at once.

        Logs a warning if pynetdicom is of another version than those that the guards were tested with: they rely on
        its internals. It starts all the same, because a security release must not stop a site.
        """
        if pynetdicom.__version__ not in TESTED_PYNETDICOM:
            log.event("pynetdicom_not_tested", version=pynetdicom.__version__, tested=", ".join(TESTED_PYNETDICOM))
        self._inbox.remove_parts(PART_PREFIX)
        self._gate.start()
        log.event("node_started", port=self.port)

    def stop(self, grace_s: float = GRACE_S) -> None:
        """Accept nothing more, let C-STOREs that are under way finish for `grace_s`, and end all associations."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        self._gate.stop()
        for association in self._running():
            association.receiver.is_draining = True
            association.receiver.wake()
        deadline = time.monotonic() + grace_s
        while self._running() and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        for association in self._running():
            association.close()
        for association in self._running():
            association.join(grace_s)
        self._commitments.stop()
        log.event("node_stopped", port=self.port)

    def serve_forever(self, on_ready: Callable[[int], None] | None = None, *, grace_s: float = GRACE_S) -> None:
        """Serve until SIGTERM or SIGINT; only in the main thread of a process.

        on_ready : is called with the port when the node listens
        """
        asked = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: asked.set())
        self.start()
        if on_ready is not None:
            on_ready(self.port)
        while not asked.wait(1.0):
            pass
        self.stop(grace_s)

    def __enter__(self) -> Node:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _admit(self, arrival: Arrival) -> None:
        if len(self._associations) >= self._most_threads:
            with arrival.connection:
                arrival.connection.send(LIMIT_EXCEEDED_PDU)
            return
        association = NodeAssociation(self._house, arrival)
        with self._lock:
            self._associations.add(association)
        try:
            association.start()
        except BaseException:
            self._forget(association)
            raise

    def _forget(self, association: NodeAssociation) -> None:
        with self._lock:
            self._associations.discard(association)

    def _running(self) -> list[NodeAssociation]:
        with self._lock:
            return list(self._associations)


def run_node(
    *,
    ae_title: str,
    host: str,
    port: int,
    inbox_folder: Path,
    settings: ServiceSettings | None = None,
    max_file_bytes: int | None = None,
    is_held: IsHeld | None = None,
    on_ready: Callable[[int], None] | None = None,
    grace_s: float = GRACE_S,
) -> None:
    """A node as the whole of a process: returns after SIGTERM or SIGINT, so that the process ends with 0.

    settings, max_file_bytes : None = from the environment
    """
    node = Node(
        ae_title=ae_title,
        host=host,
        port=port,
        inbox=Inbox(inbox_folder),
        settings=settings or ServiceSettings(),
        max_file_bytes=max_file_bytes or Settings().max_file_bytes,
        is_held=is_held,
    )
    node.serve_forever(on_ready, grace_s=grace_s)


def _application_entity(ae_title: str, settings: ServiceSettings) -> AE:
    try:
        ae = AE(ae_title)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{ae_title!r} is not an AE title; use 1 to 16 characters without backslash"
        ) from error
    ae.maximum_associations = sys.maxsize  # the budget counts them, by address, too
    ae.maximum_pdu_size = MAX_PDU_SIZE
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.acse_timeout = settings.acse_timeout_s
    ae.dimse_timeout = ae.network_timeout = settings.network_timeout_s
    return ae


def _quieten() -> None:
    """Keep pynetdicom from logging every message, with identifiers."""
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
    logging.getLogger("pynetdicom").setLevel(logging.WARNING)
