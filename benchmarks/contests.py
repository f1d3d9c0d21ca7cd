"""Ours and the peers in turn: one process each, warm, run after run."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.agreement import compared
from benchmarks.inputs import Study
from benchmarks.processes import Failed, Party
from benchmarks.results import Row, Timing
from benchmarks.steps import CHAIN, CHAIN_RATIO, Contest, Step
from benchmarks.worker import Worker

PATIENCE_S = 60.0
"""A party that has run for so long is not run again; the others go on."""


@dataclass(frozen=True)
class Setting:
    """How contests are held.

    every : parties that are sampled get every such structure by size
    same_process : everybody in this process; no memory is measured then
    judged : whether ratios are held against their targets, which are meant for full size
    """

    repeat: int
    every: int
    same_process: bool
    judged: bool
    say: Callable[[str], None]


class _Contestant:
    """A party with its runs so far; one that fails keeps the reason."""

    def __init__(self, party: Party | Worker | None, problem: str = "") -> None:
        self.party = party
        self.problem = problem
        self.runs: list[dict[str, float]] = []

    def attempt(self, action: Callable[[Party | Worker], Any]) -> Any:
        if self.party is None:
            return None
        try:
            return action(self.party)
        except Failed as error:
            self.party, self.problem = None, str(error)
        except Exception as error:
            if isinstance(self.party, Party):
                raise
            self.party, self.problem = None, f"{type(error).__name__}: {error}"
        return None

    def warm(self) -> None:
        self.attempt(lambda party: party.facts)
        self.attempt(lambda party: party.warm())

    def run(self) -> None:
        if sum(run["wall_s"] for run in self.runs) < PATIENCE_S:
            found = self.attempt(lambda party: party.run())
            if found is not None:
                self.runs.append(found)

    def note(self) -> str:
        return str(self.party.facts["note"]) if self.party else ""

    def timing(self) -> Timing | None:
        if not self.runs or self.party is None:
            return None
        share = float(self.party.facts["share"])

        def median(name: str) -> float:
            return statistics.median(run[name] for run in self.runs)

        cpu, wall = median("cpu_s") / share, median("wall_s") / share
        if "process_mb" not in self.runs[0]:
            return Timing(cpu, wall, len(self.runs))
        return Timing(cpu, wall, len(self.runs), round(median("added_mb"), 1), round(median("process_mb"), 1))


def contest(step: Step, study: Study, setting: Setting) -> list[Row]:
    """The rows of one step: one per peer, or one without if there is none."""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as scratch:
        mine = _entered(stack, study, step, -1, setting)
        others = [
            _Contestant(None, _missing(one)) if _missing(one) else _entered(stack, study, step, at, setting)
            for at, one in enumerate(step.contests)
        ]
        everybody = [mine, *others]
        for one in everybody:
            one.warm()
        for turn in range(setting.repeat):
            setting.say(f"{study.name}: {step.title}, run {turn + 1} of {setting.repeat}")
            for one in everybody:
                one.run()
        rows = _rows(step, study, mine, others, Path(scratch))
        return list(rows) if setting.judged else [replace(row, target=None) for row in rows]


def _missing(one: Contest) -> str:
    names = [name for name in one.needs if find_spec(name) is None]
    return f"{', '.join(names)} not installed" if names else ""


def _entered(stack: ExitStack, study: Study, step: Step, at: int, setting: Setting) -> _Contestant:
    arguments = (study.folder, step.key, at, setting.every)
    if not setting.same_process:
        return _Contestant(stack.enter_context(Party(*arguments)))
    try:
        return _Contestant(Worker(*arguments))
    except Exception as error:  # noqa: BLE001 - it costs a row, and the row says so
        return _Contestant(None, f"{type(error).__name__}: {error}")


def _rows(step: Step, study: Study, mine: _Contestant, others: Sequence[_Contestant], scratch: Path) -> Iterator[Row]:
    found = mine.attempt(lambda party: party.numbers(scratch / "ours.npy"))
    ours = mine.timing()
    if not others or ours is None:
        yield Row(study.name, step.key, step.title, ours, "", None, None, None, mine.problem)
        return
    for at, (peer, terms) in enumerate(zip(others, step.contests, strict=True)):
        path = scratch / f"{at}.npy"
        its = peer.attempt(lambda party, path=path: party.numbers(path))  # type: ignore[misc]
        agreement = compared(found, its, terms.tolerance) if its is not None else None
        path.unlink(missing_ok=True)
        notes = [mine.note(), peer.problem or terms.note, _scaled(peer) if terms.sampled else ""]
        note = "; ".join(note for note in notes if note)
        yield Row(study.name, step.key, step.title, ours, terms.name, peer.timing(), terms.ratio, agreement, note)


def _scaled(peer: _Contestant) -> str:
    if peer.party is None or peer.party.facts["share"] >= 1:
        return ""
    facts = peer.party.facts
    return f"peer: {facts['sample']} structures, scaled by {1 / float(facts['share']):.1f}"


def chain(rows: Sequence[Row], study: str, *, judged: bool) -> Row | None:
    """Files to all numbers against the peers' steps one after the other; None if a step of either is missing."""
    ours = next((row for row in rows if row.study == study and row.step == "files"), None)
    if ours is None:
        return None
    total = [0.0, 0.0]
    names = []
    for step, times in CHAIN:
        ran = [row for row in rows if row.study == study and row.step == step and row.peer_timing]
        if not ran or ran[0].peer_timing is None:
            return None
        total[0] += times * ran[0].peer_timing.cpu_s
        total[1] += times * ran[0].peer_timing.wall_s
        names.append(f"{times} x {ran[0].peer.split()[0].rstrip(',')}" if times > 1 else ran[0].peer.split()[0])
    timing = Timing(total[0], total[1], 1)
    return Row(
        study,
        "files",
        ours.title,
        ours.ours,
        "sum of the peers",
        timing,
        CHAIN_RATIO if judged else None,
        None,
        " + ".join(names),
    )
