"""Child processes under observation: their memory, and the workers that run the steps."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

POLL_S = 0.003
SCAN_EVERY = 20
"""Polls after which new processes are looked for."""
_PROC = Path("/proc")


class Failed(Exception):
    """A party that did not come to an end; the message is for its row."""


@dataclass(frozen=True)
class Memory:
    """Peaks in MB; None where the system does not tell.

    anonymous : memory that no file backs, summed over all processes of the session
    largest : the same of the largest process
    resident : resident memory, mapped files included, summed over all processes
    """

    anonymous: float | None = None
    largest: float | None = None
    resident: float | None = None


class MemoryWatch:
    """Follows the memory of all processes of a session until it is left."""

    def __init__(self, session: int, *, children: bool = True) -> None:
        self._session = session
        self._children = children
        self._stop = threading.Event()
        self._peaks = [0.0, 0.0, 0.0]
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> MemoryWatch:
        if _PROC.joinpath("self", "status").exists():
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def peaks(self) -> Memory:
        """What was seen so far."""
        if not self._peaks[0]:
            return Memory()
        anonymous, largest, resident = (round(kilobytes / 1024, 1) for kilobytes in self._peaks)
        return Memory(anonymous, largest, resident)

    def _follow(self) -> None:
        processes, polls = [self._session], 0
        while not self._stop.is_set():
            if self._children and polls % SCAN_EVERY == 0:
                processes = _of_session(self._session)
            polls += 1
            sizes = [_sizes_kb(process) for process in processes]
            anonymous = [size[0] for size in sizes]
            now = (sum(anonymous), max(anonymous, default=0.0), sum(size[1] for size in sizes))
            self._peaks = [max(pair) for pair in zip(self._peaks, now, strict=True)]
            self._stop.wait(POLL_S)


def _of_session(session: int) -> list[int]:
    found = []
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                fields = entry.joinpath("stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session:
                found.append(int(entry.name))
    return found


def anonymous_mb(process: int) -> float:
    """Anonymous memory of one process now; 0 where the system does not tell."""
    return _sizes_kb(process)[0] / 1024


def _sizes_kb(process: int) -> tuple[float, float]:
    """Anonymous and resident memory."""
    anonymous = resident = 0.0
    try:
        for line in _PROC.joinpath(str(process), "status").read_text().splitlines():
            if line.startswith(("RssAnon", "RssShmem")):
                anonymous += float(line.split()[1])
            elif line.startswith("VmRSS"):
                resident = float(line.split()[1])
    except OSError:
        pass
    return anonymous, resident


@dataclass(frozen=True)
class Ran:
    """A command that came to its end: seconds, and memory of it and its children."""

    cpu_s: float
    wall_s: float
    memory: Memory
    output: str


def run_fresh(command: Sequence[str | Path]) -> Ran:
    """Run a command in a session of its own; raises `Failed` if it does not end with 0."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
        start_new_session=True, text=True,
    )  # fmt: skip
    with process, MemoryWatch(process.pid) as watch:
        output, errors = process.communicate()
        wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise Failed((errors.strip() or output.strip() or f"exit code {process.returncode}").splitlines()[-1])
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Ran(cpu, wall, watch.peaks, output)


class Party:
    """A worker process that is told what to do, a line at a time."""

    def __init__(self, folder: Path, step: str, contest: int, every: int) -> None:
        arguments = [str(folder), step, str(contest), str(every)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=Path(__file__).resolve().parents[1],
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        # Whatever libraries say must not fill the pipe and stop them.
        self._said: list[str] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        self._facts: dict[str, Any] = {}

    @property
    def facts(self) -> dict[str, Any]:
        """What the worker says of its work once it has loaded its input; raises `Failed` if it could not."""
        if not self._facts:
            self._facts = self._reply()
        return self._facts

    def __enter__(self) -> Party:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join()

    def warm(self) -> None:
        """Run without a clock."""
        self._ask("warm")

    def run(self) -> dict[str, float]:
        """One run: CPU and wall seconds; anonymous memory of the process, and how much of it the run added, in MB."""
        self._ask("forget")
        before = anonymous_mb(self._process.pid)
        with MemoryWatch(self._process.pid, children=False) as watch:
            found = self._ask("run")
        peak = watch.peaks.anonymous
        memory = {} if peak is None else {"process_mb": peak, "added_mb": max(peak - before, 0.0)}
        return found | memory

    def numbers(self, path: Path) -> dict[str, Any]:
        """What the last run found: ``numbers``, or ``volume`` (the file it was put in)."""
        return self._ask(f"numbers {path}")

    def _ask(self, command: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(command + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise Failed(self._last_words()) from error
        return self._reply()

    def _reply(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Failed(self._last_words())
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise Failed(reply["error"])
        return reply

    def _last_words(self) -> str:
        self._process.wait()
        self._listener.join(timeout=5)
        return self._said[-1] if self._said else f"its process ended with {self._process.returncode}"

    def _listen(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if line.strip():
                self._said = [*self._said[-20:], line.strip()]
