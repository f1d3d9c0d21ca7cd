"""What must happen and what has happened: cases, claims, arrivals, and documents on their way to the archive."""

from segqa_dicom.ledger.ledger import Ledger
from segqa_dicom.ledger.rows import (
    Case,
    CaseState,
    Claim,
    Conflict,
    LedgerSummary,
    NewCase,
    OutboxDocument,
    Refusal,
    SegmentationRow,
    SegmentationState,
    Subject,
    Touch,
)

__all__ = [
    "Case",
    "CaseState",
    "Claim",
    "Conflict",
    "Ledger",
    "LedgerSummary",
    "NewCase",
    "OutboxDocument",
    "Refusal",
    "SegmentationRow",
    "SegmentationState",
    "Subject",
    "Touch",
]
