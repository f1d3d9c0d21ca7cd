"""The errors that are made on purpose, each as models and programs make it, with the rules that must see it."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from segqa_dicom.anatomy import Group, Side, opposite_key
from segqa_dicom.model import CtVolume, Segmentation
from segqa_dicom.phantoms import errors
from segqa_dicom.selftest.edit import (
    Part,
    chain,
    parts_of,
    with_names_of,
    with_number,
    with_voxels,
    without,
)
from segqa_dicom.selftest.injection import Changed, Injection, in_model
from segqa_dicom.selftest.objects import drop_referenced_instance, rotate_frame_order
from segqa_dicom.selftest.parts import (
    ADRENALS,
    BLADDER,
    KIDNEY_LEFT,
    KIDNEYS,
    LIVER,
    LOWER_LOBES,
    RIB_7,
    STOMACH,
    T8,
    changed_parts,
    of_one,
)
from segqa_dicom.selftest.voxel_injections import (
    add_island,
    cut_off,
    dilate,
    displace,
    drop_slice,
    duplicate,
    erode,
    hollow,
    leak,
    lobe_below_lung,
    mixed_tissue,
    overlap,
)

# ------------------------------------------------------------------------------------------------- who is fit for it


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
    return changed_parts(with_names_of(segmentation, names), [left, right])


def _exchange(
    segmentation: Segmentation, _ct: CtVolume, *, keys: tuple[str, str], labels: bool = True
) -> Changed | None:
    """The codes of two structures exchanged; with or without what people read."""
    by_key = {part.key: part for part in parts_of(segmentation)}
    if not set(keys) <= set(by_key):
        return None
    one, other = (by_key[key] for key in keys)
    names = {one.index: other.index, other.index: one.index}
    return changed_parts(with_names_of(segmentation, names, labels=labels), [one, other])


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
    return changed_parts(without(with_voxels(segmentation, upper.layer, change), upper.index), pair)


def _cut_level(segmentation: Segmentation, _ct: CtVolume) -> Changed | None:
    """Two thirds of a vertebra, from one end on, missing."""
    pair = _neighbours(chain(parts_of(segmentation), Group.VERTEBRA), T8)
    if pair is None:
        return None
    return of_one(pair[0], segmentation, partial(errors.cut_off, value=pair[0].value, share=2 / 3))


def _cut_rib(segmentation: Segmentation, _ct: CtVolume) -> Changed | None:
    """The back of a rib given to the next one."""
    parts = parts_of(segmentation)
    for side in (Side.RIGHT, Side.LEFT):
        pair = _neighbours(chain(parts, Group.RIB, side), RIB_7)
        if pair is not None:
            change = partial(errors.take_piece, of=pair[0].value, to=pair[1].value)
            return changed_parts(with_voxels(segmentation, pair[0].layer, change), pair)
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
    Injection("mixed-tissue", "a liver that holds a piece of lung", ("H2",), in_model(mixed_tissue)),
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
    Injection("island", "an island of an organ", ("T2",), in_model(add_island)),
    Injection("drop-slice", "an organ missing in one slice", ("T4",), in_model(drop_slice)),
    Injection("leak", "an organ leaking out of the body", ("F3",), in_model(leak)),
    Injection("hole", "an organ hollow", ("T3",), in_model(hollow)),
    Injection(
        "erode",
        "a kidney 2 voxels too small on all sides",
        ("X1", "L2"),
        in_model(erode),
    ),
    Injection(
        "dilate",
        "an adrenal gland 2 voxels too large on all sides",
        ("X1", "X3", "L2", "V2"),
        in_model(partial(dilate, wanted=ADRENALS)),
    ),
    # A third more volume on one side is within what healthy pairs differ by: only other results show it.
    Injection(
        "dilate-kidney",
        "a kidney 2 voxels too large on all sides",
        ("X1", "X3", "L2"),
        in_model(partial(dilate, wanted=KIDNEYS)),
    ),
    Injection("displace", "a kidney 8 cm too high or too low", ("X3", "C3"), in_model(displace)),
    Injection("cut-off", "two thirds of an organ not segmented", ("V1", "V2", "X3"), in_model(cut_off)),
    Injection("lobe-below", "a piece of lung in the abdomen", ("C4",), in_model(lobe_below_lung)),
    Injection("overlap", "a kidney that also claims its neighbours", ("C2", "T5"), in_model(overlap)),
    Injection("duplicate", "an organ twice in one SEG", ("T5",), in_model(duplicate)),
    Injection("number-gap", "a gap in the Segment Numbers", ("D5",), in_model(_gap_in_numbers)),
    Injection("missing-image", "a CT image that the SEG refers to is not there", ("D1",), drop_referenced_instance),
    Injection("frame-order", "frames at the positions of their neighbours", ("D3",), rotate_frame_order),
)
"""All of them, in the order in which they are made and shown."""
