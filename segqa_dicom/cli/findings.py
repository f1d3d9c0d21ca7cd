"""Commands about what documents say: findings, reindex."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from segqa_dicom.cli import terminal
from segqa_dicom.errors import ConfigurationError, InputError

if TYPE_CHECKING:
    from segqa_dicom.findings import FindingsIndex
    from segqa_dicom.findings.filters import Filters
    from segqa_dicom.findings.listing import Row
    from segqa_dicom.service import Setup

_Command = TypeVar("_Command", bound=Callable[..., Any])
_SHOWN = 100
"""Rows of the table, unless told otherwise."""

_FINDINGS_EPILOG = """
\b
Examples:
  segqa findings --outcome FAIL --structure kidney_left
  segqa findings --rule T1 --model "Model A" --date 20260101- --csv -
  segqa findings --verdict unusable --parquet findings.parquet

\b
Exit codes:
  0  done, whether there are findings or not
  1  the index does not answer now
  2  the call is wrong, or there is no index
"""

_REINDEX_EPILOG = """
\b
Exit codes:
  0  done
  1  the archive does not answer, or a document cannot be read (each is named)
  2  the call or a setting is wrong
"""


def _archive(command: _Command) -> _Command:
    return click.option("--archive", metavar="DIR|URL", help="As for `segqa serve`.  [default: ./segqa-archive]")(
        command
    )


def _filters(command: _Command) -> _Command:
    """The filters of `findings.listing`, under their names."""
    several = "; several times = any of them."
    for name, metavar, text in reversed(
        (
            ("structure", "CODE|NAME|WORDS", f"Code value, name (kidney_left) or words of the label{several}"),
            ("rule", "ID", "Rule, T1; by commas any of them."),
            ("outcome", "OUTCOME", "PASS, WARN, FAIL, NOTRUN; by commas any of them."),
            ("severity", "SEVERITY", "error, warning, info; by commas any of them."),
            ("verdict", "VERDICT", "Of the segment: unusable, review, usable; by commas any of them."),
            ("kind", "KIND", "check, measurement, evaluation; the last two are of documents of others."),
            ("model", "TEXT", f"Part of the SEG's series description or model name{several}"),
            ("version", "TEXT", "Version of the model."),
            ("reviewer", "TEXT", f"Part of the name of a person who observed{several}"),
            ("date", "FIRST-LAST", "Of the document: YYYYMMDD, or a range with one end or both."),
            ("study", "UID", "Study."),
            ("series", "UID", "CT series, or series of the document."),
            ("seg", "UID", "SOP Instance UID of the SEG."),
            ("document", "UID", "SOP Instance UID of the document."),
        )
    ):
        command = click.option(f"--{name}", multiple=True, metavar=metavar, help=text)(command)
    return command


@click.command(epilog=_FINDINGS_EPILOG)
@_filters
@click.option("--all", "with_replaced", is_flag=True, help="Also of documents that others have replaced.")
@_archive
@click.option("--limit", default=None, metavar="N", type=click.IntRange(min=1), help="At most so many.  [table: 100]")
@click.option("--csv", "csv_file", metavar="FILE|-", help="Write them as CSV to a file, or to standard output (-).")
@click.option("--json", "as_json", is_flag=True, help="As JSON: total, findings.")
@click.option(
    "--parquet",
    "parquet_file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write them as Parquet; needs pip install 'segqa[parquet]'.",
)
def findings(
    archive: str | None,
    limit: int | None,
    csv_file: str | None,
    as_json: bool,  # noqa: FBT001
    parquet_file: Path | None,
    with_replaced: bool,  # noqa: FBT001 - click passes options by name
    **filters: Sequence[str],
) -> None:
    """List what the documents in the archive say: outcomes of checks, and what others measured and evaluated.

    Without options the current ones as a table, those of the newest documents first.
    """
    index, wanted = _filled(_setup(archive)), _parsed(filters, with_replaced=with_replaced)
    if csv_file is not None:
        _write_csv(index, wanted, limit, csv_file)
    if parquet_file is not None:
        from segqa_dicom.findings.export import write_parquet

        count = write_parquet(_pages(index, wanted, limit), parquet_file)
        click.echo(f"{count} findings in {parquet_file}", err=True)
    if as_json:
        _write_json(index, wanted, limit)
    elif csv_file is None and parquet_file is None:
        _show(index, wanted, limit or _SHOWN)


@click.command(epilog=_REINDEX_EPILOG)
@_archive
@click.option("--json", "as_json", is_flag=True, help="As JSON: documents, added, removed, refused.")
@click.option("--quiet", is_flag=True, help="No progress.")
def reindex(archive: str | None, as_json: bool, quiet: bool) -> None:  # noqa: FBT001
    """Compare the index of findings with all SRs of the archive: add what is missing, remove what is gone.

    Needed only where documents were deleted in the archive: `segqa serve` adds what is new by itself.
    """
    from segqa_dicom.findings import FILE_NAME, FindingsIndex
    from segqa_dicom.findings import reindex as compare

    setup = _setup(archive)
    setup.make_folders()
    index = FindingsIndex(setup.data / FILE_NAME)
    with terminal.progress(quiet=quiet or as_json) as progress:
        found = compare(
            index, setup.open_archive(), folder=setup.work_folder, limits=setup.review.limits(), progress=progress
        )
    if as_json:
        click.echo(json.dumps(found.as_json()))
    else:
        click.echo(
            f"{found.documents} documents in the archive: {found.added} added, {found.removed} removed, "
            f"{found.refused} cannot be read"
        )
    for uid, reason in index.refused().items():
        click.echo(f"{uid}: {reason}", err=True)
    sys.exit(1 if found.refused else 0)


COMMANDS: tuple[click.Command, ...] = (findings, reindex)


def _setup(archive: str | None) -> Setup:
    from segqa_dicom.config import ServiceSettings, from_environment
    from segqa_dicom.service import Setup

    return Setup.from_settings(from_environment(ServiceSettings), archive=archive)


def _filled(setup: Setup) -> FindingsIndex:
    """The index; looking must not make one."""
    from segqa_dicom.findings import FILE_NAME, FindingsIndex

    path = setup.data / FILE_NAME
    index = FindingsIndex(path)
    if not path.is_file() or not index.is_filled():
        raise ConfigurationError(f"there is no index at {path}; `segqa serve` or `segqa reindex` makes it")
    return index


def _parsed(filters: dict[str, Sequence[str]], *, with_replaced: bool) -> Filters:
    from segqa_dicom.findings.filters import parsed_filters

    given = [(name, value) for name, values in filters.items() for value in values]
    try:
        return parsed_filters([*given, ("current", "false" if with_replaced else "true")])
    except InputError as error:
        raise click.UsageError(str(error)) from error


def _pages(index: FindingsIndex, wanted: Filters, limit: int | None) -> Iterator[tuple[Row, ...]]:
    from segqa_dicom.findings.listing import pages

    left = limit
    for page in pages(index, wanted):
        yield page if left is None else page[:left]
        if left is not None and (left := left - len(page)) <= 0:
            return


def _write_csv(index: FindingsIndex, wanted: Filters, limit: int | None, file: str) -> None:
    from segqa_dicom.findings.export import csv_parts

    with ExitStack() as stack:
        try:
            target = (
                sys.stdout if file == "-" else stack.enter_context(Path(file).open("w", encoding="utf-8", newline=""))
            )
            for part in csv_parts(_pages(index, wanted, limit)):
                target.write(part)
        except OSError as error:
            raise ConfigurationError(f"cannot write {file}: {error.strerror}") from error


def _write_json(index: FindingsIndex, wanted: Filters, limit: int | None) -> None:
    from segqa_dicom.findings.listing import as_json, find

    total = find(index, wanted, limit=0).total
    rows = [as_json(row) for page in _pages(index, wanted, limit) for row in page]
    click.echo(json.dumps({"total": total, "findings": rows}, indent=2, allow_nan=False))


def _show(index: FindingsIndex, wanted: Filters, limit: int) -> None:
    from rich.table import Table
    from rich.text import Text

    from segqa_dicom.findings.listing import find

    page = find(index, wanted, limit=limit)
    table = Table("date", "model", "segment", "rule", "outcome", "what", "verdict")
    styles = {"FAIL": "bold red", "WARN": "yellow", "PASS": "green"}
    for row in page.rows:
        value = "" if row.value is None else f"{row.value:g} {row.unit}"
        what = f"{row.title}: {row.detail or value}" if row.detail or value else row.title
        if row.kind != "check" and row.observer:
            what += f" ({row.observer})"
        name = f"{row.segment_number} {row.label}" if row.segment_number else row.label or "whole"
        outcome = Text(row.outcome, style=styles.get(row.outcome, ""))
        cells = (row.date, row.model, name, row.rule)
        table.add_row(*map(Text, cells), outcome, Text(what), Text(row.verdict))
    console = terminal.console()
    console.print(table)
    console.print(f"{len(page.rows)} of {page.total} findings")
