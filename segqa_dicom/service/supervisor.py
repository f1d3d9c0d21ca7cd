"""Starting the processes of the service, starting them again when they die, and ending them in order."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from segqa_dicom import log
from segqa_dicom.errors import ConfigurationError, SegQaError
from segqa_dicom.service import loops
from segqa_dicom.service.loops import Addresses, Ready
from segqa_dicom.service.setup import Setup

GRACE_S = 15.0
PRIVATE = 0o077
"""Files of the service hold patient data: nobody else on this machine may read them."""
_LONGEST_PAUSE_S = 30.0
_STEADY_S = 20.0
"""A process that lived so long is started again at once."""
_START_S = 300.0
"""The first worker on a machine compiles the kernels; a service is not ready while nobody can work."""


@dataclass
class _Role:
    """A process that is to run for ever.

    loop : is called in it with `arguments` and what to tell when it is ready
    is_awaited : whether the service counts as started only when this is ready
    """

    name: str
    loop: Callable[..., None]
    arguments: tuple[Any, ...]
    is_awaited: bool = True
    grace_s: float = GRACE_S
    process: BaseProcess | None = None
    pipe: Connection | None = None
    port: int | None = None
    error: str = ""
    started_at: float = 0.0
    start_at: float = 0.0
    deaths: int = 0


@dataclass
class Supervisor:
    """All processes of ``segqa serve``.

    workers : worker processes; 0 where Celery workers do the work
    """

    setup: Setup
    addresses: Addresses
    workers: int
    _roles: list[_Role] = field(default_factory=list)

    def start(self, stopped: threading.Event) -> Addresses | None:
        """Start everything; returns where it listens, with the ports that were chosen; None if `stopped` was set.

        Raises `ConfigurationError` if something cannot start as it was told to.
        """
        os.umask(PRIVATE)
        self.setup = self.setup.with_rules()
        self.setup.make_folders()
        loops.remove_leftovers(self.setup)
        with self.setup.open_ledger() as ledger:
            ledger.migrate()
        self.setup.open_archive()
        self.setup.ruleset()
        setup, addresses = self.setup, self.addresses
        self._roles = [
            _Role("node", loops.node_loop, (setup, addresses)),
            _Role("web", loops.web_loop, (setup, addresses)),
            _Role("coordinator", loops.coordinator_loop, (setup,)),
        ]
        self._roles += [
            _Role(f"worker {n}", loops.worker_loop, (setup,), is_awaited=n == 1, grace_s=setup.settings.grace_s)
            for n in range(1, self.workers + 1)
        ]
        for role in self._roles:
            _start(role)
        try:
            self._wait_until_ready(stopped)
        except BaseException:
            self.stop()
            raise
        if stopped.is_set():
            self.stop()
            return None
        ports = {role.name: role.port or 0 for role in self._roles}
        self.addresses = replace(addresses, dicom_port=ports["node"], http_port=ports["web"])
        for role in self._roles:
            if addresses in role.arguments:  # who is started again listens where it listened before
                role.arguments = tuple(self.addresses if part is addresses else part for part in role.arguments)
        return self.addresses

    def watch(self, stopped: threading.Event) -> None:
        """Start again what dies, until `stopped` is set."""
        while not stopped.wait(0.2):
            for role in self._roles:
                self._look_after(role)

    def stop(self) -> None:
        """End all processes: first those that take things in, then those that work."""
        for role in self._roles:
            if role.process is not None and role.process.is_alive():
                role.process.terminate()
        started = time.monotonic()
        for role in self._roles:
            if role.process is None:
                continue
            role.process.join(max(0.1, role.grace_s - (time.monotonic() - started)))
            if role.process.is_alive():
                log.event("process killed", process=role.name)
                role.process.kill()
                role.process.join(5)

    def pids(self) -> dict[str, int]:
        """Process ids by role."""
        return {role.name: role.process.pid or 0 for role in self._roles if role.process is not None}

    def _wait_until_ready(self, stopped: threading.Event) -> None:
        deadline = time.monotonic() + _START_S
        for role in self._roles:
            while role.is_awaited and role.port is None and not stopped.is_set():
                _hear(role, 0.1)
                if role.error:
                    raise ConfigurationError(role.error)
                if role.process is not None and not role.process.is_alive() and not _hear(role, 0):
                    raise ConfigurationError(f"the process {role.name!r} ended while it started; its log says why")
                if time.monotonic() > deadline:
                    raise ConfigurationError(f"the process {role.name!r} was not ready within {_START_S:.0f} s")

    def _look_after(self, role: _Role) -> None:
        _hear(role, 0)
        process = role.process
        if process is not None and not process.is_alive():
            process.join()
            lived_s = time.monotonic() - role.started_at
            role.deaths = 0 if lived_s > _STEADY_S or process.exitcode == 0 else role.deaths + 1
            pause_s = 0.0 if role.deaths < 2 else min(_LONGEST_PAUSE_S, 2.0 ** (role.deaths - 1))
            if process.exitcode:
                log.event("process died", process=role.name, exit_code=process.exitcode or 0, pause_s=pause_s)
            role.process, role.start_at = None, time.monotonic() + pause_s
        if role.process is None and time.monotonic() >= role.start_at:
            _start(role)


def _start(role: _Role) -> None:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    level = logging.getLogger("segqa").getEffectiveLevel()
    process = context.Process(
        target=_child, args=(role.loop, role.arguments, sender, level), name=f"segqa {role.name}", daemon=False
    )
    process.start()
    sender.close()
    if role.pipe is not None:
        role.pipe.close()
    role.process, role.pipe, role.started_at = process, receiver, time.monotonic()


def _hear(role: _Role, timeout_s: float) -> bool:
    """Take what a process has to say: its port when it is ready, or why it cannot start."""
    try:
        if role.pipe is None or not role.pipe.poll(timeout_s):
            return False
        kind, value = role.pipe.recv()
    except (EOFError, OSError):
        return False
    if kind == "ready":
        role.port = value
    else:
        role.error = value
    return True


def _child(loop: Callable[..., None], arguments: tuple[Any, ...], pipe: Connection, level: int) -> None:
    """The whole life of a process."""
    os.umask(PRIVATE)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("segqa").setLevel(level)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the supervisor ends them in order
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), name="parent", daemon=True).start()

    def ready(port: int) -> None:
        pipe.send(("ready", port))

    try:
        loop(*arguments, ready)
    except SegQaError as error:
        _tell(pipe, str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(0)


def _tell(pipe: Connection, error: str) -> None:
    try:
        pipe.send(("error", error))
    except OSError:
        log.event("process ends", error=error)


def _end_with_parent(parent: int) -> None:
    """End when the supervisor was killed: nobody would look after this process any more."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os._exit(1)


__all__ = ["Addresses", "Ready", "Supervisor"]
