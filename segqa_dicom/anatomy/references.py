"""Reference values (`ranges.toml`): volumes, HU, tolerances, asymmetry of ribs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from segqa_dicom.anatomy.data import load
from segqa_dicom.anatomy.structure import Range, Structure, Volume
from segqa_dicom.errors import ConfigurationError

_LEVELS = [f"C{n}" for n in range(1, 8)] + [f"T{n}" for n in range(1, 13)] + [f"L{n}" for n in range(1, 6)]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Surface Dice tolerance of a structure in a scheme."""

    mm: float
    source: str
    provisional: bool


@cache
def _volumes() -> dict[str, tuple[Volume, ...]]:
    found: dict[str, list[Volume]] = {}
    for row in load("ranges")["volume"]:
        for name in row["of"]:
            found.setdefault(name, []).append(_volume(row))
    for row in load("ranges")["vertebra_volumes"]:
        first = _LEVELS.index(row["first"])
        for level, (mean, sd) in zip(_LEVELS[first:], row["mean_sd"], strict=False):
            one = _volume({**row, "kind": "mean", "typical": mean, "sd": sd})
            found.setdefault(f"vertebrae_{level}", []).append(one)
    return {name: tuple(volumes) for name, volumes in found.items()}


def _volume(row: dict[str, Any]) -> Volume:
    return Volume(
        kind=row["kind"],
        source=row["source"],
        sex=row.get("sex", ""),
        definition=row.get("definition", ""),
        typical_ml=row.get("typical"),
        sd_ml=row.get("sd"),
        low_ml=row.get("low"),
        high_ml=row.get("high"),
        n=row.get("n"),
        note=row.get("note", ""),
        provisional=row.get("provisional", False),
    )


def volumes(names: Iterable[str]) -> tuple[Volume, ...]:
    """Published volumes of a structure that goes by these names."""
    return tuple(one for name in names for one in _volumes().get(name, ()))


@cache
def _hu() -> dict[str, tuple[Range | None, Range | None]]:
    found: dict[str, tuple[Range | None, Range | None]] = {}
    for row in load("ranges")["hu"]:
        source, provisional = row["source"], row.get("provisional", False)
        low, high = row.get("low"), row.get("high")
        window = None if low is None and high is None else Range(low, high, source, provisional)
        native = Range(row["native"][0], row["native"][1], source, provisional) if "native" in row else None
        found |= dict.fromkeys(row["of"], (window, native))
    return found


def hu(names: Iterable[str]) -> tuple[Range | None, Range | None]:
    """(window of the median, normal native values) of a structure that goes by these names; the first that is known."""
    return next((_hu()[name] for name in names if name in _hu()), (None, None))


def tolerance(known: Structure, scheme: str) -> Tolerance:
    """Surface Dice tolerance of a structure in a scheme; raises `ConfigurationError` for an unknown scheme."""
    schemes = load("ranges")["tolerance_mm"]
    if scheme not in schemes:
        raise ConfigurationError(f"unknown tolerance scheme {scheme!r}; there are {', '.join(sorted(schemes))}")
    table = schemes[scheme]
    named = known.base if known.base in table else "default"
    return Tolerance(float(table[named]), table["source"], named in table.get("provisional", ()))


def rib_asymmetry(level: int) -> float | None:
    """Published mean of |left - right| / (left + right) of a rib's volume; None for another number than 1 to 12."""
    value = load("ranges")["rib_asymmetry"].get(str(level))
    return None if value is None else float(value)


@dataclass(frozen=True, slots=True)
class VolumeRatio:
    """Limits of the volume of one structure over that of another (``of``, ``to``: names, or as `ranges.toml` says)."""

    of: str
    to: str
    limits: Range


@cache
def volume_ratios() -> tuple[VolumeRatio, ...]:
    """Published and derived ratios of volumes (rules V3, S5)."""
    return tuple(
        VolumeRatio(row["of"], row["to"], Range(row["low"], row["high"], row["source"], row.get("provisional", False)))
        for row in load("ranges")["volume_ratio"]
    )


def level_name(level: int) -> str | None:
    """``C1`` ... ``L5`` (and ``L6``) of a level of the spine; None for another number."""
    names = [*_LEVELS, "L6"]
    return names[level - 1] if 1 <= level <= len(names) else None


def level_of(name: str) -> int | None:
    """The level of a name such as ``T8``; None if it is none."""
    names = [*_LEVELS, "L6"]
    return names.index(name) + 1 if name in names else None
