"""Rules about volumes: organs made of boxes of voxels of 0.64 mL."""

from __future__ import annotations

from dataclasses import replace

import pytest

from segqa_dicom.checks import Check, Finding, Outcome
from segqa_dicom.model import Case, PatientStudy
from tests.checks.test_rules import names, results
from tests.scenes import ADRENAL_RIGHT, COLON, LIVER, SHAPE, SPLEEN, Part, box, case, ct, geometry, segmentation

COARSE_MM = (10.0, 8.0, 8.0)
LIVER_1290_ML, LIVER_640_ML, LIVER_138_ML = box(2, 5, 5, (12, 12, 14)), box(2, 5, 5, 10), box(2, 5, 5)
SPLEEN_192_ML, SPLEEN_64_ML = box(16, 5, 25, (5, 6, 10)), box(16, 5, 25, (4, 5, 5))


def of(*parts: Part, spacing: tuple[float, float, float] = COARSE_MM, **patient: str) -> Case:
    volume = ct(where=geometry(SHAPE, spacing))
    record = replace(volume.record, patient_study=PatientStudy(tuple(patient.items())))
    return case(segmentation(parts), volume=replace(volume, record=record))


def liver(*boxes: tuple[slice, slice, slice], **patient: str) -> Case:
    return of(Part("liver", LIVER, boxes), **patient)


def organs(liver_box: tuple[slice, slice, slice], spleen_box: tuple[slice, slice, slice], **patient: str) -> Case:
    return of(Part("liver", LIVER, [liver_box]), Part("spleen", SPLEEN, [spleen_box]), **patient)


def complaints(found: list[Check | Finding]) -> list[Check | Finding]:
    return [one for one in found if one.outcome in (Outcome.WARNING, Outcome.FAIL)]


FIRES = [
    ("V1", "warning", liver(LIVER_138_ML)),
    ("V1", "warning", liver(LIVER_138_ML, PatientSex="M", PatientAge="060Y")),
    ("V2", "warning", liver(LIVER_640_ML)),
    ("V2", "warning", liver(box(2, 5, 5, (20, 14, 14)))),
    ("V3", "warning", organs(LIVER_1290_ML, SPLEEN_64_ML)),
]

QUIET = [
    *((rule, organs(LIVER_1290_ML, SPLEEN_192_ML)) for rule in ("V1", "V2", "V3")),
    *((rule, liver(box(0, 5, 5, small))) for rule, small in (("V1", 6), ("V2", 10))),
    *((rule, liver(box(8, 0, 5, small))) for rule, small in (("V1", 6), ("V2", 10))),
    *((rule, liver(LIVER_138_ML, PatientAge="009Y")) for rule in ("V1", "V2")),
    ("V1", liver(LIVER_640_ML)),
    ("V1", of(Part("colon", COLON, [box(8, 15, 15, 1)]))),
    ("V2", liver(LIVER_138_ML)),
    ("V3", liver(LIVER_1290_ML)),
    ("V3", organs(LIVER_1290_ML, box(20, 5, 25, (4, 5, 5)))),
    ("V3", organs(LIVER_640_ML, box(16, 5, 25, (3, 4, 4)))),
    ("V3", organs(LIVER_1290_ML, SPLEEN_64_ML, PatientAge="024M")),
]


@pytest.mark.parametrize(("rule", "severity", "scene"), FIRES, ids=names(FIRES))
def test_rule_fires_once(rule: str, severity: str, scene: Case) -> None:
    (found,) = complaints(results(scene, rule))
    assert (found.outcome, found.severity.value) == (Outcome.WARNING, severity)
    assert found.location_mm is not None
    assert found.value is not None
    assert "mL" in found.message


@pytest.mark.parametrize(("rule", "scene"), QUIET, ids=names(QUIET))
def test_rule_is_quiet(rule: str, scene: Case) -> None:
    assert complaints(results(scene, rule)) == []


def test_one_cause_is_told_by_one_rule() -> None:
    for scene in (liver(LIVER_138_ML), liver(LIVER_640_ML), organs(LIVER_640_ML, SPLEEN_192_ML)):
        assert len([one for rule in ("V1", "V2", "V3") for one in complaints(results(scene, rule))]) == 1


def test_what_is_small_because_of_its_holes_is_told_by_the_rule_on_holes() -> None:
    found = liver(LIVER_1290_ML)
    layer = found.segmentations[0].layers[0].copy()
    layer[3:13, 6:16, 6:18] = 0
    hollow = case(replace(found.segmentations[0], layers=(layer,)), volume=found.ct)
    (check,) = results(hollow, "V2")
    assert (check.outcome, check.message) == (Outcome.NOT_RUN, "it is small because of its holes (rule T3)")
    assert complaints(results(hollow, "T3"))


def test_limits_are_those_of_the_sex() -> None:
    values = [
        results(of(Part("spleen", SPLEEN, [box(8, 15, 15, 4)]), PatientSex=sex), "V1")[0].limit
        for sex in ("F", "M", "O", "")
    ]
    assert values[0] == pytest.approx(17.98)
    assert values[1] == pytest.approx(23.84)
    assert values[2] == values[3] == pytest.approx(20.91)


def test_quartiles_of_a_large_study_widen_the_limits() -> None:
    """Adrenal glands: the study that gives SDs finds them smaller than the one that gives quartiles."""
    limit = 1.2 * (4.06 + (4.06 - 2.49))
    (found,) = results(of(Part("adrenal", ADRENAL_RIGHT, [box(8, 15, 15, 8)]), spacing=(3.0, 2.0, 2.0)), "V2")
    assert found.outcome is Outcome.PASS
    assert found.limit == pytest.approx(limit)


def test_what_is_not_judged_says_why() -> None:
    (found,) = results(liver(box(0, 5, 5)), "V1")
    assert (found.outcome, found.message) == (Outcome.NOT_RUN, "the image cuts it off")
    (found,) = results(liver(LIVER_138_ML, PatientAge="009Y"), "V1")
    assert "child" in found.message
    where = box(1, 5, 5)
    (found,) = results(of(Part("liver", LIVER, [where]), spacing=(2.5, 8.0, 8.0)), "V1")
    assert "near to the end of the scan" in found.message
