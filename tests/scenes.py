"""Small cases made of boxes in a body, for tests of rules and of the pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.model import (
    Case,
    Code,
    CodedStructure,
    CtFacts,
    CtRecord,
    CtVolume,
    Geometry,
    PatientStudy,
    SegFacts,
    Segment,
    Segmentation,
    SegRecord,
    SliceRef,
)

SHAPE = (24, 40, 40)
SPACING_MM = (3.0, 2.0, 2.0)
CENTRE = 19.5
CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"

LEFT, RIGHT = Code("7771000", "SCT", "Left"), Code("24028007", "SCT", "Right")
CATEGORY = Code("91723000", "SCT", "Anatomical Structure")

Box = tuple[slice, slice, slice]

NO_SIZES = {"rules": {"V1": {"enabled": False}}}
"""For a rule set: the boxes are far smaller than what they are called."""


def coded(value: str, meaning: str = "", modifier: Code | None = None, **more: Any) -> CodedStructure:
    return CodedStructure(**{"category": CATEGORY, "type": Code(value, "SCT", meaning), "modifier": modifier} | more)


LIVER, SPLEEN, HEART, COLON, PANCREAS = (
    coded(value, meaning)
    for value, meaning in (
        ("10200004", "Liver"),
        ("78961009", "Spleen"),
        ("80891009", "Heart"),
        ("71854001", "Colon"),
        ("15776009", "Pancreas"),
    )
)
KIDNEY_LEFT, KIDNEY_RIGHT = (coded("64033007", "Kidney", side) for side in (LEFT, RIGHT))
ADRENAL_LEFT, ADRENAL_RIGHT = (coded("23451007", "Adrenal gland", side) for side in (LEFT, RIGHT))
HIP_LEFT, HIP_RIGHT = (coded("29836001", "Hip", side) for side in (LEFT, RIGHT))
LEFT_ATRIUM = coded("82471001", "Left atrium")
L1, L2, L3 = (coded(v, f"L{n} vertebra") for n, v in enumerate(("66794005", "14293000", "36470004"), 1))


def box(k: int, i: int, j: int, size: int | tuple[int, int, int] = 6) -> Box:
    """A box of voxels that starts at (slice, row, column)."""
    a, b, c = (size,) * 3 if isinstance(size, int) else size
    return slice(k, k + a), slice(i, i + b), slice(j, j + c)


@dataclass(frozen=True)
class Part:
    """A segment as boxes."""

    label: str
    codes: CodedStructure
    boxes: Sequence[Box]
    changes: dict[str, Any] = field(default_factory=dict)


def geometry(shape: tuple[int, int, int] = SHAPE, spacing: tuple[float, float, float] = SPACING_MM) -> Geometry:
    """Axial, head first, the middle of the matrix at x = 0."""
    origins = np.zeros((shape[0], 3))
    origins[:, 0] = -(shape[2] - 1) / 2 * spacing[2]
    origins[:, 2] = np.arange(shape[0]) * spacing[0]
    return Geometry(shape, origins, np.array([0.0, spacing[1], 0.0]), np.array([spacing[2], 0.0, 0.0]), spacing[0])


def body_hu(shape: tuple[int, int, int] = SHAPE) -> NDArray[np.int16]:
    """Air around a body of water; four voxels of air at each side."""
    hu = np.full(shape, -1000, np.int16)
    hu[:, 4:-4, 4:-4] = 40
    return hu


def ct(hu: NDArray[Any] | None = None, facts: CtFacts | None = None, where: Geometry | None = None) -> CtVolume:
    where = where or geometry()
    hu = body_hu(where.shape) if hu is None else hu
    slices = tuple(SliceRef(CT_CLASS, f"1.2.3.{k + 1}") for k in range(where.shape[0]))
    record = CtRecord(
        series_instance_uid="1.2.3",
        study_instance_uid="1.2",
        frame_of_reference_uid="1.2.9",
        patient_study=PatientStudy((("PatientID", "P"), ("PatientName", "Test^Case"), ("StudyDate", "20240102"))),
        slices=slices,
        instances=tuple((ref.sop_class_uid, ref.sop_instance_uid) for ref in slices),
        series_description="CT",
    )
    return CtVolume(where, hu, record, facts or CtFacts())


def segmentation(
    parts: Sequence[Part], *, uid: str = "1.2.4.1", shape: tuple[int, int, int] = SHAPE, **changes: Any
) -> Segmentation:
    """Parts that overlap an earlier one go into the next layer; `changes` are fields of SegFacts or SegRecord."""
    layers = [np.zeros(shape, np.uint8)]
    segments = []
    for index, part in enumerate(parts):
        mask = np.zeros(shape, bool)
        for one in part.boxes:
            mask[one] = True
        number = next((n for n, layer in enumerate(layers) if not layer[mask].any()), len(layers))
        if number == len(layers):
            layers.append(np.zeros(shape, np.uint8))
        layers[number][mask] = index + 1
        segment = Segment(
            index + 1,
            part.label,
            part.codes,
            layer=number,
            frame_count=int(mask.any(axis=(1, 2)).sum()),
            algorithm_type="AUTOMATIC",
            algorithm_name="Model",
        )
        segments.append(replace(segment, **part.changes))
    record = SegRecord(
        sop_instance_uid=uid,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.66.4",
        series_instance_uid=f"{uid}.9",
        study_instance_uid="1.2",
        series_description=f"result {uid[-1]}",
        content_date="20240203",
        content_time="040506",
        model_name="Model",
        model_version="1.0",
        file_digest=uid,
        content_digest=uid,
    )
    facts = SegFacts(frame_of_reference_uid="1.2.9", raw_segment_numbers=tuple(range(1, len(parts) + 1)))
    fact_names = set(SegFacts.__dataclass_fields__)
    facts = replace(facts, **{name: value for name, value in changes.items() if name in fact_names})
    record = replace(record, **{name: value for name, value in changes.items() if name not in fact_names})
    return Segmentation(record, tuple(segments), tuple(layers), facts)


def case(*segmentations: Segmentation, volume: CtVolume | None = None) -> Case:
    return Case(volume or ct(), segmentations)
