"""Installing the viewer, all of it or nothing."""

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
    """The viewer on this disk.

    folder : with its files
    is_new : whether it was installed by this call
    """

    version: str
    folder: Path
    is_new: bool = False


def folder_of(setting: str, data: Path) -> Path:
    """Where the viewer is installed, or would be: what `SEGQA_VIEWER` says, else the data folder's `viewer`."""
    return Path(setting).expanduser().absolute() if setting else data / "viewer"


def find_installed(folder: Path) -> Installed | None:
    """The viewer that was installed below `folder`, in the version that this program knows; None if there is none."""
    place = folder / package.VERSION
    return Installed(package.VERSION, place) if (place / INDEX).is_file() else None


def install(folder: Path, file: Path | None = None) -> Installed:
    """Install the viewer below `folder`, unless it is there; an interrupted call leaves nothing that is served.

    file : the package; None = npm gets it
    Raises `ConfigurationError` (no npm, no space, no right to write), `PeerUnavailable` (npm does not get it),
    `PeerRefused` (it is not the package that was tried).
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
