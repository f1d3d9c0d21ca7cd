"""multipart/related responses, sent part by part from the disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from starlette.responses import StreamingResponse

from segqa_dicom.dicom.multipart import MultipartBody, Part

_CHUNK_BYTES = 1 << 20


def file_pieces(path: Path, start: int = 0, length: int | None = None) -> Iterator[bytes]:
    """The bytes of a file, or of a range of it, in pieces."""
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
    """The response with all parts; with Content-Length if the size of each part is known."""
    body = MultipartBody(parts, part_type)
    headers = {"Content-Type": body.content_type}
    if body.size_bytes is not None:
        headers["Content-Length"] = str(body.size_bytes)
    return StreamingResponse(iter(body), headers=headers)
