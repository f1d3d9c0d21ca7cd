"""/metrics in the text format of Prometheus.

What the service has done is read from the ledger at each request, so that it is right whichever process answers; only
the requests of this process are counted here.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from segqa_dicom.errors import SegQaError
from segqa_dicom.web.state import State, state_of

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS_S = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)


class RequestMetrics:
    """Requests that this process has answered."""

    def __init__(self, registry: CollectorRegistry) -> None:
        names = ["route", "method"]
        self._requests = Counter("segqa_requests", "Requests answered.", [*names, "status"], registry=registry)
        self._seconds = Histogram(
            "segqa_request_seconds", "Time to answer.", names, buckets=_BUCKETS_S, registry=registry
        )

    def note(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request; routes are patterns, of which there are few."""
        method = method if method in ("GET", "HEAD", "POST", "DELETE", "OPTIONS") else "other"
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route, method).observe(seconds)


class ServiceMetrics(Collector):
    """The state of the service at the time of asking."""

    def __init__(self, state: State) -> None:
        self._state = state

    def describe(self) -> list[Metric]:
        """Nothing: registering must not ask the ledger."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The metrics; without the ledger's if it does not answer."""
        yield GaugeMetricFamily("segqa_inbox_files", "Objects received, not archived yet.", self._state.inbox.count())
        free = self._state.inbox.free_bytes()
        yield GaugeMetricFamily("segqa_inbox_free_bytes", "Space left on the disk of the inbox.", free)
        try:
            summary = self._state.ledger.summary(self._state.clock())
        except SegQaError:
            yield GaugeMetricFamily("segqa_ledger_up", "Whether the ledger answers.", 0)
            return
        yield GaugeMetricFamily("segqa_ledger_up", "Whether the ledger answers.", 1)
        cases = GaugeMetricFamily("segqa_cases", "Cases by state.", labels=["state"])
        for name, count in sorted(summary.cases.items()):
            cases.add_metric([str(name)], count)
        yield cases
        age = summary.oldest_runnable_s or 0
        yield GaugeMetricFamily("segqa_oldest_runnable_seconds", "Age of the oldest case that could run.", age)
        yield GaugeMetricFamily("segqa_outbox_documents", "Documents not confirmed by the archive.", summary.outbox)
        yield CounterMetricFamily("segqa_attempts", "Attempts of all cases.", summary.attempts)
        quarantined = summary.quarantined_objects
        yield CounterMetricFamily("segqa_quarantined_objects", "Objects refused, without a case.", quarantined)
        yield CounterMetricFamily("segqa_conflicts", "Objects that came with another content.", summary.conflicts)


def add_metrics(state: State) -> tuple[CollectorRegistry, RequestMetrics]:
    """The registry of an application."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ServiceMetrics(state))
    return registry, RequestMetrics(registry)


async def metrics(request: Request) -> Response:
    """GET /metrics."""
    state_of(request)
    text = await run_in_threadpool(generate_latest, request.app.state.registry)
    return Response(text, media_type=CONTENT_TYPE)
