"""What commands about readers share: where things are, and tables of ratings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from segqa_dicom.errors import ConfigurationError, InputError

if TYPE_CHECKING:
    from segqa_dicom.reviews.exchange.tables import Table
    from segqa_dicom.service.wiring import Components

_Command = TypeVar("_Command", bound=Callable[..., Any])

layout_option = click.option(
    "--format",
    "layout",
    type=click.Choice(["aimi", "segmentation-review"]),
    help="AIMI's quality tables, or annotations.csv of SegmentationReview.  [default: as the first line says]",
)
minor_changes_option = click.option(
    "--minor-changes",
    type=click.Choice(["3", "4"]),
    help="What SegmentationReview's 2 (acceptable, minor changes) is: 3 minor edits needed, 4 stylistic edits only. "
    "Needed where it occurs: its words leave both open.",
)


def where(command: _Command) -> _Command:
    """The options that say which archive and which ledger."""
    for option in (
        click.option("--ledger", metavar="URL", help="As for `segqa serve`."),
        click.option("--archive", metavar="DIR|URL", help="As for `segqa serve`.  [default: ./segqa-archive]"),
    ):
        command = option(command)
    return command


def read_ratings(
    path: Path, *, layout: str | None, reader: str, minor_changes: str | None, reader_option: str
) -> Table:
    """A table of ratings, each with its reader.

    reader : who rated, if the table does not say
    reader_option : how that is given on the command line, for the message

    Raises `ConfigurationError`, saying what to do, for a file that cannot be used as a whole.
    """
    from segqa_dicom.reviews.exchange.tables import Layout, decoded, read_table

    try:
        text = decoded(path.read_bytes())
        chosen = Layout(layout) if layout else None
        table = read_table(text, layout=chosen, reader=reader, minor_changes=minor_changes or "")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except InputError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    if any(not row.reader for row in table.rows):
        raise ConfigurationError(f"{path} does not say who rated; give {reader_option}")
    return table


def write_text(path: Path, text: str) -> None:
    """Write a file, with its folder; raises `ConfigurationError` if that is not possible."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error


@contextmanager
def open_components(archive: str | None, ledger: str | None, *, make: bool = False) -> Iterator[Components]:
    """The components that options and settings name; an index that is not there yet is made.

    make : whether a folder that is not there yet becomes an archive; else it is a mistake (`ConfigurationError`)
    """
    from segqa_dicom.config import ServiceSettings, from_environment
    from segqa_dicom.findings import reindex
    from segqa_dicom.service import Setup
    from segqa_dicom.service.wiring import Components

    setup = Setup.from_settings(from_environment(ServiceSettings), archive=archive, ledger=ledger)
    if not make and setup.is_folder and not Path(setup.archive).is_dir():
        raise ConfigurationError(
            f"there is no archive at {setup.archive}; `segqa serve` makes it, --archive names another"
        )
    setup.make_folders()
    components = Components(setup)
    with components.ledger as opened:
        opened.migrate()
        if not components.index.is_filled():
            reindex(components.index, components.archive, folder=setup.work_folder, limits=components.limits)
        yield components
