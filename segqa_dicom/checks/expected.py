"""F5: structures that the scan must show."""

from __future__ import annotations

from dataclasses import dataclass

from segqa_dicom.anatomy import Side, opposite_name, structure_named
from segqa_dicom.checks.finding import Severity
from segqa_dicom.checks.registry import Scope, SeriesResults, noted, rule, warned
from segqa_dicom.checks.ruleset import Limits
from segqa_dicom.checks.subject import MeasuredSegmentation

_HEAD_SIDE_OF_ABDOMEN = ("heart", "vertebrae_T7", "vertebrae_T8", "vertebrae_T9")
_PELVIS = ("vertebrae_L5", "sacrum", "hip_left", "hip_right", "urinary_bladder")
_BELOW_LIVER = ("vertebrae_L3", "vertebrae_L4", *_PELVIS)
_SHOULDERS = ("vertebrae_T1", "vertebrae_T2", "clavicula_left", "clavicula_right")


@dataclass(frozen=True, slots=True)
class _Expected:
    """A structure that is in the image if one of `above` and one of `below` are, because it lies between them.

    may_be_absent : people live without it
    """

    name: str
    above: tuple[str, ...]
    below: tuple[str, ...]
    may_be_absent: bool = False


_EXPECTED = (
    _Expected("liver", _HEAD_SIDE_OF_ABDOMEN, ("kidney_left", "kidney_right", *_BELOW_LIVER)),
    _Expected("spleen", _HEAD_SIDE_OF_ABDOMEN, ("kidney_left", *_BELOW_LIVER), may_be_absent=True),
    _Expected("stomach", _HEAD_SIDE_OF_ABDOMEN, ("kidney_left", *_BELOW_LIVER)),
    _Expected("pancreas", ("vertebrae_T10", "spleen", *_HEAD_SIDE_OF_ABDOMEN), ("vertebrae_L4", *_PELVIS)),
    _Expected("kidney_left", ("vertebrae_T10", "spleen", *_HEAD_SIDE_OF_ABDOMEN), _PELVIS, may_be_absent=True),
    _Expected("kidney_right", ("vertebrae_T10", "liver", *_HEAD_SIDE_OF_ABDOMEN), _PELVIS, may_be_absent=True),
    _Expected("heart", ("vertebrae_T3", *_SHOULDERS), ("liver", "kidney_left", "kidney_right", "vertebrae_T12")),
    _Expected("lung_left", _SHOULDERS, ("spleen", "liver", "kidney_left", "vertebrae_T12")),
    _Expected("lung_right", _SHOULDERS, ("liver", "kidney_right", "vertebrae_T12")),
    _Expected("aorta", ("heart", *_SHOULDERS), _BELOW_LIVER),
    _Expected("urinary_bladder", ("vertebrae_L5", "sacrum"), ("femur_left", "femur_right")),
)


@rule(
    "F5",
    "Expected structure missing",
    scope=Scope.SEGMENTATION,
    severity=Severity.WARNING,
    source="proposal; CADS: a structure is expected where its neighbours are",
    gate="results that hold enough of the organs that every multi-organ model segments",
)
def missing(context: MeasuredSegmentation, limits: Limits) -> SeriesResults:
    """A structure is not there, although others above and below it are, and the result holds other organs.

    A spleen or one kidney may have been removed: that is only told. Vertebrae and ribs: S2, R1.
    """
    present = _present(context)
    if sum(one.name in present for one in _EXPECTED) < limits["min_organs"]:
        return
    for one in _EXPECTED:
        above, below = ([name for name in names if name in present] for names in (one.above, one.below))
        if one.name in present or not above or not below:
            continue
        words = structure_named(one.name).name
        side = structure_named(one.name).side
        named = f"{side} {words}" if one.name.endswith((Side.LEFT, Side.RIGHT)) else words
        message = f"no {named}, although structures above it ({_first(above)}) and below it ({_first(below)}) are there"
        if one.may_be_absent and opposite_name(one.name) in (None, *present):
            yield noted(f"{message}: missed, or removed, or never there")
        else:
            yield warned(message)


def _first(names: list[str]) -> str:
    return structure_named(names[0]).name


def _present(context: MeasuredSegmentation) -> set[str]:
    """Canonical names of what has voxels, of the wholes that it is part of, and of both sides of what is for both."""
    found: set[str] = set()
    for name, parts in context.by_name.items():
        found |= {name, *parts[0].known.wholes}
        if parts[0].known.side is None:
            found |= {f"{name}_{side}" for side in Side}
    return found
