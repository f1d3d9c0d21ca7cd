"""A PostgreSQL cluster of its own on a free port of this machine, for tests."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.servers.process import Process, free_port, program, wait_until

OWNER = "segqa"
_ATTEMPTS = 5


class PostgresCluster:
    """A running server. Anybody on this machine may connect as `segqa`, without a password."""

    def __init__(self, server: Process, port: int) -> None:
        self.server, self.port = server, port

    def url(self, database: str = "postgres") -> str:
        """The URL of a database, for SQLAlchemy."""
        return f"postgresql+psycopg://{OWNER}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run a statement outside any transaction."""
        with self._connected(database) as connection:
            connection.execute(statement)

    @contextmanager
    def database(self) -> Iterator[str]:
        """A new, empty database: its URL. It is dropped afterwards, whoever is still connected."""
        name = f"test_{secrets.token_hex(8)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def answers(self) -> bool:
        with self._connected("postgres"):
            return True

    def _connected(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=OWNER, dbname=database, autocommit=True, connect_timeout=10
        )


@contextmanager
def postgres_cluster(*, is_durable: bool = False) -> Iterator[PostgresCluster]:
    """Make a cluster in a temporary folder and run it.

    is_durable : wait for the disk, as in production; for measuring

    Its files belong to `postgres` if we are root, whom the server does not run for.
    """
    initdb, postgres = (program(name, *_installed(name)) for name in ("initdb", "postgres"))
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="segqa-postgres-"))
    try:
        if user:
            shutil.chown(folder, user)
        _initialise(initdb, folder, user)
        server, port = _started(postgres, folder, user, is_durable=is_durable)
        try:
            yield PostgresCluster(server, port)
        finally:
            # SIGINT is the fast shutdown; SIGTERM would wait for clients.
            server.stop(signal.SIGINT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _installed(name: str) -> list[str]:
    """Where distributions put it, outside the path; the newest version first."""
    return [str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)]


def _initialise(initdb: str, folder: Path, user: str | None) -> None:
    command = [initdb, "-D", folder / "data", "-U", OWNER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    with Process(command, folder / "initdb.log", user=user, cwd=folder) as process:
        assert process.wait(120) == 0, process.output()


def _started(postgres: str, folder: Path, user: str | None, *, is_durable: bool) -> tuple[Process, int]:
    for _ in range(_ATTEMPTS):
        port = free_port()
        settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200"]
        settings += [] if is_durable else ["fsync=off"]
        options = [part for setting in settings for part in ("-c", setting)]
        server = Process(
            [postgres, "-D", folder / "data", "-p", str(port), *options], folder / "log", user=user, cwd=folder
        )
        server.start()
        cluster = PostgresCluster(server, port)
        wait_until(lambda: not server.is_running or cluster.answers(), 60, "PostgreSQL answers")  # noqa: B023
        if server.is_running:
            return server, port
    # Somebody else took each port between looking and listening; more likely something is wrong.
    pytest.fail(f"PostgreSQL does not start: {server.output()[-2000:]}")
