"""What rules about sizes and attenuation must know before they may complain: what the image shows, and whom."""

from __future__ import annotations

import re

from segqa_dicom.checks.subject import MeasuredSegment
from segqa_dicom.model import CtVolume

END_MARGIN_MM = 5.0
"""Models often leave the last slice out: what ends so near to the end of the scan may go on outside."""

METAL_HU = 2500
"""No bone and no contrast agent in vessels reaches it; metal does, or the end of the scale."""
_METAL_MARGIN_MM = 50.0
"""How far in its slices metal darkens and brightens what lies around it."""
_METAL_SLICES_MM = 5.0
"""And across slices: artefacts stay in the slices of the metal."""

_ADULT_YEARS = 18.0
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}


def cut_off(part: MeasuredSegment) -> str:
    """Why not all of a structure may be in the image; "" if all of it is."""
    if part.is_truncated:
        return "the image cuts it off"
    box, geometry = part.measures.shape.bounding_box, part.ct.geometry
    if box is None:
        return "it has no voxels"
    to_end = min(box.start[0], geometry.shape[0] - box.stop[0]) * geometry.slice_spacing_mm
    return "it ends so near to the end of the scan that it may go on outside" if to_end < END_MARGIN_MM else ""


def sex_of(ct: CtVolume) -> str | None:
    """``F`` or ``M``; None if the CT does not say or says something else."""
    sex = ct.record.patient_study.get("PatientSex").strip().upper()
    return sex if sex in ("F", "M") else None


def age_years_of(ct: CtVolume) -> float | None:
    """Patient's Age (``045Y``, ``018M``, ...) in years, or whole years from birth to study; None if not known."""
    attributes = ct.record.patient_study
    found = re.fullmatch(r"\s*(\d{1,3})([DWMY])\s*", attributes.get("PatientAge").upper())
    if found:
        return int(found[1]) * _YEARS[found[2]]
    birth, study = (attributes.get(name).strip() for name in ("PatientBirthDate", "StudyDate"))
    if not re.fullmatch(r"\d{8}", birth) or not re.fullmatch(r"\d{8}", study) or study < birth:
        return None
    # YYYYMMDD: the difference reaches ten thousand with each birthday.
    return float((int(study) - int(birth)) // 10_000)


def is_child(ct: CtVolume) -> bool:
    """Whether the CT says that the patient is younger than 18 years."""
    age = age_years_of(ct)
    return age is not None and age < _ADULT_YEARS


def is_near_metal(part: MeasuredSegment) -> bool:
    """Whether metal lies in or near a segment, so that its HU may be artefacts."""
    box, geometry = part.measures.shape.bounding_box, part.ct.geometry
    if box is None:
        return False
    margins = (_METAL_SLICES_MM, _METAL_MARGIN_MM, _METAL_MARGIN_MM)
    by = [round(margin / step) for margin, step in zip(margins, geometry.spacing_mm, strict=True)]
    crop = tuple(slice(max(a - n, 0), b + n) for a, b, n in zip(box.start, box.stop, by, strict=True))
    return bool(part.ct.hu[crop].max() >= METAL_HU)
