"""Surface metrics of real structures equal those of DeepMind's surface-distance, on any spacing."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from segqa_dicom.anatomy import structure_key
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.measures import extract_surfaces, surface_distances
from segqa_dicom.reading.case import read_case
from segqa_dicom.reading.grouping import group
from segqa_dicom.reading.scan import scan
from tests.shared import shared

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import surface_distance


@pytest.mark.shared
@pytest.mark.parametrize("spacing", [(3.0, 3.0, 3.0), (5.0, 0.8, 0.7)])
def test_every_shared_structure_of_a_real_pair(spacing: tuple[float, float, float]) -> None:
    headers, _ = scan([shared("data", "case_A")], Limits())
    (files,), _ = group(headers, Limits())
    case, _ = read_case(files, Limits())
    assert case is not None
    pair = [case.segmentations[at] for at in (0, 3)]
    surfaces = [extract_surfaces(one) for one in pair]
    index_of = {structure_key(segment.codes): index for index, segment in enumerate(pair[1].segments)}
    compared = 0
    for mine, segment in enumerate(pair[0].segments):
        its = index_of.get(structure_key(segment.codes))
        if its is None:
            continue
        masks = [one.layers[one.segments[at].layer] == at + 1 for one, at in zip(pair, (mine, its), strict=True)]
        where = np.argwhere(masks[0] | masks[1])
        crop = tuple(slice(low, high + 1) for low, high in zip(where.min(0), where.max(0), strict=True))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it uses SciPy names that are deprecated
            expected = surface_distance.compute_surface_distances(masks[0][crop], masks[1][crop], spacing)
        found = surface_distances(surfaces[0].of(mine), surfaces[1].of(its), spacing)
        assert found.nsd(3.0) == pytest.approx(
            surface_distance.compute_surface_dice_at_tolerance(expected, 3.0), abs=1e-9
        )
        for percentile in (95, 100):
            wanted = surface_distance.compute_robust_hausdorff(expected, percentile)
            assert found.hausdorff_mm(percentile) == pytest.approx(wanted, abs=1e-9)
        areas = [expected[f"surfel_areas_{side}"] for side in ("gt", "pred")]
        distances = [expected["distances_gt_to_pred"], expected["distances_pred_to_gt"]]
        pooled = sum((d * a).sum() for d, a in zip(distances, areas, strict=True)) / sum(a.sum() for a in areas)
        assert found.assd_mm() == pytest.approx(pooled, abs=1e-9)
        compared += 1
    assert compared > 50
