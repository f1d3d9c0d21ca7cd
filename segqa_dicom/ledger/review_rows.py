"""What the ledger takes and gives about readers: frozen values, free of the database.

All times are seconds since 1970 (UTC), all UIDs normalised (`dicom.uids`). What readers say is a mapping of JSON
values, which the ledger keeps and does not look into.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from segqa_dicom.ledger.rows import OutboxDocument


class DraftState(StrEnum):
    """Progress of a reader with a segment. Drafts in the ledger are never `OPEN`."""

    OPEN = "open"
    DRAFT = "draft"
    """Something was entered."""
    DONE = "done"
    """Finished, in no document yet."""
    SIGNED = "signed"
    """In a document, and not changed since."""


@dataclass(frozen=True, slots=True, order=True)
class ReadingKey:
    """One reading of one segmentation by one reader: what becomes one document.

    reading : 1, and higher for repeats
    """

    login: str
    segmentation: str
    purpose: str
    reading: int


@dataclass(frozen=True, slots=True, order=True)
class DraftKey:
    """One segment in a reading; segment 0 = the segmentation as a whole."""

    reading: ReadingKey
    segment: int


@dataclass(frozen=True, slots=True)
class DraftMark:
    """A draft without what is said in it.

    document : SOP Instance UID of the newest document that says what the reader said about the segment before; empty
        if none does
    """

    key: DraftKey
    state: DraftState
    version: int
    document: str
    updated_at: float


@dataclass(frozen=True, slots=True)
class DraftRow:
    """A draft."""

    mark: DraftMark
    content: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True)
class SignedRow:
    """A review that is in a document, in the archive or on its way there.

    predecessor : the document that it replaces; empty if none
    content : all that is said in it; empty where it was not asked for
    signed_at : when, as its reader's clock said
    """

    document: str
    series: str
    study: str
    ct_series: str
    predecessor: str
    key: ReadingKey
    signed_at: float
    content: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Signing:
    """All that changes when a reader signs one reading of one segmentation.

    review : the new document
    seen : documents of that reading (`SignedRow.document`) that its maker knew
    versions : segment -> version of the draft that is now signed; those that are taken over from the document before
        have none
    documents : to be sent to the archive, in this order
    imported : ids of imported ratings that are in it
    """

    review: SignedRow
    seen: frozenset[str]
    versions: Mapping[int, int] = field(hash=False)
    documents: tuple[OutboxDocument, ...] = ()
    imported: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PendingReview:
    """A document of a reader that the archive has not confirmed.

    reason : why not, if it was tried
    """

    document: OutboxDocument
    segmentation: str
    login: str
    signed_at: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AssignmentRow:
    """Who is to look at a segment, or at a whole segmentation (segment 0)."""

    segmentation: str
    segment: int
    login: str
    assigned_by: str = ""


@dataclass(frozen=True, slots=True, order=True)
class RepeatRow:
    """A segment that a reader is to read again without being told."""

    login: str
    segmentation: str
    segment: int
    reading: int


@dataclass(frozen=True, slots=True)
class ImportedRow:
    """A rating from a table.

    rating_id : the same for the same rating, always
    subject : what was rated, for statistics
    content : the rating, and whatever helps to find its segmentation
    document : the review that it has become; empty if it has not
    """

    rating_id: str
    login: str
    subject: str
    content: Mapping[str, Any] = field(hash=False)
    document: str = ""


@dataclass(frozen=True, slots=True)
class AnnotationRow:
    """What somebody drew in another program, and the segment it lies on.

    group : number of the Measurement Group in the document
    segmentation, segment : empty and 0 if it lies on none
    """

    document: str
    group: int
    segmentation: str
    segment: int
    study: str
    content: Mapping[str, Any] = field(hash=False)
