"""multipart/related bodies (RFC 2046, section 5.1; RFC 2387) of any size, written and parsed in little memory.

`MultipartParser` does no input or output. `parts` drives it over an iterator of an archive's answer; STOW-RS drives it
over the asynchronous stream of a request.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from email.message import Message

from segqa_dicom.errors import InputError, PeerRefused, PeerUnavailable

MAX_BOUNDARY = 70
"""Characters of a boundary (RFC 2046, section 5.1.1)."""
_MAX_BOUNDARY_OF_SERVERS = 200
_LENGTH = re.compile(r"[0-9]{1,18}")
_MAX_HEADER_BYTES = 1 << 14
_MAX_PREAMBLE_BYTES = 1 << 16


class InvalidMultipart(InputError):
    """Not a multipart body, or not with the stated boundary."""


class IncompleteMultipart(InvalidMultipart):
    """A body that ends before its closing delimiter."""


def new_boundary() -> str:
    """A boundary with 128 random bits.

    It need not be looked for in the parts: it is made after the parts and used for one body only, so that nobody can
    write it into a part, and it occurs by chance in a gigabyte with a probability of 1 : 10^29.
    """
    return f"segqa-{secrets.token_hex(16)}"


def media_type(content_type: str) -> tuple[str, str]:
    """Media type in lower case and boundary of a Content-Type; empty if missing."""
    message = Message()
    message["Content-Type"] = content_type.replace("\r", " ").replace("\n", " ")
    return message.get_content_type(), str(message.get_param("boundary") or "")


@dataclass(frozen=True, slots=True)
class Part:
    """A part to be sent.

    content_type : with its parameters
    size_bytes : of the body; None if unknown before it is sent
    body : returns the body in pieces
    """

    content_type: str
    size_bytes: int | None
    body: Callable[[], Iterator[bytes]]

    def header(self, boundary: str) -> bytes:
        """Delimiter and header fields."""
        lines = [f"--{boundary}", f"Content-Type: {self.content_type}"]
        if self.size_bytes is not None:
            lines.append(f"Content-Length: {self.size_bytes}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


@dataclass(frozen=True, slots=True)
class MultipartBody:
    """A body to be sent, which can be iterated more than once.

    part_type : media type of the parts
    """

    parts: Sequence[Part]
    part_type: str
    boundary: str = field(default_factory=new_boundary)

    @property
    def content_type(self) -> str:
        """Content-Type of the body."""
        return f'multipart/related; type="{self.part_type}"; boundary={self.boundary}'

    @property
    def size_bytes(self) -> int | None:
        """Content-Length of the body; None if the size of a part is unknown."""
        size = len(self._end())
        for part in self.parts:
            if part.size_bytes is None:
                return None
            size += len(part.header(self.boundary)) + part.size_bytes + 2
        return size

    def __len__(self) -> int:  # `requests` sends it as Content-Length
        return self.size_bytes or 0

    def _end(self) -> bytes:
        return f"--{self.boundary}--\r\n".encode()

    def __iter__(self) -> Iterator[bytes]:
        for part in self.parts:
            yield part.header(self.boundary)
            yield from part.body()
            yield b"\r\n"
        yield self._end()


@dataclass(frozen=True, slots=True)
class PartBegins:
    """The complete header of a part.

    location : Content-Location; empty if missing
    """

    content_type: str
    location: str = ""


@dataclass(frozen=True, slots=True)
class PartEnds:
    """The end of the body of a part."""


Event = PartBegins | bytes | PartEnds
"""What `MultipartParser` finds: per part its beginning, pieces of its body, and its end."""


class MultipartParser:
    """Parser of a body that arrives in pieces of any size; keeps one piece and one delimiter in memory.

    max_boundary : the longest boundary, in characters
    uses_length : take a part by its Content-Length, so that a delimiter within the part does not end it
    Raises `InvalidMultipart` for an invalid boundary.
    """

    def __init__(self, boundary: str, *, max_boundary: int = MAX_BOUNDARY, uses_length: bool = False) -> None:
        if not 1 <= len(boundary) <= max_boundary:
            raise InvalidMultipart("the Content-Type has no valid boundary")
        self._delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
        self._uses_length = uses_length
        self._buffer = b"\r\n"  # the first delimiter may stand at the very beginning
        self._step: Callable[[], Iterator[Event]] | None = self._preamble
        self._skipped = 0
        self._left: int | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the closing delimiter has been parsed."""
        return self._step is None

    def feed(self, piece: bytes) -> Iterator[Event]:
        """The events of the next piece, to be exhausted before the one after it; raises `InvalidMultipart`."""
        self._buffer += piece
        while self._step is not None:
            before = (self._step, len(self._buffer))
            yield from self._step()
            if (self._step, len(self._buffer)) == before:
                return
        self._buffer = b""  # epilogue

    def finish(self) -> None:
        """Raise `IncompleteMultipart` unless the body was complete."""
        if self._step is not None:
            raise IncompleteMultipart("the body ends before its last boundary; send it again")

    def _preamble(self) -> Iterator[Event]:
        for piece in self._until_delimiter():
            self._skipped += len(piece)
            if self._skipped > _MAX_PREAMBLE_BYTES:
                raise InvalidMultipart("the body is not multipart with the boundary of its Content-Type")
        yield from ()

    def _until_delimiter(self) -> Iterator[bytes]:
        """The body up to the next delimiter, as far as it is buffered; then the step is `_behind_delimiter`."""
        found = self._buffer.find(self._delimiter)
        if found >= 0:
            piece, self._buffer = self._buffer[:found], self._buffer[found + len(self._delimiter) :]
            self._step = self._behind_delimiter
        else:
            keep = max(0, len(self._buffer) - len(self._delimiter) + 1)
            piece, self._buffer = self._buffer[:keep], self._buffer[keep:]
        if piece:
            yield piece

    def _behind_delimiter(self) -> Iterator[Event]:
        if len(self._buffer) >= 2:
            self._step = None if self._buffer.startswith(b"--") else self._header
        yield from ()

    def _header(self) -> Iterator[Event]:
        # The line of the delimiter ends with CR LF, so that a part without header begins with an empty line.
        end = self._buffer.find(b"\r\n\r\n")
        if (len(self._buffer) if end < 0 else end) > _MAX_HEADER_BYTES:
            raise InvalidMultipart("the header of a part is too long")
        if end < 0:
            return
        lines, self._buffer = self._buffer[:end].split(b"\r\n"), self._buffer[end + 4 :]
        found = {}
        for line in lines:
            name, _, value = line.partition(b":")
            found[name.strip().lower()] = value.strip().decode("latin-1")
        length = found.get(b"content-length", "")
        self._left = int(length) if self._uses_length and _LENGTH.fullmatch(length) else None
        self._step = self._body if self._left is None else self._body_of_length
        yield PartBegins(found.get(b"content-type", ""), found.get(b"content-location", ""))

    def _body(self) -> Iterator[Event]:
        yield from self._until_delimiter()
        if self._step == self._behind_delimiter:
            yield PartEnds()

    def _body_of_length(self) -> Iterator[Event]:
        assert self._left is not None  # noqa: S101 - as its header has said
        piece, self._buffer = self._buffer[: self._left], self._buffer[self._left :]
        self._left -= len(piece)
        if piece:
            yield piece
        if self._left or len(self._buffer) < len(self._delimiter):
            return
        if not self._buffer.startswith(self._delimiter):
            raise InvalidMultipart("a part is not as long as its header says")
        self._buffer = self._buffer[len(self._delimiter) :]
        self._step = self._behind_delimiter
        yield PartEnds()


def parts(chunks: Iterable[bytes], boundary: str) -> Iterator[Iterator[bytes]]:
    """The bodies of the parts of an archive's answer, each in pieces; what is not taken of a body is skipped.

    chunks : the answer in pieces of any size
    Raises `PeerUnavailable` for an incomplete answer, `PeerRefused` for an invalid one.
    """
    events = _events(chunks, boundary)
    for event in events:
        if isinstance(event, PartBegins):
            body = _body_of(events)
            yield body
            for _ in body:
                pass


def _body_of(events: Iterator[Event]) -> Iterator[bytes]:
    for event in events:
        if not isinstance(event, bytes):
            return
        yield event


def _events(chunks: Iterable[bytes], boundary: str) -> Iterator[Event]:
    try:
        parser = MultipartParser(boundary, max_boundary=_MAX_BOUNDARY_OF_SERVERS, uses_length=True)
        for chunk in chunks:
            yield from parser.feed(chunk)
            if parser.is_complete:
                return
        parser.finish()
    except IncompleteMultipart as error:
        raise PeerUnavailable("an answer of the archive ends before its last part is complete") from error
    except InvalidMultipart as error:
        raise PeerRefused(f"an answer of the archive is not valid multipart/related: {error}") from error
