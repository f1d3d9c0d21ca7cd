"""Each injected error does what it says, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from segqa_dicom.phantoms import errors


@pytest.fixture
def labels() -> np.ndarray:
    volume = np.zeros((20, 30, 30), np.uint8)
    for value in range(1, 5):
        volume[2:12, 5:12, 6 * value - 4 : 6 * value] = value
    return volume


def unchanged_elsewhere(before: np.ndarray, after: np.ndarray, *values: int) -> bool:
    others = ~np.isin(before, values) & (before > 0)
    return bool((after[others] == before[others]).all())


def test_input_stays_as_it_is(labels: np.ndarray) -> None:
    before = labels.copy()
    errors.swap(labels, 1, 2)
    errors.leak(labels, 1, rows=3, columns=3)
    errors.add_island(labels, 1, (15, 20, 20), (1, 1, 2))
    errors.jitter(labels, seed=1)
    assert np.array_equal(before, labels)


def test_swap_exchanges_two(labels: np.ndarray) -> None:
    after = errors.swap(labels, 1, 3)
    assert ((after == 3) == (labels == 1)).all()
    assert ((after == 1) == (labels == 3)).all()
    assert unchanged_elsewhere(labels, after, 1, 3)


def test_mirror_exchanges_all_pairs(labels: np.ndarray) -> None:
    after = errors.mirror(labels, [(1, 2), (3, 4)])
    assert ((after == 2) == (labels == 1)).all()
    assert ((after == 3) == (labels == 4)).all()


def test_a_shifted_chain_loses_its_end(labels: np.ndarray) -> None:
    after = errors.shift_levels(labels, [1, 2, 3, 4], 1)
    assert not (after == 1).any()
    assert ((after == 4) == (labels == 3)).all()
    assert (after[labels == 4] == 0).all()


def test_merge_and_remove(labels: np.ndarray) -> None:
    assert ((errors.merge(labels, 1, 2) == 1) == np.isin(labels, (1, 2))).all()
    assert not (errors.remove(labels, 2) == 2).any()


def test_a_piece_goes_to_the_neighbour(labels: np.ndarray) -> None:
    after = errors.take_piece(labels, 1, 2, share=0.3)
    assert 0.2 < (after[labels == 1] == 2).mean() < 0.5
    assert unchanged_elsewhere(labels, after, 1)


def test_an_island_is_apart(labels: np.ndarray) -> None:
    after = errors.add_island(labels, 1, (17, 25, 25), (1, 1, 3))
    assert (after == 1).sum() == (labels == 1).sum() + 3
    assert ndimage.label(after == 1, np.ones((3, 3, 3)))[1] == 2


def test_one_slice_is_gone(labels: np.ndarray) -> None:
    after = errors.drop_slice(labels, 2, 6)
    assert not (after[6] == 2).any()
    assert (after == 2).sum() == (labels == 2).sum() * 9 // 10
    assert unchanged_elsewhere(labels, after, 2)


def test_the_last_slices_are_cut_off(labels: np.ndarray) -> None:
    after = errors.cut_off(labels, 2, share=0.3)
    assert (after == 2).sum() == (labels == 2).sum() * 7 // 10
    assert not (after[9:] == 2).any()
    assert unchanged_elsewhere(labels, after, 2)


def test_a_leak_goes_one_way_and_not_around(labels: np.ndarray) -> None:
    after = errors.leak(labels, 4, rows=0, columns=20)
    grown = np.argwhere((after == 4) & (labels != 4))
    assert len(grown)
    assert grown[:, 2].min() >= np.argwhere(labels == 4)[:, 2].max()


def test_erosion_and_dilation(labels: np.ndarray) -> None:
    assert (errors.erode(labels, 1) == 1).sum() == 8 * 5 * 2
    grown = errors.dilate(labels, 1)
    assert (grown == 1).sum() > (labels == 1).sum()
    assert unchanged_elsewhere(labels, grown, 1)


def test_jitter_keeps_structures_where_they_are() -> None:
    volume = np.zeros((40, 60, 60), np.uint8)
    volume[5:35, 10:50, 10:28] = 1
    volume[5:35, 10:50, 30:50] = 2
    after = errors.jitter(volume, seed=3)
    for value in (1, 2):
        one, other = volume == value, after == value
        assert 0.9 < 2 * (one & other).sum() / (one.sum() + other.sum()) < 1
        assert ndimage.label(other, np.ones((3, 3, 3)))[1] == 1
    assert np.array_equal(after, errors.jitter(volume, seed=3))


def test_a_leak_may_spare_others(labels: np.ndarray) -> None:
    after = errors.leak(labels, 1, rows=0, columns=20, over_others=False)
    assert (after == 1).sum() > (labels == 1).sum()
    assert unchanged_elsewhere(labels, after, 1)


def test_a_flip_moves_all_and_changes_no_label(labels: np.ndarray) -> None:
    after = errors.flip(labels, 2)
    assert np.array_equal(after[:, :, ::-1], labels)
    assert np.array_equal(np.bincount(after.ravel()), np.bincount(labels.ravel()))


def test_a_hollow_structure_is_closed() -> None:
    volume = np.zeros((20, 20, 20), np.uint8)
    volume[3:17, 3:17, 3:17] = 1
    after = errors.hollow(volume, 1, wall=2)
    assert (after == 1).sum() == 14**3 - 10**3
    assert ndimage.label(after == 0)[1] == 2


def test_a_displaced_structure_leaves_its_place(labels: np.ndarray) -> None:
    after = errors.displace(labels, 2, (6, 10, 0))
    assert (after[8:18, 15:22, 8:12] == 2).all()
    assert (after == 2).sum() == (labels == 2).sum()
    assert unchanged_elsewhere(labels, after, 2)


def test_more_labels_than_a_byte_holds(labels: np.ndarray) -> None:
    after = errors.swap(labels.astype(np.uint16) * 100, 100, 300)
    assert after.dtype == np.uint16
    assert ((after == 300) == (labels == 1)).all()
    assert ((after == 400) == (labels == 4)).all()
