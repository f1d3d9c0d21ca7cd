"""Numbers: arrays and `Geometry` in, frozen results out."""

from segqa_dicom.jit import is_compiled
from segqa_dicom.measures.compare import Comparand, StructurePair, compare_segmentations
from segqa_dicom.measures.components import connected_components
from segqa_dicom.measures.distances import SurfaceDistances, surface_distances
from segqa_dicom.measures.fov import padding_voxel_counts
from segqa_dicom.measures.intensity import measure_intensities
from segqa_dicom.measures.measure import Surroundings, find_surroundings, measure_segmentation
from segqa_dicom.measures.overlap import (
    JointCounts,
    dice,
    iou,
    joint_counts,
    joint_counts_of_layers,
    joint_counts_of_runs,
    volume_difference_percent,
)
from segqa_dicom.measures.runs import Runs, find_runs
from segqa_dicom.measures.shape import measure_shapes
from segqa_dicom.measures.surface import Surface, Surfaces, SurfaceTooLarge, extract_surfaces
from segqa_dicom.measures.surface_area import surface_area_table

__all__ = [
    "Comparand",
    "JointCounts",
    "Runs",
    "StructurePair",
    "Surface",
    "SurfaceDistances",
    "SurfaceTooLarge",
    "Surfaces",
    "Surroundings",
    "compare_segmentations",
    "connected_components",
    "dice",
    "extract_surfaces",
    "find_runs",
    "find_surroundings",
    "iou",
    "is_compiled",
    "joint_counts",
    "joint_counts_of_layers",
    "joint_counts_of_runs",
    "measure_intensities",
    "measure_segmentation",
    "measure_shapes",
    "padding_voxel_counts",
    "surface_area_table",
    "surface_distances",
    "volume_difference_percent",
]
