"""A proxy in front of a real HTTP server that does what networks and overloaded servers do, by a script."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_HOP_BY_HOP = frozenset(("connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host"))


@dataclass(frozen=True)
class Exchange:
    """A request as the proxy got it.

    body : whole, as far as it came
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def content_length(self) -> int:
        return int(self.headers.get("content-length", 0))


@dataclass(frozen=True)
class Fault:
    """What is done instead of forwarding a request and its answer.

    answer : status and body that are answered without asking the server
    forward_first : ask the server all the same, and throw its answer away
    cut : end the connection without an answer
    cut_answer_at : forward, but end the connection after so many bytes of the answer's body
    change_answer : forward, and answer with what this makes of the body
    """

    answer: tuple[int, bytes] | None = None
    content_type: str = "application/dicom+json"
    forward_first: bool = False
    cut: bool = False
    cut_answer_at: int | None = None
    change_answer: Callable[[bytes], bytes] | None = None


Matches = Callable[[Exchange], bool]


def storing(exchange: Exchange) -> bool:
    """Whether a request is STOW-RS."""
    return exchange.method == "POST"


@dataclass
class _Rule:
    matches: Matches
    fault: Fault
    left: int


@dataclass
class Proxy:
    """Forwards to `target`; requests that match a rule meet its fault as often as the rule says."""

    target: str
    exchanges: list[Exchange] = field(default_factory=list)
    _rules: list[_Rule] = field(default_factory=list)
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.server_port}{urlsplit(self.target).path}"

    def script(self, matches: Matches, fault: Fault, *, times: int = 1_000_000) -> None:
        """From now on, the next `times` requests that match meet the fault; earlier rules go first."""
        self._rules.append(_Rule(matches, fault, times))

    def requests(self, matches: Matches) -> list[Exchange]:
        return [one for one in self.exchanges if matches(one)]

    def _fault(self, exchange: Exchange) -> Fault:
        for rule in self._rules:
            if rule.left and rule.matches(exchange):
                rule.left -= 1
                return rule.fault
        return Fault()

    def __enter__(self) -> Proxy:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def _do(self) -> None:
                proxy._handle(self)

            do_GET = do_POST = do_DELETE = _do  # noqa: N815 - names that http.server looks for

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in handler.headers.items()}
        body = handler.rfile.read(int(headers.get("content-length", 0)))
        exchange = Exchange(handler.command, handler.path, headers, body)
        self.exchanges.append(exchange)
        fault = self._fault(exchange)
        if fault.answer and not fault.forward_first:
            self._answer(handler, *fault.answer, fault.content_type)
            return
        if fault.cut and not fault.forward_first:
            self._cut(handler)
            return
        status, content_type, answer = self._forwarded(exchange)
        if fault.cut:
            self._cut(handler)
        elif fault.answer:
            self._answer(handler, *fault.answer, fault.content_type)
        else:
            answer = fault.change_answer(answer) if fault.change_answer else answer
            self._answer(handler, status, answer, content_type, cut_at=fault.cut_answer_at)

    def _forwarded(self, exchange: Exchange) -> tuple[int, str, bytes]:
        there = urlsplit(self.target)
        assert there.hostname is not None
        connection = HTTPConnection(there.hostname, there.port, timeout=120)
        try:
            headers = {name: value for name, value in exchange.headers.items() if name not in _HOP_BY_HOP}
            connection.request(exchange.method, exchange.path, exchange.body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheader("Content-Type", ""), answer.read()
        except OSError:
            return 502, "text/plain", b"the server is not there"
        finally:
            connection.close()

    @staticmethod
    def _cut(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)

    def _answer(
        self, handler: BaseHTTPRequestHandler, status: int, body: bytes, content_type: str, cut_at: int | None = None
    ) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", content_type)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[:cut_at])
        if cut_at is not None and cut_at < len(body):
            handler.wfile.flush()
            self._cut(handler)
