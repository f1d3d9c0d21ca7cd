"""A CT series and all segmentations drawn on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.model.geometry import Geometry
from segqa_dicom.model.segmentation import Segmentation


@dataclass(frozen=True, slots=True)
class SliceRef:
    """The DICOM object that a slice of the volume came from; `frame_number` counts from 1, None = single-frame."""

    sop_class_uid: str
    sop_instance_uid: str
    frame_number: int | None = None


@dataclass(frozen=True, slots=True)
class PatientStudy:
    """Patient and study attributes of the CT, as keyword -> value, to be repeated in our documents unchanged.

    Values are what DICOM allows: text (several values joined by a backslash). Never logged.
    """

    attributes: tuple[tuple[str, str], ...]

    def get(self, keyword: str, default: str = "") -> str:
        """The value of a DICOM keyword, or `default` if the CT does not have it."""
        return dict(self.attributes).get(keyword, default)


@dataclass(frozen=True, slots=True)
class CtRecord:
    """Identity of a CT series.

    slices : one entry per slice of the volume, in its order
    instances : (SOP Class UID, SOP Instance UID) of every instance of the series that came in, sorted by UID
    """

    series_instance_uid: str
    study_instance_uid: str
    frame_of_reference_uid: str
    patient_study: PatientStudy
    slices: tuple[SliceRef, ...]
    instances: tuple[tuple[str, str], ...]
    series_description: str = ""
    series_number: int | None = None
    body_part_examined: str = ""


@dataclass(frozen=True, slots=True)
class CtFacts:
    """What reading found out about a CT series beside its voxels; the DICOM-level checks judge it.

    missing_slices : how many slices are missing between neighbours, by the nominal distance
    gap_locations_mm : centre of each gap
    duplicate_positions : slices left out because another one lies at the same position
    uneven_spacing_mm : (smallest, largest) slice distance if distances are neither even nor multiples; else None
    tilt_degrees : angle between the direction in which slices advance and their normal
    excluded : (reason, number of images) that belong to the series but not to the volume (localizer, other orientation)
    hu_defined : values are HU (rescale present, Rescale Type HU or absent)
    lossy : at least one image was compressed lossily, with the method if it is named
    padding_hu : (lowest, highest) HU that stand for "no pixel" by Pixel Padding Value; None if there is none
    unreadable : (SOP Instance UID, reason) of images of the series that could not be decoded
    conflicting_instances : SOP Instance UIDs that came twice with different content
    """

    missing_slices: int = 0
    gap_locations_mm: tuple[tuple[float, float, float], ...] = ()
    duplicate_positions: int = 0
    uneven_spacing_mm: tuple[float, float] | None = None
    tilt_degrees: float = 0.0
    excluded: tuple[tuple[str, int], ...] = ()
    hu_defined: bool = True
    hu_note: str = ""
    lossy: str = ""
    padding_hu: tuple[float, float] | None = None
    unreadable: tuple[tuple[str, str], ...] = ()
    conflicting_instances: tuple[str, ...] = ()
    single_slice: bool = False


@dataclass(frozen=True, eq=False)
class CtVolume:
    """HU of a CT series.

    hu : (slice, row, column); int16 if every value is a whole number in its range, else float32
    """

    geometry: Geometry
    hu: NDArray[np.int16] | NDArray[np.float32]
    record: CtRecord
    facts: CtFacts

    def __post_init__(self) -> None:
        if self.hu.shape != self.geometry.shape:
            raise ValueError(f"HU of shape {self.hu.shape} do not fit the geometry {self.geometry.shape}")
        if len(self.record.slices) != self.geometry.shape[0]:
            raise ValueError("every slice needs the reference of the object it came from")
        self.hu.flags.writeable = False


@dataclass(frozen=True, slots=True, order=True)
class ContentConflict:
    """An object of a case that came twice with different content.

    kept_digest, refused_digest : SHA-256 in hexadecimal of the content that is reviewed, and of the other one
    """

    sop_instance_uid: str
    kept_digest: str
    refused_digest: str


@dataclass(frozen=True, eq=False)
class Case:
    """One CT series and the segmentations drawn on it, in the order of their series numbers and UIDs.

    conflicts : what is known to have come with another content, too, in any order
    """

    ct: CtVolume
    segmentations: tuple[Segmentation, ...]
    conflicts: tuple[ContentConflict, ...] = ()

    def __post_init__(self) -> None:
        if not self.segmentations:
            raise ValueError("a case needs at least one segmentation")
        for segmentation in self.segmentations:
            for layer in segmentation.layers:
                if layer.shape != self.ct.geometry.shape:
                    raise ValueError(f"segmentation layer {layer.shape} does not fit CT {self.ct.geometry.shape}")
