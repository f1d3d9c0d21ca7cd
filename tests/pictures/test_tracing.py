"""The compiled tracer writes what the plain one does; PNGs hold the pixels they were made of."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image

from segqa_dicom.rendering.contours import outlines
from segqa_dicom.rendering.png import grey_png
from segqa_dicom.rendering.tracing import traced
from tests.tiers import examples

SHAPES = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)
LABELS = st.sampled_from([np.uint8, np.uint16]).flatmap(lambda kind: arrays(kind, SHAPES, elements=st.integers(0, 3)))


@examples(100)
@given(labels=LABELS, strong=st.sets(st.integers(1, 4)), stretched=st.sampled_from([(1, 1), (1, 4), (3, 2)]))
def test_the_tracer_writes_what_the_reference_writes(
    labels: NDArray[np.uint8], strong: set[int], stretched: tuple[int, int]
) -> None:
    larger = np.kron(labels, np.ones(stretched, labels.dtype))
    for turned in (larger, larger[::-1], larger[:, ::-1], larger.T):
        assert traced(turned, strong) == outlines(turned, strong)


@pytest.mark.parametrize("size", [50, 700])
def test_many_and_long_borders_are_written_as_the_reference_writes_them(size: int) -> None:
    labels = np.random.default_rng(size).integers(0, 60000, (size, size)).astype(np.uint16)
    labels[size // 2 :] = 7
    assert traced(labels, {7, 41}) == outlines(labels, {7, 41})


def test_nothing_to_trace_gives_nothing() -> None:
    assert traced(np.zeros((4, 4), np.uint8)) == ("", "")


@examples(50)
@given(grey=arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)))
def test_a_png_has_the_grey_values_it_was_made_of(grey: NDArray[np.uint8]) -> None:
    with Image.open(io.BytesIO(grey_png(grey))) as picture:
        picture.load()
        assert picture.mode == "L"
        assert np.array_equal(np.asarray(picture), grey)


def test_a_png_of_a_turned_plane_has_its_values_too() -> None:
    grey = np.arange(600, dtype=np.uint16).astype(np.uint8).reshape(20, 30)[::-1, ::-1].T
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(grey_png(grey)))), grey)
