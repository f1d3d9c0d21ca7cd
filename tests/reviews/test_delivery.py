"""Between signing and the archive: processes that are killed, an archive that is away, documents that it refuses."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread

from segqa_dicom.archive import Outcome
from segqa_dicom.archive.dicomweb import DicomwebArchive
from segqa_dicom.assessment.model import Reviewer
from segqa_dicom.config import ServiceSettings
from segqa_dicom.errors import PeerUnavailable
from segqa_dicom.reviews.workflow.delivery import REFUSED_PAUSE_S
from segqa_dicom.reviews.workflow.model import DraftState, Task
from segqa_dicom.service import Setup
from segqa_dicom.service.coordinator import Coordinator
from tests.reviews.office import ALL, ANNA, BEN, LIVER, Office, finish, outgoing
from tests.reviews.signer import POINTS
from tests.reviews.test_signing import current, ratings
from tests.servers.orthanc import Orthanc
from tests.servers.process import Process, wait_until

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.servers


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def anywhere(request: pytest.FixtureRequest, reviewed: Path, tmp_path: Path) -> Iterator[Office]:
    """An office with a ledger in each of the two databases."""
    if request.param == "sqlite":
        office = Office(reviewed, tmp_path / "office")
        yield office
        office.close()
    else:
        with request.getfixturevalue("postgres").database() as url:
            office = Office(reviewed, tmp_path / "office", ledger_url=url)
            yield office
            office.close()


def killed_at(office: Office, point: str, *segmentations: str) -> None:
    command = [sys.executable, "-m", "tests.reviews.signer", "--folder", office.folder, "--ledger", office.ledger_url]
    reached = office.folder / "reached"
    with Process([*command, "--point", point, *segmentations], office.folder / "signer.log", cwd=ROOT) as process:
        wait_until(lambda: reached.exists() or not process.is_running, 120, f"the signer is at {point}")
        assert reached.exists(), process.output()[-3000:]
        process.kill()
    reached.unlink()


@pytest.mark.parametrize("point", POINTS)
def test_a_process_that_is_killed_while_signing_loses_and_doubles_nothing(anywhere: Office, point: str) -> None:
    office = anywhere
    place, other = [one for one in office.places() if one.segmentation == office.segmentations()[0]][:2]
    workflow = office.workflow()
    finish(workflow, ANNA, place, "5")
    workflow.sign(ANNA, [place.segmentation])
    office.clock.pass_s(50)
    finish(workflow, ANNA, other, "2", LIVER)
    killed_at(office, point, place.segmentation)

    later = office.workflow()
    was_signed = point != "before signing"
    assert later.draft(ANNA, Task(other)).status is (DraftState.SIGNED if was_signed else DraftState.DONE)
    assert len(office.ledger.pending_reviews()) == (2 if was_signed else 0)
    assert later.deliver() == (2 if was_signed else 0)
    assert later.deliver() == 0
    assert len(later.sign(ANNA, [place.segmentation])) == (0 if was_signed else 2)
    (newest,) = current(office)
    assert ratings(newest) == {place.segment: "5", other.segment: "2"}
    assert len(office.documents()) == 2
    assert len(office.documents("review_keyimg")) == 1
    assert office.ledger.pending_reviews() == []


def test_amending_before_the_first_document_has_reached_the_archive_forks_nothing(office: Office) -> None:
    place, other = [one for one in office.places() if one.segmentation == office.segmentations()[0]][:2]
    workflow = office.workflow()
    finish(workflow, ANNA, place, "5", LIVER)
    killed_at(office, "before storing", place.segmentation)
    office.clock.pass_s(100)
    finish(workflow, ANNA, other, "1")
    workflow.sign(ANNA, [place.segmentation])
    (newest,) = current(office)
    assert ratings(newest) == {place.segment: "5", other.segment: "1"}
    assert len(office.documents()) == 2
    assert (len(office.documents("review_keyimg")), len(current(office, "review_keyimg"))) == (2, 1)


def test_the_coordinator_delivers_what_a_killed_process_has_signed(office: Office) -> None:
    place = office.places()[0]
    finish(office.workflow(), ANNA, place)
    killed_at(office, "before storing", place.segmentation)
    setup = Setup(str(office.folder), office.ledger_url, office.folder, ServiceSettings(poll_s=0.1))
    setup.make_folders()
    coordinator = Coordinator(setup)
    assert office.ledger.summary(office.clock()).outbox == 1
    try:
        wait_until(lambda: coordinator.run_once() is not None and not office.ledger.pending_reviews(), 60, "delivered")
    finally:
        coordinator.close()
    assert len(office.documents()) == 1


# The archive as a server


@pytest.fixture
def remote(reviewed: Path, tmp_path: Path, orthanc: Orthanc) -> Iterator[Office]:
    """An office whose archive is an Orthanc."""
    archive = DicomwebArchive(orthanc.dicomweb_url, timeout_s=30, scratch=tmp_path)
    office = Office(reviewed, tmp_path / "office", archive=archive)
    archive.store(outgoing(office.objects()))
    yield office
    office.close()


@pytest.mark.servers
def test_what_is_signed_while_the_archive_is_away_is_delivered_when_it_is_back(
    remote: Office, orthanc: Orthanc
) -> None:
    place, other = [one for one in remote.places() if one.segmentation == remote.segmentations()[0]][:2]
    workflow = remote.workflow()
    finish(workflow, ANNA, place, "5", LIVER)
    assert all(one.is_confirmed for one in workflow.sign(ANNA, [place.segmentation]))
    remote.clock.pass_s(100)
    finish(workflow, ANNA, other, "2")

    orthanc.stop()
    written = workflow.sign(ANNA, [place.segmentation])
    assert [one.kind for one in written] == ["review", "review_keyimg"]
    assert not any(one.is_confirmed for one in written)
    assert workflow.draft(ANNA, Task(other)).status is DraftState.SIGNED
    assert [one.document for one in workflow.signed(other)] == [written[0].sop_instance_uid]
    assert workflow.worklist(ANNA, ALL, limit=2).progress.signed == 2
    with pytest.raises(PeerUnavailable):
        workflow.deliver()
    assert len(remote.ledger.pending_reviews()) == 2

    orthanc.start()
    assert workflow.deliver() == 2
    assert remote.ledger.pending_reviews() == []
    (newest,) = current(remote)
    assert ratings(newest) == {place.segment: "5", other.segment: "2"}


@pytest.mark.servers
def test_a_case_that_is_not_open_cannot_be_signed_while_the_archive_is_away_and_nothing_is_lost(
    remote: Office, orthanc: Orthanc
) -> None:
    place = remote.places()[0]
    finish(remote.workflow(), ANNA, place, "5")
    orthanc.stop()
    with pytest.raises(PeerUnavailable):
        remote.workflow().sign(ANNA, [place.segmentation])
    assert [entry.segmentation for entry in remote.workflow().unsigned(ANNA)] == [place.segmentation]
    orthanc.start()
    (written,) = remote.workflow().sign(ANNA, [place.segmentation])
    assert written.is_confirmed


def test_what_the_archive_refuses_stays_in_the_outbox_with_the_reason(office: Office) -> None:
    place = office.places()[0]
    workflow = office.workflow()
    finish(workflow, ANNA, place)
    killed_at(office, "before storing", place.segmentation)
    (pending,) = office.ledger.pending_reviews()
    # Somebody else has stored another object under this UID.
    document = dcmread(BytesIO(pending.document.content))
    document.ContentLabel = "ANOTHER"
    target = office.folder / "other.dcm"
    document.save_as(target)
    (stored,) = office.archive.store(outgoing([target]))
    assert stored.outcome is Outcome.STORED

    office.clock.pass_s(100)
    assert workflow.deliver() == 0
    (pending,) = office.ledger.pending_reviews()
    assert "another content" in pending.reason
    assert office.ledger.pending_reviews(now=office.clock()) == []
    # Others are not held up by it.
    finish(workflow, BEN, place)
    assert [one.is_confirmed for one in workflow.sign(BEN, [place.segmentation])] == [True]
    office.clock.pass_s(REFUSED_PAUSE_S + 1)
    assert len(office.ledger.pending_reviews(now=office.clock())) == 1


def test_readers_sign_at_the_same_time(anywhere: Office) -> None:
    """Each in a thread with a workflow of their own, on one ledger; each of them then sends what there is."""
    office, failures = anywhere, []
    places = office.places()

    def work(number: int) -> None:
        reader = Reviewer(f"reader{number}", f"Reader^{number}")
        try:
            workflow = office.workflow()
            for place in places[number : number + 3]:
                finish(workflow, reader, place)
            workflow.sign(reader, office.segmentations())
        except Exception as error:  # noqa: BLE001 - told by the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert office.ledger.pending_reviews() == []
    assert len(office.workflow().ratings()) == 18
