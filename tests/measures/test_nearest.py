"""Nearest surface elements against brute force and SciPy's KD-tree: the near and the far search, and both together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial import cKDTree

from segqa_dicom.measures import Surface, Surfaces, extract_surfaces, nearest_local
from segqa_dicom.measures.distances import nearest_distances_mm
from segqa_dicom.measures.nearest_local import near_rows, nearest_bins
from segqa_dicom.measures.nearest_tree import far_distances_mm
from tests.tiers import examples

from .factories import blobs, noise, segmentation

Spacing = tuple[float, float, float]

SPACINGS: list[Spacing] = [
    (1.0, 1.0, 1.0),
    (1.12, 0.715, 0.715),
    (5.0, 0.8, 0.7),
    (0.5, 3.0, 3.0),
    (0.02, 0.02, 0.02),
    (0.7421875, 1.25, 2.0),
    (60.0, 1.0, 1.0),  # no other slice within reach
    (9.0, 9.0, 0.1),  # no other row within reach of the window
    (0.01, 1.0, 8.0),
    (1000.0, 0.001, 1.0),
]


def surface_of(mask: np.ndarray) -> Surface:
    found = extract_surfaces(segmentation(mask.astype(np.uint8), count=1))
    assert isinstance(found, Surfaces)
    return found.of(0)


def surface_of_cells(grid: tuple[int, int, int], indices: np.ndarray) -> Surface:
    """Elements anywhere in a grid, which need not be those of a mask."""
    places = np.unique(np.ravel_multi_index(tuple(np.asarray(indices, np.int64).T), grid))
    cell_type = np.uint32 if np.prod(grid, dtype=np.float64) <= 2**32 else np.int64
    return Surface(places.astype(cell_type), np.full(places.size, 1, np.uint8), grid)


def squares_mm2(offsets: np.ndarray, spacing_mm: Spacing) -> np.ndarray:
    slices, rows, columns = (np.square(offsets[..., axis] * spacing_mm[axis]) for axis in range(3))
    return slices + rows + columns


def by_brute_force(queries: Surface, targets: Surface, spacing_mm: Spacing) -> np.ndarray:
    offsets = queries.indices[:, None].astype(np.int64) - targets.indices[None]
    return np.sqrt(squares_mm2(offsets, spacing_mm).min(axis=1))


def by_tree(queries: Surface, targets: Surface, spacing_mm: Spacing) -> np.ndarray:
    scale = np.array(spacing_mm)
    _, nearest = cKDTree(targets.indices * scale).query(queries.indices * scale)
    return np.sqrt(squares_mm2(queries.indices - targets.indices[nearest], spacing_mm))


def assert_nearest(queries: Surface, targets: Surface, spacing_mm: Spacing, expected: np.ndarray) -> None:
    """All three ways have the expected distances; the near one where it has any, which is wherever it must."""
    np.testing.assert_allclose(nearest_distances_mm(queries, targets, spacing_mm), expected, rtol=1e-14)
    np.testing.assert_allclose(far_distances_mm(queries.cells, targets, spacing_mm), expected, rtol=1e-14)
    rows = near_rows(spacing_mm)
    bins = nearest_bins(queries, targets, rows)
    np.testing.assert_allclose(rows.distances_mm[bins][bins >= 0], expected[bins >= 0], rtol=1e-14)
    assert (expected[bins < 0] >= np.sqrt(rows.limit_mm2) * (1 - 1e-12)).all()


@examples(60)
@given(st.data())
def test_distances_are_exact_to_the_last_bit_for_any_small_masks(data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=3, max_dims=3, max_side=6))
    masks = [data.draw(hnp.arrays(bool, shape)) for _ in range(2)]
    spacing_mm = data.draw(st.sampled_from(SPACINGS))
    queries, targets = (surface_of(mask) for mask in masks)
    if not (queries.count and targets.count):
        assert np.isinf(nearest_distances_mm(queries, targets, spacing_mm)).all()
        return
    expected = by_brute_force(queries, targets, spacing_mm)
    assert nearest_distances_mm(queries, targets, spacing_mm).tolist() == expected.tolist()
    assert far_distances_mm(queries.cells, targets, spacing_mm).tolist() == expected.tolist()


@examples(60)
@given(st.data())
def test_scattered_elements_in_large_grids_have_exact_distances(data: st.DataObject) -> None:
    grid = data.draw(st.tuples(st.integers(1, 400), st.integers(1, 400), st.integers(1, 400)))
    place = st.tuples(*(st.integers(0, extent - 1) for extent in grid))
    queries, targets = (
        surface_of_cells(grid, np.array(data.draw(st.lists(place, min_size=1, max_size=30)))) for _ in range(2)
    )
    spacing_mm = data.draw(st.tuples(*[st.floats(0.01, 50.0)] * 3))
    expected = by_brute_force(queries, targets, spacing_mm)
    assert nearest_distances_mm(queries, targets, spacing_mm).tolist() == expected.tolist()
    assert far_distances_mm(queries.cells, targets, spacing_mm).tolist() == expected.tolist()


def pairs() -> list[object]:
    shape = (24, 70, 150)
    large, small = blobs(shape, 6, np.uint8, seed=2) > 0, blobs(shape, 3, np.uint8, seed=3) > 0
    halves = np.zeros((2, *shape), bool)
    halves[0, 3:20, 5:60, 2:40], halves[1, :, :, 110:] = True, large[:, :, 110:]
    assert all(mask.any() for mask in (large, small, *halves))
    corners = np.zeros(shape, bool)
    corners[[0, -1, 0], [0, -1, -1], [0, -1, 0]] = True
    salted = large ^ (np.random.default_rng(0).random(shape) < 0.002)
    return [
        pytest.param(large, small, id="blobs"),
        pytest.param(large, np.roll(large, 20, axis=2), id="shifted by 20 voxels"),
        pytest.param(large, salted, id="salt"),
        pytest.param(halves[0], halves[1], id="apart"),
        pytest.param(corners, large, id="islands in the corners"),
        pytest.param(np.ones(shape, bool), small, id="touching every face"),
        pytest.param(noise(shape, 1, np.uint8, background=0.97) > 0, noise(shape, 1, np.uint8) > 0, id="noise"),
    ]


@pytest.mark.parametrize(("one", "other"), pairs())
@pytest.mark.parametrize("spacing_mm", SPACINGS)
def test_distances_are_those_of_a_tree(one: np.ndarray, other: np.ndarray, spacing_mm: Spacing) -> None:
    surfaces = surface_of(one), surface_of(other)
    for queries, targets in (surfaces, surfaces[::-1]):
        assert_nearest(queries, targets, spacing_mm, by_tree(queries, targets, spacing_mm))


def test_identical_surfaces_have_no_distance() -> None:
    surface = surface_of(noise((9, 20, 90), 1, np.uint8) > 0)
    for spacing_mm in SPACINGS:
        assert_nearest(surface, surface, spacing_mm, np.zeros(surface.count))


@pytest.mark.parametrize("spacing_mm", SPACINGS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_offset_along_an_axis(axis: int, spacing_mm: Spacing) -> None:
    grid = (150, 150, 150)
    for offset in range(-70, 71):
        place = np.full((1, 3), 75)
        query = surface_of_cells(grid, place)
        place[0, axis] += offset
        found = nearest_distances_mm(query, surface_of_cells(grid, place), spacing_mm)
        assert found.tolist() == [abs(offset) * spacing_mm[axis]]


@pytest.mark.parametrize("word_budget", [1, 2_000])
def test_slices_searched_in_turn_have_the_same_distances(word_budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (surface_of(blobs((30, 20, 80), 5, np.uint8, seed=seed) > 0) for seed in (0, 1))
    expected = [nearest_bins(one, other, near_rows(spacing_mm)).tolist() for spacing_mm in SPACINGS]
    monkeypatch.setattr(nearest_local, "WORD_BUDGET", word_budget)
    assert [nearest_bins(one, other, near_rows(spacing_mm)).tolist() for spacing_mm in SPACINGS] == expected


@examples(60)
@given(st.tuples(*[st.floats(1e-3, 1e3)] * 3))
def test_no_row_within_the_limit_is_left_out(spacing_mm: Spacing) -> None:
    rows = near_rows(spacing_mm)
    assert 1 <= rows.squares_mm2.size <= nearest_local.ROW_LIMIT
    assert (np.diff(rows.squares_mm2) >= 0).all()
    assert rows.limit_mm2 <= (32 * spacing_mm[2]) ** 2
    slices, rows_ = np.mgrid[-130:131, -130:131]
    squares = np.square(slices * spacing_mm[0]) + np.square(rows_ * spacing_mm[1])
    assert (squares < rows.limit_mm2).sum() <= rows.squares_mm2.size
    assert set(rows.squares_mm2.tolist()) >= set(squares[squares < rows.limit_mm2].tolist())


def test_grid_with_more_cells_than_32_bits() -> None:
    grid, spacing_mm = (5000, 1000, 1000), (1.0, 0.7, 0.7)
    rng = np.random.default_rng(0)
    indices = rng.integers((4500, 0, 0), (5000, 1000, 1000), (3000, 3))
    nearby = np.clip(indices[:2000] + rng.integers(-3, 4, (2000, 3)), 0, (4999, 999, 999))
    queries, targets = surface_of_cells(grid, indices), surface_of_cells(grid, nearby)
    assert queries.cells.dtype == np.int64
    assert_nearest(queries, targets, spacing_mm, by_tree(queries, targets, spacing_mm))


def test_islands_at_both_ends_of_a_long_scan() -> None:
    grid, spacing_mm = (1201, 513, 513), (1.0, 0.7, 0.7)
    ends = [[0, 0, 0], [1, 2, 3], [1200, 512, 512], [1199, 500, 510]]
    queries, targets = surface_of_cells(grid, np.array(ends)), surface_of_cells(grid, np.array(ends[1:3]))
    assert_nearest(queries, targets, spacing_mm, by_brute_force(queries, targets, spacing_mm))


def test_65535_labels_have_their_distances() -> None:
    volume = np.arange(65536, dtype=np.uint16).reshape(16, 64, 64)
    moved = np.random.default_rng(0).permutation(volume.ravel()).reshape(volume.shape)
    found = [extract_surfaces(segmentation(one, layer_of=[0] * 65535)) for one in (volume, moved)]
    assert all(isinstance(one, Surfaces) for one in found)
    for index in range(0, 65535, 1311):
        one, other = (surfaces.of(index) for surfaces in found)  # type: ignore[union-attr]
        expected = by_brute_force(one, other, (1.1, 0.7, 0.9))
        assert nearest_distances_mm(one, other, (1.1, 0.7, 0.9)).tolist() == expected.tolist()
