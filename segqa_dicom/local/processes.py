"""The processes in which cases are reviewed, and how they tell how far they are.

This module imports little on purpose: a process needs most of a second to import what a review needs, so it is started
before anything else, and does that while its parent reads its own options and looks for files.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, wait
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from segqa_dicom.progress import Progress, silent

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


class Processes:
    """Up to `jobs` processes, started when there is work for them, the first one at once; ended with the context.

    progress : told what the processes say with `report_progress`
    """

    def __init__(self, jobs: int, progress: Progress = silent) -> None:
        self.progress = progress
        self._queue = multiprocessing.get_context("spawn").SimpleQueue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._pool = self._new_pool(jobs)
        self._prepared = self._pool.submit(_prepare)

    def __enter__(self) -> Processes:
        self._listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._queue.put(None)
        self._listener.join(timeout=5)

    def wait_for_first(self) -> None:
        """Wait until the first process is ready: before that, work would make the pool start a second one."""
        wait([self._prepared])

    def submit(
        self, function: Callable[_Parameters, _Result], *args: _Parameters.args, **kwargs: _Parameters.kwargs
    ) -> Future[_Result]:
        """Have a function called in one of the processes. Raises `BrokenProcessPool` once one of them has died."""
        return self._pool.submit(function, *args, **kwargs)

    def start_afresh(self, jobs: int) -> None:
        """Replace the processes, after one of them has died."""
        self._pool.shutdown(cancel_futures=True)
        self._pool = self._new_pool(jobs)

    def _new_pool(self, jobs: int) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(jobs, mp_context=context, initializer=_start, initargs=(self._queue,))

    def _listen(self) -> None:
        while (message := self._queue.get()) is not None:
            self.progress(*message)


_queue: Any = None


def report_progress(step: str, done: int, total: int) -> None:
    """The `Progress` of a child process."""
    if _queue is not None:
        _queue.put((step, done, total))


def _start(queue: Any) -> None:
    global _queue
    _queue = queue


def _prepare() -> None:
    """Import all that reviewing a case needs, and have numba start, which is as slow as all imports together."""
    import numpy as np

    import segqa_dicom.local.batch
    import segqa_dicom.pipeline
    import segqa_dicom.reading.case
    import segqa_dicom.report.json
    import segqa_dicom.report.text
    import segqa_dicom.sr  # noqa: F401
    from segqa_dicom.jit import is_compiled
    from segqa_dicom.measures import find_runs

    if is_compiled():
        find_runs(np.zeros((1, 1, 1), np.uint8))
