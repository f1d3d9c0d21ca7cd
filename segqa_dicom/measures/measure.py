"""Everything that is measured on one segmentation by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segqa_dicom.measures.body import air_around, outside_of_runs
from segqa_dicom.measures.cavities import cavities_of_runs
from segqa_dicom.measures.edge_regions import EdgeRegions
from segqa_dicom.measures.fov import padding_of_runs, padding_regions
from segqa_dicom.measures.intensity import intensities_of_runs
from segqa_dicom.measures.results import Intensity, OutsideBody, SegmentMeasures
from segqa_dicom.measures.runs import Runs, find_runs, indices_by_layer, table_size
from segqa_dicom.measures.shape import shapes_of_runs
from segqa_dicom.model import CtVolume, Segmentation


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What lies around the patient in a CT; None where there is none (or, for the air, without HU)."""

    air: EdgeRegions | None
    padding: EdgeRegions | None


def find_surroundings(ct: CtVolume) -> Surroundings:
    """What all segmentations of a CT are measured against."""
    return Surroundings(air_around(ct) if ct.facts.hu_defined else None, padding_regions(ct))


def measure_segmentation(
    segmentation: Segmentation,
    ct: CtVolume,
    *,
    surroundings: Surroundings | None = None,
    layer_runs: Sequence[Runs] | None = None,
) -> tuple[SegmentMeasures, ...]:
    """All measures of each segment, in the order of the segmentation.

    The numbers of `measure_shapes`, `measure_intensities`, `padding_voxel_counts`, `outside_body` and
    `measure_cavities`, with one sweep per layer.
    surroundings : of this CT, if they are known already
    layer_runs : the runs of each layer, if they are known already
    """
    segment_count = len(segmentation.segments)
    surroundings = find_surroundings(ct) if surroundings is None else surroundings
    layer_runs = [find_runs(layer) for layer in segmentation.layers] if layer_runs is None else layer_runs
    measures: dict[int, SegmentMeasures] = {}
    for layer, runs, indices in zip(segmentation.layers, layer_runs, indices_by_layer(segmentation), strict=True):
        size = table_size(layer, segment_count)
        intensities: Sequence[Intensity | None] = [None] * len(indices)
        outside: Sequence[OutsideBody | None] = [None] * len(indices)
        if ct.facts.hu_defined:
            intensities = intensities_of_runs(runs, indices, ct, size=size)
            outside = outside_of_runs(runs, indices, surroundings.air, size=size)
        shapes = shapes_of_runs(runs, indices, ct.geometry, size=size)
        padding = padding_of_runs(runs, indices, surroundings.padding, size=size)
        others = [other for other in segmentation.layers if other is not layer]
        cavities = cavities_of_runs(runs, indices, others, size=size)
        measured = map(SegmentMeasures, shapes, intensities, padding, outside, cavities)
        measures.update(zip(indices, measured, strict=True))
    return tuple(measures[index] for index in range(segment_count))
