"""The kernels that paint and digest label volumes, against their definitions in a few lines of NumPy."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segqa_dicom.dicom.limits import Limits
from segqa_dicom.errors import LimitExceeded
from segqa_dicom.reading.content import changes, content_digest
from segqa_dicom.reading.layers import LayerPainter, stamp_bits, stamp_labels, stamp_values
from tests.tiers import examples

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 13), st.integers(1, 23))
SEEDS = st.integers(0, 2**32 - 1)
DENSITIES = st.sampled_from([0.0, 0.02, 0.5, 0.98, 1.0])
quick = examples(60)


def read_only(values: np.ndarray) -> np.ndarray:
    values.flags.writeable = False
    return values


class Scene:
    """Frames of some segments in the order of a file, several of them perhaps on one plane."""

    def __init__(self, shape: tuple[int, int, int], seed: int, density: float, segments: int) -> None:
        random = np.random.default_rng(seed)
        self.shape, self.segments = shape, segments
        self.pixels = shape[1] * shape[2]
        count = int(random.integers(1, 10))
        # Little, and much, and along the rows: empty words, full ones and broken ones.
        self.masks = random.random((count, self.pixels)) < density * random.random((count, 1))
        self.masks[:, : self.pixels // 2] |= random.random((count, 1)) < density / 2
        self.segment_of = random.integers(0, segments, count)
        self.planes = random.integers(0, shape[0], count)

    def painted(self, stamp: Any) -> LayerPainter:
        painter = LayerPainter(self.shape, self.segments)
        for segment in range(self.segments):
            chosen = np.flatnonzero(self.segment_of == segment)
            painter.paint_by(segment, partial(stamp, chosen, self.planes[chosen]))
        return painter

    def expected(self) -> tuple[list[np.ndarray], list[int]]:
        """The first layer in which no voxel of a segment is taken, segment by segment."""
        layers, layer_of = [np.zeros(self.shape, int)], []
        for segment in range(self.segments):
            whole = np.zeros((self.shape[0], self.pixels), bool)
            for frame in np.flatnonzero(self.segment_of == segment):
                whole[self.planes[frame]] |= self.masks[frame]
            where = whole.reshape(self.shape)
            free = next((n for n, layer in enumerate(layers) if not layer[where].any()), len(layers))
            if free == len(layers):
                layers.append(np.zeros(self.shape, int))
            layers[free][where] = segment + 1
            layer_of.append(free)
        return layers, layer_of

    def check(self, painter: LayerPainter) -> None:
        layers, layer_of = self.expected()
        assert painter.layer_of == layer_of
        assert len(painter.layers) == len(layers)
        assert all(np.array_equal(mine, its) for mine, its in zip(painter.layers, layers, strict=True))


@quick
@given(SHAPES, SEEDS, DENSITIES, st.sampled_from([1, 3, 300]), st.integers(0, 70))
def test_bits_are_painted_whole_into_the_first_free_layer(
    shape: tuple[int, int, int], seed: int, density: float, segments: int, lead: int
) -> None:
    scene = Scene(shape, seed, density, segments)
    stored = np.concatenate((np.ones(lead, bool), scene.masks.reshape(-1), np.ones(5, bool)))
    data = read_only(np.packbits(stored, bitorder="little"))

    def stamp(chosen: np.ndarray, planes: np.ndarray, layer: np.ndarray, value: int) -> bool:
        return stamp_bits(data, lead + chosen * scene.pixels, planes, layer, value)

    scene.check(scene.painted(stamp))


@quick
@given(SHAPES, SEEDS, DENSITIES, st.sampled_from([2, 300]), st.sampled_from([np.uint8, np.uint16]))
def test_values_are_painted_whole_into_the_first_free_layer(
    shape: tuple[int, int, int], seed: int, density: float, segments: int, dtype: type
) -> None:
    scene = Scene(shape, seed, density, segments)
    values = read_only(np.where(scene.masks, 128, 127).astype(dtype))

    def stamp(chosen: np.ndarray, planes: np.ndarray, layer: np.ndarray, value: int) -> bool:
        return stamp_values(values, 128, chosen, planes, layer, value)

    scene.check(scene.painted(stamp))


@quick
@given(SHAPES, SEEDS, st.sampled_from([np.uint8, np.uint16]), st.sampled_from([np.uint8, np.uint16]))
def test_labels_are_painted_over_what_is_there(
    shape: tuple[int, int, int], seed: int, stored: type, painted: type
) -> None:
    random = np.random.default_rng(seed)
    labels = np.repeat(random.integers(0, np.iinfo(stored).max + 1, shape), 3, axis=2).astype(stored)[0]
    table = np.where(random.random(65536) < 0.5, 0, random.integers(0, 255, 65536)).astype(painted)
    plane = random.integers(0, 255, labels.shape).astype(painted)
    expected = np.where(table[labels] != 0, table[labels], plane)
    assert np.array_equal(stamp_labels(labels, table, plane), np.unique(labels))
    assert np.array_equal(plane, expected)


@pytest.mark.parametrize(
    "call",
    [
        lambda layer: stamp_bits(np.zeros(8, np.uint8), np.array([0, 10]), np.array([0, 1]), layer, 1),
        lambda layer: stamp_bits(np.zeros(8, np.uint8), np.array([-1]), np.array([0]), layer, 1),
        lambda layer: stamp_bits(np.zeros(99, np.uint8), np.array([0]), np.array([2]), layer, 1),
        lambda layer: stamp_values(np.zeros((2, 60), np.uint8), 1, np.array([2]), np.array([0]), layer, 1),
        lambda layer: stamp_values(np.zeros((2, 61), np.uint8), 1, np.array([1]), np.array([0]), layer, 1),
        lambda layer: stamp_labels(np.zeros((5, 6), np.uint8), np.zeros(65536, np.uint8), layer[0]),
    ],
)
def test_nothing_is_painted_out_of_bounds(call: Any) -> None:
    with pytest.raises((IndexError, ValueError)):
        call(np.zeros((2, 6, 10), np.uint8))


@quick
@given(SHAPES, SEEDS, DENSITIES, st.sampled_from([np.uint8, np.uint16]))
def test_changes_are_where_a_voxel_differs_from_the_one_before(
    shape: tuple[int, int, int], seed: int, density: float, dtype: type
) -> None:
    random = np.random.default_rng(seed)
    layer = np.where(random.random(shape) < density, random.integers(0, 400, shape), 0).astype(dtype)
    flat = layer.reshape(-1)
    expected = np.flatnonzero(np.diff(flat, prepend=dtype(0)))
    found = changes(layer, Limits())
    assert np.array_equal(found.starts, expected)
    assert np.array_equal(found.labels, flat[expected])
    in_rows = int(np.count_nonzero(np.diff(layer.astype(int), axis=2)))
    changes(layer, Limits(max_runs=in_rows))
    if in_rows:
        with pytest.raises(LimitExceeded, match="noise"):
            changes(layer, Limits(max_runs=in_rows - 1))


def test_more_changes_than_usual_are_all_found() -> None:
    layer = (np.indices((6, 500, 500)).sum(axis=0) % 2).astype(np.uint8)
    assert len(changes(layer, Limits()).starts) == len(np.flatnonzero(np.diff(layer.reshape(-1), prepend=0)))


def test_digests_tell_shapes_labels_and_layers_apart_but_not_how_labels_are_stored() -> None:
    layer = np.zeros((2, 4, 6), np.uint8)
    layer[0, 1, 2:5] = 3
    moved = np.roll(layer, 1, axis=2)
    other = layer * 2

    def digest(*layers: np.ndarray) -> str:
        return content_digest((), [changes(one, Limits()) for one in layers])

    empty = np.zeros_like(layer)
    different = [
        (layer,),
        (moved,),
        (other,),
        (layer.reshape(2, 6, 4),),
        (layer, empty),
        (empty, layer),
        (layer, layer),
    ]
    assert len({digest(*layers) for layers in different}) == len(different)
    assert digest(layer) == digest(layer.astype(np.uint16))
