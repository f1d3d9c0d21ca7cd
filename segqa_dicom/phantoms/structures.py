"""A structure of the torso phantom, and how one is made."""

from __future__ import annotations

from dataclasses import dataclass

from segqa_dicom.model import Code, CodedStructure
from segqa_dicom.model.codes import LEFT, RIGHT
from segqa_dicom.phantoms.solids import (
    Solid,
)

AIR_HU, FAT_HU, MUSCLE_HU, LUNG_HU, BONE_HU = -1000, -100, 50, -850, 450
HEIGHT_MM = 640.0
"""From the upper thighs to the collar bones."""

_CATEGORY = Code("91723000", "SCT", "Anatomical Structure")

_SIDES = {"left": Code(LEFT, "SCT", "Left"), "right": Code(RIGHT, "SCT", "Right")}


@dataclass(frozen=True)
class PhantomStructure:
    """One structure: TotalSegmentator's label, codes, mean HU, and the solids that make it."""

    label: str
    codes: CodedStructure
    hu: int
    solids: tuple[Solid, ...]


def one(label: str, code: str, meaning: str, hu: int, *solids: Solid | list[Solid], side: str = "") -> PhantomStructure:
    """A structure made of solids, with its codes."""
    flat = tuple(part for solid in solids for part in (solid if isinstance(solid, list) else [solid]))
    modifier = _SIDES.get(side)
    return PhantomStructure(label, CodedStructure(_CATEGORY, Code(code, "SCT", meaning), modifier), hu, flat)
