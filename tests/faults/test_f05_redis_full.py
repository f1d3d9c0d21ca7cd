"""F05: Redis has no memory left (``noeviction``). Objects are taken in, cases wait in the ledger, the log says why.

When there is room again the cases are sent and finished.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from segqa_dicom.ledger import CaseState
from tests.faults.celery_service import CeleryService
from tests.faults.test_f04_redis_stopped import broker_events
from tests.servers.process import wait_until
from tests.servers.service import send
from tests.service.cases import TINY, copies, small_case

pytestmark = pytest.mark.servers

CASES = 3


def test_f05_cases_wait_in_the_ledger_while_redis_is_full(tmp_path: Path) -> None:
    first, *others = copies(small_case(tmp_path / "case", TINY), CASES)
    with CeleryService(tmp_path / "service", workers=1) as service:
        serve = service.serve
        service.wait_for_workers()
        with service.redis.client() as client:
            client.config_set("maxmemory", 1)
            assert send(serve.dicom_port, first) == 0
            wait_until(lambda: serve.cases(CaseState.READY), 60, "the case is ready")
            wait_until(lambda: broker_events(serve.log.read_text()) == ["job fails"], 60, "the log tells it")
            assert send(serve.dicom_port, *others) == 0
            wait_until(lambda: len(serve.cases(CaseState.READY)) == CASES, 60, "all cases are ready")
            health = requests.get(f"{serve.url}/healthz", timeout=10).json()
            assert health["inbox"] == 0
            assert health["oldest_runnable_s"] > 0
            assert client.keys("assess") == []
            client.config_set("maxmemory", 0)
        serve.wait_for_cases(CASES)
        assert [case.attempt for case in serve.cases()] == [1] * CASES
        told = ["job fails", "job works again"]
        wait_until(lambda: broker_events(serve.log.read_text()) == told, 60, "the log tells that it is over")
        worker = service.workers[0].process
        assert worker.is_running
        assert broker_events(worker.output()) == ["broker lost", "broker works again"]
        assert "Traceback" not in worker.output()
