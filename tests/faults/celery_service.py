"""Redis and Celery workers beside ``segqa serve``, with a folder as archive: as much of a deployment as faults need."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from segqa_dicom.ledger import Case, CaseState
from tests.servers.process import Process, wait_until
from tests.servers.redis import RedisServer
from tests.servers.service import CeleryWorkers, Serve, celery_beat


class CeleryService:
    """``segqa serve`` without workers of its own, Redis, Celery workers.

    workers : processes of ``celery worker``, each with one child
    beat : whether `celery beat` sweeps, too
    maxmemory : of Redis
    """

    redis: RedisServer
    serve: Serve
    beat: Process | None = None

    def __init__(
        self,
        folder: Path,
        *,
        workers: int = 1,
        beat: bool = False,
        maxmemory: str | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.folder, self._count, self._has_beat, self._maxmemory = folder, workers, beat, maxmemory
        self._settings = dict(settings or {})
        self.workers: list[CeleryWorkers] = []
        self._stack = ExitStack()

    def __enter__(self) -> CeleryService:
        with ExitStack() as stack:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.redis = RedisServer(self.folder / "redis", appendonly=True, maxmemory=self._maxmemory)
            stack.enter_context(self.redis)
            settings = {**self._settings, "SEGQA_BROKER": self.redis.url()}
            self.serve = Serve(self.folder / "serve", workers=0, settings=settings)
            stack.enter_context(self.serve)
            self._environment = {**settings, "SEGQA_ARCHIVE": self.serve.archive, "SEGQA_LEDGER": self.serve.ledger_url}
            for number in range(1, self._count + 1):
                worker = CeleryWorkers(self.folder, self._of(f"worker{number}"), name=f"worker{number}")
                self.workers.append(stack.enter_context(worker))
            if self._has_beat:
                self.beat = stack.enter_context(celery_beat(self.folder, self._of("beat")))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _of(self, name: str) -> dict[str, str]:
        return {**self._environment, "SEGQA_DATA": str(self.folder / name)}

    def wait_for_workers(self) -> None:
        """Until each has a child."""
        wait_until(lambda: all(worker.children() for worker in self.workers), 60, "workers with children")


def wait_for_holder(
    serve: Serve, *, state: CaseState = CaseState.RUNNING, attempt: int = 1, timeout_s: float = 120
) -> int:
    """Wait until a worker is in the middle of a case, and return the worker's process id."""
    found: list[int] = []

    def is_held() -> bool:
        found[:] = [
            pid_of(case) for case in ledger.cases(state, limit=100) if case.attempt == attempt and case.lease_owner
        ]
        return bool(found)

    with serve.ledger() as ledger:
        wait_until(is_held, timeout_s, f"a case is {state} for the {attempt}. time", every_s=0.005)
    return found[0]


def pid_of(case: Case) -> int:
    """The process that holds a case."""
    return int(str(case.lease_owner).rpartition(":")[2])
