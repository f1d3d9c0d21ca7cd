"""F29: the ledger is set back to a backup, or deleted altogether.

Passes if `segqa reconcile` and a start of the service restore every case from the archive, and no document is made twice.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from segqa_dicom.ledger import CaseState
from tests.faults.bench import Bench
from tests.servers.orthanc import Orthanc
from tests.servers.service import Serve, send, uids
from tests.service.cases import TINY, copies, small_case

pytestmark = pytest.mark.servers


def _backup(ledger: Path, target: Path) -> None:
    with closing(sqlite3.connect(ledger)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)


def _replace(ledger: Path, backup: Path | None) -> None:
    for path in ledger.parent.glob(f"{ledger.name}*"):
        path.unlink()
    if backup is not None:
        ledger.write_bytes(backup.read_bytes())


@pytest.mark.parametrize("is_deleted", [False, True], ids=["of yesterday", "deleted"])
def test_f29_reconcile_restores_a_ledger_from_the_archive(tmp_path: Path, *, is_deleted: bool) -> None:
    """The backup was made while a case was in work: its lease and its attempt are in it."""
    old, new = copies(small_case(tmp_path / "case", TINY), 2)
    with Bench(tmp_path / "bench") as bench:
        bench.open_cases(old)
        with bench.ledger() as ledger:
            assert ledger.claim_next("somebody", now=1.0, lease_s=6, max_attempts=3)
        backup = tmp_path / "backup"
        _backup(bench.data / "ledger.sqlite3", backup)
        running = [bench.start("coordinator"), bench.start("worker")]
        bench.receive(new)
        before = bench.wait_for_cases(2)
        documents = uids(bench.documents())
        assert [process.stop() for process in running] == [0, 0]

        _replace(bench.data / "ledger.sqlite3", None if is_deleted else backup)
        reconciled = bench.start_command("reconcile", "--json")
        assert reconciled.wait(60) == 0, reconciled.output()
        # What is noted is to be done; the documents are found then.
        bench.start("worker")
        after = bench.wait_for_cases(2)
        assert uids(bench.documents()) == documents
        assert sorted(case.key for case in after) == sorted(case.key for case in before)
        assert sorted(uid for case in after for uid in case.documents) == documents
        again = bench.start_command("reconcile", "--json")
        assert again.wait(60) == 0
        assert '"opened": 0' in again.output()


@pytest.mark.parametrize(
    "is_deleted", [pytest.param(False, id="of yesterday", marks=pytest.mark.long), pytest.param(True, id="deleted")]
)
def test_f29_a_start_of_the_service_restores_a_ledger_from_the_archive(tmp_path: Path, *, is_deleted: bool) -> None:
    first, second = copies(small_case(tmp_path / "case", TINY), 2)
    with Serve(tmp_path / "service") as service:
        ledger = service.data / "ledger.sqlite3"
        assert send(service.dicom_port, first) == 0
        service.wait_for_cases(1)
        backup = tmp_path / "backup"
        _backup(ledger, backup)
        assert send(service.dicom_port, second) == 0
        service.wait_for_cases(2)
        documents = uids(service.documents())
        assert service.stop() == 0

        _replace(ledger, None if is_deleted else backup)
        service.start()
        service.wait_for_cases(2)
        assert uids(service.documents()) == documents
        confirmed = service.cases(CaseState.CONFIRMED)
        assert sorted(uid for case in confirmed for uid in case.documents) == documents
        assert "Traceback" not in service.log.read_text()


def test_f29_a_deleted_ledger_is_restored_from_orthanc(tmp_path: Path, orthanc: Orthanc) -> None:
    cases = copies(small_case(tmp_path / "case", TINY), 2)
    with Serve(tmp_path / "service", archive=orthanc.dicomweb_url) as service:
        assert send(service.dicom_port, *cases) == 0
        service.wait_for_cases(2)
        documents = uids(service.documents())
        assert service.stop() == 0
        _replace(service.data / "ledger.sqlite3", None)
        service.start()
        service.wait_for_cases(2)
        assert uids(service.documents()) == documents
        assert sorted(uid for case in service.cases() for uid in case.documents) == documents
