"""Comparing two segmentations: right numbers for right segments, and the policy for empty masks."""

from __future__ import annotations

import numpy as np
import pytest

from segqa_dicom.measures import (
    Comparand,
    StructurePair,
    SurfaceTooLarge,
    compare_segmentations,
    extract_surfaces,
    measure_shapes,
    overlap,
    surface_distances,
)
from segqa_dicom.measures.results import StructureComparison
from segqa_dicom.model import Geometry, Segmentation

from .factories import blobs, noise, segmentation, uniform_geometry

SHAPE = (12, 20, 24)
GEOMETRY = uniform_geometry(SHAPE, (2.0, 0.8, 0.7))


def measured(subject: Segmentation, geometry: Geometry = GEOMETRY) -> Comparand:
    return Comparand(subject, measure_shapes(subject, geometry), extract_surfaces(subject))


def compare(
    evaluated: Segmentation, reference: Segmentation, pairs: list[tuple[str, int, int, float]]
) -> tuple[StructureComparison, ...]:
    return compare_segmentations(measured(evaluated), measured(reference), pairs, GEOMETRY)


@pytest.mark.slow
def test_numbers_are_those_of_the_masks() -> None:
    a, b = blobs(SHAPE, 4, np.uint8), blobs(SHAPE, 4, np.uint16, seed=1)
    evaluated, reference = segmentation(a, count=4), segmentation(b, count=4)
    surfaces = extract_surfaces(evaluated), extract_surfaces(reference)
    pairs = [(f"structure {x}-{y}", x, y, 1.5) for x in range(4) for y in range(4)]
    for found, (key, x, y, tolerance_mm) in zip(compare(evaluated, reference, pairs), pairs, strict=True):
        mask_a, mask_b = a == x + 1, b == y + 1
        both = int((mask_a & mask_b).sum())
        assert found.structure_key == key
        assert (found.evaluated_segment, found.reference_segment) == (3 + 2 * x, 3 + 2 * y)
        assert found.dice == pytest.approx(2 * both / (mask_a.sum() + mask_b.sum()))
        assert found.iou == pytest.approx(both / (mask_a | mask_b).sum())
        assert found.volume_difference_percent == pytest.approx(100 * (mask_a.sum() / mask_b.sum() - 1))
        assert not any(isinstance(part, SurfaceTooLarge) for part in surfaces)
        distances = surface_distances(surfaces[1].of(y), surfaces[0].of(x), GEOMETRY.spacing_mm)  # type: ignore[union-attr]
        assert found.tolerance_mm == tolerance_mm
        assert found.nsd == distances.nsd(tolerance_mm)
        assert found.hd_mm == distances.hausdorff_mm(100)
        assert found.hd95_mm == distances.hausdorff_mm(95)
        assert found.assd_mm == distances.assd_mm()


def test_identical_masks_are_exactly_perfect() -> None:
    subject = segmentation(noise(SHAPE, 5, np.uint8))
    for found in compare(subject, subject, [(str(n), n, n, 0.0) for n in range(5)]):
        assert (found.dice, found.iou, found.nsd) == (1.0, 1.0, 1.0)
        assert (found.hd_mm, found.hd95_mm, found.assd_mm, found.volume_difference_percent) == (0.0, 0.0, 0.0, 0.0)


def test_empty_masks_follow_the_policy() -> None:
    full, empty = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    full[3:6, 3:6, 3:6] = 1
    one, none = segmentation(full, count=1), segmentation(empty, count=1)
    pair = [("structure", 0, 0, 3.0)]
    (missed,) = compare(none, one, pair)
    assert (missed.dice, missed.iou, missed.nsd, missed.volume_difference_percent) == (0.0, 0.0, 0.0, -100.0)
    assert (missed.hd_mm, missed.hd95_mm, missed.assd_mm) == (None, None, None)
    (invented,) = compare(one, none, pair)
    assert (invented.dice, invented.iou, invented.nsd, invented.volume_difference_percent) == (0.0, 0.0, 0.0, None)
    assert (invented.hd_mm, invented.hd95_mm, invented.assd_mm) == (None, None, None)
    (neither,) = compare(none, none, pair)
    assert (neither.dice, neither.iou, neither.nsd, neither.volume_difference_percent) == (None,) * 4
    assert (neither.hd_mm, neither.hd95_mm, neither.assd_mm) == (None, None, None)


def test_a_surface_that_is_too_large_leaves_distances_undefined() -> None:
    a, b = blobs(SHAPE, 2, np.uint8), blobs(SHAPE, 2, np.uint8, seed=1)
    a[a == 2] = 0
    evaluated, reference = segmentation(a, count=2), segmentation(b, count=2)
    refused = Comparand(evaluated, measure_shapes(evaluated, GEOMETRY), extract_surfaces(evaluated, element_budget=1))
    assert refused.surfaces == SurfaceTooLarge(1)
    pairs = [StructurePair("one", 0, 0, 3.0), StructurePair("other", 1, 1, 3.0)]
    one, other = compare_segmentations(refused, measured(reference), pairs, GEOMETRY)
    assert one.dice is not None
    assert (one.nsd, one.hd_mm, one.hd95_mm, one.assd_mm) == (None,) * 4
    assert (other.dice, other.nsd, other.hd_mm) == (0.0, 0.0, None)


def test_segments_in_several_layers_are_compared_and_each_pair_of_layers_counted_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = blobs(SHAPE, 3, np.uint8), blobs(SHAPE, 3, np.uint8, seed=4)
    second[second > 0] += 3
    evaluated = segmentation(first, second, count=6)
    reference = segmentation(blobs(SHAPE, 6, np.uint8, seed=9), count=6)
    calls = []

    def counted(a: np.ndarray, b: np.ndarray) -> overlap.JointCounts:
        calls.append((id(a), id(b)))
        return overlap.joint_counts(a, b)

    monkeypatch.setattr("segqa_dicom.measures.compare.joint_counts", counted)
    found = compare(evaluated, reference, [(str(n), n, n, 3.0) for n in (5, 0, 3, 1, 2, 4)])
    assert [one.structure_key for one in found] == ["5", "0", "3", "1", "2", "4"]
    assert len(calls) == len(set(calls)) == 2
    for index, one in zip((5, 0, 3, 1, 2, 4), found, strict=True):
        mask = (first if index < 3 else second) == index + 1
        other = reference.layers[0] == index + 1
        assert one.dice == pytest.approx(2 * (mask & other).sum() / (mask.sum() + other.sum()))


def test_no_pairs_give_no_comparison() -> None:
    subject = segmentation(noise(SHAPE, 2, np.uint8))
    assert compare(subject, subject, []) == ()


def test_volume_difference_uses_the_extent_of_uneven_slices() -> None:
    origins = np.zeros((4, 3))
    origins[:, 2] = [0.0, 1.0, 3.5, 9.0]
    geometry = Geometry((4, 2, 2), origins, np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0]), 1.0)
    low, high = np.zeros((4, 2, 2), np.uint8), np.zeros((4, 2, 2), np.uint8)
    low[0], high[3] = 1, 1
    pairs = [("structure", 0, 0, 3.0)]
    evaluated, reference = measured(segmentation(high), geometry), measured(segmentation(low), geometry)
    (found,) = compare_segmentations(evaluated, reference, pairs, geometry)
    assert found.volume_difference_percent == pytest.approx(100 * (5.5 / 1.0 - 1))


def test_every_segment_needs_its_shape() -> None:
    subject = segmentation(noise(SHAPE, 2, np.uint8))
    with pytest.raises(ValueError, match="need a shape each"):
        Comparand(subject, (), extract_surfaces(subject))
