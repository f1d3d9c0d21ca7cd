"""Runs and components against np.diff and scipy.ndimage.label."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from segqa_dicom.measures import connected_components, find_runs, runs
from segqa_dicom.measures.results import Components
from tests.tiers import examples

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


@examples(80)
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


@pytest.mark.slow
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


def assert_runs_are_exact(volume: np.ndarray) -> None:
    """They rebuild the layer, lie in order, and none could be longer."""
    found = find_runs(volume)
    assert found.row_starts[0] == 0
    assert found.row_starts[-1] == found.count == len(found.first) == len(found.stop)
    rebuilt = np.zeros_like(volume, order="C").reshape(-1, volume.shape[2])
    for row in range(len(rebuilt)):
        end_of_last, last_label = 0, 0
        for run in range(found.row_starts[row], found.row_starts[row + 1]):
            first, stop = int(found.first[run]), int(found.stop[run])
            assert end_of_last <= first < stop
            assert first > end_of_last or found.labels[run] != last_label
            rebuilt[row, first:stop] = found.labels[run]
            end_of_last, last_label = stop, found.labels[run]
    assert np.array_equal(rebuilt.reshape(volume.shape), volume)


@pytest.mark.parametrize("volume", VOLUMES)
def test_runs_rebuild_the_layer(volume: np.ndarray) -> None:
    assert_runs_are_exact(volume)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@examples(60)
@given(data=st.data())
def test_runs_are_exact_for_any_small_volume(dtype: type, data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 35)))
    labels = st.sampled_from([0, 1, 255, int(np.iinfo(dtype).max)])
    assert_runs_are_exact(data.draw(hnp.arrays(dtype, shape, elements=labels, fill=labels)))


@pytest.mark.parametrize("size", [4095, 4096, 4097, 8191, 8192, 8193])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_runs_do_not_depend_on_where_blocks_end(size: int, dtype: type) -> None:
    for columns in (size, 1):
        volume = np.full((1, size // columns, columns), 3, dtype)
        assert_runs_are_exact(volume)
        volume.flat[[0, -1, size // 2, 4090]] = 0
        assert_runs_are_exact(volume)


@pytest.mark.parametrize("background", [0.0, 0.9])
def test_runs_are_found_with_little_room_to_begin_with(background: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_VOXELS_PER_RUN", 10**9)
    assert_runs_are_exact(noise((3, 50, 301), 200, np.uint8, background=background))


def test_layers_in_any_memory_order_and_at_any_address_are_read_by_index() -> None:
    volume = noise((4, 9, 31), 5, np.uint8)
    odd = np.frombuffer(b"x" + volume.tobytes(), np.uint8)[1:].reshape(volume.shape)
    even = np.frombuffer(b"x" + volume.astype(np.uint16).tobytes(), np.uint8)[1:].view(np.uint16).reshape(volume.shape)
    for layer in (
        np.asfortranarray(volume),
        volume[:, ::-1][:, ::-1],
        volume.swapaxes(0, 2).copy().swapaxes(0, 2),
        odd,
        even,
    ):
        assert np.array_equal(layer, volume)
        assert_runs_are_exact(layer)


def test_layer_without_voxels_has_no_runs() -> None:
    assert find_runs(np.zeros((0, 3, 4), np.uint8)).count == 0


def test_kernels_are_compiled_once_for_each_type_of_labels() -> None:
    volume = noise((3, 4, 5), 3, np.uint8)
    frozen = volume.copy()
    frozen.flags.writeable = False
    for layer in (volume, frozen, np.asfortranarray(volume), volume[::-1], volume[:, :, :3]):
        for one in (layer, layer.astype(np.uint16)):
            connected_components(find_runs(one), [1, 2, 3])
    labels = [signature[0].dtype for signature in runs._sweep.signatures]
    columns = {signature[5].dtype for signature in runs._sweep.signatures}
    assert len(labels) <= 2 * len(columns)


def test_rows_longer_than_65535_columns_are_swept() -> None:
    volume = np.zeros((1, 2, 70_001), np.uint8)
    volume[0, 0, 65_530:70_001] = 1
    volume[0, 1, 70_000] = 2
    components = connected_components(find_runs(volume), [1, 2])
    assert components[0].boxes.tolist() == [[0, 0, 65_530, 1, 1, 70_001]]
    assert components[1].seeds.tolist() == [[0, 1, 70_000]]
