"""Padding: low, and connected to the edge of its slice."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from segqa_dicom.measures import measure_segmentation, padding_voxel_counts
from segqa_dicom.model import CtFacts

from .factories import blobs, ct_volume, noise, segmentation, uniform_geometry

SHAPE = (6, 24, 24)


def scanner_circle(outside_hu: float, dtype: type = np.int16) -> np.ndarray:
    """Soft tissue within the circle that a scanner reconstructs, `outside_hu` around it."""
    i, j = np.indices(SHAPE[1:])
    outside = (i - 11.5) ** 2 + (j - 11.5) ** 2 > 12**2
    hu = np.full(SHAPE, 40, dtype)
    hu[:, outside] = outside_hu
    return hu


def by_definition(labels: np.ndarray, low: np.ndarray, count: int) -> list[int]:
    padding = np.zeros(labels.shape, bool)
    for k in range(len(labels)):
        regions, regions_count = ndimage.label(low[k], np.ones((3, 3)))
        for number in range(1, regions_count + 1):
            rows, columns = np.nonzero(regions == number)
            if {0, labels.shape[1] - 1} & set(rows) or {0, labels.shape[2] - 1} & set(columns):
                padding[k] |= regions == number
    return [int((labels[padding] == label).sum()) for label in range(1, count + 1)]


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("labels", [blobs(SHAPE, 5, np.uint8), noise(SHAPE, 400, np.uint16)], ids=["blobs", "noise"])
def test_voxels_outside_the_reconstructed_circle_are_counted(dtype: type, labels: np.ndarray) -> None:
    hu = scanner_circle(-2000, dtype)
    subject = segmentation(labels)
    counts = padding_voxel_counts(subject, ct_volume(uniform_geometry(SHAPE), hu))
    assert counts.dtype == np.int64
    assert counts.tolist() == by_definition(labels, hu <= -1500, len(subject.segments))
    assert counts.sum() > 0


@pytest.mark.parametrize("share_low", [0.1, 0.4, 0.6])
def test_regions_are_exact_in_noise(share_low: float) -> None:
    hu = np.where(np.random.default_rng(5).random(SHAPE) < share_low, -1500, -1499).astype(np.int16)
    labels = noise(SHAPE, 3, np.uint8)
    counts = padding_voxel_counts(segmentation(labels), ct_volume(uniform_geometry(SHAPE), hu))
    assert counts.tolist() == by_definition(labels, hu <= -1500, 3)


def test_low_pixels_inside_are_not_padding() -> None:
    hu = np.full(SHAPE, 40, np.int16)
    hu[:, 8:12, 8:12] = -3024
    subject = segmentation(np.ones(SHAPE, np.uint8))
    assert padding_voxel_counts(subject, ct_volume(uniform_geometry(SHAPE), hu)).tolist() == [0]


def test_slices_are_judged_one_by_one() -> None:
    hu = np.full(SHAPE, 40, np.int16)
    hu[2, :, 0] = -2000
    hu[3, 1:-1, 1] = -2000
    subject = segmentation(np.ones(SHAPE, np.uint8))
    assert padding_voxel_counts(subject, ct_volume(uniform_geometry(SHAPE), hu)).tolist() == [SHAPE[1]]


@pytest.mark.parametrize("place", [np.s_[1, 0, 5:8], np.s_[1, -1, 5:8], np.s_[1, 5:8, 0], np.s_[1, 5:8, -1]])
def test_a_region_may_begin_at_any_edge(place: tuple[int | slice, ...]) -> None:
    hu = np.full(SHAPE, 40, np.int16)
    hu[place] = -2000
    subject = segmentation(np.ones(SHAPE, np.uint8))
    assert padding_voxel_counts(subject, ct_volume(uniform_geometry(SHAPE), hu)).tolist() == [3]


def test_diagonal_neighbours_are_connected() -> None:
    hu = np.full((1, 6, 6), 40, np.int16)
    hu[0, np.arange(5), np.arange(5)] = -2000
    subject = segmentation(np.ones((1, 6, 6), np.uint8))
    assert padding_voxel_counts(subject, ct_volume(uniform_geometry((1, 6, 6)), hu)).tolist() == [5]


@pytest.mark.parametrize(
    ("outside_hu", "facts", "is_padding"),
    [
        pytest.param(-1024, CtFacts(), False, id="air is no padding by itself"),
        pytest.param(-1024, CtFacts(padding_hu=(-1024.0, -1024.0)), True, id="padding value"),
        pytest.param(-1024, CtFacts(padding_hu=(-1024.5, -1023.5)), True, id="padding range"),
        pytest.param(-1024, CtFacts(padding_hu=(-1023.9, -1000.0)), False, id="just outside the range"),
        pytest.param(-1024, CtFacts(padding_hu=(-1024.0, -1024.0), hu_defined=False), True, id="no HU, padding value"),
        pytest.param(-2000, CtFacts(hu_defined=False), False, id="no HU, nothing known"),
        pytest.param(-2000, CtFacts(padding_hu=(-1024.0, -1024.0)), True, id="low beside a padding value"),
        pytest.param(-2000, CtFacts(padding_hu=(-90000.0, -80000.0), hu_defined=False), False, id="out of the type"),
    ],
)
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_what_counts_as_padding(outside_hu: float, facts: CtFacts, is_padding: bool, dtype: type) -> None:
    hu = scanner_circle(outside_hu, dtype)
    subject = segmentation(np.ones(SHAPE, np.uint8))
    counts = padding_voxel_counts(subject, ct_volume(uniform_geometry(SHAPE), hu, facts))
    assert counts.tolist() == [int((hu == outside_hu).sum()) if is_padding else 0]


def test_every_layer_is_looked_at() -> None:
    hu = scanner_circle(-2000)
    first, second = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    first[0, :, 0], second[0, :, 0], second[5, 0, 0] = 1, 2, 3
    subject = segmentation(first, second)
    measures = measure_segmentation(subject, ct_volume(uniform_geometry(SHAPE), hu))
    low = int((hu[0, :, 0] == -2000).sum())
    assert [measure.padding_voxel_count for measure in measures] == [low, low, 1]
