"""Running the application in a process of its own."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from segqa_dicom.errors import ConfigurationError

GRACE_S = 10
"""How long requests under way may go on after SIGTERM."""
_BACKLOG = 512


def _listening(_: int) -> None:
    """Nobody waits for the port."""


def run_web(app: ASGIApp, *, host: str, port: int, ready: Callable[[int], None] = _listening) -> None:
    """Answer requests until SIGTERM or SIGINT, then finish those under way and return. Prints nothing.

    port : 0 = any that is free
    ready : called with the port as soon as connections are taken
    Raises `ConfigurationError` if the address cannot be used. In another thread than the first there are no signals:
    there it runs until the process ends.
    """
    listener = _bound(host, port)
    with listener:
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="critical",  # requests and what goes wrong with them `middleware.Observed` logs
            access_log=False,
            server_header=False,
            proxy_headers=False,  # anybody can send them; `SEGQA_PUBLIC_URL` says what clients see
            timeout_graceful_shutdown=GRACE_S,
        )
        server = _Server(config, lambda: ready(listener.getsockname()[1]))
        # uvicorn ends a process by the signal that it got, when it has finished: that shall be a normal end here.
        restore = _without_signals()
        try:
            server.run(sockets=[listener])
        finally:
            restore()


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol stated, because asyncio switches Nagle's algorithm off only where it is: else each answer waits
    # 40 ms for a delayed acknowledgement between its head and its body.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"web: cannot listen on {host} port {port} ({error.strerror})") from error
    return listener


def _ignored(_: int, __: FrameType | None) -> None:
    """The signal that uvicorn raises again after its end."""


def _without_signals() -> Callable[[], None]:
    if threading.current_thread() is not threading.main_thread():
        return lambda: None
    before = {number: signal.signal(number, _ignored) for number in (signal.SIGTERM, signal.SIGINT)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    return restore


class _Server(uvicorn.Server):
    """Says when it takes connections."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self._ready()
