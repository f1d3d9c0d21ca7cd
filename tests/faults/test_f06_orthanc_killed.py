"""F06: SIGKILL of Orthanc while CT and SEG objects arrive, and while our documents are on their way to it.

The feed goes on where it was, no object is missed, and each document is stored once.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from segqa_dicom.ledger import CaseState
from tests.faults.celery_service import wait_for_holder
from tests.servers.orthanc import Orthanc
from tests.servers.process import wait_until
from tests.servers.service import Serve, documents_at, send, uids
from tests.service.cases import TINY, copies, small_case

pytestmark = pytest.mark.servers


@pytest.fixture
def service(tmp_path: Path, orthanc: Orthanc) -> Iterator[Serve]:
    with Serve(tmp_path / "service", archive=orthanc.dicomweb_url, workers=1) as running:
        yield running


def check(orthanc: Orthanc, service: Serve, count: int) -> None:
    """All cases are reviewed, with all images and segmentations, and each has its documents once."""
    service.wait_for_cases(count)
    newest = {case.ct_series_instance_uid: case for case in service.cases(CaseState.CONFIRMED)}
    assert len(newest) == count
    assert all(len(case.segmentations) == 2 and not case.missing for case in newest.values())
    stored = uids(documents_at(orthanc.dicomweb_url))
    assert sorted(stored) == sorted({uid for case in service.cases() for uid in case.documents})


@pytest.mark.parametrize("through", ["orthanc", "segqa"])
def test_f06_orthanc_is_killed_while_objects_arrive(
    tmp_path: Path, orthanc: Orthanc, service: Serve, through: str
) -> None:
    studies = copies(small_case(tmp_path / "case", TINY), 3)
    ports = {"orthanc": (orthanc.dicom_port, "ORTHANC"), "segqa": (service.dicom_port, "SEGQA")}
    port, aet = ports[through]
    with ThreadPoolExecutor(1) as sender:
        sent = sender.submit(send, port, *studies, aet=aet)
        wait_until(lambda: orthanc.count() >= 20, 60, "some objects have arrived", every_s=0.01)
        orthanc.kill()
        is_sent = sent.result() == 0
    orthanc.start()
    if not is_sent:
        assert through == "orthanc"  # our own node has an inbox
        assert send(port, *studies, aet=aet) == 0
    check(orthanc, service, len(studies))


def test_f06_orthanc_is_killed_while_documents_are_stored(tmp_path: Path, orthanc: Orthanc, service: Serve) -> None:
    (study,) = copies(small_case(tmp_path / "case", TINY), 1)
    assert send(service.dicom_port, study) == 0
    wait_for_holder(service, state=CaseState.STORING)
    orthanc.kill()
    assert not service.cases(CaseState.CONFIRMED)
    orthanc.start()
    check(orthanc, service, 1)
    assert [case.attempt for case in service.cases()] == [1]
