"""Where the time goes: a `Progress` that notes what each step cost before it passes the message on."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass
from typing import Any

from segqa_dicom.progress import Progress, silent

_RSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


@dataclass(slots=True)
class StepCost:
    """What one step of a review cost.

    peak_rss_mb : highest resident memory of the process up to the end of the step, mapped files included
    """

    step: str
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_rss_mb: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """The cost with as many digits as mean something."""
        return {
            "step": self.step,
            "wall_s": round(self.wall_s, 4),
            "cpu_s": round(self.cpu_s, 4),
            "peak_rss_mb": round(self.peak_rss_mb, 1),
        }


class Stopwatch:
    """Adds up wall and CPU time of this process by step; a step lasts from its first message to that of another one."""

    def __init__(self, passed_on: Progress = silent) -> None:
        self.costs: list[StepCost] = []
        self._passed_on = passed_on
        self._current: StepCost | None = None
        self._wall_s = self._cpu_s = 0.0

    def __call__(self, step: str, done: int, total: int) -> None:
        """A message of progress."""
        if self._current is None or self._current.step != step:
            self.stop()
            self._current = next((cost for cost in self.costs if cost.step == step), None)
            if self._current is None:
                self._current = StepCost(step)
                self.costs.append(self._current)
            self._wall_s, self._cpu_s = time.perf_counter(), time.process_time()
        self._passed_on(step, done, total)

    def stop(self) -> None:
        """End the step in work."""
        if self._current is not None:
            self._current.wall_s += time.perf_counter() - self._wall_s
            self._current.cpu_s += time.process_time() - self._cpu_s
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT_BYTES
            self._current.peak_rss_mb = max(self._current.peak_rss_mb, peak / 1e6)
            self._current = None
