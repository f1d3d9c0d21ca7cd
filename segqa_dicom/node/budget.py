"""Budget of memory for arriving data, and limits of PDUs."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from dataclasses import dataclass, field

ASSOCIATE_RQ, P_DATA = 0x01, 0x04
UNRECOGNIZED_PDU, UNEXPECTED_PDU, INVALID_PARAMETER = 1, 2, 6
MAX_PDU_BYTES = 1 << 20
"""Longest PDU that is read; we ask for 131,072 bytes, and a request with 128 contexts has some 100,000."""

HEADER_BYTES = 6

IDLE_S = 0.25
"""How long threads sleep at most if nobody wakes them: so exact are timers, and so soon a lost wake-up is made up."""

LINGER_S = 1.0
"""How long the other side may take to close a connection that is over."""

CHUNK_BYTES = 1 << 16

BACKLOG = 256

KNOWN_PDUS = range(0x01, 0x08)


class ProtocolError(Exception):
    """The peer breaks the rules of PS3.7 or PS3.8; its association is aborted."""


def abort_pdu(reason: int) -> bytes:
    """A-ABORT of the service provider (PS3.8, section 9.3.8)."""
    return bytes((0x07, 0, 0, 0, 0, 4, 0, 0, 2, reason))


QUICK_ACK: int | None = getattr(socket, "TCP_QUICKACK", None)
"""Senders that keep Nagle's algorithm on (DCMTK's do) would wait 40 ms for each of our delayed acknowledgements."""

LIMIT_EXCEEDED_PDU = bytes((0x03, 0, 0, 0, 0, 4, 0, 2, 3, 2))
"""A-ASSOCIATE-RJ: rejected transiently, local limit exceeded (PS3.8, section 9.3.4)."""


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
class Waiting:
    """A connection whose first PDU has not come in whole yet."""

    connection: socket.socket
    address: tuple[str, int]
    deadline: float
    received: bytearray = field(default_factory=bytearray)
    is_leaving: bool = False
    """Told to go; what still comes is thrown away, so that the A-ABORT is not lost by a reset."""
