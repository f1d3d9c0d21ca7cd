"""A real Redis server on a free port of the loopback interface, its data in a folder of the test."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import redis

from tests.servers.process import Process, free_port, program, wait_until

_STARTS = 3
"""Between the choice of a free port and its use another test may take it: then the next one is tried."""


class RedisServer:
    """`redis-server` that can be stopped, killed, restarted and emptied; the port stays the same all the time.

    ```python
    with RedisServer(tmp_path / "redis", appendonly=True) as server:
        client = server.client()
        server.kill()
        server.start()
    ```

    `folder` is made if missing; it holds the configuration, the log and, below `data`, what Redis keeps.
    `appendonly` is the log of all writes, synchronised each second (without it nothing survives a SIGKILL);
    `maxmemory` is in Redis's form (`"2mb"`), and beyond it writes are refused (`noeviction`); with `requirepass` clients
    must give this password, which is part of `url`. `options` are further lines of the configuration, by name.
    """

    def __init__(
        self,
        folder: Path,
        *,
        appendonly: bool = False,
        maxmemory: str | None = None,
        requirepass: str | None = None,
        options: dict[str, str] | None = None,
    ) -> None:
        self.folder, self.data, self.password = folder, folder / "data", requirepass
        self.port = free_port()
        self._program = program("redis-server")
        self._options = {
            "appendonly": "yes" if appendonly else "no",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory": maxmemory or "0",
            "maxmemory-policy": "noeviction",
            **({"requirepass": json.dumps(requirepass, ensure_ascii=False)} if requirepass else {}),
            **(options or {}),
        }
        self._process: Process | None = None

    def url(self, database: int = 0) -> str:
        """The URL of one of its databases, with the password if it has one."""
        return f"redis://{self._credentials()}127.0.0.1:{self.port}/{database}"

    def url_without_password(self, database: int = 0) -> str:
        """The same for programs that are given the password apart from the URL."""
        return f"redis://127.0.0.1:{self.port}/{database}"

    def client(self, database: int = 0) -> redis.Redis:
        """A new client that gives up after seconds instead of waiting for a server that is gone."""
        return redis.Redis.from_url(self.url(database), socket_timeout=5, socket_connect_timeout=5)

    @property
    def is_running(self) -> bool:
        """Whether the process lives (it may not answer yet, or be suspended)."""
        return self._process is not None and self._process.is_running

    @property
    def process(self) -> Process:
        """The process that was started last, for its id and its output."""
        assert self._process is not None, "the server was never started"
        return self._process

    def start(self) -> None:
        """Start it with the data that are there and wait until it answers. Nothing is done if it runs."""
        if self.is_running:
            return
        is_first = self._process is None
        for _ in range(_STARTS):
            self._process = self._launch()
            wait_until(self._answers_or_ended, what=f"redis-server answers on port {self.port}")
            if self._process.is_running:
                return
            if is_first:
                self.port = free_port()
        raise AssertionError(f"redis-server ended at once: {self.process.output()[-2000:]}")

    def stop(self) -> None:
        """SIGTERM: it writes what it must and ends."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """SIGKILL, as when memory is short or the power goes."""
        if self._process is not None:
            self._process.kill()

    def restart(self) -> None:
        """Stop it and start it with the same data on the same port."""
        self.stop()
        self.start()

    def wipe(self) -> None:
        """Kill it if it runs and remove all it kept; after `start()` it is empty."""
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)

    def __enter__(self) -> RedisServer:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _credentials(self) -> str:
        return f":{quote(self.password, safe='')}@" if self.password else ""

    def _launch(self) -> Process:
        self.data.mkdir(parents=True, exist_ok=True)
        lines = {"bind": "127.0.0.1", "port": str(self.port), "dir": f'"{self.data}"', **self._options}
        configuration = self.folder / "redis.conf"
        configuration.write_text("".join(f"{name} {value}\n" for name, value in lines.items()))
        process = Process([self._program, configuration], self.folder / "redis.log", cwd=self.folder)
        process.start()
        return process

    def _answers_or_ended(self) -> bool:
        if not self.process.is_running:
            return True
        with self.client() as client:
            # The process id tells our server from one of another test that took the port in between.
            return int(client.info("server")["process_id"]) == self.process.pid
