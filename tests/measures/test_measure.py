"""The measures of a whole segmentation are those of its parts."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import numpy as np
import pytest

from segqa_dicom.measures import (
    find_runs,
    find_surroundings,
    measure,
    measure_intensities,
    measure_segmentation,
    measure_shapes,
    padding_voxel_counts,
)
from segqa_dicom.measures.body import outside_body
from segqa_dicom.measures.results import Shape
from segqa_dicom.model import CtFacts

from .factories import blobs, ct_volume, noise, segmentation, uniform_geometry

SHAPE = (10, 20, 30)


def comparable(shape: Shape) -> tuple[Any, ...]:
    parts = shape.components
    return (
        shape.voxel_count, shape.volume_ml, shape.centroid_mm, shape.bounding_box,
        parts.voxel_counts.tolist(), parts.seeds.tolist(), parts.boxes.tolist(),
    )  # fmt: skip


@pytest.mark.parametrize("hu_defined", [True, False])
def test_one_sweep_gives_what_the_single_measures_give(hu_defined: bool) -> None:
    hu = np.random.default_rng(0).integers(-1000, 2000, SHAPE).astype(np.int16)
    ct = ct_volume(uniform_geometry(SHAPE, (2.0, 0.7, 0.7)), hu, CtFacts(hu_defined=hu_defined))
    first, second = blobs(SHAPE, 8, np.uint16), noise(SHAPE, 3, np.uint16)
    second[second > 0] += 8
    subject = segmentation(first, second, count=12)
    measures = measure_segmentation(subject, ct)
    assert len(measures) == 12
    shapes, intensities = measure_shapes(subject, ct.geometry), measure_intensities(subject, ct)
    for measured, shape, intensity in zip(measures, shapes, intensities, strict=True):
        assert comparable(measured.shape) == comparable(shape)
        assert measured.intensity == intensity
        assert (measured.intensity is not None) == (hu_defined and shape.voxel_count > 0)
    assert [one.padding_voxel_count for one in measures] == padding_voxel_counts(subject, ct).tolist()
    assert (tuple(one.outside_body for one in measures),) == outside_body([subject], ct)


def test_what_is_known_already_is_not_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    hu = np.random.default_rng(0).integers(-2000, 500, SHAPE).astype(np.int16)
    ct = ct_volume(uniform_geometry(SHAPE), hu)
    subject = segmentation(blobs(SHAPE, 8, np.uint8))
    expected = measure_segmentation(subject, ct)
    surroundings, layer_runs = find_surroundings(ct), [find_runs(layer) for layer in subject.layers]
    monkeypatch.setattr(measure, "find_surroundings", None)
    monkeypatch.setattr(measure, "find_runs", None)
    measures = measure_segmentation(subject, ct, surroundings=surroundings, layer_runs=layer_runs)
    assert any(one.padding_voxel_count for one in measures)
    assert any(one.outside_body and one.outside_body.voxel_count for one in measures)
    for one, other in zip(measures, expected, strict=True):
        assert comparable(one.shape) == comparable(other.shape)
        assert (one.intensity, one.padding_voxel_count, one.outside_body) == (
            other.intensity, other.padding_voxel_count, other.outside_body,
        )  # fmt: skip


def test_segmentation_without_segments_has_no_measures() -> None:
    hu = np.zeros(SHAPE, np.int16)
    subject = segmentation(np.zeros(SHAPE, np.uint8), count=0)
    assert measure_segmentation(subject, ct_volume(uniform_geometry(SHAPE), hu)) == ()


def test_results_are_plain_numbers() -> None:
    hu = np.zeros(SHAPE, np.float32)
    (measured,) = measure_segmentation(segmentation(np.ones(SHAPE, np.uint8)), ct_volume(uniform_geometry(SHAPE), hu))
    assert measured.intensity is not None
    assert {type(value) for value in (*astuple(measured.intensity)[:5], *astuple(measured.intensity)[5])} == {float}
    assert type(measured.shape.voxel_count) is int
    assert type(measured.padding_voxel_count) is int
