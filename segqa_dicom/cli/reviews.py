"""Commands about what readers do: reviews import, list, assign, repeat, export."""

from __future__ import annotations

import getpass
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from segqa_dicom.cli import terminal
from segqa_dicom.cli.options import (
    layout_option,
    minor_changes_option,
    open_components,
    read_ratings,
    where,
    write_text,
)
from segqa_dicom.errors import InputError, PeerError

if TYPE_CHECKING:
    from segqa_dicom.ledger import ImportedRow, Ledger, PendingReview
    from segqa_dicom.reviews.exchange.importing import Converted
    from segqa_dicom.reviews.workflow.model import SignedReview
    from segqa_dicom.service.wiring import Components


_EPILOG = """
\b
Exit codes:
  0  done
  1  the archive or the ledger does not answer
  2  the call or a setting is wrong
"""

_EXPORT_EPILOG = f"""
\b
Examples:
  segqa reviews export --major --csv edits.csv
  segqa reviews export --major --json - --no-comments
{_EPILOG}"""

_IMPORT_EPILOG = """
\b
Examples:
  segqa reviews import aimi_lung_ct_qa_results.csv --reviewer-map rad1=doe --reviewer-map rad2=roe
  segqa reviews import annotations.csv --reader doe --minor-changes 3
  segqa reviews import                      only look for segmentations that have come since

\b
Exit codes:
  0  done, also if segmentations are still to come
  1  lines that could not be used (each is named), or the archive or the ledger does not answer
  2  the call or a setting is wrong, or the file is no such table
"""


@click.group()
def reviews() -> None:
    """What readers say: import it from tables, list it, assign segments, have some read again, export major edits."""


@reviews.command("import", epilog=_IMPORT_EPILOG)
@click.argument("file", required=False, metavar="[FILE.csv]", type=click.Path(path_type=Path, dir_okay=False))
@layout_option
@click.option("--reader", default="", metavar="LOGIN", help="Who rated, if the table does not say.")
@click.option(
    "--reviewer-map",
    "mapped",
    multiple=True,
    metavar="NAME=LOGIN",
    help="What a reader of the table is called here; several times.",
)
@minor_changes_option
@where
@click.option("--json", "as_json", is_flag=True, help="As JSON: rows, new, documents, ratings, waiting, problems.")
def import_reviews(
    file: Path | None,
    layout: str | None,
    reader: str,
    mapped: Sequence[str],
    minor_changes: str | None,
    archive: str | None,
    ledger: str | None,
    as_json: bool,  # noqa: FBT001 - click passes options by name
) -> None:
    """Take ratings from a table: signed reviews where their segmentations are, else kept until these come.

    Ratings count in `segqa agreement` either way. Importing again changes nothing. A segmentation is found by its SOP
    Instance UID in a file name, by the CT series if that has only one, or by what its series is called.
    """
    from segqa_dicom.reviews.exchange.importing import Imported, keep_table

    logins = _logins(mapped)
    table = None
    if file is not None:
        table = read_ratings(
            file, layout=layout, reader=reader, minor_changes=minor_changes, reader_option="--reader LOGIN"
        )
    with open_components(archive, ledger, make=True) as components:
        kept = Imported(0, 0)
        if table is not None and file is not None:
            kept = keep_table(components.ledger, table, source=file.name, now=time.time(), logins=logins)
        converted, waits = _converted(components)
        lines = _problems(kept.problems, converted, components.ledger)
    values = {
        "rows": kept.rows,
        "new": kept.new,
        "documents": list(converted.documents),
        "ratings": converted.ratings,
        "waiting": converted.waiting,
        "problems": lines,
    }
    if as_json:
        click.echo(json.dumps(values, indent=2))
    else:
        _say_what_was_imported(values, waits=waits)
    sys.exit(1 if lines else 0)


@reviews.command("list", epilog=_EPILOG)
@where
@click.option("--json", "as_json", is_flag=True, help="As JSON: reviews, waiting, imported.")
def list_reviews(archive: str | None, ledger: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Say who has reviewed what, what waits for the archive, and which imported ratings wait for segmentations.

    Also which segments are read again: not for the eyes of readers.
    """
    with open_components(archive, ledger) as components:
        components.signed_reviews.refresh()
        found = components.signed_reviews.current()
        pending = components.ledger.pending_reviews(limit=10_000)
        imported = components.ledger.imported(is_waiting=True)
    values = {
        "reviews": [_review_json(one) for one in found],
        "waiting": [_pending_json(one) for one in pending],
        "imported": [_imported_json(one) for one in imported],
    }
    if as_json:
        click.echo(json.dumps(values, indent=2))
        return
    _show_reviews(values["reviews"])
    for one in values["waiting"]:
        click.echo(f"on its way: {one['kind']} {one['document']} {one['reason']}".rstrip())
    if imported:
        click.echo(f"{len(imported)} imported ratings wait for their segmentations")


@reviews.command("assign", epilog=_EPILOG)
@click.argument("what", metavar="SEG[/SEGMENT]")
@click.argument("login", required=False)
@click.option("--remove", is_flag=True, help="Nobody is asked to look at it any more.")
@where
def assign_review(what: str, login: str | None, remove: bool, archive: str | None, ledger: str | None) -> None:  # noqa: FBT001
    """Have LOGIN look at a segmentation (its SOP Instance UID), or at one of its segments (UID/number)."""
    from segqa_dicom.dicom.uids import normalised_uid
    from segqa_dicom.model import SegmentRef

    if (login is None) is not remove:
        raise click.UsageError("give a LOGIN, or --remove")
    uid, slash, number = what.partition("/")
    try:
        uid = normalised_uid(uid, what="SEG")
    except InputError as error:
        raise click.UsageError(str(error)) from error
    if slash and not (number.isdecimal() and int(number) < 65_536):
        raise click.UsageError("after the slash stands a Segment Number")
    with open_components(archive, ledger) as components:
        try:
            components.workflow(with_pictures=False).assign(
                SegmentRef(uid, int(number) if slash else 0), login, by=_operator()
            )
        except InputError as error:
            raise click.UsageError(str(error)) from error
    click.echo(f"{what}: {f'assigned to {login}' if login else 'assigned to nobody'}")


@reviews.command("repeat", epilog=_EPILOG)
@click.option("--share", required=True, type=click.FloatRange(0, 1), help="Of what a reader has signed: 0.1 = a tenth.")
@click.option("--reader", metavar="LOGIN", help="Only this one.  [default: all]")
@click.option("--seed", default=1, show_default=True, help="Decides which segments, as by lot.")
@where
@click.option("--json", "as_json", is_flag=True, help="As JSON: scheduled.")
def repeat_reviews(
    share: float,
    reader: str | None,
    seed: int,
    archive: str | None,
    ledger: str | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Have readers read a share of what they have signed again, without telling them, to see how far they agree.

    Such segments come back into the worklist as if they had never been read. The same call again draws only from what
    was signed since.
    """
    with open_components(archive, ledger) as components:
        count = components.workflow(with_pictures=False).schedule_repeats(share, reader, seed)
    click.echo(json.dumps({"scheduled": count}) if as_json else f"{count} segments are to be read again")


@reviews.command("export", epilog=_EXPORT_EPILOG)
@click.option(
    "--major", is_flag=True, help="Segments in need of major edits or worse (the default, and the only list)."
)
@click.option("--any", "is_any_enough", is_flag=True, help="Also where fewer than half of the readers say so.")
@click.option("--csv", "csv_file", metavar="FILE|-", help="As CSV to a file, or to standard output (-, the default).")
@click.option("--json", "json_file", metavar="FILE|-", help="As references to the DICOM objects, with DICOMweb paths.")
@click.option("--no-comments", is_flag=True, help="Leave out what readers have typed: it may name somebody.")
@where
def export_reviews(
    major: bool,  # noqa: FBT001, ARG001 - the only list there is
    is_any_enough: bool,  # noqa: FBT001
    csv_file: str | None,
    json_file: str | None,
    no_comments: bool,  # noqa: FBT001
    archive: str | None,
    ledger: str | None,
) -> None:
    """List segments that readers want changed, for the next batch of annotation or training.

    Where several have read a segment, half of them must say so, or whoever decided between them.
    """
    from segqa_dicom.reviews.exchange.export import MajorOptions, as_csv, as_references, major_edits

    with open_components(archive, ledger) as components:
        components.signed_reviews.refresh()
        options = MajorOptions(is_any_enough=is_any_enough)
        edits = major_edits(components.signed_reviews.current(), components.index, components.vocabulary, options)
        references = as_references(edits, components.archive) if json_file is not None else {}
    if csv_file is not None or json_file is None:
        _write(csv_file or "-", as_csv(edits, with_comments=not no_comments))
    if json_file is not None:
        _write(json_file, json.dumps(references, indent=2, allow_nan=False) + "\n")


COMMANDS: tuple[click.Command, ...] = (reviews,)


def _write(file: str, text: str) -> None:
    if file == "-":
        click.echo(text, nl=False)
    else:
        write_text(Path(file), text)


def _operator() -> str:
    try:
        return getpass.getuser()[:64]
    except (KeyError, OSError):  # no such user in a container
        return "operator"


# Importing


def _logins(mapped: Sequence[str]) -> dict[str, str]:
    pairs = [one.partition("=") for one in mapped]
    if wrong := [
        one for one, (name, equals, login) in zip(mapped, pairs, strict=True) if not (name and equals and login)
    ]:
        raise click.UsageError(f"--reviewer-map is NAME=LOGIN, not {wrong[0]}")
    return {name: login for name, _, login in pairs}


def _converted(components: Components) -> tuple[Converted, bool]:
    """What has become reviews, and whether some of these wait for the archive."""
    from segqa_dicom.pictures import OpenCases
    from segqa_dicom.reviews.exchange.importing import Converter
    from segqa_dicom.reviews.workflow.delivery import deliver
    from segqa_dicom.reviews.workflow.signing import Signer

    setup = components.setup
    cases = OpenCases(
        components.archive,
        folder=setup.work_folder / "import",
        limits=setup.review.limits(),
        max_bytes=setup.settings.picture_memory_bytes,
    )
    try:
        signer = Signer(components.ledger, components.index, cases, components.signed_reviews, components.vocabulary)
        organization = setup.settings.reviewer_organization
        converted = Converter(
            components.ledger, components.index, components.signed_reviews, signer, organization=organization
        ).convert()
    finally:
        cases.close()
    try:
        deliver(components.ledger, components.archive, components.index, now=time.time())
    except PeerError:
        return converted, True  # `segqa serve` goes on with it
    return converted, bool(components.ledger.pending_reviews(limit=1))


def _problems(problems: Sequence[Any], converted: Converted, ledger: Ledger) -> list[dict[str, Any]]:
    """By line where there is one: what was imported before has none any more."""
    found: list[dict[str, Any]] = [{"line": one.line, "message": one.message} for one in problems]
    rows = {row.rating_id: row for row in ledger.imported()} if converted.problems else {}
    for rating_id, message in converted.problems:
        found.append({"rating": rating_id[:12], "reader": rows[rating_id].login, "message": message})
    return found


def _say_what_was_imported(values: dict[str, Any], *, waits: bool) -> None:
    click.echo(f"{values['rows']} ratings in the table, {values['new']} of them new")
    click.echo(f"{values['ratings']} ratings became {len(values['documents'])} signed reviews")
    if waits:
        click.echo("some are on their way to the archive; `segqa serve` sends them")
    if values["waiting"]:
        click.echo(f"{values['waiting']} wait for their segmentations; `segqa reviews import` looks for them again")
    for one in values["problems"]:
        where = f"line {one['line']}" if "line" in one else f"rating {one['rating']} of {one['reader']}"
        click.echo(f"{where}: {one['message']}", err=True)


# Showing


def _review_json(one: SignedReview) -> dict[str, Any]:
    review = one.review
    return {
        "reader": review.reviewer.login,
        "purpose": review.purpose.value,
        "reading": review.reading,
        "segmentation": review.segmentation,
        "segments": [said.segment_number for said in review.segments],
        "is_signed": review.is_signed,
        "made_at": review.made_at,
        "document": one.document,
        "study": one.study,
        "ct_series": one.ct_series,
    }


def _pending_json(one: PendingReview) -> dict[str, Any]:
    return {
        "document": one.document.sop_instance_uid,
        "kind": one.document.kind,
        "reader": one.login,
        "segmentation": one.segmentation,
        "reason": one.reason,
    }


def _imported_json(row: ImportedRow) -> dict[str, Any]:
    content = asdict(row)["content"]
    return {
        "reader": row.login,
        "rating": content["rating"],
        "ct_series": content["ct_series"],
        "source": content["source"],
    }


def _show_reviews(found: list[dict[str, Any]]) -> None:
    from rich.table import Table
    from rich.text import Text

    if not found:
        click.echo("nobody has signed anything")
        return
    table = Table("reader", "purpose", "segmentation", "segments", "made")
    for one in found:
        purpose = one["purpose"] if one["reading"] == 1 else f"{one['purpose']} {one['reading']}"
        segments = "whole" if one["segments"] == [0] else str(len(one["segments"]))
        made = f"{one['made_at'][:4]}-{one['made_at'][4:6]}-{one['made_at'][6:8]}"
        state = "" if one["is_signed"] else " (preliminary)"
        cells = (one["reader"], purpose, one["segmentation"], segments, made + state)
        table.add_row(*(Text(cell, overflow="fold") for cell in cells))
    terminal.console().print(table)
