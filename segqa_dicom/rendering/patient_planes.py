"""Planes through a volume that follow the patient, not the scanner.

Axial seen from the feet (the patient's left on the viewer's right), coronal from the front, sagittal with the face to
the left.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.model import Geometry, PointMm


@dataclass(frozen=True, slots=True)
class View:
    """A plane: patient axes (0 = x, 1 = y, 2 = z) across, down and through, and whether the head is up.

    letters : the sides of the patient at the left, right, top and bottom of the picture
    """

    name: str
    across: int
    down: int
    through: int
    head_up: bool
    letters: tuple[str, str, str, str]


VIEWS = (
    View("axial", 0, 1, 2, head_up=False, letters=("R", "L", "A", "P")),
    View("coronal", 0, 2, 1, head_up=True, letters=("R", "L", "H", "F")),
    View("sagittal", 1, 2, 0, head_up=True, letters=("A", "P", "H", "F")),
)


@dataclass(frozen=True, eq=False)
class Axes:
    """Which voxel axis runs along which patient axis, for the orientation that is nearest to the volume's."""

    geometry: Geometry

    @cached_property
    def _directions(self) -> NDArray[np.float64]:
        steps = (self.geometry.normal, self.geometry.row_step_mm, self.geometry.column_step_mm)
        return np.stack([step / np.linalg.norm(step) for step in steps])

    @cached_property
    def of_patient(self) -> tuple[int, int, int]:
        """The voxel axis (0 = slice, 1 = row, 2 = column) along x, y and z."""
        best = max(
            permutations(range(3)), key=lambda order: sum(abs(self._directions[v, p]) for p, v in enumerate(order))
        )
        return best[0], best[1], best[2]

    def ascends(self, patient_axis: int) -> bool:
        """Whether the index of the voxel axis along x, y or z grows with the coordinate."""
        return bool(self._directions[self.of_patient[patient_axis], patient_axis] > 0)


def voxel_at(geometry: Geometry, point: PointMm) -> tuple[int, int, int]:
    """The voxel nearest to a point, at the border if the point is outside."""
    index = geometry.nearest_slice(point)
    row, column = geometry.in_slice(index, point)
    return (
        index,
        int(np.clip(round(row), 0, geometry.shape[1] - 1)),
        int(np.clip(round(column), 0, geometry.shape[2] - 1)),
    )


class Planes:
    """All planes of a volume in one view: of whole voxels, numbered as the voxels are, turned as the view wants them.

    through, down, across : the voxel axis (0 = slice, 1 = row, 2 = column) from plane to plane, down and across
    flipped : whether the voxel index falls on the way down, and on the way across
    ascends : whether the number of a plane grows with x, y or z
    count, shape : number of planes; rows and columns of each
    pixel_mm : nominal size (down, across) of a pixel
    """

    def __init__(self, geometry: Geometry, view: View, axes: Axes | None = None) -> None:
        axes = axes or Axes(geometry)
        self.view = view
        self.across, self.down, self.through = (
            axes.of_patient[axis] for axis in (view.across, view.down, view.through)
        )
        self.flipped = axes.ascends(view.down) == view.head_up, not axes.ascends(view.across)
        self.ascends = axes.ascends(view.through)
        self.count = geometry.shape[self.through]
        self.shape = geometry.shape[self.down], geometry.shape[self.across]
        self.pixel_mm = geometry.spacing_mm[self.down], geometry.spacing_mm[self.across]

    def of(self, volume: NDArray[Any], index: int) -> NDArray[Any]:
        """The whole plane (down, across) of a volume at an index of its axis, as a view of it."""
        found = np.transpose(volume, (self.through, self.down, self.across))[index]
        turned: NDArray[Any] = found[:: -1 if self.flipped[0] else 1, :: -1 if self.flipped[1] else 1]
        return turned

    def pixel_of(self, voxel: tuple[int, int, int]) -> tuple[int, int]:
        """Where a voxel lies in its plane: (down, across)."""
        return self._turned(voxel[self.down], voxel[self.across])

    def voxel_at(self, index: int, down: int, across: int) -> tuple[int, int, int]:
        """The voxel (slice, row, column) at a pixel of a plane; the inverse of `pixel_of`."""
        row, column = self._turned(down, across)
        voxel = {self.through: index, self.down: row, self.across: column}
        return voxel[0], voxel[1], voxel[2]

    def _turned(self, down: int, across: int) -> tuple[int, int]:
        return (
            self.shape[0] - 1 - down if self.flipped[0] else down,
            self.shape[1] - 1 - across if self.flipped[1] else across,
        )
