"""Commands about what readers say: agreement, and the worth of rules (`segqa reviews rules`)."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from rich.table import Table as ShownTable

    from segqa_dicom.reviews.exchange.tables import Table
    from segqa_dicom.reviews.statistics.agreement import AgreementReport, Group, Pair, Rating
    from segqa_dicom.reviews.statistics.estimates import Estimate
    from segqa_dicom.reviews.statistics.rule_performance import RuleWorth, Sample

_EPILOG = """
\b
Examples:
  segqa agreement                                  what readers have signed in the archive
  segqa agreement --csv aimi_lung_ct_qa.csv        a table, without any archive
  segqa agreement --csv anna=a/annotations.csv --csv bert=b/annotations.csv --minor-changes 3

\b
Exit codes:
  0  done
  1  some lines of a table could not be used (each is named), or the archive does not answer
  2  the call is wrong, or there is no such table
"""

_RULES_EPILOG = """
\b
Examples:
  segqa reviews rules
  segqa reviews rules --propose proposal.toml
  segqa review my-case --ruleset proposal.toml

\b
Exit codes:
  0  done
  1  the archive or the ledger does not answer
  2  the call or a setting is wrong
"""


@click.command(epilog=_EPILOG)
@click.option(
    "--csv",
    "tables",
    multiple=True,
    metavar="[NAME=]FILE",
    help="Ratings of a table instead of those in the archive; NAME is the reader if the table names none. "
    "Several times = together.",
)
@layout_option
@minor_changes_option
@where
@click.option("--structure", "structures", multiple=True, metavar="NAME", help="Only this one; several times = any.")
@click.option("--reader", "readers", multiple=True, metavar="NAME", help="Only this one; several times = these.")
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
@click.option(
    "--svg",
    "svg_file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A picture: tables of grades, and intervals of kappa.",
)
@click.option("--seed", default=1, show_default=True, type=click.IntRange(min=0), help="Of the resamples.")
@click.option("--resamples", default=2000, show_default=True, type=click.IntRange(100, 100_000), metavar="N")
@click.option(
    "--minimum",
    default=10,
    show_default=True,
    type=click.IntRange(min=2),
    metavar="N",
    help="Subjects in common; with fewer there are counts only.",
)
def agreement(
    tables: Sequence[str],
    layout: str | None,
    minor_changes: str | None,
    archive: str | None,
    ledger: str | None,
    structures: Sequence[str],
    readers: Sequence[str],
    as_json: bool,  # noqa: FBT001 - click passes options by name
    svg_file: Path | None,
    seed: int,
    resamples: int,
    minimum: int,
) -> None:
    """Say how far readers agree with each other and with themselves, with confidence intervals.

    From what they have signed in the archive, or from tables of ratings.
    """
    from segqa_dicom.reviews.statistics.agreement import agreement as agreement_of
    from segqa_dicom.reviews.statistics.agreement import as_json as to_json

    if tables:
        ratings, has_problems = _ratings_of_files(tables, layout, minor_changes)
    else:
        ratings, has_problems = _ratings_of_archive(archive, ledger), False
    report = agreement_of(
        ratings, seed=seed, resamples=resamples, minimum=minimum, readers=readers, structures=structures
    )
    if svg_file is not None:
        from segqa_dicom.reviews.statistics.agreement_figure import agreement_figure

        write_text(svg_file, agreement_figure(report))
    if as_json:
        click.echo(json.dumps(to_json(report), indent=2, allow_nan=False))
    else:
        _show(report)
    sys.exit(1 if has_problems else 0)


@click.command(name="rules", epilog=_RULES_EPILOG)
@where
@click.option(
    "--ruleset",
    "ruleset_file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The rules in use, for proposals.  [default: as for `segqa serve`]",
)
@click.option(
    "--propose",
    "proposal_file",
    metavar="FILE|-",
    help="Write the changes of the rules that the reviews suggest, for --ruleset; a difference is shown.",
)
@click.option("--json", "as_json", is_flag=True, help="Everything as JSON.")
def rules(
    archive: str | None,
    ledger: str | None,
    ruleset_file: Path | None,
    proposal_file: str | None,
    as_json: bool,  # noqa: FBT001 - click passes options by name
) -> None:
    """Say which rules are worth it: how often readers agree with their complaints.

    Only reviewed segments count, and readers review the worst first: the counts of both are shown.
    """
    from segqa_dicom.reviews.statistics.rule_evidence import evidence
    from segqa_dicom.reviews.statistics.rule_performance import as_json as to_json
    from segqa_dicom.reviews.statistics.rule_performance import rule_worth
    from segqa_dicom.reviews.statistics.rule_set_proposal import difference, proposal

    with open_components(archive, ledger) as components:
        setup = components.setup if ruleset_file is None else replace(components.setup, ruleset_file=ruleset_file)
        ruleset = setup.ruleset()
        components.signed_reviews.refresh()
        found = evidence(components.index, components.signed_reviews.current(), ruleset.vocabulary)
    worths = rule_worth(found.sample)
    if as_json:
        click.echo(json.dumps(to_json(found.sample, worths), indent=2, allow_nan=False))
    elif proposal_file != "-":
        _show_rules(found.sample, worths)
    if proposal_file is None:
        return
    text = proposal(worths, ruleset, sample=found.sample, outcomes=found.outcomes)
    if proposal_file == "-":
        click.echo(text, nl=False)
        return
    write_text(Path(proposal_file), text)
    if not as_json:
        current = setup.with_rules().rules or ""
        click.echo(difference(current, text) or "the proposal changes nothing")


COMMANDS: tuple[click.Command, ...] = (agreement,)


def _ratings_of_files(files: Sequence[str], layout: str | None, minor_changes: str | None) -> tuple[list[Rating], bool]:
    """All ratings in tables, and whether some lines could not be used; these are told on standard error."""
    from segqa_dicom.reviews.statistics.agreement import ratings_of_tables

    found: list[tuple[str, Table]] = []
    for given in files:
        reader, path = _reader_and_path(given)
        table = read_ratings(
            path, layout=layout, reader=reader, minor_changes=minor_changes, reader_option=f"--csv NAME={path}"
        )
        for problem in table.problems:
            click.echo(f"{path.name}, line {problem.line}: {problem.message}", err=True)
        found.append((path.name, table))
    return ratings_of_tables(found), any(table.problems for _, table in found)


def _reader_and_path(given: str) -> tuple[str, Path]:
    name, equals, file = given.partition("=")
    return (name, Path(file)) if equals and not Path(given).exists() else ("", Path(given))


def _ratings_of_archive(archive: str | None, ledger: str | None) -> list[Rating]:
    from segqa_dicom.reviews.statistics.ratings import all_ratings

    with open_components(archive, ledger) as components:
        components.signed_reviews.refresh()
        return all_ratings(
            components.signed_reviews.current(), components.ledger.imported(is_waiting=True), components.index
        )


def _show(report: AgreementReport) -> None:
    console = terminal.console()
    console.print(f"{report.n_ratings} ratings of {report.overall.n_subjects} subjects with grades")
    if not report.readers:
        return
    console.print(_readers(report))
    groups = [group for group in (report.overall, *report.structures) if group.pairs]
    if groups:
        console.print(_pairs(groups, report.repeats, report.minimum))
        console.print(_together(groups))
    else:
        console.print("no two readers have rated the same")
    for note in report.notes:
        console.print(note)


def _readers(report: AgreementReport) -> ShownTable:
    table = _new_table("Readers", ("reader",), ("graded", "not assessable", "mean", "acceptable", "shared", "bias"))
    for one in report.readers:
        table.add_row(
            _plain(one.reader),
            str(one.n_rated),
            str(one.n_not_assessable),
            "" if one.mean is None else f"{one.mean:.2f}",
            _number(one.acceptable),
            str(one.n_shared),
            _number(one.bias, sign="+"),
        )
    table.caption = "bias: own grade minus the mean grade of the others; acceptable: 4 or 5"
    return table


def _pairs(groups: Sequence[Group], repeats: Sequence[Pair], minimum: int) -> ShownTable:
    headings = ("n", "exact", "within one", "kappa", "quadratic kappa", "acceptable", "its kappa", "tau-b", "bias (p)")
    table = _new_table("Pairs of readers", ("structure", "readers"), headings)
    rows = [
        (group.structure or "all", f"{pair.first}, {pair.second}", pair) for group in groups for pair in group.pairs
    ]
    for structure, names, pair in [*rows, *(("all", f"{pair.first} twice", pair) for pair in repeats)]:
        table.add_row(_plain(structure), _plain(names), str(pair.n_subjects), *_statistics(pair, minimum))
    table.caption = (
        "kappa: Cohen's; words after Landis and Koch; bias: second minus first, p of Wilcoxon's signed-rank test"
    )
    return table


def _statistics(pair: Pair, minimum: int) -> list[str]:
    found = pair.statistics
    if found is None:
        return [f"fewer than {minimum}"]
    rank = found.signed_rank
    return [
        _number(found.exact),
        _number(found.within_one),
        _number(found.kappa),
        _with_word(found.kappa_quadratic),
        _number(found.acceptable),
        _number(found.kappa_acceptable),
        _number(found.tau_b),
        _number(found.bias, sign="+") + ("" if rank.p is None else f"\np {rank.p:.2g}"),
    ]


def _together(groups: Sequence[Group]) -> ShownTable:
    headings = ("n of two or more", "alpha, ordinal", "alpha, nominal", "alpha, interval", "n of all", "Fleiss' kappa")
    table = _new_table("All readers together", ("structure",), headings)
    for group in groups:
        table.add_row(
            _plain(group.structure or "all"),
            str(group.n_several),
            _number(group.alpha_ordinal),
            _number(group.alpha_nominal),
            _number(group.alpha_interval),
            str(group.n_complete),
            _number(group.fleiss),
        )
    table.caption = "alpha: Krippendorff's; Fleiss' kappa of three or more readers where all have graded"
    return table


def _show_rules(sample: Sample, worths: Sequence[RuleWorth]) -> None:
    console = terminal.console()
    headings = (
        "complaints", "faulty", "precision", "recall", "lift", "same matter", "alone", "of them faulty", "not reviewed",
    )  # fmt: skip
    table = _new_table("Rules against readers", ("rule", "title"), headings)
    for one in worths:
        table.add_row(
            one.rule,
            _plain(one.title),
            str(one.n_complained),
            str(one.n_true),
            _number(one.precision),
            _number(one.recall),
            "" if one.lift is None else f"{one.lift:.2f}",
            "" if one.n_matched is None else f"{one.n_matched} of {one.n_true}",
            str(one.n_alone),
            str(one.n_alone_true),
            str(one.n_not_reviewed),
        )
    table.caption = (
        "lift: precision over the share of faulty segments; same matter: readers name an error such as the rule means;"
        " alone: no other rule complains"
    )
    console.print(table)
    for note in sample.notes:
        console.print(note)


def _new_table(title: str, texts: Sequence[str], numbers: Sequence[str]) -> ShownTable:
    from rich.table import Table

    table = Table(title=title, title_justify="left", caption_justify="left")
    for heading in texts:
        table.add_column(heading)
    for heading in numbers:
        table.add_column(heading, justify="right")
    return table


def _plain(text: str) -> str:
    """Names are no markup."""
    from rich.markup import escape

    return escape(text)


def _number(estimate: Estimate | None, *, sign: str = "") -> str:
    """The number, and below it the ends of its interval, or why there is none."""
    if estimate is None:
        return ""
    if estimate.value is None:
        return f"undefined: {estimate.reason}"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:{sign}.2f}\n{estimate.reason}"
    return f"{estimate.value:{sign}.2f}\n{estimate.low:.2f}, {estimate.high:.2f}"


def _with_word(kappa: Estimate) -> str:
    from segqa_dicom.reviews.statistics.measures import landis_koch

    words = "" if kappa.value is None or kappa.low is None else f"\n{landis_koch(kappa.value)}"
    return _number(kappa) + words
