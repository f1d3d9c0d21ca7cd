"""Segmentations, CT volumes and geometries from arrays, and label volumes with fixed seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.model import (
    CodedStructure,
    CtFacts,
    CtRecord,
    CtVolume,
    Geometry,
    PatientStudy,
    SegFacts,
    Segment,
    Segmentation,
    SegRecord,
    SliceRef,
)


def uniform_geometry(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Geometry:
    """An axial stack with its first voxel at the origin."""
    slice_mm, row_mm, column_mm = spacing_mm
    origins = np.zeros((shape[0], 3))
    origins[:, 2] = np.arange(shape[0]) * slice_mm
    return Geometry(shape, origins, np.array([0.0, row_mm, 0.0]), np.array([column_mm, 0.0, 0.0]), slice_mm)


def oblique_geometry(
    shape: tuple[int, int, int], *, steps_mm: Sequence[float] | None = None, drift_mm: float = 0.0, seed: int = 0
) -> Geometry:
    """A stack in a random orientation; uneven `steps_mm` between slices, and origins that drift along the rows."""
    axes, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    column_axis, row_axis = axes[:, 0], axes[:, 1]
    normal = np.cross(column_axis, row_axis)
    steps = np.full(shape[0] - 1, 2.5) if steps_mm is None else np.asarray(steps_mm, float)
    positions = np.concatenate(([0.0], np.cumsum(steps)))
    origins = np.array([-120.0, 55.5, 980.25]) + positions[:, None] * normal
    origins = origins + drift_mm * np.arange(shape[0])[:, None] * row_axis
    nominal = float(np.median(steps)) if len(steps) else 2.5
    return Geometry(shape, origins, row_axis * 0.8, column_axis * 0.7, nominal)


def ct_volume(geometry: Geometry, hu: NDArray[Any], facts: CtFacts | None = None) -> CtVolume:
    slices = tuple(SliceRef("1.2.840.10008.5.1.4.1.1.2", f"1.2.3.{k}") for k in range(geometry.shape[0]))
    record = CtRecord("1.2.3", "1.2", "1.2.9", PatientStudy(()), slices, ())
    return CtVolume(geometry, hu, record, facts or CtFacts())


def segmentation(
    *layers: NDArray[Any], count: int | None = None, layer_of: Sequence[int] | None = None
) -> Segmentation:
    """A segmentation of `count` segments (default: as many as the largest label); numbers are 3, 5, 7, ...

    layer_of : layer of each segment; default: the first layer in which its label occurs, else layer 0
    """
    if count is None:
        count = max(int(layer.max()) for layer in layers)
    if layer_of is None:
        present = [set(np.unique(layer).tolist()) for layer in layers]
        layer_of = [
            next((n for n, labels in enumerate(present) if label in labels), 0) for label in range(1, count + 1)
        ]
    segments = tuple(
        Segment(3 + 2 * index, f"segment {index}", CodedStructure(), layer=layer_of[index]) for index in range(count)
    )
    return Segmentation(SegRecord("1.2.4", "1.2.5", "1.2.6", "1.2"), segments, layers, SegFacts())


def noise(
    shape: tuple[int, int, int], labels: int, dtype: type, *, background: float = 0.5, seed: int = 0
) -> NDArray[Any]:
    """Every voxel a random label."""
    rng = np.random.default_rng(seed)
    volume = rng.integers(1, labels + 1, shape)
    volume[rng.random(shape) < background] = 0
    return volume.astype(dtype)


def blobs(shape: tuple[int, int, int], labels: int, dtype: type, *, seed: int = 0) -> NDArray[Any]:
    """Ellipsoids that may touch each other and the faces of the volume, later ones under earlier ones."""
    rng = np.random.default_rng(seed)
    grid = np.indices(shape)
    volume = np.zeros(shape, dtype)
    for label in range(1, labels + 1):
        centre, radius = rng.uniform(0, shape), rng.uniform(1.0, np.maximum(np.array(shape) / 3, 1.5))
        distance = sum(((grid[axis] - centre[axis]) / radius[axis]) ** 2 for axis in range(3))
        volume[(distance < 1) & (volume == 0)] = label
    return volume


def sphere(
    shape: tuple[int, int, int], centre: Sequence[float], radius_mm: float, spacing_mm: Sequence[float]
) -> NDArray[np.uint8]:
    """A sphere of label 1 around a (slice, row, column) index."""
    grid = np.indices(shape)
    distance = sum(((grid[axis] - centre[axis]) * spacing_mm[axis]) ** 2 for axis in range(3))
    return (distance <= radius_mm**2).astype(np.uint8)
