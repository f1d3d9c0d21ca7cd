"""Extent of every segment: voxel count, volume, centroid, bounding box and components."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.jit import kernel
from segqa_dicom.measures.components import connected_components
from segqa_dicom.measures.results import Box, Components, Shape
from segqa_dicom.measures.runs import Runs, find_runs, indices_by_layer, table_size
from segqa_dicom.model import Geometry, PointMm, Segmentation


def measure_shapes(segmentation: Segmentation, geometry: Geometry) -> tuple[Shape, ...]:
    """Shape of each segment, in the order of the segmentation; one sweep per layer.

    Volume in mL: voxels times the volume of one, or, where slice distances are uneven, every voxel with the extent of
    its slice. Centroid in LPS mm: mean of the voxel centres, for any orientation, tilt and spacing. A segment without
    voxels has counts 0, volume 0, and neither centroid nor box.
    """
    shapes: dict[int, Shape] = {}
    for layer, indices in zip(segmentation.layers, indices_by_layer(segmentation), strict=True):
        size = table_size(layer, len(segmentation.segments))
        shapes.update(zip(indices, shapes_of_runs(find_runs(layer), indices, geometry, size=size), strict=True))
    return tuple(shapes[index] for index in range(len(segmentation.segments)))


def shapes_of_runs(runs: Runs, indices: list[int], geometry: Geometry, *, size: int) -> list[Shape]:
    """Shapes of the segments at `indices`, which lie in the layer of `runs`.

    size : more than any label of the layer and any index
    """
    if runs.shape != geometry.shape:
        raise ValueError(f"a layer of shape {runs.shape} does not fit the geometry {geometry.shape}")
    labels = [index + 1 for index in indices]
    sums = _LabelSums(runs, geometry, size)
    components = connected_components(runs, labels)
    return [sums.shape_of(label, parts) for label, parts in zip(labels, components, strict=True)]


class _LabelSums:
    """Sums over the voxels of every label of one layer, each table indexed by the label."""

    def __init__(self, runs: Runs, geometry: Geometry, size: int) -> None:
        self._geometry = geometry
        self._voxel_counts = np.zeros(size, np.int64)
        self._index_sums = np.zeros((size, 2), np.int64)
        self._boxes = np.zeros((size, 6), np.int32)
        self._slice_sums = np.zeros((size, 4), np.float64)
        slices, rows, _ = runs.shape
        slice_values = np.column_stack((geometry.slice_origins_mm, geometry.slice_extent_mm))
        _sum_runs(
            runs.row_starts, runs.first, runs.stop, runs.labels, slices, rows, slice_values,
            self._voxel_counts, self._index_sums, self._boxes, self._slice_sums,
        )  # fmt: skip

    def shape_of(self, label: int, components: Components) -> Shape:
        """Everything about one label."""
        voxel_count = int(self._voxel_counts[label])
        if voxel_count == 0:
            return Shape(0, 0.0, None, None, components)
        k0, i0, j0, k1, i1, j1 = (int(value) for value in self._boxes[label])
        box = Box((k0, i0, j0), (k1, i1, j1))
        return Shape(voxel_count, self._volume_ml(label), self._centroid_mm(label), box, components)

    def _volume_ml(self, label: int) -> float:
        if self._geometry.is_uniform:
            return int(self._voxel_counts[label]) * self._geometry.voxel_volume_ml
        _, row_mm, column_mm = self._geometry.spacing_mm
        return float(self._slice_sums[label, 3]) * row_mm * column_mm / 1000.0

    def _centroid_mm(self, label: int) -> PointMm:
        origin = self._slice_sums[label, :3] / self._voxel_counts[label]
        row, column = self._index_sums[label] / self._voxel_counts[label]
        x, y, z = origin + row * self._geometry.row_step_mm + column * self._geometry.column_step_mm
        return float(x), float(y), float(z)


@kernel
def _sum_runs(
    row_starts: NDArray[np.int64], first: NDArray[Any], stop: NDArray[Any], labels: NDArray[Any], slices: int,
    rows: int, slice_values: NDArray[np.float64], voxel_counts: NDArray[np.int64], index_sums: NDArray[np.int64],
    boxes: NDArray[np.int32], slice_sums: NDArray[np.float64],
) -> None:  # fmt: skip
    """Sum voxels, row and column indices, boxes, and the values of the slice each voxel lies in.

    Voxels are counted per slice first: whole numbers, so that floating-point sums have one term per slice only.
    """
    in_slice = np.zeros(voxel_counts.size, np.int64)
    seen = np.zeros(voxel_counts.size, np.int64)
    for k in range(slices):
        seen_count = 0
        for i in range(rows):
            for run in range(row_starts[k * rows + i], row_starts[k * rows + i + 1]):
                label = labels[run]
                low, high = np.int64(first[run]), np.int64(stop[run])
                if in_slice[label] == 0:
                    seen[seen_count] = label
                    seen_count += 1
                in_slice[label] += high - low
                index_sums[label, 0] += i * (high - low)
                index_sums[label, 1] += (low + high - 1) * (high - low) // 2
                box = boxes[label]
                if box[3] == 0:
                    box[0], box[1], box[2] = k, i, low
                box[1], box[2] = min(box[1], i), min(box[2], low)
                box[3], box[4], box[5] = k + 1, max(box[4], i + 1), max(box[5], high)
        for place in range(seen_count):
            label = seen[place]
            voxel_counts[label] += in_slice[label]
            for value in range(slice_values.shape[1]):
                slice_sums[label, value] += in_slice[label] * slice_values[k, value]
            in_slice[label] = 0
