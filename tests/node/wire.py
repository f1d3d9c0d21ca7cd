"""PDUs by hand, for what no honest program sends (PS3.8, section 9.3; PS3.7, section 9.3.1)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

from tests.node.objects import CT_CLASS, TITLE

EXPLICIT = "1.2.840.10008.1.2.1"
ABORT, ACCEPT, REJECT, DATA = 7, 2, 3, 4


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(content)) + content


def associate(
    contexts: Sequence[str] = (CT_CLASS,), *, called: str = TITLE, calling: str = "WIRE", syntax: str = EXPLICIT
) -> bytes:
    """A-ASSOCIATE-RQ."""
    body = struct.pack(">HH16s16s32s", 1, 0, called.ljust(16).encode(), calling.ljust(16).encode(), b"")
    body += _item(0x10, b"1.2.840.10008.3.1.1.1")
    for number, uid in enumerate(contexts):
        syntaxes = _item(0x30, uid.encode()) + _item(0x40, syntax.encode())
        body += _item(0x20, bytes((2 * number + 1, 0, 0, 0)) + syntaxes)
    body += _item(0x50, _item(0x51, struct.pack(">I", 16_384)) + _item(0x52, b"1.2.3.4"))
    return struct.pack(">BBI", 1, 0, len(body)) + body


def data(*values: tuple[int, int, bytes]) -> bytes:
    """P-DATA-TF of (context, control header, fragment)."""
    body = b"".join(struct.pack(">IBB", len(part) + 2, context, control) + part for context, control, part in values)
    return struct.pack(">BBI", DATA, 0, len(body)) + body


def store_command(sop_class_uid: str, sop_instance_uid: str, *, has_data: bool = True) -> bytes:
    """The command set of a C-STORE request."""

    def element(number: int, value: bytes) -> bytes:
        value += b"\0" * (len(value) % 2)
        return struct.pack("<HHI", 0, number, len(value)) + value

    return b"".join(
        element(number, value)
        for number, value in (
            (0x0002, sop_class_uid.encode()),
            (0x0100, b"\1\0"),
            (0x0110, b"\7\0"),
            (0x0700, b"\0\0"),
            (0x0800, b"\0\0" if has_data else b"\1\1"),
            (0x1000, sop_instance_uid.encode()),
        )
    )


def connect(port: int, timeout_s: float = 20) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout_s)


def answer(connection: socket.socket) -> bytes:
    """The next PDU; empty if the connection was closed."""
    header = _exactly(connection, 6)
    return header + _exactly(connection, int.from_bytes(header[2:], "big")) if header else b""


def _exactly(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        try:
            part = connection.recv(count - len(found))
        except ConnectionResetError:
            return b""
        if not part:
            return b""
        found += part
    return found


def status(pdu: bytes) -> int:
    """Of a C-STORE response."""
    at = pdu.index(b"\0\0\0\x09\2\0\0\0")
    return int.from_bytes(pdu[at + 8 : at + 10], "little")
