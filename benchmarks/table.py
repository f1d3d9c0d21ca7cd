"""Results as tables: for the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.agreement import Agreement
from benchmarks.results import Limit, Results, Row, Timing, titles

ROW_TITLES = (
    "step", "ours CPU / wall s", "ours MB", "peer", "peer CPU / wall s", "peer MB", "ratio", "target", "reached",
    "numbers", "",
)  # fmt: skip
LIMIT_TITLES = ("segqa", "measured", "target", "reached", "")


def cells(row: Row) -> list[str]:
    """One row as text."""
    return [
        row.title,
        _times(row.ours),
        _memory(row.ours),
        row.peer or "-",
        _times(row.peer_timing),
        _memory(row.peer_timing),
        "-" if row.ratio is None else f"{row.ratio:.1f}",
        "-" if row.target is None else f">= {row.target:g}",
        _yes(reached=row.is_reached),
        numbers(row.agreement),
        row.note,
    ]


def limit_cells(limit: Limit) -> list[str]:
    """One limit as text."""
    bound = "-" if limit.bound is None else f"{'>=' if limit.at_least else '<='} {limit.bound:g} {limit.unit}"
    measured = "?" if limit.value is None else f"{_digits(limit.value)} {limit.unit}"
    return [limit.title, measured, bound, _yes(reached=limit.is_reached), limit.note]


def numbers(agreement: Agreement | None) -> str:
    """The largest difference, and over how many values."""
    if agreement is None:
        return "-"
    if not agreement.values:
        return agreement.where or "nothing in common"
    words = "equal" if agreement.largest == 0 else f"<= {agreement.largest:.2g}"
    text = f"{words} over {agreement.values:,}"
    if agreement.undefined:
        text += f", {agreement.undefined} undefined in one"
    return text if agreement.is_good in (True, None) else f"DIFFER: {text} ({agreement.where})"


def markdown(results: Results) -> str:
    """The tables, below a line on the machine."""
    lines = [_machine(results), ""]
    for study in titles(results.rows):
        lines += [_study(results, study), "", *_markdown_table(ROW_TITLES, [cells(r) for r in _of(results, study)]), ""]
    if results.limits:
        lines += _markdown_table(LIMIT_TITLES, [limit_cells(one) for one in results.limits])
    return "\n".join(lines).rstrip() + "\n"


def show(results: Results, console: Console) -> None:
    """The tables on the terminal."""
    console.print(_machine(results))
    for study in titles(results.rows):
        _show_table(_study(results, study), ROW_TITLES, [cells(row) for row in _of(results, study)], console)
    if results.limits:
        _show_table("fresh processes", LIMIT_TITLES, [limit_cells(one) for one in results.limits], console)


def _show_table(title: str, names: Sequence[str], rows: Sequence[Sequence[str]], console: Console) -> None:
    table = Table(*names, title=title, title_justify="left", show_lines=False)
    for row in rows:
        style = "red" if "NO" in row else None
        table.add_row(*row, style=style)
    console.print(table)


def _markdown_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(names)} |", "|" + "---|" * len(names), *(f"| {' | '.join(row)} |" for row in rows)]


def _of(results: Results, study: str) -> list[Row]:
    return [row for row in results.rows if row.study == study]


def _machine(results: Results) -> str:
    facts = results.machine
    return (
        f"{facts['date']}: {facts['processor']}, {facts['cores']} cores, {facts['memory_gb']} GB, "
        f"Python {facts['python']}; load {facts['load']} before, {facts.get('load_after')} after; "
        "medians, MB = anonymous memory that a run adds, ratio = CPU time of the peer over ours"
    )


def _study(results: Results, name: str) -> str:
    facts = next(entry for entry in results.inputs if entry["name"] == name)
    slices, rows, columns = facts["shape"]
    frames = ", ".join(f"{count:,}" for count in facts["frames"])
    return f"{name}: {columns} x {rows} x {slices}, {facts['structures']} structures, SEGs of {frames} frames"


def _times(timing: Timing | None) -> str:
    return "-" if timing is None else f"{_digits(timing.cpu_s)} / {_digits(timing.wall_s)}"


def _memory(timing: Timing | None) -> str:
    return "-" if timing is None or timing.added_mb is None else f"{timing.added_mb:.0f}"


def _digits(value: float) -> str:
    return (
        f"{value:.3f}"
        if value < 1
        else f"{value:.2f}"
        if value < 10
        else f"{value:.1f}"
        if value < 100
        else f"{value:.0f}"
    )


def _yes(*, reached: bool | None) -> str:
    return "-" if reached is None else "yes" if reached else "NO"
