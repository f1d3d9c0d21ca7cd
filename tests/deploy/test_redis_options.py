"""The start command of Redis in docker-compose.yml, run as it is with the distribution's server."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.deploy.files import services
from tests.servers.process import Process, free_port, program, wait_until

pytestmark = pytest.mark.servers

PASSWORD = "0123456789abcdef"


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Port of a server that was started by the file's own lines; only the places of its files are others."""
    program("redis-server")
    number = free_port()
    (tmp_path / "segqa_broker_password").write_text(PASSWORD + "\n")
    (tmp_path / "data").mkdir()
    service = services()["redis"]
    places = {
        "/run/secrets/": f"{tmp_path}/",
        "/tmp/password.conf": f"{tmp_path}/password.conf",
        "/data": f"{tmp_path}/data",
    }
    command = [*service["entrypoint"], *service["command"]]
    for old, new in places.items():
        command = [part.replace(old, new) for part in command]
    command += ["--port", str(number), "--bind", "127.0.0.1"]
    with Process(command, tmp_path / "log", cwd=tmp_path) as process:
        wait_until(lambda: not process.is_running or client(number).ping(), what="Redis answers")
        assert process.is_running, process.output()
        yield number


def client(number: int, password: str | None = PASSWORD) -> redis.Redis:
    return redis.Redis(port=number, password=password, socket_timeout=5)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("appendonly", "yes"),
        ("appendfsync", "everysec"),
        ("save", ""),
        ("maxmemory", str(256 * 1024 * 1024)),
        ("maxmemory-policy", "noeviction"),
    ],
)
def test_the_options_hold(port: int, option: str, value: str) -> None:
    with client(port) as connection:
        assert connection.config_get(option) == {option: value}


def test_nobody_gets_in_without_the_password(port: int, tmp_path: Path) -> None:
    with client(port, None) as connection, pytest.raises(redis.AuthenticationError):
        connection.ping()
    assert (tmp_path / "password.conf").stat().st_mode & 0o077 == 0


def test_no_command_line_shows_the_password(port: int) -> None:
    shown = subprocess.run(["ps", "-e", "-o", "args"], capture_output=True, text=True, check=True).stdout
    assert PASSWORD not in shown
