"""Several processes on one ledger, and processes that are killed."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import pytest

from segqa_dicom.ledger import CaseState, Ledger
from tests.ledger.consistency import check_consistent
from tests.ledger.factories import ATTEMPTS, LEASE_S, opened
from tests.servers.process import Process, wait_until

pytestmark = pytest.mark.servers

ROOT = Path(__file__).resolve().parents[2]


def program(name: str, url: str, n_processes: int, log: Path) -> Process:
    command = [sys.executable, "-m", "tests.ledger.programs", name, url, str(n_processes)]
    return Process(command, log, cwd=ROOT)


def lines(name: str, url: str, n_processes: int, log: Path) -> list[list[str]]:
    """What the processes said; fails if one of them failed."""
    with program(name, url, n_processes, log) as process:
        assert process.wait(120) == 0, process.output()
        return [line.split() for line in process.output().splitlines()]


@pytest.mark.parametrize("way", ["claim", "claim_one"])
def test_twenty_claimers_get_each_of_fifty_cases_once(
    ledger: Ledger, ledger_url: str, tmp_path: Path, way: str
) -> None:
    """F21."""
    ids = {opened(ledger, f"{number}.1", now=time.time()).case_id for number in range(50)}
    said = lines(way, ledger_url, 20, tmp_path / "log")
    claimed = [case_id for _, case_id, _, _ in said]
    assert len(claimed) == 50
    assert set(claimed) == ids
    assert {case.attempt for case in ledger.cases(CaseState.RUNNING)} == {1}


def test_processes_that_open_the_same_cases_make_one_of_each(ledger: Ledger, ledger_url: str, tmp_path: Path) -> None:
    said = lines("open_all", ledger_url, 8, tmp_path / "log")
    assert len(said) == 20
    assert len({case_id for _, case_id, _ in said}) == 20
    check_consistent(ledger)
    assert len(ledger.cases()) == 20
    assert len(ledger.cases(CaseState.READY)) == 2
    assert {case.revision for case in ledger.cases(subject="1.1")} == set(range(1, 11))


def test_processes_that_touch_the_same_subjects_lose_none(ledger: Ledger, ledger_url: str, tmp_path: Path) -> None:
    assert len(lines("touch", ledger_url, 8, tmp_path / "log")) == 8 * 40
    subjects = ledger.due_subjects(1e9, 100)
    assert len(subjects) == 7
    assert all(subject.arrived_at >= 1000 for subject in subjects)
    assert max(subject.check_at or 0 for subject in subjects) == 1044


def test_processes_may_all_migrate_at_once(ledger_url: str, tmp_path: Path) -> None:
    assert lines("migrate", ledger_url, 6, tmp_path / "log") == [["migrated", "0"]] * 6


def test_a_writer_that_is_killed_leaves_a_consistent_ledger(ledger: Ledger, ledger_url: str, tmp_path: Path) -> None:
    """What was confirmed to the writer is there, and what was not is there as a whole or not at all."""
    randomly = random.Random(20)
    confirmed: dict[str, set[str]] = {"opened": set(), "produced": set(), "delivered": set()}
    for life in range(5):
        log = tmp_path / f"log-{life}"
        n_lines = randomly.randrange(5, 40)
        with program("write", ledger_url, 1, log) as writer:
            wait_until(lambda: len(writer.output().splitlines()) >= n_lines, 60, "lines", every_s=0.003)  # noqa: B023
            writer.kill()
            # The last line may be cut off only if the writer was killed while it wrote.
            said = [line.split() for line in writer.output().splitlines() if len(line.split()) == 2]
        for what, case_id in said:
            confirmed[what].add(case_id)
        check_consistent(ledger)
    cases = {case.case_id: case for case in ledger.cases(limit=100_000)}
    assert confirmed["opened"] <= set(cases)
    for case_id in confirmed["produced"]:
        assert len(cases[case_id].documents) == 3
        assert cases[case_id].state in (CaseState.STORING, CaseState.STORED, CaseState.CONFIRMED)
    assert all(cases[case_id].state is CaseState.CONFIRMED for case_id in confirmed["delivered"])
    finish_all(ledger, time.time() + LEASE_S + 1)
    assert all(case.state is CaseState.CONFIRMED for case in ledger.cases(limit=100_000))
    assert ledger.summary(time.time()).outbox == 0


def finish_all(ledger: Ledger, now: float) -> None:
    """Do what workers would."""
    while one := ledger.claim_next("last", now=now, lease_s=LEASE_S, max_attempts=ATTEMPTS):
        if not one.to_deliver:
            assert ledger.produced(one.case_id, one.token, [], now=now, lease_s=LEASE_S)
        for document in ledger.pending_documents(one.case_id):
            assert ledger.document_stored(one.case_id, one.token, document.sop_instance_uid)
        assert ledger.delivered(one.case_id, one.token, now=now)


def test_a_full_disk_is_said_and_loses_nothing_that_was_confirmed(tmp_path: Path) -> None:
    """F19, for the ledger on SQLite."""
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    with Ledger(url) as ledger:
        ledger.migrate()
    said = lines("fill", url, 1, tmp_path / "log")
    added = [words[1] for words in said if words[0] == "added"]
    assert said[-1][0] == "refused"
    assert added
    with Ledger(url) as ledger:
        assert ledger.known_segmentations(added) == set(added)
        ledger.touch("1.1", None, arrived_at=1, check_at=1)
