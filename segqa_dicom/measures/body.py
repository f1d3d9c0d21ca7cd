"""Where the patient ends: the air around the body, and the voxels of segments that lie in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segqa_dicom.measures.edge_regions import EdgeRegions, count_in_regions, find_edge_regions
from segqa_dicom.measures.results import OutsideBody
from segqa_dicom.measures.runs import Runs, find_runs, indices_by_layer, table_size
from segqa_dicom.model import CtVolume, Segmentation

AIR_HU = -300
"""At or below is air, as around the patient; fat and the densest lung lie well above, most lung below."""


def outside_body(segmentations: Sequence[Segmentation], ct: CtVolume) -> tuple[tuple[OutsideBody | None, ...], ...]:
    """Voxels of every segment of every segmentation in the air around the patient; None if the CT is not in HU.

    Around the patient is air that is connected to the matrix edge within its slice, one voxel away from anything
    denser (partial volume at the skin). Air inside (lung, bowel) is not; a table or an arm beside the trunk is not air.
    """
    if not ct.facts.hu_defined:
        return tuple((None,) * len(segmentation.segments) for segmentation in segmentations)
    air = air_around(ct)
    return tuple(_outside(segmentation, air) for segmentation in segmentations)


def air_around(ct: CtVolume) -> EdgeRegions | None:
    """The air around the patient, for `outside_body`; None if there is none. The CT is taken to be in HU."""
    return find_edge_regions(ct.hu, lambda hu: hu <= AIR_HU, diagonal=False, shrink=True)


def outside_of_runs(runs: Runs, indices: list[int], air: EdgeRegions | None, *, size: int) -> list[OutsideBody]:
    """For the segments at `indices`, which lie in the layer of `runs`.

    The location is the middle one of the voxels outside in the first slice that has any.
    size : more than any label of the layer and any index
    """
    if air is None:
        return [OutsideBody(0)] * len(indices)
    counts, places = count_in_regions(air, runs, size)
    found = []
    for label in np.array(indices, np.intp) + 1:
        k, i, j = (int(value) for value in places[label])
        found.append(OutsideBody(int(counts[label]), (k, i, j) if counts[label] else None))
    return found


def _outside(segmentation: Segmentation, air: EdgeRegions | None) -> tuple[OutsideBody, ...]:
    found: dict[int, OutsideBody] = {}
    for layer, indices in zip(segmentation.layers, indices_by_layer(segmentation), strict=True):
        size = table_size(layer, len(segmentation.segments))
        found.update(zip(indices, outside_of_runs(find_runs(layer), indices, air, size=size), strict=True))
    return tuple(found[index] for index in range(len(segmentation.segments)))
