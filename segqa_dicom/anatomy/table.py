"""The table of structures (`structures.toml`) and look-ups in it, by codes and by name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from segqa_dicom.anatomy import references
from segqa_dicom.anatomy.data import load
from segqa_dicom.anatomy.structure import Chain, Group, Side, Structure
from segqa_dicom.errors import ConfigurationError
from segqa_dicom.model import Code, CodedStructure
from segqa_dicom.model.codes import LEFT, RIGHT

MORPHOLOGICALLY_ALTERED = "49755003"
"""Category of lesions and other findings (CID 7150); they may have any number of parts."""

_SIDE_CODES = {Side.LEFT: Code(LEFT, "SCT", "Left"), Side.RIGHT: Code(RIGHT, "SCT", "Right")}
_SIDE_OF_KEY = {code.key: side for side, code in _SIDE_CODES.items()}
_CHAINS = {Group.VERTEBRA: Chain.SPINE, Group.RIB: Chain.RIBS}

Row = dict[str, Any]


def rows() -> list[Row]:
    """The rows of the table as they stand in the file."""
    found: list[Row] = load("structures")["structures"]
    return found


def base_name(row: Row) -> str:
    """Name of a row without side: ``kidney``, ``rib_1``."""
    return str(row["name"]).replace("{side}_", "")


def _sided_name(row: Row, side: Side | None) -> str:
    if side is None or row.get("sides") not in (True, "region"):
        return base_name(row)
    return str(row["name"]).replace("{side}", side) if "{side}" in row["name"] else f"{row['name']}_{side}"


@cache
def _names() -> dict[str, tuple[int, Side | None]]:
    """Canonical name -> row and side."""
    found: dict[str, tuple[int, Side | None]] = {}
    for at, row in enumerate(rows()):
        found[base_name(row)] = (at, None)
        if row.get("sides") in (True, "region"):
            found |= {_sided_name(row, side): (at, side) for side in Side}
    return found


@cache
def _by_codes() -> dict[tuple[str, str, str], int]:
    """(type, modifier but for the side, region) -> row; a type alone also finds its first row."""
    found: dict[tuple[str, str, str], int] = {}
    for at, row in enumerate(rows()):
        if "type" in row:
            found[_key(row, "type"), _key(row, "modifier"), _key(row, "region")] = at
    for (type_key, _, _), at in list(found.items()):
        found.setdefault((type_key, "", ""), at)
    return found


def _key(row: Row, part: str) -> str:
    return f"{row[part][0]}.SCT" if part in row else ""


@cache
def _contents() -> dict[str, frozenset[str]]:
    """Name of a row -> type keys of what lies in it, at least in part."""
    found: dict[str, set[str]] = {}
    for row in rows():
        for whole in (*row.get("part_of", ()), *row.get("overlaps", ())):
            if "type" in row:
                found.setdefault(base_name(rows()[_names()[whole][0]]), set()).add(_key(row, "type"))
    return {name: frozenset(keys) for name, keys in found.items()}


def _wholes(row: Row, side: Side | None) -> tuple[str, ...]:
    found: list[str] = []
    for name in row.get("part_of", ()):
        at, own = _names()[name]
        other = own or side
        found.append(_sided_name(rows()[at], other))
        found.extend(_wholes(rows()[at], other))
    return tuple(dict.fromkeys(found))


def _codes(row: Row, side: Side | None) -> CodedStructure | None:
    if "type" not in row:
        return None
    given = ("type", "modifier", "region")
    parts: dict[str, Code] = {part: Code(row[part][0], "SCT", row[part][1]) for part in given if part in row}
    if side is not None and "sides" in row:
        parts["region_modifier" if row["sides"] == "region" else "modifier"] = _SIDE_CODES[side]
    return CodedStructure(**parts)


@cache
def _structure(at: int, side: Side | None) -> Structure:
    row = rows()[at]
    group = Group(row["group"])
    usual = load("structures")["groups"].get(row["group"], {})
    if row.get("sides") == "left":
        side = Side.LEFT
    both = side is None and row.get("both", False)
    base, canonical = base_name(row), _sided_name(row, side)
    window, native = references.hu((canonical, base, f"group:{group}"))
    level = row.get("level")
    return Structure(
        name=row.get("words", base.replace("_", " ")),
        group=group,
        paired=row.get("sides") is True and row.get("paired", True) and not both,
        components=row.get("components", 1) * (2 if both else 1) or None,
        parts_warn_only=row.get("worst") == "warning",
        contains=_contents().get(base, frozenset()),
        level=level,
        canonical=canonical,
        base=base,
        side=side or (Side(row["side"]) if "side" in row else None),
        codes=_codes(row, side),
        chain=_CHAINS.get(group),
        order=row.get("order", level),
        both_sides=both,
        wholes=_wholes(row, side),
        holes_are_normal=row.get("holes", usual.get("holes", False)),
        may_leave_body=row.get("outside", False),
        may_be_cut=row.get("cut", usual.get("cut", False)),
        hu_window=window,
        hu_native=native,
        volumes=references.volumes((canonical, base) if canonical != base else (base,)),
    )


def all_structures() -> Iterator[Structure]:
    """Every structure: of a row with sides the left and the right one, and both in one where tables have that."""
    for at, row in enumerate(rows()):
        if row.get("sides") in (True, "region"):
            yield from (_structure(at, side) for side in Side)
        if row.get("sides") not in (True, "region") or row.get("both", False):
            yield _structure(at, None)


def structure_named(name: str) -> Structure:
    """The structure with a canonical name: ``kidney_left``, or ``kidney`` with the side unknown.

    Raises `ConfigurationError` if there is none.
    """
    if name not in _names():
        raise ConfigurationError(f"no structure is called {name!r}")
    return _structure(*_names()[name])


@cache
def equivalent_types() -> dict[str, tuple[str, str]]:
    """Type key -> (type key, modifier key to add if there is none) of the identity that it stands for."""
    return {row["type"]: (row["becomes"], row.get("modifier", "")) for row in load("codes")["equivalent"]}


@cache
def equivalent_categories() -> dict[str, str]:
    """Category key -> the key that current DICOM uses for it."""
    return {row["category"]: row["becomes"] for row in load("codes")["category_equivalent"]}


def _identity(codes: CodedStructure) -> tuple[str, str, str, Side | None]:
    """(type, modifier but for the side, region, side) after the table of equivalent codes."""
    type_key, modifier, region, region_modifier = codes.key.split("|")
    type_key, added = equivalent_types().get(type_key, (type_key, ""))
    modifier = modifier or added
    side = _SIDE_OF_KEY.get(modifier) or _SIDE_OF_KEY.get(region_modifier)
    return type_key, "" if modifier in _SIDE_OF_KEY else modifier, region, side


def structure_of(codes: CodedStructure) -> Structure | None:
    """The structure with exactly these codes (after the table of equivalent ones); None if it is not in the table."""
    type_key, modifier, region, side = _identity(codes)
    at = _by_codes().get((type_key, modifier, region))
    if at is None or _key(rows()[at], "region") != region or _key(rows()[at], "modifier") != modifier:
        return None
    known = _structure(at, side if "sides" in rows()[at] else None)
    return known if side is None or known.side is side else None


def knowledge(codes: CodedStructure) -> Structure:
    """What is known about a structure, by its type if not all its codes are in the table; the defaults if it is not."""
    type_key, modifier, region, side = _identity(codes)
    if type_key:
        for key in ((type_key, modifier, region), (type_key, "", region), (type_key, modifier, ""), (type_key, "", "")):
            at = _by_codes().get(key)
            if at is not None:
                return _structure(at, side if "sides" in rows()[at] else None)
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
    return references.tolerance(knowledge(codes), scheme).mm
