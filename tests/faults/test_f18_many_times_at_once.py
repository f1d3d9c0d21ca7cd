"""F18: the same study is sent five times at once over four associations; then some of its objects come with other pixels
under their old UIDs.

Pass: one case. The first content stays; a new revision has a finding (D13) with the hashes of both contents; the ledger
has a row for each conflict; the other file is kept in quarantine, and listed there. Sending it again changes nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydicom import dcmread

from segqa_dicom.archive.content import content_digest
from segqa_dicom.ledger import Conflict
from tests.faults.arriving import (
    Pieces,
    current,
    kept_files,
    of_kind,
    send_at_once,
    text_of,
    wait_for_revision,
)
from tests.servers.orthanc import Orthanc
from tests.servers.process import wait_until
from tests.servers.service import Serve, send, uids

pytestmark = pytest.mark.servers


def with_other_pixels(path: Path, target: Path) -> Path:
    """The same object, in which one byte of the pixels is another one."""
    dataset = dcmread(path)
    pixels = bytearray(dataset.PixelData)
    pixels[len(pixels) // 2] ^= 1
    dataset.PixelData = bytes(pixels)
    dataset.save_as(target, enforce_file_format=True)
    return target


def conflicts(service: Serve, *paths: Path) -> list[Conflict]:
    with service.ledger() as ledger:
        return ledger.conflicts_in([str(dcmread(path).SOPInstanceUID) for path in paths])


def test_a_study_sent_five_times_at_once_is_one_case_and_other_contents_are_refused_and_told(tmp_path: Path) -> None:
    pieces = Pieces(tmp_path / "case")
    changed = [pieces.ct[9], pieces.segs[1]]
    others = [with_other_pixels(path, tmp_path / f"other-{n}.dcm") for n, path in enumerate(changed)]
    with Serve(tmp_path / "service", settings={"SEGQA_DEBOUNCE_S": "3"}) as service:
        send_at_once(service.dicom_port, [pieces.all, pieces.all[::-1], [*pieces.all, *pieces.all], pieces.all])
        wait_until(lambda: service.cases(), 60, "a case")
        service.wait_for_cases(1)
        (case,) = service.cases()
        documents = service.documents()
        assert sorted(case.documents) == uids(documents) == pieces.reviewed()
        assert conflicts(service, *pieces.all) == []
        files = kept_files(service)
        assert len(files) == len(pieces.all) + len(documents)

        assert send(service.dicom_port, *others) == 0
        wait_for_revision(service, 2)
        found = {one.sop_instance_uid: one for one in conflicts(service, *changed)}
        assert len(found) == 2
        reports = of_kind(current(service.documents()), "report")
        assert len(reports) == 2
        for first, other in zip(changed, others, strict=True):
            conflict = found[dcmread(first).SOPInstanceUID]
            assert (conflict.kept_digest, conflict.refused_digest) == (content_digest(first), content_digest(other))
            told = [text_of(one) for one in reports if conflict.sop_instance_uid in text_of(one)]
            assert len(told) == (1 if first in pieces.segs else 2)
            assert all(conflict.kept_digest[:16] in one and conflict.refused_digest[:16] in one for one in told)
        assert files.items() <= kept_files(service).items()

        quarantine = service.data / "quarantine"
        digests = {content_digest(path) for path in quarantine.iterdir()}
        assert digests == {content_digest(path) for path in others}
        listed = json.loads(service.segqa("quarantine", "list", "--json").stdout)["objects"]
        assert {(one["sop_instance_uid"], one["name"]) for one in listed} == {(uid, "Conflict") for uid in found}
        assert {one["path"] for one in listed} == {str(path) for path in quarantine.iterdir()}
        assert all(one["reason"] for one in listed)

        before = (kept_files(service), service.cases())
        assert send(service.dicom_port, *others) == 0
        assert send(service.dicom_port, *changed) == 0

        def is_quiet() -> bool:
            with service.ledger() as ledger:
                subject = ledger.subject(case.ct_series_instance_uid)
            assert subject is not None
            assert subject.evaluated_at is not None
            return not any((service.data / "inbox").glob("*.dcm")) and subject.evaluated_at > subject.arrived_at

        wait_until(is_quiet, 60, "what came again was looked at")
        service.wait_for_cases(1)
        assert (kept_files(service), service.cases()) == before
        assert len(list(quarantine.iterdir())) == len(conflicts(service, *changed)) == 2
        assert json.loads(service.segqa("quarantine", "list", "--json").stdout)["objects"] == listed


def test_the_same_with_orthanc_as_the_archive(tmp_path: Path) -> None:
    pieces = Pieces(tmp_path / "case")
    first = pieces.ct[9]
    other = with_other_pixels(first, tmp_path / "other.dcm")
    with (
        Orthanc(tmp_path / "orthanc") as orthanc,
        Serve(tmp_path / "service", archive=orthanc.dicomweb_url, settings={"SEGQA_DEBOUNCE_S": "3"}) as service,
    ):
        send_at_once(service.dicom_port, [pieces.all, pieces.all[::-1], [*pieces.all, *pieces.all], pieces.all])
        wait_until(lambda: service.cases(), 60, "a case")
        service.wait_for_cases(1)
        assert uids(service.documents()) == pieces.reviewed()
        assert orthanc.count() == len(pieces.all) + len(service.documents())

        for _ in range(2):
            assert send(service.dicom_port, other) == 0
            wait_until(lambda: not any((service.data / "inbox").glob("*.dcm")), 60, "the inbox is empty")
            wait_for_revision(service, 2)
            (conflict,) = conflicts(service, first)
            assert (conflict.kept_digest, conflict.refused_digest) == (content_digest(first), content_digest(other))
            for report in of_kind(current(service.documents()), "report"):
                assert conflict.refused_digest[:16] in text_of(report)
            (kept,) = (service.data / "quarantine").iterdir()
            assert content_digest(kept) == content_digest(other)
