"""A real Orthanc as the archive."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import ImplicitVRLittleEndian

from segqa_dicom.archive import Instance, Outcome, Outgoing, Series
from segqa_dicom.archive.content import content_digest, same_content
from segqa_dicom.archive.dicomweb import DicomwebArchive
from segqa_dicom.archive.transport import Patience
from segqa_dicom.errors import ConfigurationError, Inconsistent, PeerRefused, PeerUnavailable
from segqa_dicom.phantoms.dicom import write_ct, write_seg
from segqa_dicom.phantoms.torso import torso
from tests.archive.objects import SERIES, STUDY, ct, encoded, instance, outgoing
from tests.archive.web import QUICK, archive, of_file, series, sr
from tests.servers.orthanc import Orthanc
from tests.servers.process import free_port, wait_until
from tests.shared import shared

pytestmark = pytest.mark.servers


def test_phantom_makes_the_round_trip(orthanc: Orthanc, tmp_path: Path) -> None:
    phantom = torso((24, 64, 64))
    slices = write_ct(phantom, tmp_path / "study")
    write_seg(phantom.labels, phantom.structures, slices, tmp_path / "study" / "seg.dcm", model="A")
    objects = [of_file(path) for path in sorted((tmp_path / "study").iterdir())]
    there = archive(orthanc)
    assert {one.outcome for one in there.store(objects)} == {Outcome.STORED}

    found = {one.modality: one for one in there.list_series()}
    assert {modality: one.instance_count for modality, one in found.items()} == {"CT": 24, "SEG": 1}
    assert there.list_series(modality="SEG") == [found["SEG"]]
    assert there.list_series(series_instance_uid=found["CT"].series_instance_uid) == [found["CT"]]
    assert set(there.find_instances(one.instance.sop_instance_uid for one in objects)) == {
        one.instance for one in objects
    }
    instances = [
        one
        for each in found.values()
        for one in there.list_instances(each.study_instance_uid, each.series_instance_uid)
    ]
    assert set(instances) == {one.instance for one in objects}

    files = there.fetch(instances, tmp_path / "fetched")
    assert files.keys() == {one.instance.sop_instance_uid for one in objects}
    for one in objects:
        assert isinstance(one.content, Path)
        assert files[one.instance.sop_instance_uid].read_bytes() == one.content.read_bytes()
    assert {path.name for path in (tmp_path / "fetched").iterdir()} == {path.name for path in files.values()}


def test_real_ct_with_segmentations_makes_the_round_trip(orthanc: Orthanc, tmp_path: Path) -> None:
    objects = [of_file(path) for path in sorted(shared("data", "case_A").rglob("*.dcm"))]
    there = archive(orthanc)
    assert {one.outcome for one in there.store(objects)} == {Outcome.STORED}
    assert {one.outcome for one in there.store(objects)} == {Outcome.ALREADY_THERE}
    assert orthanc.count() == len(objects)
    files = there.fetch([one.instance for one in objects], tmp_path)
    assert all(same_content(files[one.instance.sop_instance_uid], one.content) for one in objects)


def test_empty_archive_has_nothing(orthanc: Orthanc, tmp_path: Path) -> None:
    there = archive(orthanc)
    assert there.list_series() == []
    assert there.list_series(study_instance_uid=STUDY, modality="CT") == []
    assert there.list_instances(STUDY, SERIES) == []
    assert there.find_instances([]) == []
    assert there.find_instances(["1.2.3", "1.2.4"]) == []
    assert there.fetch([], tmp_path) == {}
    assert there.fetch([instance(ct())], tmp_path) == {}
    assert there.store([]) == []


def test_searches_give_what_was_asked_for_only(orthanc: Orthanc) -> None:
    there = archive(orthanc)
    other = ct(1, study=f"{STUDY}.7", series=f"{SERIES}.7")
    there.store([*series(3), outgoing(other), outgoing(sr())])
    first = Series(STUDY, SERIES, "CT", 3)
    assert set(there.list_series(modality="CT")) == {first, Series(f"{STUDY}.7", f"{SERIES}.7", "CT", 1)}
    assert there.list_series(study_instance_uid=STUDY, modality="CT") == [first]
    assert there.list_series(study_instance_uid=f"{STUDY}.7", series_instance_uid=SERIES) == []
    assert set(there.list_instances(STUDY, SERIES)) == {instance(ct(number)) for number in (1, 2, 3)}
    assert there.list_instances(f"{STUDY}.7", SERIES) == []
    asked = [f"{SERIES}.2", f"{SERIES}.7.1", "1.2.3", f"{SERIES}.2"]
    assert set(there.find_instances(asked)) == {instance(ct(2)), instance(other)}
    assert there.find_instances([f"{SERIES}.3"]) == [instance(ct(3))]


def test_long_answers_come_in_pages(orthanc: Orthanc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segqa_dicom.archive.dicomweb.PAGE", 4)
    monkeypatch.setattr("segqa_dicom.archive.dicomweb.UIDS_PER_QUERY", 3)
    there = archive(orthanc)
    there.store([*series(11), *(outgoing(ct(1, series=f"{SERIES}.{number}")) for number in range(20, 29))])
    assert len(there.list_instances(STUDY, SERIES)) == 11
    assert len(there.list_series()) == 10
    assert len(there.find_instances(f"{SERIES}.{number}" for number in range(1, 30))) == 11


def test_same_object_again_changes_nothing(orthanc: Orthanc) -> None:
    there = archive(orthanc)
    objects = [*series(3), outgoing(sr())]
    there.store(objects)
    assert [one.outcome for one in there.store(objects)] == [Outcome.ALREADY_THERE] * 4
    assert orthanc.count() == 4


def test_same_object_in_another_encoding_is_there_already(orthanc: Orthanc) -> None:
    there = archive(orthanc)
    there.store([outgoing(ct())])
    other = dcmread(io.BytesIO(encoded(ct())))
    other.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    buffer = io.BytesIO()
    other.save_as(buffer, implicit_vr=True, little_endian=True, enforce_file_format=True)
    assert there.store([Outgoing(instance(ct()), buffer.getvalue())])[0].outcome == Outcome.ALREADY_THERE


@pytest.mark.parametrize("make", [ct, sr])
def test_another_content_under_a_known_uid_is_a_conflict_and_the_first_stays(
    orthanc: Orthanc, tmp_path: Path, make: type
) -> None:
    there = archive(orthanc)
    first, second = outgoing(make()), outgoing(make(SeriesDescription="changed"))
    there.store([first])
    (stored,) = there.store([second])
    assert stored.outcome == Outcome.CONFLICT
    assert stored.kept_digest == content_digest(first.content)
    assert stored.refused_digest == content_digest(second.content)
    assert there.fetch([first.instance], tmp_path)[first.instance.sop_instance_uid].read_bytes() == first.content


def test_same_uids_for_another_patient_are_a_conflict_and_do_not_hide_the_first(
    orthanc: Orthanc, tmp_path: Path
) -> None:
    there = archive(orthanc)
    there.store([outgoing(sr())])
    assert there.store([outgoing(sr(PatientID="SOMEBODY-ELSE"))])[0].outcome == Outcome.CONFLICT
    assert orthanc.count() == 1
    assert len(there.fetch([instance(sr())], tmp_path)) == 1


def test_a_uid_that_is_there_twice_is_a_conflict(orthanc: Orthanc) -> None:
    for patient in ("P1", "P2"):
        orthanc.upload(encoded(sr(PatientID=patient)))
    assert orthanc.count() == 2
    (stored,) = archive(orthanc).store([outgoing(sr())])
    assert stored.outcome == Outcome.CONFLICT
    assert "two objects" in stored.reason


def test_one_call_may_hold_a_uid_twice(orthanc: Orthanc) -> None:
    same, other = outgoing(sr()), outgoing(sr(SeriesDescription="changed"))
    outcomes = [one.outcome for one in archive(orthanc).store([same, outgoing(sr()), other])]
    assert outcomes == [Outcome.STORED, Outcome.ALREADY_THERE, Outcome.CONFLICT]


def test_what_is_no_dicom_is_refused_and_the_others_are_stored(orthanc: Orthanc) -> None:
    bad = Outgoing(instance(ct(77)), b"\0" * 128 + b"DICM" + b"garbage" * 100)
    outcomes = archive(orthanc).store([*series(2), bad, outgoing(sr())])
    assert [one.outcome for one in outcomes] == [Outcome.STORED, Outcome.STORED, Outcome.REFUSED, Outcome.STORED]
    assert outcomes[2].reason


def test_what_came_without_a_preamble_can_be_opened_afterwards(orthanc: Orthanc, tmp_path: Path) -> None:
    whole = encoded(sr())
    start = 132 + 12 + int.from_bytes(whole[140:144], "little")
    there = archive(orthanc)
    contents = {1: whole[132:], 2: encoded(sr(2))[start:], 3: b"MZ" + encoded(sr(3))[2:]}
    outcomes = there.store([Outgoing(instance(sr(number)), content) for number, content in contents.items()])
    assert {one.outcome for one in outcomes} == {Outcome.STORED}
    for path in there.fetch([instance(sr(number)) for number in contents], tmp_path).values():
        assert path.read_bytes()[:132] == bytes(128) + b"DICM"
        assert dcmread(path).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"


def test_part_of_a_series_is_fetched_alone_and_most_of_it_as_a_whole(orthanc: Orthanc, tmp_path: Path) -> None:
    there = archive(orthanc)
    there.store(series(20))
    for count in (1, 9, 19, 20):
        folder = tmp_path / str(count)
        files = there.fetch([instance(ct(number)) for number in range(1, count + 1)], folder)
        assert set(files) == {f"{SERIES}.{number}" for number in range(1, count + 1)}
        assert set(folder.iterdir()) == set(files.values())


def test_uids_that_are_paths_never_become_paths(orthanc: Orthanc, tmp_path: Path) -> None:
    for number, uid in enumerate(("../../escaped", "1.2.3\\x", "/etc/passwd", "1." * 40 + "1")):
        orthanc.upload(encoded(ct(number + 50, SOPInstanceUID=uid)))
    there = archive(orthanc)
    there.store(series(9))
    assert len(there.list_instances(STUDY, SERIES)) == 9
    files = there.fetch(there.list_instances(STUDY, SERIES), tmp_path / "folder")
    assert len(files) == 9
    assert {path.parent for path in tmp_path.rglob("*.dcm")} == {tmp_path / "folder"}
    with pytest.raises(Inconsistent):
        there.fetch([Instance(STUDY, SERIES, "../../escaped", "1.2")], tmp_path)
    with pytest.raises(Inconsistent):
        there.find_instances(["../../escaped"])


def test_archive_that_is_down_is_unavailable(tmp_path: Path) -> None:
    there = DicomwebArchive(
        f"http://127.0.0.1:{free_port()}/dicom-web", patience=Patience(attempts=2, first_wait_s=0.01)
    )
    for call in (
        lambda: there.list_series(),
        lambda: there.list_instances(STUDY, SERIES),
        lambda: there.find_instances(["1.2.3"]),
        lambda: there.fetch([instance(ct())], tmp_path),
        lambda: there.store([outgoing(ct())]),
    ):
        with pytest.raises(PeerUnavailable, match="cannot be reached"):
            call()


def test_wrong_password_and_wrong_url_are_told_apart(tmp_path: Path) -> None:
    with Orthanc(tmp_path / "orthanc", authentication=True) as server:
        archive(server).store([outgoing(ct())])
        assert len(archive(server).list_series()) == 1
        inside = server.dicomweb_url.replace("http://", "http://segqa:a%20password@")
        assert DicomwebArchive(server.dicomweb_url, user="segqa", password="a password").list_series()
        for call in (
            lambda: archive(server.dicomweb_url).list_series(),
            lambda: archive(server.dicomweb_url).find_instances(["1.2"]),
            lambda: archive(server.dicomweb_url).store([outgoing(ct())]),
            lambda: DicomwebArchive(server.dicomweb_url, user="segqa", password="wrong").list_series(),
        ):
            with pytest.raises(PeerRefused, match="SEGQA_ARCHIVE_PASSWORD"):
                call()
        assert "password" not in DicomwebArchive(inside).url
        elsewhere = DicomwebArchive(f"{server.url}/nothing", user="segqa", password="a password", patience=QUICK)
        for call in (
            lambda: elsewhere.list_series(),
            lambda: elsewhere.list_instances(STUDY, SERIES),
            lambda: elsewhere.store([outgoing(ct())]),
        ):
            with pytest.raises(PeerRefused, match="root of DICOMweb"):
                call()


@pytest.mark.parametrize("url", ["", "folder", "ftp://host/x", "http://", "http://host:port/"])
def test_what_is_no_http_url_is_an_error_of_the_operator(url: str) -> None:
    with pytest.raises(ConfigurationError, match="http://host"):
        DicomwebArchive(url)


def test_many_threads_may_store_and_search_at_a_time(orthanc: Orthanc) -> None:
    there = archive(orthanc)
    outcomes: list[Outcome] = []

    def work(number: int) -> None:
        objects = [outgoing(ct(index, series=f"{SERIES}.{number % 3}")) for index in range(1, 6)]
        outcomes.extend(one.outcome for one in there.store(objects))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(outcomes) == 30
    assert set(outcomes) <= {Outcome.STORED, Outcome.ALREADY_THERE}
    assert orthanc.count() == 15


def test_archive_killed_while_it_stores_has_each_object_once_after_sending_again(orthanc: Orthanc) -> None:
    objects = [outgoing(ct(number, size=256)) for number in range(1, 201)]
    errors: list[Exception] = []

    def store() -> None:
        try:
            archive(orthanc).store(objects)
        except PeerUnavailable as error:
            errors.append(error)

    thread = threading.Thread(target=store)
    thread.start()
    wait_until(lambda: orthanc.count() > 20, 60)
    orthanc.kill()
    thread.join(60)
    assert len(errors) == 1
    orthanc.start()
    before = orthanc.count()
    assert 0 < before < len(objects)
    outcomes = [one.outcome for one in archive(orthanc).store(objects)]
    assert outcomes.count(Outcome.ALREADY_THERE) == before
    assert outcomes.count(Outcome.STORED) == len(objects) - before
    assert orthanc.count() == len(objects)
