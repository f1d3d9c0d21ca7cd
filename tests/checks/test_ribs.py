"""Rules about the ribs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from segqa_dicom.checks import Outcome
from segqa_dicom.model import Case
from segqa_dicom.phantoms import errors
from tests.checks.test_rules import names, results
from tests.checks.torso_scenes import (
    Labels,
    complaints,
    cut_above,
    models,
    other_truth,
    phantom,
    ribs,
    truth,
    value,
    without,
)


def piece_given(of: str, to: str, share: float = 0.3) -> Labels:
    return errors.take_piece(truth(), value(of), value(to), share=share)


def without_head(*which: str) -> Labels:
    """Ribs that begin 35 mm further outside than they should."""
    labels = truth().copy()
    x = phantom().geometry.slice_origins_mm[0, 0] + np.arange(labels.shape[2]) * phantom().geometry.spacing_mm[2]
    y = phantom().geometry.slice_origins_mm[0, 1] + np.arange(labels.shape[1]) * phantom().geometry.spacing_mm[1]
    near = (np.abs(x)[None, :] < 66) & (y[:, None] > 0)
    for name in which:
        labels[(labels == value(name)) & near[None]] = 0
    return labels


def cut_into_two(name: str) -> Labels:
    """A rib with a gap in its middle: both parts are its own."""
    labels = truth().copy()
    _, rows, _ = np.nonzero(labels == value(name))
    middle = int(np.median(rows))
    part = labels[:, middle - 3 : middle + 4]
    part[part == value(name)] = 0
    return labels


FIRES: list[tuple[str, str, Callable[[], Case]]] = [
    ("R1", "warning", lambda: models(without("left 5"))),
    ("R1", "warning", lambda: models(without("left 5", "right 5"))),
    ("R1", "warning", lambda: models(without("left 12", "right 12", "left 11", "right 11"))),
    ("R1", "info", lambda: models(without("left 12"))),
    ("R1", "info", lambda: models(without("left 12", "right 12"))),
    ("R2", "error", lambda: models(piece_given("right 7", "right 8"))),
    ("R2", "error", lambda: models(piece_given("left 9", "left 8"))),
    ("R3", "warning", lambda: models(without_head("left 6", "right 9"))),
    ("R4", "error", lambda: models(errors.swap(truth(), value("left 7"), value("left 8")))),
]

QUIET: list[tuple[str, Callable[[], Case]]] = [
    *((f"R{n}", lambda: models(truth(), other_truth())) for n in range(1, 5)),
    *((f"R{n}", lambda: cut_above(truth(), "T8")) for n in range(1, 5)),
    *((f"R{n}", lambda: cut_above(truth(), "T12")) for n in range(1, 5)),
    *((f"R{n}", lambda: models(errors.shift_levels(truth(), ribs("left"), 2))) for n in (1, 3, 4)),
    ("R1", lambda: models(errors.renumber(truth(), dict.fromkeys(ribs("left"), 0)))),
    ("R2", lambda: models(cut_into_two("left 6"))),
    ("R3", lambda: models(without_head(*(f"{side} {n}" for side in ("left", "right") for n in range(2, 13))))),
    ("R4", lambda: models(without_head("left 6"))),
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


def message(labels: Labels, rule: str) -> str:
    (found,) = complaints(results(models(labels), rule))
    return found.message


def test_what_is_missing_is_said_by_side() -> None:
    assert message(without("left 5", "left 6"), "R1").endswith("only among the right ribs: 5-6")
    assert message(without("left 5", "right 5"), "R1").endswith("on neither side: 5")
    assert message(without("left 12", "right 12"), "R1").startswith("11 pairs of ribs; a known variant")


def test_sizes_of_pairs_are_not_compared_if_one_side_is_numbered_differently() -> None:
    found = results(models(errors.shift_levels(truth(), ribs("left"), 2)), "L2")
    assert found
    assert {one.outcome for one in found} == {Outcome.NOT_RUN}


def test_a_piece_says_whose_it_is() -> None:
    assert message(piece_given("right 7", "right 8"), "R2").endswith("that continues rib 7")


def test_ribs_without_head_are_named_with_their_distance() -> None:
    found = message(without_head("left 6", "right 9"), "R3")
    assert "rib_left_6" in found
    assert "rib_right_9" in found
    assert "rib_left_7" not in found
