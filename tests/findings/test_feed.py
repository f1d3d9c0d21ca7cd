"""The index follows archives: folders, Orthanc, and after deletions; a bad document stops no other."""

from __future__ import annotations

from contextlib import closing
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, Sequence, dcmread

from segqa_dicom.archive.dicomweb import DicomwebArchive
from segqa_dicom.archive.feed import Feed, FolderFeed, QidoFeed, feed_for
from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.findings import MODALITIES, FindingsIndex, index_news, read_document, reindex
from segqa_dicom.findings.filters import Filters
from segqa_dicom.findings.listing import find
from segqa_dicom.sr import read
from tests.archive.objects import outgoing as outgoing_dataset
from tests.findings import byhand
from tests.findings.conftest import Study
from tests.findings.making import changed, outgoing, renewed
from tests.servers.orthanc import Orthanc


def follow(index: FindingsIndex, feed: Feed, archive: object, **options: object) -> int:
    added = 0
    while True:
        found = index_news(index, feed, archive, name="archive", **options)  # type: ignore[arg-type]
        added += found.added
        if found.is_done:
            return added


def uids(files: list[bytes]) -> set[str]:
    return {byhand.uid(file) for file in files}


@pytest.fixture
def archive(tmp_path: Path, study: Study):  # type: ignore[no-untyped-def]
    with closing(FolderArchive(tmp_path / "archive")) as found:
        found.store([outgoing_dataset(study.ct), outgoing_dataset(study.seg)])
        yield found


def test_documents_of_a_folder_are_indexed_once(index: FindingsIndex, archive: FolderArchive, study: Study) -> None:
    feed = FolderFeed(archive)
    assert not index.is_filled()
    assert follow(index, feed, archive) == 0
    assert index.is_filled()
    archive.store([outgoing(file) for file in study.files])
    assert follow(index, feed, archive, limit=2) == len(study.files)
    assert follow(index, feed, archive) == 0
    assert index.documents() == uids(study.files)
    models = {row.model for row in find(index, Filters(seg=(str(study.seg.SOPInstanceUID),)), limit=9).rows}
    assert models == {str(study.seg.SeriesDescription)}


def test_a_budget_leaves_the_rest_for_the_next_time(index: FindingsIndex, archive: FolderArchive, study: Study) -> None:
    files = [renewed(study.others["highdicom"], f"1.2.3.{number}") for number in range(45)]
    archive.store([outgoing(file) for file in files])
    feed = FolderFeed(archive)
    first = index_news(index, feed, archive, name="archive", budget_s=0)
    assert (first.is_done, first.added) == (False, 4)
    assert follow(index, feed, archive, budget_s=0) == 41


def test_an_archive_whose_index_was_made_anew_is_told_from_the_beginning(tmp_path: Path, study: Study) -> None:
    folder = tmp_path / "archive"
    with closing(FolderArchive(folder)) as archive:
        archive.store([outgoing(file) for file in study.files[:2]])
        feed = FolderFeed(archive)
        cursor = feed.news("", 100).cursor
        assert feed.news(cursor, 100).instances == ()
    for path in folder.glob("index.sqlite3*"):
        path.unlink()
    with closing(FolderArchive(folder)) as archive:
        again = FolderFeed(archive).news(cursor, 100)
        assert {one.sop_instance_uid for one in again.instances} == uids(study.files[:2])
        assert FolderFeed(archive).news(again.cursor, 100).instances == ()


def test_a_deleted_index_is_made_anew_from_the_archive(
    index: FindingsIndex, archive: FolderArchive, study: Study
) -> None:
    archive.store([outgoing(file) for file in study.files])
    follow(index, FolderFeed(archive), archive)
    before = index.size()
    index.path.unlink()
    assert follow(index, FolderFeed(archive), archive) == len(study.files)
    assert index.size() == before


def test_what_was_deleted_in_the_archive_is_forgotten(index: FindingsIndex, tmp_path: Path, study: Study) -> None:
    first, second = (
        renewed(study.others["highdicom"], "1.2.3.1"),
        renewed(study.others["highdicom"], "1.2.3.2", "1.2.3.1"),
    )
    folder = tmp_path / "archive"
    with closing(FolderArchive(folder)) as archive:
        archive.store([outgoing(first), outgoing(second)])
        follow(index, FolderFeed(archive), archive)
        for path in folder.glob("objects/*/*.dcm"):
            if byhand.uid(path.read_bytes()) == "1.2.3.2":
                path.unlink()
        archive.reindex()
        follow(index, FolderFeed(archive), archive)
        assert {row.document for row in find(index, Filters(), limit=99).rows} == {"1.2.3.1"}


def test_reindexing_adds_what_is_missing_and_removes_what_is_gone(
    index: FindingsIndex, archive: FolderArchive, study: Study
) -> None:
    archive.store([outgoing(file) for file in study.files])
    index.add([read_document(renewed(study.others["highdicom"], "1.2.3.4")), read_document(study.ours[0])])
    found = reindex(index, archive)
    assert (found.documents, found.added, found.removed, found.refused) == (
        len(study.files),
        len(study.files) - 1,
        1,
        0,
    )
    assert index.documents() == uids(study.files)
    assert reindex(index, archive).added == 0
    assert index.is_filled()


def nested(file: bytes, depth: int, *, is_open: bool) -> bytes:
    """A document whose tree is so deep, its sequences of undefined length if they are to be open."""

    def change(dataset: Dataset) -> None:
        inner = Dataset()
        inner.ValueType = "TEXT"
        for _ in range(depth):
            outer = Dataset()
            outer.ValueType, outer.ContentSequence = "CONTAINER", Sequence([inner])
            outer["ContentSequence"].is_undefined_length = inner.is_undefined_length_sequence_item = is_open
            inner = outer
        dataset.ContentSequence = Sequence([inner])

    return changed(file, change)


def wide(file: bytes, count: int) -> bytes:
    def change(dataset: Dataset) -> None:
        item = Dataset()
        item.RelationshipType, item.ValueType, item.TextValue = "CONTAINS", "TEXT", "again"
        dataset.ContentSequence = Sequence([item] * count)

    return changed(file, change)


def without(file: bytes, *keywords: str) -> bytes:
    """A document with attributes missing wherever they stand."""

    def change(dataset: Dataset) -> None:
        for keyword in keywords:
            if keyword in dataset:
                del dataset[keyword]
        for item in dataset.get("ContentSequence", ()):
            change(item)

    return changed(file, change)


def with_wrong_values(file: bytes) -> bytes:
    """Numbers that are none, UIDs that are none, a sequence where a text belongs."""

    def change(dataset: Dataset) -> None:
        for item in dataset.get("ContentSequence", ()):
            if "MeasuredValueSequence" in item:
                item.MeasuredValueSequence[0].add_new(0x0040A30A, "LO", "many")
            if "TextValue" in item:
                item.add_new(0x0040A160, "SQ", [Dataset()])
            if "UID" in item:
                item.add_new(0x0040A124, "LO", "../../etc/passwd")
            change(item)

    return changed(file, change)


@pytest.mark.parametrize("most_items", [20_000, pytest.param(read.MAX_ITEMS, marks=pytest.mark.long)])
def test_a_bad_document_stops_no_other(
    index: FindingsIndex, archive: FolderArchive, study: Study, monkeypatch: pytest.MonkeyPatch, most_items: int
) -> None:
    monkeypatch.setattr(read, "MAX_ITEMS", most_items)
    plain = study.others["highdicom"]
    hostile = [
        nested(plain, 200, is_open=False),
        nested(plain, 40, is_open=True),
        wide(plain, most_items + 1),
        without(plain, "ValueType", "RelationshipType"),
        without(plain, "ConceptNameCodeSequence"),
        without(plain, "ContentSequence"),
        without(plain, "ContentDate", "ContentTime", "CurrentRequestedProcedureEvidenceSequence"),
        with_wrong_values(plain),
    ]
    hostile = [renewed(file, f"1.2.3.{number}") for number, file in enumerate(hostile)]
    archive.store([outgoing(file) for file in [*hostile, *study.files]])
    follow(index, FolderFeed(archive), archive)
    assert set(index.refused()) == {"1.2.3.0", "1.2.3.1", "1.2.3.2", "1.2.3.5"}
    assert index.documents() == uids([*hostile, *study.files])
    assert {row.document for row in find(index, Filters(), limit=100_000).rows} >= uids([study.ours[0], plain])
    assert reindex(index, archive).refused == 4


@pytest.mark.parametrize("count", [5_000, pytest.param(100_000, marks=pytest.mark.long)])
def test_many_items_are_indexed(index: FindingsIndex, study: Study, count: int) -> None:
    assert index.add([read_document(wide(study.others["highdicom"], count))]) == 1
    assert index.size().items == count + 1


def test_a_cut_or_wrong_file_is_refused_alone(index: FindingsIndex, study: Study) -> None:
    class Damaged:
        """An archive that gives one file cut short, and one in place of another."""

        def fetch(self, instances, folder: Path) -> dict[str, Path]:  # type: ignore[no-untyped-def]
            files = {byhand.uid(file): file for file in study.ours}
            first, second = list(files)[:2]
            contents = files | {first: files[first][:5000], second: files[first]}
            for uid, content in contents.items():
                (folder / uid).write_bytes(content)
            return {uid: folder / uid for uid in contents}

        def list_series(self, **_: object) -> list:
            return list(dict.fromkeys(self._series(file) for file in study.ours))

        def list_instances(self, _: str, series: str) -> list:
            return [
                one for one in (outgoing(file).instance for file in study.ours) if one.series_instance_uid == series
            ]

        def _series(self, file: bytes):  # type: ignore[no-untyped-def]
            from segqa_dicom.archive import Series

            head = dcmread(BytesIO(file))
            return Series(str(head.StudyInstanceUID), str(head.SeriesInstanceUID), "SR", 1)

    archive = Damaged()
    follow(index, QidoFeed(archive, MODALITIES), archive)  # type: ignore[arg-type]
    assert set(index.refused()) == uids(study.ours[:2])
    assert index.documents() == uids(study.ours)


@pytest.mark.servers
def test_documents_of_orthanc_are_indexed(index: FindingsIndex, orthanc: Orthanc, study: Study) -> None:
    archive = DicomwebArchive(orthanc.dicomweb_url)
    feed = feed_for(orthanc.dicomweb_url, modalities=MODALITIES)
    assert follow(index, feed, archive) == 0
    archive.store([outgoing_dataset(study.ct), *(outgoing(file) for file in study.files)])
    assert follow(index, feed, archive) == len(study.files)
    assert index.documents() == uids(study.files)
    assert reindex(index, archive).added == 0
