"""Who may ask at all: requests by the proxy only, for our names only, and changes only from our own pages.

The proxy proves itself by a secret (`SEGQA_PROXY_TOKEN`). Without a proxy the service is for people on this machine: a
page of somebody else whose name suddenly means 127.0.0.1 (DNS rebinding) is told apart by the Host header. Changes need
a token twice, as a cookie and in the request ("double submit cookie", OWASP Cross-Site Request Forgery Prevention Cheat
Sheet), and must not come from a page of another origin. DICOMweb is for programs, which have no cookies.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_address
from urllib.parse import parse_qsl, urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from segqa_dicom.config import ServiceSettings
from segqa_dicom.web.pages.rendering import error_page
from segqa_dicom.web.problems import Problem, problem_response
from segqa_dicom.web.state import DICOM_WEB, state_of

PROXY_HEADER = "x-segqa-proxy-token"
COOKIE = "segqa_csrf"
TOKEN_HEADER = "x-csrf-token"  # noqa: S105 - the name of a header
TOKEN_FIELD = "csrf"  # noqa: S105 - the name of a field
MOST_FORM_BYTES = 1_000_000
"""Forms and drafts are text that somebody typed."""
_OPEN_PATHS = ("/healthz", "/static/")
"""Asked by who watches the service, and style sheets; they say nothing about anybody."""
_FOR_PROGRAMS = (f"{DICOM_WEB}/", "/ohif", "/metrics", "/api/findings")
"""Where the service is not on loopback, programs ask these under names that it cannot know."""
_LOCAL_NAMES = frozenset(("localhost", "127.0.0.1", "[::1]"))

Handler = Callable[[Request], Awaitable[Response]]


class Guard:
    """Refuses what does not come by the proxy, or asks for another host."""

    def __init__(self, app: ASGIApp, service: ServiceSettings) -> None:
        self._app = app
        self._token = service.proxy_token.get_secret_value().encode()
        self._root = urlsplit(service.public_url).path.rstrip("/")
        self._names = _LOCAL_NAMES | {_name_in(service.public_url)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "http" and not scope["path"].startswith(_OPEN_PATHS):
            refusal = self._refusal(scope)
            if refusal:
                await _refused(scope, refusal, self._root)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> str:
        headers = Headers(scope=scope)
        if self._token:
            given = headers.get(PROXY_HEADER, "").encode("latin-1", "replace")
            is_right = hmac.compare_digest(given, self._token)
            return "" if is_right else "this service is reached by its proxy only; use the address you were given"
        if _is_on_loopback(scope) or not scope["path"].startswith(_FOR_PROGRAMS):
            name = _name_in(f"//{headers.get('host', '')}")
            if name not in self._names:
                return (
                    "the service is not called by this name; open it as http://localhost with its port, or have its"
                    " operator set SEGQA_PUBLIC_URL"
                )
        return ""


def _refused(scope: Scope, message: str, root: str) -> Response:
    if "text/html" in Headers(scope=scope).get("accept", ""):
        return error_page(403, message, root=root)
    return problem_response(403, message)


def _name_in(url: str) -> str:
    """Host name of a URL, as in a Host header without its port; IPv6 addresses in brackets."""
    try:
        name = urlsplit(url).hostname or ""
    except ValueError:
        return ""
    return f"[{name}]" if ":" in name else name


def _is_on_loopback(scope: Scope) -> bool:
    """Whether the connection came to an address of this machine only."""
    try:
        return ip_address((scope.get("server") or ("", 0))[0]).is_loopback
    except ValueError:  # a socket of the file system
        return False


# Changes


def token_of(request: Request) -> str:
    """The token of this browser for changes; a new one if it has none yet."""
    known: str = getattr(request.state, "csrf", "") or request.cookies.get(COOKIE, "")
    if not (known.isalnum() and known.isascii() and len(known) == 64):
        known = secrets.token_hex(32)
    request.state.csrf = known
    return known


def with_token(request: Request, response: Response) -> Response:
    """The answer, with the cookie that belongs to the token in its page."""
    url = urlsplit(state_of(request).service.public_url)
    token = token_of(request)
    if request.cookies.get(COOKIE) != token:
        path = url.path.rstrip("/") or "/"
        response.set_cookie(COOKIE, token, path=path, httponly=True, samesite="strict", secure=url.scheme == "https")
    return response


def changing(handler: Callable[[Request, Mapping[str, list[str]]], Awaitable[Response]]) -> Handler:
    """A handler of changes: called with the fields of the form, if it is one, when the request comes from our pages."""

    async def checked(request: Request) -> Response:
        check_origin(request)
        fields: dict[str, list[str]] = {}
        if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            for name, value in parse_qsl((await body_of(request)).decode("utf-8", "replace"), keep_blank_values=True):
                fields.setdefault(name, []).append(value)
        given = request.headers.get(TOKEN_HEADER) or fields.get(TOKEN_FIELD, [""])[0]
        cookie = request.cookies.get(COOKIE, "")
        if not cookie or not hmac.compare_digest(given.encode(), cookie.encode()):
            raise Problem(403, "the request has not the token of this page; load the page again")
        return await handler(request, fields)

    return checked


def check_origin(request: Request) -> None:
    """Raise `Problem` 403 for a request that a page of another origin makes; programs do not say where they are."""
    site, origin = request.headers.get("sec-fetch-site", "same-origin"), request.headers.get("origin", "")
    ours = {urlsplit(state_of(request).service.public_url or str(request.base_url)).netloc, request.url.netloc}
    if site not in ("same-origin", "none") or (origin and urlsplit(origin).netloc not in ours):
        raise Problem(403, "changes are taken from the pages of this service only")


async def body_of(request: Request) -> bytes:
    """The body; raises `Problem` 413 if it is too large to be typed by anybody."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_FORM_BYTES:
            raise Problem(413, f"more than {MOST_FORM_BYTES} bytes")
    return bytes(body)
