"""Deletion of instances from a folder archive, atomic for each of them.

::

    deleted/abcd…-1234….dcm    a deleted file, named by its SOP Instance UID and its digest
    deleted/abcd….todo         note of a deletion that is not finished: holds the SOP Instance UID

The note is written to disk, then the row of the index is removed, then the file is moved, then the note is removed; so
each row has its file. Notes left by a crash are processed when the archive is opened: if the row exists, nothing had
been done (or the object was stored again), and the note is removed; else the file is moved.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from segqa_dicom.archive.folder_files import synchronise
from segqa_dicom.archive.folder_index import Index, find

_NOTE = ".todo"
_Synchronise = Callable[[Sequence[Path]], None]


class Deletions:
    """The folder `deleted` of an archive.

    path_of : the path of an instance by its SOP Instance UID
    synchronise : waits until the names in folders, or files, are on the disk
    """

    def __init__(
        self, folder: Path, index: Index, path_of: Callable[[str], Path], synchronise: _Synchronise = synchronise
    ) -> None:
        self._folder, self._index, self._path_of, self._synchronise = folder, index, path_of, synchronise
        folder.mkdir(parents=True, exist_ok=True)

    def delete(self, sop_instance_uids: Sequence[str]) -> int:
        """Delete instances; returns the number of those that were archived. Raises `OSError`."""
        rows = self._index.find(sop_instance_uids)
        digests = {row.instance.sop_instance_uid: row.digest for row in rows}
        if not digests:
            return 0
        for uid in digests:
            self._note(uid).write_text(uid, encoding="ascii")
        self._synchronise([*map(self._note, digests), self._folder])
        with self._index.writing() as connection:
            remove(connection, list(digests))
        self._move(digests)
        return len(digests)

    def finish(self) -> None:
        """Finish deletions that a crash interrupted."""
        notes = {path.read_text(encoding="ascii"): "" for path in self._folder.glob(f"*{_NOTE}")}
        if notes:
            self._move({uid: digest for uid, digest in notes.items() if uid})

    def _move(self, digests: dict[str, str]) -> None:
        """Move the files of instances without a row, within a transaction, and remove all notes."""
        with self._index.writing() as connection:
            there = {row.instance.sop_instance_uid for row in find(connection, list(digests))}
            changed = {self._folder}
            for uid, digest in digests.items():
                place = self._path_of(uid)
                if uid not in there and place.exists():
                    changed.add(place.parent)
                    place.rename(self._folder / f"{place.stem}-{digest[:16] or place.stat().st_ino}{place.suffix}")
            self._synchronise(sorted(changed))
        for uid in digests:
            with suppress(FileNotFoundError):
                self._note(uid).unlink()

    def _note(self, uid: str) -> Path:
        return self._folder / f"{self._path_of(uid).stem}{_NOTE}"


def remove(connection: sqlite3.Connection, sop_instance_uids: Sequence[str]) -> None:
    """Remove instances from the index, and the series and studies that they leave empty."""
    connection.executemany("DELETE FROM instance WHERE SOPInstanceUID = ?", [(uid,) for uid in sop_instance_uids])
    empty = "NOT EXISTS (SELECT 1 FROM instance WHERE instance.series = series.id)"
    connection.execute(f"DELETE FROM request WHERE series IN (SELECT id FROM series WHERE {empty})")  # noqa: S608
    connection.execute(f"DELETE FROM series WHERE {empty}")  # noqa: S608 - our own words
    connection.execute("DELETE FROM study WHERE NOT EXISTS (SELECT 1 FROM series WHERE study = study.id)")
