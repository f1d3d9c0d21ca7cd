"""/dicom-web where the archive has a DICOMweb of its own: what a viewer asks is asked there, as it is.

Searching, reading and storing only; nothing is kept, neither in memory nor on disk.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import parse_qsl, quote, urlsplit

import anyio.from_thread
import requests
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from requests.adapters import HTTPAdapter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from segqa_dicom import log
from segqa_dicom.archive.transport import Peer, peer_at
from segqa_dicom.config import ServiceSettings
from segqa_dicom.web.problems import Problem
from segqa_dicom.web.proxy.content_queries import asks_for_content, search_content
from segqa_dicom.web.state import DICOM_WEB, state_of

THREADS = 32
"""Requests that wait for the archive at a time; one that is being read waits only for its next part."""
_CHUNK_BYTES = 1 << 16
_LEVEL = 3

_PART = r"[A-Za-z0-9_-][A-Za-z0-9._,-]*"
_READABLE = re.compile(rf"/(studies(/{_PART}){{0,20}}|series|instances)")
_SEARCH = re.compile(r"/(studies|series|instances|studies/[0-9.]+/(series|instances|series/[0-9.]+/instances))")
_STORABLE = re.compile(r"/studies(/[0-9.]+)?")
_SENT = ("accept", "accept-charset", "accept-encoding", "content-type", "if-none-match", "if-modified-since", "range")
_PASSED = (
    "accept-ranges", "cache-control", "content-encoding", "content-length", "content-range", "content-type", "etag",
    "last-modified", "retry-after", "vary", "warning",
)  # fmt: skip
_LEGAL = "!$'()*,/:;?@[]~"
"""What may stand in a query as it is, beside letters, digits and `-._`; brackets are wanted by nobody."""
_WITH_OUTCOMES = (400, 409)
"""Statuses of STOW-RS with a list of what was stored and what was not."""
_CLIENT_WENT_AWAY = 499


def proxy_routes(archive_url: str, settings: ServiceSettings) -> list[BaseRoute]:
    """All of `/dicom-web`, answered by the archive at `archive_url`."""
    peer = peer_at(
        archive_url,
        user=settings.archive_user,
        password=settings.archive_password.get_secret_value(),
        timeout_s=settings.archive_timeout_s,
    )
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=THREADS, max_retries=0)
    peer.session.mount("http://", adapter)
    peer.session.mount("https://", adapter)
    peer.session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    proxy = _Proxy(peer)
    return [Route(f"{DICOM_WEB}{{path:path}}", proxy.answer, methods=["GET", "POST"])]


class _Proxy:
    def __init__(self, peer: Peer) -> None:
        self._peer, self._limiter = peer, CapacityLimiter(THREADS)

    async def answer(self, request: Request) -> Response:
        """Ask the archive and pass its answer on."""
        path = request.path_params["path"]
        allowed = _STORABLE if request.method == "POST" else _READABLE
        if not allowed.fullmatch(path) or ".." in path:
            raise Problem(404, "there is no such resource")
        if asks_for_content(request):
            return await search_content(request, path, self._peer, plain_query)
        asked = self._asked(request, path)
        body = request.stream() if request.method == "POST" else None
        try:
            answered = await run_sync(self._send, asked, body, limiter=self._limiter)
        except ClientDisconnect:
            return Response(status_code=_CLIENT_WENT_AWAY)
        if problem := _problem_of(answered, is_store=body is not None):
            answered.close()
            raise problem
        return self._passed(request, answered)

    def _asked(self, request: Request, path: str) -> requests.PreparedRequest:
        headers = {name: request.headers[name] for name in _SENT if name in request.headers}
        headers.setdefault("accept-encoding", "identity")
        headers["Forwarded"] = _forwarded(request)
        query = plain_query(request.url.query) if _SEARCH.fullmatch(path) else request.url.query
        url = f"{self._peer.url}{path}" + (f"?{query}" if query else "")
        return self._peer.session.prepare_request(requests.Request(request.method, url, headers=headers))

    def _send(self, asked: requests.PreparedRequest, body: AsyncIterator[bytes] | None) -> requests.Response:
        """In a thread: the beginning of the answer."""
        session = self._peer.session
        options = session.merge_environment_settings(asked.url or "", {}, stream=True, verify=None, cert=None)
        if body is not None:
            # Chunked, whatever the length was: a body that ends too soon is no whole body then.
            asked.headers.pop("Content-Length", None)
            asked.prepare_body(_from_loop(body), None)
        with self._peer.translated():
            for is_last in (body is not None, True):
                try:
                    return session.send(asked, timeout=self._peer.timeouts_s, allow_redirects=False, **options)
                except requests.ConnectionError:
                    if is_last:  # else an idle connection that the archive has just closed
                        raise
        raise AssertionError

    def _passed(self, request: Request, answered: requests.Response) -> Response:
        headers = {name: answered.headers[name] for name in _PASSED if name in answered.headers}
        headers.setdefault("content-type", "application/dicom+json")  # Orthanc leaves it out where STOW-RS fails
        compress = _is_to_compress(request, headers)
        if compress:
            headers.pop("content-length", None)
            headers.update({"content-encoding": "gzip", "vary": "Accept, Accept-Encoding"})
        chunks = answered.raw.stream(_CHUNK_BYTES, decode_content=False)
        parts = _compressed(chunks) if compress else chunks
        return StreamingResponse(self._parts(answered, parts), answered.status_code, headers)

    async def _parts(self, answered: requests.Response, chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
        try:
            with self._peer.translated():
                while (chunk := await run_sync(next, chunks, None, limiter=self._limiter)) is not None:
                    yield chunk
        finally:
            answered.close()


def plain_query(query: str) -> str:
    """A query of a search with as little percent encoding as a URL allows.

    Orthanc's DICOMweb before 1.8 takes `%2C` and `%2A` as they are, and so finds nothing. What must be encoded becomes
    the wildcard `?`, which stands for any one character: `Doe%5EJane` finds `Doe^Jane`.
    """
    plain = []
    for name, value in parse_qsl(query, keep_blank_values=True):
        text = quote(value, safe=_LEGAL)
        plain.append(f"{quote(name, safe='.')}={re.sub('(%[0-9A-F]{2})', '?', _one_per_character(value, text))}")
    return "&".join(plain)


def _one_per_character(value: str, text: str) -> str:
    """`text`, unless characters of several bytes are in it: those count once."""
    return text if value.isascii() else quote("".join(c if c.isascii() else "?" for c in value), safe=_LEGAL)


def _forwarded(request: Request) -> str:
    """Where we are, so that URLs in the archive's answers lead here."""
    public = state_of(request).service.public_url
    host = urlsplit(public).netloc if public else request.headers.get("host", "")
    proto = urlsplit(public).scheme if public else request.url.scheme
    if not re.fullmatch(r"[A-Za-z0-9._:\[\]-]{1,255}", host):
        raise Problem(400, "the Host header is not valid")
    return f"host={host};proto={proto}"


def _problem_of(answered: requests.Response, *, is_store: bool) -> Problem | None:
    """What is said instead of an answer that is no use to who asked, and may quote what it should not."""
    status = answered.status_code
    if status in (401, 403, 407):
        log.event("archive refuses us", status=status)
        return Problem(502, "the archive refuses the service; its operator must look at its user and password")
    if status >= 500:
        return Problem(502, f"the archive answers {status}; look at its log")
    if 300 <= status < 400 and status != 304:
        return Problem(502, "the archive redirects elsewhere, which is not followed; its final URL must be set")
    if status >= 400 and not (is_store and status in _WITH_OUTCOMES):
        return Problem(status, "the archive does not have it, or does not answer such a question")
    return None


def _from_loop(body: AsyncIterator[bytes]) -> Iterator[bytes]:
    """In a thread: what comes in, as fast as it is taken."""

    async def following() -> bytes | None:
        return await anext(body, None)

    while (chunk := anyio.from_thread.run(following)) is not None:
        if chunk:  # an empty part would end the body
            yield chunk


def _is_to_compress(request: Request, headers: Mapping[str, str]) -> bool:
    """Metadata of a SEG is megabytes of JSON and shrinks twentyfold."""
    is_json = "json" in headers.get("content-type", "")
    return is_json and "content-encoding" not in headers and "gzip" in request.headers.get("accept-encoding", "")


def _compressed(chunks: Iterator[bytes]) -> Iterator[bytes]:
    gzip = zlib.compressobj(_LEVEL, wbits=31)
    for chunk in chunks:
        if compressed := gzip.compress(chunk):
            yield compressed
    yield gzip.flush()
