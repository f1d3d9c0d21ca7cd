"""Signing: from finished drafts to documents in the archive."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from segqa_dicom import log
from segqa_dicom.assessment.codec import content_from_json
from segqa_dicom.assessment.model import Purpose, Reviewer, SegmentReview
from segqa_dicom.errors import Inconsistent, InputError, PeerError, SegQaError
from segqa_dicom.findings.worklist import machine_segment, machine_segments
from segqa_dicom.ledger import DraftKey, DraftState, ReadingKey
from segqa_dicom.model import WHOLE, SegmentRef
from segqa_dicom.pictures import OpenCases
from segqa_dicom.reviews.workflow.delivery import deliver
from segqa_dicom.reviews.workflow.model import MachineSegment, Unsigned, WorklistFilters, Written
from segqa_dicom.reviews.workflow.shared import Begun, Shared
from segqa_dicom.reviews.workflow.signed_reviews import key_of
from segqa_dicom.reviews.workflow.signing import Order, Signer
from segqa_dicom.sr import Document, Predecessor

_ATTEMPTS = 8


class DraftsChanged(InputError):
    """Drafts were changed all the time while they were to be signed."""


class Signatures:
    """Finished drafts of readers, and the documents that they become.

    cases : open cases, for writing documents; None where nobody signs
    """

    def __init__(self, shared: Shared, cases: OpenCases | None) -> None:
        self._shared = shared
        self._signer = Signer(shared.ledger, shared.index, cases, shared.memory, shared.vocabulary)

    def unsigned(self, reviewer: Reviewer) -> list[Unsigned]:
        """What the reader has finished and not signed, one entry for each document that would be written."""
        self._shared.memory.refresh()
        finished: dict[ReadingKey, list[int]] = {}
        begun: dict[ReadingKey, int] = {}
        for draft, one in sorted(self._shared.begun(reviewer).drafts.items()):
            if one.status is DraftState.DONE:
                finished.setdefault(draft.reading, []).append(draft.segment)
            elif one.status is DraftState.DRAFT:
                begun[draft.reading] = begun.get(draft.reading, 0) + 1
        entries = []
        for key, segments in finished.items():
            said = self._said(key, segments)
            machine = machine_segment(self._shared.index, SegmentRef(key.segmentation, WHOLE))
            entries.append(
                Unsigned(
                    segmentation=key.segmentation,
                    model=machine.model if machine else "",
                    study=machine.study if machine else "",
                    purpose=Purpose(key.purpose),
                    reading=key.reading,
                    segments=tuple(said[segment][0] for segment in segments),
                    labels=self._labels(key.segmentation, segments),
                    drafts=begun.get(key, 0),
                )
            )
        return entries

    def sign(self, reviewer: Reviewer, segmentations: Sequence[str], *, is_signed: bool = True) -> list[Written]:
        """Write what the reader has finished of these segmentations into documents, and send them to the archive.

        is_signed : False = the documents are preliminary

        What was signed before and not changed is taken over into the new document, which replaces the one before. If
        the archive does not take a document now, it is sent later: `Written.is_confirmed` is False. If a segmentation
        cannot be signed, the others are nevertheless, and then the reason is raised; nothing that was typed is lost.
        """
        documents: list[tuple[str, Document]] = []
        failures: list[SegQaError] = []
        for uid in dict.fromkeys(segmentations):
            try:
                documents += [(uid, one) for one in self._sign(reviewer, uid, is_signed=is_signed)]
            except (InputError, PeerError) as error:
                failures.append(error)
        try:
            self.deliver()
        except PeerError as error:
            log.event("reviews wait", reason=type(error).__name__)
        if failures:
            raise failures[0]
        waiting = {one.document.sop_instance_uid for one in self._shared.ledger.pending_reviews(login=reviewer.login)}
        return [
            Written(one.kind.value, one.sop_instance_uid, uid, one.sop_instance_uid not in waiting)
            for uid, one in documents
        ]

    def deliver(self) -> int:
        """Send documents that the archive has not confirmed; returns how many it has. For a job, and at the start."""
        return deliver(self._shared.ledger, self._shared.archive, self._shared.index, now=self._shared.clock())

    def forget_deleted(self) -> int:
        """Forget reviews whose documents were deleted in the archive; returns how many. For a job."""
        return self._shared.memory.forget_deleted()

    def _sign(self, reviewer: Reviewer, segmentation: str, *, is_signed: bool) -> list[Document]:
        machine = machine_segment(self._shared.index, SegmentRef(segmentation, WHOLE))
        if machine is None:
            raise Inconsistent(
                f"segmentation {segmentation} has no report in the index of findings yet; wait, or run `segqa reindex`"
            )
        self._signer.learn_of(machine.study)
        written: list[Document] = []
        for _ in range(_ATTEMPTS):
            self._shared.memory.refresh()
            wanted = _to_sign(self._shared.begun(reviewer, segmentation=segmentation), is_signed=is_signed)
            if not wanted:
                return written
            for key, segments in wanted.items():
                documents = self._sign_reading(reviewer, key, segments, machine, is_signed=is_signed)
                written += documents or ()  # None: something was changed meanwhile; once more
        raise DraftsChanged(f"drafts of segmentation {segmentation} change again and again; sign when that is over")

    def _sign_reading(
        self,
        reviewer: Reviewer,
        key: ReadingKey,
        segments: Sequence[int],
        machine: MachineSegment,
        *,
        is_signed: bool,
    ) -> list[Document] | None:
        said = self._said(key, segments)
        order = Order(
            key=key,
            reviewer=self._named(reviewer),
            said={segment: content for segment, (content, _) in said.items()},
            versions={segment: version for segment, (_, version) in said.items()},
            now=self._shared.clock(),
            is_signed=is_signed,
            considered=self._considered(key),
        )
        return self._signer.sign(order, machine)

    def _considered(self, key: ReadingKey) -> list[Predecessor]:
        """What an adjudicator had before their eyes."""
        if key.purpose != Purpose.ADJUDICATION:
            return []
        reviews = self._shared.memory.current(segmentations=[key.segmentation])
        return [Predecessor(one.document, one.series) for one in reviews if one.review.purpose is Purpose.READING]

    def _said(self, key: ReadingKey, segments: Iterable[int]) -> dict[int, tuple[SegmentReview, int]]:
        """What is typed about segments, with the version of the draft; both from one look at the ledger."""
        rows = {row.mark.key: row for row in self._shared.ledger.drafts(key.login, segmentation=key.segmentation)}
        said = {}
        for segment in segments:
            row = rows.get(DraftKey(key, segment))
            if row is not None:
                said[segment] = content_from_json(row.content), row.mark.version
        return said

    def _labels(self, segmentation: str, segments: Sequence[int]) -> dict[int, str]:
        filters = WorklistFilters(segmentation=segmentation)
        places = [SegmentRef(segmentation, segment) for segment in segments]
        found, _ = machine_segments(self._shared.index, filters, only=places, limit=len(places))
        labels = {one.place.segment: one.label for one in found}
        return {segment: labels.get(segment, f"Segment {segment}" if segment else "Whole") for segment in segments}

    def _named(self, reviewer: Reviewer) -> Reviewer:
        organization = reviewer.organization or self._shared.settings.reviewer_organization
        return replace(reviewer, name=reviewer.name or reviewer.login, organization=organization)


def _to_sign(begun: Begun, *, is_signed: bool) -> dict[ReadingKey, list[int]]:
    """Segments to be signed, by reading; none of a reading whose preliminary document is to become a signed one."""
    wanted: dict[ReadingKey, list[int]] = {}
    for key, one in sorted(begun.drafts.items()):
        if one.status is DraftState.DONE:
            wanted.setdefault(key.reading, []).append(key.segment)
    for review in begun.reviews:
        if is_signed and not review.review.is_signed:
            wanted.setdefault(key_of(review.review), [])
    return wanted
