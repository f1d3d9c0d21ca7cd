"""F01: SIGKILL a worker in the middle of a case. Another worker finishes the case; each document is stored once.

The time that may pass is that of the lease, two sweeps and the work.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from segqa_dicom.ledger import CaseState
from tests.faults.bench import reviewed
from tests.faults.celery_service import CeleryService, wait_for_holder
from tests.servers.process import wait_until
from tests.servers.service import Serve, send, uids
from tests.service.cases import small_case

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("state", [CaseState.RUNNING, CaseState.STORING])
def test_f01_another_worker_finishes_the_case_of_a_killed_one(tmp_path: Path, state: CaseState) -> None:
    case = small_case(tmp_path / "case")
    with Serve(tmp_path / "service", workers=2) as service:
        assert send(service.dicom_port, case) == 0
        killed = wait_for_holder(service, state=state)
        os.kill(killed, signal.SIGKILL)
        service.wait_for_cases(1)
        (confirmed,) = service.cases()
        assert confirmed.attempt == (2 if state is CaseState.RUNNING else 1)
        documents = uids(service.documents())
        wait_until(lambda: len(service.children()) >= 5, what="the worker is started again")
        assert service.stop() == 0
    assert documents == reviewed(case)


def test_f01_another_celery_worker_finishes_the_case_of_a_killed_one(tmp_path: Path) -> None:
    case = small_case(tmp_path / "case")
    with CeleryService(tmp_path / "service", workers=2) as service:
        service.wait_for_workers()
        assert send(service.serve.dicom_port, case) == 0
        child = wait_for_holder(service.serve)
        (worker,) = (one for one in service.workers if child in one.children())
        worker.process.kill()
        wait_until(lambda: not is_alive(child), what="a worker's child does not outlive it")
        service.serve.wait_for_cases(1)
        (confirmed,) = service.serve.cases()
        assert confirmed.attempt == 2
        documents = uids(service.serve.documents())
    assert documents == reviewed(case)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
