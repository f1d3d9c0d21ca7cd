"""What each structure is: codes, names, sides, order, allowed parts, tolerances."""

from segqa_dicom.anatomy.identity import Side, match, opposite_key, side_in_words, side_of, structure_key
from segqa_dicom.anatomy.table import Group, Structure, knowledge, may_overlap, rib_asymmetry, tolerance_mm

__all__ = [
    "Group",
    "Side",
    "Structure",
    "knowledge",
    "match",
    "may_overlap",
    "opposite_key",
    "rib_asymmetry",
    "side_in_words",
    "side_of",
    "structure_key",
    "tolerance_mm",
]
