"""Distances of segments against all pairs of voxels, and what else rules must know before they complain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from segqa_dicom.checks import MeasuredSegmentation
from segqa_dicom.checks import distance as distances
from segqa_dicom.checks.distance import distance_mm, is_within
from segqa_dicom.checks.gates import age_years_of, is_child, sex_of
from segqa_dicom.measures import find_runs
from segqa_dicom.model import CtVolume, PatientStudy, Segmentation
from segqa_dicom.pipeline import _measured
from segqa_dicom.progress import silent
from tests.scenes import LIVER, SPLEEN, Part, case, ct, geometry, segmentation

SHAPE = (10, 14, 14)


def two_clouds(seed: int) -> tuple[MeasuredSegmentation, float]:
    """Two segments of scattered voxels, and the smallest distance between them."""
    random = np.random.default_rng(seed)
    found = segmentation([Part("liver", LIVER, []), Part("spleen", SPLEEN, [])], shape=SHAPE)
    layer = np.zeros(SHAPE, np.uint8)
    for label in (1, 2):
        start = random.integers(0, np.array(SHAPE) - 5)
        crop = layer[tuple(slice(a, a + 5) for a in start)]
        crop[(random.random(crop.shape) < 0.2) & (crop == 0)] = label
    points = [np.argwhere(layer == label) * (3.0, 2.0, 2.0) for label in (1, 2)]
    smallest = float(np.linalg.norm(points[0][:, None] - points[1][None], axis=2).min())
    return measured(replace(found, layers=(layer,))), smallest


def measured(found: Segmentation) -> MeasuredSegmentation:
    scene = case(found, volume=ct(where=geometry(SHAPE)))
    (context,) = _measured(scene, [[find_runs(layer) for layer in found.layers]], silent)
    return context


@pytest.mark.parametrize("few", [1, 8, 20_000])
@pytest.mark.parametrize("seed", range(8))
def test_is_within_is_exact_however_few_voxels_are_looked_at_first(
    seed: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distances, "_FEW_VOXELS", few)
    context, smallest = two_clouds(seed)
    one, other = context.segments
    assert is_within(one, other, context, smallest + 1e-6)
    assert is_within(other, one, context, smallest + 1e-6)
    assert not is_within(one, other, context, smallest - 1e-6)
    assert distance_mm(one, other, context) >= smallest - 1e-9


def test_the_distance_of_small_segments_is_exact() -> None:
    context, smallest = two_clouds(3)
    assert distance_mm(*context.segments, context) == pytest.approx(smallest)


def patient(**attributes: str) -> CtVolume:
    volume = ct()
    return replace(volume, record=replace(volume.record, patient_study=PatientStudy(tuple(attributes.items()))))


@pytest.mark.parametrize(
    ("attributes", "years"),
    [
        ({"PatientAge": "045Y"}, 45.0),
        ({"PatientAge": "018M"}, 1.5),
        ({"PatientAge": "010D"}, 10 / 365.25),
        ({"PatientAge": "old"}, None),
        ({"PatientBirthDate": "20100616", "StudyDate": "20280615"}, 17.0),
        ({"PatientBirthDate": "20100616", "StudyDate": "20280616"}, 18.0),
        ({"PatientBirthDate": "20100616"}, None),
        ({"PatientBirthDate": "20300616", "StudyDate": "20280615"}, None),
        ({}, None),
    ],
)
def test_age(attributes: dict[str, str], years: float | None) -> None:
    volume = patient(**attributes)
    assert age_years_of(volume) == (years if years is None else pytest.approx(years))
    assert is_child(volume) == (years is not None and years < 18)


@pytest.mark.parametrize(("value", "sex"), [("F", "F"), ("m ", "M"), ("O", None), ("", None)])
def test_sex(value: str, sex: str | None) -> None:
    assert sex_of(patient(PatientSex=value)) == sex
