"""What is known about one structure, as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from segqa_dicom.model import CodedStructure


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


class Side(StrEnum):
    """Laterality (CID 244)."""

    LEFT = "left"
    RIGHT = "right"


class Chain(StrEnum):
    """Rows of structures that are counted."""

    SPINE = "spine"
    RIBS = "ribs"


@dataclass(frozen=True, slots=True)
class Range:
    """Limits with their source; None = no limit on that side."""

    low: float | None
    high: float | None
    source: str
    provisional: bool

    def __contains__(self, value: float) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


@dataclass(frozen=True, slots=True)
class Volume:
    """A published volume (`ranges.toml` explains ``kind``).

    sex : "F", "M", or "" for both
    definition : what was measured where it is not the whole structure
    n : number of people; None if not published
    """

    kind: str
    source: str
    sex: str = ""
    definition: str = ""
    typical_ml: float | None = None
    sd_ml: float | None = None
    low_ml: float | None = None
    high_ml: float | None = None
    n: int | None = None
    note: str = ""
    provisional: bool = False

    @property
    def limits_ml(self) -> tuple[float, float] | None:
        """Limits of about 95 % of people; None if only a typical value or quartiles are known."""
        if self.kind == "central 95 %" and self.low_ml is not None and self.high_ml is not None:
            return self.low_ml, self.high_ml
        if self.kind == "mean" and self.typical_ml is not None and self.sd_ml is not None:
            return max(self.typical_ml - 2 * self.sd_ml, 0.0), self.typical_ml + 2 * self.sd_ml
        return None


@dataclass(frozen=True, slots=True)
class Structure:
    """What is known about a structure; the defaults are for one that is not in the table.

    name : how a message calls it, without side
    paired : has a left and a right one that are alike, told apart by a modifier
    components : how many parts it may have; None = any number
    parts_warn_only : rules about its parts say "warning" at worst
    contains : type keys (``VALUE.SCHEME``) of what lies inside it, at least in part
    level : number in its chain (spine, ribs); None if it is in none
    canonical : name in the table, with side (``kidney_left``); "" if it is not in the table
    base : name of its row, without side; the same for the left and the right one
    side : where it lies, by its codes or by what it is; None for both, neither or unknown
    codes : its codes; None if no table gives any
    chain : the row of structures that it is counted in, and its place in that row
    both_sides : it stands for the left and the right one in one segment
    wholes : canonical names of what it is part of, nearest first, and theirs
    holes_are_normal : enclosed background is no finding
    may_leave_body : part of it may lie outside the body mask
    may_be_cut : the ends of a scan usually cut it
    hu_window : in which its median HU is plausible, with and without contrast agent
    hu_native : normal values without contrast agent
    volumes : all published volumes
    """

    name: str = ""
    group: Group = Group.UNKNOWN
    paired: bool = False
    components: int | None = 1
    parts_warn_only: bool = False
    contains: frozenset[str] = frozenset()
    level: int | None = None
    canonical: str = ""
    base: str = ""
    side: Side | None = None
    codes: CodedStructure | None = None
    chain: Chain | None = None
    order: int | None = None
    both_sides: bool = False
    wholes: tuple[str, ...] = ()
    holes_are_normal: bool = False
    may_leave_body: bool = False
    may_be_cut: bool = False
    hu_window: Range | None = None
    hu_native: Range | None = None
    volumes: tuple[Volume, ...] = ()

    @property
    def key(self) -> str:
        """Identity key (`structure_key` of its codes); "" without codes."""
        return self.codes.key if self.codes else ""

    def _volumes_of(self, sex: str | None) -> list[Volume]:
        whole = [one for one in self.volumes if not one.definition]
        return [one for one in whole if not sex or one.sex in (sex, "")]

    def volume_range_ml(self, sex: str | None = None) -> Range | None:
        """Limits that about 95 % of people lie between, of one sex or (None) of both; None if no study gives any.

        Where studies differ the widest limits count: a complete structure outside them is outside all of them.
        """
        known = [(limits, one) for one in self._volumes_of(sex) if (limits := one.limits_ml) is not None]
        if not known:
            return None
        return Range(
            low=min(limits[0] for limits, _ in known),
            high=max(limits[1] for limits, _ in known),
            source="; ".join(dict.fromkeys(one.source for _, one in known)),
            provisional=any(one.provisional for _, one in known),
        )

    def typical_volume_ml(self, sex: str | None = None) -> float | None:
        """Mean of the published typical volumes; those of the asked sex before those of both; None if there is none."""
        known = self._volumes_of(sex)
        for chosen in ([one for one in known if one.sex], known):
            values = [one.typical_ml for one in chosen if one.typical_ml is not None]
            if values:
                return sum(values) / len(values)
        return None
