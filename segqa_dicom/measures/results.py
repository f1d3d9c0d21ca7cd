"""What the measures return: numbers with their units, `None` where a number is undefined."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.model import PointMm

MEASURING_VERSION = 1
"""Raised only when a number can change for the same input; part of every document's identity."""


@dataclass(frozen=True, slots=True)
class Box:
    """Half-open box of voxel indices: start <= (slice, row, column) < stop."""

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """To crop an array: ``array[box.slices]``."""
        a, b, c = (slice(low, high) for low, high in zip(self.start, self.stop, strict=True))
        return a, b, c


def _no_counts() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Components:
    """26-connected components of one segment, largest first (ties: in the order of their first voxel).

    voxel_counts : (n,) int64
    seeds : (n, 3) int32, (slice, row, column) of a voxel that belongs to the component (middle of its longest run)
    boxes : (n, 6) int32, start and stop of the half-open bounding box: k0, i0, j0, k1, i1, j1
    """

    voxel_counts: NDArray[np.int64] = field(default_factory=_no_counts)
    seeds: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 3), np.int32))
    boxes: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 6), np.int32))

    @property
    def count(self) -> int:
        """Number of components."""
        return len(self.voxel_counts)

    @property
    def largest_fraction(self) -> float | None:
        """Share of the voxels that lie in the largest component, 0-1; None without voxels."""
        return float(self.voxel_counts[0] / self.voxel_counts.sum()) if self.count else None


@dataclass(frozen=True, slots=True)
class Shape:
    """Extent of one segment. Without voxels: counts 0, volume 0, `centroid_mm` and `bounding_box` None."""

    voxel_count: int
    volume_ml: float
    centroid_mm: PointMm | None
    bounding_box: Box | None
    components: Components


AIR_BELOW_HU, FAT_HU, DENSE_ABOVE_HU = -500, (-190, -30), 100
"""What `HuShares` counts: HU below the first are air or lung, from -190 to -30 fat, above the last no lung."""


@dataclass(frozen=True, slots=True)
class HuShares:
    """Shares of the voxels of one segment, 0-1, whose HU are those of `AIR_BELOW_HU`, `FAT_HU`, `DENSE_ABOVE_HU`."""

    air: float
    fat: float
    dense: float


@dataclass(frozen=True, slots=True)
class Intensity:
    """HU of the voxels of one segment; `sd_hu` of the population (divided by n)."""

    mean_hu: float
    sd_hu: float
    min_hu: float
    max_hu: float
    median_hu: float
    shares: HuShares | None = None


@dataclass(frozen=True, slots=True)
class OutsideBody:
    """Voxels of a segment in the air around the patient; `location` is one of them (slice, row, column)."""

    voxel_count: int
    location: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Cavities:
    """Voxels that a segment encloses and nothing else labels; `location` is one of them (slice, row, column)."""

    voxel_count: int
    location: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class SegmentMeasures:
    """Everything measured on one segment.

    intensity : None without voxels, or if the CT is not in HU
    padding_voxel_count : voxels on padding (see `segqa_dicom.measures.fov`)
    outside_body : None if the CT is not in HU
    cavities : None if they were not looked for
    """

    shape: Shape
    intensity: Intensity | None
    padding_voxel_count: int = 0
    outside_body: OutsideBody | None = None
    cavities: Cavities | None = None


@dataclass(frozen=True, slots=True)
class StructureComparison:
    """One structure in two segmentations; None = undefined (a mask is empty, or the surface was too large to compare).

    dice, iou, nsd : 0-1 (nsd = surface Dice at `tolerance_mm`); with one empty mask 0, with two None
    hd_mm, hd95_mm, assd_mm : area-weighted surfel definition; None unless both masks have voxels
    volume_difference_percent : 100 * (evaluated - reference) / reference; None if the reference is empty
    """

    structure_key: str
    evaluated_segment: int
    reference_segment: int
    dice: float | None
    iou: float | None
    nsd: float | None
    tolerance_mm: float
    hd_mm: float | None
    hd95_mm: float | None
    assd_mm: float | None
    volume_difference_percent: float | None


@dataclass(frozen=True, slots=True)
class PairComparison:
    """All structures that two segmentations share by code, and those that only one of them has.

    evaluated, reference : SOP Instance UIDs
    only_evaluated, only_reference : Segment Numbers with voxels that have no counterpart
    """

    evaluated: str
    reference: str
    segments: tuple[StructureComparison, ...]
    only_evaluated: tuple[int, ...] = ()
    only_reference: tuple[int, ...] = ()

    @property
    def mean_dice(self) -> float | None:
        """Mean Dice over the structures where it is defined; None if there is none."""
        values = [segment.dice for segment in self.segments if segment.dice is not None]
        return sum(values) / len(values) if values else None
