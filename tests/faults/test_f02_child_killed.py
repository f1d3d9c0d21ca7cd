"""F02: SIGKILL of the child that works on a case, again and again, as when memory is short.

The case is tried three times, then it is in quarantine with its reason; the good case behind it is finished meanwhile.
"""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from segqa_dicom.ledger import CaseState
from tests.faults.celery_service import CeleryService, pid_of, wait_for_holder
from tests.servers.process import wait_until
from tests.servers.service import Serve, send
from tests.service.cases import copies, small_case

pytestmark = pytest.mark.servers

ATTEMPTS = 3
HASTY = {"SEGQA_LEASE_S": "3", "SEGQA_SWEEP_S": "1"}
"""Three leases must end, one after the other."""


def kill_at_each_attempt(serve: Serve, case_id: str, killed: set[int]) -> None:
    """Whoever works on the case is killed in the middle of it, until nobody does any more."""

    def is_given_up() -> bool:
        case = ledger.case(case_id)
        if case.state is CaseState.RUNNING and case.attempt not in killed:
            os.kill(pid_of(case), signal.SIGKILL)
            killed.add(case.attempt)
        return case.state is CaseState.QUARANTINED

    with serve.ledger() as ledger:
        wait_until(is_given_up, 180, "the case is in quarantine", every_s=0.005)


def check(serve: Serve, bad: Path, good: Path) -> None:
    """Send both; the bad one is killed three times."""
    assert send(serve.dicom_port, bad) == 0
    os.kill(wait_for_holder(serve), signal.SIGKILL)
    (case,) = serve.cases()
    killed = {1}
    with ThreadPoolExecutor(1) as sender:
        sent = sender.submit(send, serve.dicom_port, good)
        kill_at_each_attempt(serve, case.case_id, killed)
        assert sent.result() == 0
    assert killed == set(range(1, ATTEMPTS + 1))
    serve.wait_for_cases(1)
    quarantined = json.loads(serve.segqa("quarantine", "list", "--json").stdout)["cases"]
    assert [one["case_id"] for one in quarantined] == [case.case_id]
    assert quarantined[0]["reason"] == "its worker died or ran out of time 3 times"
    assert quarantined[0]["attempt"] == ATTEMPTS


def test_f02_a_case_that_kills_the_celery_child_ends_in_quarantine(tmp_path: Path) -> None:
    good = small_case(tmp_path / "case")
    (bad,) = copies(good, 1)
    with CeleryService(tmp_path / "service", workers=1, settings=HASTY) as service:
        service.wait_for_workers()
        check(service.serve, bad, good)


def test_f02_a_case_that_kills_the_worker_ends_in_quarantine_and_can_be_replayed(tmp_path: Path) -> None:
    good = small_case(tmp_path / "case")
    (bad,) = copies(good, 1)
    with Serve(tmp_path / "service", workers=1, settings=HASTY) as service:
        check(service, bad, good)
        (case,) = service.cases(CaseState.QUARANTINED)
        assert service.segqa("replay", case.case_id).returncode == 0
        service.wait_for_cases(2)
