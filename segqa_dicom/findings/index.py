"""The index of what SRs say: an SQLite file in the data folder that may be deleted at any time.

Plain `sqlite3`, as the index of the folder archive and for its reasons: it is a file of one host, it is made anew
rather than migrated, and its questions are SQL that is fitted to its indexes. Codes, texts and UIDs are kept once and
referred to by number, because the same few thousand of them make up millions of items.

Every question and every change opens a connection of its own, so that threads, forks and a file that was replaced need
no care. What replaces the file holds a lock alone, everything else shares it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segqa_dicom.errors import ConfigurationError, PeerUnavailable
from segqa_dicom.findings.adding import Words, add_document, remove_document
from segqa_dicom.findings.schema import SCHEMA, SCHEMA_VERSION, json_list
from segqa_dicom.sqlite_files import file_lock, is_damage, remove_files, transaction, translated
from segqa_dicom.sr.content import Document

_BUSY_S = 60
_MAPPED_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class SegmentationName:
    """What a SEG is called, and what made it."""

    sop_instance_uid: str
    series_description: str = ""
    manufacturer: str = ""
    model: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is in the index."""

    documents: int
    groups: int
    items: int
    refused: int


class FindingsIndex:
    """The index in a file; made empty if it is not there, is damaged, or is of another version.

    path : of the file; its folder must exist
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_path = path.with_name(path.name + ".lock")

    # ------------------------------------------------------------------------------------------------- changing it

    def add(self, documents: Iterable[Document]) -> int:
        """Add documents that are not there yet, in one transaction; returns how many those were."""
        with self.writing() as connection:
            words = Words(connection)
            return sum(add_document(connection, words, document) for document in documents)

    def remove(self, sop_instance_uids: Iterable[str]) -> int:
        """Remove documents, and what is remembered of refused ones; returns how many documents were there."""
        with self.writing() as connection:
            return sum(remove_document(connection, uid) for uid in dict.fromkeys(sop_instance_uids))

    def refuse(self, reasons: Mapping[str, str]) -> None:
        """Remember objects (SOP Instance UID -> reason) that cannot be read, so that they are not tried again."""
        with self.writing() as connection:
            connection.executemany("INSERT OR REPLACE INTO refused VALUES (?, ?)", reasons.items())

    def name_segmentations(self, names: Iterable[SegmentationName]) -> None:
        """Remember what SEGs are called."""
        rows = [(n.sop_instance_uid, n.series_description, n.manufacturer, n.model, n.version) for n in names]
        with self.writing() as connection:
            connection.executemany("INSERT OR REPLACE INTO segmentation VALUES (?, ?, ?, ?, ?)", rows)

    def set_cursor(self, feed: str, position: str) -> None:
        """Remember how far a feed was read."""
        with self.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO cursor VALUES (?, ?)", (feed, position))

    # --------------------------------------------------------------------------------------------------- asking it

    def cursor(self, feed: str) -> str:
        """How far a feed was read; empty = not at all."""
        rows = self.rows("SELECT position FROM cursor WHERE feed = ?", (feed,))
        return str(rows[0][0]) if rows else ""

    def is_filled(self) -> bool:
        """Whether the archive was looked into at all since the index was made."""
        return bool(self.rows("SELECT 1 FROM cursor LIMIT 1"))

    def known(self, sop_instance_uids: Iterable[str]) -> set[str]:
        """Those of the objects that are there, or that were refused."""
        found: set[str] = set()
        wanted = json_list(sop_instance_uids)
        for table in ("document", "refused"):
            sql = f"SELECT sop_instance_uid FROM {table} WHERE sop_instance_uid IN (SELECT value FROM json_each(?))"  # noqa: S608
            found |= {row[0] for row in self.rows(sql, (wanted,))}
        return found

    def documents(self) -> set[str]:
        """SOP Instance UIDs of all documents, and of what was refused."""
        return {
            row[0]
            for row in self.rows("SELECT sop_instance_uid FROM document UNION SELECT sop_instance_uid FROM refused")
        }

    def refused(self) -> dict[str, str]:
        """Objects that could not be read, with the reason."""
        return dict(self.rows("SELECT sop_instance_uid, reason FROM refused ORDER BY sop_instance_uid"))

    def unnamed_segmentations(self, limit: int) -> list[str]:
        """SOP Instance UIDs of SEGs that groups are about, and of which it is not known what they are called."""
        sql = (
            "SELECT value FROM text WHERE id IN (SELECT segmentation FROM measurement_group WHERE segmentation != 0)"
            " AND value NOT IN (SELECT sop_instance_uid FROM segmentation) LIMIT ?"
        )
        return [row[0] for row in self.rows(sql, (limit,))]

    def size_of_documents(self) -> int:
        """Number of documents, and of what was refused."""
        return int(self.rows("SELECT (SELECT COUNT(*) FROM document) + (SELECT COUNT(*) FROM refused)")[0][0])

    def size(self) -> Size:
        """How much is in it."""
        tables = ("document", "measurement_group", "item", "refused")
        counts = [self.rows(f"SELECT COUNT(*) FROM {table}")[0][0] for table in tables]  # noqa: S608 - our own words
        return Size(counts[0], counts[1] - counts[0], counts[2], counts[3])

    def rows(self, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()) -> list[tuple[Any, ...]]:
        """Rows of a question."""
        with self.reading() as connection:
            return connection.execute(sql, parameters).fetchall()

    # ------------------------------------------------------------------------------------------------ connections

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state of the index for as long as the context lasts."""
        with self._translated(), self._open() as connection:
            connection.execute("BEGIN")
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that nobody else writes beside; committed at the end, rolled back by an exception."""
        with self._translated(), self._open() as connection, transaction(connection):
            yield connection

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        for _ in range(3):
            with self._lock(), ExitStack() as open_ones:
                if (connection := self._sound(open_ones)) is not None:
                    yield connection
                    return
            self._make_anew()
        raise PeerUnavailable(f"the index of findings is replaced again and again: {self.path}")

    def _sound(self, open_ones: ExitStack) -> sqlite3.Connection | None:
        """A connection to the index, if that is there, whole and of this version."""
        if not self.path.exists():
            return None
        try:
            connection = open_ones.enter_context(closing(self._connect()))
            version = connection.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                return None
            raise
        return connection if version == SCHEMA_VERSION else None

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY_S, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # What a power failure takes away is found again in the archive: the cursor goes back as well.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(f"PRAGMA mmap_size = {_MAPPED_BYTES}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _make_anew(self) -> None:
        with self._lock(alone=True), ExitStack() as open_ones:
            if self._sound(open_ones) is not None:  # another process did it meanwhile
                return
            open_ones.close()
            remove_files(self.path)
            os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))  # texts may name people
            with closing(self._connect()) as connection:
                connection.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")

    @contextmanager
    def _lock(self, *, alone: bool = False) -> Iterator[None]:
        with file_lock(self._lock_path, alone=alone, mode=0o600):
            yield

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn exceptions of SQLite and the file system into ours; a damaged index is made anew at the next call."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                with self._lock(alone=True):
                    remove_files(self.path)
                raise PeerUnavailable("the index of findings was damaged and is being made anew; try again") from error
            raise translated(error, "index of findings", self.path) from error
        except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
            raise ConfigurationError(f"index of findings cannot be used: {self.path} ({error.strerror})") from error
