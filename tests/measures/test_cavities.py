"""Holes against SciPy, which fills them label after label."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from segqa_dicom.measures.cavities import measure_cavities
from tests.measures.factories import blobs, noise, segmentation


def holes_by_scipy(layer: NDArray[Any], label: int) -> NDArray[np.bool_]:
    """Regions of background that touch this label only, and not the edge."""
    filled = ndimage.binary_fill_holes(layer == label) & (layer == 0)
    regions, count = ndimage.label(layer == 0)
    found = np.zeros(layer.shape, bool)
    for region in range(1, count + 1):
        here = regions == region
        around = ndimage.binary_dilation(here) & ~here
        if (filled & here).any() and set(np.unique(layer[around])) == {label}:
            found |= here
    return found


def box(shape: tuple[int, int, int], start: int, stop: int, label: int = 1) -> NDArray[np.uint8]:
    layer = np.zeros(shape, np.uint8)
    layer[start:stop, start:stop, start:stop] = label
    return layer


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("background", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("labels", [1, 3])
def test_as_scipy_on_noise(seed: int, background: float, labels: int) -> None:
    layer = noise((7, 8, 9), labels, np.uint8, background=background, seed=seed)
    for label, found in enumerate(measure_cavities(segmentation(layer, count=labels)), start=1):
        holes = holes_by_scipy(layer, label)
        assert found.voxel_count == holes.sum()
        assert (found.location is None) == (not holes.any())
        assert found.location is None or holes[found.location]


@pytest.mark.parametrize("seed", range(4))
def test_one_label_is_what_fill_holes_fills(seed: int) -> None:
    layer = noise((12, 13, 14), 1, np.uint16, background=0.25, seed=seed)
    (found,) = measure_cavities(segmentation(layer))
    assert found.voxel_count == (ndimage.binary_fill_holes(layer > 0) & (layer == 0)).sum()


@pytest.mark.parametrize("seed", range(3))
def test_as_scipy_on_hollow_blobs(seed: int) -> None:
    layer = blobs((20, 22, 24), 5, np.uint8, seed=seed)
    for label in range(1, 6):
        layer[ndimage.binary_erosion(layer == label, iterations=2)] = 0
    for label, found in enumerate(measure_cavities(segmentation(layer, count=5)), start=1):
        assert found.voxel_count == holes_by_scipy(layer, label).sum()


def test_a_hollow_box_has_a_hole_that_is_located_inside() -> None:
    layer = box((10, 10, 10), 1, 9)
    layer[3:6, 3:6, 3:6] = 0
    (found,) = measure_cavities(segmentation(layer))
    assert found.voxel_count == 27
    assert found.location is not None
    assert all(3 <= place < 6 for place in found.location)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_tunnel_is_no_hole(axis: int) -> None:
    layer = np.moveaxis(box((10, 10, 10), 1, 9), axis, 0)
    layer[1:5, 4, 4] = 0
    (found,) = measure_cavities(segmentation(np.ascontiguousarray(np.moveaxis(layer, 0, axis))))
    assert found.voxel_count == 0


def test_background_connects_by_faces_only() -> None:
    """A tunnel that goes on over an edge is closed, as two voxels over an edge are one component of a segment."""
    layer = box((8, 8, 8), 1, 7)
    layer[3, 3, 3] = layer[3, 4, 4] = 0
    layer[3, 4, 5:] = 0
    assert measure_cavities(segmentation(layer))[0].voxel_count == 1


def test_a_hole_with_another_segment_in_it_is_nobody_s() -> None:
    layer = box((10, 10, 10), 1, 9)
    layer[3:7, 3:7, 3:7] = 0
    layer[4, 4, 4] = 2
    assert [found.voxel_count for found in measure_cavities(segmentation(layer))] == [0, 0]


def test_what_another_layer_labels_is_no_hole() -> None:
    first, second = box((10, 10, 10), 1, 9), np.zeros((10, 10, 10), np.uint8)
    first[3:6, 3:6, 3:6] = 0
    second[3:6, 3:6, 3:5] = 2
    assert [found.voxel_count for found in measure_cavities(segmentation(first, second))] == [9, 0]


def test_at_the_edge_of_the_volume_nothing_is_enclosed() -> None:
    layer = np.ones((6, 6, 6), np.uint8)
    layer[0, 3, 3] = layer[3, 0, 3] = layer[3, 3, 0] = layer[3, 3, 5] = 0
    assert measure_cavities(segmentation(layer.copy()))[0].voxel_count == 0
    layer[2, 2, 2] = 0
    assert measure_cavities(segmentation(layer))[0].voxel_count == 1


def test_no_voxels_no_holes() -> None:
    assert measure_cavities(segmentation(np.zeros((3, 4, 5), np.uint8), count=2))[1].voxel_count == 0
