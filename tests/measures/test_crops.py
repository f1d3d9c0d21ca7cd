"""Small questions against SciPy's answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial import cKDTree

from segqa_dicom.measures.crops import border, component_with, point_distances


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.6))
def test_components_are_those_of_scipy(seed: int, density: float) -> None:
    generator = np.random.default_rng(seed)
    mask = generator.random((5, 7, 9)) < density
    labels, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    place = tuple(int(generator.integers(size)) for size in mask.shape)
    expected = (labels == labels[place]) & mask
    assert np.array_equal(component_with(mask, place), expected if mask[place] else np.zeros_like(mask))


@given(st.integers(0, 2**32 - 1), st.floats(0.3, 1.0))
def test_borders_are_those_of_scipy(seed: int, density: float) -> None:
    mask = np.random.default_rng(seed).random((4, 6, 5)) < density
    assert np.array_equal(border(mask), mask & ~ndimage.binary_erosion(mask))


@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.integers(1, 300))
def test_distances_are_those_of_a_tree(seed: int, queries: int, targets: int) -> None:
    generator = np.random.default_rng(seed)
    scale = generator.uniform(0.1, 50, 3)
    points, others = (np.round(generator.normal(size=(count, 3)) * scale, 1) for count in (queries, targets))
    assert point_distances(points, others) == pytest.approx(cKDTree(others).query(points)[0], rel=1e-12, abs=1e-12)


def test_nothing_is_infinitely_far() -> None:
    assert np.isinf(point_distances(np.zeros((2, 3)), np.zeros((0, 3)))).all()
    assert point_distances(np.zeros((0, 3)), np.zeros((2, 3))).shape == (0,)
