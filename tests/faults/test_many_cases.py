"""Many cases at once, while one worker after the other is killed in the middle of a case.

Passes if all are confirmed, and each document is in the archive once.
"""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from segqa_dicom.ledger import Case, CaseState
from tests.faults.bench import ON_ITS_WAY
from tests.servers.process import wait_until
from tests.servers.service import START_S, Serve, send, uids
from tests.service.cases import TINY, copies, small_case

pytestmark = pytest.mark.servers


@dataclass(frozen=True)
class Load:
    """How many cases and workers, and how often a worker is killed."""

    cases: int
    workers: int
    kill_every_s: float
    kills: int
    least_kills: int
    timeout_s: float


FEW = Load(cases=6, workers=2, kill_every_s=4.0, kills=2, least_kills=1, timeout_s=240.0)
MANY = Load(cases=200, workers=4, kill_every_s=20.0, kills=1000, least_kills=3, timeout_s=3600.0)


class Killer:
    """Kills a worker that works on a case, every few seconds; none twice on the same case, whose attempts are counted."""

    def __init__(self, service: Serve, load: Load) -> None:
        self._service, self._load = service, load
        self.killed: list[str] = []
        self._next_at = 0.0

    def are_all_done(self) -> bool:
        """Kill if it is time for it; whether nothing is left to do."""
        cases = self._service.cases()
        victims = [case for case in cases if case.state is CaseState.RUNNING and case.case_id not in self.killed]
        if victims and len(self.killed) < self._load.kills and time.monotonic() >= self._next_at:
            self._kill(victims[0])
        return len(cases) == self._load.cases and not ON_ITS_WAY & {case.state for case in cases}

    def _kill(self, case: Case) -> None:
        pid = int(str(case.lease_owner).rpartition(":")[2])
        if pid not in self._service.children():
            return  # dead already
        os.kill(pid, signal.SIGKILL)
        self.killed.append(case.case_id)
        self._next_at = time.monotonic() + self._load.kill_every_s


@pytest.mark.parametrize(
    "load",
    [
        pytest.param(FEW, id="few"),
        pytest.param(MANY, id="many", marks=[pytest.mark.long, pytest.mark.timeout(2 * MANY.timeout_s)]),
    ],
)
def test_all_cases_are_reviewed_once_while_workers_are_killed(tmp_path: Path, load: Load) -> None:
    cases = copies(small_case(tmp_path / "case", TINY), load.cases)
    started = time.monotonic()
    with Serve(tmp_path / "service", workers=load.workers) as service:
        killer = Killer(service, load)
        with ThreadPoolExecutor(1) as sender:
            sending = sender.submit(send, service.dicom_port, *cases)
            wait_until(lambda: killer.are_all_done() or sending.done(), load.timeout_s, "all are sent", every_s=0.1)
            assert sending.result() == 0
        sent = time.monotonic()
        wait_until(killer.are_all_done, load.timeout_s, "all cases are done", every_s=0.1)
        done = time.monotonic()
        ended = service.cases()
        assert [case.state for case in ended] == [CaseState.CONFIRMED] * load.cases
        assert load.cases <= sum(case.attempt for case in ended) <= load.cases + len(killer.killed)
        assert len(killer.killed) >= load.least_kills
        documents = service.documents()
        assert uids(documents) == sorted(uid for case in ended for uid in case.documents)
        assert len({str(one.StudyInstanceUID) for one in documents}) == load.cases
        # The cases have the same pixels: so each has the same number of documents.
        assert {len(case.documents) for case in ended} == {len(documents) // load.cases}
        wait_until(lambda: len(service.children()) >= load.workers + 3, START_S, "all processes are there again")
        log = service.log.read_text()
        assert "Traceback" not in log, log
    print(
        f"{load.cases} cases, {load.workers} workers, {len(killer.killed)} killed: sent in {sent - started:.0f} s, "
        f"done {done - sent:.0f} s later, {len(documents)} documents"
    )
