"""Runs and components against np.diff and scipy.ndimage.label."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from segqa_dicom.measures import connected_components, find_runs
from segqa_dicom.measures.results import Components

from .factories import blobs, noise

TOUCHING = np.ones((3, 3, 3), int)


def staircase() -> np.ndarray:
    """One voxel per row, each a diagonal step in all three directions from the last."""
    volume = np.zeros((12, 12, 12), np.uint8)
    volume[np.arange(12), np.arange(12), np.arange(12)[::-1]] = 1
    return volume


def comb() -> np.ndarray:
    """Teeth that are joined only in the last row: the longest chains of unions."""
    volume = np.zeros((3, 20, 41), np.uint8)
    volume[1, :, ::2] = 2
    volume[1, -1, :] = 2
    return volume


def abutting_runs() -> np.ndarray:
    """Runs of two labels side by side, changing places from row to row: they touch across the corner only."""
    volume = np.zeros((1, 6, 12), np.uint8)
    volume[0, ::2, :6], volume[0, ::2, 6:] = 1, 2
    volume[0, 1::2, :6], volume[0, 1::2, 6:] = 2, 1
    return volume


VOLUMES = [
    pytest.param(np.zeros((2, 3, 4), np.uint8), id="empty"),
    pytest.param(np.full((1, 1, 1), 255, np.uint8), id="one voxel"),
    pytest.param(np.ones((4, 5, 6), np.uint8), id="touching every face"),
    pytest.param(staircase(), id="staircase"),
    pytest.param(staircase()[:, ::-1].copy(), id="staircase mirrored"),
    pytest.param(comb(), id="comb"),
    pytest.param(abutting_runs(), id="abutting runs"),
    pytest.param(noise((10, 20, 30), 2, np.uint8, background=0.8), id="noise, sparse"),
    pytest.param(noise((10, 20, 30), 2, np.uint8, background=0.0), id="noise, no background"),
    pytest.param(noise((6, 9, 130), 400, np.uint16, background=0.1), id="noise, many labels"),
    pytest.param(blobs((20, 30, 40), 12, np.uint8), id="blobs"),
    pytest.param(blobs((5, 64, 128), 5, np.uint16, seed=3), id="blobs in whole blocks"),
    pytest.param((np.indices((5, 6, 7)).sum(axis=0) % 2).astype(np.uint8), id="checkerboard"),
]


def expected_components(mask: np.ndarray) -> list[tuple[int, tuple[int, ...], tuple[int, ...]]]:
    """(voxels, seed, box) of each component: largest first, then in the order of first voxels."""
    regions, count = ndimage.label(mask, TOUCHING)
    found = []
    for number in range(1, count + 1):
        region = regions == number
        where = np.argwhere(region)
        box = (*where.min(axis=0), *(where.max(axis=0) + 1))
        found.append((len(where), seed_of(region), tuple(int(value) for value in box)))
    # ndimage numbers regions by their first voxel; sorted() is stable.
    return sorted(found, key=lambda part: -part[0])


def seed_of(region: np.ndarray) -> tuple[int, int, int]:
    """Middle of the longest run of a region, the first if there are several."""
    best, seed = 0, (0, 0, 0)
    for k, i in np.ndindex(region.shape[:2]):
        edges = np.flatnonzero(np.diff(np.concatenate(([0], region[k, i].astype(int), [0]))))
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            if stop - start > best:
                best, seed = int(stop - start), (k, i, int(start + stop) // 2)
    return seed


def as_tuples(components: Components) -> list[tuple[int, tuple[int, ...], tuple[int, ...]]]:
    return [
        (int(count), tuple(seed.tolist()), tuple(box.tolist()))
        for count, seed, box in zip(components.voxel_counts, components.seeds, components.boxes, strict=True)
    ]


def assert_components_are_exact(volume: np.ndarray) -> None:
    labels = sorted({*np.unique(volume).tolist(), 1, 2} - {0})
    found = connected_components(find_runs(volume), labels)
    for label, components in zip(labels, found, strict=True):
        assert as_tuples(components) == expected_components(volume == label), label
        for seed in components.seeds:
            assert volume[tuple(seed)] == label


@pytest.mark.parametrize("volume", VOLUMES)
def test_components_are_those_of_ndimage(volume: np.ndarray) -> None:
    assert_components_are_exact(volume)


@settings(deadline=None, max_examples=80)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=8), elements=st.integers(0, 2)))
def test_components_are_exact_for_any_small_volume(volume: np.ndarray) -> None:
    assert_components_are_exact(volume)


@pytest.mark.parametrize("volume", VOLUMES)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_sizes_of_components_do_not_depend_on_direction(volume: np.ndarray, axis: int) -> None:
    labels = sorted(set(np.unique(volume).tolist()) - {0})
    for one, other in zip(
        connected_components(find_runs(volume), labels),
        connected_components(find_runs(np.flip(volume, axis).copy()), labels),
        strict=True,
    ):
        assert one.voxel_counts.tolist() == other.voxel_counts.tolist()


def test_65535_labels_have_a_component_each() -> None:
    volume = np.arange(65536, dtype=np.uint16).reshape(16, 64, 64)
    found = connected_components(find_runs(volume), list(range(1, 65536)))
    assert {components.count for components in found} == {1}
    assert found[-1].seeds.tolist() == [[15, 63, 63]]


def test_labels_that_are_not_asked_for_are_left_out() -> None:
    volume = noise((4, 5, 6), 9, np.uint8)
    only_four = connected_components(find_runs(volume), [4])
    assert len(only_four) == 1
    assert as_tuples(only_four[0]) == expected_components(volume == 4)


@pytest.mark.parametrize("volume", VOLUMES)
def test_runs_rebuild_the_layer(volume: np.ndarray) -> None:
    runs = find_runs(volume)
    rebuilt = np.zeros_like(volume).reshape(-1, volume.shape[2])
    for row in range(len(rebuilt)):
        end_of_last, last_label = 0, 0
        for run in range(runs.row_starts[row], runs.row_starts[row + 1]):
            first, stop = int(runs.first[run]), int(runs.stop[run])
            assert end_of_last <= first < stop
            assert first > end_of_last or runs.labels[run] != last_label
            rebuilt[row, first:stop] = runs.labels[run]
            end_of_last, last_label = stop, runs.labels[run]
    assert np.array_equal(rebuilt.reshape(volume.shape), volume)


def test_rows_longer_than_65535_columns_are_swept() -> None:
    volume = np.zeros((1, 2, 70_001), np.uint8)
    volume[0, 0, 65_530:70_001] = 1
    volume[0, 1, 70_000] = 2
    components = connected_components(find_runs(volume), [1, 2])
    assert components[0].boxes.tolist() == [[0, 0, 65_530, 1, 1, 70_001]]
    assert components[1].seeds.tolist() == [[0, 1, 70_000]]
