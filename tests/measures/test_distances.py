"""Surface distances against brute force and google-deepmind/surface-distance, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
import surface_distance as deepmind
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from segqa_dicom.measures import Surface, SurfaceDistances, Surfaces, extract_surfaces, surface_distances

from .factories import blobs, noise, segmentation, sphere

UNIT = (1.0, 1.0, 1.0)
SPACINGS = [UNIT, (5.0, 0.8, 0.8), (0.7421875, 1.25, 2.0), (1.12, 0.715, 0.715)]


def surface_of(mask: np.ndarray) -> Surface:
    found = extract_surfaces(segmentation(mask.astype(np.uint8), count=1))
    assert isinstance(found, Surfaces)
    return found.of(0)


def distances_of(
    reference: np.ndarray, evaluated: np.ndarray, spacing_mm: tuple[float, float, float] = UNIT
) -> SurfaceDistances:
    return surface_distances(surface_of(reference), surface_of(evaluated), spacing_mm)


def numbers(distances: SurfaceDistances, tolerance_mm: float = 1.0) -> list[float | None]:
    return [
        distances.nsd(tolerance_mm),
        distances.hausdorff_mm(100),
        distances.hausdorff_mm(95),
        distances.hausdorff_mm(50),
        distances.assd_mm(),
    ]


def deepmind_numbers(
    reference: np.ndarray, evaluated: np.ndarray, spacing_mm: tuple[float, float, float], tolerance_mm: float = 1.0
) -> list[float]:
    found = deepmind.compute_surface_distances(reference, evaluated, spacing_mm)
    areas = found["surfel_areas_gt"], found["surfel_areas_pred"]
    to_other = found["distances_gt_to_pred"], found["distances_pred_to_gt"]
    return [
        deepmind.compute_surface_dice_at_tolerance(found, tolerance_mm),
        max(to_other[0].max(), to_other[1].max()),
        deepmind.compute_robust_hausdorff(found, 95),
        deepmind.compute_robust_hausdorff(found, 50),
        sum((d * a).sum() for d, a in zip(to_other, areas, strict=True)) / (areas[0].sum() + areas[1].sum()),
    ]


def masks() -> list[object]:
    shape = (14, 22, 26)
    rng = np.random.default_rng(0)
    labels, others = blobs(shape, 5, np.uint8, seed=2), blobs(shape, 5, np.uint8, seed=3)
    ball = sphere(shape, (6, 10, 12), 5.3, UNIT) > 0
    holed = ball.copy()
    holed[6, 10, 12] = False
    far = np.zeros(shape, bool)
    far[0, 0, 0] = True
    return [
        pytest.param(labels > 0, others > 0, id="blobs"),
        pytest.param(labels == 2, labels == 3, id="neighbours"),
        pytest.param(rng.random(shape) < 0.5, rng.random(shape) < 0.1, id="noise"),
        pytest.param(ball, np.roll(ball, 2, axis=2), id="shifted ball"),
        pytest.param(ball, holed, id="hole"),
        pytest.param(far, ball | far[::-1, ::-1, ::-1], id="one voxel in a corner"),
        pytest.param(np.ones(shape, bool), ball, id="everything"),
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("reference", "evaluated"), masks())
@pytest.mark.parametrize("spacing_mm", SPACINGS)
def test_numbers_are_those_of_deepmind(
    reference: np.ndarray, evaluated: np.ndarray, spacing_mm: tuple[float, float, float]
) -> None:
    found = numbers(distances_of(reference, evaluated, spacing_mm))
    assert found == pytest.approx(deepmind_numbers(reference, evaluated, spacing_mm), abs=1e-9)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_distance_and_area_is_that_of_deepmind() -> None:
    shape, spacing_mm = (12, 18, 20), (2.5, 0.7, 0.9)
    reference, evaluated = blobs(shape, 4, np.uint8) > 0, blobs(shape, 4, np.uint8, seed=1) > 0
    found = distances_of(reference, evaluated, spacing_mm)
    expected = deepmind.compute_surface_distances(reference, evaluated, spacing_mm)
    for ours, theirs in (
        (found.reference_mm, expected["distances_gt_to_pred"]),
        (found.evaluated_mm, expected["distances_pred_to_gt"]),
        (found.reference_mm2, expected["surfel_areas_gt"]),
        (found.evaluated_mm2, expected["surfel_areas_pred"]),
    ):
        np.testing.assert_allclose(np.sort(ours), np.sort(theirs), rtol=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_distances_are_exact_for_any_small_masks(data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(min_dims=3, max_dims=3, max_side=6))
    reference = surface_of(data.draw(hnp.arrays(bool, shape)))
    evaluated = surface_of(data.draw(hnp.arrays(bool, shape)))
    spacing_mm = data.draw(st.sampled_from(SPACINGS))
    found = surface_distances(reference, evaluated, spacing_mm)
    if not (reference.count and evaluated.count):
        return
    offsets = (reference.indices[:, None] - evaluated.indices[None]) * np.array(spacing_mm)
    between = np.sqrt(np.square(offsets).sum(axis=2))
    np.testing.assert_allclose(found.reference_mm, between.min(axis=1), rtol=1e-14)
    np.testing.assert_allclose(found.evaluated_mm, between.min(axis=0), rtol=1e-14)


def test_identical_masks_agree_exactly() -> None:
    mask = noise((9, 10, 11), 1, np.uint8) > 0
    found = distances_of(mask, mask, (1.12, 0.715, 0.715))
    assert numbers(found, tolerance_mm=0.0) == [1.0, 0.0, 0.0, 0.0, 0.0]


def test_reference_and_evaluated_may_be_exchanged() -> None:
    one, other = blobs((12, 18, 20), 4, np.uint8) > 0, blobs((12, 18, 20), 4, np.uint8, seed=1) > 0
    there, back = distances_of(one, other, (2.5, 0.7, 0.9)), distances_of(other, one, (2.5, 0.7, 0.9))
    assert numbers(there) == pytest.approx(numbers(back), rel=1e-14)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_mirrored_masks_have_the_same_numbers(axis: int) -> None:
    one, other = blobs((12, 18, 20), 4, np.uint8) > 0, blobs((12, 18, 20), 4, np.uint8, seed=1) > 0
    found = numbers(distances_of(one, other, (2.5, 0.7, 0.9)))
    mirrored = numbers(distances_of(np.flip(one, axis), np.flip(other, axis), (2.5, 0.7, 0.9)))
    assert mirrored == pytest.approx(found, rel=1e-12)


def test_moved_masks_have_the_same_numbers() -> None:
    one, other = np.zeros((20, 20, 20), bool), np.zeros((20, 20, 20), bool)
    one[2:8, 3:9, 2:7], other[3:9, 2:8, 2:9] = True, True
    found = numbers(distances_of(one, other, (2.5, 0.7, 0.9)))
    for shift in ((1, 2, 3), (-2, -2, -2), (11, 11, 11)):
        moved = [np.roll(mask, shift, axis=(0, 1, 2)) for mask in (one, other)]
        assert numbers(distances_of(*moved, (2.5, 0.7, 0.9))) == pytest.approx(found, rel=1e-12)


def test_exchanged_axes_with_their_spacing_have_the_same_numbers() -> None:
    one, other = blobs((12, 18, 20), 4, np.uint8) > 0, blobs((12, 18, 20), 4, np.uint8, seed=1) > 0
    found = numbers(distances_of(one, other, (2.5, 0.7, 0.9)))
    turned = numbers(distances_of(one.transpose(2, 0, 1), other.transpose(2, 0, 1), (0.9, 2.5, 0.7)))
    assert turned == pytest.approx(found, rel=1e-12)


def test_distances_scale_with_spacing() -> None:
    one, other = blobs((12, 18, 20), 4, np.uint8) > 0, blobs((12, 18, 20), 4, np.uint8, seed=1) > 0
    found, doubled = distances_of(one, other, (2.5, 0.7, 0.9)), distances_of(one, other, (5.0, 1.4, 1.8))
    assert doubled.nsd(2.0) == pytest.approx(found.nsd(1.0), rel=1e-12)
    assert doubled.hausdorff_mm(95) == pytest.approx(2 * (found.hausdorff_mm(95) or 0), rel=1e-12)
    assert doubled.assd_mm() == pytest.approx(2 * (found.assd_mm() or 0), rel=1e-12)


def test_nsd_counts_a_distance_equal_to_the_tolerance() -> None:
    one, other = np.zeros((9, 9, 9), bool), np.zeros((9, 9, 9), bool)
    one[4, 4, 2], other[4, 4, 5] = True, True
    found = distances_of(one, other, (1.0, 1.0, 0.1))
    assert found.nsd(3 * 0.1) == 1.0
    assert found.nsd(0.0) == 0.0


def test_equal_offsets_have_equal_distances_to_the_last_bit() -> None:
    mask = np.zeros((12, 30, 30), bool)
    mask[3:9, 3:20, 3:20] = True
    spacing_mm = (1.1, 0.7, 0.3)
    one, other = surface_of(mask), surface_of(np.roll(mask, 5, axis=2))
    steps = {float(np.sqrt(np.square(n * 0.3))) for n in range(6)}
    found = surface_distances(one, other, spacing_mm)
    assert set(found.reference_mm.tolist()) <= steps | {float(d) for d in found.evaluated_mm}
    assert len(np.unique(found.reference_mm)) == len(np.unique(np.round(found.reference_mm, 9)))


@pytest.mark.parametrize(("percentile", "expected"), [(25, 1.0), (50, 2.0), (50.1, 3.0), (75, 3.0), (100, 4.0)])
def test_percentile_is_the_distance_at_which_the_share_of_the_area_is_reached(
    percentile: float, expected: float
) -> None:
    there, area = np.array([3.0, 1.0, 4.0, 2.0]), np.ones(4)
    found = SurfaceDistances(there, area, np.zeros(4), area)
    assert found.hausdorff_mm(percentile) == expected


def test_percentiles_weigh_by_area() -> None:
    there, area = np.array([1.0, 5.0, 2.0]), np.array([94.0, 4.0, 2.0])
    found = SurfaceDistances(there, area, np.zeros(1), np.ones(1))
    assert [found.hausdorff_mm(percentile) for percentile in (90, 95, 97)] == [1.0, 2.0, 5.0]
    assert found.nsd(2.0) == 97.0 / 101.0
    assert found.assd_mm() == pytest.approx((94.0 + 20.0 + 4.0) / 101.0)


def test_an_empty_surface_leaves_distances_undefined() -> None:
    nothing, something = np.zeros((3, 4, 5), bool), np.ones((3, 4, 5), bool)
    for one, other in ((nothing, something), (something, nothing)):
        assert numbers(distances_of(one, other)) == [0.0, None, None, None, None]
    assert numbers(distances_of(nothing, nothing)) == [None] * 5


def test_hausdorff_of_shifted_boxes_is_the_shift() -> None:
    one = np.zeros((20, 20, 30), bool)
    one[5:15, 5:15, 5:15] = True
    found = distances_of(one, np.roll(one, 4, axis=2), (1.0, 1.0, 0.5))
    assert found.hausdorff_mm(100) == 2.0


def test_concentric_spheres_are_as_far_apart_as_their_radii() -> None:
    shape, centre = (50, 50, 50), (24.3, 24.6, 24.1)
    inner, outer = (sphere(shape, centre, radius, UNIT) > 0 for radius in (16.0, 19.0))
    found = distances_of(inner, outer)
    assert found.assd_mm() == pytest.approx(3.0, abs=0.5)
    assert found.hausdorff_mm(100) == pytest.approx(3.0, abs=0.9)
    area = surface_of(inner).areas_mm2(UNIT).sum()
    assert area == pytest.approx(4 * np.pi * 16.0**2, rel=0.12)


def test_surfaces_of_different_grids_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        distances_of(np.ones((2, 3, 4), bool), np.ones((2, 4, 3), bool))


def test_tree_of_a_surface_is_built_once_per_spacing() -> None:
    surface = surface_of(np.ones((2, 3, 4), bool))
    assert surface.tree(UNIT) is surface.tree(UNIT)
    assert surface.tree(UNIT) is not surface.tree((2.0, 1.0, 1.0))
