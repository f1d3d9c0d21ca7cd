"""A small real case as large as clinical ones: the CT interpolated, every structure as a share of each voxel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segqa_dicom.anatomy import structure_key
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.model import Case, Segmentation
from segqa_dicom.phantoms import Phantom, PhantomStructure
from segqa_dicom.phantoms.solids import axial_geometry
from segqa_dicom.reading.case import read_case
from segqa_dicom.reading.grouping import group
from segqa_dicom.reading.scan import scan

Labels = NDArray[Any]
AIR_HU = -1000


def upsampled_case(folder: Path, shape: tuple[int, int, int]) -> tuple[Phantom, list[Labels]]:
    """The CT and the two segmentations with most structures in `folder`, filling `shape` as far as their form allows.

    The matrix is filled in columns; rows that are missing then are air. Label n is the same structure in both.
    """
    case = _read(folder)
    chosen = sorted(case.segmentations, key=lambda one: -len(one.segments))[:2]
    source = case.ct.geometry
    rows = min(
        shape[1], round(source.shape[1] * source.spacing_mm[1] / source.spacing_mm[2] * shape[2] / source.shape[2])
    )
    core = (shape[0], rows, shape[2])
    steps = tuple(
        spacing * size / new for spacing, size, new in zip(source.spacing_mm, source.shape, core, strict=True)
    )
    structures, tables = _common_numbers(chosen)
    noise = np.random.default_rng(0)
    hu = np.full(shape, AIR_HU, np.int16)
    for k, plane in enumerate(_planes(case.ct.hu, core)):
        hu[k, :rows] = np.clip(np.rint(plane + noise.normal(0, 12, plane.shape)), -1024, 3071)
    models = []
    for segmentation, table in zip(chosen, tables, strict=True):
        labels = np.zeros(shape, np.uint8)
        labels[:, :rows] = _upsampled_labels(table[segmentation.layers[0]], core)
        models.append(labels)
    geometry = axial_geometry(shape, (steps[0], steps[1], steps[2]))
    return Phantom(geometry, hu, models[0], tuple(structures)), models


def _read(folder: Path) -> Case:
    headers, _ = scan([folder], Limits())
    cases, _ = group(headers, Limits())
    case, _ = read_case(cases[0], Limits()) if cases else (None, [])
    if case is None or len(case.segmentations) < 2:
        raise ValueError(f"{folder}: a CT with two segmentations is needed")
    return case


def _common_numbers(chosen: list[Segmentation]) -> tuple[list[PhantomStructure], list[NDArray[np.uint8]]]:
    """All structures, those of the first segmentation first, and per segmentation the new value of each label."""
    numbers: dict[str, int] = {}
    structures: list[PhantomStructure] = []
    tables = []
    for segmentation in chosen:
        table = np.zeros(len(segmentation.segments) + 1, np.uint8)
        for index, segment in enumerate(segmentation.segments):
            key = structure_key(segment.codes)
            if key not in numbers:
                structures.append(PhantomStructure(segment.label, segment.codes, 0, ()))
                numbers[key] = len(structures)
            table[index + 1] = numbers[key]
        tables.append(table)
    return structures, tables


def _axis(new: int, old: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """Neighbours and weight of the second one for each of `new` samples that cover the same length as `old`."""
    places = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    low = np.minimum(places.astype(np.intp), max(old - 2, 0))
    return low, np.minimum(low + 1, old - 1), (places - low).astype(np.float32)


def _stretched(values: NDArray[np.float32], new: int, axis: int) -> NDArray[np.float32]:
    low, high, weight = _axis(new, values.shape[axis])
    weight = weight.reshape([-1 if at == axis else 1 for at in range(values.ndim)])
    result: NDArray[np.float32] = np.take(values, low, axis) * (1 - weight) + np.take(values, high, axis) * weight
    return result


def _planes(volume: NDArray[Any], shape: tuple[int, int, int]) -> list[NDArray[np.float32]]:
    """The slices of a volume of another shape, interpolated linearly."""
    flat = _stretched(_stretched(volume.astype(np.float32), shape[2], 2), shape[1], 1)
    low, high, weight = _axis(shape[0], volume.shape[0])
    return [flat[i] * (1 - w) + flat[j] * w for i, j, w in zip(low, high, weight, strict=True)]


def _upsampled_labels(labels: Labels, shape: tuple[int, int, int]) -> Labels:
    """Each voxel takes the label with the largest interpolated share."""
    result = np.zeros(shape, labels.dtype)
    best = np.stack(_planes(labels == 0, shape)).astype(np.float16)
    for index, box in enumerate(ndimage.find_objects(labels)):
        if box is None:
            continue
        share = (labels == index + 1).astype(np.float32)
        place = []
        for axis, (part, new) in enumerate(zip(box, shape, strict=True)):
            old = labels.shape[axis]
            first = max((part.start - 1) * new // old, 0)
            stop = min(-(-(part.stop + 1) * new // old), new)
            low, high, weight = _axis(new, old)
            weight = weight[first:stop].reshape([-1 if at == axis else 1 for at in range(3)])
            share = (
                np.take(share, low[first:stop], axis) * (1 - weight) + np.take(share, high[first:stop], axis) * weight
            )
            place.append(slice(first, stop))
        crop, strongest = result[tuple(place)], best[tuple(place)]
        wins = share > strongest
        crop[wins] = index + 1
        strongest[wins] = share[wins]
    return result
