"""Injections that change voxels of one structure."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segqa_dicom.anatomy import Group
from segqa_dicom.model import CtVolume, Segmentation
from segqa_dicom.model.segmentation import LabelArray
from segqa_dicom.phantoms import errors
from segqa_dicom.selftest.edit import (
    Part,
    is_one_piece,
    parts_of,
    with_copy,
    with_overlap,
    with_voxels,
)
from segqa_dicom.selftest.injection import Changed
from segqa_dicom.selftest.parts import (
    ISLAND_ML,
    ISLAND_VOXELS,
    KIDNEYS,
    L4,
    LIVER,
    LOWER_LOBES,
    ORGANS,
    SPLEEN,
    changed_parts,
    of_one,
    one_of,
    organ,
)

BODY_HU = -300
"""From here on a voxel counts as body when a way out of it is looked for."""

ISLAND_DISTANCE = 6
"""Voxels between an island and its structure at least."""

LOBE_PIECE_VOXELS = 5
"""Voxels across of a piece of lung in the abdomen."""


def add_island(segmentation: Segmentation, ct: CtVolume) -> Changed | None:
    """A few stray voxels of an organ, within the body and apart from it, where nothing else is."""
    part = organ(segmentation, *ORGANS, complete=False)
    if part is None:
        return None
    start = _free_place(segmentation.layers[part.layer], part, ct, around=2 * ISLAND_VOXELS + 1)
    if start is None:
        return None
    size = (1, 1, min(max(int(ISLAND_ML / ct.geometry.voxel_volume_ml), 1), ISLAND_VOXELS))
    return of_one(part, segmentation, partial(errors.add_island, value=part.value, start=start, size=size))


def _free_place(layer: LabelArray, part: Part, ct: CtVolume, *, around: int) -> tuple[int, int, int] | None:
    """The nearest place in the middle slice of a structure that is free, in the body, and not above or below it.

    around : voxels across that have to be free
    """
    middle = (part.box[0].start + part.box[0].stop) // 2
    free = ndimage.minimum_filter((layer[middle] == 0) & (ct.hu[middle] > BODY_HU), size=around)
    away = ndimage.distance_transform_edt(~(layer == part.value).any(axis=0))
    fit = free & (away >= ISLAND_DISTANCE)
    if not fit.any():
        return None
    row, column = np.unravel_index(int(np.argmin(np.where(fit, away, np.inf))), fit.shape)
    return middle, int(row), int(column)


def drop_slice(segmentation: Segmentation, _ct: CtVolume) -> Changed | None:
    """An organ missing in its middle slice."""
    part = organ(segmentation, *ORGANS, complete=False)
    if part is None:
        return None
    index = (part.box[0].start + part.box[0].stop) // 2
    return of_one(part, segmentation, partial(errors.drop_slice, value=part.value, index=index))


def leak(segmentation: Segmentation, ct: CtVolume) -> Changed | None:
    """An organ that grows to its side until half of what it gains lies outside the body."""
    part = organ(segmentation, SPLEEN, *ORGANS, complete=False)
    if part is None:
        return None
    middle = (part.box[0].start + part.box[0].stop) // 2
    row = (part.box[1].start + part.box[1].stop) // 2
    body = np.flatnonzero(ct.hu[middle, row] > BODY_HU)
    columns = part.box[2]
    to_right = int(body[-1]) - columns.stop if len(body) else 0
    to_left = columns.start - int(body[0]) if len(body) else 0
    by = to_right + 20 if to_right <= to_left else -(to_left + 20)
    change = partial(errors.leak, value=part.value, rows=0, columns=by, over_others=False)
    return of_one(part, segmentation, change)


def hollow(segmentation: Segmentation, _ct: CtVolume) -> Changed | None:
    """Nothing left of an organ but its wall, if it is thick enough to have an inside."""
    part = organ(segmentation, *ORGANS)
    if part is None or part.key not in ORGANS:
        return None
    return of_one(part, segmentation, partial(errors.hollow, value=part.value))


def erode(segmentation: Segmentation, _ct: CtVolume) -> Changed | None:
    """A kidney two voxels smaller on all sides."""
    part = one_of(segmentation, KIDNEYS)
    return None if part is None else of_one(part, segmentation, partial(errors.erode, value=part.value, voxels=2))


def dilate(segmentation: Segmentation, _ct: CtVolume, *, wanted: tuple[str, ...]) -> Changed | None:
    """One of a pair two voxels larger on all sides."""
    part = one_of(segmentation, wanted, large=False)
    return None if part is None else of_one(part, segmentation, partial(errors.dilate, value=part.value, voxels=2))


def displace(segmentation: Segmentation, ct: CtVolume) -> Changed | None:
    """A kidney 8 cm nearer to the head or the feet, among other tissue."""
    part = one_of(segmentation, KIDNEYS)
    if part is None:
        return None
    slices, end = round(80 / ct.geometry.slice_spacing_mm), ct.geometry.shape[0]
    for by in (slices, -slices):
        if part.box[0].start + by > 0 and part.box[0].stop + by < end:
            return of_one(part, segmentation, partial(errors.displace, value=part.value, by=(by, 0, 0)))
    return None


def cut_off(segmentation: Segmentation, _ct: CtVolume) -> Changed | None:
    """Two thirds of an organ not segmented."""
    part = organ(segmentation, *ORGANS)
    return None if part is None else of_one(part, segmentation, partial(errors.cut_off, value=part.value, share=2 / 3))


def overlap(segmentation: Segmentation, _ct: CtVolume) -> Changed | None:
    """A kidney and what it grew into by three voxels, which both claim now."""
    parts = parts_of(segmentation)
    part = organ(segmentation, *KIDNEYS, *ORGANS, complete=False)
    if part is None:
        return None

    def grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.asarray(errors.dilate(mask.astype(np.uint8), 1, voxels=3) > 0)

    changed = with_overlap(segmentation, part.index, grown)
    mask = changed.layers[-1] > 0
    shared = {
        (number, int(value)) for number, layer in enumerate(segmentation.layers) for value in np.unique(layer[mask])
    }
    others = [one for one in parts if (one.layer, one.value) in shared and one is not part]
    return replace(changed_parts(changed, [part, *others]), what=part.label)


def mixed_tissue(segmentation: Segmentation, _ct: CtVolume) -> Changed | None:
    """The back of a lobe of the lung given to the liver."""
    by_key = {part.key: part for part in parts_of(segmentation) if part.is_complete}
    liver, lobe = by_key.get(LIVER), by_key.get(LOWER_LOBES[1])
    if liver is None or lobe is None or liver.layer != lobe.layer:
        return None
    change = partial(errors.take_piece, of=lobe.value, to=liver.value)
    return changed_parts(with_voxels(segmentation, liver.layer, change), [liver, lobe])


def lobe_below_lung(segmentation: Segmentation, ct: CtVolume) -> Changed | None:
    """A piece of a lower lobe of the lung beside the lowest lumbar vertebra."""
    parts = parts_of(segmentation)
    lobes = [part for part in parts if part.key in LOWER_LOBES and is_one_piece(segmentation, part)]
    lowest = next((part for part in parts if part.known.level == L4 and part.known.group is Group.VERTEBRA), None)
    if not lobes or lowest is None or lowest.layer != lobes[0].layer:
        return None
    start = _free_place(segmentation.layers[lowest.layer], lowest, ct, around=LOBE_PIECE_VOXELS)
    if start is None:
        return None
    half = LOBE_PIECE_VOXELS // 2
    size = (1, LOBE_PIECE_VOXELS, LOBE_PIECE_VOXELS)
    corner = (start[0], start[1] - half, start[2] - half)
    return of_one(lobes[0], segmentation, partial(errors.add_island, value=lobes[0].value, start=corner, size=size))


def duplicate(segmentation: Segmentation, _ct: CtVolume) -> Changed | None:
    """An organ a second time, as a segment of its own."""
    part = organ(segmentation, *ORGANS, complete=False)
    return None if part is None else changed_parts(with_copy(segmentation, part.index, f"{part.label} 2"), [part])
