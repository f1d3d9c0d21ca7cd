"""What stands between the network and pynetdicom, which trusts whatever connects.

Faults of pynetdicom 3.0.4 that are kept out here: it believes the length of a PDU before it has looked at anything (one
socket made it allocate gigabytes), waits without end for the rest of a PDU, counts mute TCP connections as
associations and gives each of them two threads that look a thousand times a second whether there is something to do.

`Gate` listens and keeps connections until their A-ASSOCIATE-RQ has arrived as a whole; only then pynetdicom learns of
them. `GuardedSocket` and `GuardedProvider` are its socket and its upper layer with bounds on size and time; they sleep
until there is something to do, and hand over P-DATA without copying it. `Budget` counts associations.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import select
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import InvalidEventError
from pynetdicom.transport import AssociationSocket

if TYPE_CHECKING:
    from pynetdicom.association import Association

LOGGER = logging.getLogger("segqa.node")

MAX_PDU_BYTES = 1 << 20
"""Longest PDU that is read; we ask for 131,072 bytes, and a request with 128 contexts has some 100,000."""
HEADER_BYTES = 6
IDLE_S = 0.25
"""How long threads sleep at most if nobody wakes them: so exact are timers, and so soon a lost wake-up is made up."""
_LINGER_S = 1.0
"""How long the other side may take to close a connection that is over."""
_CHUNK_BYTES = 1 << 16
_BACKLOG = 256

_ASSOCIATE_RQ, _P_DATA = 0x01, 0x04
_KNOWN_PDUS = range(0x01, 0x08)
_CLOSED, _INVALID_PDU = "Evt17", "Evt19"
"""Events of the state machine (PS3.8, table 9-10)."""
_ESTABLISHED, _ENDING = "Sta6", "Sta13"


class ProtocolError(Exception):
    """The peer breaks the rules of PS3.7 or PS3.8; its association is aborted."""


def _abort_pdu(reason: int) -> bytes:
    """A-ABORT of the service provider (PS3.8, section 9.3.8)."""
    return bytes((0x07, 0, 0, 0, 0, 4, 0, 0, 2, reason))


_QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)
"""Senders that keep Nagle's algorithm on (DCMTK's do) would wait 40 ms for each of our delayed acknowledgements."""

LIMIT_EXCEEDED_PDU = bytes((0x03, 0, 0, 0, 0, 4, 0, 2, 3, 2))
"""A-ASSOCIATE-RJ: rejected transiently, local limit exceeded (PS3.8, section 9.3.4)."""
_UNRECOGNIZED_PDU, _UNEXPECTED_PDU, _INVALID_PARAMETER = 1, 2, 6


class Budget:
    """How many associations there may be at a time, in all and from one address."""

    def __init__(self, *, total: int, per_address: int) -> None:
        self._total, self._per_address = total, per_address
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def take(self, address: str) -> bool:
        """Count one more association, if it may be; each that was counted must be given back."""
        with self._lock:
            if self._taken.total() >= self._total or self._taken[address] >= self._per_address:
                return False
            self._taken[address] += 1
            return True

    def give_back(self, address: str) -> None:
        """An association has ended."""
        with self._lock:
            self._taken[address] -= 1
            if self._taken[address] <= 0:
                del self._taken[address]

    @property
    def count(self) -> int:
        """Associations now."""
        with self._lock:
            return self._taken.total()


@dataclass(frozen=True)
class Arrival:
    """A connection whose association request has arrived, with the bytes that were read of it."""

    connection: socket.socket
    address: tuple[str, int]
    received: bytes


@dataclass
class _Waiting:
    connection: socket.socket
    address: tuple[str, int]
    deadline: float
    received: bytearray = field(default_factory=bytearray)
    is_leaving: bool = False
    """Told to go; what still comes is thrown away, so that the A-ABORT is not lost by a reset."""


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
        self._listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self._listener.settimeout(0)
        self.port = int(self._listener.getsockname()[1])
        """Where it listens."""
        self._waiting: dict[socket.socket, _Waiting] = {}
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
        one = _Waiting(connection, (str(address[0]), int(address[1])), time.monotonic() + self._silence_s)
        self._waiting[connection] = one
        self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, one: _Waiting) -> None:
        try:
            data = one.connection.recv(_CHUNK_BYTES)
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

    def _look_at(self, one: _Waiting) -> None:
        """Refuse, admit or go on waiting, by what has been received."""
        if len(one.received) < HEADER_BYTES:
            return
        kind, length = one.received[0], int.from_bytes(one.received[2:HEADER_BYTES], "big")
        if kind != _ASSOCIATE_RQ:
            self._send_off(one, _UNEXPECTED_PDU if kind in _KNOWN_PDUS else _UNRECOGNIZED_PDU)
        elif length > MAX_PDU_BYTES:
            self._send_off(one, _INVALID_PARAMETER)
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

    def _send_off(self, one: _Waiting, reason: int) -> None:
        one.is_leaving, one.deadline = True, time.monotonic() + _LINGER_S
        one.received.clear()
        with contextlib.suppress(OSError):
            one.connection.send(_abort_pdu(reason))
            one.connection.shutdown(socket.SHUT_WR)

    def _expire(self) -> None:
        now = time.monotonic()
        for one in [one for one in self._waiting.values() if one.deadline < now]:
            self._close(one)

    def _close(self, one: _Waiting) -> None:
        self._forget(one)
        one.connection.close()

    def _forget(self, one: _Waiting) -> None:
        self._selector.unregister(one.connection)
        del self._waiting[one.connection]


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
        if at < len(view) and _QUICK_ACK is not None:  # the system forgets it again and again
            connection.setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)
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
            self._close_by = now + _LINGER_S
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
            if kind not in _KNOWN_PDUS or length > MAX_PDU_BYTES:
                raise ProtocolError(f"a PDU of type {kind} and {length} bytes")
            if kind == _P_DATA and self.state_machine.current_state == _ESTABLISHED:
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
