"""The index of what SRs say: an SQLite file in the data folder that may be deleted at any time.

Plain `sqlite3`, as the index of the folder archive and for its reasons: it is a file of one host, it is made anew
rather than migrated, and its questions are SQL that is fitted to its indexes. Codes, texts and UIDs are kept once and
referred to by number, because the same few thousand of them make up millions of items.

Every question and every change opens a connection of its own, so that threads, forks and a file that was replaced need
no care. What replaces the file holds a lock alone, everything else shares it.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segqa_dicom.dicom.sop_classes import CT_CLASSES, SEG_CLASSES
from segqa_dicom.errors import ConfigurationError, PeerUnavailable
from segqa_dicom.findings.complaints import complaints
from segqa_dicom.model import Code
from segqa_dicom.sqlite_files import file_lock, is_damage, remove_files, transaction, translated
from segqa_dicom.sr import codes, interpretation
from segqa_dicom.sr.read import Document, Group, Item

FILE_NAME = "findings.sqlite3"
SCHEMA_VERSION = 4
"""Raise it with each change of the tables or of what is read from documents: older indexes are then made anew."""
VALUE_TYPES = (
    *("", "CONTAINER", "CODE", "NUM", "TEXT", "UIDREF", "PNAME", "DATE", "TIME", "DATETIME", "IMAGE", "COMPOSITE"),
    *("WAVEFORM", "SCOORD", "SCOORD3D", "TCOORD"),
)
RELATIONS = (
    *("", "CONTAINS", "HAS OBS CONTEXT", "HAS CONCEPT MOD", "HAS PROPERTIES", "HAS ACQ CONTEXT", "INFERRED FROM"),
    "SELECTED FROM",
)
_BUSY_S = 60
_MAPPED_BYTES = 1 << 30

_SCHEMA = """
CREATE TABLE cursor (feed TEXT PRIMARY KEY, position TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE refused (sop_instance_uid TEXT PRIMARY KEY, reason TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE concept (
  id INTEGER PRIMARY KEY, value TEXT NOT NULL, scheme TEXT NOT NULL, meaning TEXT NOT NULL, UNIQUE (value, scheme));
CREATE TABLE text (id INTEGER PRIMARY KEY, value TEXT NOT NULL UNIQUE);
CREATE TABLE segmentation (
  sop_instance_uid TEXT PRIMARY KEY, series_description TEXT NOT NULL, manufacturer TEXT NOT NULL, model TEXT NOT NULL,
  version TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE document (
  id INTEGER PRIMARY KEY AUTOINCREMENT, study_instance_uid TEXT NOT NULL, series_instance_uid TEXT NOT NULL,
  sop_instance_uid TEXT NOT NULL UNIQUE, sop_class_uid TEXT NOT NULL, title INTEGER REFERENCES concept,
  content_date TEXT NOT NULL, content_time TEXT NOT NULL, series_description TEXT NOT NULL, manufacturer TEXT NOT NULL,
  model TEXT NOT NULL, version TEXT NOT NULL, completion TEXT NOT NULL, verification TEXT NOT NULL,
  is_own INTEGER NOT NULL, kind TEXT NOT NULL, observers TEXT NOT NULL, persons TEXT NOT NULL,
  segmentation_name TEXT NOT NULL, ct_series TEXT NOT NULL);
CREATE TABLE predecessor (
  document INTEGER NOT NULL, sop_instance_uid TEXT NOT NULL, PRIMARY KEY (sop_instance_uid, document)) WITHOUT ROWID;
CREATE TABLE reference (
  document INTEGER NOT NULL, instance INTEGER NOT NULL, series INTEGER NOT NULL, study INTEGER NOT NULL,
  sop_class INTEGER NOT NULL, role TEXT NOT NULL,
  PRIMARY KEY (document, role, series, instance)) WITHOUT ROWID;
CREATE TABLE structure (
  id INTEGER PRIMARY KEY, finding INTEGER NOT NULL, site INTEGER NOT NULL, laterality INTEGER NOT NULL,
  label TEXT NOT NULL, meaning TEXT NOT NULL, name TEXT NOT NULL, words TEXT NOT NULL,
  UNIQUE (finding, site, laterality, label));
CREATE TABLE measurement_group (
  document INTEGER NOT NULL, number INTEGER NOT NULL, structure INTEGER NOT NULL, tracking_identifier INTEGER NOT NULL,
  tracking_uid INTEGER NOT NULL, segmentation INTEGER NOT NULL, segment INTEGER NOT NULL,
  other_segmentation INTEGER NOT NULL, other_segment INTEGER NOT NULL, source_series INTEGER NOT NULL,
  verdict TEXT NOT NULL, risk REAL, n_pass INTEGER NOT NULL, n_warn INTEGER NOT NULL, n_fail INTEGER NOT NULL,
  n_notrun INTEGER NOT NULL, n_other INTEGER NOT NULL, PRIMARY KEY (document, number)) WITHOUT ROWID;
CREATE TABLE item (
  document INTEGER NOT NULL, measurement_group INTEGER NOT NULL, position INTEGER NOT NULL, depth INTEGER NOT NULL,
  relation INTEGER NOT NULL, value_type INTEGER NOT NULL, name INTEGER, code INTEGER, number REAL, unit INTEGER,
  text INTEGER, segment INTEGER, finding INTEGER,
  PRIMARY KEY (document, measurement_group, position)) WITHOUT ROWID;
CREATE TABLE segment_by_risk (
  rank INTEGER NOT NULL, minus_risk REAL NOT NULL, segmentation TEXT NOT NULL, segment INTEGER NOT NULL,
  document INTEGER NOT NULL, number INTEGER NOT NULL, structure INTEGER NOT NULL,
  PRIMARY KEY (rank, minus_risk, segmentation, segment, document, number)) WITHOUT ROWID;
CREATE TABLE complaint (
  name INTEGER NOT NULL, document INTEGER NOT NULL, number INTEGER NOT NULL,
  PRIMARY KEY (name, document, number)) WITHOUT ROWID;
CREATE INDEX documents_of_study ON document (study_instance_uid);
CREATE INDEX documents_by_title ON document (title);
CREATE INDEX references_to_instance ON reference (instance);
CREATE INDEX references_to_series ON reference (series);
CREATE INDEX groups_of_structure ON measurement_group (structure);
CREATE INDEX groups_of_segmentation ON measurement_group (segmentation, segment);
CREATE INDEX groups_compared_with ON measurement_group (other_segmentation);
CREATE INDEX segments_of_document ON segment_by_risk (document);
CREATE INDEX complaints_of_document ON complaint (document);
CREATE INDEX items_by_name ON item (name, code);
CREATE INDEX items_with_code ON item (code) WHERE code IS NOT NULL;
CREATE INDEX items_by_number ON item (name, number) WHERE number IS NOT NULL;
CREATE INDEX items_by_text ON item (text, name) WHERE text IS NOT NULL;
"""

VERDICT_RANKS = "WHEN 'unusable' THEN 0 WHEN 'review' THEN 1 WHEN 'usable' THEN 2 ELSE 3"
"""SQL: the order of `segment_by_risk`, which has the groups of our reports, worst first."""

_ADD_GROUP = f"INSERT INTO measurement_group VALUES ({', '.join('?' * 17)})"  # noqa: S608 - our own words
_ADD_SEGMENT = (
    f"INSERT INTO segment_by_risk SELECT CASE g.verdict {VERDICT_RANKS} END, -COALESCE(g.risk, 0), text.value,"  # noqa: S608
    " g.segment, g.document, g.number, g.structure FROM measurement_group g JOIN text ON text.id = g.segmentation"
    " WHERE g.document = ? AND g.number > 0 AND g.segment > 0"
)
_ADD_ITEM = f"INSERT INTO item VALUES ({', '.join('?' * 13)})"  # noqa: S608 - our own words
CURRENT = (
    "NOT EXISTS (SELECT 1 FROM predecessor WHERE predecessor.sop_instance_uid = document.sop_instance_uid"
    " AND predecessor.document != document.id)"
)
"""SQL: whether no document names `document` as the one that it replaces. Nothing is stored about it, so the order in
which documents come does not matter, nor that some of them go."""


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
            words = _Words(connection)
            return sum(_add(connection, words, document) for document in documents)

    def remove(self, sop_instance_uids: Iterable[str]) -> int:
        """Remove documents, and what is remembered of refused ones; returns how many documents were there."""
        with self.writing() as connection:
            return sum(_remove(connection, uid) for uid in dict.fromkeys(sop_instance_uids))

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
                connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")

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


class _Words:
    """Numbers of codes and texts, within one transaction; 0 stands for none."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._codes: dict[Code, int] = {}
        self._texts: dict[str, int] = {}

    def code(self, code: Code | None) -> int:
        if code is None:
            return 0
        known = self._codes.get(code)
        if known is None:
            known = self._codes[code] = self._number(
                "SELECT id FROM concept WHERE value = ? AND scheme = ?",
                (code.value, code.scheme),
                "INSERT INTO concept (value, scheme, meaning) VALUES (?, ?, ?)",
                (code.value, code.scheme, code.meaning),
            )
        return known

    def text(self, text: str) -> int:
        if not text:
            return 0
        known = self._texts.get(text)
        if known is None:
            known = self._texts[text] = self._number(
                "SELECT id FROM text WHERE value = ?", (text,), "INSERT INTO text (value) VALUES (?)", (text,)
            )
        return known

    def _number(self, find: str, key: Sequence[str], add: str, row: Sequence[str]) -> int:
        found = self._connection.execute(find, [_storable(value) for value in key]).fetchone()
        if found is not None:
            return int(found[0])
        return int(self._connection.execute(add, [_storable(value) for value in row]).lastrowid or 0)


def _add(connection: sqlite3.Connection, words: _Words, document: Document) -> bool:
    """Add a document; False if it is there."""
    uid = document.sop_instance_uid
    if connection.execute("SELECT 1 FROM document WHERE sop_instance_uid = ?", (uid,)).fetchone():
        return False
    connection.execute("DELETE FROM refused WHERE sop_instance_uid = ?", (uid,))
    kinds, judged = interpretation.finding_kinds(document)
    number = _add_document(connection, words, document)
    connection.executemany(
        "INSERT OR IGNORE INTO predecessor VALUES (?, ?)", [(number, one) for one in document.predecessors]
    )
    connection.executemany(
        "INSERT OR IGNORE INTO reference VALUES (?, ?, ?, ?, ?, ?)",
        [
            (
                number,
                words.text(one.sop_instance_uid),
                words.text(one.series_instance_uid),
                words.text(one.study_instance_uid),
                words.text(one.sop_class_uid),
                one.role,
            )
            for one in document.references
        ],
    )
    connection.executemany(
        _ADD_GROUP,
        [
            _group_row(connection, words, number, group, judged[group.number])
            for group in (_whole(document), *document.groups)
        ],
    )
    if document.is_own and document.kind == "report":
        connection.execute(_ADD_SEGMENT, (number,))
        connection.executemany(
            "INSERT INTO complaint VALUES (?, ?, ?)",
            [(words.code(name), number, group) for group, name in complaints(document)],
        )
    connection.executemany(
        _ADD_ITEM,
        [
            _item_row(words, number, position, item, kind)
            for position, (item, kind) in enumerate(zip(document.items, kinds, strict=True))
        ],
    )
    return True


def _add_document(connection: sqlite3.Connection, words: _Words, document: Document) -> int:
    persons = [name for kind, name in document.observers if kind == "person"]
    if document.is_own:
        persons += [item.text for item in document.items if item.depth == 1 and item.name == codes.PERSON_LOGIN]
    row: dict[str, object] = {
        "study_instance_uid": document.study_instance_uid,
        "series_instance_uid": document.series_instance_uid,
        "sop_instance_uid": document.sop_instance_uid,
        "sop_class_uid": document.sop_class_uid,
        "title": words.code(document.title),
        "content_date": document.content_date,
        "content_time": document.content_time,
        "series_description": document.series_description,
        "manufacturer": document.manufacturer,
        "model": document.model,
        "version": document.version,
        "completion": document.completion,
        "verification": document.verification,
        "is_own": int(document.is_own),
        "kind": document.kind,
        "observers": "; ".join(name for _, name in document.observers),
        "persons": "; ".join(persons).casefold(),
        "segmentation_name": interpretation.segmentation_name(document),
        "ct_series": _ct_series(document),
    }
    values = [_storable(value) for value in row.values()]
    sql = f"INSERT INTO document ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"  # noqa: S608 - our own words
    return int(connection.execute(sql, values).lastrowid or 0)


def _ct_series(document: Document) -> str:
    """The first CT series among the evidence."""
    return next(
        (
            one.series_instance_uid
            for one in document.references
            if one.role != "predecessor" and one.sop_class_uid in CT_CLASSES and one.series_instance_uid
        ),
        "",
    )


def _whole(document: Document) -> Group:
    """What stands for the document as a whole: its SEG, if it is about one only."""
    about = {(group.segmentation, group.other_segmentation): group for group in document.groups if group.segmentation}
    if not about and document.is_own:  # a review of the whole has no groups
        listed = {one.sop_instance_uid for one in document.references if one.sop_class_uid in SEG_CLASSES}
        return Group(0, segmentation=listed.pop()) if len(listed) == 1 else Group(0)
    if len(about) != 1:
        return Group(0)
    (group,) = about.values()
    return Group(0, segmentation=group.segmentation, other_segmentation=group.other_segmentation)


def _group_row(
    connection: sqlite3.Connection, words: _Words, document: int, group: Group, judged: interpretation.Judged
) -> tuple[object, ...]:
    return (
        document,
        group.number,
        _structure(connection, words, group) if group.number else 0,
        words.text(group.tracking_identifier),
        words.text(group.tracking_uid),
        words.text(group.segmentation),
        group.segment,
        words.text(group.other_segmentation),
        group.other_segment,
        words.text(group.source_series),
        judged.verdict,
        judged.risk,
        *(judged.counts.get(outcome, 0) for outcome in (*interpretation.OUTCOMES, "")),
    )


def _structure(connection: sqlite3.Connection, words: _Words, group: Group) -> int:
    label = str(_storable(interpretation.label(group)))
    key = (words.code(group.finding), words.code(group.finding_site), words.code(group.laterality), label)
    sql = "SELECT id FROM structure WHERE finding = ? AND site = ? AND laterality = ? AND label = ?"
    found = connection.execute(sql, key).fetchone()
    if found is not None:
        return int(found[0])
    name = interpretation.structure_name(group.finding, group.finding_site, group.laterality)
    said = group.finding.meaning if group.finding else ""
    side = group.laterality.meaning if group.laterality else ""
    site = group.finding_site.meaning if group.finding_site else ""
    searched = " ".join((label, said, side, site, name.replace("_", " "))).casefold()
    row = [_storable(value) for value in (*key, said, name, searched)]
    sql = "INSERT INTO structure (finding, site, laterality, label, meaning, name, words) VALUES (?, ?, ?, ?, ?, ?, ?)"
    return int(connection.execute(sql, row).lastrowid or 0)


def _item_row(
    words: _Words, document: int, position: int, item: Item, kind: interpretation.FindingKind | None
) -> tuple[object, ...]:
    text, segment = item.text, None
    if item.reference is not None:
        text = item.reference.sop_instance_uid
        segment = item.reference.segments[0] if item.reference.segments else None
    return (
        document,
        item.group,
        position,
        item.depth,
        RELATIONS.index(item.relation) if item.relation in RELATIONS else 0,
        VALUE_TYPES.index(item.value_type) if item.value_type in VALUE_TYPES else 0,
        words.code(item.name) or None,
        words.code(item.code) or None,
        item.number,
        words.code(item.unit) or None,
        words.text(text) or None,
        segment,
        None if kind is None else int(kind),
    )


def _remove(connection: sqlite3.Connection, sop_instance_uid: str) -> bool:
    connection.execute("DELETE FROM refused WHERE sop_instance_uid = ?", (sop_instance_uid,))
    sql = "SELECT id FROM document WHERE sop_instance_uid = ?"
    found = connection.execute(sql, (sop_instance_uid,)).fetchone()
    if found is None:
        return False
    for table in ("item", "complaint", "segment_by_risk", "measurement_group", "reference", "predecessor"):
        connection.execute(f"DELETE FROM {table} WHERE document = ?", found)  # noqa: S608 - our own words
    connection.execute("DELETE FROM document WHERE id = ?", found)
    return True


def _storable(value: object) -> object:
    """Text without lone surrogates, which SQLite does not take."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def json_list(values: Iterable[object]) -> str:
    """Values as one parameter, for `json_each`: a question may have more of them than SQLite allows parameters."""
    return json.dumps(list(values))
