"""Reading and writing multipart/related bodies (RFC 2046, section 5.1; RFC 2387) of any size in little memory."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from email.message import Message

from segqa_dicom.errors import PeerRefused, PeerUnavailable

_MAX_HEAD_BYTES = 1 << 14
_MAX_PREAMBLE_BYTES = 1 << 16
_CHUNK_BYTES = 1 << 20


def new_boundary() -> str:
    """128 random bits.

    Whether they occur in the parts need not be looked up: a boundary is made after the parts exist and used for one
    request only, so nobody can write it into a part, and by chance it is in a gigabyte with a probability of 1 : 10^29.
    """
    return f"segqa-{secrets.token_hex(16)}"


def media_type(content_type: str) -> tuple[str, str]:
    """The media type of a Content-Type, in small letters, and its boundary; empty where there is none."""
    message = Message()
    message["Content-Type"] = content_type.replace("\r", " ").replace("\n", " ")
    return message.get_content_type(), str(message.get_param("boundary") or "")


class MultipartReader:
    """The parts of a multipart body, one after the other.

    chunks : the body in pieces of any size
    Raises `PeerUnavailable` if the body ends before its last boundary, `PeerRefused` if it is not multipart at all.
    """

    def __init__(self, chunks: Iterable[bytes], boundary: str) -> None:
        if not 1 <= len(boundary) <= 200:
            raise PeerRefused("an answer of the archive names no boundary of its parts")
        self._chunks = iter(chunks)
        self._delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
        self._buffer = b"\r\n"  # so that the first delimiter begins like all others

    def parts(self) -> Iterator[Iterator[bytes]]:
        """The bodies of the parts, each in pieces; a piece of the body that is not taken is skipped."""
        self._skip(self._until_delimiter(), at_most=_MAX_PREAMBLE_BYTES)
        while not self._is_last():
            length = self._head()
            body = self._until_delimiter() if length is None else self._of_length(length)
            yield body
            self._skip(body)

    def _more(self) -> None:
        for chunk in self._chunks:
            if chunk:
                self._buffer += chunk
                return
        raise PeerUnavailable("an answer of the archive ends before its last part is complete")

    @staticmethod
    def _skip(pieces: Iterator[bytes], at_most: int | None = None) -> None:
        skipped = 0
        for piece in pieces:
            skipped += len(piece)
            if at_most is not None and skipped > at_most:
                raise PeerRefused("an answer of the archive is not multipart although it says so")

    def _is_last(self) -> bool:
        while len(self._buffer) < 2:
            self._more()
        return self._buffer.startswith(b"--")

    def _head(self) -> int | None:
        """Take the header of a part; returns the length of its body if that is stated."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > _MAX_HEAD_BYTES:
                raise PeerRefused("a part of an answer of the archive has no end of its header")
            self._more()
        head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length" and value.strip().isdigit():
                return int(value)
        return None

    def _of_length(self, length: int) -> Iterator[bytes]:
        """A body of a length that its header states, so that whatever is in it cannot end it."""
        while length:
            if not self._buffer:
                self._more()
            piece, self._buffer = self._buffer[:length], self._buffer[length:]
            length -= len(piece)
            yield piece
        while len(self._buffer) < len(self._delimiter):
            self._more()
        if not self._buffer.startswith(self._delimiter):
            raise PeerRefused("a part of an answer of the archive is not as long as its header says")
        self._buffer = self._buffer[len(self._delimiter) :]

    def _until_delimiter(self) -> Iterator[bytes]:
        keep = len(self._delimiter) - 1
        while (found := self._buffer.find(self._delimiter)) < 0:
            if len(self._buffer) > keep:
                piece, self._buffer = self._buffer[:-keep], self._buffer[-keep:]
                yield piece
            self._more()
        piece, self._buffer = self._buffer[:found], self._buffer[found + len(self._delimiter) :]
        yield piece
