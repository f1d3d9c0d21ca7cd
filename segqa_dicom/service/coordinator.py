"""The process that takes in, schedules and repairs. There may be several: archive and ledger keep them apart."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from segqa_dicom import log
from segqa_dicom.archive.feed import Feed
from segqa_dicom.errors import PeerError
from segqa_dicom.findings import MODALITIES, index_news
from segqa_dicom.reviews.workflow.delivery import deliver
from segqa_dicom.service.intake import BATCH, Intake
from segqa_dicom.service.readiness import QUIET_S
from segqa_dicom.service.reconcile import Repaired, sweep, walk
from segqa_dicom.service.schedule import Scheduler
from segqa_dicom.service.setup import Setup
from segqa_dicom.service.wiring import Components

_TICK_S = 0.1
_WALK_EVERY = 20
"""Of so many sweeps one is a walk through the archive, where the archive has no feed."""
_LONGEST_PAUSE_S = 15.0
_NEWS_AT_ONCE = 500
_INDEXING_S = 0.2


@dataclass
class _Job:
    """Something to be done again and again.

    run : is given the time, and returns whether there is more to do at once
    every_s : pause between two runs
    """

    name: str
    run: Callable[[float], bool]
    every_s: float
    due_at: float = 0.0
    failures: int = 0


class Coordinator:
    """Does what is due, for as long as it is not told to stop.

    A job whose peer fails rests a little longer each time; the log says when it began to fail and when it was over.
    """

    def __init__(self, setup: Setup, *, clock: Callable[[], float] = time.time) -> None:
        settings, components = setup.settings, Components(setup, clock=clock)
        self._clock = clock
        self._archive, self._ledger, self._arrivals = components.archive, components.ledger, components.arrivals
        self._findings, self._reviews = components.index, components.signed_reviews
        self._intake = Intake(
            components.inbox,
            self._archive,
            self._ledger,
            self._arrivals,
            quarantine=setup.quarantine_folder,
            limits=components.limits,
        )
        self._scheduler = Scheduler(
            self._archive,
            self._ledger,
            components.ruleset,
            components.limits,
            deadline_s=settings.deadline_s,
            work_folder=setup.work_folder,
        )
        self._setup, self._sweeps = setup, 0
        self._feed: Feed | None = None
        self._documents: Feed | None = None
        self._jobs = [
            _Job("intake", self._take_in, _TICK_S),
            _Job("schedule", self._schedule, 0.5),
            _Job("sweep", self._sweep, settings.sweep_s),
            _Job("findings", self._index_documents, settings.poll_s),
            _Job("reviews", self._deliver_reviews, settings.poll_s),
            _Job("deleted reviews", self._forget_reviews, settings.sweep_s),
        ]
        if not setup.is_folder:
            self._jobs.append(_Job("feed", self._read_feed, settings.poll_s))
        if settings.broker:
            from segqa_dicom.service.broker import Broker

            self._broker = Broker(settings)
            self._jobs.append(_Job("broker", self._send, 0.5))

    def run(self, stopped: Event) -> None:
        """Work until `stopped` is set."""
        while not stopped.is_set():
            if not self.run_once():
                stopped.wait(_TICK_S)

    def run_once(self) -> bool:
        """Do what is due; returns whether there is more to do at once."""
        more = False
        for job in self._jobs:
            if job.due_at <= time.monotonic():
                more |= self._run(job)
        return more

    def sweep_and_send(self) -> None:
        """The part of the work that needs no state of its own, for `celery beat`: repair, schedule, send."""
        for job in self._jobs:
            if job.name in ("sweep", "schedule", "broker"):
                self._run(job)

    def walk(self) -> Repaired:
        """Compare the whole archive with the ledger now."""
        return walk(self._archive, self._ledger, self._arrivals, now=self._clock())

    def schedule_all(self) -> int:
        """Evaluate everything that is known, without waiting for quiet; returns how many cases were opened."""
        opened = 0
        later = self._clock() + self._setup.settings.debounce_s + QUIET_S
        while self._ledger.due_subjects(later, 1):
            opened += len(self._scheduler.run_once(now=later))
        return opened

    def close(self) -> None:
        """Close the connections to the ledger."""
        self._ledger.close()

    def _run(self, job: _Job) -> bool:
        try:
            more = job.run(self._clock())
        except (PeerError, OSError) as error:
            pause_s = min(_LONGEST_PAUSE_S, 2.0**job.failures)
            if job.failures == 0:
                log.event("job fails", job=job.name, error=type(error).__name__, reason=str(error))
            job.failures += 1
            job.due_at = time.monotonic() + pause_s
            return False
        if job.failures:
            log.event("job works again", job=job.name, failures=job.failures)
            job.failures = 0
        job.due_at = time.monotonic() + (0.0 if more else job.every_s)
        return more

    def _take_in(self, now: float) -> bool:
        return self._intake.run_once(now=now) == BATCH

    def _schedule(self, now: float) -> bool:
        return bool(self._scheduler.run_once(now=now))

    def _sweep(self, now: float) -> bool:
        if self._sweeps % _WALK_EVERY == 0 and self._setup.is_folder:
            self.walk()
        else:
            sweep(self._archive, self._ledger, now=now)
        self._sweeps += 1
        return False

    def _send(self, now: float) -> bool:
        self._broker.feed(self._ledger, now=now)
        return False

    def _index_documents(self, _: float) -> bool:
        """What documents say, into the index of findings; a little at a time, because others wait for their turn."""
        setup = self._setup
        if self._documents is None:
            self._documents = setup.open_feed(self._archive, MODALITIES)
        found = index_news(
            self._findings,
            self._documents,
            self._archive,
            name=setup.archive,
            folder=setup.work_folder,
            limits=setup.review.limits(),
            budget_s=_INDEXING_S,
        )
        return not found.is_done

    def _deliver_reviews(self, now: float) -> bool:
        """Documents of readers that the archive has not confirmed: it was away, or their process was killed."""
        deliver(self._ledger, self._archive, self._findings, now=now)
        self._reviews.refresh()
        return False

    def _forget_reviews(self, _: float) -> bool:
        self._reviews.forget_deleted()
        return False

    def _read_feed(self, now: float) -> bool:
        if self._feed is None:
            self._feed = self._setup.open_feed(self._archive)
        name = f"feed {self._setup.archive}"
        news = self._feed.news(self._ledger.cursor(name), _NEWS_AT_ONCE)
        self._arrivals.note(news.instances, now=now)
        for series in news.touched_series:
            if series.modality == "SEG":
                self._arrivals.note(
                    self._archive.list_instances(series.study_instance_uid, series.series_instance_uid), now=now
                )
        self._arrivals.note_series((one for one in news.touched_series if one.modality == "CT"), now=now)
        # Last: what a crash leaves out is read again.
        self._ledger.set_cursor(name, news.cursor)
        return not news.done
