"""The plot of cost against size."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.scaling import Point

BLUE, ORANGE, GREY = "#0b5394", "#c55a11", "#8c8c8c"


def draw(points: Sequence[Point], path: Path) -> None:
    """Time (left) and memory (right) against structures (above) and slices (below); both axes from 0, linear.

    A dotted line is what growth in proportion to the size would be, from the first point on.
    """
    matplotlib = import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot = import_module("matplotlib.pyplot")
    kinds = [kind for kind in ("structures", "slices") if sum(point.along == kind for point in points) > 1]
    figure, axes = pyplot.subplots(len(kinds), 2, figsize=(10.5, 3.9 * len(kinds)), squeeze=False)
    for row, kind in zip(axes, kinds, strict=True):
        chosen = sorted((point for point in points if point.along == kind), key=lambda point: point.size)
        sizes = [float(point.size) for point in chosen]
        other = f"{chosen[0].slices} slices" if kind == "structures" else f"{chosen[0].structures} structures"
        _series(row[0], sizes, [point.cpu_s for point in chosen], "CPU", BLUE)
        _series(row[0], sizes, [point.wall_s for point in chosen], "wall", ORANGE)
        _dress(row[0], sizes, chosen[0].cpu_s, f"{kind} ({other})", "time in s")
        _series(row[1], sizes, [(point.anonymous_mb or 0) / 1000 for point in chosen], "without mapped files", BLUE)
        _series(row[1], sizes, [(point.resident_mb or 0) / 1000 for point in chosen], "with mapped files", ORANGE)
        _dress(row[1], sizes, (chosen[0].anonymous_mb or 0) / 1000, f"{kind} ({other})", "peak memory in GB")
    figure.suptitle("segqa review: CT of 512 x 512 pixels a slice, two segmentations, files to documents")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def _series(axes: Any, sizes: Sequence[float], values: Sequence[float], name: str, colour: str) -> None:
    axes.plot(sizes, values, marker="o", markersize=5, linewidth=1.8, color=colour, label=name)


def _dress(axes: Any, sizes: Sequence[float], first: float, size_label: str, value_label: str) -> None:
    """Axes from 0 with a line in proportion to the size."""
    top = axes.get_ylim()[1]
    axes.plot([0, sizes[-1]], [0, first * sizes[-1] / sizes[0]], ":", color=GREY, label="proportional")
    axes.set_xlim(0, sizes[-1] * 1.04)
    axes.set_ylim(0, top * 1.15)
    axes.set_xticks(sizes if len(sizes) < 5 else [size for size in sizes if size != 25])
    axes.set_xlabel(size_label)
    axes.set_ylabel(value_label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize="small", borderaxespad=0.3)
