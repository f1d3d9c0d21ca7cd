"""What indexes in SQLite files have in common: files that belong together, a lock, and what errors mean."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from segqa_dicom.errors import ConfigurationError, PeerError, PeerUnavailable

_NOT_ALLOWED = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether an error says that the file is no whole index: then it is made anew."""
    code = _code(error)
    # A missing table or column is an index that somebody changed by hand: made anew as well.
    return code.startswith("SQLITE_CORRUPT") or code == "SQLITE_NOTADB" or "no such table" in str(error)


def translated(error: sqlite3.DatabaseError, name: str, path: Path) -> ConfigurationError | PeerError:
    """The error of ours for one of SQLite that is no damage; `name` is what the index is called."""
    if _code(error) in _NOT_ALLOWED:
        return ConfigurationError(f"{name} cannot be opened or written: {path}")
    return PeerUnavailable(f"{name} does not answer ({_code(error) or error})")


def remove_files(path: Path) -> None:
    """Remove an index with the files that SQLite keeps beside it."""
    for ending in ("", "-wal", "-shm"):
        Path(f"{path}{ending}").unlink(missing_ok=True)


@contextmanager
def file_lock(path: Path, *, alone: bool, mode: int) -> Iterator[None]:
    """Hold the lock of a file, alone or with others; waits for it.

    mode : permissions of the file if it is made
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """A transaction that nobody else writes beside; committed at the end, rolled back by an exception."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _code(error: sqlite3.Error) -> str:
    return str(getattr(error, "sqlite_errorname", None) or "")
