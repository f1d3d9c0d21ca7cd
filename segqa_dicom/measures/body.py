"""Where the patient ends: the air around the body, and the voxels of segments that lie in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segqa_dicom.measures.results import OutsideBody
from segqa_dicom.model import CtVolume, Segmentation

AIR_HU = -300
"""At or below is air, as around the patient; fat and the densest lung lie well above, most lung below."""

_EIGHT_NEIGHBOURS = np.ones((3, 3), bool)


def outside_body(segmentations: Sequence[Segmentation], ct: CtVolume) -> tuple[tuple[OutsideBody | None, ...], ...]:
    """Voxels of every segment of every segmentation in the air around the patient; None if the CT is not in HU.

    Around the patient is air that is connected to the matrix edge within its slice, one voxel away from anything
    denser (partial volume at the skin). Air inside (lung, bowel) is not; a table or an arm beside the trunk is not air.
    """
    if not ct.facts.hu_defined:
        return tuple((None,) * len(segmentation.segments) for segmentation in segmentations)
    counts = [np.zeros(len(segmentation.segments) + 1, np.int64) for segmentation in segmentations]
    places: list[dict[int, tuple[int, int, int]]] = [{} for _ in segmentations]
    for index in range(ct.geometry.shape[0]):
        air = ct.hu[index] <= AIR_HU
        if not any((layer[index][air] != 0).any() for one in segmentations for layer in one.layers):
            continue
        around = _around(air)
        for at, segmentation in enumerate(segmentations):
            for layer in segmentation.layers:
                _count(layer[index], around, index, counts[at], places[at])
    return tuple(
        tuple(OutsideBody(int(count[value]), place.get(value)) for value in range(1, len(count)))
        for count, place in zip(counts, places, strict=True)
    )


def _around(air: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The part of `air` (row, column) that is connected to the edge, without its outermost layer of voxels."""
    labels, count = ndimage.label(air)
    is_edge = np.zeros(count + 1, bool)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        is_edge[edge] = True
    is_edge[0] = False
    around: NDArray[np.bool_] = ndimage.binary_erosion(is_edge[labels], _EIGHT_NEIGHBOURS, border_value=1)
    return around


def _count(
    labels: NDArray[Any],
    around: NDArray[np.bool_],
    index: int,
    counts: NDArray[np.int64],
    places: dict[int, tuple[int, int, int]],
) -> None:
    """Add the voxels of one slice; the middle one of the first slice in which a segment is outside is its place."""
    found = labels[around]
    present = np.bincount(found, minlength=len(counts))
    counts += present
    for value in np.flatnonzero(present[1:]) + 1:
        if int(value) not in places:
            rows, columns = np.nonzero(around & (labels == value))
            middle = len(rows) // 2
            places[int(value)] = (index, int(rows[middle]), int(columns[middle]))
