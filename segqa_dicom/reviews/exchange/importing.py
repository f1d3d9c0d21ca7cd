"""Ratings from tables: kept in the ledger, and written as reviews as soon as their segmentations are there.

What a table says about a segmentation as a whole becomes a review of the whole (segment 0); where the file it names is
called as a segment is, a review of that segment. Until then a rating counts in statistics all the same.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from segqa_dicom.assessment.model import Purpose, Reviewer, SegmentReview
from segqa_dicom.digests import digest
from segqa_dicom.errors import InputError
from segqa_dicom.findings import FindingsIndex
from segqa_dicom.findings.worklist import SegmentationSummary, machine_segment, machine_segments, segmentations
from segqa_dicom.ledger import ImportedRow, Ledger, ReadingKey
from segqa_dicom.model import WHOLE, SegmentRef
from segqa_dicom.reviews.exchange.tables import Problem, Table, TableRow
from segqa_dicom.reviews.statistics.agreement import ratings_of_tables
from segqa_dicom.reviews.workflow.model import MachineSegment, SignedReview, WorklistFilters
from segqa_dicom.reviews.workflow.progress_of_readers import segments_of
from segqa_dicom.reviews.workflow.signed_reviews import ReviewMemory
from segqa_dicom.reviews.workflow.signing import Order, Signer

LONGEST_LOGIN = 64
_ATTEMPTS = 8
_UID = re.compile(r"[0-9]+(?:\.[0-9]+){2,}")
_ENDINGS = re.compile(r"(\.seg)?\.(dcm|dicom|nii|nii\.gz|nrrd|seg\.nrrd|mha|mhd)\Z", re.IGNORECASE)
_WORDS = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a table.

    rows : that could be used
    new : of these, those that were not known
    """

    rows: int
    new: int
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Converted:
    """What became of the ratings that had become no review yet.

    documents : SOP Instance UIDs of the reviews that were written
    ratings : that are in reviews now
    waiting : whose segmentation is not there, or cannot be told from others
    problems : (id of the rating, why it cannot become a review)
    """

    documents: tuple[str, ...] = ()
    ratings: int = 0
    waiting: int = 0
    problems: tuple[tuple[str, str], ...] = ()


def keep_table(
    ledger: Ledger, table: Table, *, source: str, now: float, logins: Mapping[str, str] | None = None
) -> Imported:
    """Keep the ratings of a table in the ledger; those that are there stay as they are.

    source : what the table is called
    logins : reader of the table -> login here
    A row that says something else than what was imported before for the same reader and subject is a problem.
    """
    known = {row.rating_id: row for row in ledger.imported()}
    problems = list(table.problems)
    rows: dict[str, ImportedRow] = {}
    given = replace(table, rows=tuple(_with_login(row, logins or {}) for row in table.rows))
    for row, rating in zip(given.rows, ratings_of_tables([(source, given)]), strict=True):
        if not row.reader or len(row.reader) > LONGEST_LOGIN or not row.reader.isprintable():
            problems.append(Problem(row.line, f"the name of its reader has not 1 to {LONGEST_LOGIN} characters"))
            continue
        content = {
            **{name: value for name, value in asdict(row).items() if name not in ("line", "reader", "patient")},
            "reading": rating.reading,
            "source": source,
            # Only to know which belong together: whom they are about stays in the table.
            "cluster": digest(["patient", row.patient])[:16] if row.patient else "",
        }
        uid = digest([table.layout.value, row.reader, rating.subject, rating.reading])
        if uid in known and _said(known[uid].content) != _said(content):
            problems.append(Problem(row.line, "its reader said something else about it in a table imported before"))
            continue
        rows[uid] = ImportedRow(uid, row.reader, rating.subject, content)
    new = ledger.add_imported([row for uid, row in rows.items() if uid not in known], now=now)
    return Imported(len(rows), new, tuple(sorted(problems, key=lambda one: one.line)))


def _with_login(row: TableRow, logins: Mapping[str, str]) -> TableRow:
    return replace(row, reader=logins.get(row.reader, row.reader))


def _said(content: Mapping[str, Any]) -> tuple[object, ...]:
    return tuple(content.get(name) for name in ("rating", "comment", "scan_comment"))


class Converter:
    """Makes reviews of imported ratings."""

    def __init__(
        self,
        ledger: Ledger,
        index: FindingsIndex,
        memory: ReviewMemory,
        signer: Signer,
        *,
        organization: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger, self._index, self._memory, self._signer = ledger, index, memory, signer
        self._organization, self._clock = organization, clock

    def convert(self) -> Converted:
        """Put reviews of all ratings whose segmentations are there into the outbox. Doing it again writes nothing.

        A reader who has said something about the same in the meantime is not overruled. Raises `PeerError` if the
        archive or the ledger fails; what was done stays.
        """
        self._memory.refresh()
        waiting = self._ledger.imported(is_waiting=True)
        found = _Finder(self._index) if waiting else None
        by_reading: dict[ReadingKey, dict[int, ImportedRow]] = {}
        problems: list[tuple[str, str]] = []
        without = 0
        for row in waiting:
            place = found.place(row.content) if found else None
            if place is None:
                without += 1
                continue
            reading = int(row.content["reading"])
            purpose = Purpose.READING if reading == 1 else Purpose.REPEAT
            key = ReadingKey(row.login, place.segmentation, purpose.value, reading)
            if place.segment in by_reading.setdefault(key, {}):
                problems.append((row.rating_id, "another rating of this reader is about the same segmentation"))
            else:
                by_reading[key][place.segment] = row
        documents: list[str] = []
        ratings = 0
        for key, rows in sorted(by_reading.items()):
            try:
                document, refused = self._write(key, rows)
            except InputError as error:
                problems += [(row.rating_id, str(error)) for row in rows.values()]
                continue
            documents += [document] if document else []
            ratings += len(rows) - len(refused)
            problems += refused
        return Converted(tuple(documents), ratings, without, tuple(problems))

    def _write(self, key: ReadingKey, rows: Mapping[int, ImportedRow]) -> tuple[str, list[tuple[str, str]]]:
        """SOP Instance UID of the new review, empty if none was needed; and which ratings are not in one, and why."""
        machine = machine_segment(self._index, SegmentRef(key.segmentation, WHOLE))
        if machine is None:
            return "", [(row.rating_id, "the report on its segmentation is gone") for row in rows.values()]
        self._signer.learn_of(machine.study)
        for _ in range(_ATTEMPTS):
            heads = self._memory.heads(key)
            new, refused = self._new(rows, heads[-1] if heads else None)
            if not new:
                return "", refused
            document = self._sign(key, new, machine)
            if document:
                return document, refused
        return "", [(row.rating_id, "its reader signs something else all the time") for row in rows.values()]

    def _new(
        self, rows: Mapping[int, ImportedRow], head: SignedReview | None
    ) -> tuple[dict[int, ImportedRow], list[tuple[str, str]]]:
        """What is in no review yet; and what its reader has said differently."""
        said = segments_of(head) if head else {}
        refused = []
        for segment, row in rows.items():
            if segment not in said or head is None:
                continue
            if said[segment].rating == row.content["rating"]:
                self._ledger.imported_in([row.rating_id], head.document)
            else:
                refused.append((row.rating_id, "its reader has signed another rating here"))
        return {segment: row for segment, row in rows.items() if segment not in said}, refused

    def _sign(self, key: ReadingKey, rows: Mapping[int, ImportedRow], machine: MachineSegment) -> str:
        order = Order(
            key=key,
            reviewer=Reviewer(key.login, key.login, self._organization),
            said={segment: _content(segment, row.content) for segment, row in rows.items()},
            versions={},
            now=self._clock(),
            imported=tuple(row.rating_id for row in rows.values()),
        )
        documents = self._signer.sign(order, machine)
        return documents[0].sop_instance_uid if documents else ""


def _content(segment: int, values: Mapping[str, Any]) -> SegmentReview:
    comments = [str(values["comment"])]
    if values["scan_comment"]:
        comments.append(f"About the scan: {values['scan_comment']}")
    return SegmentReview(segment, rating=str(values["rating"]), comment="\n".join(filter(None, comments)))


@dataclass
class _Finder:
    """Finds the segmentations that tables mean, among those that the machine has reported on."""

    index: FindingsIndex
    by_uid: dict[str, SegmentationSummary] = field(default_factory=dict)
    by_ct: dict[str, list[SegmentationSummary]] = field(default_factory=dict)
    names: dict[str, dict[str, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for one in segmentations(self.index):
            self.by_uid[one.segmentation] = one
            self.by_ct.setdefault(one.ct_series, []).append(one)

    def place(self, content: Mapping[str, Any]) -> SegmentRef | None:
        """The segmentation of a row, and the segment if its file is called as one is; None if not there."""
        files = [str(content[name]) for name in ("segmentation", "corrected", "image") if content[name]]
        uid = self._by_name(files) or self._on_series(str(content["ct_series"]), files)
        if uid is None:
            return None
        stem = _stem(str(content["segmentation"])) if content["segmentation"] else ""
        return SegmentRef(uid, self._segments(uid).get(_plain(stem), WHOLE) if stem else WHOLE)

    def _by_name(self, files: Iterable[str]) -> str | None:
        """By a SOP Instance UID in a path, or the UID of a series that has one segmentation only."""
        for uid in (uid for file in files for uid in _UID.findall(_ENDINGS.sub("", file))):
            if uid in self.by_uid:
                return str(uid)
            if len(self.by_ct.get(uid, ())) == 1:
                return self.by_ct[uid][0].segmentation
        return None

    def _on_series(self, ct_series: str, files: Sequence[str]) -> str | None:
        """Of the segmentations on a CT the only one, or the only one whose name goes with that of the file."""
        stems = [stem for file in files if (stem := _plain(_stem(file)))]
        if not ct_series:
            named = [one for one in self.by_uid.values() if _plain(one.model) in stems]
            return named[0].segmentation if len(named) == 1 else None
        there = self.by_ct.get(ct_series, [])
        if len(there) > 1:
            there = [one for one in there if any(_goes_with(_plain(one.model), stem) for stem in stems)]
        return there[0].segmentation if len(there) == 1 else None

    def _segments(self, uid: str) -> dict[str, int]:
        """Segment Numbers by canonical name and by label; not those that several share."""
        if uid not in self.names:
            found, _ = machine_segments(self.index, WorklistFilters(segmentation=uid), limit=100_000)
            numbers: dict[str, set[int]] = {}
            for one in found:
                for name in (one.structure, one.label):
                    numbers.setdefault(_plain(name), set()).add(one.place.segment)
            self.names[uid] = {name: min(several) for name, several in numbers.items() if name and len(several) == 1}
        return self.names[uid]


def _stem(path: str) -> str:
    """The name of a file without folder and ending."""
    return _ENDINGS.sub("", path.replace("\\", "/").rsplit("/", maxsplit=1)[-1])


def _goes_with(name: str, stem: str) -> bool:
    return bool(name) and (name in stem or stem in name)


def _plain(name: str) -> str:
    return _WORDS.sub(" ", name.casefold()).strip()
