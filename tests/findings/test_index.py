"""The index as a store: adding, removing, what is current, and files that are missing, damaged or old."""

from __future__ import annotations

import itertools
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from segqa_dicom.errors import ConfigurationError, PeerUnavailable
from segqa_dicom.findings import FindingsIndex, read_document
from segqa_dicom.findings.filters import Filters
from segqa_dicom.findings.listing import find
from segqa_dicom.findings.query import matching_documents
from tests.findings.conftest import Study
from tests.findings.making import renewed

CHAIN = (("1.2.3.1", ()), ("1.2.3.2", ("1.2.3.1",)), ("1.2.3.3", ("1.2.3.2",)), ("1.2.3.4", ("1.2.3.9",)))


def current(index: FindingsIndex) -> set[str]:
    return {row.document for row in find(index, Filters(), limit=10_000).rows}


def test_adding_again_changes_nothing(index: FindingsIndex, study: Study) -> None:
    documents = [read_document(file) for file in study.files]
    assert index.add(documents) == len(documents)
    size = index.size()
    assert index.add(documents) == 0
    assert index.size() == size
    assert size.items == sum(len(one.items) for one in documents)
    assert size.groups == sum(len(one.groups) for one in documents)


def test_the_current_document_is_the_one_that_nobody_replaces_whatever_the_order(tmp_path: Path, study: Study) -> None:
    documents = [read_document(renewed(study.others["highdicom"], uid, *replaced)) for uid, replaced in CHAIN]
    for number, order in enumerate(itertools.permutations(documents)):
        index = FindingsIndex(tmp_path / f"{number}.sqlite3")
        for document in order:
            index.add([document])
        assert current(index) == {"1.2.3.3", "1.2.3.4"}


def test_who_replaced_a_document_is_gone_and_it_is_current_again(index: FindingsIndex, study: Study) -> None:
    for uid, replaced in CHAIN:
        index.add([read_document(renewed(study.others["highdicom"], uid, *replaced))])
    assert index.remove(["1.2.3.3", "1.2.3.77"]) == 1
    assert current(index) == {"1.2.3.2", "1.2.3.4"}
    assert {row.document for row in find(index, Filters(is_current_only=False), limit=99).rows} == {
        "1.2.3.1",
        "1.2.3.2",
        "1.2.3.4",
    }


def test_a_document_that_names_itself_is_current(index: FindingsIndex, study: Study) -> None:
    index.add([read_document(renewed(study.others["highdicom"], "1.2.3", "1.2.3"))])
    assert current(index) == {"1.2.3"}


def test_nothing_is_left_of_a_document_that_was_removed(index: FindingsIndex, study: Study) -> None:
    documents = [read_document(file) for file in study.files]
    index.add(documents)
    assert index.remove(one.sop_instance_uid for one in documents) == len(documents)
    size = index.size()
    assert (size.documents, size.groups, size.items) == (0, 0, 0)
    assert matching_documents(index, [("ReferencedSOPInstanceUID", study.seg.SOPInstanceUID)]) == []


@pytest.mark.parametrize("damage", ["missing", "version", "garbage", "table"])
def test_an_index_that_cannot_be_used_is_made_anew(index: FindingsIndex, study: Study, damage: str) -> None:
    index.add([read_document(study.ours[0])])
    index.set_cursor("feed", "17")
    if damage == "missing":
        index.path.unlink()
    elif damage == "garbage":
        Path(f"{index.path}-wal").unlink(missing_ok=True)
        index.path.write_bytes(b"garbage" * 1000)
    else:
        with sqlite3.connect(index.path) as connection:
            connection.execute("PRAGMA user_version = 99" if damage == "version" else "DROP TABLE item")
        connection.close()
    if damage == "table":
        with pytest.raises(PeerUnavailable, match="made anew"):
            index.size()
    assert index.size().documents == 0
    assert index.cursor("feed") == ""
    assert index.add([read_document(study.ours[0])]) == 1


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="findings"):
        FindingsIndex(tmp_path / "nowhere" / "findings.sqlite3").size()


def test_only_the_service_may_read_the_index(index: FindingsIndex) -> None:
    index.set_cursor("feed", "1")
    for path in index.path.parent.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.servers
def test_several_processes_may_make_and_fill_it_at_once(tmp_path: Path, study: Study) -> None:
    paths = []
    for number, file in enumerate(study.files):
        paths.append(tmp_path / f"{number}.dcm")
        paths[-1].write_bytes(file)
    source = (
        "import sys; from pathlib import Path; from segqa_dicom.findings import FindingsIndex, read_document\n"
        "index = FindingsIndex(Path(sys.argv[1]))\n"
        "print(sum(index.add([read_document(Path(name))]) for name in sys.argv[2:]))"
    )
    command = [sys.executable, "-c", source, str(tmp_path / "findings.sqlite3"), *map(str, paths)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    added = [int(one.communicate(timeout=120)[0]) for one in running]
    assert sum(added) == len(paths)
    assert FindingsIndex(tmp_path / "findings.sqlite3").size().documents == len(paths)
