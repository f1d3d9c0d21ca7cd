"""Socket and upper layer with bounds on size and time, in place of those of pynetdicom.

Faults of pynetdicom 3.0.4 that are kept out here: it believes the length of a PDU before it has looked at anything (one
socket made it allocate gigabytes), waits without end for the rest of a PDU, counts mute TCP connections as
associations and gives each of them two threads that look a thousand times a second whether there is something to do.

`gate.Gate` keeps connections until their A-ASSOCIATE-RQ has arrived as a whole; only then pynetdicom learns of them.
`GuardedSocket` and `GuardedProvider` sleep until there is something to do, and hand over P-DATA without copying it.
`budget.Budget` counts associations.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import select
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import InvalidEventError
from pynetdicom.transport import AssociationSocket

from segqa_dicom.node.budget import (
    HEADER_BYTES,
    IDLE_S,
    KNOWN_PDUS,
    LINGER_S,
    MAX_PDU_BYTES,
    P_DATA,
    QUICK_ACK,
    Arrival,
    ProtocolError,
)

if TYPE_CHECKING:
    from pynetdicom.association import Association


_CLOSED, _INVALID_PDU = "Evt17", "Evt19"
"""Events of the state machine (PS3.8, table 9-10)."""
_ESTABLISHED, _ENDING = "Sta6", "Sta13"


LOGGER = logging.getLogger("segqa.node")


class GuardedSocket(AssociationSocket):
    """pynetdicom's socket with a deadline for each PDU, and a `ready` that sleeps until something happens."""

    def __init__(self, assoc: Association, arrival: Arrival, *, read_deadline_s: float, send_timeout_s: float) -> None:
        super().__init__(assoc, client_socket=arrival.connection)
        self._read_deadline_s, self._send_timeout_s = read_deadline_s, send_timeout_s
        self._pushed_back = memoryview(arrival.received)
        self._buffer = bytearray(1 << 17)
        self._waker, self._alarm = socket.socketpair()
        self._waker.settimeout(0)
        self._alarm.settimeout(0)
        self._poll = select.poll()
        self._poll.register(arrival.connection, select.POLLIN)
        self._poll.register(self._alarm, select.POLLIN)

    def wake(self) -> None:
        """End the sleep of `ready`."""
        with contextlib.suppress(OSError):  # full: it will wake up anyway; closed: nobody sleeps any more
            self._waker.send(b"\0")

    def dispose(self) -> None:
        """Close everything; for when no thread uses it any more."""
        if self.socket is not None:
            self._shutdown_socket()
            self.socket.close()
        self._waker.close()
        self._alarm.close()

    @property
    def ready(self) -> bool:
        """Whether there is something to read; waits for that up to `IDLE_S` if there is nothing else to do."""
        if self.socket is None or not self._is_connected:
            time.sleep(0.001)
            return False
        if self._pushed_back:
            return True
        handle = self.socket.fileno()
        if handle < 0:
            self.event_queue.put(_CLOSED)
            return False
        is_idle = self.event_queue.empty() and self.provider_queue.empty()
        found = [handle for handle, _ in self._poll.poll(IDLE_S * 1000 if is_idle else 0)]
        if self._alarm.fileno() in found:
            with contextlib.suppress(OSError):
                self._alarm.recv(4096)
        return handle in found

    def recv(self, nr_bytes: int) -> bytearray:
        """That many bytes, fewer if the connection ends; raises `TimeoutError` when the deadline has passed."""
        return bytearray(self.read(nr_bytes))

    def read(self, size: int) -> memoryview:
        """The same without a copy: what it gives is valid until the next call."""
        if size > len(self._buffer):
            if size > MAX_PDU_BYTES:
                raise ProtocolError(f"a PDU of {size} bytes")
            self._buffer = bytearray(size)
        view = memoryview(self._buffer)[:size]
        return view[: self._fill(view)]

    def _fill(self, view: memoryview) -> int:
        at = min(len(view), len(self._pushed_back))
        if at:
            view[:at] = self._pushed_back[:at]
            self._pushed_back = self._pushed_back[at:]
        connection = cast("socket.socket", self.socket)
        deadline = time.monotonic() + self._read_deadline_s
        if at < len(view) and QUICK_ACK is not None:  # the system forgets it again and again
            connection.setsockopt(socket.IPPROTO_TCP, QUICK_ACK, 1)
        while at < len(view):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("a PDU did not arrive in time")
            connection.settimeout(left)
            count = connection.recv_into(view[at:])
            if not count:
                break
            at += count
        return at

    def push_back(self, data: bytes) -> None:
        """Read `data` again."""
        self._pushed_back = memoryview(data + bytes(self._pushed_back))

    def discard(self) -> bool:
        """Throw away what has arrived; False if the connection has ended."""
        self._pushed_back = memoryview(b"")
        connection = cast("socket.socket", self.socket)
        try:
            connection.settimeout(0)
            return connection.recv_into(self._buffer) > 0
        except BlockingIOError:
            return True
        except OSError:
            return False

    def send(self, bytestream: bytes) -> None:
        """Send within the time that was set; what goes wrong ends the connection."""
        if self.socket is not None:
            self.socket.settimeout(self._send_timeout_s)
            super().send(bytestream)


class _Noted(queue.Queue[Any]):
    """A queue that tells of what is put into it."""

    def __init__(self, note: Callable[[], None]) -> None:
        super().__init__()
        self._note = note

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002
        super().put(item, block, timeout)
        self._note()


class GuardedProvider(DULServiceProvider):
    """pynetdicom's upper layer on a `GuardedSocket`.

    take : gets the presentation data values of each P-DATA-TF PDU; raises `ProtocolError` if they are no good
    notify : is called when the association's thread has something to look at
    """

    def __init__(self, assoc: Association, *, take: Callable[[memoryview], None], notify: Callable[[], None]) -> None:
        super().__init__(assoc)
        self._take, self._notify = take, notify
        self.to_user_queue = _Noted(notify)
        self._run_loop_delay = 0.0
        self._close_by: float | None = None
        self.daemon = True

    def run_reactor(self) -> None:
        """Serve the connection until it is over."""
        try:
            super().run_reactor()
        except InvalidEventError:  # for example a connection that ends in a state that is over already
            LOGGER.warning("an association ended in disorder")
        finally:
            self.to_user_queue.put(None)  # type: ignore[arg-type] # who waits for a request that never came, waits no more

    def send_pdu(self, primitive: Any) -> None:
        """Send soon."""
        super().send_pdu(primitive)
        self._wake()

    def kill_dul(self) -> None:
        """End soon."""
        super().kill_dul()
        self._wake()

    def stop_dul(self) -> bool:
        """End now if the connection is over."""
        self._wake()
        return super().stop_dul()

    def _wake(self) -> None:
        if self.socket is not None:
            cast("GuardedSocket", self.socket).wake()

    def _is_transport_event(self) -> bool:
        if self.state_machine.current_state != _ENDING:
            return super()._is_transport_event()
        # pynetdicom would close at once, and its last words might be lost, or go on parsing what is sent for ever.
        guarded = cast("GuardedSocket", self.socket)
        now = time.monotonic()
        if self._close_by is None:
            self._close_by = now + LINGER_S
        if now > self._close_by or (guarded.ready and not guarded.discard()):
            guarded.close()
        return True

    def _read_pdu_data(self) -> None:
        guarded = cast("GuardedSocket", self.socket)
        try:
            header = bytes(guarded.read(HEADER_BYTES))
            if len(header) < HEADER_BYTES:
                raise ConnectionResetError
            kind, length = header[0], int.from_bytes(header[2:], "big")
            if kind not in KNOWN_PDUS or length > MAX_PDU_BYTES:
                raise ProtocolError(f"a PDU of type {kind} and {length} bytes")
            if kind == P_DATA and self.state_machine.current_state == _ESTABLISHED:
                data = guarded.read(length)
                if len(data) < length:
                    raise ConnectionResetError
                self._take(data)
            else:
                guarded.push_back(header)
                super()._read_pdu_data()
        except OSError:
            self.event_queue.put(_CLOSED)
        except ProtocolError as error:
            LOGGER.warning("an association is aborted: %s", error)
            self.event_queue.put(_INVALID_PDU)
