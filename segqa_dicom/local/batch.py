"""Reviewing everything under some paths: scan, group, review each case in a process of its own, write what came out.

Cases run in child processes even if there is only one: a decoder that crashes on a damaged image then costs that case,
and not the others or the run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from segqa_dicom import __version__, log
from segqa_dicom.checks.ruleset import RuleSet
from segqa_dicom.config import Settings
from segqa_dicom.errors import ConfigurationError, SegQaError
from segqa_dicom.local.processes import Processes, report_progress
from segqa_dicom.local.timing import StepCost, Stopwatch
from segqa_dicom.progress import Progress, silent
from segqa_dicom.reading.grouping import CaseFiles, group
from segqa_dicom.reading.scan import Kind, NotReviewed, scan

if TYPE_CHECKING:
    from segqa_dicom.model import Case
    from segqa_dicom.report.model import CaseReport

COMPILING = "compiling the kernels (once on this machine, about 20 seconds)"
"""Step of progress that is worth a line even where no progress is shown."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to review.

    compare : "auto" | "pairs" | "none", which compare documents are written (numbers are always all there)
    reference : SOP Instance UID of the SEG that the others are compared with in documents; None = the best agreeing one
    with_html : whether pictures and the HTML fragment of each case are made
    with_documents : whether SR documents are written; without, nothing is written to `out`
    with_profile : whether each case says what its steps cost
    jobs : how many cases are reviewed at a time; each needs 0.5 to 1.2 GB
    """

    out: Path
    ruleset: RuleSet
    settings: Settings
    compare: Literal["auto", "pairs", "none"] = "auto"
    reference: str | None = None
    with_html: bool = False
    with_documents: bool = True
    with_profile: bool = False
    jobs: int = 1


@dataclass(frozen=True, slots=True)
class ReviewedCase:
    """What came out of one case, ready to be shown and joined: nothing here needs the arrays any more.

    json : its entry of ``cases``; None if nothing of it could be reviewed
    table : what the terminal shows (a rich renderable)
    costs : of the steps, if they were asked for
    """

    files: CaseFiles
    json: dict[str, Any] | None = None
    html: str = ""
    table: Any = None
    costs: tuple[StepCost, ...] = ()
    not_reviewed: tuple[NotReviewed, ...] = ()


@dataclass(slots=True)
class Batch:
    """Everything found under the paths, and what became of it.

    costs : of what was done before the first case
    """

    cases: list[ReviewedCase] = field(default_factory=list)
    not_reviewed: list[NotReviewed] = field(default_factory=list)
    segmentations_seen: int = 0
    costs: tuple[StepCost, ...] = ()

    @property
    def segmentations_left_out(self) -> list[NotReviewed]:
        """The segmentations that could not be reviewed."""
        return [one for one in self.not_reviewed if one.is_segmentation]

    def json(self, ruleset: RuleSet) -> dict[str, Any]:
        """The whole review as JSON."""
        from segqa_dicom.report.json import not_reviewed_entry

        return {
            "segqa_version": __version__,
            "ruleset": {"version": ruleset.version, "hash": ruleset.hash},
            "cases": [case.json for case in self.cases if case.json is not None],
            "not_reviewed": [
                not_reviewed_entry(str(one.path), one.sop_instance_uid, one.reason) for one in self.not_reviewed
            ],
        }


def run(
    paths: Sequence[Path],
    options: Options,
    *,
    progress: Progress = silent,
    shown: Callable[[ReviewedCase], None] | None = None,
    processes: Processes | None = None,
) -> Batch:
    """Review all cases under `paths`; `shown` is told of each as soon as it is done, in any order.

    processes : where cases are reviewed, if they were started before; else they are started, and ended, here
    Raises `ConfigurationError` if a path does not exist, the output folder cannot be written, or the reference
    segmentation is not there.
    """
    limits = options.settings.limits()
    stopwatch = Stopwatch(progress)
    with ExitStack() as stack:
        if processes is None:
            processes = stack.enter_context(Processes(options.jobs))
        processes.progress = progress
        headers, left_out = scan(paths, limits, stopwatch)
        options = _with_reference(options, {header.sop_instance_uid: header.path for header in headers})
        cases, ungrouped = group(headers, limits)
        if options.with_documents:
            _make_folder(options.out)
        batch = Batch(not_reviewed=[*left_out, *ungrouped])
        batch.segmentations_seen = sum(header.kind is Kind.SEG for header in headers)
        stopwatch("starting processes", 0, 1)
        if len(cases) == 1:
            processes.wait_for_first()
        stopwatch.stop()
        batch.costs = tuple(stopwatch.costs)
        for done in _reviewed(cases, options, processes):
            batch.cases.append(done)
            batch.not_reviewed.extend(done.not_reviewed)
            if shown is not None:
                shown(done)
    order = {files.name: at for at, files in enumerate(cases)}
    batch.cases.sort(key=lambda case: order[case.files.name])
    batch.not_reviewed.sort(key=lambda one: (str(one.path), one.sop_instance_uid or "", one.reason))
    return batch


def _with_reference(options: Options, path_of: dict[str, Path]) -> Options:
    """Options whose reference is a SOP Instance UID, given as that or as the path of the file."""
    if options.reference is None:
        return options
    wanted = options.reference
    for uid, path in path_of.items():
        if wanted == uid or (Path(wanted).exists() and Path(wanted).resolve() == path.resolve()):
            return replace(options, reference=uid)
    raise ConfigurationError(f"--reference {wanted}: no such SOP Instance UID or file among the objects to review")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"cannot write to {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise ConfigurationError(f"cannot write to {folder}: no permission")


def _reviewed(cases: Sequence[CaseFiles], options: Options, processes: Processes) -> Iterator[ReviewedCase]:
    """Every case once; a case whose process died is tried alone, and given up if it dies again."""
    crashed: list[CaseFiles] = []
    yield from _in_processes(cases, options, processes, crashed)
    for files in crashed:
        again: list[CaseFiles] = []
        processes.start_afresh(1)
        yield from _in_processes([files], options, processes, again)
        if again:
            yield _given_up(files, "the process that read it was ended (damaged image data or lack of memory)")


def _in_processes(
    cases: Sequence[CaseFiles], options: Options, processes: Processes, crashed: list[CaseFiles]
) -> Iterator[ReviewedCase]:
    futures: dict[Future[ReviewedCase], CaseFiles] = {}
    try:
        for files in cases:
            futures[processes.submit(_review_files, files, options)] = files
    except BrokenProcessPool:
        crashed.extend(files for files in cases if files not in futures.values())
    for future in as_completed(futures):
        try:
            yield future.result()
        except BrokenProcessPool:
            crashed.append(futures[future])


def _given_up(files: CaseFiles, reason: str) -> ReviewedCase:
    return ReviewedCase(
        files,
        not_reviewed=tuple(
            NotReviewed(part.header.path, part.header.sop_instance_uid, reason, is_segmentation=True)
            for part in files.segmentations
        ),
    )


def _review_files(files: CaseFiles, options: Options) -> ReviewedCase:
    """Review one case and write its documents; runs in a child process.

    Whatever goes wrong costs this case, not the run: also a mistake of ours, which is named as one.
    """
    try:
        return _review_one(files, options)
    except (SegQaError, OSError) as error:
        return _given_up(files, str(error))
    except Exception as error:  # noqa: BLE001 - the last line of defence; the log has the place
        log.LOGGER.exception("case %s", log.hashed(files.name))
        return _given_up(files, f"internal error of segqa, please report it ({type(error).__name__}: {error})")


def _review_one(files: CaseFiles, options: Options) -> ReviewedCase:
    # Imported here: the parent only scans and shows, and must start fast.
    from segqa_dicom.jit import is_compiled
    from segqa_dicom.reading.case import read_case
    from segqa_dicom.report.json import case_json
    from segqa_dicom.report.text import case_table

    started = time.perf_counter()
    stopwatch = Stopwatch(report_progress)
    if not is_compiled():
        report_progress(COMPILING, 0, 1)
    case, left_out = read_case(files, options.settings.limits(), stopwatch)
    if case is None:
        return ReviewedCase(files, not_reviewed=tuple(left_out))
    case, report, more = reviewed_case(case, options.ruleset, stopwatch)
    documents = _write_documents(report, options, stopwatch) if options.with_documents else []
    html = _html(report, case, options, stopwatch) if options.with_html else ""
    stopwatch("making tables", 0, 1)
    json, table = case_json(report, documents), case_table(report)
    stopwatch.stop()
    if options.with_profile:
        json["profile"] = [cost.as_json() for cost in stopwatch.costs]
    log.event(
        "case",
        case=log.hashed(files.name),
        segmentations=len(report.segmentations),
        segments=sum(len(part.segments) for part in report.segmentations),
        documents=len(documents),
        seconds=round(time.perf_counter() - started, 2),
    )
    costs = tuple(stopwatch.costs) if options.with_profile else ()
    return ReviewedCase(files, json, html, table, costs, (*left_out, *more))


def reviewed_case(
    case: Case, ruleset: RuleSet, progress: Progress = silent
) -> tuple[Case, CaseReport, list[NotReviewed]]:
    """The report; if it cannot be made with all segmentations, then with those that can be reviewed at all."""
    from segqa_dicom.pipeline import review

    try:
        return case, review(case, ruleset, progress), []
    except Exception:
        if len(case.segmentations) == 1:
            raise
        log.LOGGER.exception("a segmentation stops its case; each is tried alone")
    good, left_out = [], []
    for segmentation in case.segmentations:
        try:
            review(replace(case, segmentations=(segmentation,)), ruleset)
        except Exception as error:  # noqa: BLE001 - see _review_files
            record = segmentation.record
            reason = f"internal error of segqa, please report it ({type(error).__name__}: {error})"
            left_out.append(NotReviewed(Path(record.path), record.sop_instance_uid, reason, is_segmentation=True))
        else:
            good.append(segmentation)
    case = replace(case, segmentations=tuple(good))
    return case, review(case, ruleset, progress), left_out


def _html(report: CaseReport, case: Case, options: Options, progress: Progress) -> str:
    from segqa_dicom.checks import rule_titles
    from segqa_dicom.report.html import render_case

    progress("drawing pictures", 0, 1)
    return render_case(report, case, rule_titles=rule_titles(), max_pictures=options.settings.max_pictures)


def _write_documents(report: CaseReport, options: Options, progress: Progress) -> list[dict[str, Any]]:
    from segqa_dicom import sr
    from segqa_dicom.checks import rule_titles
    from segqa_dicom.report.json import document_entry
    from segqa_dicom.sr.codes import TITLES

    progress("writing documents", 0, 1)
    documents = sr.build_documents(
        report,
        rule_titles=rule_titles(),
        compare=options.compare,
        reference=options.reference,
        title=TITLES[options.settings.report_title],
    )
    entries = []
    for done, document in enumerate(documents, start=1):
        name = sr.file_name(document)
        sr.write(document, options.out / name)
        entries.append(document_entry(document.kind, name, document.sop_instance_uid, document.references))
        progress("writing documents", done, len(documents))
    return entries
