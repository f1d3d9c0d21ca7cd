"""Annotations of other programs: found in the archive, placed on segments in the background, kept in the ledger.

What the ledger keeps can be found again in the archive. A document is looked at once, and again when there are other
segmentations in its study than before. One whose annotations cannot be placed is remembered with the reason, and does
not stop others; if the archive does not answer, it is tried again in the next round.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

from segqa_dicom import log
from segqa_dicom.archive import Archive
from segqa_dicom.assessment.codec import content_as_json, content_from_json
from segqa_dicom.assessment.model import SegmentReview
from segqa_dicom.assessment.vocabulary import Vocabulary
from segqa_dicom.digests import digest
from segqa_dicom.errors import InputError, PeerError
from segqa_dicom.findings import Document, FindingsIndex, read_document
from segqa_dicom.findings.schema import CURRENT
from segqa_dicom.findings.worklist import SegmentationSummary, segmentations
from segqa_dicom.ledger import Ledger
from segqa_dicom.ledger.review_rows import AnnotationRow
from segqa_dicom.model import SegmentRef
from segqa_dicom.pictures import OpenCase, OpenCases
from segqa_dicom.reviews.exchange.locating import as_annotation, locate
from segqa_dicom.reviews.workflow.model import Annotation, WorklistFilters
from segqa_dicom.sr.read_review import RawAnnotation, own_markers, read_annotations

__all__ = ["AnnotationBook", "Looked", "locate"]

INTERVAL_S = 10.0
"""Between rounds."""
MOST_ANNOTATIONS = 1000
"""Of one document; a document with more is no reader's."""
_STOP_S = 30.0


@dataclass(frozen=True, slots=True)
class Looked:
    """What a round has done: documents that were looked at, annotations kept, documents that could not be placed.

    forgotten : documents that are gone or replaced
    waiting : documents that have to wait for an archive that does not answer
    """

    documents: int = 0
    annotations: int = 0
    unplaced: int = 0
    forgotten: int = 0
    waiting: int = 0


class AnnotationBook:
    """Annotations of other programs in studies with reviewed segmentations.

    folder : where files of the archive are put while they are read
    clock : seconds since 1970
    """

    def __init__(
        self,
        *,
        ledger: Ledger,
        archive: Archive,
        index: FindingsIndex,
        cases: OpenCases,
        vocabulary: Vocabulary,
        folder: Path,
        clock: Callable[[], float],
    ) -> None:
        self._ledger, self._archive, self._index, self._cases = ledger, archive, index, cases
        self._vocabulary, self._folder, self._clock = vocabulary, folder, clock
        self._stopping, self._woken = Event(), Event()
        self._thread: Thread | None = None

    # What is known

    def of_segment(self, place: SegmentRef) -> list[Annotation]:
        """Annotations that lie on a segment; of segment 0 those that are about the segmentation as a whole."""
        return [one for one in self.of_segmentations([place.segmentation]) if one.place == place]

    def of_segmentations(self, sop_instance_uids: Iterable[str]) -> list[Annotation]:
        """Annotations that lie on segments of segmentations, by document and group."""
        return [_annotation(row) for row in self._ledger.annotations_of(sop_instance_uids)]

    def in_study(self, study: str) -> list[Annotation]:
        """All annotations in a study, those that lie on no segment, too."""
        return [_annotation(row) for row in self._ledger.annotations_in(study)]

    def reasons(self) -> dict[str, str]:
        """Why annotations of documents could not be placed, by SOP Instance UID."""
        return {uid: reason for uid, (_, reason) in self._ledger.annotation_documents().items() if reason}

    # Finding more

    def look(self) -> Looked:
        """One round: forget what is gone, look at what is new, in one study after the other.

        Raises `PeerUnavailable` only if the ledger or the index cannot be used.
        """
        known = self._ledger.annotation_documents()
        there = self._foreign_documents()
        forgotten = known.keys() - {uid for uids in there.values() for uid in uids}
        if forgotten and self._index.is_filled():
            self._ledger.forget_annotations(forgotten)
        total = Looked(forgotten=len(forgotten))
        for study, uids in there.items():
            if self._stopping.is_set():
                break
            reviewed = segmentations(self._index, WorklistFilters(study=study))
            basis = digest(sorted((one.segmentation, one.ct_series) for one in reviewed))
            fresh = [uid for uid in uids if known.get(uid, ("",))[0] != basis]
            if fresh:
                total = _sum(total, self._look_at(study, fresh, reviewed, basis))
        return total

    def _foreign_documents(self) -> dict[str, list[str]]:
        """Current documents of others in studies with reports of ours, by study."""
        current = CURRENT.replace("document.id", "d.id").replace("document.sop", "d.sop")
        rows = self._index.rows(
            "SELECT d.study_instance_uid, d.sop_instance_uid FROM document d WHERE NOT d.is_own"  # noqa: S608
            f" AND {current} AND d.study_instance_uid IN"
            " (SELECT study_instance_uid FROM document WHERE is_own AND kind = 'report') ORDER BY d.id"
        )
        found: dict[str, list[str]] = {}
        for study, uid in rows:
            found.setdefault(study, []).append(uid)
        return found

    def _look_at(
        self, study: str, uids: Collection[str], reviewed: Collection[SegmentationSummary], basis: str
    ) -> Looked:
        try:
            markers = [one for document in self._fetched(self._own_findings(study)) for one in own_markers(document)]
            series = _Images(self._archive)
        except PeerError as error:
            log.event("annotations", object=log.hashed(study), error=type(error).__name__)
            return Looked(waiting=len(uids))
        total = Looked()
        for uid in uids:
            if self._stopping.is_set():
                break
            try:
                found, reason = self._annotations(uid, markers, series, reviewed)
            except PeerError as error:
                log.event("annotations", object=log.hashed(uid), error=type(error).__name__)
                total = _sum(total, Looked(waiting=1))
                continue
            except InputError as error:
                found, reason = [], str(error)
            except Exception as error:  # noqa: BLE001 - one document must not stop all others for ever
                log.event("annotations", object=log.hashed(uid), error=type(error).__name__)
                found, reason = [], f"cannot be placed ({type(error).__name__}); this is an error of segqa"
            rows = _rows(found)
            reasons = {uid: reason} if reason else {}
            self._ledger.add_annotations([uid], rows, now=self._clock(), reasons=reasons, basis=basis)
            total = _sum(total, Looked(1, len(rows), int(bool(reason))))
        return total

    def _own_findings(self, study: str) -> list[str]:
        rows = self._index.rows(
            "SELECT sop_instance_uid FROM document WHERE study_instance_uid = ? AND is_own"
            " AND kind NOT IN ('report', 'compare', 'review')",
            (study,),
        )
        return [row[0] for row in rows]

    def _fetched(self, uids: Collection[str]) -> list[Document]:
        """Documents of the archive that are there and can be read."""
        if not uids:
            return []
        with tempfile.TemporaryDirectory(prefix="annotations-", dir=self._folder) as name:
            paths = self._archive.fetch(self._archive.find_instances(uids), Path(name))
            found = []
            for path in paths.values():
                try:
                    found.append(read_document(path))
                except InputError:
                    continue
            return found

    def _annotations(
        self,
        uid: str,
        markers: Collection[RawAnnotation],
        images: _Images,
        reviewed: Collection[SegmentationSummary],
    ) -> tuple[list[Annotation], str]:
        """The annotations of a document, and why they could not be placed if so."""
        documents = self._fetched([uid])
        if not documents:
            return [], "document is not in the archive, or cannot be read"
        raw = [one for one in read_annotations(documents[0], markers) if not one.is_copy]
        if len(raw) > MOST_ANNOTATIONS:
            return [], f"document has more than {MOST_ANNOTATIONS} annotations"
        by_series: dict[str, list[RawAnnotation]] = {}
        for one in raw:
            by_series.setdefault(images.series_of(one, reviewed), []).append(one)
        found: list[Annotation] = []
        reasons: list[str] = []
        for ct_series, some in by_series.items():
            wanted = [one.segmentation for one in reviewed if one.ct_series == ct_series]
            if not wanted:
                found += [_unplaced(one, self._vocabulary) for one in some]
                reasons.append("what was drawn on is no CT with a reviewed segmentation")
                continue
            try:
                opened = self._open(some[0].study, ct_series, wanted)
            except InputError as error:
                found += [_unplaced(one, self._vocabulary) for one in some]
                reasons.append(str(error))
                continue
            placed = locate(some, opened, self._vocabulary)
            groups = {one.group for one in placed}
            found += placed + [_unplaced(one, self._vocabulary) for one in some if one.group not in groups]
        return found, "; ".join(dict.fromkeys(reasons))

    def _open(self, study: str, ct_series: str, wanted: Collection[str]) -> OpenCase:
        """The case, with the segmentations that have come after it was read."""
        opened = self._cases.open(study, ct_series)
        for uid in wanted:
            with suppress(InputError):  # one that is gone; the others can be shown
                opened = self._cases.open(study, ct_series, must_have=uid)
        return opened

    # In the background

    def start(self) -> None:
        """Look again and again, in a thread, until `close`."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name="annotations", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Begin the next round at once: something has come."""
        self._woken.set()

    def close(self) -> None:
        """End the thread; what it has not looked at waits for the next start."""
        self._stopping.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join(_STOP_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                looked = self.look()
                if looked.documents or looked.forgotten:
                    log.event("annotations", documents=looked.documents, count=looked.annotations)
            except Exception as error:  # noqa: BLE001 - nobody waits for it; the next round tries again
                log.event("annotations", error=type(error).__name__)
            self._woken.wait(INTERVAL_S)


class _Images:
    """Which series images belong to, asked of the archive once for each."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._series: dict[str, str] = {}

    def series_of(self, raw: RawAnnotation, reviewed: Collection[SegmentationSummary]) -> str:
        """The CT series that something was drawn on: by its segmentation, its image, or as the study's only one."""
        named = [one.ct_series for one in reviewed if one.segmentation == raw.segmentation]
        if named:
            return named[0]
        if raw.image:
            if raw.image not in self._series:
                found = self._archive.find_instances([raw.image])
                self._series[raw.image] = found[0].series_instance_uid if found else ""
            return self._series[raw.image]
        candidates = {one.ct_series for one in reviewed}
        return candidates.pop() if len(candidates) == 1 else ""


def _unplaced(raw: RawAnnotation, vocabulary: Vocabulary) -> Annotation:
    place = SegmentRef(raw.segmentation, raw.segment) if raw.segmentation else None
    return as_annotation(raw, vocabulary, None, place)


def _sum(one: Looked, other: Looked) -> Looked:
    return Looked(
        one.documents + other.documents,
        one.annotations + other.annotations,
        one.unplaced + other.unplaced,
        one.forgotten + other.forgotten,
        one.waiting + other.waiting,
    )


# ------------------------------------------------------------------------------------------------------ in the ledger


def _rows(found: Iterable[Annotation]) -> list[AnnotationRow]:
    rows: dict[tuple[int, str, int], AnnotationRow] = {}
    for one in found:
        place = one.place or SegmentRef("", 0)
        rows[one.group, place.segmentation, place.segment] = AnnotationRow(
            one.document, one.group, place.segmentation, place.segment, one.study, _content(one)
        )
    return list(rows.values())


def _content(one: Annotation) -> Mapping[str, Any]:
    finding = content_as_json(SegmentReview(0, findings=(one.finding,)))["findings"]
    return {
        "author": one.author,
        "program": one.program,
        "made_at": one.made_at,
        "distance_mm": one.distance_mm,
        "findings": finding,
    }


def _annotation(row: AnnotationRow) -> Annotation:
    said = content_from_json({"segment_number": row.segment, "findings": row.content["findings"]})
    return Annotation(
        document=row.document,
        group=row.group,
        author=str(row.content["author"]),
        program=str(row.content["program"]),
        finding=said.findings[0],
        study=row.study,
        made_at=str(row.content["made_at"]),
        place=SegmentRef(row.segmentation, row.segment) if row.segmentation else None,
        distance_mm=float(row.content["distance_mm"]),
    )
