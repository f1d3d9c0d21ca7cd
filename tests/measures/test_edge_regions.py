"""Regions at the edge of a slice, and what is counted in them, against scipy.ndimage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from segqa_dicom.measures import find_runs
from segqa_dicom.measures.edge_regions import EdgeRegions, count_in_regions, find_edge_regions
from tests.tiers import examples

from .factories import blobs, noise

CROSS, SQUARE = ndimage.generate_binary_structure(2, 1), ndimage.generate_binary_structure(2, 2)


def by_definition(mask: np.ndarray, *, diagonal: bool, shrink: bool) -> np.ndarray:
    found = np.zeros(mask.shape, bool)
    for k, one in enumerate(mask):
        numbers, _ = ndimage.label(one, SQUARE if diagonal else CROSS)
        at_edge = np.concatenate((numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]))
        found[k] = np.isin(numbers, at_edge[at_edge > 0])
        if shrink:
            found[k] = ndimage.binary_erosion(found[k], SQUARE, border_value=1)
    return found


def found_in(mask: np.ndarray, *, diagonal: bool, shrink: bool) -> np.ndarray:
    regions = find_edge_regions(mask.astype(np.int16), lambda part: part > 0, diagonal=diagonal, shrink=shrink)
    if regions is None:
        return np.zeros(mask.shape, bool)
    assert regions.shape == mask.shape
    return unpacked(regions)


def unpacked(regions: EdgeRegions) -> np.ndarray:
    slices, rows, columns = regions.shape
    bits = np.unpackbits(regions.bits.view(np.uint8), axis=1, bitorder="little")
    assert not bits[:, columns:].any()
    return bits[:, :columns].reshape(slices, rows, columns).astype(bool)


def assert_exact(mask: np.ndarray) -> None:
    for diagonal in (False, True):
        for shrink in (False, True):
            expected = by_definition(mask, diagonal=diagonal, shrink=shrink)
            assert np.array_equal(found_in(mask, diagonal=diagonal, shrink=shrink), expected), (diagonal, shrink)


def spiral(size: int) -> np.ndarray:
    """One corridor of width 1 from the edge to the middle."""
    mask = np.zeros((1, size, size), bool)
    row, column, step = 0, -1, (0, 1)
    for length in [size, *(n for m in range(size - 1, 0, -2) for n in (m, m))]:
        for _ in range(length):
            row, column = row + step[0], column + step[1]
            mask[0, row, column] = True
        step = (step[1], -step[0])
    return mask


def meander(rows: int, columns: int) -> np.ndarray:
    """One corridor that goes up and down all the way from left to right."""
    mask = np.zeros((1, rows, columns), bool)
    mask[0, 1:-1, 0::2] = True
    mask[0, -2, 1::4] = True
    mask[0, 1, 3::4] = True
    return mask


def ring(rows: int, columns: int) -> np.ndarray:
    """Air, a wall, air inside."""
    mask = np.ones((1, rows, columns), bool)
    mask[0, 2:-2, 2:-2] = False
    mask[0, 3:-3, 3:-3] = True
    return mask


MASKS = [
    pytest.param(np.zeros((2, 5, 6), bool), id="nothing"),
    pytest.param(np.ones((2, 5, 6), bool), id="everything"),
    pytest.param(np.ones((1, 1, 1), bool), id="one voxel"),
    pytest.param(np.ones((3, 1, 200), bool), id="one row"),
    pytest.param(np.ones((3, 200, 1), bool), id="one column"),
    pytest.param(spiral(70), id="spiral"),
    pytest.param(spiral(70)[:, ::-1, ::-1].copy(), id="spiral turned"),
    pytest.param(meander(20, 133), id="meander"),
    pytest.param(meander(133, 20).swapaxes(1, 2).copy(), id="meander turned"),
    pytest.param(ring(9, 64), id="ring in one word"),
    pytest.param(ring(9, 65), id="ring over two words"),
    pytest.param(ring(9, 128), id="ring in two words"),
    pytest.param(np.eye(130, dtype=bool)[None], id="diagonal"),
    pytest.param(np.eye(130, dtype=bool)[None, :, ::-1].copy(), id="other diagonal"),
    pytest.param(np.indices((1, 70, 130)).sum(axis=0) % 2 == 0, id="checkerboard"),
    *(pytest.param(np.random.default_rng(n).random((3, 40, 130)) < n / 10, id=f"noise {n}") for n in range(1, 10)),
    *(pytest.param(np.random.default_rng(n).random((2, 30, n)) < 0.6, id=f"{n} columns") for n in (2, 63, 64, 65, 127)),
]


@pytest.mark.parametrize("mask", MASKS)
def test_regions_are_those_of_ndimage(mask: np.ndarray) -> None:
    assert_exact(mask)


@examples(60)
@given(
    hnp.arrays(
        np.bool_,
        st.tuples(st.integers(1, 2), st.integers(1, 9), st.one_of(st.integers(1, 9), st.integers(62, 67))),
        elements=st.booleans(),
        fill=st.booleans(),
    )
)
def test_regions_are_exact_for_any_small_mask(mask: np.ndarray) -> None:
    assert_exact(mask)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_regions_do_not_depend_on_direction(axis: int) -> None:
    mask = np.random.default_rng(1).random((3, 33, 97)) < 0.6
    turned = found_in(np.flip(mask, axis), diagonal=False, shrink=True)
    assert np.array_equal(turned, np.flip(found_in(mask, diagonal=False, shrink=True), axis))


def test_volume_in_any_memory_order_is_read_by_index() -> None:
    mask = np.random.default_rng(1).random((3, 33, 97)) < 0.6
    expected = by_definition(mask, diagonal=True, shrink=False)
    assert np.array_equal(found_in(np.asfortranarray(mask), diagonal=True, shrink=False), expected)


def test_without_anything_at_an_edge_there_are_no_regions() -> None:
    hu = np.zeros((2, 9, 9), np.int16)
    hu[:, 2:5, 2:5] = 1
    assert find_edge_regions(hu, lambda part: part > 0, diagonal=True, shrink=False) is None


def counted(labels: np.ndarray, region: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The definition: voxels of each label in the region, the middle one of the first slice that has any."""
    places = np.full((size, 3), -1)
    for label in set(np.unique(labels[region]).tolist()) - {0}:
        where = np.argwhere(region & (labels == label))
        first = where[where[:, 0] == where[0, 0]]
        places[label] = first[len(first) // 2]
    counts = np.bincount(labels[region], minlength=size)
    counts[0] = 0
    return counts, places


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param(blobs((4, 40, 130), 6, np.uint8), id="blobs"),
        pytest.param(noise((4, 40, 130), 3, np.uint8), id="noise"),
        pytest.param(noise((4, 40, 130), 65535, np.uint16), id="many labels"),
        pytest.param(np.full((4, 40, 130), 65535, np.uint16), id="the largest label everywhere"),
        pytest.param(np.zeros((4, 40, 130), np.uint8), id="empty"),
    ],
)
@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_counts_and_places_are_those_of_the_definition(labels: np.ndarray, share: float) -> None:
    mask = np.random.default_rng(3).random(labels.shape) < share
    regions = find_edge_regions(mask.astype(np.int16), lambda part: part > 0, diagonal=True, shrink=False)
    assert regions is not None
    size = np.iinfo(labels.dtype).max + 1
    counts, places = count_in_regions(regions, find_runs(labels), size)
    expected_counts, expected_places = counted(labels, unpacked(regions), size)
    assert np.array_equal(counts, expected_counts)
    assert np.array_equal(places, expected_places)


@examples(60)
@given(st.data())
def test_counts_and_places_are_exact_for_any_small_volume(data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=3, max_dims=3, max_side=7))
    labels = data.draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 3)))
    mask = data.draw(hnp.arrays(np.bool_, shape))
    regions = find_edge_regions(mask.astype(np.int16), lambda part: part > 0, diagonal=False, shrink=False)
    if regions is not None:
        counts, places = count_in_regions(regions, find_runs(labels), 256)
        expected_counts, expected_places = counted(labels, unpacked(regions), 256)
        assert np.array_equal(counts, expected_counts)
        assert np.array_equal(places, expected_places)


def test_regions_that_no_label_comes_near_are_not_connected() -> None:
    volume, labels = np.zeros((2, 9, 80), np.int16), np.zeros((2, 9, 80), np.uint8)
    volume[:, 0], labels[:, 1:] = 1, 1
    regions = find_edge_regions(volume, lambda part: part > 0, diagonal=True, shrink=False)
    assert regions is not None
    assert not count_in_regions(regions, find_runs(labels), 256)[0].any()
    assert "bits" not in vars(regions)
    labels[1, 0, 79] = 7
    assert count_in_regions(regions, find_runs(labels), 256)[1][7].tolist() == [1, 0, 79]


def test_layer_of_another_shape_is_refused() -> None:
    regions = find_edge_regions(np.ones((1, 2, 3), np.int16), lambda part: part > 0, diagonal=True, shrink=False)
    assert regions is not None
    with pytest.raises(ValueError, match="does not fit"):
        count_in_regions(regions, find_runs(np.ones((1, 3, 2), np.uint8)), 256)
