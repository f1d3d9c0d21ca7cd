"""What was answered as stored survives the death of whoever stored it, and is there once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pydicom
import pytest

from segqa_dicom.archive import Outcome
from segqa_dicom.archive.folder import FolderArchive
from tests.archive.objects import SERIES, STUDY, ct, outgoing

pytestmark = pytest.mark.servers

ROUNDS, BATCH, COUNT = 8, 7, 500


def writer(folder: Path, first: int, count: int = COUNT, batch: int = BATCH) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.archive.folder_writer", *map(str, (folder, first, count, batch))]
    root = Path(__file__).resolve().parents[2]
    child = subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def go(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


def check_whole(archive: FolderArchive) -> None:
    """Every row has its file, every file is whole."""
    rows = archive.rows_of(STUDY)
    for row in rows:
        path = archive.path_of(row.instance.sop_instance_uid)
        assert path is not None
        assert path.stat().st_size == row.size_bytes
    for path in (archive.folder / "objects").rglob("*"):
        if path.is_file():
            assert pydicom.dcmread(path).pixel_array.shape == (64, 64)


def test_nothing_that_was_answered_is_lost_or_half_there_after_sigkill(tmp_path: Path) -> None:
    answered: set[str] = set()
    chance = random.Random(1)
    for number in range(ROUNDS):
        child = writer(tmp_path, 1 + number * COUNT)
        go(child)
        assert child.stdout is not None
        for _ in range(chance.randint(1, 150)):
            answered.add(child.stdout.readline().split()[0])
        os.kill(child.pid, signal.SIGKILL)
        rest = child.stdout.read().split("\n")[:-1]  # the last line may be half
        child.communicate()
        answered |= {line.split()[0] for line in rest}
        with closing(FolderArchive(tmp_path)) as archive:
            there = {one.sop_instance_uid for one in archive.find_instances(sorted(answered))}
            assert there == answered
            check_whole(archive)
    with closing(FolderArchive(tmp_path)) as archive:
        before = {one.sop_instance_uid for one in archive.list_instances(STUDY, SERIES)}
        found = archive.reindex()
        after = {one.sop_instance_uid for one in archive.list_instances(STUDY, SERIES)}
        assert (found.unusable, found.removed, found.files) == (0, 0, len(after))
        assert before <= after
        again = archive.store([outgoing(ct(number, size=64)) for number in range(1, 50)])
        assert {one.outcome for one in again} <= {Outcome.ALREADY_THERE, Outcome.STORED}


def test_processes_that_store_the_same_objects_store_them_once(tmp_path: Path) -> None:
    children = [writer(tmp_path, 1, 60, 5) for _ in range(4)]
    for child in children:
        go(child)
    lines = [line.split(maxsplit=1) for child in children for line in child.communicate()[0].splitlines()]
    assert [child.returncode for child in children] == [0] * 4
    outcomes = [outcome for _, outcome in lines]
    assert (outcomes.count(Outcome.STORED), outcomes.count(Outcome.ALREADY_THERE)) == (60, 180)
    with closing(FolderArchive(tmp_path)) as archive:
        assert len(archive.list_instances(STUDY, SERIES)) == 60
        check_whole(archive)


def test_processes_that_find_no_index_make_one(tmp_path: Path) -> None:
    with closing(FolderArchive(tmp_path)) as archive:
        archive.store([outgoing(ct(number, size=64)) for number in range(1, 40)])
    for path in tmp_path.glob("index.sqlite3*"):
        path.unlink()
    children = [writer(tmp_path, 1, 45, 5) for _ in range(3)]
    for child in children:
        go(child)
    for child in children:
        child.communicate()
    with closing(FolderArchive(tmp_path)) as archive:
        assert len(archive.list_instances(STUDY, SERIES)) == 45
        assert archive.reindex().added == 0


def test_an_archive_can_be_used_on_both_sides_of_a_fork(tmp_path: Path) -> None:
    with closing(FolderArchive(tmp_path)) as archive:
        archive.store([outgoing(ct(1, size=64))])
        child = os.fork()
        if child == 0:  # no pytest in here
            stored = archive.store([outgoing(ct(2, size=64))])
            os._exit(0 if stored[0].outcome is Outcome.STORED else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        archive.store([outgoing(ct(3, size=64))])
        assert len(archive.list_instances(STUDY, SERIES)) == 3
