"""Volume, centroid and box against their definitions, in any geometry."""

from __future__ import annotations

import math

import numpy as np
import pytest

from segqa_dicom.measures import measure_shapes
from segqa_dicom.model import Geometry

from .factories import blobs, noise, oblique_geometry, segmentation, sphere, uniform_geometry

SHAPE = (9, 14, 17)
UNEVEN = [2.0, 3.1, 2.0, 4.7, 1.3, 2.0, 2.0, 5.5]
GEOMETRIES = [
    pytest.param(uniform_geometry(SHAPE), id="unit"),
    pytest.param(uniform_geometry(SHAPE, (5.0, 0.7, 0.9)), id="anisotropic"),
    pytest.param(oblique_geometry(SHAPE), id="oblique"),
    pytest.param(oblique_geometry(SHAPE, drift_mm=0.8, seed=1), id="tilted"),
    pytest.param(oblique_geometry(SHAPE, steps_mm=UNEVEN, seed=2), id="uneven"),
    pytest.param(oblique_geometry(SHAPE, steps_mm=UNEVEN, drift_mm=-1.1, seed=3), id="uneven and tilted"),
    pytest.param(oblique_geometry(SHAPE, steps_mm=[2, 2, 2, 6, 2, 2, 2, 2], seed=4), id="a gap"),
]


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_shapes_are_sums_over_voxels(geometry: Geometry, dtype: type) -> None:
    volume = blobs(SHAPE, 5, dtype)
    for label, shape in enumerate(measure_shapes(segmentation(volume, count=6), geometry), start=1):
        where = np.argwhere(volume == label)
        if not len(where):
            assert (shape.voxel_count, shape.volume_ml) == (0, 0.0)
            assert shape.centroid_mm is None
            assert shape.bounding_box is None
            assert shape.components.count == 0
            continue
        points = (
            geometry.slice_origins_mm[where[:, 0]]
            + where[:, 1:2] * geometry.row_step_mm
            + where[:, 2:3] * geometry.column_step_mm
        )
        _, row_mm, column_mm = geometry.spacing_mm
        assert shape.voxel_count == len(where)
        assert shape.centroid_mm == pytest.approx(points.mean(axis=0), abs=1e-9)
        assert shape.volume_ml == pytest.approx(
            geometry.slice_extent_mm[where[:, 0]].sum() * row_mm * column_mm / 1000, rel=1e-12
        )
        assert shape.bounding_box is not None
        assert shape.bounding_box.start == tuple(where.min(axis=0))
        assert shape.bounding_box.stop == tuple(where.max(axis=0) + 1)
        assert (volume[shape.bounding_box.slices] == label).sum() == len(where)
        assert shape.components.voxel_counts.sum() == len(where)


def test_volume_in_even_spacing_is_a_multiple_of_the_voxel() -> None:
    geometry = uniform_geometry(SHAPE, (1.25, 0.7421875, 0.7421875))
    volume = noise(SHAPE, 3, np.uint8)
    for label, shape in enumerate(measure_shapes(segmentation(volume), geometry), start=1):
        assert shape.volume_ml == int((volume == label).sum()) * geometry.voxel_volume_ml


def test_centroid_of_a_symmetric_mask_is_its_middle() -> None:
    volume = np.zeros((5, 9, 11), np.uint8)
    volume[1:4, 2:7, 3:8] = 1
    geometry = oblique_geometry((5, 9, 11), drift_mm=0.3, seed=8)
    (shape,) = measure_shapes(segmentation(volume), geometry)
    assert shape.centroid_mm == pytest.approx(geometry.point_at(2, 4, 5), abs=1e-9)


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (2.5, 0.8, 0.8), (0.6, 1.2, 0.9)])
def test_volume_of_a_sphere_is_that_of_the_formula(spacing_mm: tuple[float, float, float]) -> None:
    radius_mm = 15.0
    shape = tuple(int(2 * radius_mm / mm) + 4 for mm in spacing_mm)
    centre = [(size - 1) / 2 + offset for size, offset in zip(shape, (0.21, -0.33, 0.4), strict=True)]
    geometry = uniform_geometry(shape, spacing_mm)
    (measured,) = measure_shapes(segmentation(sphere(shape, centre, radius_mm, spacing_mm)), geometry)
    assert measured.volume_ml == pytest.approx(4 / 3 * math.pi * radius_mm**3 / 1000, rel=0.02)
    assert measured.centroid_mm == pytest.approx(geometry.point_at(*centre), abs=0.15)


def test_larger_voxels_scale_volumes_and_centroids() -> None:
    volume = blobs(SHAPE, 5, np.uint8)
    small, large = (
        measure_shapes(segmentation(volume), uniform_geometry(SHAPE, spacing))
        for spacing in ((2, 0.5, 0.75), (6, 1.5, 2.25))
    )
    for one, other in zip(small, large, strict=True):
        assert other.volume_ml == pytest.approx(27 * one.volume_ml, rel=1e-12)
        assert one.centroid_mm is not None
        assert other.centroid_mm == pytest.approx(tuple(3 * value for value in one.centroid_mm), rel=1e-12)


def test_shapes_move_with_their_voxels() -> None:
    volume = blobs(SHAPE, 5, np.uint8)
    moved = np.pad(volume, ((2, 0), (3, 1), (5, 2)))
    shapes = measure_shapes(segmentation(volume), uniform_geometry(SHAPE))
    for one, other in zip(shapes, measure_shapes(segmentation(moved), uniform_geometry(moved.shape)), strict=True):
        assert (other.voxel_count, other.components.count) == (one.voxel_count, one.components.count)
        assert one.bounding_box is not None
        assert other.bounding_box is not None
        assert np.subtract(other.bounding_box.start, one.bounding_box.start).tolist() == [2, 3, 5]
        assert np.subtract(other.centroid_mm, one.centroid_mm) == pytest.approx([5, 3, 2])


def test_overlapping_segments_are_measured_in_their_own_layer() -> None:
    first, second = np.zeros((4, 6, 6), np.uint8), np.zeros((4, 6, 6), np.uint8)
    first[:2, :, :] = 1
    second[1:3, :, :] = 2
    second[3, 0, 0] = 3
    shapes = measure_shapes(segmentation(first, second), uniform_geometry((4, 6, 6)))
    assert [shape.voxel_count for shape in shapes] == [72, 72, 1]


def test_label_in_a_layer_that_is_not_its_own_does_not_count() -> None:
    first, second = np.zeros((2, 3, 4), np.uint8), np.zeros((2, 3, 4), np.uint8)
    first[0, 0, 0], second[1, 2, 3] = 1, 1
    (shape,) = measure_shapes(segmentation(first, second, layer_of=[1]), uniform_geometry((2, 3, 4)))
    assert shape.bounding_box is not None
    assert shape.bounding_box.start == (1, 2, 3)


def test_permuted_labels_give_permuted_shapes() -> None:
    volume = blobs(SHAPE, 7, np.uint8)
    order = np.random.default_rng(3).permutation(7)
    permuted = np.concatenate(([0], order + 1)).astype(np.uint8)[volume]
    geometry = oblique_geometry(SHAPE)
    shapes = measure_shapes(segmentation(volume, count=7), geometry)
    moved = measure_shapes(segmentation(permuted, count=7), geometry)
    for index, shape in enumerate(shapes):
        other = moved[order[index]]
        assert (shape.voxel_count, shape.volume_ml, shape.centroid_mm, shape.bounding_box) == (
            other.voxel_count, other.volume_ml, other.centroid_mm, other.bounding_box,
        )  # fmt: skip


def test_more_segments_than_a_small_layer_can_hold_are_empty_there() -> None:
    layer = np.zeros((1, 2, 2), np.uint8)
    layer[0, 0, 0] = 255
    shapes = measure_shapes(segmentation(layer, count=300), uniform_geometry((1, 2, 2)))
    assert [index for index, shape in enumerate(shapes) if shape.voxel_count] == [254]


@pytest.mark.slow
def test_65535_segments_are_measured() -> None:
    volume = np.arange(65536, dtype=np.uint16).reshape(16, 64, 64)
    shapes = measure_shapes(segmentation(volume, layer_of=[0] * 65535), uniform_geometry((16, 64, 64)))
    assert len(shapes) == 65535
    assert shapes[-1].centroid_mm == (63.0, 63.0, 15.0)


def test_layer_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        measure_shapes(segmentation(np.zeros((1, 2, 3), np.uint8)), uniform_geometry((1, 3, 2)))
