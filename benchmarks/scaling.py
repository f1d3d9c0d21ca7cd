"""Cost of ``segqa review`` against size: ``python -m benchmarks scaling``.

A torso phantom with two models is reviewed in fresh processes (kernels compiled before), once with more and more
structures and once with more and more slices. The input of each point is made when it is measured and removed then.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.inputs import FULL_SHAPE, FULL_STRUCTURES, Request, Shape, prepared
from benchmarks.plot import draw
from benchmarks.results import machine, write
from benchmarks.review import of_two_models, review

ROOT = Path(__file__).resolve().parents[1]
PLOT = ROOT / "docs" / "cost_against_size.png"
STRUCTURES, SLICES = (25, 50, 100, 200, 400), (100, 300, 600, 1200)


@dataclass(frozen=True)
class Point:
    """One size and its cost: medians of `runs` reviews with documents.

    along : "structures" or "slices"
    anonymous_mb, resident_mb : peak over all processes, without and with mapped files
    made_s : seconds it took to make the input
    """

    along: str
    structures: int
    slices: int
    frames: int
    megabytes: float
    cpu_s: float
    wall_s: float
    anonymous_mb: float | None
    resident_mb: float | None
    runs: int
    made_s: float

    @property
    def size(self) -> int:
        """What grows."""
        return self.structures if self.along == "structures" else self.slices


def main(arguments: Sequence[str]) -> None:
    """The command line."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=True, highlight=False)
    with ExitStack() as stack:
        folder = options.input or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="segqa-benchmark-")))
        points = measured(options, folder, console)
    Console(width=None if sys.stdout.isatty() else 150, highlight=False).print(table(points))
    if options.json:
        content: dict[str, Any] = {"machine": machine(), "points": [asdict(point) for point in points]}
        write(json.dumps(content, indent=2) + "\n", options.json)
    if options.plot:
        draw(points, options.plot)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks scaling", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--structures", nargs="*", type=int, default=STRUCTURES)
    parser.add_argument("--slices", nargs="*", type=int, default=SLICES)
    parser.add_argument("--matrix", nargs=2, type=int, default=FULL_SHAPE[1:], metavar=("ROWS", "COLUMNS"))
    parser.add_argument("--repeat", type=int, default=3, help="reviews of each size; medians are shown")
    parser.add_argument("--input", type=Path, metavar="DIR", help="keep the inputs there (15 GB)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw there, such as docs/explanation/cost_against_size.png"
    )
    return parser


def measured(options: argparse.Namespace, folder: Path, console: Console) -> list[Point]:
    """All points; a size that both rows have is measured once."""
    rows, columns = options.matrix
    wanted = [("structures", FULL_SHAPE[0], count) for count in options.structures]
    wanted += [("slices", slices, FULL_STRUCTURES) for slices in options.slices]
    _compile(folder)
    points = []
    for along, slices, structures in wanted:
        console.print(f"{structures} structures on {slices} slices ...")
        points.append(_point(along, (slices, rows, columns), structures, options, folder))
    return points


def _compile(folder: Path) -> None:
    """Reviews of small cases whose labels have one and two bytes."""
    for structures in (8, 400):
        study = prepared(f"small_{structures}", folder, Request("torso", (64, 96, 96), structures, arrays=False))
        review(of_two_models(study))


def _point(along: str, shape: Shape, structures: int, options: argparse.Namespace, folder: Path) -> Point:
    study = prepared(f"scaling_{structures}_{shape[0]}", folder, Request("torso", shape, structures, arrays=False))
    runs = [review(of_two_models(study)) for _ in range(options.repeat)]
    if not options.input:
        shutil.rmtree(study.folder)
    memory = [(run.memory.anonymous, run.memory.resident) for run in runs]
    known = [pair for pair in memory if pair[0] is not None]
    return Point(
        along=along,
        structures=study.structures,
        slices=shape[0],
        frames=sum(study.frames),
        megabytes=study.megabytes,
        cpu_s=round(statistics.median(run.cpu_s for run in runs), 3),
        wall_s=round(statistics.median(run.wall_s for run in runs), 3),
        anonymous_mb=statistics.median(pair[0] or 0 for pair in known) if known else None,
        resident_mb=statistics.median(pair[1] or 0 for pair in known) if known else None,
        runs=len(runs),
        made_s=study.made_s,
    )


def table(points: Sequence[Point]) -> Table:
    """Cost, and how much it grew from the first row against how much the size did."""
    result = Table(
        "structures", "slices", "frames", "input MB", "CPU s", "wall s", "anonymous MB", "with files MB", "size",
        "CPU", "memory", "made in s",
    )  # fmt: skip
    for point in points:
        first = next(one for one in points if one.along == point.along)
        memory = None if not first.anonymous_mb or not point.anonymous_mb else point.anonymous_mb / first.anonymous_mb
        result.add_row(
            str(point.structures), str(point.slices), f"{point.frames:,}", f"{point.megabytes:.0f}",
            f"{point.cpu_s:.2f}", f"{point.wall_s:.2f}", _whole(point.anonymous_mb), _whole(point.resident_mb),
            f"x {point.size / first.size:.1f}", f"x {point.cpu_s / first.cpu_s:.1f}",
            "?" if memory is None else f"x {memory:.1f}", f"{point.made_s:.0f}",
        )  # fmt: skip
    return result


def _whole(value: float | None) -> str:
    return "?" if value is None else f"{value:.0f}"
