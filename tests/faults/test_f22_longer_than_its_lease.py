"""F22: a case takes longer than its lease; and a worker is stopped, taken over from, and comes back.

Passes if the lease of a worker that lives is renewed, so that nobody else gets the case; and if of the worker that comes
back nothing is taken: one set of documents, those of `segqa review`.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from segqa_dicom.ledger import CaseState
from tests.faults.actors import COMPUTED, STORING
from tests.faults.bench import Bench, reviewed
from tests.servers.process import wait_until
from tests.servers.service import uids
from tests.service.cases import TINY, small_case

pytestmark = pytest.mark.servers


def test_f22_who_lives_keeps_the_case_for_longer_than_its_lease(tmp_path: Path) -> None:
    case = small_case(tmp_path / "case", TINY)
    with Bench(tmp_path / "bench") as bench:
        bench.open_cases(case)
        slow = bench.start_held(COMPUTED)
        slow.wait_until_reached()
        (running,) = bench.cases()
        first = running.lease_until or 0.0
        bench.start("worker")
        bench.start("coordinator")
        lease_s = float(bench.environment["SEGQA_LEASE_S"])
        wait_until(lambda: (bench.cases()[0].lease_until or 0.0) > first + 1.5 * lease_s, 60, "two leases have passed")
        slow.let_go()
        (ended,) = bench.wait_for_cases(1)
        assert (ended.attempt, ended.token) == (1, running.token)
        assert '"ended": "delivered"' in slow.output()
        assert uids(bench.documents()) == sorted(ended.documents) == reviewed(case)


@pytest.mark.parametrize("point", [COMPUTED, STORING])
def test_f22_who_comes_back_after_a_takeover_changes_nothing(tmp_path: Path, point: str) -> None:
    case = small_case(tmp_path / "case", TINY)
    with Bench(tmp_path / "bench") as bench:
        bench.open_cases(case)
        stopped = bench.start_held(point)
        stopped.wait_until_reached()
        os.kill(stopped.pid, signal.SIGSTOP)
        try:
            bench.start("worker")
            (ended,) = bench.wait_for_cases(1)
            documents = uids(bench.documents())
            assert documents == sorted(ended.documents) == reviewed(case)
            # What is computed is not computed again: only that one is an attempt.
            assert ended.attempt == (2 if point == COMPUTED else 1)
        finally:
            stopped.let_go()
            os.kill(stopped.pid, signal.SIGCONT)
        wait_until(lambda: "taken over" in stopped.output(), 60, "the first worker notices that it was taken over from")
        assert bench.cases() == [ended]
        assert ended.state is CaseState.CONFIRMED
        assert uids(bench.documents()) == documents
        assert stopped.is_running
