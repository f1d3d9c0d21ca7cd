"""From what a reader has finished to documents in the archive.

Two steps, and a crash between them loses nothing: the documents go into the ledger's outbox in the transaction that
makes the drafts signed; then they are sent until the archive confirms, by whoever comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from segqa_dicom.archive.content import content_digest
from segqa_dicom.assessment.codec import review_as_json
from segqa_dicom.assessment.model import Purpose, Review, Reviewer, SegmentReview
from segqa_dicom.assessment.vocabulary import Vocabulary
from segqa_dicom.errors import ConfigurationError, InputError, PeerUnavailable
from segqa_dicom.findings import FindingsIndex, read_document
from segqa_dicom.ledger import Ledger, OutboxDocument, ReadingKey, SignedRow, Signing
from segqa_dicom.pictures import OpenCases
from segqa_dicom.reviews.workflow.model import MachineSegment, SignedReview
from segqa_dicom.reviews.workflow.progress_of_readers import segments_of
from segqa_dicom.reviews.workflow.signed_reviews import ReviewMemory
from segqa_dicom.reviews.workflow.timestamps import made_at
from segqa_dicom.sr import SOP_CLASS_UID, Document, Kind, Predecessor
from segqa_dicom.sr.write.review import as_written, build_review_documents

_ARROWS = (
    "SELECT document.sop_instance_uid, document.series_instance_uid FROM text"
    " CROSS JOIN reference ON reference.instance = text.id CROSS JOIN document ON document.id = reference.document"
    " WHERE text.value = ? AND document.kind = ? ORDER BY document.id LIMIT 1"
)


class NothingSaid(InputError):
    """A document would say nothing."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be signed of one reading.

    said : what has changed, by segment; all else is taken over from the document before
    versions : segment -> version of the draft
    considered : documents that the reader had before their eyes, when adjudicating
    imported : ids of imported ratings that it is made of
    now : when, in seconds since 1970
    """

    key: ReadingKey
    reviewer: Reviewer
    said: Mapping[int, SegmentReview]
    versions: Mapping[int, int]
    now: float
    is_signed: bool = True
    considered: Sequence[Predecessor] = ()
    imported: tuple[str, ...] = ()


class Signer:
    """Makes documents of what readers say, and puts them into the outbox."""

    def __init__(
        self,
        ledger: Ledger,
        index: FindingsIndex,
        cases: OpenCases | None,
        memory: ReviewMemory,
        vocabulary: Vocabulary,
    ) -> None:
        self._ledger, self._index = ledger, index
        self._cases, self._memory, self._vocabulary = cases, memory, vocabulary

    def learn_of(self, study: str) -> None:
        """Learn what was signed before in a study, from the archive: else a chain of documents might be forked.

        If the archive is away, what the index knows must do; raises `PeerUnavailable` if the index knows nothing.
        """
        try:
            self._memory.catch_up(study)
        except PeerUnavailable:
            if not self._index.is_filled():
                raise
            self._memory.recall(study)

    def sign(self, order: Order, machine: MachineSegment) -> list[Document] | None:
        """Put the documents of one reading into the outbox; None if somebody else changed something meanwhile.

        machine : of the segmentation; `learn_of` was called for its study
        """
        key = order.key
        seen = self._ledger.documents_of_reading(key)
        heads = self._memory.heads(key)
        review = self._review(order, heads)
        documents = self._built(review, machine, heads, order.considered)
        main = next(one for one in documents if one.kind is Kind.REVIEW)
        row = SignedRow(
            document=main.sop_instance_uid,
            series=main.series_instance_uid,
            study=machine.study,
            ct_series=machine.ct_series,
            predecessor=heads[-1].document if heads else "",
            key=key,
            signed_at=order.now,
            content=review_as_json(review),
        )
        outgoing = tuple(_outbox_document(one, machine.study) for one in documents)
        signing = Signing(row, frozenset(seen), order.versions, outgoing, order.imported)
        return documents if self._ledger.sign(signing, now=order.now) else None

    def _review(self, order: Order, heads: Sequence[SignedReview]) -> Review:
        said: dict[int, SegmentReview] = {}
        for head in heads:
            said.update(segments_of(head))
        said.update(order.said)
        segments = tuple(said[number] for number in sorted(said) if not said[number].is_empty)
        if not segments:
            raise NothingSaid(
                f"nothing would be left in the review of {order.key.segmentation}: say something about a segment, or "
                "have the document deleted in the archive"
            )
        review = Review(
            segmentation=order.key.segmentation,
            reviewer=order.reviewer,
            segments=segments,
            made_at=made_at(order.now),
            purpose=Purpose(order.key.purpose),
            reading=order.key.reading,
            is_signed=order.is_signed,
            vocabulary_version=self._vocabulary.version,
        )
        return as_written(review)

    def _built(
        self,
        review: Review,
        machine: MachineSegment,
        heads: Sequence[SignedReview],
        considered: Sequence[Predecessor],
    ) -> list[Document]:
        if self._cases is None:
            raise ConfigurationError("documents cannot be written here: no images are at hand")
        opened = self._cases.open(machine.study, machine.ct_series, must_have=review.segmentation)
        rank = opened.segmentation_index(review.segmentation)
        report = self._predecessor(machine.report)
        earlier: dict[Kind, Predecessor] = {}
        if heads:
            newest = heads[-1]
            earlier[Kind.REVIEW] = Predecessor(newest.document, newest.series)
            if (arrows := self._arrows_of(newest)) is not None:
                earlier[Kind.REVIEW_KEYIMG] = arrows
        return build_review_documents(
            review,
            ct=opened.case.ct.record,
            geometry=opened.case.ct.geometry,
            segmentation=opened.case.segmentations[rank],
            segmentation_rank=rank,
            vocabulary=self._vocabulary,
            machine_report=report,
            considered=considered,
            earlier=earlier,
        )

    def _arrows_of(self, review: SignedReview) -> Predecessor | None:
        """The markers that belong to a review: on their way to the archive, or there."""
        login, segmentation = review.review.reviewer.login, review.review.segmentation
        for one in self._ledger.pending_reviews(login=login, segmentation=segmentation):
            if one.document.kind == Kind.REVIEW_KEYIMG:
                references = read_document(one.document.content).references
                if any(other.sop_instance_uid == review.document for other in references):
                    return Predecessor(one.document.sop_instance_uid, one.document.series_instance_uid)
        rows = self._index.rows(_ARROWS, (review.document, Kind.REVIEW_KEYIMG.value))
        return Predecessor(rows[0][0], rows[0][1]) if rows else None

    def _predecessor(self, document: str) -> Predecessor | None:
        """A document of the index, as others refer to it."""
        if not document:
            return None
        rows = self._index.rows(
            "SELECT series_instance_uid, sop_class_uid FROM document WHERE sop_instance_uid = ?", (document,)
        )
        return Predecessor(document, rows[0][0], rows[0][1]) if rows else None


def _outbox_document(document: Document, study: str) -> OutboxDocument:
    return OutboxDocument(
        sop_instance_uid=document.sop_instance_uid,
        series_instance_uid=document.series_instance_uid,
        study_instance_uid=study,
        sop_class_uid=SOP_CLASS_UID,
        kind=document.kind.value,
        content=document.file,
        digest=content_digest(document.file),
    )
