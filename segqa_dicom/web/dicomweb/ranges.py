"""Parts of a body by the Range header (RFC 9110, section 14): one range of bytes at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from segqa_dicom.web.problems import problem_response

_RANGE = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})\Z")

Pieces = Callable[[int, int], Iterator[bytes]]
"""The bytes from an offset on, so many, in pieces."""


def ranged_response(request: Request, size_bytes: int, pieces: Pieces, media_type: str) -> Response:
    """The whole body, or the range that is asked for; what is no single range of bytes is not looked at."""
    headers = {"Accept-Ranges": "bytes"}
    found = _RANGE.match(request.headers.get("range", "").replace(" ", ""))
    if not found or found.groups() == ("", "") or "if-range" in request.headers:
        headers["Content-Length"] = str(size_bytes)
        return StreamingResponse(pieces(0, size_bytes), media_type=media_type, headers=headers)
    start, stop = _ends(found[1], found[2], size_bytes)
    if start >= stop:
        message = f"the value has {size_bytes} bytes"
        return problem_response(416, message, {"Content-Range": f"bytes */{size_bytes}"})
    headers |= {"Content-Range": f"bytes {start}-{stop - 1}/{size_bytes}", "Content-Length": str(stop - start)}
    return StreamingResponse(pieces(start, stop - start), 206, media_type=media_type, headers=headers)


def _ends(first: str, last: str, size_bytes: int) -> tuple[int, int]:
    """First and last + 1 offset; without the first it is the last so many bytes."""
    if not first:
        return max(0, size_bytes - int(last)), size_bytes if int(last) else 0
    return int(first), min(int(last) + 1, size_bytes) if last else size_bytes
