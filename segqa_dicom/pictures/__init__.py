"""Images of a case for reviewers: open cases, planes, positions, thumbnails."""

from segqa_dicom.pictures.errors import NoSuchPlane, NoSuchSegment, NothingToShow
from segqa_dicom.pictures.locations import StartReason, to_mm, to_voxel
from segqa_dicom.pictures.open_case import OpenCase, SegmentIndex, Voxel
from segqa_dicom.pictures.open_cases import OpenCases
from segqa_dicom.pictures.scenes import scene
from segqa_dicom.pictures.slice_images import Contour, Plane, plane
from segqa_dicom.pictures.thumbnail_store import Thumbnails
from segqa_dicom.pictures.thumbnails import thumbnail

__all__ = [
    "Contour",
    "NoSuchPlane",
    "NoSuchSegment",
    "NothingToShow",
    "OpenCase",
    "OpenCases",
    "Plane",
    "SegmentIndex",
    "StartReason",
    "Thumbnails",
    "Voxel",
    "plane",
    "scene",
    "thumbnail",
    "to_mm",
    "to_voxel",
]
