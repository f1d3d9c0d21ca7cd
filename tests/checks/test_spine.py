"""Rules about the spine."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from segqa_dicom.checks import Outcome
from segqa_dicom.model import Case
from segqa_dicom.phantoms import errors
from tests.checks.test_rules import names, results
from tests.checks.torso_scenes import (
    LEVELS,
    block,
    complaints,
    cut_above,
    models,
    other_truth,
    row,
    spine,
    straight,
    truth,
    value,
    without,
)


def bent(degrees: float, *, swapped: bool = False) -> Case:
    """A hunched back: the spine on an arc, so that its upper end points forward or even down."""
    levels = LEVELS[:10]
    boxes = []
    for n in range(len(levels)):
        angle = math.radians(degrees) * n / (len(levels) - 1)
        k, i = 12 + 24 * math.sin(angle), 52 - 24 * (1 - math.cos(angle))
        boxes.append(block(round(k), round(i), (3, 3, 8)))
    ordered = levels[::-1]
    if swapped:
        ordered[4], ordered[5] = ordered[5], ordered[4]
    return row(*((level, [boxes[n]]) for n, level in enumerate(ordered)))


def merged() -> Case:
    return models(errors.merge(truth(), value("T9"), value("T8")))


def on_top(level: str) -> Case:
    """The numbering ends there, right above the sacrum."""
    by = len(LEVELS) - 1 - LEVELS.index(level)
    return models(errors.shift_levels(truth(), spine(), -by))


FIRES: list[tuple[str, str, Callable[[], Case]]] = [
    ("S1", "error", lambda: models(errors.swap(truth(), value("T8"), value("T9")))),
    ("S1", "error", lambda: models(errors.swap(truth(), value("T3"), value("L2")))),
    ("S1", "error", lambda: bent(100, swapped=True)),
    ("S1", "error", lambda: models(errors.renumber(truth(), dict(zip(spine(), spine()[::-1], strict=True))))),
    ("S2", "warning", lambda: models(without("T8"))),
    ("S2", "warning", lambda: models(without("L5"))),
    ("S2", "warning", lambda: on_top("L3")),
    ("S2", "warning", merged),
    ("S3", "error", lambda: straight(T8=[block(42), block(34, size=(1, 5, 3))], T9=[block(36)])),
    ("S4", "error", merged),
    ("S4", "error", lambda: straight(T8=[block(42), block(34, size=(4, 8, 5))], T9=[block(39, size=(1, 8, 8))])),
    ("S4", "error", lambda: straight(T8=[block(42), block(30, i=23, size=(4, 8, 5))])),
    ("S5", "warning", lambda: models(errors.erode(truth(), value("T8")))),
    ("S6", "info", lambda: on_top("L4")),
    ("S6", "info", lambda: row(*((level, [block(50 - 6 * n)]) for n, level in enumerate(["T9", "T10", "T11", "L1"])))),
]

QUIET: list[tuple[str, Callable[[], Case]]] = [
    *((f"S{n}", lambda: models(truth(), other_truth())) for n in range(1, 7)),
    *((f"S{n}", straight) for n in range(1, 7)),
    *((f"S{n}", lambda: cut_above(truth(), "T8")) for n in range(1, 7)),
    ("S1", lambda: bent(100)),
    ("S1", lambda: bent(150)),
    ("S1", lambda: row(("T8", [block(20)]), ("T7", [block(10)]))),
    ("S1", merged),
    ("S2", lambda: row(*((level, [block(50 - 6 * n)]) for n, level in enumerate(["T9", "T10", "T11", "L1", "L2"])))),
    ("S2", lambda: on_top("L4")),
    ("S3", lambda: straight(T8=[block(42), block(33, i=40, size=(2, 5, 3))])),
    ("S4", lambda: straight(T8=[block(42), block(38, i=34, size=(3, 8, 6))])),
    ("S5", lambda: models(errors.merge(truth(), value("T9"), value("T8")))),
    ("S6", lambda: models(without("L5"))),
]


@pytest.mark.parametrize(("rule", "severity", "scene"), FIRES, ids=names(FIRES))
def test_rule_fires_once(rule: str, severity: str, scene: Callable[[], Case]) -> None:
    (found,) = complaints(results(scene(), rule))
    assert found.severity.value == severity
    assert (found.outcome is Outcome.FAIL) == (severity == "error")
    assert found.location_mm is not None
    assert found.structure_keys


@pytest.mark.parametrize(("rule", "scene"), QUIET, ids=names(QUIET))
def test_rule_is_quiet(rule: str, scene: Callable[[], Case]) -> None:
    assert complaints(results(scene(), rule)) == []


def message(scene: Case, rule: str) -> str:
    (found,) = complaints(results(scene, rule))
    return found.message


def test_two_exchanged_vertebrae_are_named_with_their_neighbours() -> None:
    found = message(models(errors.swap(truth(), value("T8"), value("T9"))), "S1")
    assert found == "T8, T9 out of order: from the head down the spine there are T7, T9, T8, T10"


def test_an_upside_down_spine_is_one_finding() -> None:
    scene = models(errors.renumber(truth(), dict(zip(spine(), spine()[::-1], strict=True))))
    assert "from the feet to the head" in message(scene, "S1")


def test_a_missing_vertebra_and_a_jump_and_a_merge_are_told_apart() -> None:
    assert message(models(without("T8")), "S2") == "no T8 between T7 and T9"
    jump = errors.renumber(truth(), {value(f"T{n + 1}"): value(f"T{n}") for n in range(1, 8)} | {value("T1"): 0})
    assert "neighbours: the numbering jumps" in message(models(jump), "S2")
    assert "may hold two" in message(merged(), "S2")


def test_a_merged_level_is_named() -> None:
    assert message(merged(), "S4") == "pieces of vertebrae lie at another level: 50% of T9 at T8"
