"""What each process of the service does from its start to its end; each ends by itself after SIGTERM."""

from __future__ import annotations

import fcntl
import os
import resource
import shutil
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import TYPE_CHECKING, TypeAlias

from segqa_dicom import log
from segqa_dicom.archive import Archive
from segqa_dicom.errors import PeerError
from segqa_dicom.inbox import Inbox
from segqa_dicom.node import WaitingInstances, run_node
from segqa_dicom.service.setup import Setup

if TYPE_CHECKING:
    from segqa_dicom.service.work import Worker

Ready: TypeAlias = Callable[[int], None]
"""Is told that a process is ready, and its port, or 0."""

_MARGIN = 0.1
"""Share of the grace that is kept for handing the case back."""
_IDLE_S = 0.25
_CASES_PER_PROCESS = 100
"""After so many cases a worker is replaced by a new one, so that memory that a library keeps is given back."""


@dataclass(frozen=True)
class Addresses:
    """Where the service listens; port 0 = a free one."""

    ae_title: str = "SEGQA"
    host: str = "127.0.0.1"
    dicom_port: int = 11112
    http_port: int = 8080


def node_loop(setup: Setup, addresses: Addresses, ready: Ready) -> None:
    """The DICOM node."""
    inbox = setup.open_inbox()
    run_node(
        ae_title=addresses.ae_title,
        host=addresses.host,
        port=addresses.dicom_port,
        inbox_folder=setup.inbox_folder,
        settings=setup.settings,
        max_file_bytes=setup.review.max_file_bytes,
        is_held=_Held(inbox, setup),
        on_ready=ready,
    )


class _Held:
    """Whether an object is safe with us: in the inbox, or in the archive already."""

    def __init__(self, inbox: Inbox, setup: Setup) -> None:
        self._waiting, self._setup = WaitingInstances(inbox, setup.review.limits()), setup
        self._archive: Archive | None = None

    def __call__(self, sop_class_uid: str, sop_instance_uid: str) -> bool:
        # The inbox first: what leaves it in between is in the archive then.
        if self._waiting.holds(sop_class_uid, sop_instance_uid):
            return True
        self._archive = self._archive or self._setup.open_archive()
        found = self._archive.find_instances([sop_instance_uid])
        return any(one.sop_class_uid == sop_class_uid for one in found)


def web_loop(setup: Setup, addresses: Addresses, ready: Ready) -> None:
    """DICOMweb, pages of readers, health, metrics."""
    from segqa_dicom.service.wiring import Components
    from segqa_dicom.web import PART_PREFIX, run_web

    components = Components(setup)
    components.inbox.remove_parts(PART_PREFIX)
    app = components.application()
    components.annotations.start()
    try:
        run_web(app, host=addresses.host, port=addresses.http_port, ready=ready)
    finally:
        components.annotations.close()


def coordinator_loop(setup: Setup, ready: Ready) -> None:
    """Intake, schedule, change feed, repairs."""
    from segqa_dicom.service.coordinator import Coordinator

    stopped = stopped_by_signal()
    coordinator = Coordinator(setup)
    ready(0)
    coordinator.run(stopped)


def worker_loop(setup: Setup, ready: Ready) -> None:
    """Work on cases until told to stop; the one in work is finished, or handed back when the grace is over."""
    stopped = stopped_by_signal()
    prepare_worker(setup)
    from segqa_dicom.service.work import Worker

    worker = Worker(setup)
    threading.Thread(target=_end_in_time, args=(worker, setup, stopped), name="grace", daemon=True).start()
    ready(0)
    done = 0
    while not stopped.is_set() and done < _CASES_PER_PROCESS:
        try:
            worked = worker.run_next()
        except PeerError as error:
            log.event("worker waits", error=type(error).__name__, reason=str(error))
            stopped.wait(5)
            continue
        if worked:
            done += 1
        else:
            stopped.wait(_IDLE_S)


def _end_in_time(worker: Worker, setup: Setup, stopped: Event) -> None:
    """A case that takes longer than the grace goes back unharmed, instead of being lost with its attempt."""
    stopped.wait()
    time.sleep(setup.settings.grace_s * (1 - _MARGIN))
    try:
        worker.hand_back_now()
    except PeerError as error:  # then its lease will end
        log.event("case not handed back", error=type(error).__name__)
    os._exit(0)


def prepare_worker(setup: Setup) -> None:
    """Limit the memory of this process, and have everything imported and compiled before the first case comes."""
    import numpy as np

    import segqa_dicom.service.work  # noqa: F401
    from segqa_dicom.jit import is_compiled
    from segqa_dicom.measures import find_runs

    setup.make_folders()
    with (setup.data / "compiling").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one compiles, the others wait for what it made
        if not is_compiled():
            log.event("compiling the kernels, once on this machine")
            _review_phantom(setup)
    find_runs(np.zeros((1, 1, 1), np.uint8))
    limit = setup.settings.case_memory_bytes
    if limit:
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _review_phantom(setup: Setup) -> None:
    """Nothing comes of it but compiled kernels."""
    from segqa_dicom.phantoms import demo_study
    from segqa_dicom.pipeline import review
    from segqa_dicom.reading.case import read_case
    from segqa_dicom.reading.grouping import group
    from segqa_dicom.reading.scan import scan

    limits = setup.review.limits()
    with TemporaryDirectory(dir=setup.work_folder) as folder:
        demo_study(Path(folder))
        headers, _ = scan([Path(folder)], limits)
        for files in group(headers, limits)[0]:
            case, _ = read_case(files, limits)
            if case is not None:
                review(case, setup.ruleset())


def remove_leftovers(setup: Setup) -> None:
    """Delete files of work that was never ended: those that are older than any case may become."""
    oldest = time.time() - 2 * setup.settings.case_time_limit_s
    for entry in setup.work_folder.iterdir():
        if entry.stat().st_mtime < oldest:
            shutil.rmtree(entry, ignore_errors=True)


def stopped_by_signal() -> Event:
    """An event that SIGTERM and SIGINT set."""
    stopped = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    return stopped
