"""F20: clocks are set back by an hour, or forward by a day, while cases are in work.

Passes if no lease, pause or quiet time that a wrong clock has written lasts longer than a right one would have made it,
and every case is reviewed once: one set of documents.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from segqa_dicom.ledger import CaseState
from tests.faults.actors import COMPUTED
from tests.faults.bench import Bench, reviewed
from tests.servers.process import wait_until
from tests.servers.service import uids
from tests.service.cases import TINY, small_case

pytestmark = pytest.mark.servers

HOUR_S, DAY_S = 3600.0, 86400.0


def _clock(folder: Path, offset_s: float) -> Path:
    path = folder / "clock"
    path.write_text(str(offset_s))
    return path


@pytest.mark.parametrize(
    "wrong_s",
    [
        pytest.param(HOUR_S, id="1 h fast", marks=pytest.mark.long),
        pytest.param(DAY_S, id="1 day fast"),
        pytest.param(-HOUR_S, id="1 h slow"),
    ],
)
def test_f20_the_lease_of_a_dead_worker_with_a_wrong_clock_ends(tmp_path: Path, wrong_s: float) -> None:
    case = small_case(tmp_path / "case", TINY)
    with Bench(tmp_path / "bench") as bench:
        bench.open_cases(case)
        dead = bench.start_held(COMPUTED, "--clock", _clock(tmp_path, wrong_s))
        dead.wait_until_reached()
        dead.kill()
        bench.start("coordinator")
        bench.start("worker")
        (ended,) = bench.wait_for_cases(1)
        assert ended.attempt == 2
        assert uids(bench.documents()) == sorted(ended.documents) == reviewed(case)


@pytest.mark.parametrize(
    ("before_s", "after_s"),
    [
        pytest.param(0.0, -HOUR_S, id="back 1 h", marks=pytest.mark.long),
        pytest.param(0.0, DAY_S, id="forward 1 day"),
        pytest.param(DAY_S, 0.0, id="back 1 day"),
    ],
)
def test_f20_a_clock_that_is_set_while_a_case_is_in_work_loses_and_doubles_nothing(
    tmp_path: Path, before_s: float, after_s: float
) -> None:
    case = small_case(tmp_path / "case", TINY)
    clock = _clock(tmp_path, before_s)
    with Bench(tmp_path / "bench") as bench:
        bench.start("coordinator", "--clock", clock)
        slow = bench.start_held(COMPUTED, "--clock", clock)
        bench.receive(case)
        slow.wait_until_reached()
        clock.write_text(str(after_s))
        bench.start("worker", "--clock", clock)
        # Its lease is renewed by the new clock in time, or the other worker takes over, too early; both are right.
        until = bench.cases()[0].lease_until
        wait_until(lambda: bench.cases()[0].lease_until != until, 60, "the lease is renewed, or somebody took over")
        slow.let_go()
        (ended,) = bench.wait_for_cases(1)
        assert ended.attempt <= 2
        assert uids(bench.documents()) == sorted(ended.documents) == reviewed(case)


def test_f20_what_a_fast_clock_has_put_off_is_done_when_the_clock_is_right(tmp_path: Path) -> None:
    """Handed back by a worker with other rules, a case rests for some seconds; here for a day and some seconds."""
    case = small_case(tmp_path / "case", TINY)
    other_rules = tmp_path / "rules.toml"
    other_rules.write_text("[rules.H1]\nenabled = false\n")
    with Bench(tmp_path / "bench") as bench:
        clock = _clock(tmp_path, DAY_S)
        fast = [bench.start("coordinator", "--clock", clock)]
        fast.append(bench.start("worker", "--clock", clock, "--ruleset", other_rules))
        bench.receive(case)
        wait_until(lambda: bench.cases()[0].reason, 60, "the case is handed back")
        assert [process.stop() for process in fast] == [0, 0]
        (waiting,) = bench.cases()
        assert waiting.state is CaseState.READY
        bench.start("coordinator")
        bench.start("worker")
        (ended,) = bench.wait_for_cases(1)
        assert ended.attempt == 1
        assert uids(bench.documents()) == sorted(ended.documents)
