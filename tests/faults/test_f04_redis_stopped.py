"""F04: Redis is away for a while, ended or not answering, while the service is idle and while it is busy.

Work goes on without an operator, a case in work is finished by the worker that has it, and the logs have a line when
the state changes, not one per second.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from segqa_dicom.ledger import CaseState
from tests.faults.celery_service import CeleryService, wait_for_holder
from tests.servers.process import Process, wait_until
from tests.servers.service import send
from tests.service.cases import TINY, copies, small_case

pytestmark = pytest.mark.servers

AWAY_S = 12.0
"""Long enough for several attempts of each process to reach it."""


def broker_events(log: str) -> list[str]:
    """What a process says about the broker."""
    events = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [one["event"] for one in events if one.get("job") == "broker" or "broker" in one["event"]]


def said_since(process: Process, earlier: str) -> list[str]:
    """Lines in a log that are no events, besides blank ones."""
    lines = process.output()[len(earlier) :].splitlines()
    return [line for line in lines if line.strip() and not line.startswith("{")]


@pytest.mark.parametrize("is_ended", [True, False], ids=["ended", "suspended"])
def test_f04_work_goes_on_when_redis_is_back(tmp_path: Path, *, is_ended: bool) -> None:
    in_work, sent_meanwhile, sent_afterwards = copies(small_case(tmp_path / "case", TINY), 3)
    with CeleryService(tmp_path / "service", workers=1, beat=True) as service:
        serve, worker, beat = service.serve, service.workers[0].process, service.beat
        assert beat is not None
        service.wait_for_workers()
        assert send(serve.dicom_port, in_work) == 0
        child = wait_for_holder(serve)
        os.kill(child, signal.SIGSTOP)  # it is in the middle of the case when Redis goes
        before = {process: process.output() for process in (worker, beat)}
        if is_ended:
            service.redis.stop()
        else:
            os.kill(service.redis.process.pid, signal.SIGSTOP)
        os.kill(child, signal.SIGCONT)
        serve.wait_for_cases(1)
        assert [case.attempt for case in serve.cases()] == [1]

        assert send(serve.dicom_port, sent_meanwhile) == 0
        wait_until(lambda: serve.cases(CaseState.READY), 60, "the next case waits in the ledger")
        gone_at = time.monotonic()
        wait_until(lambda: broker_events(serve.log.read_text()) == ["job fails"], 60, "the coordinator tells it")
        wait_until(lambda: time.monotonic() > gone_at + AWAY_S, 2 * AWAY_S)
        if is_ended:
            service.redis.start()
        else:
            os.kill(service.redis.process.pid, signal.SIGCONT)
        serve.wait_for_cases(2)
        assert send(serve.dicom_port, sent_afterwards) == 0
        serve.wait_for_cases(3)
        assert [case.attempt for case in serve.cases()] == [1, 1, 1]
        told = ["job fails", "job works again"]
        wait_until(lambda: broker_events(serve.log.read_text()) == told, 60, "the coordinator tells that it is back")
        for process, earlier in before.items():
            assert process.is_running
            told = ["broker lost", "broker works again"] if is_ended else []
            wait_until(lambda: broker_events(process.output()) == told, 60, "the log tells each change once")  # noqa: B023
            assert said_since(process, earlier) == []
