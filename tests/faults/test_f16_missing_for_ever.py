"""F16: an image that segmentations refer to never comes; the CT of a segmentation never comes.

Pass: after the deadline the case is reported all the same, with the finding that says so (D1), and is `incomplete`; the
segmentation without CT is `incomplete` with a reason; when the image comes after all, a new revision is complete.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread

from segqa_dicom.ledger import CaseState, SegmentationState
from tests.faults.arriving import Pieces, current, of_kind, predecessors, text_of, wait_for_revision
from tests.servers.process import wait_until
from tests.servers.service import Serve, send
from tests.service.cases import copies

pytestmark = pytest.mark.servers

MISSING = 7


def test_what_is_missing_for_ever_is_reported_after_the_deadline(tmp_path: Path) -> None:
    pieces = Pieces(tmp_path / "case")
    (elsewhere,) = copies(pieces.folder, 1)
    orphan = sorted(elsewhere.glob("*.dcm"))[0]
    absent, segmentations = dcmread(pieces.ct[MISSING]), [dcmread(path) for path in pieces.segs]
    come = [path for path in pieces.all if path != pieces.ct[MISSING]]

    with Serve(tmp_path / "service", settings={"SEGQA_DEADLINE_S": "8"}) as service:
        assert send(service.dicom_port, *come, orphan) == 0
        service.wait_for_cases(1, state=CaseState.INCOMPLETE)
        (case,) = service.cases()
        assert case.missing == {str(one.SOPInstanceUID): (str(absent.SOPInstanceUID),) for one in segmentations}
        reports = of_kind(service.documents(), "report")
        assert len(reports) == len(segmentations)
        for report in reports:
            assert f"(first: {absent.SOPInstanceUID})" in text_of(report)
            assert "did not come with the CT" in text_of(report)

        with service.ledger() as ledger:

            def state_of(uid: str) -> tuple[SegmentationState, str]:
                found = ledger.segmentation(uid)
                assert found is not None
                return found.state, found.reason

            orphan_uid = str(dcmread(orphan).SOPInstanceUID)
            expected = (SegmentationState.INCOMPLETE, "the CT that it was drawn on has not arrived")
            wait_until(lambda: state_of(orphan_uid) == expected, 30, "the orphan is given up")
            assert {state_of(str(one.SOPInstanceUID))[0] for one in segmentations} == {SegmentationState.INCOMPLETE}

        assert send(service.dicom_port, pieces.ct[MISSING]) == 0
        wait_for_revision(service, 2)
        states = {one.revision: one.state for one in service.cases()}
        assert states == {1: CaseState.SUPERSEDED, 2: CaseState.CONFIRMED}
        after = of_kind(current(service.documents()), "report")
        assert sorted(uid for one in after for uid in predecessors(one)) == sorted(
            one.SOPInstanceUID for one in reports
        )
        assert not any("did not come with the CT" in text_of(one) for one in after)
