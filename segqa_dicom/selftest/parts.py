"""Structures that injections choose, and changes of one structure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from segqa_dicom.anatomy import Group
from segqa_dicom.model import Segmentation
from segqa_dicom.model.segmentation import LabelArray
from segqa_dicom.selftest.edit import (
    Part,
    is_one_piece,
    parts_of,
    with_voxels,
)
from segqa_dicom.selftest.injection import Changed

LIVER, SPLEEN = "10200004.SCT|||", "78961009.SCT|||"
STOMACH, BLADDER = "69695003.SCT|||", "89837001.SCT|||"
T8, L4, RIB_7 = 15, 23, 7
"""Levels (`structures.toml`) where errors of chains are made if they are there: in the middle of them."""

ISLAND_ML, ISLAND_VOXELS = 0.06, 3
"""Size of an island at most: larger ones are parts (rule T1)."""
KIDNEY_LEFT, KIDNEY_RIGHT = KIDNEYS = "64033007.SCT|7771000.SCT||", "64033007.SCT|24028007.SCT||"

ADRENALS = "23451007.SCT|7771000.SCT||", "23451007.SCT|24028007.SCT||"

LOWER_LOBES = "90572001.SCT|7771000.SCT||", "90572001.SCT|24028007.SCT||"

ORGANS = (LIVER, SPLEEN, KIDNEY_LEFT, KIDNEY_RIGHT)


def organ(segmentation: Segmentation, *wanted: str, complete: bool = True, large: bool = True) -> Part | None:
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


def changed_parts(segmentation: Segmentation, parts: Sequence[Part]) -> Changed:
    """A change of some structures, with `segmentation` as it is after it."""
    return Changed(segmentation, frozenset(part.key for part in parts), " and ".join(part.label for part in parts))


def of_one(part: Part, segmentation: Segmentation, change: Callable[[LabelArray], NDArray[Any]]) -> Changed:
    """A change of the voxels of one structure."""
    return changed_parts(with_voxels(segmentation, part.layer, change), [part])


def one_of(segmentation: Segmentation, wanted: tuple[str, ...], *, large: bool = True) -> Part | None:
    """A complete one of some organs that come in pairs, so that there is one to compare it with."""
    part = organ(segmentation, *wanted, large=large)
    return part if part is not None and part.key in wanted else None
