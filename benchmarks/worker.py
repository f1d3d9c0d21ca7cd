"""One party of one step in a process of its own, which stays warm between runs: ``python -m benchmarks.worker``.

Reads a command a line (``warm``, ``forget``, ``run``, ``numbers FILE``) and answers each with a line of JSON.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.given import Given
from benchmarks.inputs import opened
from benchmarks.steps import STEPS


class Worker:
    """A party, its input loaded, and what it returned last; `contest` -1 is our own way.

    facts : ``share`` of the whole work that a run does, how many structures (``sample``) that are, and a ``note``
    """

    def __init__(self, folder: Path, step: str, contest: int, every: int) -> None:
        given = Given(opened(folder), every)
        chosen = next(one for one in STEPS if one.key == step)
        terms = chosen.contests[contest] if contest >= 0 else None
        self._prepared = (terms.party if terms else chosen.party)(given)
        self._result: Any = None
        is_sampled = terms is not None and terms.sampled
        self.facts: dict[str, Any] = {
            "share": given.sample_share if is_sampled else 1.0,
            "sample": len(given.sample),
            "note": self._prepared.note,
        }

    def warm(self) -> None:
        """Load and compile what the clock must not see."""
        (self._prepared.warm or self._prepared.run)()

    def forget(self) -> None:
        """Let go of what the last run returned, so that it is not taken for memory that the next one has anyway."""
        self._result = None
        gc.collect()

    def run(self) -> dict[str, float]:
        """One run on the clock: CPU and wall seconds."""
        self.forget()
        wall, cpu = time.perf_counter(), time.process_time()
        self._result = self._prepared.run()
        return {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}

    def numbers(self, path: Path) -> dict[str, Any]:
        """What the last run found: ``numbers``, or ``volume`` (the file it was put in)."""
        found = self._prepared.numbers(self._result)
        if isinstance(found, np.ndarray):
            np.save(path, found)
            return {"volume": str(path)}
        return {"numbers": found}


def main(folder: str, step: str, contest: str, every: str) -> None:
    """Serve until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not look like an answer
    warnings.simplefilter("ignore")

    def answer(action: Callable[[], Any]) -> Any:
        try:
            done = action()
            reply = done.facts if isinstance(done, Worker) else done or {}
        except Exception as error:  # noqa: BLE001 - it costs a row, and the row says so
            done, reply = None, {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()
        return done

    worker = answer(lambda: Worker(Path(folder), step, int(contest), int(every)))
    for line in sys.stdin:
        command, _, path = line.strip().partition(" ")
        if command == "numbers":
            answer(lambda path=path: worker.numbers(Path(path)))  # type: ignore[misc]
        else:
            answer({"warm": worker.warm, "forget": worker.forget, "run": worker.run}[command])


if __name__ == "__main__":
    main(*sys.argv[1:])
