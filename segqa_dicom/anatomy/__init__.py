"""What each structure is: codes, names, sides, order, parts, neighbours, reference values; label maps."""

from segqa_dicom.anatomy.codes import CodeDefect, code_defect, code_defects, equivalences, other_meanings
from segqa_dicom.anatomy.identity import match, opposite_key, side_in_words, side_of, structure_key
from segqa_dicom.anatomy.labels import Label, LabelMap, label_map, label_map_names
from segqa_dicom.anatomy.references import (
    Tolerance,
    VolumeRatio,
    level_name,
    level_of,
    rib_asymmetry,
    tolerance,
    volume_ratios,
)
from segqa_dicom.anatomy.relations import (
    Neighbour,
    Place,
    Position,
    are_exclusive,
    chain_members,
    made_of,
    neighbours,
    part_of,
    positions,
)
from segqa_dicom.anatomy.structure import Chain, Group, Range, Side, Structure, Volume
from segqa_dicom.anatomy.table import (
    all_structures,
    knowledge,
    may_overlap,
    structure_named,
    structure_of,
    tolerance_mm,
)

__all__ = [
    "Chain",
    "CodeDefect",
    "Group",
    "Label",
    "LabelMap",
    "Neighbour",
    "Place",
    "Position",
    "Range",
    "Side",
    "Structure",
    "Tolerance",
    "Volume",
    "VolumeRatio",
    "all_structures",
    "are_exclusive",
    "chain_members",
    "code_defect",
    "code_defects",
    "equivalences",
    "knowledge",
    "label_map",
    "label_map_names",
    "level_name",
    "level_of",
    "made_of",
    "match",
    "may_overlap",
    "neighbours",
    "opposite_key",
    "other_meanings",
    "part_of",
    "positions",
    "rib_asymmetry",
    "side_in_words",
    "side_of",
    "structure_key",
    "structure_named",
    "structure_of",
    "tolerance",
    "tolerance_mm",
    "volume_ratios",
]
