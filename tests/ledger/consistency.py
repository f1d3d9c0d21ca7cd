"""What is true of every ledger at every moment between two transactions."""

from __future__ import annotations

from segqa_dicom.ledger import CaseState, Ledger
from segqa_dicom.ledger.rows import DELIVERING, HELD


def check_consistent(ledger: Ledger) -> None:
    """Fail if a case contradicts itself, its subject or the outbox."""
    cases = ledger.cases(limit=100_000)
    for case in cases:
        pending = {document.sop_instance_uid for document in ledger.pending_documents(case.case_id)}
        assert pending <= set(case.documents), case
        if case.state is CaseState.STORING and case.documents:
            assert pending, case
        if case.state not in (CaseState.STORING, CaseState.QUARANTINED):
            assert not pending, case
        if case.state is CaseState.RUNNING:
            assert case.lease_until is not None, case
        if case.state not in HELD:
            assert case.lease_until is None, case
        if case.state in DELIVERING:
            assert case.attempt >= 1, case
    for subject in {case.ct_series_instance_uid for case in cases}:
        revisions = [case for case in cases if case.ct_series_instance_uid == subject]
        assert len({case.revision for case in revisions}) == len(revisions), revisions
        newest = max(revisions, key=lambda case: case.revision)
        assert newest.state is not CaseState.SUPERSEDED, revisions
