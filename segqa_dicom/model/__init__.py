"""What the house works on: arrays and facts, without DICOM objects, files or network.

Everything here is frozen and valid once constructed. Arrays are C-ordered ``(slice, row, column)`` and read-only;
points are ``[x, y, z]`` in LPS millimetres (DICOM patient coordinates).
"""

from segqa_dicom.model.case import Case, ContentConflict, CtFacts, CtRecord, CtVolume, PatientStudy, SliceRef
from segqa_dicom.model.codes import Code, CodedStructure
from segqa_dicom.model.geometry import Geometry, PointMm
from segqa_dicom.model.references import WHOLE, SegmentRef
from segqa_dicom.model.segmentation import (
    LabelArray,
    SegFacts,
    Segment,
    Segmentation,
    SegmentationType,
    SegRecord,
)

__all__ = [
    "WHOLE",
    "Case",
    "Code",
    "CodedStructure",
    "ContentConflict",
    "CtFacts",
    "CtRecord",
    "CtVolume",
    "Geometry",
    "LabelArray",
    "PatientStudy",
    "PointMm",
    "SegFacts",
    "SegRecord",
    "Segment",
    "SegmentRef",
    "Segmentation",
    "SegmentationType",
    "SliceRef",
]
