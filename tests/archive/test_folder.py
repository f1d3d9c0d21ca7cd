"""The archive in a folder: what is stored stays, once and unchanged."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Thread

import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian

from segqa_dicom.archive import Archive, Outcome, Outgoing, Series
from segqa_dicom.archive.content import content_digest
from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.archive.folder_keys import Level, _reference_header, read_header
from segqa_dicom.archive.folder_search import Question
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import file_digest, open_object
from segqa_dicom.errors import ConfigurationError, PeerUnavailable
from tests.archive.objects import SERIES, STUDY, ct, encoded, instance, outgoing


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[FolderArchive]:
    with closing(FolderArchive(tmp_path / "archive")) as one:
        yield one


def names(archive: FolderArchive, part: str = "objects") -> list[str]:
    return sorted(path.name for path in (archive.folder / part).rglob("*.dcm"))


def test_it_does_what_is_asked_of_archives(archive: FolderArchive) -> None:
    one: Archive = archive
    assert one.list_series() == []


def test_what_was_stored_is_found_by_instance_series_and_study(archive: FolderArchive, tmp_path: Path) -> None:
    slices = [ct(number) for number in (2, 1, 3)]
    other = ct(1, study="1.2.3", series="1.2.3.4", Modality="MR", PatientID="P2")
    stored = archive.store([outgoing(one) for one in (*slices, other)])
    assert [one.outcome for one in stored] == [Outcome.STORED] * 4
    assert archive.list_series(modality="CT") == [Series(STUDY, SERIES, "CT", 3)]
    assert archive.list_series(study_instance_uid="1.2.3") == [Series("1.2.3", "1.2.3.4", "MR", 1)]
    assert [one.sop_instance_uid for one in archive.list_instances(STUDY, SERIES)] == [
        f"{SERIES}.{n}" for n in (1, 2, 3)
    ]
    assert archive.find_instances([f"{SERIES}.2", "1.9.9"]) == [instance(slices[0])]
    files = archive.fetch([instance(slices[0]), instance(ct(99))], tmp_path / "elsewhere")
    assert [file_digest(path) for path in files.values()] == [file_digest(outgoing(slices[0], tmp_path).content)]  # type: ignore[arg-type]
    assert list(files) == [f"{SERIES}.2"]


def test_files_of_linkable_folders_are_linked_and_others_copied(tmp_path: Path) -> None:
    inbox, elsewhere = tmp_path / "inbox", tmp_path / "elsewhere"
    with closing(FolderArchive(tmp_path / "archive", linkable=[inbox])) as archive:
        for number, (folder, links) in enumerate(((inbox, 2), (elsewhere, 1), (archive.folder / "inbox", 2)), start=1):
            one = outgoing(ct(number), folder)
            assert archive.store([one])[0].outcome is Outcome.STORED
            path = archive.path_of(one.instance.sop_instance_uid)
            assert path is not None
            assert isinstance(one.content, Path)
            assert path.stat().st_nlink == links
            assert path.read_bytes() == one.content.read_bytes()
        assert names(archive, "incoming") == []


def test_storing_again_changes_nothing(archive: FolderArchive, tmp_path: Path) -> None:
    first = outgoing(ct())
    archive.store([first])
    path = archive.path_of(f"{SERIES}.1")
    assert path is not None
    before = path.stat()
    outcomes = [one.outcome for one in archive.store([first, outgoing(ct(), tmp_path), first])]
    assert outcomes == [Outcome.ALREADY_THERE] * 3
    assert (path.stat().st_mtime_ns, path.stat().st_ino, len(names(archive))) == (before.st_mtime_ns, before.st_ino, 1)


def test_the_same_content_in_another_encoding_is_no_conflict(archive: FolderArchive) -> None:
    archive.store([outgoing(ct())])
    dataset = ct()
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    assert archive.store([outgoing(dataset)])[0].outcome is Outcome.ALREADY_THERE
    assert names(archive, "conflicts") == []


def test_the_same_object_twice_in_one_call_is_stored_once(archive: FolderArchive) -> None:
    outcomes = [one.outcome for one in archive.store([outgoing(ct()), outgoing(ct())])]
    assert outcomes == [Outcome.STORED, Outcome.ALREADY_THERE]


def test_another_content_is_a_conflict_and_is_kept_apart(archive: FolderArchive) -> None:
    archive.store([outgoing(ct())])
    changed = outgoing(ct(StudyDescription="Thorax"))
    stored = archive.store([changed])[0]
    assert stored.outcome is Outcome.CONFLICT
    path = archive.path_of(f"{SERIES}.1")
    assert path is not None
    assert stored.kept_digest == content_digest(path)
    assert stored.refused_digest == content_digest(changed.content)
    assert path.read_bytes() == encoded(ct())
    (kept,) = (archive.folder / "conflicts").iterdir()
    assert kept.read_bytes() == changed.content
    assert kept.name.endswith(f"-{file_digest(kept)[:16]}.dcm")
    assert archive.store([changed])[0] == stored


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        pytest.param(lambda one: setattr(one, "PatientID", "P2"), "another Patient ID", id="patient"),
        pytest.param(lambda one: setattr(one, "StudyInstanceUID", "1.2.3"), "in another study", id="series in two studies"),
        pytest.param(lambda one: setattr(one, "StudyInstanceUID", ""), "Study Instance UID is not", id="no study"),
        pytest.param(lambda one: setattr(one, "SOPInstanceUID", "../x"), "SOP Instance UID is not", id="path as UID"),
    ],
)  # fmt: skip
def test_objects_in_contradiction_with_the_archive_are_refused(archive: FolderArchive, spoil, reason: str) -> None:  # type: ignore[no-untyped-def]
    archive.store([outgoing(ct(1))])
    with pydicom.config.disable_value_validation():
        other = ct(2)
        spoil(other)
        stored = archive.store([Outgoing(instance(other), encoded(other)), outgoing(ct(3))])
    assert (stored[0].outcome, stored[1].outcome) == (Outcome.REFUSED, Outcome.STORED)
    assert reason in stored[0].reason
    assert len(archive.list_instances(STUDY, SERIES)) == len(names(archive)) == 2
    assert len(archive.search(Question(Level.STUDY))) == 1


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"not DICOM at all" * 100, id="text"),
        pytest.param(encoded(ct())[:-10], id="cut in the pixel data"),
        pytest.param(encoded(ct())[:200], id="cut in the header"),
    ],
)
def test_unreadable_objects_are_refused(archive: FolderArchive, content: bytes) -> None:
    stored = archive.store([Outgoing(instance(ct()), content)])[0]
    assert (stored.outcome, bool(stored.reason)) == (Outcome.REFUSED, True)
    assert names(archive) == names(archive, "incoming") == []


def test_an_object_that_is_another_than_announced_is_refused(archive: FolderArchive) -> None:
    stored = archive.store([Outgoing(instance(ct(1)), encoded(ct(2)))])[0]
    assert (stored.outcome, stored.sop_instance_uid) == (Outcome.REFUSED, f"{SERIES}.1")


def test_objects_above_the_limits_are_refused(tmp_path: Path) -> None:
    with closing(FolderArchive(tmp_path, limits=Limits(max_file_bytes=1000))) as archive:
        assert archive.store([outgoing(ct(size=64))])[0].outcome is Outcome.REFUSED


def test_a_file_that_is_gone_is_no_refusal(archive: FolderArchive, tmp_path: Path) -> None:
    with pytest.raises(PeerUnavailable):
        archive.store([Outgoing(instance(ct()), tmp_path / "gone.dcm")])


def test_a_deleted_index_is_made_anew(archive: FolderArchive) -> None:
    archive.store([outgoing(ct(number)) for number in range(1, 6)])
    before = archive.search(Question(Level.INSTANCE, include=["all"]))
    for path in archive.folder.glob("index.sqlite3*"):
        path.unlink()
    assert archive.search(Question(Level.INSTANCE, include=["all"])) == before
    with closing(FolderArchive(archive.folder)) as other:
        assert len(other.list_instances(STUDY, SERIES)) == 5
    assert archive.store([outgoing(ct(6))])[0].outcome is Outcome.STORED


@pytest.mark.parametrize("damage", ["garbage", "version", "table"])
def test_an_index_that_cannot_be_used_is_made_anew(tmp_path: Path, damage: str) -> None:
    with closing(FolderArchive(tmp_path)) as archive:
        archive.store([outgoing(ct(number)) for number in range(1, 4)])
    index = tmp_path / "index.sqlite3"
    if damage == "garbage":
        index.write_bytes(b"\xff" * 50_000)
    else:
        with closing(sqlite3.connect(index, isolation_level=None)) as connection:
            connection.execute("PRAGMA user_version = 99" if damage == "version" else "DROP TABLE instance")
    with closing(FolderArchive(tmp_path)) as archive:
        if damage == "table":
            with pytest.raises(PeerUnavailable, match="try again"):
                archive.list_instances(STUDY, SERIES)
        assert len(archive.list_instances(STUDY, SERIES)) == 3


def test_an_index_with_damaged_pages_is_made_anew(archive: FolderArchive) -> None:
    archive.store([outgoing(ct(number)) for number in range(1, 200)])
    archive.close()
    index = archive.folder / "index.sqlite3"
    data = bytearray(index.read_bytes())
    data[8192:] = b"\xaa" * (len(data) - 8192)
    index.write_bytes(data)
    assert len(archive.list_instances(STUDY, SERIES)) == 199


def test_reindex_makes_rows_and_files_agree(archive: FolderArchive) -> None:
    archive.store([outgoing(ct(number)) for number in range(1, 4)])
    archive.store([outgoing(ct(1, study="1.2.3", series="1.2.3.4"))])
    gone = archive.path_of("1.2.3.4.1")
    assert gone is not None
    gone.unlink()
    with closing(sqlite3.connect(archive.folder / "index.sqlite3", isolation_level=None)) as connection:
        connection.execute("DELETE FROM instance WHERE InstanceNumber = '2'")
    (archive.folder / "objects" / "00").mkdir(exist_ok=True)
    (archive.folder / "objects" / "00" / "junk.dcm").write_bytes(b"junk")
    steps: list[tuple[str, int, int]] = []
    found = archive.reindex(lambda *step: steps.append(step))
    assert (found.files, found.added, found.removed, found.unusable) == (4, 1, 1, 1)
    assert steps[0] == ("indexing", 0, 2)
    assert len(archive.list_series()) == 1
    assert len(archive.list_instances(STUDY, SERIES)) == 3


def test_a_file_left_by_a_crash_is_used_when_its_object_is_sent_again(archive: FolderArchive) -> None:
    archive.store([outgoing(ct(1)), outgoing(ct(2))])
    with closing(sqlite3.connect(archive.folder / "index.sqlite3", isolation_level=None)) as connection:
        connection.execute("DELETE FROM instance")
    assert archive.store([outgoing(ct(1))])[0].outcome is Outcome.STORED
    assert archive.store([outgoing(ct(2, StudyID="S2"))])[0].outcome is Outcome.CONFLICT
    assert len(archive.list_instances(STUDY, SERIES)) == 2


def test_a_folder_that_cannot_be_used_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigurationError, match="cannot be used"):
            FolderArchive(folder)


def test_leftovers_of_dead_writers_are_removed(archive: FolderArchive) -> None:
    old, new = archive.folder / "incoming" / "old.dcm", archive.folder / "incoming" / "new.dcm"
    for path in (old, new):
        path.write_bytes(b"")
    os.utime(old, (1, 1))
    FolderArchive(archive.folder).close()
    assert (old.exists(), new.exists()) == (False, True)


def test_connections_of_threads_that_have_ended_are_closed(archive: FolderArchive) -> None:
    for _ in range(20):
        thread = Thread(target=archive.list_series)
        thread.start()
        thread.join()
    opened = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.exists()]
    assert sum(name == str(archive.folder / "index.sqlite3") for name in opened) <= 3


def test_threads_may_use_it_at_the_same_time(archive: FolderArchive) -> None:
    outcomes: list[Outcome] = []

    def work() -> None:
        outcomes.extend(archive.store([outgoing(ct(number))])[0].outcome for number in range(1, 11))

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (outcomes.count(Outcome.STORED), outcomes.count(Outcome.ALREADY_THERE)) == (10, 30)
    assert len(archive.list_instances(STUDY, SERIES)) == 10


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_both_ways_of_reading_headers_agree(tmp_path: Path, syntax: str | None) -> None:
    item = Dataset()
    item.RequestedProcedureID, item.ScheduledProcedureStepID = "R1", "S 1"
    dataset = ct(RequestAttributesSequence=[item], OperatorsName=["Ä^B^^^", "C"], SeriesDescription="Übersicht")
    path = tmp_path / "one.dcm"
    if syntax is not None:
        dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)
    header = read_header(path, Limits())
    assert header == _reference_header(open_object(path, Limits()))
    assert header.values["PatientName"] == "Müller^Anna"
    assert header.values["OperatorsName"] == "Ä^B\\C"
    assert header.values["Rows"] == "16"
    assert header.requests == ({"RequestedProcedureID": "R1", "ScheduledProcedureStepID": "S 1"},)
