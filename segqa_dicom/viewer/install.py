"""Atomic installation of the viewer."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from segqa_dicom.errors import ConfigurationError
from segqa_dicom.viewer import package
from segqa_dicom.viewer.unpack import unpack

INDEX = "index.html"


@dataclass(frozen=True, slots=True)
class Installed:
    """An installed viewer.

    folder : with its files
    is_new : whether it was installed by this call
    """

    version: str
    folder: Path
    is_new: bool = False


def folder_of(setting: str, data: Path) -> Path:
    """The folder of the viewer: `SEGQA_VIEWER`, else `viewer` in the data folder."""
    return Path(setting).expanduser().absolute() if setting else data / "viewer"


def find_installed(folder: Path) -> Installed | None:
    """The viewer of the supported version below `folder`; None if it is not installed."""
    place = folder / package.VERSION
    return Installed(package.VERSION, place) if (place / INDEX).is_file() else None


def install(folder: Path, file: Path | None = None) -> Installed:
    """Install the viewer below `folder` unless it is installed; an interrupted call leaves nothing that is served.

    file : the package; None = from npm
    Raises `ConfigurationError` (no npm, no space, no permission), `PeerUnavailable` (npm does not get the package),
    `PeerRefused` (another package).
    """
    if found := find_installed(folder):
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=".installing-") as temporary:
            source = file or package.pack(Path(temporary))
            package.check(source)
            unpacked = Path(temporary) / "unpacked"
            unpacked.mkdir()
            unpack(source, unpacked)
            return _put(unpacked, folder)
    except OSError as error:
        advice = (
            "free some: 150 MB are needed" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "give another by --to"
        )
        raise ConfigurationError(f"cannot write to {folder}: {error.strerror}; {advice}") from error


def _put(unpacked: Path, folder: Path) -> Installed:
    place = folder / package.VERSION
    try:
        unpacked.rename(place)
    except OSError:
        if find_installed(folder) is None:
            raise
        return Installed(package.VERSION, place)  # another call was faster
    return Installed(package.VERSION, place, is_new=True)
