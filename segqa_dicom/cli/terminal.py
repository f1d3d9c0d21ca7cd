"""What the commands show on a terminal: tables and progress."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from segqa_dicom.progress import Progress, silent

if TYPE_CHECKING:
    from rich.console import Console

WIDTH_WITHOUT_TERMINAL = 140
"""Columns of tables that go to a file or a pipe."""


def console(*, stderr: bool = False) -> Console:
    """Where tables are printed."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(
        file=stream, width=None if stream.isatty() else WIDTH_WITHOUT_TERMINAL, highlight=False, soft_wrap=False
    )


@contextmanager
def progress(*, quiet: bool, without_terminal: Progress = silent) -> Iterator[Progress]:
    """A bar that shows the step in work; none where nobody watches.

    without_terminal : is told instead where standard error is no terminal
    """
    if quiet:
        yield silent
        return
    if not sys.stderr.isatty():
        yield without_terminal
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done, total=total)

        yield show
