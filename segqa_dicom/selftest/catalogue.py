"""The errors that are made on purpose, each as models and programs make it, with the rules that must see it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segqa_dicom.anatomy import Group, Side, opposite_key
from segqa_dicom.model import CtVolume, Segmentation
from segqa_dicom.model.segmentation import LabelArray
from segqa_dicom.phantoms import errors
from segqa_dicom.selftest.edit import (
    Part,
    chain,
    is_one_piece,
    parts_of,
    with_copy,
    with_names_of,
    with_number,
    with_overlap,
    with_voxels,
    without,
)
from segqa_dicom.selftest.injection import Changed, Injection, in_model
from segqa_dicom.selftest.objects import drop_referenced_instance, rotate_frame_order

LIVER, SPLEEN = "10200004.SCT|||", "78961009.SCT|||"
KIDNEY_LEFT, KIDNEY_RIGHT = KIDNEYS = "64033007.SCT|7771000.SCT||", "64033007.SCT|24028007.SCT||"
ADRENALS = "23451007.SCT|7771000.SCT||", "23451007.SCT|24028007.SCT||"
STOMACH, BLADDER = "69695003.SCT|||", "89837001.SCT|||"
LOWER_LOBES = "90572001.SCT|7771000.SCT||", "90572001.SCT|24028007.SCT||"
ORGANS = (LIVER, SPLEEN, KIDNEY_LEFT, KIDNEY_RIGHT)
T8, L4, RIB_7 = 15, 23, 7
"""Levels (`structures.toml`) where errors of chains are made if they are there: in the middle of them."""

BODY_HU = -300
"""From here on a voxel counts as body when a way out of it is looked for."""
ISLAND_ML, ISLAND_VOXELS = 0.06, 3
"""Size of an island at most: larger ones are parts (rule T1)."""
ISLAND_DISTANCE = 6
"""Voxels between an island and its structure at least."""

LOBE_PIECE_VOXELS = 5
"""Voxels across of a piece of lung in the abdomen."""


# ------------------------------------------------------------------------------------------------- who is fit for it


def _organ(segmentation: Segmentation, *wanted: str, complete: bool = True, large: bool = True) -> Part | None:
    """The first of the wanted structures that is large and in one piece, else the largest organ, else of all.

    In one piece, because what is in pieces already has complaints that the injected error would hide behind.
    complete, large : False = it may be cut off by the scan, or small
    """
    fit = [part for part in parts_of(segmentation) if part.known.components == 1 and (part.is_large or not large)]
    order = sorted(
        (part for part in fit if part.is_complete or not complete),
        key=lambda part: (
            wanted.index(part.key) if part.key in wanted else len(wanted),
            part.known.group is not Group.ORGAN,
            -part.box_size,
        ),
    )
    return next((part for part in order if is_one_piece(segmentation, part)), None)


def _neighbours(levels: dict[int, Part], wanted: int) -> tuple[Part, Part] | None:
    """Two complete members of a chain, one level apart and in one layer, as near to a wanted level as there are.

    With complete ones above and below them if that can be had: at its end, a chain may miss a member by nature.
    """
    complete = {level for level, part in levels.items() if part.is_complete}
    found = [
        (not {level - 1, level + 2} <= complete, abs(level - wanted), part, levels[level + 1])
        for level, part in levels.items()
        if {level, level + 1} <= complete and part.layer == levels[level + 1].layer
    ]
    return min(found, key=lambda entry: entry[:2])[2:] if found else None


def _changed(segmentation: Segmentation, parts: Sequence[Part]) -> Changed:
    return Changed(segmentation, frozenset(part.key for part in parts), " and ".join(part.label for part in parts))


def _of_one(part: Part, segmentation: Segmentation, change: Callable[[LabelArray], NDArray[Any]]) -> Changed:
    """A change of the voxels of one structure."""
    return _changed(with_voxels(segmentation, part.layer, change), [part])


# ------------------------------------------------------------------------------------------------- sides and names


def _mirror(segmentation: Segmentation, ct: CtVolume) -> Changed | None:
    """The volume flipped along the axis that runs from right to left: its structures keep their names."""
    if not any(part.side for part in parts_of(segmentation)):
        return None
    axis = 2 if abs(ct.geometry.column_step_mm[0]) >= abs(ct.geometry.row_step_mm[0]) else 1
    for number in range(len(segmentation.layers)):
        segmentation = with_voxels(segmentation, number, partial(errors.flip, axis=axis))
    return Changed(segmentation, frozenset(), "all structures")


def _swap_pair(segmentation: Segmentation, _ct: CtVolume) -> Changed | None:
    """The labels and codes of the two sides of a pair exchanged."""
    by_key = {part.key: part for part in parts_of(segmentation)}
    lefts = [part for part in by_key.values() if part.side is Side.LEFT and opposite_key(part.key) in by_key]
    if not lefts:
        return None
    left = max(lefts, key=lambda part: (part.key == KIDNEY_LEFT, part.box_size))
    right = by_key[opposite_key(left.key) or ""]
    names = {left.index: right.index, right.index: left.index}
    return _changed(with_names_of(segmentation, names), [left, right])


def _exchange(
    segmentation: Segmentation, _ct: CtVolume, *, keys: tuple[str, str], labels: bool = True
) -> Changed | None:
    """The codes of two structures exchanged; with or without what people read."""
    by_key = {part.key: part for part in parts_of(segmentation)}
    if not set(keys) <= set(by_key):
        return None
    one, other = (by_key[key] for key in keys)
    names = {one.index: other.index, other.index: one.index}
    return _changed(with_names_of(segmentation, names, labels=labels), [one, other])


# ------------------------------------------------------------------------------------------------- chains


def _shift_from(
    segmentation: Segmentation, _ct: CtVolume, *, group: Group, side: Side | None = None, first: int
) -> Changed | None:
    """Every member of a chain from a level on under the name of the next one; the last one is left out."""
    levels = chain(parts_of(segmentation), group, side)
    moved = [part for level, part in levels.items() if level >= first]
    if len(moved) < 3:
        return None
    names = {part.index: later.index for part, later in pairwise(moved)}
    renamed = with_names_of(segmentation, names)
    keys = frozenset(part.key for part in moved)
    return Changed(without(renamed, moved[-1].index), keys, f"{moved[0].label} to {moved[-1].label}")


def _merge_levels(segmentation: Segmentation, _ct: CtVolume) -> Changed | None:
    """A vertebra given to the one below it."""
    pair = _neighbours(chain(parts_of(segmentation), Group.VERTEBRA), T8)
    if pair is None:
        return None
    upper, lower = pair
    change = partial(errors.merge, into=lower.value, other=upper.value)
    return _changed(without(with_voxels(segmentation, upper.layer, change), upper.index), pair)


def _cut_level(segmentation: Segmentation, _ct: CtVolume) -> Changed | None:
    """Two thirds of a vertebra, from one end on, missing."""
    pair = _neighbours(chain(parts_of(segmentation), Group.VERTEBRA), T8)
    if pair is None:
        return None
    return _of_one(pair[0], segmentation, partial(errors.cut_off, value=pair[0].value, share=2 / 3))


def _cut_rib(segmentation: Segmentation, _ct: CtVolume) -> Changed | None:
    """The back of a rib given to the next one."""
    parts = parts_of(segmentation)
    for side in (Side.RIGHT, Side.LEFT):
        pair = _neighbours(chain(parts, Group.RIB, side), RIB_7)
        if pair is not None:
            change = partial(errors.take_piece, of=pair[0].value, to=pair[1].value)
            return _changed(with_voxels(segmentation, pair[0].layer, change), pair)
    return None


def _remove(part: Part | None, segmentation: Segmentation) -> Changed | None:
    """A structure that is not there: a complaint can be about what is left only, so it concerns the segmentation."""
    return None if part is None else Changed(without(segmentation, part.index), frozenset(), part.label)


def _remove_organ(segmentation: Segmentation, _ct: CtVolume) -> Changed | None:
    """An organ that nobody lives without: a spleen or a kidney may have been removed."""
    by_key = {part.key: part for part in parts_of(segmentation) if part.is_complete}
    return _remove(next((by_key[key] for key in (LIVER, STOMACH, BLADDER) if key in by_key), None), segmentation)


def _inner(levels: dict[int, Part], wanted: int) -> Part | None:
    """A member of a chain between two complete ones, near a wanted level: at the end it may not be in the scan."""
    complete = {level for level, part in levels.items() if part.is_complete}
    inner = [level for level in complete if {level - 1, level + 1} <= complete]
    return levels[min(inner, key=lambda level: abs(level - wanted))] if inner else None


def _remove_level(segmentation: Segmentation, _ct: CtVolume) -> Changed | None:
    return _remove(_inner(chain(parts_of(segmentation), Group.VERTEBRA), T8), segmentation)


def _remove_rib(segmentation: Segmentation, _ct: CtVolume) -> Changed | None:
    return _remove(_inner(chain(parts_of(segmentation), Group.RIB, Side.RIGHT), RIB_7), segmentation)


# ------------------------------------------------------------------------------------------------- voxels


def _add_island(segmentation: Segmentation, ct: CtVolume) -> Changed | None:
    """A few stray voxels of an organ, within the body and apart from it, where nothing else is."""
    part = _organ(segmentation, *ORGANS, complete=False)
    if part is None:
        return None
    start = _free_place(segmentation.layers[part.layer], part, ct, around=2 * ISLAND_VOXELS + 1)
    if start is None:
        return None
    size = (1, 1, min(max(int(ISLAND_ML / ct.geometry.voxel_volume_ml), 1), ISLAND_VOXELS))
    return _of_one(part, segmentation, partial(errors.add_island, value=part.value, start=start, size=size))


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


def _drop_slice(segmentation: Segmentation, _ct: CtVolume) -> Changed | None:
    """An organ missing in its middle slice."""
    part = _organ(segmentation, *ORGANS, complete=False)
    if part is None:
        return None
    index = (part.box[0].start + part.box[0].stop) // 2
    return _of_one(part, segmentation, partial(errors.drop_slice, value=part.value, index=index))


def _leak(segmentation: Segmentation, ct: CtVolume) -> Changed | None:
    """An organ that grows to its side until half of what it gains lies outside the body."""
    part = _organ(segmentation, SPLEEN, *ORGANS, complete=False)
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
    return _of_one(part, segmentation, change)


def _hollow(segmentation: Segmentation, _ct: CtVolume) -> Changed | None:
    """Nothing left of an organ but its wall, if it is thick enough to have an inside."""
    part = _organ(segmentation, *ORGANS)
    if part is None or part.key not in ORGANS:
        return None
    return _of_one(part, segmentation, partial(errors.hollow, value=part.value))


def _one_of(segmentation: Segmentation, wanted: tuple[str, ...], *, large: bool = True) -> Part | None:
    """A complete one of some organs that come in pairs, so that there is one to compare it with."""
    part = _organ(segmentation, *wanted, large=large)
    return part if part is not None and part.key in wanted else None


def _erode(segmentation: Segmentation, _ct: CtVolume) -> Changed | None:
    """A kidney two voxels smaller on all sides."""
    part = _one_of(segmentation, KIDNEYS)
    return None if part is None else _of_one(part, segmentation, partial(errors.erode, value=part.value, voxels=2))


def _dilate(segmentation: Segmentation, _ct: CtVolume, *, wanted: tuple[str, ...]) -> Changed | None:
    """One of a pair two voxels larger on all sides."""
    part = _one_of(segmentation, wanted, large=False)
    return None if part is None else _of_one(part, segmentation, partial(errors.dilate, value=part.value, voxels=2))


def _displace(segmentation: Segmentation, ct: CtVolume) -> Changed | None:
    """A kidney 8 cm nearer to the head or the feet, among other tissue."""
    part = _one_of(segmentation, KIDNEYS)
    if part is None:
        return None
    slices, end = round(80 / ct.geometry.slice_spacing_mm), ct.geometry.shape[0]
    for by in (slices, -slices):
        if part.box[0].start + by > 0 and part.box[0].stop + by < end:
            return _of_one(part, segmentation, partial(errors.displace, value=part.value, by=(by, 0, 0)))
    return None


def _cut_off(segmentation: Segmentation, _ct: CtVolume) -> Changed | None:
    """Two thirds of an organ not segmented."""
    part = _organ(segmentation, *ORGANS)
    return None if part is None else _of_one(part, segmentation, partial(errors.cut_off, value=part.value, share=2 / 3))


def _overlap(segmentation: Segmentation, _ct: CtVolume) -> Changed | None:
    """A kidney and what it grew into by three voxels, which both claim now."""
    parts = parts_of(segmentation)
    part = _organ(segmentation, *KIDNEYS, *ORGANS, complete=False)
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
    return replace(_changed(changed, [part, *others]), what=part.label)


def _mixed_tissue(segmentation: Segmentation, _ct: CtVolume) -> Changed | None:
    """The back of a lobe of the lung given to the liver."""
    by_key = {part.key: part for part in parts_of(segmentation) if part.is_complete}
    liver, lobe = by_key.get(LIVER), by_key.get(LOWER_LOBES[1])
    if liver is None or lobe is None or liver.layer != lobe.layer:
        return None
    change = partial(errors.take_piece, of=lobe.value, to=liver.value)
    return _changed(with_voxels(segmentation, liver.layer, change), [liver, lobe])


def _lobe_below_lung(segmentation: Segmentation, ct: CtVolume) -> Changed | None:
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
    return _of_one(lobes[0], segmentation, partial(errors.add_island, value=lobes[0].value, start=corner, size=size))


def _duplicate(segmentation: Segmentation, _ct: CtVolume) -> Changed | None:
    """An organ a second time, as a segment of its own."""
    part = _organ(segmentation, *ORGANS, complete=False)
    return None if part is None else _changed(with_copy(segmentation, part.index, f"{part.label} 2"), [part])


def _gap_in_numbers(segmentation: Segmentation, _ct: CtVolume) -> Changed | None:
    """The last Segment Number one higher than it should be."""
    last = len(segmentation.segments) - 1
    number = segmentation.segments[last].number + 1
    return Changed(with_number(segmentation, last, number), frozenset(), f"segment {number}")


INJECTIONS = (
    Injection("mirror", "whole segmentation mirrored", ("L3",), in_model(_mirror)),
    Injection("swap-pair", "left and right of a pair swapped", ("L1",), in_model(_swap_pair)),
    Injection(
        "exchange-codes",
        "codes of kidney and liver exchanged, labels right",
        ("X1", "X3", "V1", "V2", "L2", "C3"),
        in_model(partial(_exchange, keys=(KIDNEY_LEFT, LIVER), labels=False)),
    ),
    Injection(
        "exchange-names",
        "codes and labels of kidney and liver exchanged",
        ("X1", "X3", "V1", "V2", "L2", "C3"),
        in_model(partial(_exchange, keys=(KIDNEY_LEFT, LIVER))),
    ),
    Injection(
        "exchange-tissue",
        "codes and labels of liver and a lobe of the lung exchanged",
        ("H1",),
        in_model(partial(_exchange, keys=(LIVER, LOWER_LOBES[1]))),
    ),
    Injection("mixed-tissue", "a liver that holds a piece of lung", ("H2",), in_model(_mixed_tissue)),
    Injection(
        "shift-spine",
        "vertebrae from T8 on named one level too low",
        ("X4", "S2"),
        in_model(partial(_shift_from, group=Group.VERTEBRA, first=T8)),
    ),
    Injection(
        "shift-whole-spine",
        "all vertebrae named one level too low",
        ("X4",),
        in_model(partial(_shift_from, group=Group.VERTEBRA, first=1)),
    ),
    Injection(
        "shift-ribs",
        "all left ribs named one lower",
        ("X4",),
        in_model(partial(_shift_from, group=Group.RIB, side=Side.LEFT, first=1)),
    ),
    Injection("merge-levels", "T8 merged into T9", ("S4", "S2", "T1"), in_model(_merge_levels)),
    Injection("cut-level", "two thirds of a vertebra not segmented", ("S5",), in_model(_cut_level)),
    Injection("cut-rib", "part of a rib given to the next one", ("R2", "T1"), in_model(_cut_rib)),
    Injection("remove-organ", "an organ not segmented", ("F5",), in_model(_remove_organ)),
    Injection("remove-level", "a vertebra not segmented", ("S2",), in_model(_remove_level)),
    Injection("remove-rib", "a rib not segmented", ("R1", "F5"), in_model(_remove_rib)),
    Injection("island", "an island of an organ", ("T2",), in_model(_add_island)),
    Injection("drop-slice", "an organ missing in one slice", ("T4",), in_model(_drop_slice)),
    Injection("leak", "an organ leaking out of the body", ("F3",), in_model(_leak)),
    Injection("hole", "an organ hollow", ("T3",), in_model(_hollow)),
    Injection(
        "erode",
        "a kidney 2 voxels too small on all sides",
        ("X1", "L2"),
        in_model(_erode),
    ),
    Injection(
        "dilate",
        "an adrenal gland 2 voxels too large on all sides",
        ("X1", "X3", "L2", "V2"),
        in_model(partial(_dilate, wanted=ADRENALS)),
    ),
    # A third more volume on one side is within what healthy pairs differ by: only other results show it.
    Injection(
        "dilate-kidney",
        "a kidney 2 voxels too large on all sides",
        ("X1", "X3", "L2"),
        in_model(partial(_dilate, wanted=KIDNEYS)),
    ),
    Injection("displace", "a kidney 8 cm too high or too low", ("X3", "C3"), in_model(_displace)),
    Injection("cut-off", "two thirds of an organ not segmented", ("V1", "V2", "X3"), in_model(_cut_off)),
    Injection("lobe-below", "a piece of lung in the abdomen", ("C4",), in_model(_lobe_below_lung)),
    Injection("overlap", "a kidney that also claims its neighbours", ("C2", "T5"), in_model(_overlap)),
    Injection("duplicate", "an organ twice in one SEG", ("T5",), in_model(_duplicate)),
    Injection("number-gap", "a gap in the Segment Numbers", ("D5",), in_model(_gap_in_numbers)),
    Injection("missing-image", "a CT image that the SEG refers to is not there", ("D1",), drop_referenced_instance),
    Injection("frame-order", "frames at the positions of their neighbours", ("D3",), rotate_frame_order),
)
"""All of them, in the order in which they are made and shown."""
