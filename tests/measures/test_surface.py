"""Surface elements and their areas against their definition and against google-deepmind/surface-distance."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage
from surface_distance import lookup_tables

from segqa_dicom.measures import Surface, Surfaces, SurfaceTooLarge, extract_surfaces, surface, surface_area_table
from segqa_dicom.measures.surface_area import corner_bit, polygons_of_code
from tests.tiers import examples

from .factories import blobs, noise, segmentation

CORNERS = list(product((0, 1), repeat=3))
KERNEL = np.array(lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL)


def deepmind_areas(spacing_mm: tuple[float, float, float]) -> np.ndarray:
    return np.asarray(lookup_tables.create_table_neighbour_code_to_surface_area(spacing_mm))


def random_spacings() -> list[tuple[float, float, float]]:
    rng = np.random.default_rng(11)
    return [(1.0, 1.0, 1.0), *(tuple(map(float, rng.uniform(0.2, 8, 3))) for _ in range(20))]  # type: ignore[list-item]


@pytest.mark.parametrize("spacing_mm", random_spacings())
def test_areas_of_all_codes_are_those_of_deepmind(spacing_mm: tuple[float, float, float]) -> None:
    np.testing.assert_allclose(surface_area_table(spacing_mm), deepmind_areas(spacing_mm), rtol=1e-12, atol=0)


def test_area_table_has_no_surface_in_full_and_empty_cubes_only() -> None:
    area = surface_area_table((2.0, 0.7, 0.9))
    assert np.flatnonzero(area == 0).tolist() == [0, 255]
    assert not area.flags.writeable


@pytest.mark.parametrize("axes", list(permutations(range(3))))
@pytest.mark.parametrize("mirrored", list(product((0, 1), repeat=3)))
def test_area_follows_symmetry_and_complement(axes: tuple[int, ...], mirrored: tuple[int, ...]) -> None:
    spacing_mm = np.array((2.0, 0.7, 0.9))
    area = surface_area_table(tuple(spacing_mm.tolist()))
    moved_area = surface_area_table(tuple(spacing_mm[list(axes)].tolist()))
    for code in range(256):
        inside = [corner for corner in CORNERS if code & corner_bit(corner)]
        moved = sum(
            corner_bit(tuple(c[axis] ^ flip for axis, flip in zip(axes, mirrored, strict=True))) for c in inside
        )  # type: ignore[arg-type]
        assert moved_area[moved] == pytest.approx(area[code], rel=1e-12)
        assert area[255 - code] == pytest.approx(area[code], rel=1e-12)


def test_vertices_are_the_middles_of_edges_that_leave_the_object() -> None:
    for code in range(256):
        crossed = set()
        for one, other in product(CORNERS, repeat=2):
            if sum(map(abs, np.subtract(one, other))) == 1 and bool(code & corner_bit(one)) > bool(
                code & corner_bit(other)
            ):
                crossed.add(tuple(int(value) for value in np.add(one, other)))
        assert {vertex for polygon in polygons_of_code(code) for vertex in polygon} == crossed


def test_polygons_are_plane() -> None:
    for code in range(256):
        for polygon in polygons_of_code(code):
            vertices = np.array(polygon)
            assert np.linalg.matrix_rank(vertices[1:] - vertices[0]) == 2


def codes_by_definition(mask: np.ndarray) -> np.ndarray:
    """DeepMind's neighbourhood codes of the padded mask: one per cell."""
    padded = np.pad(mask.astype(np.uint8), ((0, 1), (0, 1), (0, 1)))
    return ndimage.correlate(padded, KERNEL.astype(np.uint8), mode="constant", cval=0)


def surfaces_of(*layers: np.ndarray, count: int | None = None) -> Surfaces:
    found = extract_surfaces(segmentation(*layers, count=count))
    assert isinstance(found, Surfaces)
    return found


def assert_surface_is_exact(found: Surface, mask: np.ndarray) -> None:
    codes = codes_by_definition(mask)
    is_element = (codes != 0) & (codes != 255)
    assert found.grid == codes.shape
    assert found.cells.tolist() == np.flatnonzero(is_element).tolist()
    assert found.codes.tolist() == codes[is_element].tolist()
    assert np.array_equal(found.indices, np.argwhere(is_element))


VOLUMES = [
    pytest.param(np.zeros((2, 3, 4), np.uint8), id="empty"),
    pytest.param(np.full((1, 1, 1), 255, np.uint8), id="one voxel"),
    pytest.param(np.ones((4, 5, 6), np.uint8), id="touching every face"),
    pytest.param(noise((5, 6, 30), 250, np.uint8, background=0.0), id="noise, no background"),
    pytest.param(noise((5, 6, 30), 3, np.uint16, background=0.6), id="noise, few labels"),
    pytest.param(blobs((12, 20, 31), 9, np.uint8), id="blobs"),
    pytest.param(blobs((12, 20, 31), 9, np.uint16, seed=2), id="blobs, uint16"),
    pytest.param((np.indices((4, 6, 8)).sum(axis=0) % 2 + 1).astype(np.uint8), id="checkerboard of two"),
]


@pytest.mark.parametrize("volume", VOLUMES)
@pytest.mark.parametrize("room", [1, 1_000_000], ids=["row by row", "at once"])
def test_elements_are_those_of_correlation(volume: np.ndarray, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surface, "_CHUNK_ELEMENTS", room)
    found = surfaces_of(volume, count=int(volume.max()) + 1)
    for index in range(int(volume.max()) + 1):
        assert_surface_is_exact(found.of(index), volume == index + 1)


@examples(60)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6), elements=st.integers(0, 3)))
def test_elements_are_exact_for_any_small_volume(volume: np.ndarray) -> None:
    found = surfaces_of(volume, count=3)
    for index in range(3):
        assert_surface_is_exact(found.of(index), volume == index + 1)


def test_overlapping_segments_have_their_own_surfaces() -> None:
    first, second = blobs((8, 9, 10), 3, np.uint8), blobs((8, 9, 10), 3, np.uint8, seed=4)
    second[second > 0] += 3
    found = surfaces_of(first, second, count=6)
    for index in range(6):
        assert_surface_is_exact(found.of(index), (first if index < 3 else second) == index + 1)


def test_label_in_a_layer_that_is_not_its_own_has_no_surface_there() -> None:
    first, second = np.zeros((3, 3, 3), np.uint8), np.zeros((3, 3, 3), np.uint8)
    first[0, 0, 0], second[2, 2, 2], first[1, 1, 1] = 1, 1, 7
    found = extract_surfaces(segmentation(first, second, count=1, layer_of=[1]))
    assert isinstance(found, Surfaces)
    assert_surface_is_exact(found.of(0), second == 1)


def test_65535_labels_have_their_surfaces() -> None:
    volume = np.arange(65536, dtype=np.uint16).reshape(16, 64, 64)
    found = extract_surfaces(segmentation(volume, layer_of=[0] * 65535))
    assert isinstance(found, Surfaces)
    assert set(np.diff(found.starts).tolist()) == {8}
    assert_surface_is_exact(found.of(65534), volume == 65535)


def test_permuted_labels_have_permuted_surfaces() -> None:
    volume = blobs((9, 10, 11), 6, np.uint8)
    order = np.random.default_rng(1).permutation(6)
    permuted = np.concatenate(([0], order + 1)).astype(np.uint8)[volume]
    one, other = surfaces_of(volume, count=6), surfaces_of(permuted, count=6)
    for index in range(6):
        assert np.array_equal(one.of(index).cells, other.of(int(order[index])).cells)
        assert np.array_equal(one.of(index).codes, other.of(int(order[index])).codes)


def test_surface_of_a_segment_is_kept() -> None:
    found = surfaces_of(blobs((9, 10, 11), 2, np.uint8), count=2)
    assert found.of(1) is found.of(1)
    with pytest.raises(IndexError):
        found.of(2)
    with pytest.raises(IndexError):
        found.of(-1)


def test_more_elements_than_the_budget_are_refused() -> None:
    subject = segmentation(noise((6, 7, 8), 50, np.uint8))
    found = extract_surfaces(subject)
    assert isinstance(found, Surfaces)
    assert isinstance(extract_surfaces(subject, element_budget=len(found.cells)), Surfaces)
    assert extract_surfaces(subject, element_budget=len(found.cells) - 1) == SurfaceTooLarge(len(found.cells) - 1)


def test_budget_holds_for_all_layers_together() -> None:
    first, second = np.zeros((3, 3, 3), np.uint8), np.zeros((3, 3, 3), np.uint8)
    first[1, 1, 1], second[1, 1, 1] = 1, 2
    subject = segmentation(first, second)
    assert isinstance(extract_surfaces(subject, element_budget=16), Surfaces)
    assert isinstance(extract_surfaces(subject, element_budget=15), SurfaceTooLarge)


def test_area_of_a_box_scales_with_spacing() -> None:
    volume = np.zeros((12, 12, 12), np.uint8)
    volume[2:10, 2:10, 2:10] = 1
    element = surfaces_of(volume).of(0)
    area = element.areas_mm2((1.0, 2.0, 3.0)).sum()
    assert element.areas_mm2((2.0, 4.0, 6.0)).sum() == pytest.approx(4 * area, rel=1e-12)
    # Faces between the outermost voxel centres and half a voxel more, edges cut off.
    assert area == pytest.approx(2 * 64 * (6.0 + 3.0 + 2.0), rel=0.1)
