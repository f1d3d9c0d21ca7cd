"""Processes of the service one by one, with a clock that a test sets and a point at which a test holds them.

``python -m tests.faults.actors ROLE``; archive, ledger and folders by SEGQA_... variables.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

from segqa_dicom.archive import Archive, Outgoing, Stored
from segqa_dicom.config import ServiceSettings
from segqa_dicom.service import Setup, work
from segqa_dicom.service.coordinator import Coordinator
from segqa_dicom.service.loops import stopped_by_signal, worker_loop
from segqa_dicom.service.work import Worker

COMPUTED, STORING = "computed", "storing"
"""Points at which a worker can be held: it knows the documents; they are in the outbox and about to be stored."""


class SetClock:
    """The time plus the seconds that are in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self) -> float:
        return time.time() + (float(self._path.read_text()) if self._path.exists() else 0.0)


class Hold:
    """Stops a worker until a test lets it go on: the file ``reached`` says that it has come so far, ``go`` lets it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self) -> None:
        (self._folder / "reached").touch()
        while not (self._folder / "go").exists():
            time.sleep(0.05)


class HeldArchive:
    """An archive that is asked to store only after a hold."""

    def __init__(self, archive: Archive, hold: Hold) -> None:
        self._archive, self._hold = archive, hold

    def store(self, outgoing: Iterable[Outgoing]) -> Sequence[Stored]:
        self._hold()
        return self._archive.store(outgoing)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._archive, name)


def work_until(stopped: Event, run_next: Callable[[], bool]) -> None:
    while not stopped.is_set():
        if not run_next():
            stopped.wait(0.25)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["coordinator", "worker", "loop", "claim"])
    parser.add_argument("--clock", type=Path, default=Path("/nonexistent"))
    parser.add_argument("--ruleset", type=Path)
    parser.add_argument("--hold", choices=[COMPUTED, STORING])
    parser.add_argument("--folder", type=Path, help="of the hold")
    parser.add_argument("--case")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    setup = replace(Setup.from_settings(ServiceSettings()), ruleset_file=given.ruleset)
    clock, stopped = SetClock(given.clock), stopped_by_signal()
    if given.role == "coordinator":
        Coordinator(setup, clock=clock).run(stopped)
        return
    archive: Any = setup.open_archive()
    hold = Hold(given.folder) if given.folder else None
    if hold and given.hold == STORING:
        archive = HeldArchive(archive, hold)
    if hold and given.hold == COMPUTED:
        computed = work.reviewed_case

        def held(*arguments: Any) -> Any:
            result = computed(*arguments)
            hold()
            return result

        work.reviewed_case = held
    if given.role == "loop":
        worker_loop(setup, lambda _port: None)
        return
    worker = Worker(setup, archive=archive, clock=clock)
    if given.role == "claim":
        assert hold is not None
        hold()
        print(json.dumps(worker.run_case(given.case)), flush=True)
        return
    work_until(stopped, worker.run_next)


if __name__ == "__main__":
    main()
