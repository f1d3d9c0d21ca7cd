"""multipart/related bodies (RFC 2387): sent part by part from the disk, and received piece by piece."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.responses import StreamingResponse

from segqa_dicom.web.problems import Problem

_CHUNK_BYTES = 1 << 20
_MAX_HEAD_BYTES = 1 << 14
_MAX_PREAMBLE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Part:
    """A part to be sent.

    content_type : with its parameters
    size_bytes : of the body; None if only sending it will tell
    body : makes the pieces of the body
    """

    content_type: str
    size_bytes: int | None
    body: Callable[[], Iterator[bytes]]
    location: str = ""

    def head(self, boundary: str) -> bytes:
        """What stands in front of the body."""
        lines = [f"--{boundary}", f"Content-Type: {self.content_type}"]
        if self.size_bytes is not None:
            lines.append(f"Content-Length: {self.size_bytes}")
        if self.location:
            lines.append(f"Content-Location: {self.location}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


def file_pieces(path: Path, start: int = 0, length: int | None = None) -> Iterator[bytes]:
    """The bytes of a file, or of a part of it, in pieces."""
    with path.open("rb") as stream:
        stream.seek(start)
        while length is None or length > 0:
            piece = stream.read(_CHUNK_BYTES if length is None else min(_CHUNK_BYTES, length))
            if not piece:
                return
            if length is not None:
                length -= len(piece)
            yield piece


def multipart_response(parts: Sequence[Part], part_type: str) -> StreamingResponse:
    """The answer with all parts; with its length, if that of each part is known."""
    boundary = f"segqa-{secrets.token_hex(16)}"
    headers = {"Content-Type": f'multipart/related; type="{part_type}"; boundary={boundary}'}
    end = f"--{boundary}--\r\n".encode()
    sizes = [part.size_bytes for part in parts]
    if None not in sizes:
        heads = sum(len(part.head(boundary)) + 2 for part in parts)
        headers["Content-Length"] = str(sum(size or 0 for size in sizes) + heads + len(end))

    def pieces() -> Iterator[bytes]:
        for part in parts:
            yield part.head(boundary)
            yield from part.body()
            yield b"\r\n"
        yield end

    return StreamingResponse(pieces(), headers=headers)


@dataclass(frozen=True, slots=True)
class PartBegins:
    """The header of a part has come.

    location : its Content-Location, by which others refer to it; empty if it has none
    """

    content_type: str
    location: str = ""


@dataclass(frozen=True, slots=True)
class PartEnds:
    """The body of a part is complete."""


Event = PartBegins | bytes | PartEnds


class Splitter:
    """Divides a body that comes in pieces into its parts. Raises `Problem` 400 for what is no multipart body.

    Keeps one piece and one delimiter in memory, whatever is sent.
    """

    def __init__(self, boundary: str) -> None:
        if not 1 <= len(boundary) <= 70:  # RFC 2046, section 5.1.1
            raise Problem(400, "the Content-Type names no valid boundary of the parts")
        self._delimiter = b"\r\n--" + boundary.encode("latin-1", "replace")
        self._buffer = b"\r\n"  # so that the first delimiter begins like all others
        self._step: Callable[[], Iterator[Event]] | None = self._preamble
        self._skipped = 0

    def feed(self, piece: bytes) -> Iterator[Event]:
        """What a piece of the body brings; must be taken to its end before the next piece."""
        self._buffer += piece
        while self._step is not None:
            before = (self._step, len(self._buffer))
            yield from self._step()
            if (self._step, len(self._buffer)) == before:
                return
        self._buffer = b""  # whatever comes behind the last delimiter

    def finish(self) -> None:
        """The body has ended: raises unless its last delimiter has come."""
        if self._step is not None:
            raise Problem(400, "the body ends before its last boundary; send it again")

    def _preamble(self) -> Iterator[Event]:
        for piece in self._until_delimiter():
            self._skipped += len(piece)
            if self._skipped > _MAX_PREAMBLE_BYTES:
                raise Problem(400, "the body has not the boundary that its Content-Type names")
        yield from ()

    def _until_delimiter(self) -> Iterator[bytes]:
        """The body up to the next delimiter, as far as it is there; then the step is `_behind_delimiter`."""
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
            self._step = None if self._buffer.startswith(b"--") else self._head
        yield from ()

    def _head(self) -> Iterator[Event]:
        # The line of the delimiter ends with CR LF, so that a part without header begins with an empty line.
        end = self._buffer.find(b"\r\n\r\n")
        if (len(self._buffer) if end < 0 else end) > _MAX_HEAD_BYTES:
            raise Problem(400, "the header of a part is too long")
        if end < 0:
            return
        lines, self._buffer = self._buffer[:end].split(b"\r\n"), self._buffer[end + 4 :]
        found = {}
        for line in lines:
            name, _, value = line.partition(b":")
            found[name.strip().lower()] = value.strip().decode("latin-1")
        self._step = self._body
        yield PartBegins(found.get(b"content-type", ""), found.get(b"content-location", ""))

    def _body(self) -> Iterator[Event]:
        yield from self._until_delimiter()
        if self._step == self._behind_delimiter:
            yield PartEnds()
