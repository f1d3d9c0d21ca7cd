"""Each rule on one scene that must fire it and one that must not."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import numpy as np
import pytest

from segqa_dicom.checks import Check, Finding, Outcome, Severity, all_rules, default_ruleset
from segqa_dicom.model import Case, Code, ContentConflict, CtFacts, SegmentationType
from segqa_dicom.pipeline import review
from tests.scenes import (
    ADRENAL_LEFT,
    ADRENAL_RIGHT,
    COLON,
    HEART,
    HIP_LEFT,
    HIP_RIGHT,
    KIDNEY_LEFT,
    KIDNEY_RIGHT,
    L1,
    L2,
    L3,
    LEFT,
    LEFT_ATRIUM,
    LIVER,
    PANCREAS,
    SHAPE,
    SPLEEN,
    Box,
    Part,
    body_hu,
    box,
    case,
    coded,
    ct,
    geometry,
    segmentation,
)

RULES = {rule.id: rule for rule in all_rules()}
INSIDE = box(8, 15, 15)
ON_THE_LEFT, ON_THE_RIGHT = box(8, 15, 26), box(8, 15, 8)
"""The patient's left is where columns are high: axial slices, seen from the feet."""


def spine(column: int = 18) -> list[Part]:
    return [Part(f"L{3 - n}", codes, [box(4 + 5 * n, 24, column, 4)]) for n, codes in enumerate((L3, L2, L1))]


def liver(*boxes: Box, **changes: object) -> Case:
    return case(segmentation([Part("liver", LIVER, boxes or (INSIDE,), changes)]))


def parts(*found: Part, **changes: object) -> Case:
    return case(segmentation(found, **changes))


def with_ct(facts: CtFacts) -> Case:
    return case(segmentation([Part("liver", LIVER, [INSIDE])]), volume=ct(facts=facts))


def padded(value: int) -> Case:
    hu = body_hu()
    hu[:, :, :6] = value
    return case(segmentation([Part("liver", LIVER, [box(8, 15, 5)])]), volume=ct(hu))


def both(left: Box, right: Box) -> Case:
    return parts(Part("kidney_left", KIDNEY_LEFT, [left]), Part("kidney_right", KIDNEY_RIGHT, [right]))


def three_pairs(*, mirrored: bool) -> Case:
    pairs = [(KIDNEY_LEFT, KIDNEY_RIGHT), (ADRENAL_LEFT, ADRENAL_RIGHT), (HIP_LEFT, HIP_RIGHT)]
    found = []
    for n, (left, right) in enumerate(pairs):
        columns = (8, 26) if mirrored else (26, 8)
        found += [
            Part(f"left {n}", left, [box(4, 8 + 7 * n, columns[0], 5)]),
            Part(f"right {n}", right, [box(4, 8 + 7 * n, columns[1], 5)]),
        ]
    return parts(*found)


ISLAND = slice(20, 21), slice(30, 31), slice(30, 31)
BIG = box(4, 8, 8, (10, 20, 20))

FIRES = [
    ("F1", "info", liver(box(0, 15, 15))),
    ("F1", "info", liver(box(18, 15, 15))),
    ("F2", "warning", liver(box(8, 0, 15, 8))),
    ("F2", "warning", liver(box(8, 15, 34))),
    ("F2", "warning", padded(-2000)),
    ("F3", "error", liver(box(8, 1, 15, 8))),
    ("F4", "error", liver(INSIDE, voxels_outside_ct=12)),
    ("T1", "error", liver(INSIDE, box(16, 28, 28, 5))),
    ("T1", "warning", liver(BIG, box(16, 30, 8, (5, 5, 20)))),
    ("T1", "warning", parts(Part("pancreas", PANCREAS, [box(4, 8, 8), box(4, 20, 20), box(15, 20, 20)]))),
    ("T2", "warning", liver(BIG, ISLAND)),
    ("T2", "warning", parts(Part("L1", L1, [box(8, 15, 15, 3), ISLAND]))),
    ("T4", "warning", liver(box(6, 10, 10, (4, 10, 10)), box(11, 10, 10, (4, 10, 10)))),
    ("T4", "warning", parts(Part("colon", COLON, [box(6, 10, 10, 5), box(12, 10, 10, 5)]))),
    ("T5", "error", parts(Part("liver", LIVER, [INSIDE]), Part("spleen", SPLEEN, [INSIDE]))),
    ("T5", "warning", parts(Part("liver", LIVER, [INSIDE]), Part("colon", COLON, [box(12, 15, 15, 8)]))),
    ("L1", "error", both(ON_THE_RIGHT, ON_THE_LEFT)),
    ("L1", "error", parts(Part("kidney_left", KIDNEY_LEFT, [ON_THE_RIGHT]), *spine())),
    ("L2", "warning", both(box(8, 12, 25, (8, 10, 8)), box(8, 15, 8, 5))),
    ("L3", "error", three_pairs(mirrored=True)),
    (
        "D1",
        "error",
        parts(Part("liver", LIVER, [INSIDE]), missing_references=("1.2.3.99",), referenced_instance_count=9),
    ),
    ("D1", "warning", parts(Part("liver", LIVER, [INSIDE]), references_ct_series=False)),
    ("D1", "warning", parts(Part("liver", LIVER, [INSIDE]), has_referenced_series=False)),
    ("D3", "error", parts(Part("liver", LIVER, [INSIDE]), mismatched_sources=4)),
    ("D2", "error", parts(Part("liver", LIVER, [INSIDE]), frame_of_reference_uid="1.2.8")),
    ("D2", "warning", parts(Part("liver", LIVER, [INSIDE]), frame_of_reference_uid="")),
    ("D3", "error", parts(Part("liver", LIVER, [INSIDE]), max_slice_offset_mm=0.2, frames_off_slice=3)),
    ("D3", "warning", parts(Part("liver", LIVER, [INSIDE]), max_slice_offset_mm=0.05, frames_off_slice=3)),
    ("D3", "info", parts(Part("liver", LIVER, [INSIDE]), resampled=True, grid_note="coarser")),
    ("D3", "info", parts(Part("liver", LIVER, [INSIDE]), type=SegmentationType.FRACTIONAL)),
    ("D4", "warning", with_ct(CtFacts(missing_slices=2, gap_locations_mm=((0.0, 0.0, 9.0),)))),
    ("D4", "warning", with_ct(CtFacts(duplicate_positions=3))),
    ("D4", "warning", with_ct(CtFacts(uneven_spacing_mm=(1.0, 3.0)))),
    ("D4", "warning", with_ct(CtFacts(excluded=(("other orientation", 3),)))),
    ("D4", "info", with_ct(CtFacts(excluded=(("localizer", 1),)))),
    ("D4", "warning", with_ct(CtFacts(unreadable=(("1.2.3.7", "cut"),)))),
    ("D4", "error", with_ct(CtFacts(conflicting_instances=("1.2.3.7",)))),
    ("D5", "error", parts(Part("liver", LIVER, [INSIDE]), raw_segment_numbers=(1, 1))),
    ("D5", "warning", parts(Part("liver", LIVER, [INSIDE]), raw_segment_numbers=(2,))),
    ("D5", "error", parts(Part("liver", LIVER, [INSIDE]), undeclared_numbers=(7,))),
    ("D5", "warning", parts(Part("a", LIVER, [INSIDE]), Part("a", SPLEEN, [ON_THE_LEFT]))),
    ("D6", "warning", parts(Part("liver", LIVER, [INSIDE]), Part("spleen", SPLEEN, [], {"frame_count": 0}))),
    ("D6", "info", parts(Part("liver", LIVER, [INSIDE]), Part("spleen", SPLEEN, [], {"frame_count": 2}))),
    ("D8", "warning", parts(Part("liver", LIVER, [INSIDE]), model_version="")),
    ("D8", "warning", parts(Part("liver", LIVER, [INSIDE], {"algorithm_type": ""}))),
    (
        "D9",
        "warning",
        case(
            *(segmentation([Part("liver", LIVER, [INSIDE])], uid=u, content_digest="x") for u in ("1.2.4.1", "1.2.4.2"))
        ),
    ),
    ("D10", "warning", with_ct(CtFacts(tilt_degrees=12.0))),
    ("D11", "warning", with_ct(CtFacts(hu_defined=False, hu_note="Rescale Slope is 0"))),
    ("D12", "warning", with_ct(CtFacts(lossy="JPEG"))),
    ("D13", "error", replace(liver(INSIDE), conflicts=(ContentConflict("1.2.3.7", "ab" * 32, "cd" * 32),))),
    ("K1", "info", parts(Part("liver", replace(LIVER, category=Code("123037004", "SCT")), [INSIDE]))),
    ("K1", "warning", parts(Part("liver", replace(LIVER, category=None), [INSIDE]))),
    ("K2", "warning", parts(Part("subclavian_artery_left", coded("29700009", "Subclavian artery", LEFT), [INSIDE]))),
    ("K3", "warning", parts(Part("a", LIVER, [INSIDE]), Part("b", LIVER, [ON_THE_LEFT]))),
    ("K4", "warning", parts(Part("kidney_right", KIDNEY_LEFT, [ON_THE_LEFT]))),
    ("K4", "warning", parts(Part("quadriceps_left", coded("102291007", "Quadriceps"), [INSIDE]))),
    ("K4", "warning", parts(Part("kidney", coded("64033007", "Kidney"), [INSIDE]))),
    ("K5", "warning", parts(Part("prevertebral", replace(LIVER, type=None), [INSIDE]))),
    ("K5", "warning", parts(Part("gluteus_minimus_left", coded("78333006", "Gluteus medius", LEFT), [INSIDE]))),
    ("K6", "info", parts(Part("liver", LIVER, [INSIDE], {"unlisted_codes": (Code("110765007", "SCT"),)}))),
    (
        "K7",
        "info",
        parts(Part("cyst", coded("367643001", "Cyst", region=Code("64033007", "SCT"), region_modifier=LEFT), [INSIDE])),
    ),
]

QUIET = [
    ("F1", liver(box(1, 15, 15))),
    ("F2", padded(-1000)),
    ("F2", liver(box(8, 1, 1, 6))),
    ("F3", liver(box(8, 4, 4))),
    ("F4", liver()),
    ("T1", liver(BIG, ISLAND)),
    ("T1", liver(box(0, 15, 15), box(16, 28, 28, 5))),
    ("T1", parts(Part("colon", COLON, [INSIDE, box(16, 28, 28, 5)]))),
    ("T1", parts(Part("pancreas", PANCREAS, [INSIDE, box(16, 28, 28, 5)]))),
    ("T2", liver(INSIDE, box(16, 28, 28, 5))),
    ("T2", parts(Part("colon", COLON, [BIG, ISLAND]))),
    ("T4", liver(INSIDE, box(16, 28, 28, 5))),
    ("T4", liver()),
    ("T4", liver(BIG, box(18, 12, 12, 3))),
    ("T5", parts(Part("heart", HEART, [INSIDE]), Part("atrium", LEFT_ATRIUM, [box(10, 17, 17, 3)]))),
    ("T5", parts(Part("liver", LIVER, [INSIDE]), Part("spleen", SPLEEN, [ON_THE_LEFT]))),
    ("T5", parts(Part("liver", LIVER, [INSIDE]), Part("spleen", SPLEEN, [box(12, 15, 15, 8)]))),  # C2
    ("L1", both(ON_THE_LEFT, ON_THE_RIGHT)),
    ("L1", parts(Part("kidney_left", KIDNEY_LEFT, [ON_THE_LEFT]), *spine())),
    ("L1", parts(Part("kidney_left", KIDNEY_LEFT, [ON_THE_RIGHT]))),
    ("L1", parts(Part("brachiocephalic", coded("8887007", "Brachiocephalic vein", LEFT), [ON_THE_RIGHT]), *spine())),
    ("L2", both(ON_THE_LEFT, ON_THE_RIGHT)),
    ("L2", both(box(0, 12, 25, (8, 10, 8)), box(8, 15, 8, 5))),
    ("L3", three_pairs(mirrored=False)),
    ("L3", both(ON_THE_RIGHT, ON_THE_LEFT)),
    *((rule, liver()) for rule in RULES if rule[0] == "D"),
    *((rule, liver()) for rule in RULES if rule[0] == "K"),
    ("K2", parts(Part("subclavian_artery_left", coded("36765005", "Subclavian artery", LEFT), [INSIDE]))),
    ("K4", both(ON_THE_LEFT, ON_THE_RIGHT)),
    ("K4", parts(Part("heart_atrium_left", LEFT_ATRIUM, [INSIDE]))),
]


def results(found: Case, rule: str) -> list[Check | Finding]:
    report = review(found, default_ruleset())
    everything: list[Check | Finding] = list(report.findings)
    for part in report.segmentations:
        everything += part.findings
        everything += [check for segment in part.segments for check in segment.checks]
    return [one for one in everything if one.rule == rule]


def names(rows: list[tuple]) -> list[str]:
    return [f"{row[0]}-{n}" for n, row in enumerate(rows)]


@pytest.mark.parametrize(("rule", "severity", "found"), FIRES, ids=names(FIRES))
def test_rule_fires(rule: str, severity: str, found: Case) -> None:
    complaints = [one for one in results(found, rule) if one.outcome in (Outcome.WARNING, Outcome.FAIL)]
    assert complaints
    order = list(Severity)
    worst = max(complaints, key=lambda one: order.index(one.severity))
    assert order.index(worst.severity) <= order.index(RULES[rule].severity)
    assert worst.severity.value == severity
    assert worst.message
    assert (worst.outcome is Outcome.FAIL) == (severity == "error")


@pytest.mark.parametrize(("rule", "found"), QUIET, ids=names(QUIET))
def test_rule_is_quiet(rule: str, found: Case) -> None:
    assert [one for one in results(found, rule) if one.outcome in (Outcome.WARNING, Outcome.FAIL)] == []


def test_every_rule_has_a_scene_that_fires_it_and_one_that_does_not() -> None:
    """In the tables FIRES and QUIET of this module and its neighbours; the id of the rule stands first in each row."""
    neighbours = [import_module(f"tests.checks.{one.name}") for one in iter_modules([str(Path(__file__).parent)])]
    fires, quiet = (
        {row[0] for module in neighbours for row in getattr(module, name, ())} for name in ("FIRES", "QUIET")
    )
    assert fires == set(RULES) == quiet


def test_every_rule_is_in_the_rule_set_and_the_other_way_round() -> None:
    assert set(default_ruleset().rules) == set(RULES)


def test_titles_fit_a_code_meaning() -> None:
    assert all(len(f"Check: {rule.title}") <= 64 for rule in all_rules())


def test_an_island_is_located_inside_itself() -> None:
    (check,) = results(liver(BIG, ISLAND), "T2")
    where = geometry()
    assert check.location_mm == pytest.approx(where.point_at(20, 30, 30))


def test_a_gap_is_located_between_its_ends() -> None:
    (check,) = results(liver(box(6, 10, 10, (4, 10, 10)), box(11, 10, 10, (4, 10, 10))), "T4")
    assert check.value == 1
    assert check.location_mm is not None
    assert check.location_mm[2] == pytest.approx(30.0)


def test_both_swapped_organs_fail_and_name_each_other() -> None:
    first, second = results(both(ON_THE_RIGHT, ON_THE_LEFT), "L1")
    assert "kidney_right" in first.message
    assert "kidney_left" in second.message


def test_a_tilted_patient_has_a_tilted_midline() -> None:
    """A kidney right of x = 0 is on the left all the same if the spine lies further right."""
    found = parts(Part("kidney_left", KIDNEY_LEFT, [box(8, 15, 14, 4)]), *spine(column=5))
    (check,) = results(found, "L1")
    assert check.outcome is Outcome.PASS


def test_hu_rules_are_not_run_without_hu() -> None:
    found = case(
        segmentation([Part("liver", LIVER, [box(8, 1, 15, 8)])]),
        volume=ct(facts=CtFacts(hu_defined=False, hu_note="x")),
    )
    assert results(found, "F3") == []


def test_findings_are_worst_first() -> None:
    facts = CtFacts(excluded=(("localizer", 1),), lossy="JPEG", conflicting_instances=("1.2.3.7",))
    report = review(with_ct(facts), default_ruleset())
    assert [finding.severity.value for finding in report.findings] == ["error", "warning", "info"]


def test_scene_shape_is_what_the_scenes_assume() -> None:
    assert body_hu().shape == SHAPE
    assert np.all(body_hu()[:, 0] == -1000)
