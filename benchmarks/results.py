"""What came out of a benchmark, and the machine it came out on; kept as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.agreement import Agreement

LIBRARIES = (
    "segqa", "numpy", "numba", "scipy", "pydicom", "highdicom", "SimpleITK", "scikit-image", "connected-components-3d",
    "fastremap", "surface-distance",
)  # fmt: skip


@dataclass(frozen=True)
class Timing:
    """Medians over `runs` runs: seconds; MB of anonymous memory that a run added, and that the process had in all."""

    cpu_s: float
    wall_s: float
    runs: int
    added_mb: float | None = None
    process_mb: float | None = None


@dataclass(frozen=True)
class Row:
    """One step against one peer; without `ours` or `peer_timing` that one did not run, and `note` says why."""

    study: str
    step: str
    title: str
    ours: Timing | None
    peer: str
    peer_timing: Timing | None
    target: float | None
    agreement: Agreement | None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """CPU time of the peer over ours."""
        return self.peer_timing.cpu_s / max(self.ours.cpu_s, 1e-6) if self.peer_timing and self.ours else None

    @property
    def is_reached(self) -> bool | None:
        """Whether the ratio is what it should be; None without a target or a peer."""
        return None if self.target is None or self.ratio is None else self.ratio >= self.target


@dataclass(frozen=True)
class Limit:
    """One number with a bound: at most, or at least if `at_least`."""

    title: str
    value: float | None
    unit: str
    bound: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def is_reached(self) -> bool | None:
        """Whether it keeps the bound; None without one, or without a number."""
        if self.bound is None or self.value is None:
            return None
        return self.value >= self.bound if self.at_least else self.value <= self.bound


@dataclass
class Results:
    """Everything that a run found out."""

    machine: dict[str, Any]
    inputs: list[dict[str, Any]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    limits: list[Limit] = field(default_factory=list)
    seconds: float = 0.0

    def as_json(self) -> str:
        """With what follows from the numbers beside them."""
        data = {
            "machine": self.machine,
            "inputs": self.inputs,
            "rows": [
                asdict(row)
                | {"ratio": row.ratio, "reached": row.is_reached, "agrees": row.agreement and row.agreement.is_good}
                for row in self.rows
            ],
            "limits": [asdict(one) | {"reached": one.is_reached} for one in self.limits],
            "seconds": round(self.seconds, 1),
        }
        return json.dumps(data, indent=2) + "\n"


def machine() -> dict[str, Any]:
    """Processor, cores, memory, system, versions, date and load."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": _memory_gb(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        "date": datetime.now(UTC).date().isoformat(),
        "load": _load(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None


def _load() -> float | None:
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def write(text: str, path: Path) -> None:
    """Write a result, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def titles(rows: Sequence[Row]) -> list[str]:
    """The studies that rows are about, in their order."""
    return list(dict.fromkeys(row.study for row in rows))
