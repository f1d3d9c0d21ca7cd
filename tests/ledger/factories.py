"""Objects for a ledger, made of small numbers."""

from __future__ import annotations

from typing import Any

from segqa_dicom.digests import digest
from segqa_dicom.ledger import Case, Claim, Ledger, NewCase, OutboxDocument, SegmentationRow

NOW = 1_700_000_000.0
LEASE_S = 45.0
ATTEMPTS = 3
SEG_CLASS = "1.2.840.10008.5.1.4.1.1.66.4"
SR_CLASS = "1.2.840.10008.5.1.4.1.1.88.33"


def new_case(subject: str = "1.1", segmentations: tuple[str, ...] = ("1.9.1",), **changes: Any) -> NewCase:
    values: dict[str, Any] = {
        "key": digest([subject, sorted(segmentations)]),
        "ct_study_instance_uid": "1.0",
        "ct_series_instance_uid": subject,
        "segmentations": segmentations,
        "ruleset_hash": "rules",
        "code_version": "1",
    }
    return NewCase(**(values | changes))


def segmentation(uid: str = "1.9.1", subject: str | None = "1.1", **changes: Any) -> SegmentationRow:
    values: dict[str, Any] = {
        "sop_instance_uid": uid,
        "study_instance_uid": "1.0",
        "series_instance_uid": "1.9",
        "sop_class_uid": SEG_CLASS,
        "digest": "d" * 64,
        "ct_series_instance_uid": subject,
        "referenced_series": ("1.1",),
        "referenced_instances": tuple(f"1.1.{number}" for number in range(2000)),
        "arrived_at": NOW,
    }
    return SegmentationRow(**(values | changes))


def document(uid: str = "1.7.1", content: bytes = b"DICM" * 1000) -> OutboxDocument:
    return OutboxDocument(uid, "1.7", "1.0", SR_CLASS, "report", content, "e" * 64)


def opened(ledger: Ledger, subject: str = "1.1", segmentations: tuple[str, ...] = ("1.9.1",), **changes: Any) -> Case:
    now = changes.pop("now", NOW)
    case = ledger.open_revision(new_case(subject, segmentations, **changes), now=now)
    assert case is not None
    return case


def claimed(ledger: Ledger, case_id: str, *, now: float = NOW, owner: str = "worker") -> Claim:
    claim = ledger.claim(case_id, owner, now=now, lease_s=LEASE_S, max_attempts=ATTEMPTS)
    assert claim is not None
    return claim


def stored(ledger: Ledger, claim: Claim, *, now: float = NOW) -> None:
    """Produce one document and have it stored."""
    name = document(f"1.7.{claim.case.revision}")
    assert ledger.produced(claim.case_id, claim.token, [name], now=now, lease_s=LEASE_S)
    assert ledger.document_stored(claim.case_id, claim.token, name.sop_instance_uid)


def finished(ledger: Ledger, claim: Claim, *, now: float = NOW) -> Case:
    stored(ledger, claim, now=now)
    assert ledger.delivered(claim.case_id, claim.token, now=now)
    return ledger.case(claim.case_id)
