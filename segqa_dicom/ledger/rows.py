"""What the ledger takes and gives: frozen values, free of the database.

All times are seconds since 1970 (UTC), all durations seconds, all UIDs normalised (`segqa_dicom.dicom.uids`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

LONGEST_MISSING = 20
"""So many missing images are kept by name for each segmentation of a case."""


class CaseState(StrEnum):
    """Where a case is. The usual way: ready, running, storing, stored, confirmed."""

    WAITING = "waiting"
    """Something has not arrived yet."""
    READY = "ready"
    """Whoever comes first may run it."""
    RUNNING = "running"
    """A worker has a lease on it and computes."""
    STORING = "storing"
    """Its documents are in the outbox, on their way to the archive."""
    STORED = "stored"
    """The archive has all its documents; only the bookkeeping is left."""
    CONFIRMED = "confirmed"
    """Done."""
    INCOMPLETE = "incomplete"
    """Done, with images missing that its segmentations refer to."""
    QUARANTINED = "quarantined"
    """Given up; `reason` says why. It waits for somebody to replay it."""
    SUPERSEDED = "superseded"
    """A newer revision of the same subject has taken its place."""


DELIVERING = (CaseState.STORING, CaseState.STORED)
"""States with documents in the outbox: never computed again, only delivered."""
HELD = (CaseState.RUNNING, *DELIVERING)
"""States in which somebody may have a lease."""
ACTIVE = (CaseState.WAITING, CaseState.READY, *HELD)
"""States that end by themselves."""
FINISHED = (CaseState.CONFIRMED, CaseState.INCOMPLETE)
"""States of a case that was delivered."""


class SegmentationState(StrEnum):
    """What became of a segmentation."""

    WAITING = "waiting"
    """No document says anything about it yet."""
    REVIEWED = "reviewed"
    INCOMPLETE = "incomplete"
    """Reviewed without some of the images that it refers to."""
    REFUSED = "refused"
    """It cannot be used; `reason` says why."""


@dataclass(frozen=True, slots=True)
class Touch:
    """News about a CT series: an image of it or a segmentation on it has arrived.

    ct_study_instance_uid : None if the object that arrived does not say
    check_at : when the quiet time after it is over
    """

    ct_series_instance_uid: str
    ct_study_instance_uid: str | None
    arrived_at: float
    check_at: float


@dataclass(frozen=True, slots=True)
class Subject:
    """A CT series that segmentations may be drawn on.

    arrived_at : of the newest object; grows with each touch, so that it also tells one touch from the next
    check_at : when it is to be evaluated next; None if nothing is due
    evaluated_at : None if it never was
    """

    ct_series_instance_uid: str
    ct_study_instance_uid: str | None
    arrived_at: float
    check_at: float | None
    evaluated_at: float | None


@dataclass(frozen=True, slots=True)
class SegmentationRow:
    """A segmentation object (SEG).

    digest : of its content (`segqa_dicom.archive.content`)
    ct_series_instance_uid : the subject it is drawn on; None until that is known
    referenced_series, referenced_instances : UIDs that it names, in its order
    reason : why it was refused; empty otherwise
    """

    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    digest: str
    ct_series_instance_uid: str | None
    referenced_series: tuple[str, ...]
    referenced_instances: tuple[str, ...]
    arrived_at: float
    state: SegmentationState = SegmentationState.WAITING
    reason: str = ""


@dataclass(frozen=True, slots=True)
class NewCase:
    """What makes one revision of the review of a subject.

    key : 64 hexadecimal digits, the same for the same input, rules and measuring code
    segmentations : SOP Instance UIDs
    missing : SOP Instance UIDs of images that have not arrived, by SOP Instance UID of the segmentation that names
        them; only the first 20 of each are kept
    """

    key: str
    ct_study_instance_uid: str
    ct_series_instance_uid: str
    segmentations: tuple[str, ...]
    ruleset_hash: str
    code_version: str
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Case:
    """One revision of the review of a subject, and how far it is.

    case_id : the first 16 hexadecimal digits of `key`
    revision : 1, 2, … in the order of opening; the newest of a subject counts
    attempt : how often it has been started since it was opened or replayed
    lease_owner, lease_until : who holds it, and for how long if not heard of again; None if nobody does
    token : grows with each claim; what an older claim writes is refused (fencing)
    ready_at : since when it could have been started
    not_before : it is not started earlier
    queued_at : when it was last sent to a queue; None if not since it became startable
    documents : SOP Instance UIDs of what it produced
    """

    case_id: str
    key: str
    ct_study_instance_uid: str
    ct_series_instance_uid: str
    revision: int
    segmentations: tuple[str, ...]
    missing: Mapping[str, tuple[str, ...]] = field(hash=False)
    state: CaseState
    attempt: int
    lease_owner: str | None
    lease_until: float | None
    token: int
    ready_at: float
    not_before: float
    queued_at: float | None
    created_at: float
    updated_at: float
    reason: str
    documents: tuple[str, ...]
    ruleset_hash: str
    code_version: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a case, until its lease ends or somebody else has a higher token.

    to_deliver : its documents are in the outbox: send these, compute nothing
    """

    case: Case
    token: int
    to_deliver: bool

    @property
    def case_id(self) -> str:
        """Of its case."""
        return self.case.case_id


@dataclass(frozen=True, slots=True)
class OutboxDocument:
    """A document on its way to the archive.

    kind : what it is, in one word (`report`, `review`…)
    content : the DICOM file
    digest : of its content (`segqa_dicom.archive.content`)
    """

    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
    sop_class_uid: str
    kind: str
    content: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two contents with one SOP Instance UID: the first is kept, the other was refused."""

    sop_instance_uid: str
    kept_digest: str
    refused_digest: str
    series_instance_uid: str
    seen_at: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """An object in quarantine that belongs to no case.

    sop_instance_uid : empty if it has none that can be read
    name : of the rule or error that it was refused for
    path : where it lies
    """

    refusal_id: int
    sop_instance_uid: str
    name: str
    reason: str
    path: str
    seen_at: float


@dataclass(frozen=True, slots=True)
class LedgerSummary:
    """The ledger in numbers, for status and metrics.

    cases : by `CaseState`; `waiting` also counts subjects with waiting segmentations and no case that is under way
    oldest_runnable_s : how long the oldest case that could run has been waiting for somebody; None if none does
    outbox : documents that the archive has not confirmed
    quarantined_objects : refused objects that belong to no case
    attempts : sum of the attempts of all cases
    segmentations : by `SegmentationState`
    """

    cases: dict[str, int]
    oldest_runnable_s: float | None
    outbox: int
    quarantined_objects: int
    conflicts: int
    attempts: int
    segmentations: dict[str, int]
