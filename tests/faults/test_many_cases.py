"""Many cases at once, while one worker after the other is killed in the middle of a case.

Passes if all are confirmed, and each document is in the archive once. With SEGQA_FULL_LOAD=1: 200 cases, a kill every 20 s.
"""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from segqa_dicom.ledger import Case, CaseState
from tests.faults.bench import ON_ITS_WAY
from tests.servers.process import wait_until
from tests.servers.service import START_S, Serve, send, uids
from tests.service.cases import TINY, copies, small_case

pytestmark = pytest.mark.servers

IS_FULL = os.environ.get("SEGQA_FULL_LOAD") == "1"
CASES, KILL_EVERY_S, KILLS, TIMEOUT_S = (200, 20.0, 1000, 3600.0) if IS_FULL else (10, 4.0, 3, 240.0)
WORKERS = 4


class Killer:
    """Kills a worker that works on a case, every few seconds; none twice on the same case, whose attempts are counted."""

    def __init__(self, service: Serve) -> None:
        self._service = service
        self.killed: list[str] = []
        self._next_at = 0.0

    def are_all_done(self) -> bool:
        """Kill if it is time for it; whether nothing is left to do."""
        cases = self._service.cases()
        victims = [case for case in cases if case.state is CaseState.RUNNING and case.case_id not in self.killed]
        if victims and len(self.killed) < KILLS and time.monotonic() >= self._next_at:
            self._kill(victims[0])
        return len(cases) == CASES and not ON_ITS_WAY & {case.state for case in cases}

    def _kill(self, case: Case) -> None:
        pid = int(str(case.lease_owner).rpartition(":")[2])
        if pid not in self._service.children():
            return  # dead already
        os.kill(pid, signal.SIGKILL)
        self.killed.append(case.case_id)
        self._next_at = time.monotonic() + KILL_EVERY_S


@pytest.mark.timeout(int(TIMEOUT_S) + 600)
def test_all_cases_are_reviewed_once_while_workers_are_killed(tmp_path: Path) -> None:
    cases = copies(small_case(tmp_path / "case", TINY), CASES)
    started = time.monotonic()
    with Serve(tmp_path / "service", workers=WORKERS) as service:
        killer = Killer(service)
        with ThreadPoolExecutor(1) as sender:
            sending = sender.submit(send, service.dicom_port, *cases)
            wait_until(lambda: killer.are_all_done() or sending.done(), TIMEOUT_S, "all are sent", every_s=0.1)
            assert sending.result() == 0
        sent = time.monotonic()
        wait_until(killer.are_all_done, TIMEOUT_S, "all cases are done", every_s=0.1)
        done = time.monotonic()
        ended = service.cases()
        assert [case.state for case in ended] == [CaseState.CONFIRMED] * CASES
        assert CASES <= sum(case.attempt for case in ended) <= CASES + len(killer.killed)
        assert len(killer.killed) >= (3 if IS_FULL else 1)
        documents = service.documents()
        assert uids(documents) == sorted(uid for case in ended for uid in case.documents)
        assert len({str(one.StudyInstanceUID) for one in documents}) == CASES
        # The cases have the same pixels: so each has the same number of documents.
        assert {len(case.documents) for case in ended} == {len(documents) // CASES}
        wait_until(lambda: len(service.children()) >= WORKERS + 3, START_S, "all processes are there again")
        log = service.log.read_text()
        assert "Traceback" not in log, log
    print(
        f"{CASES} cases, {WORKERS} workers, {len(killer.killed)} killed: sent in {sent - started:.0f} s, "
        f"done {done - sent:.0f} s later, {len(documents)} documents"
    )
