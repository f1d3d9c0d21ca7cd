"""F23: SIGTERM while cases are in work.

Passes if the case in work is finished, every process ends with exit code 0 within the grace, the other cases wait as they
did, and no attempt is wasted.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from segqa_dicom.ledger import CaseState
from tests.faults.actors import COMPUTED
from tests.faults.bench import Bench
from tests.faults.celery_service import CeleryService
from tests.servers.process import wait_until
from tests.servers.service import Serve, send, uids
from tests.service.cases import TINY, copies, small_case

pytestmark = pytest.mark.servers

CASES = 3


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.long)])
def test_f23_the_service_ends_between_two_cases_and_goes_on_with_the_next(
    tmp_path: Path, number: signal.Signals
) -> None:
    cases = copies(small_case(tmp_path / "case", TINY), CASES)
    with Serve(tmp_path / "service") as service:
        assert send(service.dicom_port, *cases) == 0
        wait_until(lambda: service.cases(CaseState.RUNNING), 120, "a case is in work", every_s=0.02)
        assert service.stop(number) == 0
        assert "process killed" not in service.log.read_text()
        left = service.cases()
        assert {case.state for case in left} <= {CaseState.CONFIRMED, CaseState.READY}
        assert [case.attempt for case in left if case.state is CaseState.READY] == [0] * (
            len(left) - len(service.cases(CaseState.CONFIRMED))
        )
        service.start()
        service.wait_for_cases(CASES)
        ended = service.cases()
        assert [case.attempt for case in ended] == [1] * CASES
        assert uids(service.documents()) == sorted(uid for case in ended for uid in case.documents)


def test_f23_a_celery_worker_ends_between_two_cases_and_another_one_goes_on(tmp_path: Path) -> None:
    cases = copies(small_case(tmp_path / "case", TINY), CASES)
    with CeleryService(tmp_path / "service", workers=1) as service:
        assert send(service.serve.dicom_port, *cases) == 0
        wait_until(lambda: service.serve.cases(CaseState.RUNNING), 120, "a case is in work", every_s=0.02)
        (worker,) = service.workers
        assert worker.process.stop(timeout_s=90) == 0, worker.process.output()
        left = service.serve.cases()
        assert {case.state for case in left} <= {CaseState.CONFIRMED, CaseState.READY}
        with worker:
            service.serve.wait_for_cases(CASES)
        ended = service.serve.cases()
        assert [case.attempt for case in ended] == [1] * CASES
        assert uids(service.serve.documents()) == sorted(uid for case in ended for uid in case.documents)


def test_f23_a_case_that_takes_longer_than_the_grace_is_handed_back_with_its_attempt(tmp_path: Path) -> None:
    case = small_case(tmp_path / "case", TINY)
    with Bench(tmp_path / "bench", settings={"SEGQA_GRACE_S": "1"}) as bench:
        bench.open_cases(case)
        worker = bench.start_held(COMPUTED, role="loop")
        worker.wait_until_reached()
        assert worker.stop() == 0
        (left,) = bench.cases()
        assert (left.state, left.attempt, left.reason) == (CaseState.READY, 0, "its worker was told to end")


@pytest.mark.long
def test_f23_the_service_waits_while_a_large_case_is_handed_back(tmp_path: Path) -> None:
    case = small_case(tmp_path / "case", (256, 320, 320))
    with Serve(tmp_path / "service", settings={"SEGQA_GRACE_S": "1", "SEGQA_DEBOUNCE_S": "10"}) as service:
        assert send(service.dicom_port, case) == 0
        wait_until(lambda: service.cases(CaseState.RUNNING), 120, "the case is in work", every_s=0.02)
        assert service.stop() == 0
        assert "process killed" not in service.log.read_text()
        (left,) = service.cases()
        assert (left.state, left.attempt, left.reason) == (CaseState.READY, 0, "its worker was told to end")
