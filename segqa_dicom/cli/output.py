"""Files and messages that commands write about a batch."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from segqa_dicom.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from segqa_dicom.checks.ruleset import RuleSet
    from segqa_dicom.local.batch import Batch
    from segqa_dicom.local.timing import StepCost


def cost_table(title: str, costs: Sequence[StepCost]) -> Table:
    """Where the time went, step by step, and in all."""
    from rich.table import Table

    table = Table("step", title=title, title_justify="left")
    for heading in ("wall s", "CPU s", "share of CPU", "peak RSS MB"):
        table.add_column(heading, justify="right")
    cpu_s = sum(cost.cpu_s for cost in costs)
    for cost in costs:
        share = f"{100 * cost.cpu_s / cpu_s:.0f} %" if cpu_s else ""
        table.add_row(cost.step, f"{cost.wall_s:.3f}", f"{cost.cpu_s:.3f}", share, f"{cost.peak_rss_mb:.0f}")
    table.add_section()
    peak = max((cost.peak_rss_mb for cost in costs), default=0.0)
    table.add_row("all", f"{sum(cost.wall_s for cost in costs):.3f}", f"{cpu_s:.3f}", "", f"{peak:.0f}")
    return table


def tell_of_compiling(step: str, done: int, _total: int) -> None:
    """The one step that takes unexpectedly long, told where there is no bar."""
    from segqa_dicom.local.batch import COMPILING

    if step == COMPILING and done == 0:
        click.echo(f"{step} ...", err=True)


def write_outputs(batch: Batch, ruleset: RuleSet, json_file: str | None, html_file: Path | None) -> None:
    """Write JSON and HTML as the options ask."""
    if json_file is not None:
        text = json.dumps(batch.json(ruleset), indent=2, allow_nan=False)
        if json_file == "-":
            click.echo(text)
        else:
            _write(Path(json_file), text + "\n")
    if html_file is not None:
        from segqa_dicom.report.html import render_not_reviewed, render_page

        left_out = [(str(one.path), one.sop_instance_uid, one.reason) for one in batch.not_reviewed]
        sections = [case.html for case in batch.cases if case.html]
        _write(html_file, render_page([*sections, render_not_reviewed(left_out)] if left_out else sections))


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error


def say_what_was_left_out(batch: Batch, console: Console) -> None:
    """Segmentations by name; the rest by reason and number, because folders are full of other things."""
    from rich.text import Text

    for one in batch.segmentations_left_out:
        console.print(Text(f"not reviewed: {one.path}: {one.reason}", style="bold red"))
    others = [one for one in batch.not_reviewed if not one.is_segmentation]
    for reason, count in Counter(one.reason for one in others).most_common(10):
        first = next(one.path for one in others if one.reason == reason)
        console.print(Text(f"not used: {count} x {reason} ({first}{', ...' if count > 1 else ''})", style="dim"))


def say_where(batch: Batch, out: Path, html_file: Path | None, console: Console) -> None:
    """Name the files that were written."""
    documents = sum(len(case.json["documents"]) for case in batch.cases if case.json)
    if documents:
        console.print(f"{documents} SR documents in {out}")
    if html_file is not None:
        console.print(f"pictures and tables: {html_file}")
