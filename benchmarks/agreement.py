"""How far the numbers of two parties lie apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Agreement:
    """The largest absolute difference over all numbers that both have.

    values : how many they are
    where : the number that differs most
    undefined : numbers that one has and the other says are undefined
    tolerance : what may be; None if the definitions differ
    """

    values: int
    largest: float
    where: str = ""
    undefined: int = 0
    tolerance: float | None = 0.0

    @property
    def is_good(self) -> bool | None:
        """Whether the numbers are the same as far as they should; None if their definitions differ."""
        if self.tolerance is None:
            return None
        return self.values > 0 and not self.undefined and self.largest <= self.tolerance


def compared(ours: Mapping[str, Any], peer: Mapping[str, Any], tolerance: float | None) -> Agreement | None:
    """Agreement of what two workers found; None if there is nothing to compare."""
    if "volume" in ours and "volume" in peer:
        return _volumes(ours["volume"], peer["volume"], tolerance)
    return _numbers(ours.get("numbers", {}), peer.get("numbers", {}), tolerance)


def _volumes(ours: str, peer: str, tolerance: float | None) -> Agreement:
    one, other = np.load(Path(ours), mmap_mode="r"), np.load(Path(peer), mmap_mode="r")
    if one.shape != other.shape:
        return Agreement(0, math.inf, f"shapes {one.shape} and {other.shape}", 0, tolerance)
    # Slice by slice: a copy of both as wide integers would be large.
    differences = [int(np.abs(p.astype(np.int32) - q).max()) for p, q in zip(one, other, strict=True)]
    return Agreement(int(one.size), float(max(differences)), "", 0, tolerance)


def _numbers(ours: Mapping[str, Any], peer: Mapping[str, Any], tolerance: float | None) -> Agreement | None:
    largest, where, values, undefined = 0.0, "", 0, 0
    for structure in ours.keys() & peer.keys():
        for name in ours[structure].keys() & peer[structure].keys():
            one, other = _defined(ours[structure][name]), _defined(peer[structure][name])
            if one is None or other is None:
                undefined += (one is None) != (other is None)
                continue
            values += 1
            if abs(one - other) > largest:
                largest, where = abs(one - other), f"{name} of {structure}"
    return Agreement(values, largest, where, undefined, tolerance) if values or undefined else None


def _defined(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
