"""Time is added up by step."""

from __future__ import annotations

import time

from segqa_dicom.local.timing import Stopwatch


def test_a_step_lasts_until_another_one_speaks_and_may_come_back() -> None:
    heard: list[tuple[str, int, int]] = []
    stopwatch = Stopwatch(lambda *message: heard.append(message))
    for step, seconds in (("a", 0.02), ("a", 0.02), ("b", 0.01), ("a", 0.02)):
        stopwatch(step, 0, 1)
        time.sleep(seconds)
    stopwatch.stop()
    stopwatch.stop()
    time.sleep(0.05)
    a, b = stopwatch.costs
    assert (a.step, b.step) == ("a", "b")
    assert a.wall_s >= 0.06
    assert b.wall_s >= 0.01
    assert a.cpu_s < a.wall_s
    assert [step for step, _, _ in heard] == ["a", "a", "b", "a"]
    assert a.as_json()["peak_rss_mb"] > 1


def test_nothing_happened() -> None:
    stopwatch = Stopwatch()
    stopwatch.stop()
    assert stopwatch.costs == []
