"""Commands of the viewer: install, status."""

from __future__ import annotations

import json
from pathlib import Path

import click

from segqa_dicom.viewer import NAME, VERSION, Installed, find_installed, folder_of
from segqa_dicom.viewer import install as install_viewer

_EPILOG = f"""
\b
Without npm, or without internet, on a machine that has both:
  npm pack {NAME}@{VERSION}
and then here:
  segqa viewer install --from ohif-app-{VERSION}.tgz

\b
Exit codes:
  0  installed, or it was already
  1  npm does not get the package, or it is not the one that was tried
  2  no npm, no space, or the call is wrong
"""
_STATUS_EPILOG = """
\b
Exit codes:
  0  it is installed
  1  it is not
  2  the call is wrong
"""
_ARCHIVE = click.option("--archive", metavar="DIR|URL", help="As for `segqa serve`.  [default: ./segqa-archive]")
_TO = click.option(
    "--to",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Another folder; tell it to the service by SEGQA_VIEWER.  [default: `viewer` in the data folder]",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="As JSON: version, folder, installed, new.")


@click.group()
def viewer() -> None:
    """OHIF at /ohif of the service: install it, see whether it is there."""


@viewer.command(epilog=_EPILOG)
@click.option(
    "--from",
    "file",
    metavar="TARBALL",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The package as a file, instead of by npm.",
)
@_TO
@_ARCHIVE
@_JSON
def install(file: Path | None, folder: Path | None, archive: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Get OHIF by npm, or from a file, check that it is the version that was tried, and unpack it.

    A running service shows it at once.
    """
    installed = install_viewer(_folder(folder, archive), file)
    _say(installed, as_json=as_json)


@viewer.command(epilog=_STATUS_EPILOG)
@_TO
@_ARCHIVE
@_JSON
def status(folder: Path | None, archive: str | None, as_json: bool) -> None:  # noqa: FBT001
    """Say whether the viewer is installed, which version, and where."""
    place = _folder(folder, archive)
    installed = find_installed(place)
    if installed is not None:
        _say(installed, as_json=as_json)
        return
    if as_json:
        click.echo(json.dumps({"version": VERSION, "folder": str(place / VERSION), "installed": False, "new": False}))
    else:
        click.echo(f"OHIF {VERSION} is not installed in {place}; `segqa viewer install` does it")
    raise click.exceptions.Exit(1)


COMMANDS: tuple[click.Command, ...] = (viewer,)


def _folder(folder: Path | None, archive: str | None) -> Path:
    """Where the viewer is: as told, else where the service looks for it."""
    if folder is not None:
        return folder.expanduser().absolute()
    from segqa_dicom.config import ServiceSettings, from_environment
    from segqa_dicom.service import Setup

    setup = Setup.from_settings(from_environment(ServiceSettings), archive=archive)
    return folder_of(setup.settings.viewer, setup.data)


def _say(installed: Installed, *, as_json: bool) -> None:
    if as_json:
        values = {"version": installed.version, "folder": str(installed.folder)}
        click.echo(json.dumps({**values, "installed": True, "new": installed.is_new}))
        return
    done = "installed" if installed.is_new else "is installed already"
    click.echo(f"OHIF {installed.version} {done}: {installed.folder}")
    if installed.is_new:
        click.echo("`segqa serve` shows it at /ohif/")
