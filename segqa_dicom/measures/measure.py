"""Everything that is measured on one segmentation by itself."""

from __future__ import annotations

from segqa_dicom.measures.fov import padding_voxel_counts
from segqa_dicom.measures.intensity import intensities_of_runs
from segqa_dicom.measures.results import Intensity, SegmentMeasures, Shape
from segqa_dicom.measures.runs import find_runs, indices_by_layer, table_size
from segqa_dicom.measures.shape import shapes_of_runs
from segqa_dicom.model import CtVolume, Segmentation


def measure_segmentation(segmentation: Segmentation, ct: CtVolume) -> tuple[SegmentMeasures, ...]:
    """Shape, intensity and voxels on padding of each segment, in the order of the segmentation.

    The same numbers as `measure_shapes`, `measure_intensities` and `padding_voxel_counts`, with one sweep per layer.
    """
    segment_count = len(segmentation.segments)
    shapes: dict[int, Shape] = {}
    intensities: dict[int, Intensity | None] = dict.fromkeys(range(segment_count))
    for layer, indices in zip(segmentation.layers, indices_by_layer(segmentation), strict=True):
        runs, size = find_runs(layer), table_size(layer, segment_count)
        shapes.update(zip(indices, shapes_of_runs(runs, indices, ct.geometry, size=size), strict=True))
        if ct.facts.hu_defined:
            intensities.update(zip(indices, intensities_of_runs(runs, indices, ct, size=size), strict=True))
    padding = padding_voxel_counts(segmentation, ct)
    return tuple(
        SegmentMeasures(shapes[index], intensities[index], int(padding[index])) for index in range(segment_count)
    )
