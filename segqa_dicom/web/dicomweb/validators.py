"""Entity tags: who has an answer already is told that it has not changed (RFC 9110, sections 8.8.3 and 13.1.2).

Objects of the archive never change, so that a digest of the answer's parts is known before anything is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from starlette.requests import Request
from starlette.responses import Response

_VERSION = "1"
"""Raise it when the same objects are answered in another way."""


def entity_tag(request: Request, root: str, digests: Iterable[str]) -> str:
    """The tag of what is answered to a request: by objects, URL, and what the sender accepts.

    It is a weak one, because the boundaries of multipart bodies are random.
    """
    digest = hashlib.sha256(f"{_VERSION} {root} {request.url.path}?{request.url.query}".encode())
    for name in ("accept", "accept-encoding"):
        digest.update("\n".join(request.headers.getlist(name)).encode("latin-1", "replace") + b"\0")
    for one in digests:
        digest.update(one.encode() + b"\n")
    return f'W/"{digest.hexdigest()[:32]}"'


def is_known(request: Request, tag: str) -> bool:
    """Whether the sender has the answer with this tag (If-None-Match, weak comparison)."""
    given = ",".join(request.headers.getlist("if-none-match"))
    tags = [one.strip().removeprefix("W/") for one in given.split(",")]
    return "*" in tags or tag.removeprefix("W/") in tags


def not_modified(tag: str) -> Response:
    """304 for who has it."""
    return tagged(Response(status_code=304), tag)


def tagged(response: Response, tag: str) -> Response:
    """An answer with its tag; caches may keep it, but ask each time: objects can be deleted."""
    response.headers["ETag"] = tag
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers.setdefault("Vary", "Accept, Accept-Encoding")
    return response
