"""F5 and T3, and the rules that are left out."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import pytest

from segqa_dicom.checks import Outcome, all_rules
from segqa_dicom.checks.not_implemented import LEFT_OUT
from segqa_dicom.docs import rules_page
from segqa_dicom.model import Case, CodedStructure
from tests.checks.test_rules import names, results
from tests.checks.test_volumes import complaints
from tests.scenes import (
    COLON,
    HEART,
    KIDNEY_LEFT,
    KIDNEY_RIGHT,
    LEFT_ATRIUM,
    LIVER,
    PANCREAS,
    SPLEEN,
    Box,
    Part,
    box,
    case,
    coded,
    segmentation,
)

ORGANS = {
    "heart": HEART,
    "liver": LIVER,
    "spleen": SPLEEN,
    "stomach": coded("69695003", "Stomach"),
    "pancreas": PANCREAS,
    "kidney_left": KIDNEY_LEFT,
    "kidney_right": KIDNEY_RIGHT,
    "aorta": coded("15825003", "Aorta"),
    "sacrum": coded("54735007", "Sacrum"),
}


def organs(but: Collection[str] = (), **others: CodedStructure) -> Case:
    """A row of organs; where they lie does not matter."""
    codes = {name: one for name, one in (ORGANS | others).items() if name not in but}
    parts = [Part(name, one, [box(10, 6, 5 + 3 * n, 2)]) for n, (name, one) in enumerate(codes.items())]
    return case(segmentation(parts))


def hollow(*holes: Box, codes: CodedStructure = LIVER, start: int = 4) -> Case:
    """A box with holes in it, which are segments no more."""
    found = segmentation([Part("part", codes, [box(start, 8, 8, 14)])])
    layer = found.layers[0].copy()
    for one in holes:
        layer[one] = 0
    return case(replace(found, layers=(layer,)))


FIRES = [
    ("F5", "warning", organs(["liver"])),
    ("F5", "warning", organs(["stomach"])),
    ("F5", "info", organs(["spleen"])),
    ("F5", "info", organs(["kidney_right"])),
    ("T3", "warning", hollow(box(8, 12, 12, 4))),
    ("T3", "warning", hollow(box(8, 12, 12, 3), box(12, 16, 16, 3))),
]

QUIET = [
    ("F5", organs()),
    ("F5", organs(["heart"], atrium=LEFT_ATRIUM)),
    ("F5", organs(["liver", "sacrum", "kidney_left", "kidney_right"])),
    ("F5", organs(["liver", "spleen", "stomach", "pancreas", "aorta"])),
    ("T3", hollow()),
    ("T3", hollow(box(8, 12, 12, 2))),
    ("T3", hollow(box(4, 12, 12, 5))),
    ("T3", hollow(box(8, 12, 12, 4), start=0)),
    ("T3", hollow(box(8, 12, 12, 4), codes=COLON)),
]


@pytest.mark.parametrize(("rule", "severity", "scene"), FIRES, ids=names(FIRES))
def test_rule_fires_once(rule: str, severity: str, scene: Case) -> None:
    (found,) = complaints(results(scene, rule))
    assert (found.outcome, found.severity.value) == (Outcome.WARNING, severity)


@pytest.mark.parametrize(("rule", "scene"), QUIET, ids=names(QUIET))
def test_rule_is_quiet(rule: str, scene: Case) -> None:
    assert complaints(results(scene, rule)) == []


def test_two_missing_kidneys_are_no_variant() -> None:
    found = complaints(results(organs(["kidney_left", "kidney_right"]), "F5"))
    assert [one.severity.value for one in found] == ["warning", "warning"]


def test_messages_name_the_side_and_the_witnesses() -> None:
    (found,) = complaints(results(organs(["kidney_right"]), "F5"))
    assert found.message.startswith("no right kidney, although structures above it (liver) and below it (sacrum)")


def test_a_hole_is_located_and_measured() -> None:
    (found,) = complaints(results(hollow(box(8, 12, 12, 4)), "T3"))
    assert found.message == "encloses 0.77 mL that have no label: 2.4% of its volume (limit 1%)"
    assert found.location_mm is not None
    assert found.location_mm[2] == pytest.approx(24.0)


def test_what_is_left_out_is_no_rule_and_stands_in_the_docs() -> None:
    assert not set(LEFT_OUT) & {rule.id for rule in all_rules()}
    assert all(f"| {name} | {reason} |" in rules_page() for name, reason in LEFT_OUT.items())


def test_the_catalogue_is_complete() -> None:
    catalogue = {f"{letter}{n}" for letter, last in zip("FTLSRCHVX", (5, 5, 3, 6, 4, 4, 4, 5, 4), strict=True)
                 for n in range(1, last + 1)}  # fmt: skip
    assert catalogue - {rule.id for rule in all_rules()} == set(LEFT_OUT)
