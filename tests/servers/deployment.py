"""All servers of a deployment, as real processes on free ports of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from .orthanc import Orthanc
from .process import Process
from .redis import RedisServer
from .service import CeleryWorkers, Serve, celery_beat


class Deployment:
    """Orthanc, Redis, ``segqa serve`` without workers of its own, Celery workers and beat.

    workers : processes of ``celery worker``, each with one child
    ledger : SQLAlchemy URL
    """

    def __init__(
        self, folder: Path, *, ledger: str, workers: int = 2, settings: Mapping[str, str] | None = None
    ) -> None:
        self.folder, self._count, self._ledger = folder, workers, ledger
        self._settings = dict(settings or {})
        self._stack = ExitStack()
        self.workers: list[CeleryWorkers] = []

    orthanc: Orthanc
    redis: RedisServer
    serve: Serve
    beat: Process

    def __enter__(self) -> Deployment:
        with ExitStack() as stack:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.orthanc = stack.enter_context(Orthanc(self.folder / "orthanc"))
            self.redis = stack.enter_context(RedisServer(self.folder / "redis", appendonly=True))
            ledger = self._ledger
            settings = {**self._settings, "SEGQA_BROKER": self.redis.url()}
            self.serve = Serve(
                self.folder / "serve", archive=self.orthanc.dicomweb_url, ledger=ledger, workers=0, settings=settings
            )
            stack.enter_context(self.serve)
            self.environment = {**settings, "SEGQA_ARCHIVE": self.orthanc.dicomweb_url, "SEGQA_LEDGER": ledger}
            for n in range(1, self._count + 1):
                self.add_worker(f"worker{n}", stack)
            self.beat = stack.enter_context(celery_beat(self.folder / "beat", self._with_data("beat")))
            self._stack = stack.pop_all()
        return self

    def add_worker(self, name: str, stack: ExitStack | None = None) -> CeleryWorkers:
        """Start another ``celery worker``."""
        worker = CeleryWorkers(self.folder / name, self._with_data(name), name=name)
        (stack or self._stack).enter_context(worker)
        self.workers.append(worker)
        return worker

    def _with_data(self, name: str) -> dict[str, str]:
        return {**self.environment, "SEGQA_DATA": str(self.folder / name / "data")}

    def __exit__(self, *_: object) -> None:
        self._stack.close()
