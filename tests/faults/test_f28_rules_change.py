"""F28: the rules are changed while cases are in flight.

Passes if a case is reviewed only by a worker that has the rules it was opened for, ends under one set of rules, and all
documents in the archive that count are of that one.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path

import pytest
from pydicom import Dataset

from segqa_dicom.ledger import Case, CaseState
from segqa_dicom.service.coordinator import Coordinator
from tests.faults.actors import COMPUTED
from tests.faults.bench import Bench, reviewed
from tests.servers.process import wait_until
from tests.servers.service import START_S, Serve, send, uids
from tests.service.cases import TINY, small_case

pytestmark = pytest.mark.servers


@pytest.fixture
def other_rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.toml"
    path.write_text("[rules.H1]\nenabled = false\n")
    return path


def _rules_of(documents: Iterable[Dataset]) -> set[str]:
    """Hashes of the rules that documents say they were made by."""
    texts = [str(element.value) for one in documents for element in one.iterall() if element.keyword == "TextValue"]
    return {text.removeprefix("ruleset_hash=") for text in texts if text.startswith("ruleset_hash=")}


def _hash(bench: Bench, rules: Path | None = None) -> str:
    return bench.setup(ruleset=rules).ruleset().hash


def _by_revision(bench: Bench) -> list[Case]:
    return sorted(bench.cases(), key=lambda case: case.revision)


def test_f28_a_worker_with_other_rules_leaves_a_case_to_those_that_have_its_rules(
    tmp_path: Path, other_rules: Path
) -> None:
    case = small_case(tmp_path / "case", TINY)
    with Bench(tmp_path / "bench") as bench:
        bench.open_cases(case)
        bench.start("worker", "--ruleset", other_rules)
        wait_until(lambda: bench.cases()[0].reason, 60, "the case is handed back")
        (waiting,) = bench.cases()
        assert (waiting.state, waiting.attempt) == (CaseState.READY, 0)
        assert bench.documents() == []
        bench.start("coordinator")
        bench.start("worker")
        (ended,) = bench.wait_for_cases(1)
        assert ended.attempt == 1
        assert uids(bench.documents()) == sorted(ended.documents) == reviewed(case)
        assert _rules_of(bench.documents()) == {_hash(bench)} == {ended.ruleset_hash}


def test_f28_after_an_upgrade_a_case_that_waited_is_reviewed_by_the_new_rules(
    tmp_path: Path, other_rules: Path
) -> None:
    case = small_case(tmp_path / "case", TINY)
    with Bench(tmp_path / "bench") as bench:
        bench.open_cases(case)
        bench.start("worker", "--ruleset", other_rules)
        bench.start("coordinator", "--ruleset", other_rules)
        bench.wait_for_cases(1)
        old, new = _by_revision(bench)
        assert (old.state, old.attempt, old.documents) == (CaseState.SUPERSEDED, 0, ())
        assert new.state is CaseState.CONFIRMED
        expected = reviewed(case, other_rules)
        assert uids(bench.documents()) == sorted(new.documents) == expected
        assert _rules_of(bench.documents()) == {_hash(bench, other_rules)} == {new.ruleset_hash}


def test_f28_a_case_that_is_in_work_ends_under_the_old_rules_and_is_replaced_under_the_new_ones(
    tmp_path: Path, other_rules: Path
) -> None:
    case = small_case(tmp_path / "case", TINY)
    with Bench(tmp_path / "bench") as bench:
        bench.open_cases(case)
        slow = bench.start_held(COMPUTED)
        slow.wait_until_reached()
        bench.start("coordinator", "--ruleset", other_rules)
        bench.start("worker", "--ruleset", other_rules)
        wait_until(lambda: len(bench.cases()) == 2, 60, "a newer revision is opened")
        slow.let_go()
        bench.wait_for_cases(1)
        old, new = _by_revision(bench)
        assert (old.state, old.attempt, new.attempt) == (CaseState.SUPERSEDED, 1, 1)
        documents = bench.documents()
        before = [one for one in documents if one.SOPInstanceUID in old.documents]
        after = [one for one in documents if one.SOPInstanceUID in new.documents]
        assert len(before) + len(after) == len(documents)
        assert uids(before) == reviewed(case)
        assert _rules_of(before) == {_hash(bench)} == {old.ruleset_hash}
        assert _rules_of(after) == {_hash(bench, other_rules)} == {new.ruleset_hash}
        # Whoever reads the archive sees which of them count.
        assert all("PredecessorDocumentsSequence" in one for one in after)


def test_f28_when_an_upgrade_is_taken_back_no_case_waits_for_rules_that_nobody_has(
    tmp_path: Path, other_rules: Path
) -> None:
    case = small_case(tmp_path / "case", TINY)
    with Bench(tmp_path / "bench") as bench:
        bench.open_cases(case)
        upgraded = Coordinator(bench.setup(ruleset=other_rules))
        upgraded.walk()
        assert upgraded.schedule_all() == 1
        upgraded.close()
        assert [one.state for one in _by_revision(bench)] == [CaseState.SUPERSEDED, CaseState.READY]
        bench.start("worker")
        bench.start("coordinator")
        (ended,) = (one for one in bench.wait_for_cases(1) if one.state is CaseState.CONFIRMED)
        assert len(bench.cases()) == 2
        assert uids(bench.documents()) == sorted(ended.documents) == reviewed(case)
        assert _rules_of(bench.documents()) == {_hash(bench)} == {ended.ruleset_hash}


def test_f28_rules_are_read_once_and_new_ones_give_new_revisions_after_a_restart(
    tmp_path: Path, other_rules: Path
) -> None:
    case = small_case(tmp_path / "case", TINY)
    with Serve(tmp_path / "service", settings={"SEGQA_RULESET": str(other_rules)}) as service:
        other_rules.write_text("[rules.H2]\nenabled = false\n")
        os.kill(service.pid_of("worker 1"), signal.SIGKILL)
        wait_until(lambda: '"process": "worker 1"' in service.log.read_text(), START_S, "the worker is started again")
        assert send(service.dicom_port, case) == 0
        service.wait_for_cases(1)
        (first,) = service.cases()
        documents = service.documents()
        assert _rules_of(documents) == {first.ruleset_hash}
        assert service.stop() == 0
        service.start()
        wait_until(lambda: len(service.cases(CaseState.SUPERSEDED)) == 1, START_S, "a newer revision is done")
        service.wait_for_cases(1)
        (second,) = service.cases(CaseState.CONFIRMED)
        assert second.ruleset_hash != first.ruleset_hash
        new = [one for one in service.documents() if one.SOPInstanceUID not in uids(documents)]
        assert uids(new) == sorted(second.documents)
        assert _rules_of(new) == {second.ruleset_hash}
        assert all("PredecessorDocumentsSequence" in one for one in new)
