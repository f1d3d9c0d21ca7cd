"""HU statistics against NumPy on the voxels of a mask."""

from __future__ import annotations

import math
from dataclasses import astuple
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segqa_dicom.measures import intensity, measure_intensities
from segqa_dicom.measures.intensity import _groups, _median_in_place
from segqa_dicom.model import CtFacts
from tests.tiers import examples

from .factories import blobs, ct_volume, noise, segmentation, uniform_geometry

SHAPE = (8, 20, 30)


def hu_of(dtype: type, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 900, SHAPE)
    return values.astype(dtype) if dtype is np.float32 else np.rint(values).astype(dtype)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
@pytest.mark.parametrize("labels", [blobs(SHAPE, 6, np.uint8), noise(SHAPE, 300, np.uint16)], ids=["blobs", "noise"])
@pytest.mark.parametrize("value_budget", [10**9, 100, 1], ids=["at once", "in groups", "one by one"])
@pytest.mark.parametrize("max_rows", [512, 0], ids=["counted", "gathered"])
def test_statistics_are_those_of_numpy(
    dtype: type, labels: np.ndarray, value_budget: int, max_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intensity, "MAX_TABLE_ROWS", max_rows)
    hu = hu_of(dtype)
    ct = ct_volume(uniform_geometry(SHAPE), hu)
    subject = segmentation(labels, count=301)
    for label, measured in enumerate(measure_intensities(subject, ct, value_budget=value_budget), start=1):
        values = hu[labels == label].astype(np.float64)
        if not values.size:
            assert measured is None
            continue
        assert measured is not None
        assert measured.mean_hu == pytest.approx(values.mean(), abs=1e-9)
        assert measured.sd_hu == pytest.approx(values.std(), abs=1e-9)
        assert (measured.min_hu, measured.max_hu) == (values.min(), values.max())
        assert measured.median_hu == np.median(values)


def exact(values: np.ndarray) -> tuple[float, float, float, float, float]:
    """Mean, SD, minimum, maximum and median of whole numbers, each rounded once (the SD twice)."""
    numbers = sorted(int(value) for value in values)
    mean = Fraction(sum(numbers), len(numbers))
    variance = sum((number - mean) ** 2 for number in numbers) / len(numbers)
    median = Fraction(numbers[(len(numbers) - 1) // 2] + numbers[len(numbers) // 2], 2)
    return float(mean), math.sqrt(variance), float(numbers[0]), float(numbers[-1]), float(median)


@examples(60)
@given(st.data())
def test_statistics_of_whole_hu_are_exact(data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=3, max_dims=3, max_side=5))
    values = st.one_of(st.integers(-32768, 32767), st.sampled_from([-32768, -1, 0, 1, 32767]))
    hu = data.draw(hnp.arrays(np.int16, shape, elements=values))
    labels = data.draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 2)))
    measured = measure_intensities(segmentation(labels, count=2), ct_volume(uniform_geometry(shape), hu))
    for label, one in enumerate(measured, start=1):
        assert (one is None) == (not (labels == label).any())
        if one is not None:
            assert astuple(one)[:5] == exact(hu[labels == label])


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_statistics_do_not_depend_on_memory_order_direction_or_numbering(dtype: type) -> None:
    hu, labels = hu_of(np.int16).astype(dtype), blobs(SHAPE, 6, np.uint8)
    order = np.array([0, 4, 2, 6, 1, 3, 5], np.uint8)
    geometry = uniform_geometry(SHAPE)
    expected = measure_intensities(segmentation(labels, count=6), ct_volume(geometry, hu))
    in_fortran_order = segmentation(np.asfortranarray(labels), count=6)
    assert measure_intensities(in_fortran_order, ct_volume(geometry, np.asfortranarray(hu))) == expected
    renumbered = measure_intensities(segmentation(order[labels], count=6), ct_volume(geometry, hu))
    assert tuple(renumbered[order[label] - 1] for label in range(1, 7)) == expected
    for axis in range(3):
        turned = segmentation(np.flip(labels, axis), count=6)
        for one, other in zip(
            measure_intensities(turned, ct_volume(geometry, np.flip(hu, axis))), expected, strict=True
        ):
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                assert astuple(one)[:5] == pytest.approx(astuple(other)[:5], abs=0 if dtype is np.int16 else 1e-9)


def test_higher_hu_everywhere_move_all_but_the_sd() -> None:
    hu, labels = hu_of(np.int16), blobs(SHAPE, 3, np.uint8)
    before, after = (
        measure_intensities(segmentation(labels), ct_volume(uniform_geometry(SHAPE), volume))
        for volume in (hu, hu + 100)
    )
    for one, other in zip(before, after, strict=True):
        assert one is not None
        assert other is not None
        moved = (one.mean_hu + 100, one.sd_hu, one.min_hu + 100, one.max_hu + 100, one.median_hu + 100)
        assert astuple(other)[:5] == pytest.approx(moved, rel=1e-14)


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_shares_of_air_fat_and_dense_voxels(dtype: type) -> None:
    hu, labels = (hu_of(np.int16) // 20).astype(dtype), blobs(SHAPE, 3, np.uint8)
    hu[:, :5] = np.array([-501, -500, -191, -190, -30, -29, 100, 101])[np.arange(hu[:, :5].size) % 8].reshape(
        hu[:, :5].shape
    )
    for label, one in enumerate(measure_intensities(segmentation(labels), ct_volume(uniform_geometry(SHAPE), hu)), 1):
        assert one is not None
        values = hu[labels == label]
        shares = (values < -500).mean(), ((values >= -190) & (values <= -30)).mean(), (values > 100).mean()
        assert one.shares is not None
        assert astuple(one.shares) == pytest.approx(shares, rel=1e-12)


@pytest.mark.slow
def test_65535_labels_are_measured() -> None:
    labels = np.arange(65536, dtype=np.uint16).reshape(16, 64, 64)
    hu = (labels.astype(np.int64) - 32768).astype(np.int16)
    measured = measure_intensities(
        segmentation(labels, layer_of=[0] * 65535), ct_volume(uniform_geometry((16, 64, 64)), hu)
    )
    assert [one.mean_hu for one in measured if one is not None] == list(range(-32767, 32768))


def test_labels_that_no_segment_has_are_left_out() -> None:
    labels = np.full(SHAPE, 255, np.uint8)
    labels[0] = 2
    hu = hu_of(np.int16)
    measured = measure_intensities(segmentation(labels, count=2), ct_volume(uniform_geometry(SHAPE), hu))
    assert measured[0] is None
    assert measured[1] is not None
    assert measured[1].min_hu == hu[0].min()


def test_groups_hold_no_more_than_the_budget_or_one_segment() -> None:
    counts = np.array([0, 50, 60, 200, 10, 20, 70, 0], np.int64)
    assert list(_groups([0, 1, 2, 3, 4, 5, 6], counts, 100)) == [[0], [1], [2], [3, 4, 5, 6]]
    assert list(_groups([], counts, 100)) == []


def test_sd_of_large_equal_values_is_zero() -> None:
    hu = np.full(SHAPE, 32767, np.int16)
    (measured,) = measure_intensities(segmentation(np.ones(SHAPE, np.uint8)), ct_volume(uniform_geometry(SHAPE), hu))
    assert measured is not None
    assert (measured.mean_hu, measured.sd_hu, measured.median_hu) == (32767.0, 0.0, 32767.0)


@pytest.mark.parametrize(
    ("values", "median"),
    [([5], 5.0), ([5, 8], 6.5), ([9, 1, 4], 4.0), ([-32768, 32767], -0.5), ([1, 1, 2, 2], 1.5), ([3, 3, 3, 9], 3.0)],
)
def test_median_of_few_voxels(values: list[int], median: float) -> None:
    hu = np.array(values, np.int16).reshape(1, 1, -1)
    ct = ct_volume(uniform_geometry(hu.shape), hu)
    (measured,) = measure_intensities(segmentation(np.ones(hu.shape, np.uint8)), ct)
    assert measured is not None
    assert measured.median_hu == median


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_median_of_many_voxels(dtype: type) -> None:
    rng = np.random.default_rng(2)
    for size in range(3000, 3400):
        values = rng.normal(0, 9000, size).clip(-32000, 32000).astype(dtype)
        expected = np.median(values.astype(np.float64))
        assert _median_in_place(values) == expected


def test_overlapping_segments_both_get_their_voxels() -> None:
    hu = hu_of(np.int16)
    first, second = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    first[:5], second[3:] = 1, 2
    one, other = measure_intensities(segmentation(first, second), ct_volume(uniform_geometry(SHAPE), hu))
    assert one is not None
    assert other is not None
    assert one.mean_hu == pytest.approx(hu[:5].mean())
    assert other.mean_hu == pytest.approx(hu[3:].mean())


def test_ct_that_is_not_in_hu_gives_no_intensities() -> None:
    ct = ct_volume(uniform_geometry(SHAPE), hu_of(np.int16), CtFacts(hu_defined=False))
    assert measure_intensities(segmentation(blobs(SHAPE, 3, np.uint8), count=3), ct) == (None, None, None)


def test_hu_stay_as_they_were() -> None:
    hu = hu_of(np.int16)
    before = hu.copy()
    measure_intensities(segmentation(noise(SHAPE, 4, np.uint8)), ct_volume(uniform_geometry(SHAPE), hu))
    assert np.array_equal(hu, before)


def test_ct_of_another_shape_is_refused() -> None:
    ct = ct_volume(uniform_geometry(SHAPE), hu_of(np.int16))
    with pytest.raises(ValueError, match="does not fit"):
        measure_intensities(segmentation(np.ones((8, 30, 20), np.uint8)), ct)
