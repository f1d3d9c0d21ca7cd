"""The gate that connections to the node pass."""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable
from typing import cast

from segqa_dicom.node.budget import (
    ASSOCIATE_RQ,
    BACKLOG,
    CHUNK_BYTES,
    HEADER_BYTES,
    IDLE_S,
    INVALID_PARAMETER,
    KNOWN_PDUS,
    LINGER_S,
    MAX_PDU_BYTES,
    UNEXPECTED_PDU,
    UNRECOGNIZED_PDU,
    Arrival,
    Waiting,
    abort_pdu,
)

LOGGER = logging.getLogger("segqa.node")


class Gate:
    """Listens on `host`:`port` (0 = a free one), and admits connections that have something to say.

    admit : is called with each arrival, in the gate's thread
    silence_s : a connection may take so long until its first byte
    read_deadline_s : from then on, so long until its request is complete
    capacity : connections that wait at a time; one more pushes out the one that waits longest
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        admit: Callable[[Arrival], None],
        silence_s: float,
        read_deadline_s: float,
        capacity: int = 256,
    ) -> None:
        self._admit, self._silence_s, self._read_deadline_s = admit, silence_s, read_deadline_s
        self._capacity = capacity
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
        self._listener.settimeout(0)
        self.port = int(self._listener.getsockname()[1])
        """Where it listens."""
        self._waiting: dict[socket.socket, Waiting] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="segqa-node-gate", daemon=True)

    @property
    def waiting_count(self) -> int:
        """Connections that have not said all of their request."""
        return len(self._waiting)

    def start(self) -> None:
        """Begin to accept connections."""
        self._thread.start()

    def stop(self) -> None:
        """Accept no more, and close the connections that wait."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()
        for one in list(self._waiting.values()):
            self._close(one)
        self._selector.close()
        self._listener.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                for key, _ in self._selector.select(IDLE_S):
                    if key.fileobj is self._listener:
                        self._accept()
                    elif (one := self._waiting.get(cast("socket.socket", key.fileobj))) is not None:
                        self._read(one)
                self._expire()
            except Exception:
                LOGGER.exception("the node's gate failed, and goes on")
                self._stopped.wait(IDLE_S)

    def _accept(self) -> None:
        try:
            connection, address = self._listener.accept()
        except BlockingIOError:
            return
        except OSError as error:  # for example no file descriptors left: they come back when others end
            LOGGER.warning("a connection could not be accepted (%s)", type(error).__name__)
            self._stopped.wait(0.05)
            return
        connection.settimeout(0)
        if len(self._waiting) >= self._capacity:
            self._close(next(iter(self._waiting.values())))
        one = Waiting(connection, (str(address[0]), int(address[1])), time.monotonic() + self._silence_s)
        self._waiting[connection] = one
        self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, one: Waiting) -> None:
        try:
            data = one.connection.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(one)
        elif not one.is_leaving:
            if not one.received:
                one.deadline = time.monotonic() + self._read_deadline_s
            one.received += data
            self._look_at(one)

    def _look_at(self, one: Waiting) -> None:
        """Refuse, admit or go on waiting, by what has been received."""
        if len(one.received) < HEADER_BYTES:
            return
        kind, length = one.received[0], int.from_bytes(one.received[2:HEADER_BYTES], "big")
        if kind != ASSOCIATE_RQ:
            self._send_off(one, UNEXPECTED_PDU if kind in KNOWN_PDUS else UNRECOGNIZED_PDU)
        elif length > MAX_PDU_BYTES:
            self._send_off(one, INVALID_PARAMETER)
        elif len(one.received) >= HEADER_BYTES + length:
            self._forget(one)
            one.connection.settimeout(None)
            one.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            try:
                self._admit(Arrival(one.connection, one.address, bytes(one.received)))
            except BaseException:
                one.connection.close()
                raise

    def _send_off(self, one: Waiting, reason: int) -> None:
        one.is_leaving, one.deadline = True, time.monotonic() + LINGER_S
        one.received.clear()
        with contextlib.suppress(OSError):
            one.connection.send(abort_pdu(reason))
            one.connection.shutdown(socket.SHUT_WR)

    def _expire(self) -> None:
        now = time.monotonic()
        for one in [one for one in self._waiting.values() if one.deadline < now]:
            self._close(one)

    def _close(self, one: Waiting) -> None:
        self._forget(one)
        one.connection.close()

    def _forget(self, one: Waiting) -> None:
        self._selector.unregister(one.connection)
        del self._waiting[one.connection]
