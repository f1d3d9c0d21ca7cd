"""The service as users run it: real processes, embedded or deployed, and what to send to it."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import requests
from pydicom import Dataset, dcmread

from segqa_dicom.config import ServiceSettings
from segqa_dicom.ledger import Case, CaseState, Ledger

from .process import Process, program, wait_until

QUICK = {
    "SEGQA_DEBOUNCE_S": "1",
    "SEGQA_SWEEP_S": "2",
    "SEGQA_LEASE_S": "6",
    "SEGQA_POLL_S": "0.3",
    "SEGQA_MIN_FREE_BYTES": "1000000",
}
"""Settings with which tests need not wait for what protects users."""
START_S = 240.0
"""Processes compile kernels when they are started for the first time on a machine, several at once."""


class Serve:
    """``segqa serve`` on free ports.

    archive : DICOMweb URL; None = a folder in `folder`
    ledger : SQLAlchemy URL; None = SQLite in `folder`
    """

    def __init__(
        self,
        folder: Path,
        *,
        archive: str | None = None,
        ledger: str | None = None,
        workers: int = 1,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._out = folder, folder / "serve.json"
        self.archive = archive or str(folder / "archive")
        self.data = folder / "data"
        self.ledger_url = ledger or f"sqlite:///{self.data / 'ledger.sqlite3'}"
        self.environment = {**QUICK, "SEGQA_DATA": str(self.data), **(settings or {})}
        self.workers, self.log = workers, folder / "serve.log"
        self.ports: dict[str, Any] = {"dicom_port": 0, "http_port": 0}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens; a second start listens where the first did."""
        command = [sys.executable, "-m", "segqa_dicom", "serve", "--json", "--workers", str(self.workers)]
        command += ["--archive", self.archive, "--ledger", self.ledger_url]
        command += ["--dicom-port", str(self.ports["dicom_port"]), "--http-port", str(self.ports["http_port"])]
        self._out.write_text("")
        with self._out.open("wb") as out, self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=out,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )
        wait_until(self._said_where_or_ended, START_S, "segqa serve to listen")
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        self.ports = json.loads(self._out.read_text())

    def _said_where_or_ended(self) -> bool:
        assert self.process is not None
        return self._out.read_text().endswith("\n") or self.process.poll() is not None

    @property
    def dicom_port(self) -> int:
        return int(self.ports["dicom_port"])

    @property
    def url(self) -> str:
        return str(self.ports["url"])

    @property
    def dicomweb_url(self) -> str:
        return f"{self.url}/dicom-web" if not self.archive.startswith("http") else self.archive

    def pid_of(self, role: str) -> int:
        """Of the first process of that role: ``node``, ``web``, ``coordinator``, ``worker 1``; see `pids_now`."""
        return int(self.ports["pids"][role])

    def children(self) -> list[int]:
        """Process ids of all that run now, those started later too."""
        assert self.process is not None
        found = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False)
        return [int(line) for line in found.stdout.split()]

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 90) -> int:
        """End it in order and return its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout_s)

    def kill(self) -> None:
        """SIGKILL everything at once, as a power cut does."""
        assert self.process is not None
        for pid in [self.process.pid, *self.children()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(10)

    def __enter__(self) -> Serve:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill()

    # What it did

    def ledger(self) -> Ledger:
        password = ServiceSettings().ledger_password.get_secret_value()
        return Ledger(self.ledger_url, password=password)

    def cases(self, *states: CaseState) -> list[Case]:
        with self.ledger() as ledger:
            return [case for case in ledger.cases(limit=10_000) if not states or case.state in states]

    def wait_for_cases(self, count: int = 1, *, timeout_s: float = 120, state: CaseState = CaseState.CONFIRMED) -> None:
        """Wait until so many cases are in a state and none is on its way."""
        on_its_way = {CaseState.READY, CaseState.RUNNING, CaseState.STORING, CaseState.STORED}

        def is_so() -> bool:
            states = [case.state for case in self.cases()]
            if states.count(state) == count and not on_its_way & set(states):
                return True
            raise AssertionError(states[:20], self.log.read_text()[-1500:])

        wait_until(is_so, timeout_s, f"{count} cases {state}")

    def segqa(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command of ``segqa`` on the same archive and ledger."""
        return subprocess.run(
            [sys.executable, "-m", "segqa_dicom", *arguments, "--archive", self.archive, "--ledger", self.ledger_url],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, **self.environment},
        )

    def documents(self) -> list[Dataset]:
        """All SR documents of the archive, by DICOMweb."""
        return documents_at(self.dicomweb_url)


class CeleryWorkers:
    """``celery -A workers worker`` for the broker, archive and ledger of a deployment."""

    def __init__(
        self, folder: Path, settings: Mapping[str, str], *, concurrency: int = 1, name: str = "worker"
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        environment = {**QUICK, **settings}
        celery = [sys.executable, "-m", "celery", "-A", "workers"]
        command = [*celery, "worker", "-Q", "assess,store", "-c", str(concurrency), "-n", f"{name}@%h", "-l", "WARNING"]
        self.process = Process(command, folder / f"{name}.log", environment=environment, cwd=_project())

    def children(self) -> list[int]:
        found = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=False)
        return [int(line) for line in found.stdout.split()]

    def __enter__(self) -> CeleryWorkers:
        self.process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop(timeout_s=90)


def celery_beat(folder: Path, settings: Mapping[str, str]) -> Process:
    """``celery -A workers beat``; start and stop it."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "celery", "-A", "workers", "beat", "-s", folder / "beat", "-l", "WARNING"]
    return Process(command, folder / "beat.log", environment={**QUICK, **settings}, cwd=_project())


def _project() -> Path:
    return Path(__file__).resolve().parents[2]


def documents_at(dicomweb_url: str) -> list[Dataset]:
    """All SR documents of a DICOMweb server, complete, by SOP Instance UID."""
    found = []
    answer = requests.get(f"{dicomweb_url}/series?Modality=SR", timeout=60)
    for series in answer.json() if answer.status_code == 200 else ():
        study, uid = series["0020000D"]["Value"][0], series["0020000E"]["Value"][0]
        instances = requests.get(f"{dicomweb_url}/studies/{study}/series/{uid}/instances", timeout=60).json()
        for instance in instances:
            name = instance["00080018"]["Value"][0]
            parts = requests.get(
                f"{dicomweb_url}/studies/{study}/series/{uid}/instances/{name}",
                headers={"Accept": 'multipart/related; type="application/dicom"'},
                timeout=60,
            )
            end = parts.content.rindex(b"\r\n--")
            found.append(dcmread(BytesIO(parts.content[parts.content.index(b"DICM") - 128 : end])))
    return sorted(found, key=lambda one: str(one.SOPInstanceUID))


def uids(documents: Iterable[Dataset]) -> list[str]:
    return [str(one.SOPInstanceUID) for one in documents]


def send(port: int, *paths: Path, aet: str = "SEGQA") -> int:
    """Send files and folders by C-STORE; returns storescu's exit code."""
    done = subprocess.run(
        [program("storescu"), "-R", "-aec", aet, "127.0.0.1", str(port), "+sd", "+r", *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode


def is_consistent(path: Path) -> bool:
    """Whether a SQLite file is whole."""
    with sqlite3.connect(path) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchone() == ("ok",))
