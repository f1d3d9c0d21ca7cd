"""The command line ``segqa``.

Exit codes: 0 done, whatever the findings; 1 something could not be reviewed; 2 wrong use.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from segqa_dicom import __version__
from segqa_dicom.cli import terminal
from segqa_dicom.cli.agreement import COMMANDS as COMMANDS_OF_AGREEMENT
from segqa_dicom.cli.agreement import rules as worth_of_rules
from segqa_dicom.cli.findings import COMMANDS as COMMANDS_OF_FINDINGS
from segqa_dicom.cli.output import cost_table, say_what_was_left_out, say_where, tell_of_compiling, write_outputs
from segqa_dicom.cli.reviews import COMMANDS as COMMANDS_OF_REVIEWS
from segqa_dicom.cli.reviews import reviews
from segqa_dicom.cli.service import COMMANDS
from segqa_dicom.cli.viewer import COMMANDS as COMMANDS_OF_VIEWER
from segqa_dicom.errors import ConfigurationError, PeerError
from segqa_dicom.local.processes import Processes

if TYPE_CHECKING:
    from segqa_dicom.checks.ruleset import RuleSet
    from segqa_dicom.config import Settings
    from segqa_dicom.local.batch import Batch, ReviewedCase

DONE, SOME_NOT_REVIEWED, WRONG_USE = 0, 1, 2

_EXIT_CODES = """
\b
Exit codes:
  0  done, whatever the findings
  1  a segmentation was seen that could not be reviewed (each is named)
  2  nothing to review, or the call was wrong
"""

_SELFTEST_EPILOG = """
\b
Example:
  segqa selftest                 the phantom, some seconds
  segqa selftest my-case --json  the phantom, and the CT and SEG objects in a folder

\b
Exit codes:
  0  done, whatever was found
  1  a segmentation, or a case with an error in it, could not be reviewed (each is named)
  2  nothing to review under PATH, or the call was wrong
"""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="segqa")
def cli() -> None:
    """Quality assurance of CT segmentations: DICOM SEG in, DICOM SR (TID 1500) out."""


@cli.command(epilog=_EXIT_CODES)
@click.argument("paths", nargs=-1, metavar="PATH...", type=click.Path(path_type=Path))
@click.option(
    "--out",
    default="./segqa-out",
    show_default=True,
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the SR documents, KIND_<SOP Instance UID>.dcm.",
)
@click.option(
    "--json",
    "json_file",
    is_flag=False,
    flag_value="-",
    metavar="[FILE|-]",
    help="Write everything as JSON to FILE, or to standard output (-, the default).",
)
@click.option(
    "--html",
    "html_file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write one self-contained page with pictures of the findings.",
)
@click.option(
    "--jobs",
    default=None,
    metavar="N",
    type=click.IntRange(min=1),
    help="Cases reviewed at a time, each in a process of 0.5 to 1.2 GB.  [default: processors, at most 4]",
)
@click.option(
    "--ruleset",
    "ruleset_file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML with rule parameters to change; what it does not name keeps its default.",
)
@click.option(
    "--compare",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "pairs", "none"]),
    help="Which compare documents to write: all pairs up to three SEGs on a CT and beyond that against one "
    "reference (auto), all pairs, or none. JSON always has all pairs.",
)
@click.option("--reference", metavar="SEG", help="SEG that the others are compared with: SOP Instance UID or file.")
@click.option(
    "--no-documents",
    is_flag=True,
    help="Write no SR documents: numbers only, for a look before, or for a data set that is not to be changed.",
)
@click.option(
    "--profile",
    is_flag=True,
    help="Say what each step of each case cost: wall and CPU seconds, peak memory. Also in the JSON, as `profile`.",
)
@click.option("--quiet", is_flag=True, help="No progress and no table.")
@click.option("--verbose", is_flag=True, help="One log line per case on standard error.")
def review(
    paths: tuple[Path, ...],
    out: Path,
    json_file: str | None,
    html_file: Path | None,
    jobs: int | None,
    ruleset_file: Path | None,
    compare: Literal["auto", "pairs", "none"],
    reference: str | None,
    no_documents: bool,  # noqa: FBT001
    profile: bool,  # noqa: FBT001
    quiet: bool,  # noqa: FBT001 - click passes options by name
    verbose: bool,  # noqa: FBT001
) -> None:
    """Review every segmentation found under PATH... and write SR documents that say what is wrong with it.

    PATH is a file or a folder with CT and SEG objects, whatever the files are called and however they are nested. Each
    CT series with the segmentations drawn on it is one case.
    """
    if not paths and json_file is not None and Path(json_file).exists():
        paths, json_file = (Path(json_file),), "-"  # "--json PATH": what was meant is a path, not a file to write
    if not paths:
        raise click.UsageError("Missing argument 'PATH...': a file or a folder with CT and SEG objects.")

    if verbose:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    jobs = jobs or min(os.cpu_count() or 1, 4)
    with Processes(jobs) as processes:
        from segqa_dicom.local.batch import Options, run

        console = terminal.console(stderr=json_file == "-")
        options = Options(
            out=out,
            ruleset=_ruleset(ruleset_file),
            settings=_settings(),
            compare=compare,
            reference=reference,
            with_html=html_file is not None,
            with_documents=not no_documents,
            with_profile=profile,
            jobs=jobs,
        )

        def shown(case: ReviewedCase) -> None:
            if not quiet and case.table is not None:
                console.print(case.table)
                console.print()
            if case.costs:
                console.print(cost_table(case.files.name, case.costs))

        with terminal.progress(quiet=quiet, without_terminal=tell_of_compiling) as progress:
            batch = run(paths, options, progress=progress, shown=shown, processes=processes)
    write_outputs(batch, options.ruleset, json_file, html_file)
    if not quiet:
        say_what_was_left_out(batch, console)
        say_where(batch, out, html_file, console)
    if profile:
        console.print(cost_table("before the first case", batch.costs))
    sys.exit(_exit_code(batch))


@cli.command(epilog=_EXIT_CODES)
@click.option(
    "--out",
    default="./segqa-demo",
    show_default=True,
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the phantom (dicom/), its documents (sr/), review.json and review.html.",
)
@click.pass_context
def demo(context: click.Context, out: Path) -> None:
    """Make a torso phantom with two slightly wrong models and review it: see what segqa does, within a minute."""
    from segqa_dicom.phantoms import demo_study

    console = terminal.console()
    console.print("Making the torso phantom and two models with errors ...")
    try:
        demo_study(out / "dicom")
    except OSError as error:
        raise ConfigurationError(f"cannot write to {out}: {error.strerror}") from error
    context.invoke(
        review,
        paths=(out / "dicom",),
        out=out / "sr",
        json_file=str(out / "review.json"),
        html_file=out / "review.html",
        compare="auto",
        no_documents=False,
        profile=False,
        quiet=False,
        verbose=False,
    )


@cli.command(epilog="Exit codes: 0 done, 2 the rule set cannot be used.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option(
    "--ruleset",
    "ruleset_file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML with rule parameters to change.",
)
def rules(as_json: bool, ruleset_file: Path | None) -> None:  # noqa: FBT001
    """List the rules with their parameters and sources."""
    from segqa_dicom.checks import all_rules

    ruleset = _ruleset(ruleset_file)
    rows: list[dict[str, Any]] = [
        {
            "rule": rule.id,
            "title": rule.title,
            "scope": rule.scope.value,
            "severity": rule.severity.value,
            "gate": rule.gate,
            "parameters": dict(ruleset.rules.get(rule.id, {})),
            "enabled": rule.id in ruleset.rules,
            "provisional": rule.id in ruleset.provisional,
            "source": rule.source,
        }
        for rule in all_rules()
    ]
    if as_json:
        click.echo(json.dumps({"version": ruleset.version, "hash": ruleset.hash, "rules": rows}, indent=2))
        return
    from rich.table import Table

    table = Table("rule", "title", "severity", "parameters", "source")
    for row in rows:
        parameters = ", ".join(f"{name}={value:g}" for name, value in row["parameters"].items())
        provisional = " (provisional)" if row["provisional"] else ""
        table.add_row(row["rule"], row["title"], row["severity"], parameters + provisional, row["source"])
    terminal.console().print(table)


@cli.command(epilog=_SELFTEST_EPILOG)
@click.argument("paths", nargs=-1, metavar="[PATH...]", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As JSON: injections, rules, baseline.")
@click.option(
    "--ruleset",
    "ruleset_file",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML with rule parameters to change: what it costs and what it brings.",
)
@click.option("--quiet", is_flag=True, help="No progress.")
def selftest(paths: tuple[Path, ...], as_json: bool, ruleset_file: Path | None, quiet: bool) -> None:  # noqa: FBT001
    """Put known errors into a torso phantom, and into the cases under PATH..., and say which rules find them.

    Each error is made alone, in one segmentation of the case, and reviewed with the others beside it; it counts as
    found if a rule that is there for it complains about the wrong structure and did not before. Nothing is written.
    """
    with terminal.progress(quiet=quiet, without_terminal=tell_of_compiling) as progress:
        from segqa_dicom.jit import is_compiled
        from segqa_dicom.selftest import run_selftest

        ruleset, limits = _ruleset(ruleset_file), _settings().limits()
        if not is_compiled():
            from segqa_dicom.local.batch import COMPILING

            progress(COMPILING, 0, 1)
        result = run_selftest(paths, ruleset, limits, progress=progress)
    from segqa_dicom.selftest.show import as_json as to_json
    from segqa_dicom.selftest.show import tables

    if as_json:
        click.echo(json.dumps(to_json(result), indent=2, allow_nan=False))
    else:
        terminal.console().print(tables(result))
    for one in result.not_reviewed:
        if one.is_segmentation:
            click.echo(f"not reviewed: {one.path}: {one.reason}", err=True)
    sys.exit(DONE if result.is_complete else SOME_NOT_REVIEWED)


def _settings() -> Settings:
    from segqa_dicom.config import Settings, from_environment

    return from_environment(Settings)


def _ruleset(path: Path | None) -> RuleSet:
    from segqa_dicom.checks.ruleset import default_ruleset, ruleset_from_toml

    if path is None:
        return default_ruleset()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"rule set {path} cannot be read: {error}") from error
    return ruleset_from_toml(text, path)


def _exit_code(batch: Batch) -> int:
    if batch.segmentations_left_out:
        return SOME_NOT_REVIEWED
    if not any(case.json for case in batch.cases):
        click.echo("nothing to review: no DICOM segmentation was found", err=True)
        return WRONG_USE
    return DONE


for _command in (*COMMANDS, *COMMANDS_OF_FINDINGS, *COMMANDS_OF_REVIEWS, *COMMANDS_OF_VIEWER, *COMMANDS_OF_AGREEMENT):
    cli.add_command(_command)
reviews.add_command(worth_of_rules)


def main() -> None:
    """Entry point: errors that the user can mend end with a sentence and exit code 2, never with a traceback."""
    try:
        cli()
    except ConfigurationError as error:
        click.echo(f"segqa: {error}", err=True)
        sys.exit(WRONG_USE)
    except PeerError as error:
        click.echo(f"segqa: {error}", err=True)
        sys.exit(SOME_NOT_REVIEWED)
    except KeyboardInterrupt:
        click.echo("segqa: interrupted", err=True)
        sys.exit(130)
