"""``python -m benchmarks``: every step against its peers, ``segqa review`` as a fresh process, the service, pictures.

``python -m benchmarks scaling`` measures cost against size instead. Peers come with ``pip install -e ".[bench]"``;
one that is not installed is missing in its row only.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console

from benchmarks import dicomweb, intake, pictures, scaling
from benchmarks.contests import Setting, chain, contest
from benchmarks.inputs import FULL_SHAPE, FULL_STRUCTURES, Request, Study, prepared
from benchmarks.results import Limit, Results, Row, machine, write
from benchmarks.review import limits, throughput
from benchmarks.steps import FURTHER_MODEL_MB, STEPS, Step
from benchmarks.table import markdown, show

ROOT = Path(__file__).resolve().parents[1]
REAL_CASE = ROOT.parent / "shared" / "data" / "case_A"
"""A small real case, if it lies beside the project."""
REVIEW, INTAKE, DICOMWEB, PICTURES = "review", "intake", "dicomweb", "pictures"
TINY = Request("torso", (24, 64, 64), 8, arrays=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; the exit code is 1 if a step of ours fails, or numbers of ours and a peer differ."""
    arguments = sys.argv[1:] if arguments is None else arguments
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # inputs of a gigabyte must not stay behind
    if arguments and arguments[0] == "scaling":
        scaling.main(arguments[1:])
        return 0
    options = _parser().parse_args(arguments)
    # No terminal, no width to keep to: tables in files must not be cut.
    console = Console(width=None if sys.stdout.isatty() else 250, highlight=False)
    results = run(options, Console(stderr=True, highlight=False))
    show(results, console)
    _keep(results, options)
    if options.markdown:
        write(markdown(results), options.markdown)
    differs = any(row.agreement is not None and row.agreement.is_good is False for row in results.rows)
    return int(differs or any(row.ours is None for row in results.rows))


def _parser() -> argparse.ArgumentParser:
    names = [step.key for step in STEPS] + [REVIEW, INTAKE, DICOMWEB, PICTURES]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition("\n\n")[0])
    parser.add_argument(
        "--input", type=Path, metavar="DIR", help="keep the inputs there, and use them if they are there"
    )
    parser.add_argument("--shape", nargs=3, type=int, default=FULL_SHAPE, metavar=("SLICES", "ROWS", "COLUMNS"))
    parser.add_argument("--structures", type=int, default=FULL_STRUCTURES)
    parser.add_argument("--steps", nargs="+", choices=names, default=names, metavar="STEP", help=", ".join(names))
    parser.add_argument("--repeat", type=int, default=5, help="runs of each party; medians are shown")
    parser.add_argument(
        "--every", type=int, default=8, metavar="N", help="slow peers get every N-th structure by size, and are scaled"
    )
    parser.add_argument(
        "--same-process", action="store_true", help="no process per party: quick and easy to debug, no memory"
    )
    parser.add_argument("--cases", type=int, default=8, help="cases for the throughput; 0 = leave it out")
    parser.add_argument("--real", type=Path, metavar="DIR", help="case to bring to the same size", default=REAL_CASE)
    parser.add_argument("--no-real", action="store_true", help="the phantom only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything that was measured")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the tables")
    return parser


def run(options: argparse.Namespace, console: Console) -> Results:
    """Make the inputs and measure."""
    started = time.perf_counter()
    results = Results(machine())
    with ExitStack() as stack:
        folder = options.input or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="segqa-benchmark-")))
        shape, structures = tuple(options.shape), options.structures

        def made(name: str, request: Request, source: Path | None = None) -> Study:
            console.print(f"input {name} ...")
            study = prepared(name, folder, request, source)
            results.inputs.append(asdict(study) | {"folder": study.folder.name})
            return study

        torso = made("torso", Request("torso", shape, structures, models=3))
        studies = [torso]
        if options.real.is_dir() and not options.no_real:
            studies.append(made("real", Request("real", shape, 0, source=options.real.name), options.real))
        steps = [step for step in STEPS if step.key in options.steps]
        is_full = (shape, structures) == (FULL_SHAPE, FULL_STRUCTURES)
        setting = Setting(options.repeat, options.every, options.same_process, is_full, console.print)
        for study in studies:
            for step in steps:
                if step.real or study is torso:
                    results.rows += contest(step, study, setting)
                    _keep(results, options)
            total = chain(results.rows, study.name, judged=setting.judged)
            is_ours = [row.study == study.name and row.step == "files" for row in results.rows]
            results.rows = [total if total and it else row for row, it in zip(results.rows, is_ours, strict=True)]
        results.limits += _limits_of_steps(results.rows, steps)
        if REVIEW in options.steps:
            tiny = made("tiny", TINY)
            results.limits += limits(torso, tiny, repeat=options.repeat, say=console.print)
            _keep(results, options)
            if options.cases:
                cases = made("cases", Request("torso", shape, structures, copies=options.cases, arrays=False))
                results.limits += throughput(cases, options.cases, say=console.print)
    if INTAKE in options.steps:
        load = intake.Load() if is_full else intake.TINY
        results.limits += intake.limits(load, repeat=options.repeat, say=console.print)
    if DICOMWEB in options.steps:
        asked = dicomweb.Load() if is_full else dicomweb.TINY
        results.limits += dicomweb.limits(asked, repeat=options.repeat, say=console.print)
    if PICTURES in options.steps:
        shown = pictures.Load() if is_full else pictures.TINY
        real = None if options.no_real else options.real
        results.limits += pictures.limits(shown, real=real, say=console.print)
    if not is_full:
        results.limits = [replace(one, bound=None) for one in results.limits]
    results.machine["load_after"] = round(os.getloadavg()[0], 2)
    results.seconds = time.perf_counter() - started
    return results


def _keep(results: Results, options: argparse.Namespace) -> None:
    """What was measured so far, for runs that are stopped."""
    if options.json:
        write(results.as_json(), options.json)


def _limits_of_steps(rows: Sequence[Row], steps: Sequence[Step]) -> list[Limit]:
    """Bounds in seconds and memory; those of three models against two."""
    found = []
    ours = {row.step: row.ours for row in reversed(rows) if row.study == "torso" and row.ours}
    for step in (step for step in steps if step.key in ours):
        if step.limit_s is not None:
            found.append(Limit(f"{step.title}, CPU", ours[step.key].cpu_s, "s", step.limit_s))
        if step.memory_mb is not None:
            note = "whole process, interpreter included"
            found.append(Limit(f"{step.title}, memory", ours[step.key].process_mb, "MB", step.memory_mb, note=note))
    if "files" in ours and "third" in ours:
        more = [timing.process_mb for timing in (ours["files"], ours["third"])]
        value = None if more[0] is None or more[1] is None else more[1] - more[0]
        found.append(Limit("a further model, memory", value, "MB", FURTHER_MODEL_MB))
        seconds = ours["third"].cpu_s - ours["files"].cpu_s
        found.append(Limit("a further model, CPU", seconds, "s", note="two further pairs to compare"))
    return found


if __name__ == "__main__":
    sys.exit(main())
