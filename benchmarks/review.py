"""``segqa`` as people run it: every call a fresh process, kernels compiled before."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.inputs import Study
from benchmarks.processes import Ran, run_fresh
from benchmarks.results import Limit

SEGQA = (sys.executable, "-m", "segqa_dicom")
TARGET_CORES = 4
"""Throughput is asked for with four jobs on four cores."""
CASES_PER_S, CASES_PER_S_NUMBERS = 0.9, 1.5

Say = Callable[[str], None]


def can_leave_out_documents() -> bool:
    """Whether this version has ``review --no-documents``."""
    return "--no-documents" in run_fresh([*SEGQA, "review", "--help"]).output


def review(paths: Sequence[Path], *, documents: bool = True, html: bool = False, jobs: int = 1) -> Ran:
    """One review in a fresh process, with JSON."""
    with tempfile.TemporaryDirectory() as folder:
        more = ["--html", f"{folder}/all.html"] if html else []
        more += [] if documents else ["--no-documents"]
        out = ["--out", f"{folder}/sr", "--json", f"{folder}/all.json", "--jobs", str(jobs), "--quiet"]
        return run_fresh([*SEGQA, "review", *map(str, paths), *out, *more])


def of_two_models(study: Study) -> list[Path]:
    """What a review of models a and b is called with."""
    return [study.case() / "ct", study.case() / "a.dcm", study.case() / "b.dcm"]


def limits(study: Study, tiny: Study, *, repeat: int, say: Say) -> list[Limit]:
    """Start, one case, one case without documents."""
    say("segqa: starting")
    review(of_two_models(tiny))
    version = _repeated(lambda: run_fresh([*SEGQA, "--version"]), repeat)
    second = _repeated(lambda: review(of_two_models(tiny)), repeat)
    found = [
        _seconds("segqa --version, wall", version, 0.3),
        _seconds(f"review of a tiny case ({_size(tiny)}) by a second process, wall", second, 1.5),
    ]
    ways = [("with documents", True, False), ("with documents and page", True, True)]
    if can_leave_out_documents():
        ways.insert(0, ("numbers only", False, False))
    for name, documents, html in ways:
        say(f"segqa review, {name}")
        review(of_two_models(study), documents=documents, html=html)
        runs = _repeated(lambda d=documents, h=html: review(of_two_models(study), documents=d, html=h), repeat)  # type: ignore[misc]
        found += _of_review(name, runs, is_asked=documents and not html)
    return found


def _of_review(name: str, runs: Sequence[Ran], *, is_asked: bool) -> list[Limit]:
    memory = [ran.memory for ran in runs]
    title = f"review, {name}"
    return [
        _seconds(f"{title}, wall", runs, 4.0 if is_asked else None),
        Limit(f"{title}, CPU", _median([ran.cpu_s for ran in runs]), "s"),
        Limit(
            f"{title}, peak memory without mapped files",
            _median([one.anonymous for one in memory]),
            "MB",
            700.0 if is_asked else None,
            note=f"all processes; the largest one {_shown(_median([one.largest for one in memory]))} MB, "
            f"with mapped files {_shown(_median([one.resident for one in memory]))} MB",
        ),
    ]


def throughput(cases: Study, copies: int, *, say: Say) -> list[Limit]:
    """Cases a second with as many jobs as there are cores."""
    jobs = os.cpu_count() or 1
    ways = [("with documents", True, CASES_PER_S)]
    if can_leave_out_documents():
        ways.append(("numbers only", False, CASES_PER_S_NUMBERS))
    found = []
    for name, documents, wanted in ways:
        say(f"segqa review of {copies} cases, {name}")
        ran = review([cases.dicom], documents=documents, jobs=jobs)
        found.append(
            Limit(
                f"{copies} cases with --jobs {jobs}, {name}",
                copies / ran.wall_s,
                "cases/s",
                wanted * min(jobs, TARGET_CORES) / TARGET_CORES,
                at_least=True,
                note=f"asked for: {wanted:g} with {TARGET_CORES} jobs on {TARGET_CORES} cores; CPU "
                f"{ran.cpu_s / copies:.1f} s a case; {_shown(ran.memory.anonymous)} MB in all processes",
            )
        )
    return found


def _repeated(action: Callable[[], Ran], repeat: int) -> list[Ran]:
    return [action() for _ in range(repeat)]


def _seconds(title: str, runs: Sequence[Ran], bound: float | None) -> Limit:
    return Limit(title, _median([ran.wall_s for ran in runs]), "s", bound)


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def _shown(value: float | None) -> str:
    return "?" if value is None else f"{value:.0f}"


def _size(study: Study) -> str:
    slices, rows, columns = study.shape
    return f"{columns}x{rows}x{slices}, {study.structures} structures"
