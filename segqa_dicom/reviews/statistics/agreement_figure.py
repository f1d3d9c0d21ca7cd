"""The picture of an agreement report: a table of grades of two readers as a heat map, and intervals of kappa.

SVG without scripts, fonts of the reader's machine, readable without colour: every cell and every line has its number.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from segqa_dicom.reviews.statistics.agreement import AgreementReport, Group, Pair
from segqa_dicom.reviews.statistics.estimates import Estimate
from segqa_dicom.reviews.statistics.measures import ACCEPTABLE, GRADES

_CELL, _LEFT, _TOP = 46, 96, 92
_FOREST_LEFT, _SCALE_WIDTH, _ROW = 250, 330, 30
_WIDTH = 860
_DARK, _GREY, _LINE, _BLUE = "#1a1a1a", "#595959", "#bfbfbf", (8, 81, 156)
_STYLE = f'font-family="system-ui, sans-serif" font-size="13" fill="{_DARK}"'
_MOST_STRUCTURES = 40


def agreement_figure(report: AgreementReport) -> str:
    """One heat map for each pair of readers, and below it quadratic kappa of pairs, structures and repeats.

    Pairs with fewer than the minimum of subjects have a heat map, but no kappa. Without pairs a sentence that says so.
    """
    pairs = [*report.overall.pairs, *report.repeats]
    parts: list[str] = []
    top = 0
    for pair in pairs:
        parts.append(_heat_map(pair, top))
        top += _TOP + GRADES * _CELL + 46
    lines = list(_lines(report))
    if lines:
        parts.append(_forest(lines, top))
        top += 70 + _ROW * len(lines) + 50
    if not parts:
        parts.append(f'<text x="16" y="40" {_STYLE}>No two readers have rated the same.</text>')
        top = 70
    title = "Agreement of readers"
    description = "; ".join(_said(name, n, kappa) for name, n, kappa in lines) or "No statistics."
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" width="{_WIDTH}" height="{top}" '
        f'role="img" aria-labelledby="agreement-title agreement-description">'
        f'<title id="agreement-title">{title}</title>'
        f'<desc id="agreement-description">Quadratic kappa: {escape(description)}</desc>'
        f'<rect width="{_WIDTH}" height="{top}" fill="#ffffff"/>{"".join(parts)}</svg>\n'
    )


def name_of_pair(pair: Pair) -> str:
    """``anna, bert``, or ``anna twice`` for the repeats of a reader."""
    return f"{pair.first} twice" if pair.first == pair.second else f"{pair.first}, {pair.second}"


def _lines(report: AgreementReport) -> Iterator[tuple[str, int, Estimate]]:
    """Name, number of subjects and kappa of everything there are statistics for."""
    for pair in (*report.overall.pairs, *report.repeats):
        if pair.statistics:
            yield name_of_pair(pair), pair.n_subjects, pair.statistics.kappa_quadratic
    yield from [line for group in report.structures for line in _lines_of_structure(group)][:_MOST_STRUCTURES]


def _lines_of_structure(group: Group) -> Iterator[tuple[str, int, Estimate]]:
    for pair in group.pairs:
        if pair.statistics:
            yield f"{group.structure}: {name_of_pair(pair)}", pair.n_subjects, pair.statistics.kappa_quadratic


def _heat_map(pair: Pair, top: int) -> str:
    most = max(max(row) for row in pair.table) or 1
    first, second = (pair.first, pair.second) if pair.first != pair.second else ("first reading", "second reading")
    heading = f"{_short(name_of_pair(pair), 60)}: {pair.n_subjects} subjects rated in both"
    turned = f"translate(28 {top + _TOP + GRADES * _CELL}) rotate(-90)"
    parts = [
        f'<text x="16" y="{top + 28}" {_STYLE} font-weight="bold">{escape(heading)}</text>',
        f'<text x="{_LEFT}" y="{top + 56}" {_STYLE}>{escape(_short(second, 40))}: grade</text>',
        f'<text transform="{turned}" {_STYLE}>{escape(_short(first, 28))}: grade</text>',
    ]
    for place in range(GRADES):
        middle = place * _CELL + _CELL // 2
        parts.append(
            f'<text x="{_LEFT + middle}" y="{top + _TOP - 10}" text-anchor="middle" {_STYLE}>{place + 1}</text>'
        )
        parts.append(
            f'<text x="{_LEFT - 12}" y="{top + _TOP + middle + 5}" text-anchor="end" {_STYLE}>{place + 1}</text>'
        )
    for row in range(GRADES):
        for column in range(GRADES):
            parts.append(_cell(pair.table[row][column], most, row, column, top))  # noqa: PERF401 - as the table is read
    parts.append(_acceptable_line(top))
    parts.extend(_facts(pair, top))
    return "".join(parts)


def _cell(count: int, most: int, row: int, column: int, top: int) -> str:
    share = (count / most) ** 0.7
    colour = "#" + "".join(f"{round(255 + (part - 255) * share):02x}" for part in _BLUE)
    x, y = _LEFT + column * _CELL, top + _TOP + row * _CELL
    edge = (_DARK, 2) if row == column else (_LINE, 1)
    ink = "#ffffff" if share > 0.77 else "#000000"  # at least 4.5 to 1
    style = _STYLE.replace(f'fill="{_DARK}"', f'fill="{ink}"')
    return (
        f'<rect x="{x + 1}" y="{y + 1}" width="{_CELL - 2}" height="{_CELL - 2}" fill="{colour}" stroke="{edge[0]}" '
        f'stroke-width="{edge[1]}"/>'
        f'<text x="{x + _CELL // 2}" y="{y + _CELL // 2 + 5}" text-anchor="middle" {style}>{count}</text>'
    )


def _acceptable_line(top: int) -> str:
    """Between the grades that are acceptable and those that are not."""
    place = (ACCEPTABLE - 1) * _CELL
    low, high = top + _TOP, top + _TOP + GRADES * _CELL
    across, down = _LEFT + place, low + place
    return (
        f'<path d="M{across} {low - 4}V{high + 4}M{_LEFT - 4} {down}H{_LEFT + GRADES * _CELL + 4}" stroke="{_GREY}" '
        'stroke-width="2" stroke-dasharray="5 4" fill="none"/>'
    )


def _facts(pair: Pair, top: int) -> Iterator[str]:
    """What stands beside the heat map."""
    x = _LEFT + GRADES * _CELL + 40
    lines = ["5 use as is ... 1 unusable; dashed: acceptable or not"]
    if pair.n_not_assessable:
        lines.append(f"{pair.n_not_assessable} more not assessable for one of them")
    found = pair.statistics
    if found is None:
        lines.append("too few for statistics")
    else:
        is_repeat = pair.first == pair.second
        difference = f"{'second' if is_repeat else pair.second} minus {'first' if is_repeat else pair.first}"
        named = (
            ("exact", found.exact), ("within one step", found.within_one), ("acceptable or not", found.acceptable),
            ("kappa", found.kappa), ("linear kappa", found.kappa_linear), ("quadratic kappa", found.kappa_quadratic),
            ("kappa of acceptable", found.kappa_acceptable), ("Kendall's tau-b", found.tau_b),
            (difference, found.bias),
        )  # fmt: skip
        lines += [f"{name} {_number(estimate)}" for name, estimate in named]
    for place, line in enumerate(lines):
        yield f'<text x="{x}" y="{top + _TOP + 8 + place * 23}" {_STYLE}>{escape(line)}</text>'


def _forest(lines: list[tuple[str, int, Estimate]], top: int) -> str:
    lowest = min([0.0, *(kappa.low for _, _, kappa in lines if kappa.low is not None)])
    start = max(-1.0, -0.25 * -(lowest // 0.25))
    bottom = top + 70 + _ROW * len(lines)

    def x(value: float) -> float:
        return _FOREST_LEFT + (max(value, start) - start) / (1 - start) * _SCALE_WIDTH

    parts = [f'<text x="16" y="{top + 28}" {_STYLE} font-weight="bold">Quadratic kappa, with interval</text>']
    ticks = [start + 0.25 * step for step in range(round((1 - start) / 0.25) + 1)]
    for tick in ticks:
        parts.append(f'<path d="M{x(tick):.1f} {top + 46}V{bottom}" stroke="{_LINE}"/>')
        parts.append(f'<text x="{x(tick):.1f}" y="{bottom + 20}" text-anchor="middle" {_STYLE}>{tick:g}</text>')
    parts.append(f'<path d="M{x(0):.1f} {top + 46}V{bottom}" stroke="{_GREY}" stroke-width="2"/>')
    for place, (name, n, kappa) in enumerate(lines):
        y = top + 64 + place * _ROW
        parts.append(f'<text x="16" y="{y + 4}" {_STYLE}>{escape(_short(name, 26))} ({n})</text>')
        if kappa.low is not None and kappa.high is not None:
            parts.append(f'<path d="M{x(kappa.low):.1f} {y}H{x(kappa.high):.1f}" stroke="#08519c" stroke-width="3"/>')
        if kappa.value is not None:
            parts.append(f'<circle cx="{x(kappa.value):.1f}" cy="{y}" r="5" fill="#08519c" stroke="#ffffff"/>')
        parts.append(
            f'<text x="{_FOREST_LEFT + _SCALE_WIDTH + 20}" y="{y + 4}" {_STYLE}>{escape(_number(kappa))}</text>'
        )
    return "".join(parts)


def _number(estimate: Estimate) -> str:
    if estimate.value is None:
        return f"undefined: {estimate.reason}"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f} (no interval: {estimate.reason})"
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"


def _said(name: str, n: int, kappa: Estimate) -> str:
    return f"{name}, {n} subjects: {_number(kappa)}"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
