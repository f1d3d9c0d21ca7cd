"""F21: two coordinators and two `segqa reconcile` at once; workers that claim the same case.

Passes if each case is opened and reviewed once; of those that claim a case one has it, the others stop without an error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from segqa_dicom.ledger import CaseState
from tests.faults.bench import Bench
from tests.servers.process import Process, wait_until
from tests.servers.service import uids
from tests.service.cases import TINY, copies, small_case

pytestmark = pytest.mark.servers

CLAIMANTS = 3


@pytest.fixture
def ledger(request: pytest.FixtureRequest) -> Iterator[str | None]:
    if request.param == "sqlite":
        yield None
        return
    with request.getfixturevalue("postgres").database() as url:
        yield url


def ledgers(first: str, second: str) -> pytest.MarkDecorator:
    """Both databases, the second one in the tier of long tests only."""
    return pytest.mark.parametrize("ledger", [first, pytest.param(second, marks=pytest.mark.long)], indirect=True)


@ledgers("sqlite", "postgresql")
def test_f21_two_coordinators_and_two_reconcilers_open_each_case_once(tmp_path: Path, ledger: str | None) -> None:
    cases = copies(small_case(tmp_path / "case", TINY), 4)
    with Bench(tmp_path / "bench", ledger=ledger) as bench:
        coordinators = [bench.start("coordinator"), bench.start("coordinator")]
        bench.receive(*cases)
        repairs = [bench.start_command("reconcile") for _ in range(2)]
        workers = [bench.start("worker"), bench.start("worker")]
        repairs += [bench.start_command("reconcile") for _ in range(2)]
        ended = bench.wait_for_cases(len(cases))
        assert [one.wait(60) for one in repairs] == [0] * len(repairs), [one.output() for one in repairs]
        # Those that came last have found nothing to be done.
        assert bench.wait_for_cases(len(cases)) is not None
        assert [case.attempt for case in bench.cases()] == [1] * len(cases)
        assert uids(bench.documents()) == sorted(uid for case in ended for uid in case.documents)
        assert all(process.is_running for process in (*coordinators, *workers))
        for process in coordinators:
            assert "fails" not in process.output(), process.output()
        with bench.ledger() as opened:
            assert opened.refusals(10) == []
        assert list((bench.data / "quarantine").iterdir()) == []


@ledgers("postgresql", "sqlite")
def test_f21_of_those_that_claim_one_case_at_once_one_has_it(tmp_path: Path, ledger: str | None) -> None:
    case = small_case(tmp_path / "case", TINY)
    with Bench(tmp_path / "bench", ledger=ledger) as bench:
        (opened,) = bench.open_cases(case)
        claimants = [bench.start_held("", "--case", opened.case_id, role="claim") for _ in range(CLAIMANTS)]
        for one in claimants:
            one.wait_until_reached()
        for one in claimants:
            one.let_go()
        assert [one.wait(90) for one in claimants] == [0] * CLAIMANTS, [one.output() for one in claimants]
        assert sorted(_said(one) for one in claimants) == [False] * (CLAIMANTS - 1) + [True]
        (ended,) = bench.cases()
        assert (ended.state, ended.attempt, ended.token) == (CaseState.CONFIRMED, 1, 1)
        assert uids(bench.documents()) == sorted(ended.documents)


def _said(claimant: Process) -> bool:
    wait_until(lambda: claimant.output().splitlines()[-1] in ("true", "false"), 10, "what it said")
    return bool(json.loads(claimant.output().splitlines()[-1]))
