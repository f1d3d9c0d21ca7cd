"""Joint counts against np.unique, and the overlap measures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segqa_dicom.measures import (
    dice,
    find_runs,
    iou,
    joint_counts,
    joint_counts_of_layers,
    joint_counts_of_runs,
    overlap,
    volume_difference_percent,
)
from tests.tiers import examples

from .factories import blobs, noise


def by_definition(a: np.ndarray, b: np.ndarray) -> dict[tuple[int, int], int]:
    pairs, counts = np.unique(np.stack((a.ravel(), b.ravel())), axis=1, return_counts=True)
    found = {(int(x), int(y)): int(n) for x, y, n in zip(*pairs, counts, strict=True)}
    found.pop((0, 0), None)
    return found


def as_dict(counts: overlap.JointCounts) -> dict[tuple[int, int], int]:
    return {
        (int(x), int(y)): int(n) for x, y, n in zip(counts.label_a, counts.label_b, counts.voxel_count, strict=True)
    }


VOLUMES = [
    pytest.param(np.zeros((2, 3, 4), np.uint8), np.zeros((2, 3, 4), np.uint16), id="both empty"),
    pytest.param(np.ones((1, 1, 1), np.uint8), np.full((1, 1, 1), 255, np.uint8), id="one voxel"),
    pytest.param(np.full((3, 50, 50), 7, np.uint8), np.zeros((3, 50, 50), np.uint8), id="one label everywhere"),
    pytest.param(noise((9, 31, 67), 255, np.uint8), noise((9, 31, 67), 3, np.uint8, seed=1), id="noise"),
    pytest.param(noise((9, 31, 67), 900, np.uint16), noise((9, 31, 67), 255, np.uint8, seed=1), id="mixed types"),
    pytest.param(blobs((20, 60, 70), 9, np.uint8), blobs((20, 60, 70), 9, np.uint16, seed=1), id="blobs"),
    pytest.param(blobs((1, 64, 64), 4, np.uint8), blobs((1, 64, 64), 4, np.uint8, seed=1), id="exactly one block"),
]  # fmt: skip


@pytest.mark.parametrize(("a", "b"), VOLUMES)
def test_counts_are_those_of_unique_pairs(a: np.ndarray, b: np.ndarray) -> None:
    assert as_dict(joint_counts(a, b)) == by_definition(a, b)


@pytest.mark.parametrize(("a", "b"), VOLUMES)
def test_counts_by_sorting_are_the_same_in_slabs_of_any_size(
    a: np.ndarray, b: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlap, "DENSE_LIMIT", 0)
    monkeypatch.setattr(overlap, "_SLAB_VOXELS", 1000)
    assert as_dict(joint_counts(a, b)) == by_definition(a, b)


@pytest.mark.parametrize(("a", "b"), VOLUMES)
@pytest.mark.parametrize("limit", [10**6, 1000, 0])
def test_counts_of_runs_are_those_of_voxels(
    a: np.ndarray, b: np.ndarray, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlap, "DENSE_LIMIT", limit)
    assert as_dict(joint_counts_of_runs(find_runs(a), find_runs(b))) == by_definition(a, b)


def test_counts_of_runs_are_sorted_and_typed_as_those_of_voxels() -> None:
    a, b = noise((9, 31, 67), 9, np.uint8), noise((9, 31, 67), 900, np.uint16, seed=1)
    one, other = joint_counts(a, b), joint_counts_of_runs(find_runs(a), find_runs(b))
    for name in ("label_a", "label_b", "voxel_count"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
        assert getattr(one, name).dtype == getattr(other, name).dtype


def test_65535_labels_are_counted() -> None:
    a = np.arange(65536, dtype=np.uint16).reshape(16, 64, 64)
    b = a[::-1].copy()
    counts = joint_counts(a, b)
    assert as_dict(counts) == by_definition(a, b)
    assert counts.get(65535, int(b.ravel()[65535])) == 1


@examples(60)
@given(st.data())
def test_counts_are_exact_for_any_small_volumes(data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=3, max_dims=3, max_side=9))
    labels = st.integers(0, 3)
    a = data.draw(hnp.arrays(np.uint8, shape, elements=labels))
    b = data.draw(hnp.arrays(np.uint16, shape, elements=labels))
    assert as_dict(joint_counts(a, b)) == by_definition(a, b)
    assert as_dict(joint_counts_of_runs(find_runs(a), find_runs(b))) == by_definition(a, b)


def test_pairs_are_sorted_and_can_be_asked_for() -> None:
    a, b = blobs((20, 40, 40), 6, np.uint8), blobs((20, 40, 40), 6, np.uint8, seed=5)
    counts = joint_counts(a, b)
    pairs = list(as_dict(counts))
    assert pairs == sorted(pairs)
    for x in range(8):
        for y in range(8):
            expected = int(((a == x) & (b == y)).sum()) if x or y else 0
            assert counts.get(x, y) == expected
        assert counts.total_a(x) == int(((a == x) & ((a > 0) | (b > 0))).sum())
        assert counts.total_b(x) == int(((b == x) & ((a > 0) | (b > 0))).sum())
    assert counts.get(70000, 3) == 0
    assert counts.total_a(70000) == 0


@pytest.mark.parametrize("size", [1, 7, 8, 9, 4095, 4096, 4097, 8192, 8199])
@pytest.mark.parametrize("dtypes", [(np.uint8, np.uint8), (np.uint16, np.uint16), (np.uint16, np.uint8)])
def test_counts_do_not_depend_on_where_blocks_end(size: int, dtypes: tuple[type, type]) -> None:
    a, b = (noise((1, 1, size), 3, dtype, background=0.9, seed=n) for n, dtype in enumerate(dtypes))
    assert as_dict(joint_counts(a, b)) == by_definition(a, b)
    a[:], b[:] = 1, 2
    assert as_dict(joint_counts(a, b)) == {(1, 2): size}


@pytest.mark.parametrize(("a", "b"), VOLUMES)
def test_counts_are_symmetric_and_do_not_depend_on_direction(a: np.ndarray, b: np.ndarray) -> None:
    expected = as_dict(joint_counts(a, b))
    assert {(x, y): n for (y, x), n in as_dict(joint_counts(b, a)).items()} == expected
    for axis in range(3):
        assert as_dict(joint_counts(np.flip(a, axis), np.flip(b, axis))) == expected


def test_permuted_labels_give_permuted_counts() -> None:
    a, b = noise((7, 8, 9), 5, np.uint8), blobs((7, 8, 9), 5, np.uint8)
    order = np.array([0, 3, 5, 1, 2, 4], np.uint8)
    moved = as_dict(joint_counts(order[a], b))
    assert moved == {(int(order[x]), y): n for (x, y), n in as_dict(joint_counts(a, b)).items()}


def test_layers_in_any_memory_order_are_read_by_index() -> None:
    a, b = noise((7, 8, 9), 5, np.uint8), noise((7, 8, 9), 5, np.uint8, seed=1)
    assert as_dict(joint_counts(np.asfortranarray(a), b[:, ::-1][:, ::-1])) == by_definition(a, b)


def test_layers_of_different_shape_are_refused() -> None:
    a, b = np.zeros((1, 2, 3), np.uint8), np.zeros((1, 3, 2), np.uint8)
    with pytest.raises(ValueError, match="cannot overlap"):
        joint_counts(a, b)
    with pytest.raises(ValueError, match="cannot overlap"):
        joint_counts_of_runs(find_runs(a), find_runs(b))


def test_layers_of_two_segmentations_count_as_one() -> None:
    first, second, other = (np.zeros((1, 2, 6), np.uint8) for _ in range(3))
    first[0, 0, :4], second[0, 0, 2:], other[0, 0, 1:5] = 3, 1, 2
    found = joint_counts_of_layers([find_runs(first), find_runs(second)], [find_runs(other)])
    assert (found.label_a.tolist(), found.label_b.tolist()) == ([1, 3], [2, 2])
    assert (found.get(1, 2), found.get(3, 2), found.get(0, 2)) == (3, 3, 0)


@pytest.mark.parametrize(
    ("intersection", "n_a", "n_b", "expected_dice", "expected_iou"),
    [
        pytest.param(0, 0, 0, None, None, id="both empty are undefined"),
        pytest.param(0, 5, 0, 0.0, 0.0, id="one empty is zero"),
        pytest.param(0, 5, 5, 0.0, 0.0, id="apart"),
        pytest.param(7, 7, 7, 1.0, 1.0, id="identical"),
        pytest.param(2, 4, 4, 0.5, 1 / 3, id="half"),
    ],
)
def test_overlap_measures(
    intersection: int, n_a: int, n_b: int, expected_dice: float | None, expected_iou: float | None
) -> None:
    assert dice(intersection, n_a, n_b) == expected_dice
    assert iou(intersection, n_a, n_b) == expected_iou


def test_volume_difference_is_relative_to_the_reference() -> None:
    assert volume_difference_percent(12.0, 10.0) == pytest.approx(20.0)
    assert volume_difference_percent(0.0, 10.0) == -100.0
    assert volume_difference_percent(10.0, 0.0) is None
    assert volume_difference_percent(0.0, 0.0) is None


def test_transposed_counts_are_those_of_the_exchanged_layers() -> None:
    a, b = (np.random.default_rng(seed).integers(0, 6, (4, 9, 17)).astype(np.uint8) for seed in (1, 2))
    turned, expected = joint_counts(a, b).transposed(), joint_counts(b, a)
    assert as_dict(turned) == as_dict(expected)
    assert all(turned.get(x, y) == expected.get(x, y) for x in range(7) for y in range(7))
