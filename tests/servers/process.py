"""Programs that tests start on free ports of this machine, and end again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 0.3


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody accepts connections at a TCP port of the loopback interface."""
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(
    condition: Callable[[], object], timeout_s: float = 30, what: str = "", every_s: float | None = None
) -> None:
    """Wait for `condition`; fails, saying what it last was, when the time is over.

    every_s : pause before the next look; None = a short one that grows, because looking takes time from what is waited for
    """
    deadline = time.monotonic() + timeout_s
    last: object = None
    pause_s = every_s or _FIRST_PAUSE_S
    while time.monotonic() < deadline:
        try:
            last = condition()
        except Exception as error:  # noqa: BLE001 - a server that does not answer yet
            last = error
        else:
            if last:
                return
        time.sleep(pause_s)
        pause_s = every_s or min(1.3 * pause_s, _LONGEST_PAUSE_S)
    pytest.fail(f"not within {timeout_s} s: {what or condition} (last: {last!r})")


def program(name: str, *others: str) -> str:
    """The path of a program of the distribution. Missing in CI is a failure, elsewhere a skip."""
    for one in (name, *others):
        if found := shutil.which(one):
            return found
    message = f"{name} is not installed; tests/run.sh installs it"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


class Process:
    """A child process with its output in a file; ended with the context, killed if it does not end."""

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        *,
        environment: Mapping[str, str] | None = None,
        user: str | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.command, self.log = [str(part) for part in command], log
        self._environment = {**os.environ, **(environment or {})}
        self._user, self._cwd = user, cwd
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as stream:
            self._child = subprocess.Popen(
                self.command,
                stdout=stream,
                stderr=stream,
                stdin=subprocess.DEVNULL,
                env=self._environment,
                user=self._user,
                cwd=self._cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    @property
    def is_running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def kill(self) -> None:
        """SIGKILL, as the kernel does when memory is short."""
        self.stop(signal.SIGKILL)

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 30) -> int | None:
        """End it and return its exit code."""
        if self._child is None:
            return None
        if self._child.poll() is None:
            self._child.send_signal(number)
            try:
                self._child.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait(10)
        return self._child.returncode

    def wait(self, timeout_s: float) -> int:
        assert self._child is not None
        return self._child.wait(timeout_s)

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def __enter__(self) -> Process:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
