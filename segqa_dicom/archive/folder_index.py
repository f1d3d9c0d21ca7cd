"""The index of a folder archive: an SQLite database that can be rebuilt from the files.

A connection belongs to one thread of one process. A rebuild (of a missing or damaged index, or of one of another
version) holds an exclusive lock of the folder; writers of rows share it, so that no row goes into a replaced index.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segqa_dicom.archive.base import Header, Instance
from segqa_dicom.archive.folder_keys import KEYS, REQUEST_KEYS, Level
from segqa_dicom.errors import Inconsistent, PeerUnavailable
from segqa_dicom.sqlite_files import file_lock, is_damage, remove_files, transaction, translated

SCHEMA_VERSION = 2
"""To be raised with each change of the tables or of `folder_keys`; older indexes are rebuilt."""
_BUSY_S = 60
_PARAMETERS = 500
"""UIDs per query; SQLite allows 32,766 parameters, old versions 999."""


def _columns(level: Level) -> str:
    return ", ".join(f"{key.keyword} TEXT NOT NULL DEFAULT ''" for key in KEYS[level])


_SCHEMA = f"""
CREATE TABLE generation (mark TEXT NOT NULL);
INSERT INTO generation VALUES (lower(hex(randomblob(8))));
CREATE TABLE study (id INTEGER PRIMARY KEY, {_columns(Level.STUDY)}, UNIQUE (StudyInstanceUID));
CREATE TABLE series (
  id INTEGER PRIMARY KEY, study INTEGER NOT NULL REFERENCES study, {_columns(Level.SERIES)},
  UNIQUE (SeriesInstanceUID));
CREATE TABLE request (
  series INTEGER NOT NULL REFERENCES series, {", ".join(f"{keyword} TEXT NOT NULL" for keyword in REQUEST_KEYS)},
  PRIMARY KEY (series, {", ".join(REQUEST_KEYS)})) WITHOUT ROWID;
CREATE TABLE instance (
  id INTEGER PRIMARY KEY AUTOINCREMENT, series INTEGER NOT NULL REFERENCES series, {_columns(Level.INSTANCE)},
  TransferSyntaxUID TEXT NOT NULL, digest TEXT NOT NULL, size_bytes INTEGER NOT NULL, UNIQUE (SOPInstanceUID));
CREATE INDEX series_of_study ON series (study);
CREATE INDEX instances_of_series ON instance (series);
CREATE INDEX series_by_modality ON series (Modality);
CREATE INDEX instances_by_class ON instance (SOPClassUID);
CREATE INDEX studies_by_patient ON study (PatientID);
CREATE INDEX studies_by_date ON study (StudyDate);
CREATE INDEX studies_by_accession ON study (AccessionNumber);
"""  # noqa: S608 - our own words


@dataclass(frozen=True, slots=True)
class Entry:
    """The index entry of a new instance.

    digest : SHA-256 of the data set, see `dicom.opening.file_digest`
    """

    instance: Instance
    header: Header
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Row:
    """An instance of the index."""

    instance: Instance
    transfer_syntax_uid: str
    digest: str
    size_bytes: int
    number_of_frames: int


class Index:
    """The database in a file.

    path : of the database; the folder must exist
    rebuild : fills a new index; called under the exclusive lock
    """

    def __init__(self, path: Path, rebuild: Callable[[], object]) -> None:
        self.path = path
        self._rebuild = rebuild
        self._lock_path = path.with_name(path.name + ".lock")
        self._local = threading.local()
        self._connections: dict[threading.Thread, sqlite3.Connection] = {}
        self._guard = threading.Lock()
        self._abandoned: list[sqlite3.Connection] = []
        self._process = os.getpid()
        self._is_rebuilding = threading.local()

    # Connections

    def connection(self) -> sqlite3.Connection:
        """The connection of this thread to the current index."""
        if self._process != os.getpid():  # forked: SQLite forbids to touch, even to close, what the parent had opened
            self._abandoned += self._connections.values()
            self._local, self._connections, self._guard = threading.local(), {}, threading.Lock()
            self._process = os.getpid()
        known: tuple[sqlite3.Connection, int] | None = getattr(self._local, "known", None)
        if known is not None:
            if known[1] == self._inode():
                return known[0]
            self._forget()
        return self._open()

    def close(self) -> None:
        """Close all connections, when no thread uses them any more."""
        if self._process == os.getpid():
            for connection in self._connections.values():
                connection.close()
        self._connections = {}
        self._local = threading.local()

    def _inode(self) -> int:
        try:
            return self.path.stat().st_ino
        except FileNotFoundError:
            return -1

    def _forget(self) -> None:
        connection, _ = self._local.known
        del self._local.known
        with self._guard:
            self._connections.pop(threading.current_thread(), None)
        with suppress(sqlite3.Error):
            connection.close()

    def _open(self) -> sqlite3.Connection:
        if not getattr(self._is_rebuilding, "now", False) and not self._is_sound():
            self._replace()
        connection = self._connect()
        self._local.known = (connection, self._inode())
        with self._guard:
            self._connections[threading.current_thread()] = connection
            for thread in [one for one in self._connections if not one.is_alive()]:
                self._connections.pop(thread).close()
        return connection

    def _connect(self) -> sqlite3.Connection:
        # Each thread has its own; another thread only ever closes it, when its owner has ended, or in `close`.
        connection = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # NORMAL would do for consistency, as the files are the truth. FULL costs one fsync per transaction, and
            # what was answered "stored" is also found after a power failure, without going through all files.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            connection.close()
            raise
        return connection

    def _is_sound(self) -> bool:
        if self._inode() < 0:
            return False
        try:
            connection = self._connect()
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                return False
            raise
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            return bool(version == SCHEMA_VERSION)
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                return False
            raise
        finally:
            connection.close()

    def _replace(self) -> None:
        with self.lock(alone=True):
            if self._is_sound():  # another process did it meanwhile
                return
            remove_files(self.path)
            self._is_rebuilding.now = True
            try:
                connection = self._open()
                connection.executescript(_SCHEMA)
                self._rebuild()
                # Last, so that an interrupted rebuild is repeated.
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                self._forget()
            finally:
                self._is_rebuilding.now = False

    @contextmanager
    def lock(self, *, alone: bool = False) -> Iterator[None]:
        """Hold the lock of the folder, exclusive or shared."""
        if getattr(self._is_rebuilding, "now", False):
            yield  # this thread has it already
            return
        with file_lock(self._lock_path, alone=alone, mode=0o644):
            yield

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn exceptions of SQLite into those of `errors`; a damaged index is removed and rebuilt at the next call."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                self._discard()
                raise PeerUnavailable("the archive's index was damaged and is being rebuilt; try again") from error
            raise translated(error, "index of the archive", self.path) from error

    def _discard(self) -> None:
        """Remove the index that this thread has open, unless it was replaced already."""
        known: tuple[sqlite3.Connection, int] | None = getattr(self._local, "known", None)
        with self.lock(alone=True):
            if known is None or known[1] == self._inode():
                remove_files(self.path)
        if known is not None:
            self._forget()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """An exclusive write transaction, committed at the end, rolled back by an exception."""
        with self.translated():
            self.connection()  # rebuilds the index if necessary, for which it needs the exclusive lock
            with self.lock(), transaction(self.connection()) as connection:
                yield connection

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query."""
        with self.translated():
            return self.connection().execute(sql, parameters).fetchall()

    def find(self, sop_instance_uids: Sequence[str]) -> list[Row]:
        """The archived instances among these."""
        with self.translated():
            return find(self.connection(), sop_instance_uids)

    def arrived_after(self, number: int, limit: int) -> tuple[str, list[tuple[int, Instance]]]:
        """The mark of the index, and instances with a higher row number, in order.

        Numbers are never reused within an index; a rebuilt index has another mark.
        """
        with self.translated():
            connection = self.connection()
            mark = str(connection.execute("SELECT mark FROM generation").fetchone()[0])
            rows = connection.execute(
                "SELECT instance.id, StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, SOPClassUID FROM instance"
                " JOIN series ON series.id = instance.series JOIN study ON study.id = series.study"
                " WHERE instance.id > ? ORDER BY instance.id LIMIT ?",
                (number, limit),
            ).fetchall()
            return mark, [(row[0], Instance(*row[1:])) for row in rows]

    def instances_of(self, study_instance_uid: str, series_instance_uid: str = "") -> list[Row]:
        """Instances of a study or a series, by series and Instance Number."""
        where = "StudyInstanceUID = ?" + (" AND SeriesInstanceUID = ?" if series_instance_uid else "")
        with self.translated():
            return _instances(
                self.connection(), where, [uid for uid in (study_instance_uid, series_instance_uid) if uid]
            )


def find(connection: sqlite3.Connection, sop_instance_uids: Sequence[str]) -> list[Row]:
    """The archived instances among these."""
    found: list[Row] = []
    for start in range(0, len(sop_instance_uids), _PARAMETERS):
        some = sop_instance_uids[start : start + _PARAMETERS]
        found += _instances(connection, f"SOPInstanceUID IN ({','.join('?' * len(some))})", some)
    return found


def _instances(connection: sqlite3.Connection, where: str, parameters: Sequence[str]) -> list[Row]:
    found = connection.execute(
        "SELECT StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID, SOPClassUID, TransferSyntaxUID, digest,"  # noqa: S608
        " size_bytes, NumberOfFrames FROM instance JOIN series ON series.id = instance.series"
        f" JOIN study ON study.id = series.study WHERE {where}"
        " ORDER BY series.id, CAST(InstanceNumber AS INTEGER), SOPInstanceUID",
        parameters,
    )
    return [Row(Instance(*row[:4]), row[4], row[5], row[6], int(row[7] or 1)) for row in found]


def add(connection: sqlite3.Connection, entry: Entry) -> None:
    """Add an instance that is not archived yet.

    Raises `Inconsistent` if its study is archived with another Patient ID, or its series in another study.
    """
    study = _study(connection, entry)
    series = _series(connection, entry)
    if study is None:
        names = [key.keyword for key in KEYS[Level.STUDY]]
        study = connection.execute(_insert("study", names), _values(entry, Level.STUDY)).lastrowid
    if series is None:
        names = [*(key.keyword for key in KEYS[Level.SERIES]), "study"]
        series = connection.execute(_insert("series", names), [*_values(entry, Level.SERIES), study]).lastrowid
        requests = {tuple(request.get(keyword, "") for keyword in REQUEST_KEYS) for request in entry.header.requests}
        rows = [(series, *request) for request in sorted(requests)]
        connection.executemany("INSERT INTO request VALUES (?, ?, ?)", rows)
    names = [*(key.keyword for key in KEYS[Level.INSTANCE]), "series", "TransferSyntaxUID", "digest", "size_bytes"]
    values = [*_values(entry, Level.INSTANCE), series, entry.header.transfer_syntax_uid, entry.digest, entry.size_bytes]
    connection.execute(_insert("instance", names), values)


def _study(connection: sqlite3.Connection, entry: Entry) -> int | None:
    uid = entry.instance.study_instance_uid
    found = connection.execute("SELECT id, PatientID FROM study WHERE StudyInstanceUID = ?", (uid,)).fetchone()
    if found is not None and found[1] != entry.header.values.get("PatientID", ""):
        raise Inconsistent(f"the archive has study {uid} with another Patient ID; correct the object and send it again")
    return found[0] if found else None


def _series(connection: sqlite3.Connection, entry: Entry) -> int | None:
    uid = entry.instance.series_instance_uid
    found = connection.execute(
        "SELECT series.id, StudyInstanceUID FROM series JOIN study ON study.id = study WHERE SeriesInstanceUID = ?",
        (uid,),
    ).fetchone()
    if found is not None and found[1] != entry.instance.study_instance_uid:
        raise Inconsistent(f"the archive has series {uid} in another study; correct the object and send it again")
    return found[0] if found else None


def _values(entry: Entry, level: Level) -> list[object]:
    uids = {
        "StudyInstanceUID": entry.instance.study_instance_uid,
        "SeriesInstanceUID": entry.instance.series_instance_uid,
        "SOPInstanceUID": entry.instance.sop_instance_uid,
        "SOPClassUID": entry.instance.sop_class_uid,
    }
    return [uids.get(key.keyword) or entry.header.values.get(key.keyword, "") for key in KEYS[level]]


def _insert(table: str, names: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608 - our words
