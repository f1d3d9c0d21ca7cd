"""The table of structures (`structures.toml`) and look-ups in it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any

from segqa_dicom.errors import ConfigurationError
from segqa_dicom.model import CodedStructure

MORPHOLOGICALLY_ALTERED = "49755003"
"""Category of lesions and other findings (CID 7150); they may have any number of parts."""


class Group(StrEnum):
    """Kind of tissue or role; decides windows and which rules make sense."""

    ORGAN = "organ"
    HOLLOW = "hollow"
    LUNG = "lung"
    BONE = "bone"
    VERTEBRA = "vertebra"
    RIB = "rib"
    MUSCLE = "muscle"
    VESSEL = "vessel"
    BOWEL = "bowel"
    CARTILAGE = "cartilage"
    NERVE = "nerve"
    TISSUE = "tissue"
    REGION = "region"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Structure:
    """What is known about a type of structure.

    components : how many parts it may have; None = any number
    parts_warn_only : rules about its parts say "warning" at worst
    contains : type keys (``VALUE.SCHEME``) of what lies inside it
    level : number in its chain (spine, ribs); None if it is in none
    """

    name: str = ""
    group: Group = Group.UNKNOWN
    paired: bool = False
    components: int | None = 1
    parts_warn_only: bool = False
    contains: frozenset[str] = frozenset()
    level: int | None = None


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("structures.toml").read_text(encoding="utf-8"))


@cache
def _structures() -> dict[str, Structure]:
    return {
        key: Structure(
            name=row["name"],
            group=Group(row["group"]),
            paired=row.get("paired", False),
            components=row.get("components", 1) or None,
            parts_warn_only=row.get("worst") == "warning",
            contains=frozenset(row.get("contains", ())),
            level=row.get("level"),
        )
        for key, row in _data()["structures"].items()
    }


@cache
def equivalent_types() -> dict[str, tuple[str, str]]:
    """Type key -> (type key, modifier key to add if there is none) of the identity that it stands for."""
    return {row["type"]: (row["becomes"], row["modifier"]) for row in _data()["equivalent"]}


@cache
def equivalent_categories() -> dict[str, str]:
    """Category key -> the key that current DICOM uses for it."""
    return {row["category"]: row["becomes"] for row in _data()["category_equivalent"]}


def knowledge(codes: CodedStructure) -> Structure:
    """What is known about a structure; the defaults (one component, unknown group) if it is not in the table."""
    type_key = codes.type.key if codes.type else ""
    type_key = equivalent_types().get(type_key, (type_key, ""))[0]
    found = _structures().get(type_key)
    if found is not None:
        return found
    altered = codes.category is not None and codes.category.value == MORPHOLOGICALLY_ALTERED
    return Structure(components=None if altered else 1)


def may_overlap(one: CodedStructure, other: CodedStructure) -> bool:
    """Whether two structures may share voxels: one contains the other, or one is a tissue or a region."""
    first, second = knowledge(one), knowledge(other)
    if {first.group, second.group} & {Group.TISSUE, Group.REGION}:
        return True
    keys = [codes.type.key if codes.type else "" for codes in (one, other)]
    regions = [codes.region.key if codes.region else "" for codes in (one, other)]
    inside = keys[1] in first.contains or keys[0] in second.contains
    return inside or (keys[0] != "" and keys[0] == regions[1]) or (keys[1] != "" and keys[1] == regions[0])


def tolerance_mm(codes: CodedStructure, scheme: str) -> float:
    """Surface Dice tolerance in mm of a structure in a scheme; raises `ConfigurationError` for an unknown scheme."""
    schemes = _data()["tolerance_mm"]
    if scheme not in schemes:
        raise ConfigurationError(f"unknown tolerance scheme {scheme!r}; there are {', '.join(sorted(schemes))}")
    table = schemes[scheme]
    return float(table.get(codes.type.key if codes.type else "", table["default"]))


def rib_asymmetry(level: int) -> float | None:
    """Published mean of |left - right| / (left + right) of a rib's volume; None for another number than 1 to 12."""
    value = _data()["rib_asymmetry"].get(str(level))
    return None if value is None else float(value)
