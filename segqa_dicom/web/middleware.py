"""Around every request: one line in the log, counts, headers that browsers obey, and no trace of what went wrong."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from segqa_dicom import log
from segqa_dicom.web.ops.metrics import RequestMetrics
from segqa_dicom.web.problems import problem_response

_HEADERS = [
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class Observed:
    """The application in here; answers 500 where it raises, and ends the connection where it had begun to answer."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin, status, sent_bytes = time.perf_counter(), 0, 0

        async def counted(message: Message) -> None:
            nonlocal status, sent_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", []))
                names = {name.lower() for name, _ in headers}  # the viewer has a policy of its own
                message["headers"] = [*headers, *((name, value) for name, value in _HEADERS if name not in names)]
            sent_bytes += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, counted)
        except Exception as error:
            log.event("request_failed", error=type(error).__name__)
            if status:  # half an answer is out: only a broken connection says that it is not whole
                raise
            await problem_response(500, "the service has failed; its operator must look at it")(scope, receive, counted)
        finally:
            seconds = time.perf_counter() - begin
            route = _route_of(scope)
            self._metrics.note(route, scope["method"], status, seconds)
            log.event(
                "request",
                method=_method_of(scope),
                route=route,
                status=status,
                seconds=round(seconds, 4),
                bytes=sent_bytes,
            )


def _route_of(scope: Scope) -> str:
    """The pattern of the path, which holds no UID; "none" if no route has it."""
    return str(getattr(scope.get("route"), "path", "none"))


def _method_of(scope: Scope) -> str:
    return str(scope["method"]) if scope["method"] in METHODS else "other"


METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"))
