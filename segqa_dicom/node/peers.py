"""Who may open an association: the setting ``allowed_ae``."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass

from segqa_dicom.errors import ConfigurationError

_ENTRY = re.compile(r"(?P<title>[^@]+)(?:@(?P<host>\[[0-9A-Fa-f:.%]+\]|[^:@\[\]\s]+)(?::(?P<port>[0-9]{1,5}))?)?\Z")
_TITLE = re.compile(r"[ -\[\]-~]{1,16}\Z")
"""Printable ASCII without the backslash (PS3.5, table 6.2-1)."""


@dataclass(frozen=True, slots=True)
class Peer:
    """An AE that may open an association.

    host : only from there; None = from anywhere
    port : where it listens for reports of storage commitment; None = it does not
    """

    title: str
    host: str | None = None
    port: int | None = None


class AllowList:
    """The peers that are allowed; none means that everybody is.

    text : entries by commas, each TITLE, TITLE@HOST or TITLE@HOST:PORT; IPv6 addresses in brackets. Raises
        `ConfigurationError` for anything else.
    """

    def __init__(self, text: str) -> None:
        self.peers = tuple(_peer(entry.strip()) for entry in text.split(",")) if text.strip() else ()

    def admits(self, title: str, address: str) -> bool:
        """Whether an AE title may come from an IP address."""
        return not self.peers or any(
            peer.title == title and (peer.host is None or address in _addresses(peer.host)) for peer in self.peers
        )

    def listener(self, title: str, address: str) -> Peer | None:
        """Where an AE that came from `address` listens; None if that is not known."""
        known = [peer for peer in self.peers if peer.title == title and peer.host and peer.port]
        near = [peer for peer in known if peer.host and address in _addresses(peer.host)]
        return next(iter(near or known), None)


def _peer(entry: str) -> Peer:
    found = _ENTRY.match(entry)
    title = found["title"].strip() if found else ""
    port = int(found["port"]) if found and found["port"] else None
    if found is None or not _TITLE.match(title) or (port is not None and not 0 < port < 65_536):
        raise ConfigurationError(
            f"allowed AE {entry!r} is not TITLE, TITLE@HOST or TITLE@HOST:PORT with a title of 1 to 16 characters; "
            "correct SEGQA_ALLOWED_AE"
        )
    return Peer(title, found["host"].strip("[]") if found["host"] else None, port)


def _addresses(host: str) -> frozenset[str]:
    """IP addresses of a host now; none if it is not known, so nobody is it."""
    try:
        return frozenset(str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except OSError:
        return frozenset()
