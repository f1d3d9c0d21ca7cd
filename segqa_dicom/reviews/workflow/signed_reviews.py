"""Which reviews there are: found in the archive through the index of findings, remembered in the ledger.

The archive is the truth, the ledger only saves the way there: deleted, it is filled again from the documents.
"""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from threading import Lock

from segqa_dicom import log
from segqa_dicom.archive import Archive, Instance
from segqa_dicom.assessment.codec import review_as_json, review_from_json
from segqa_dicom.assessment.model import Review
from segqa_dicom.assessment.vocabulary import Vocabulary
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.sop_classes import CT_CLASSES, SR_CLASSES
from segqa_dicom.errors import InputError, PeerError
from segqa_dicom.findings import Document, FindingsIndex, read_document
from segqa_dicom.ledger import Ledger, ReadingKey, SignedRow
from segqa_dicom.reviews.workflow.model import SignedReview
from segqa_dicom.reviews.workflow.timestamps import seconds_of
from segqa_dicom.sr.read_review import read_review

_BATCH = 50
_MOST_PARSED = 5000
_KIND = "review"
_DOCUMENTS = (
    "SELECT id, study_instance_uid, series_instance_uid, sop_instance_uid, sop_class_uid FROM document WHERE kind = ?"
)


class ReviewMemory:
    """Signed reviews. Threads may share it.

    folder : for files of the archive while they are read; None = the system's
    """

    def __init__(
        self,
        ledger: Ledger,
        archive: Archive,
        index: FindingsIndex,
        vocabulary: Vocabulary,
        *,
        folder: Path | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._ledger, self._archive, self._index, self._vocabulary = ledger, archive, index, vocabulary
        self._folder, self._limits = folder, limits
        self._seen: tuple[int, int] = (0, 0)
        self._parsed: OrderedDict[str, Review] = OrderedDict()
        self._lock = Lock()

    # Asking

    def current(self, *, login: str | None = None, segmentations: Collection[str] | None = None) -> list[SignedReview]:
        """Reviews that none has replaced, the oldest first; one for each reader, segmentation, purpose and reading."""
        newest = {row.key: row for row in self._ledger.current_reviews(login=login, segmentations=segmentations)}
        reviews = self._reviews(row.document for row in newest.values())
        return [
            SignedReview(row.document, row.series, row.study, row.ct_series, reviews[row.document])
            for row in newest.values()
            if row.document in reviews
        ]

    def heads(self, key: ReadingKey) -> list[SignedReview]:
        """All reviews of one reading that none has replaced, the newest last; more than one if a chain was forked."""
        rows = self._ledger.current_reviews(login=key.login, segmentations=[key.segmentation])
        reviews = self._reviews(row.document for row in rows)
        return [
            SignedReview(row.document, row.series, row.study, row.ct_series, reviews[row.document])
            for row in rows
            if row.key == key and row.document in reviews
        ]

    def _reviews(self, documents: Iterable[str]) -> dict[str, Review]:
        """Documents never change, so each is parsed once."""
        wanted = list(documents)
        with self._lock:
            found = {uid: self._parsed[uid] for uid in wanted if uid in self._parsed}
        missing = [uid for uid in wanted if uid not in found]
        if missing:
            parsed = {uid: review_from_json(content) for uid, content in self._ledger.review_contents(missing).items()}
            found |= parsed
            with self._lock:
                self._parsed.update(parsed)
                while len(self._parsed) > _MOST_PARSED:
                    self._parsed.popitem(last=False)
        return found

    # Learning

    def refresh(self) -> int:
        """Learn of reviews that have come into the index; returns how many. If the archive is away, later."""
        last = self._seen
        try:
            inode = self._index.path.stat().st_ino
        except FileNotFoundError:
            return 0
        after = last[1] if last[0] == inode else 0  # an index that was made anew counts from the beginning
        rows = self._index.rows(f"{_DOCUMENTS} AND id > ? ORDER BY id", (_KIND, after))
        instances = {Instance(row[1], row[2], row[3], row[4]): int(row[0]) for row in rows}
        try:
            learned = self._learn(list(instances))
        except PeerError as error:
            log.event("reviews not read", reason=type(error).__name__)
            return 0
        self._seen = (inode, max(instances.values(), default=after))
        return learned

    def catch_up(self, study: str) -> None:
        """Learn of all reviews of a study from the archive itself, whether the index knows them or not."""
        instances = [
            one
            for series in self._archive.list_series(study_instance_uid=study, modality="SR")
            for one in self._archive.list_instances(study, series.series_instance_uid)
            if one.sop_class_uid.startswith(SR_CLASSES)
        ]
        known = self._index.known(one.sop_instance_uid for one in instances)
        self._learn([one for one in instances if one.sop_instance_uid not in known])
        self.recall(study)

    def recall(self, study: str) -> None:
        """Learn of all reviews of a study that the index knows: the ledger may have been deleted meanwhile."""
        rows = self._index.rows(f"{_DOCUMENTS} AND study_instance_uid = ?", (_KIND, study))
        self._learn([Instance(row[1], row[2], row[3], row[4]) for row in rows])

    def forget_deleted(self) -> int:
        """Forget reviews that were deleted in the archive; returns how many."""
        known = self._ledger.all_review_documents()
        suspected = known - self._index.known(known) if known else set()
        if not suspected:
            return 0
        there = {one.sop_instance_uid for one in self._archive.find_instances(suspected)}
        return self._ledger.forget_reviews(suspected - there)

    def _learn(self, instances: Sequence[Instance]) -> int:
        known = self._ledger.known_reviews(one.sop_instance_uid for one in instances)
        fresh = [one for one in instances if one.sop_instance_uid not in known]
        count = 0
        for start in range(0, len(fresh), _BATCH):
            with tempfile.TemporaryDirectory(prefix="reviews-", dir=self._folder) as folder:
                paths = self._archive.fetch(fresh[start : start + _BATCH], Path(folder))
                documents = [one for path in paths.values() if (one := self._read(path)) is not None]
            self._index.add(documents)
            count += self._ledger.add_reviews([row for one in documents if (row := self._row(one)) is not None])
        return count

    def _read(self, path: Path) -> Document | None:
        try:
            return read_document(path, self._limits)
        except InputError:
            return None  # whoever looks after the index remembers why

    def _row(self, document: Document) -> SignedRow | None:
        if not document.is_own or document.kind != _KIND:
            return None
        review = read_review(document, self._vocabulary)
        key = ReadingKey("", "", "", 0)  # remembered as none, so that it is not read again
        if review is not None and review.reviewer.login:
            key = key_of(review)
        return SignedRow(
            document=document.sop_instance_uid,
            series=document.series_instance_uid,
            study=document.study_instance_uid,
            ct_series=next((one.series_instance_uid for one in document.references if _is_ct(one.sop_class_uid)), ""),
            predecessor=next(iter(document.predecessors), ""),
            key=key,
            signed_at=seconds_of(review.made_at) if review else 0.0,
            content=review_as_json(review) if review else {},
        )


def key_of(review: Review) -> ReadingKey:
    """Which reading a review is of."""
    return ReadingKey(review.reviewer.login, review.segmentation, review.purpose.value, review.reading)


def _is_ct(sop_class_uid: str) -> bool:
    return sop_class_uid in CT_CLASSES
