"""The embedded archive: a folder of DICOM files with an SQLite index.

::

    objects/ab/abcd….dcm     the objects, named by the SHA-256 of their SOP Instance UID: no UID becomes a path
    conflicts/               contents that were refused because another one has their SOP Instance UID
    deleted/                 deleted objects, see `folder_deletion`
    incoming/                files being written
    index.sqlite3            rebuilt from `objects` when it is missing, damaged or of another version

A file gets its name when its bytes are on the disk, and its row in the index after that. So each row has its file; a
file without a row was left by a crash, its sender got no answer, and it is used when the object is sent again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from segqa_dicom import log
from segqa_dicom.archive.base import Header, Instance, Outcome, Outgoing, Series, Stored
from segqa_dicom.archive.content import content_digest, same_content
from segqa_dicom.archive.folder_deletion import Deletions, remove
from segqa_dicom.archive.folder_files import ENDING, Files, disk, name_of, synchronise
from segqa_dicom.archive.folder_index import Entry, Index, Row, add, find
from segqa_dicom.archive.folder_keys import JsonAttribute, identity, read_header
from segqa_dicom.archive.folder_search import Question, answer
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import file_digest, untranslated_file_digest
from segqa_dicom.errors import Inconsistent, InputError
from segqa_dicom.progress import Progress, silent

_BATCH = 500
_DIGEST_THREADS = 2


@dataclass(frozen=True, slots=True)
class Reindexed:
    """Result of `FolderArchive.reindex`: all files, rows added and removed, and files that cannot be indexed."""

    files: int
    added: int
    removed: int
    unusable: int


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An object that can be stored, in a file that does not change.

    is_new : whether the file was just written, and is not on the disk yet
    """

    path: Path
    entry: Entry
    is_new: bool


class FolderArchive:
    """An archive in a folder, with the layout described in the module.

    Safe for several threads and processes of one machine, and for forks.

    folder : created if it does not exist
    linkable : folders, beside `folder` itself, whose files are on the disk and never changed (an inbox, an outbox);
        what lies there is stored as a hard link and not as a copy
    limits : objects above them are refused

    Raises `ConfigurationError` if the folder cannot be made or written.
    """

    def __init__(self, folder: Path, *, linkable: Sequence[Path] = (), limits: Limits | None = None) -> None:
        self.folder = folder
        self._limits = limits or Limits()
        with disk(folder):
            self._files = Files(folder, linkable)
        self._index = Index(folder / "index.sqlite3", self._fill)
        with disk(folder):
            self._index.rows("SELECT 1 FROM study LIMIT 1")
            self._deletions = Deletions(folder / "deleted", self._index, self._files.path)
            self._deletions.finish()

    def close(self) -> None:
        """Close the index, when no thread uses the archive any more."""
        self._index.close()

    # Queries

    def list_series(
        self,
        *,
        study_instance_uid: str | None = None,
        series_instance_uid: str | None = None,
        modality: str | None = None,
    ) -> list[Series]:
        """As `Archive.list_series`."""
        given = (
            ("StudyInstanceUID", study_instance_uid),
            ("SeriesInstanceUID", series_instance_uid),
            ("Modality", modality),
        )
        conditions = [(column, value) for column, value in given if value is not None]
        where = " AND ".join(f"{column} = ?" for column, _ in conditions) or "1"
        with disk(self.folder):
            rows = self._index.rows(
                "SELECT StudyInstanceUID, SeriesInstanceUID, Modality,"  # noqa: S608 - columns named above
                " (SELECT COUNT(*) FROM instance WHERE instance.series = series.id)"
                f" FROM series JOIN study ON study.id = series.study WHERE {where} ORDER BY series.id",
                [value for _, value in conditions],
            )
        return [Series(*row) for row in rows]

    def list_instances(self, study_instance_uid: str, series_instance_uid: str) -> list[Instance]:
        """As `Archive.list_instances`; by Instance Number."""
        return [row.instance for row in self.rows_of(study_instance_uid, series_instance_uid)]

    def find_instances(self, sop_instance_uids: Iterable[str]) -> list[Instance]:
        """As `Archive.find_instances`."""
        with disk(self.folder):
            return [row.instance for row in self._index.find(list(dict.fromkeys(sop_instance_uids)))]

    def fetch(self, instances: Sequence[Instance], folder: Path) -> dict[str, Path]:  # noqa: ARG002 - part of the protocol
        """As `Archive.fetch`: the files where they lie; nothing is copied into `folder`."""
        found = self.find_instances(instance.sop_instance_uid for instance in instances)
        return {one.sop_instance_uid: self._files.path(one.sop_instance_uid) for one in found}

    def search(self, question: Question) -> list[dict[str, JsonAttribute]]:
        """Results of a query as DICOM JSON objects; raises `folder_search.UnsupportedQuestion`."""
        with disk(self.folder), self._index.translated():
            return answer(self._index.connection(), question)

    def rows_of(self, study_instance_uid: str, series_instance_uid: str = "", sop_instance_uid: str = "") -> list[Row]:
        """Instances of a study, a series, or one of them, with their encoding."""
        with disk(self.folder):
            if not sop_instance_uid:
                return self._index.instances_of(study_instance_uid, series_instance_uid)
            wanted = (study_instance_uid, series_instance_uid)
            return [
                row
                for row in self._index.find([sop_instance_uid])
                if (row.instance.study_instance_uid, row.instance.series_instance_uid) == wanted
            ]

    def count_of_classes(self, beginning: str) -> int:
        """Number of instances whose SOP Class UID has a prefix."""
        sql = "SELECT COUNT(*) FROM instance WHERE SOPClassUID >= ? AND SOPClassUID < ?"
        with disk(self.folder):
            return int(self._index.rows(sql, (beginning, f"{beginning}:"))[0][0])  # ":" follows "9"

    def arrived_after(self, number: int, limit: int) -> tuple[str, list[tuple[int, Instance]]]:
        """Instances added after a number, with their numbers; and the mark of the index, which a rebuild changes."""
        with disk(self.folder):
            return self._index.arrived_after(number, limit)

    def path_of(self, sop_instance_uid: str) -> Path | None:
        """The file of an instance; None if it is not archived."""
        return self._files.path(sop_instance_uid) if self.find_instances([sop_instance_uid]) else None

    # Storing

    def store(self, objects: Sequence[Outgoing]) -> list[Stored]:
        """As `Archive.store`: one transaction, after all files are on the disk.

        A content that conflicts with the archived one is kept in `conflicts`. Raises
        `ConfigurationError` if the folder cannot be written, `PeerUnavailable` if its disk is full or fails.
        """
        with disk(self.folder), ExitStack() as temporary:
            prepared = self._all_prepared(objects, temporary)
            waiting = [one for one in prepared if isinstance(one, _Prepared)]
            if not waiting:
                return [one for one in prepared if isinstance(one, Stored)]
            synchronise([one.path for one in waiting if one.is_new])
            with self._index.writing() as connection:
                there = _digests(find(connection, [one.entry.instance.sop_instance_uid for one in waiting]))
                changed: set[Path] = set()
                stored = [
                    self._put(connection, one, there, changed) if isinstance(one, _Prepared) else one
                    for one in prepared
                ]
                synchronise(sorted(changed))
            return stored

    def _all_prepared(self, objects: Sequence[Outgoing], temporary: ExitStack) -> list[_Prepared | Stored]:
        there = _digests(self._index.find([one.instance.sop_instance_uid for one in objects]))
        linkable = {folder: self._files.is_linkable(folder) for folder in _folders(objects)}
        paths = [
            one.content if isinstance(one.content, Path) else self._files.written(one.content, temporary)
            for one in objects
        ]
        # Half of the work is SHA-256, which other cores can do while this thread looks at the headers.
        with ThreadPoolExecutor(_DIGEST_THREADS) as pool:
            digests = [pool.submit(untranslated_file_digest, path) for path in paths]
            return [
                self._prepared(one, path, digest, there, linkable, temporary)
                for one, path, digest in zip(objects, paths, digests, strict=True)
            ]

    def _prepared(
        self,
        outgoing: Outgoing,
        path: Path,
        digest: Future[str],
        there: Mapping[str, str],
        linkable: Mapping[Path, bool],
        temporary: ExitStack,
    ) -> _Prepared | Stored:
        """The checked object in a file that can be linked; or its outcome, if it is refused or already there."""
        uid = outgoing.instance.sop_instance_uid
        try:
            entry = self._entry(path, digest.result, outgoing.header)
            _check_identity(outgoing.instance, entry.instance)
        except InputError as error:
            return Stored(uid, Outcome.REFUSED, str(error))
        if there.get(uid) == entry.digest:
            return Stored(uid, Outcome.ALREADY_THERE)
        is_linkable = isinstance(outgoing.content, Path) and linkable[path.parent] and not path.is_symlink()
        if isinstance(outgoing.content, Path) and not is_linkable:
            path = self._files.copied(path, entry.digest, temporary)
        return _Prepared(path, entry, is_new=not is_linkable)

    def _entry(self, path: Path, digest: Callable[[], str], header: Header | None = None) -> Entry:
        """The index entry of a file; raises `InputError` for a file that cannot be stored, `OSError`.

        header : of the file, if it was read already
        """
        try:
            size_bytes = path.stat().st_size
            header = header or read_header(path, self._limits)
            return Entry(identity(header), header, digest(), size_bytes)
        except InputError as error:
            if isinstance(error.__cause__, OSError):  # not the object's fault
                raise error.__cause__ from error
            raise

    def _put(self, connection: sqlite3.Connection, new: _Prepared, there: dict[str, str], changed: set[Path]) -> Stored:
        """Store an object unless it is archived.

        there : digests of archived objects, by SOP Instance UID; updated
        changed : folders to be synchronised; updated
        """
        uid = new.entry.instance.sop_instance_uid
        if uid in there:
            return self._compared(new, there[uid], changed)
        place = self._files.path(uid)
        if place.exists():  # left by a crash; it was complete when it got its name
            left = self._entry(place, partial(file_digest, place))
            try:
                add(connection, left)
            except Inconsistent as error:
                return Stored(uid, Outcome.REFUSED, str(error))
            there[uid] = left.digest
            changed.add(place.parent)
            if left.digest == new.entry.digest:
                return Stored(uid, Outcome.STORED)
            return self._compared(new, left.digest, changed)
        try:
            add(connection, new.entry)
        except Inconsistent as error:
            return Stored(uid, Outcome.REFUSED, str(error))
        there[uid] = new.entry.digest
        self._files.link(new.path, place, changed)
        return Stored(uid, Outcome.STORED)

    def _compared(self, new: _Prepared, kept_digest: str, changed: set[Path]) -> Stored:
        uid, digest = new.entry.instance.sop_instance_uid, new.entry.digest
        there = self._files.path(uid)
        if digest == kept_digest:
            return Stored(uid, Outcome.ALREADY_THERE)
        try:  # data sets of other bytes may still say the same
            if same_content(new.path, there, self._limits):
                return Stored(uid, Outcome.ALREADY_THERE)
            kept_digest, refused_digest = (content_digest(path, self._limits) for path in (there, new.path))
        except InputError:  # one of them cannot be divided into elements to its end
            refused_digest = digest
        self._files.link(new.path, self._files.conflict_path(uid, digest), changed)
        reason = "another content with this SOP Instance UID is there, and stays"
        return Stored(uid, Outcome.CONFLICT, reason, kept_digest=kept_digest, refused_digest=refused_digest)

    # Deleting

    def delete(self, sop_instance_uids: Iterable[str]) -> int:
        """Delete instances; returns the number of those that were archived. Their files are kept in `deleted`."""
        with disk(self.folder):
            return self._deletions.delete(list(dict.fromkeys(sop_instance_uids)))

    # The index

    def reindex(self, progress: Progress = silent) -> Reindexed:
        """Update the index from the files: add rows for new files, remove those of missing files.

        Files that cannot be indexed (damaged, or inconsistent with others) are counted and logged.
        """
        with disk(self.folder):
            self._index.rows("SELECT 1 FROM study LIMIT 1")
            return self._fill(progress)

    def _fill(self, progress: Progress = silent) -> Reindexed:
        known = {name_of(uid): uid for (uid,) in self._index.rows("SELECT SOPInstanceUID FROM instance")}
        files = [(path.name.removesuffix(ENDING), path) for path in self._files.all()]
        missing = [path for name, path in files if name not in known]
        added = 0
        for start in range(0, len(missing), _BATCH):
            progress("indexing", start, len(missing))
            added += self._indexed(missing[start : start + _BATCH])
        names = {name for name, _ in files}
        removed = self._removed([uid for name, uid in known.items() if name not in names])
        return Reindexed(len(files), added, removed, len(missing) - added)

    def _indexed(self, paths: Sequence[Path]) -> int:
        entries = []
        for path in paths:
            try:
                entries.append(self._entry(path, partial(file_digest, path)))
            except InputError as error:
                log.event("archive_file_unusable", file=path.name, reason=type(error).__name__)
        added = 0
        with self._index.writing() as connection:
            for entry in entries:
                uid = entry.instance.sop_instance_uid
                if find(connection, [uid]):
                    added += 1  # stored meanwhile
                    continue
                try:
                    add(connection, entry)
                    added += 1
                except Inconsistent as error:
                    log.event("archive_file_unusable", object=log.hashed(uid), reason=type(error).__name__)
        return added

    def _removed(self, sop_instance_uids: Sequence[str]) -> int:
        if not sop_instance_uids:
            return 0
        with self._index.writing() as connection:
            gone = [uid for uid in sop_instance_uids if not self._files.path(uid).exists()]
            remove(connection, gone)
        return len(gone)


def _digests(rows: Iterable[Row]) -> dict[str, str]:
    return {row.instance.sop_instance_uid: row.digest for row in rows}


def _folders(objects: Iterable[Outgoing]) -> set[Path]:
    return {one.content.parent for one in objects if isinstance(one.content, Path)}


def _check_identity(stated: Instance, found: Instance) -> None:
    """Raise `Inconsistent` unless an object has the stated identity."""
    if found != stated:
        raise Inconsistent(
            f"content of {stated.sop_instance_uid} is another object (by its SOP Instance, SOP Class, Series or Study "
            "UID); send what was announced"
        )
