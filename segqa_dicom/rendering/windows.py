"""The range of HU in which a structure is seen best."""

from __future__ import annotations

import re
from dataclasses import dataclass

from segqa_dicom.anatomy import Group, knowledge
from segqa_dicom.model import Segment

_BONES = (Group.BONE, Group.VERTEBRA, Group.RIB, Group.CARTILAGE)
_BONE_WORDS = re.compile(
    r"vertebra|\brib\b|\bribs\b|costa\b|bone|femur|\bhip\b|pelvis|sacrum|scapula|clavic|humer|skull|sternum|spine|tibia|fibula"
)
_LUNG_WORDS = re.compile(r"\blung|\bpulmon|\bairway|\bbronch|\btrachea")


@dataclass(frozen=True, slots=True)
class Window:
    """A range of HU that is spread over black to white."""

    name: str
    width_hu: float
    level_hu: float

    @property
    def range_hu(self) -> tuple[float, float]:
        """HU of black and of white."""
        return self.level_hu - self.width_hu / 2, self.level_hu + self.width_hu / 2


BONE = Window("bone", 1800, 400)
LUNG = Window("lung", 1500, -600)
SOFT = Window("soft tissue", 400, 40)


def window_for(segment: Segment | None, mean_hu: float | None) -> Window:
    """The window in which a structure is seen best: by its codes, else by its label, else by its mean HU."""
    if segment is None:
        return SOFT
    group = knowledge(segment.codes).group
    if group is not Group.UNKNOWN:
        return BONE if group in _BONES else LUNG if group is Group.LUNG else SOFT
    words = re.sub(r"[^a-z]+", " ", segment.label.lower())
    if _BONE_WORDS.search(words):
        return BONE
    if _LUNG_WORDS.search(words):
        return LUNG
    if mean_hu is None:
        return SOFT
    return LUNG if mean_hu < -400 else BONE if mean_hu > 250 else SOFT
