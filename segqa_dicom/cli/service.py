"""Commands of the service: serve, status, reconcile, replay, quarantine."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from segqa_dicom.errors import ConfigurationError

if TYPE_CHECKING:
    from segqa_dicom.ledger import Case, Ledger
    from segqa_dicom.service import Setup

_Command = TypeVar("_Command", bound=Callable[..., Any])

_EXIT_CODES = """
\b
Exit codes:
  0  done
  1  the archive or the ledger does not answer
  2  the call or a setting is wrong
"""

_SERVE_EPILOG = """
\b
Examples:
  segqa serve                                       folder ./segqa-archive, everything on this machine
  segqa serve --archive http://orthanc:8042/dicom-web --ledger postgresql+psycopg://segqa@db/segqa
  storescu -R -aec SEGQA 127.0.0.1 11112 +sd +r CASE  send it CT and SEG objects, in any order

\b
Exit codes:
  0  ended by Ctrl-C or SIGTERM
  2  it cannot start: the call, a setting, or a port that is taken
"""


def _where(command: _Command) -> _Command:
    """The options that say which archive and which ledger."""
    for option in (
        click.option(
            "--ledger", metavar="URL", help="SQLAlchemy URL of the ledger.  [default: SQLite beside the data]"
        ),
        click.option("--archive", metavar="DIR|URL", help="Folder, or DICOMweb URL.  [default: ./segqa-archive]"),
    ):
        command = option(command)
    return command


def _with_ruleset(command: _Command) -> _Command:
    """The option that says which rules."""
    return click.option(
        "--ruleset",
        "ruleset_file",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        help="TOML with rule parameters to change; SEGQA_RULESET says it to Celery workers, too.",
    )(command)


@click.command(epilog=_SERVE_EPILOG)
@_where
@click.option("--aet", default="SEGQA", show_default=True, help="AE title of the DICOM node.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 = all.")
@click.option("--dicom-port", default=11112, show_default=True, type=click.IntRange(0, 65535), help="0 = a free one.")
@click.option("--http-port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0 = a free one.")
@click.option(
    "--workers",
    default=None,
    metavar="N",
    type=click.IntRange(min=0),
    help="Worker processes, 0.5 to 1.2 GB each.  [default: processors, at most 4; 0 if SEGQA_BROKER is set]",
)
@_with_ruleset
@click.option("--json", "as_json", is_flag=True, help="Say where it listens as one line of JSON.")
@click.option("--quiet", is_flag=True, help="No log lines; only errors.")
def serve(
    archive: str | None,
    ledger: str | None,
    aet: str,
    host: str,
    dicom_port: int,
    http_port: int,
    workers: int | None,
    ruleset_file: Path | None,
    as_json: bool,  # noqa: FBT001
    quiet: bool,  # noqa: FBT001 - click passes options by name
) -> None:
    """Run the service: DICOM node, DICOMweb, reviews of whatever comes in, documents into the archive.

    CT and SEG objects are sent to the node, or stored in the archive by others; a case is reviewed as soon as all
    images that its segmentations refer to are there, and its documents are put beside them. Without options it needs no
    other server: the archive is a folder, the ledger a file. More settings: SEGQA_... variables, see
    docs/reference/settings.md.
    """
    from segqa_dicom.service.loops import Addresses
    from segqa_dicom.service.supervisor import Supervisor

    setup = _setup(archive, ledger, ruleset_file)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("segqa").setLevel(logging.WARNING if quiet else logging.INFO)
    if workers is None:
        workers = 0 if setup.settings.broker else min(os.cpu_count() or 1, 4)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    supervisor = Supervisor(setup, Addresses(aet, host, dicom_port, http_port), workers)
    addresses = supervisor.start(stopped)
    if addresses is None:
        return
    try:
        _say_where(setup, addresses, workers, supervisor.pids(), as_json=as_json)
        supervisor.watch(stopped)
    finally:
        if not as_json:
            click.echo("segqa: ending (cases in work are finished first) ...", err=True)
        supervisor.stop()


def _say_where(setup: Setup, addresses: Any, workers: int, pids: dict[str, int], *, as_json: bool) -> None:
    web = f"http://{addresses.host}:{addresses.http_port}"
    if as_json:
        values = {
            "aet": addresses.ae_title,
            "host": addresses.host,
            "dicom_port": addresses.dicom_port,
            "http_port": addresses.http_port,
            "url": web,
            "archive": setup.archive,
            "ledger": without_password(setup.ledger),
            "workers": workers,
            "pids": pids,
        }
        click.echo(json.dumps(values))
        return
    click.echo(f"DICOM node  {addresses.ae_title} at {addresses.host}:{addresses.dicom_port}")
    click.echo(f"web         {web}  (DICOMweb: {web}/dicom-web)")
    click.echo(f"archive     {setup.archive}")
    click.echo(f"ledger      {without_password(setup.ledger)}")
    by = "Celery" if setup.settings.broker else f"{workers} processes"
    click.echo(f"workers     {by}")
    click.echo("Ctrl-C ends it.")


@click.command(epilog=_EXIT_CODES)
@_where
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(archive: str | None, ledger: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Say how many cases are in which state, what waits, and what happened last."""
    setup = _setup(archive, ledger)
    with _ledger(setup) as opened:
        summary = opened.summary(time.time())
        latest = opened.cases(limit=10)
    inbox = setup.open_inbox().count() if setup.inbox_folder.is_dir() else 0
    values = {
        "archive": setup.archive,
        "ledger": without_password(setup.ledger),
        "inbox": inbox,
        **asdict(summary),
        "latest": [_case_json(case) for case in latest],
    }
    if as_json:
        click.echo(json.dumps(values, indent=2))
        return
    click.echo(f"archive {setup.archive}")
    click.echo(f"ledger  {without_password(setup.ledger)}")
    click.echo("cases   " + (", ".join(f"{n} {state}" for state, n in summary.cases.items() if n) or "none"))
    click.echo("segmentations  " + (", ".join(f"{n} {s}" for s, n in summary.segmentations.items() if n) or "none"))
    click.echo(f"inbox {inbox}, outbox {summary.outbox}, objects in quarantine {summary.quarantined_objects}")
    if summary.oldest_runnable_s is not None:
        click.echo(f"oldest case that could run waits for {summary.oldest_runnable_s:.0f} s")
    _show_cases(latest)


@click.command(epilog=_EXIT_CODES)
@_where
@_with_ruleset
@click.option("--json", "as_json", is_flag=True, help="As JSON: what was repaired.")
def reconcile(archive: str | None, ledger: str | None, ruleset_file: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Compare the archive with the ledger and repair what was lost; makes the ledger anew if there is none.

    Cases that are to be done are noted; running workers (segqa serve, Celery) do them.
    """
    from segqa_dicom.service.coordinator import Coordinator

    setup = _setup(archive, ledger, ruleset_file)
    setup.make_folders()
    with setup.open_ledger() as opened:
        opened.migrate()
    coordinator = Coordinator(setup)
    repaired = coordinator.walk()
    opened_cases = coordinator.schedule_all()
    values = {**repaired.as_json(), "opened": opened_cases}
    if as_json:
        click.echo(json.dumps(values))
    else:
        click.echo(
            f"{values['segmentations']} segmentations were not known, {values['looked_at']} looked at; "
            f"{values['opened']} cases opened, {values['expired']} taken from dead workers, "
            f"{values['replayed']} replayed"
        )


@click.command(epilog=_EXIT_CODES)
@click.argument("case")
@_where
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def replay(case: str, archive: str | None, ledger: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Have CASE (its id, or the beginning of it) reviewed again, also out of quarantine."""
    setup = _setup(archive, ledger)
    with _ledger(setup) as opened:
        replayed = opened.replay(case, now=time.time())
    click.echo(json.dumps(_case_json(replayed)) if as_json else f"{replayed.case_id} is {replayed.state}")


@click.group()
def quarantine() -> None:
    """See what was given up: cases that failed, objects that cannot be used."""


@quarantine.command("list", epilog=_EXIT_CODES)
@_where
@click.option("--json", "as_json", is_flag=True, help="As JSON: cases, objects.")
def list_quarantine(archive: str | None, ledger: str | None, as_json: bool) -> None:  # noqa: FBT001
    """List cases and objects in quarantine, each with its reason."""
    from segqa_dicom.ledger import CaseState

    setup = _setup(archive, ledger)
    with _ledger(setup) as opened:
        cases, objects = opened.cases(CaseState.QUARANTINED, limit=1000), opened.refusals(1000)
    if as_json:
        values = {"cases": [_case_json(case) for case in cases], "objects": [_timed(asdict(one)) for one in objects]}
        click.echo(json.dumps(values, indent=2))
        return
    _show_cases(cases)
    for one in objects:
        click.echo(f"{one.refusal_id}  {one.sop_instance_uid or one.path}  {one.name}: {one.reason}")
    if not cases and not objects:
        click.echo("nothing is in quarantine")


@quarantine.command("show", epilog=_EXIT_CODES)
@click.argument("name", metavar="CASE|OBJECT")
@_where
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show_quarantine(name: str, archive: str | None, ledger: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Show all that is known of a case (by its id) or an object (by its number or SOP Instance UID)."""
    setup = _setup(archive, ledger)
    with _ledger(setup) as opened:
        objects = [one for one in opened.refusals(10_000) if name in (str(one.refusal_id), one.sop_instance_uid)]
        values = _timed(asdict(objects[0])) if objects else _case_json(opened.case(name))
    if as_json:
        click.echo(json.dumps(values, indent=2))
        return
    for key, value in values.items():
        click.echo(f"{key:24} {value if not isinstance(value, list) else ' '.join(map(str, value))}")


COMMANDS: tuple[click.Command, ...] = (serve, status, reconcile, replay, quarantine)


def _setup(archive: str | None, ledger: str | None, ruleset_file: Path | None = None) -> Setup:
    from segqa_dicom.config import ServiceSettings, from_environment
    from segqa_dicom.service import Setup

    setup = Setup.from_settings(from_environment(ServiceSettings), archive=archive, ledger=ledger)
    return setup if ruleset_file is None else replace(setup, ruleset_file=ruleset_file)


def _ledger(setup: Setup) -> Ledger:
    """A ledger that is there already: looking must not make one."""
    path = setup.ledger.removeprefix("sqlite:///")
    if path != setup.ledger and not Path(path).exists():
        raise ConfigurationError(f"there is no ledger at {path}; give --archive or --ledger as for `segqa serve`")
    return setup.open_ledger()


def without_password(url: str) -> str:
    """A URL as it may be shown."""
    from sqlalchemy import make_url

    return make_url(url).render_as_string(hide_password=True)


def _case_json(case: Case) -> dict[str, Any]:
    return _timed(asdict(case))


def _timed(values: dict[str, Any]) -> dict[str, Any]:
    """Times as text that people and programs read (ISO 8601, UTC)."""
    return {
        key: datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds")
        if isinstance(value, float) and key.endswith(("_at", "_until", "_before"))
        else value
        for key, value in values.items()
    }


def _show_cases(cases: list[Case]) -> None:
    for case in cases:
        reason = f": {case.reason}" if case.reason else ""
        n = len(case.segmentations)
        click.echo(
            f"{case.case_id}  {case.state:12} revision {case.revision}, {n} segmentation{'s' if n != 1 else ''}, "
            f"{len(case.documents)} documents{reason}"
        )
