"""How structures lie to each other (`relations.toml`): part of, exclusive, near, above and below."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from segqa_dicom.anatomy.data import load
from segqa_dicom.anatomy.structure import Group, Structure
from segqa_dicom.anatomy.table import all_structures, knowledge, structure_named
from segqa_dicom.errors import ConfigurationError
from segqa_dicom.model import CodedStructure

_GROUP = "group:"


class Place(StrEnum):
    """Where the centroid of a structure lies, of another structure or of the midline."""

    ABOVE = "above"
    BELOW = "below"
    LEFT = "left"
    RIGHT = "right"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A structure lies at most so far from the nearest of others (canonical names)."""

    to: tuple[str, ...]
    max_distance_mm: float
    source: str
    provisional: bool


@dataclass(frozen=True, slots=True)
class Position:
    """Where a structure lies; `than` is the canonical name of the other one, "" for the midline."""

    place: Place
    than: str
    source: str
    provisional: bool


def _known(one: Structure | CodedStructure) -> Structure:
    return one if isinstance(one, Structure) else knowledge(one)


def part_of(one: Structure | CodedStructure, other: Structure | CodedStructure) -> bool:
    """Whether the first lies in the second, directly or in between, on the same side where both have one.

    Anatomy says so: models whose labels exclude each other (S1 and sacrum) take the part out of the whole.
    """
    first, second = _known(one), _known(other)
    if second.canonical in first.wholes:
        return True
    if second.canonical and (first.side is None or second.side is None):
        return second.base in {structure_named(name).base for name in first.wholes}
    return False


@cache
def _exclusive() -> tuple[tuple[frozenset[str], frozenset[str]], ...]:
    return tuple((frozenset(row["one"]), frozenset(row["other"])) for row in load("relations")["exclusive"])


def _terms(known: Structure) -> set[str]:
    """What the rows of `relations.toml` may call it; a part also goes by the names of its wholes."""
    wholes = {structure_named(name).base for name in known.wholes}
    return {known.canonical, known.base, f"{_GROUP}{known.group}", *known.wholes, *wholes}


def are_exclusive(one: Structure | CodedStructure, other: Structure | CodedStructure) -> bool:
    """Whether two structures must not share voxels (rule C2), because `relations.toml` says so of them or their wholes.

    False for two parts of one whole, and for one that lies in the other.
    """
    first, second = _known(one), _known(other)
    if not first.canonical or not second.canonical or first.canonical == second.canonical:
        return False
    if {first.group, second.group} & {Group.TISSUE, Group.REGION} or part_of(first, second) or part_of(second, first):
        return False
    if set(first.wholes) & set(second.wholes) and Group.VERTEBRA not in (first.group, second.group):
        return False
    terms = _terms(first), _terms(second)
    return any(
        (terms[0] & ones and terms[1] & others) or (terms[1] & ones and terms[0] & others)
        for ones, others in _exclusive()
    )


@cache
def _members(group: str) -> tuple[str, ...]:
    return tuple(one.canonical for one in all_structures() if one.group == group)


def _resolved(names: Iterable[str], known: Structure) -> tuple[str, ...]:
    """Canonical names on the side of a structure; names of levels that do not exist (T13) are left out."""
    found: list[str] = []
    for name in names:
        if name.startswith(_GROUP):
            found.extend(_members(name.removeprefix(_GROUP)))
            continue
        wanted = name.format(level=known.level)
        try:
            found.append(structure_named(f"{wanted}_{known.side}").canonical if known.side else wanted)
        except ConfigurationError:
            found.append(wanted)
    return tuple(name for name in found if _exists(name))


def _exists(name: str) -> bool:
    try:
        structure_named(name)
    except ConfigurationError:
        return False
    return True


@cache
def neighbours(known: Structure) -> tuple[Neighbour, ...]:
    """What it must lie near to (rules C3, R3); of several names in one entry the nearest counts."""
    terms = {known.canonical, known.base, f"{_GROUP}{known.group}"}
    found = []
    for row in load("relations")["neighbour"]:
        to = _resolved(row["to"], known) if terms & set(row["of"]) else ()
        if to:
            found.append(Neighbour(to, row["max_mm"], row["source"], row.get("provisional", False)))
    return tuple(found)


@cache
def positions(known: Structure) -> tuple[Position, ...]:
    """Where it must lie (rules C3, L3)."""
    found = []
    for row in load("relations")["position"]:
        if {known.canonical, known.base} & set(row["of"]):
            than = (*_resolved([row["than"]] if "than" in row else [], known), "")[0]
            found.append(Position(Place(row["is"]), than, row["source"], row.get("provisional", False)))
    return tuple(found)


def made_of(known: Structure) -> tuple[str, ...]:
    """Canonical names of the labels that together are the whole; empty if the table names none."""
    return tuple(load("relations")["made_of"].get(known.canonical, ()))


def chain_members(known: Structure) -> tuple[str, ...]:
    """The structures of its chain (and side) in their order, from the head down; empty if it is in none."""
    if known.chain is None:
        return ()
    members = [one for one in all_structures() if one.chain is known.chain and one.side is known.side]
    return tuple(one.canonical for one in sorted(members, key=lambda one: one.order or 0))
