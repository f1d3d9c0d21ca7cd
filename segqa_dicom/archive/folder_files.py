"""The files of a folder archive: paths, atomic writing, hard links."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from segqa_dicom.dicom.opening import file_digest
from segqa_dicom.errors import ConfigurationError, PeerUnavailable

ENDING = ".dcm"
_LEFTOVER_S = 86_400
"""Age of a file in `incoming` whose writer must have died."""
_DISK_THREADS = 16


class Files:
    """The folders of an archive, made if they do not exist.

    linkable : folders, beside `folder` itself, whose files may become files of the archive as hard links
    """

    def __init__(self, folder: Path, linkable: Sequence[Path]) -> None:
        self._objects, self._conflicts = folder / "objects", folder / "conflicts"
        self._incoming = folder / "incoming"
        for part in (self._objects, self._conflicts, self._incoming):
            part.mkdir(parents=True, exist_ok=True)
        self._remove_leftovers()
        self._device = self._objects.stat().st_dev
        self._linkable = tuple(one.resolve() for one in (folder, *linkable))

    def path(self, sop_instance_uid: str) -> Path:
        """The path of an instance, whether it is there or not."""
        name = name_of(sop_instance_uid)
        return self._objects / name[:2] / f"{name}{ENDING}"

    def conflict_path(self, sop_instance_uid: str, digest: str) -> Path:
        """The path of a content that was refused for another with its SOP Instance UID."""
        return self._conflicts / f"{name_of(sop_instance_uid)}-{digest[:16]}{ENDING}"

    def all(self) -> Iterator[Path]:
        """The files of all instances, by name."""
        for folder in sorted(self._objects.iterdir()):
            yield from sorted(path for path in folder.iterdir() if path.name.endswith(ENDING))

    def is_linkable(self, folder: Path) -> bool:
        """Whether files of a folder may become files of the archive."""
        resolved = folder.resolve()
        if not any(resolved.is_relative_to(one) for one in self._linkable):
            return False
        return resolved.stat().st_dev == self._device

    def written(self, content: bytes, temporary: ExitStack) -> Path:
        """A new file with a content, removed at the end of `temporary`."""
        path = self._new(temporary)
        path.write_bytes(content)
        return path

    def copied(self, path: Path, digest: str, temporary: ExitStack) -> Path:
        """A copy of a file, removed at the end of `temporary`; raises `PeerUnavailable` if its digest is another."""
        copy = self._new(temporary)
        shutil.copyfile(path, copy)
        if file_digest(copy) != digest:
            raise PeerUnavailable(f"{path.name} was changed while it was stored; try again when it is complete")
        return copy

    def link(self, path: Path, target: Path, changed: set[Path]) -> None:
        """Link a file that is on the disk to a path of the archive, unless that is taken.

        changed : gets the folders that must be synchronised
        """
        if not target.parent.is_dir():
            target.parent.mkdir(exist_ok=True)
            changed.add(target.parent.parent)
        changed.add(target.parent)
        with suppress(FileExistsError):
            os.link(path, target)

    def _new(self, temporary: ExitStack) -> Path:
        path = self._incoming / f"{secrets.token_hex(16)}{ENDING}"
        temporary.callback(path.unlink, missing_ok=True)
        return path

    def _remove_leftovers(self) -> None:
        for entry in os.scandir(self._incoming):
            try:
                if entry.stat().st_mtime < time.time() - _LEFTOVER_S:
                    Path(entry.path).unlink()
            except FileNotFoundError:  # its writer has just finished
                continue


def name_of(sop_instance_uid: str) -> str:
    """The name of an instance's file without its ending: SHA-256 of its UID, which itself must never become a path."""
    return hashlib.sha256(sop_instance_uid.encode()).hexdigest()


def synchronise(paths: Sequence[Path]) -> None:
    """Wait until files, or the names in folders, are on the disk.

    Several at a time: each waits for the disk to empty its cache, which it does for all of them at once.
    """
    if len(paths) < 2:
        for path in paths:
            _synchronise_one(path)
        return
    with ThreadPoolExecutor(min(len(paths), _DISK_THREADS)) as pool:
        for _ in pool.map(_synchronise_one, paths):
            pass


def _synchronise_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def disk(folder: Path) -> Iterator[None]:
    """Turn `OSError` for an archive's folder into `ConfigurationError` or `PeerUnavailable`."""
    try:
        yield
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise ConfigurationError(f"archive folder {folder} cannot be used ({error.strerror})") from error
    except OSError as error:
        if error.errno == errno.EROFS:
            raise ConfigurationError(f"archive folder {folder} cannot be written ({error.strerror})") from error
        raise PeerUnavailable(f"archive folder {folder} does not work now ({error.strerror})") from error
