"""An application in a thread of the test, asked over the network like any other."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import requests
import uvicorn
from starlette.types import ASGIApp

from tests.servers.process import wait_until


class Asking(requests.Session):
    """Asks one server."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url

    def request(self, method: str | bytes, url: str | bytes, *args: object, **options: object) -> requests.Response:  # type: ignore[override]
        options.setdefault("timeout", 30)
        return super().request(method, f"{self.url}{url}", *args, **options)  # type: ignore[arg-type, call-overload, no-any-return]


@contextmanager
def running(app: ASGIApp) -> Iterator[Asking]:
    """Run an application while the context lasts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, server_header=False))
        thread = Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: server.started, what="the application listens")
            with Asking(f"http://127.0.0.1:{listener.getsockname()[1]}") as asking:
                yield asking
        finally:
            server.should_exit = True
            thread.join()
