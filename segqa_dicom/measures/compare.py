"""Two segmentations of one CT, structure by structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from segqa_dicom.measures.distances import SurfaceDistances, surface_distances
from segqa_dicom.measures.overlap import JointCounts, dice, iou, joint_counts, volume_difference_percent
from segqa_dicom.measures.results import Shape, StructureComparison
from segqa_dicom.measures.surface import Surfaces, SurfaceTooLarge
from segqa_dicom.model import Geometry, Segmentation


class StructurePair(NamedTuple):
    """One structure to compare: the index of its segment in each segmentation, and the tolerance of its NSD."""

    structure_key: str
    index_evaluated: int
    index_reference: int
    tolerance_mm: float


@dataclass(frozen=True, eq=False)
class Comparand:
    """A segmentation with what comparing needs of it, measured once for all its comparisons.

    shapes : one per segment
    surfaces : one per segment, or `SurfaceTooLarge`: then distances stay undefined
    """

    segmentation: Segmentation
    shapes: tuple[Shape, ...]
    surfaces: Surfaces | SurfaceTooLarge

    def __post_init__(self) -> None:
        if len(self.shapes) != len(self.segmentation.segments):
            raise ValueError(f"{len(self.segmentation.segments)} segments need a shape each, got {len(self.shapes)}")


def compare_segmentations(
    evaluated: Comparand,
    reference: Comparand,
    pairs: Sequence[StructurePair | tuple[str, int, int, float]],
    geometry: Geometry,
    *,
    shared: JointCounts | None = None,
) -> tuple[StructureComparison, ...]:
    """One comparison per pair, in their order; the voxels of each pair of layers are counted once.

    shared : what labels of `evaluated` (a) and `reference` (b) share over all layers, if it is counted already
    Both masks empty: everything None. One empty: Dice, IoU and NSD 0, distances None, volume difference -100 % or,
    if the reference is the empty one, None. Distances and NSD are also None if a surface is too large.
    Distances use the nominal spacing of the geometry.
    """
    counts: dict[tuple[int, int], JointCounts] = {}
    comparisons = []
    for pair in (StructurePair(*pair) for pair in pairs):
        layers = (
            evaluated.segmentation.segments[pair.index_evaluated].layer,
            reference.segmentation.segments[pair.index_reference].layer,
        )
        if shared is None and layers not in counts:
            counts[layers] = joint_counts(
                evaluated.segmentation.layers[layers[0]], reference.segmentation.layers[layers[1]]
            )
        known = counts[layers] if shared is None else shared
        intersection = known.get(pair.index_evaluated + 1, pair.index_reference + 1)
        distances = _distances(evaluated, reference, pair, geometry)
        comparisons.append(_comparison(evaluated, reference, pair, intersection, distances))
    return tuple(comparisons)


def _distances(
    evaluated: Comparand, reference: Comparand, pair: StructurePair, geometry: Geometry
) -> SurfaceDistances | None:
    """Distances between the surfaces of a pair; None if a mask is empty or a surface too large."""
    if isinstance(evaluated.surfaces, SurfaceTooLarge) or isinstance(reference.surfaces, SurfaceTooLarge):
        return None
    surface, other = evaluated.surfaces.of(pair.index_evaluated), reference.surfaces.of(pair.index_reference)
    return surface_distances(other, surface, geometry.spacing_mm) if surface.count and other.count else None


def _comparison(
    evaluated: Comparand,
    reference: Comparand,
    pair: StructurePair,
    intersection: int,
    distances: SurfaceDistances | None,
) -> StructureComparison:
    """Put the numbers of one structure together."""
    shape, other = evaluated.shapes[pair.index_evaluated], reference.shapes[pair.index_reference]
    only_one = (shape.voxel_count == 0) != (other.voxel_count == 0)
    nsd = distances.nsd(pair.tolerance_mm) if distances else 0.0 if only_one else None
    return StructureComparison(
        structure_key=pair.structure_key,
        evaluated_segment=evaluated.segmentation.segments[pair.index_evaluated].number,
        reference_segment=reference.segmentation.segments[pair.index_reference].number,
        dice=dice(intersection, shape.voxel_count, other.voxel_count),
        iou=iou(intersection, shape.voxel_count, other.voxel_count),
        nsd=nsd,
        tolerance_mm=pair.tolerance_mm,
        hd_mm=distances.hausdorff_mm(100) if distances else None,
        hd95_mm=distances.hausdorff_mm(95) if distances else None,
        assd_mm=distances.assd_mm() if distances else None,
        volume_difference_percent=volume_difference_percent(shape.volume_ml, other.volume_ml),
    )
