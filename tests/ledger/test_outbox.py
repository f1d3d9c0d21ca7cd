"""Documents from production to confirmation."""

from __future__ import annotations

from segqa_dicom.ledger import CaseState, Ledger, SegmentationState
from tests.ledger.factories import LEASE_S, NOW, claimed, document, finished, opened, segmentation, stored


def test_documents_come_out_as_they_went_in_and_in_order(ledger: Ledger) -> None:
    claim = claimed(ledger, opened(ledger).case_id)
    documents = [document("1.7.3", b""), document("1.7.1", bytes(range(256)) * 5000), document("1.7.2")]
    assert ledger.produced(claim.case_id, claim.token, documents, now=NOW + 1, lease_s=LEASE_S)
    case = ledger.case(claim.case_id)
    assert (case.state, case.documents) == (CaseState.STORING, ("1.7.3", "1.7.1", "1.7.2"))
    assert case.lease_until == NOW + 1 + LEASE_S
    assert ledger.pending_documents(claim.case_id) == documents
    assert not ledger.produced(claim.case_id, claim.token, documents, now=NOW + 1, lease_s=LEASE_S)


def test_a_case_is_done_only_after_all_its_documents_are_stored(ledger: Ledger) -> None:
    claim = claimed(ledger, opened(ledger).case_id)
    assert not ledger.delivered(claim.case_id, claim.token, now=NOW)
    assert not ledger.document_stored(claim.case_id, claim.token, "1.7.1")
    ledger.produced(claim.case_id, claim.token, [document("1.7.1"), document("1.7.2")], now=NOW, lease_s=LEASE_S)
    assert ledger.document_stored(claim.case_id, claim.token, "1.7.2")
    assert ledger.document_stored(claim.case_id, claim.token, "1.7.2")
    assert ledger.pending_documents(claim.case_id) == [document("1.7.1")]
    assert not ledger.delivered(claim.case_id, claim.token, now=NOW)
    assert ledger.case(claim.case_id).state is CaseState.STORING
    assert ledger.document_stored(claim.case_id, claim.token, "1.7.1")
    assert ledger.case(claim.case_id).state is CaseState.STORED
    assert ledger.delivered(claim.case_id, claim.token, now=NOW)
    case = ledger.case(claim.case_id)
    assert (case.state, case.lease_until, case.documents) == (CaseState.CONFIRMED, None, ("1.7.1", "1.7.2"))
    assert not ledger.delivered(claim.case_id, claim.token, now=NOW)
    assert ledger.pending_documents(claim.case_id) == []


def test_a_case_without_documents_is_done_at_once(ledger: Ledger) -> None:
    claim = claimed(ledger, opened(ledger).case_id)
    assert ledger.produced(claim.case_id, claim.token, [], now=NOW, lease_s=LEASE_S)
    assert ledger.delivered(claim.case_id, claim.token, now=NOW)


def test_segmentations_are_marked_with_their_case(ledger: Ledger) -> None:
    uids = ("1.9.1", "1.9.2", "1.9.3", "1.9.4")
    for uid in uids:
        ledger.add_segmentation(segmentation(uid))
    ledger.mark_segmentation("1.9.1", SegmentationState.INCOMPLETE, "its CT has not arrived")
    ledger.mark_segmentation("1.9.3", SegmentationState.REFUSED, "damaged")
    case = opened(ledger, segmentations=uids[:3], missing={"1.9.2": ("1.1.1",)})
    assert finished(ledger, claimed(ledger, case.case_id)).state is CaseState.INCOMPLETE
    states = {row.sop_instance_uid: row.state for row in ledger.segmentations_on("1.1")}
    assert states == {
        "1.9.1": SegmentationState.REVIEWED,
        "1.9.2": SegmentationState.INCOMPLETE,
        "1.9.3": SegmentationState.REFUSED,
        "1.9.4": SegmentationState.WAITING,
    }
    assert [row.reason for row in ledger.segmentations_on("1.1")] == ["", "", "damaged", ""]


def test_an_older_revision_that_ends_late_marks_nothing(ledger: Ledger) -> None:
    ledger.add_segmentation(segmentation())
    old = claimed(ledger, opened(ledger, missing={"1.9.1": ("1.1.1",)}).case_id)
    newer = claimed(ledger, opened(ledger, key="c" * 64).case_id)
    stored(ledger, old)
    finished(ledger, newer)
    assert ledger.delivered(old.case_id, old.token, now=NOW)
    (row,) = ledger.segmentations_on("1.1")
    assert row.state is SegmentationState.REVIEWED
