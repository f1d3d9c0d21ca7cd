"""The inbox: a folder of objects that were received and acknowledged, but are not in the archive yet.

A file here is a promise: its sender was told that the object is safe. So a file gets its final name only after its
bytes are on the disk, and the folder is synchronised before the sender is answered; whoever lists the inbox finds whole
files only. There is no list beside the folder that a crash could make wrong.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PARTS = "incoming"
_LOCK = "emptying"
_ENDING = ".dcm"


class Inbox:
    """Objects on their way into the archive. Several processes may write and read it at a time; one empties it.

    folder : is made if it does not exist
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts = folder / _PARTS
        """Where files are written: on the same file system, out of the readers' sight."""
        self.parts.mkdir(parents=True, exist_ok=True)

    def accept(self, part: Path) -> Path:
        """Make a complete file of `parts` durable and visible; only then may its sender be answered.

        The name begins with the time, so that names sort in the order of arrival.
        """
        descriptor = os.open(part, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        target = self.folder / f"{time.time_ns():020d}-{secrets.token_hex(8)}{_ENDING}"
        part.rename(target)
        self._synchronise()
        return target

    def waiting(self, limit: int | None = None) -> list[Path]:
        """The files that wait, oldest first."""
        names = sorted(entry.name for entry in os.scandir(self.folder) if entry.name.endswith(_ENDING))
        return [self.folder / name for name in names[:limit]]

    @contextmanager
    def emptying(self) -> Iterator[bool]:
        """Whether nobody else takes files away, for as long as the context lasts; does not wait for it.

        Who only reads needs none of it, and must be ready for files that are gone.
        """
        with (self.folder / _LOCK).open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def count(self) -> int:
        """How many files wait."""
        return sum(entry.name.endswith(_ENDING) for entry in os.scandir(self.folder))

    def free_bytes(self) -> int:
        """Space left on the disk of the inbox."""
        return shutil.disk_usage(self.folder).free

    def remove_parts(self, prefix: str) -> None:
        """Delete parts of a process that died while it received; its senders were not answered.

        prefix : of the names of its parts; each kind of process has its own, because others may be receiving now
        """
        for part in self.parts.glob(f"{prefix}*"):
            part.unlink(missing_ok=True)

    def _synchronise(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def arrived_at(path: Path) -> float:
    """When a file of the inbox arrived, in seconds since 1970."""
    return int(path.name.partition("-")[0]) / 1e9
