"""Deleting is for who has the token, and leaves each instance either there or away."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import requests

from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.archive.folder_deletion import Deletions
from tests.archive.objects import SERIES, STUDY, ct, encoded, outgoing
from tests.web.conftest import Server

TOKEN = "a-long-token"
RIGHT = {"Authorization": f"Bearer {TOKEN}"}
OTHER = "1.2.826.0.1.3680043.10.1.2"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An archive of two series with two instances each."""
    with closing(FolderArchive(tmp_path / "archive")) as archive:
        archive.store([outgoing(ct(number, series=series)) for number in (1, 2) for series in (SERIES, OTHER)])
    return tmp_path / "archive"


def kept(folder: Path) -> list[Path]:
    return sorted((folder / "deleted").iterdir())


def uids(archive: FolderArchive) -> list[str]:
    return sorted(row.instance.sop_instance_uid for row in archive.rows_of(STUDY))


@pytest.mark.parametrize(
    ("path", "left"),
    [
        (f"/studies/{STUDY}", 0),
        (f"/studies/{STUDY}/series/{SERIES}", 2),
        (f"/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.1", 3),
    ],
)
def test_operators_delete(folder: Path, serve: Callable[..., Server], path: str, left: int) -> None:
    server = serve(SEGQA_OPERATOR_TOKEN=TOKEN)
    assert requests.delete(f"{server.dicom_web}{path}", headers=RIGHT, timeout=30).status_code == 204
    assert len(server.client.search_for_instances()) == left
    assert len(server.client.search_for_series()) == (left + 1) // 2
    assert len(server.client.search_for_studies()) == min(left, 1)
    assert requests.get(f"{server.dicom_web}{path}", timeout=30).status_code == 404
    assert requests.delete(f"{server.dicom_web}{path}", headers=RIGHT, timeout=30).status_code == 404
    assert len(kept(folder)) == 4 - left
    assert kept(folder)[0].read_bytes() in [encoded(ct(n, series=s)) for n in (1, 2) for s in (SERIES, OTHER)]


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}"}, {"Authorization": TOKEN},
     {"Authorization": "Bearer "}, {"Authorization": "Bearer \xe9"}],
)  # fmt: skip
def test_nobody_else_deletes(folder: Path, serve: Callable[..., Server], headers: dict[str, str]) -> None:
    server = serve(SEGQA_OPERATOR_TOKEN=TOKEN)
    answer = requests.delete(f"{server.dicom_web}/studies/{STUDY}", headers=headers, timeout=30)
    assert (answer.status_code, list(answer.json())) == (403, ["message"])
    assert len(server.client.search_for_instances()) == 4


@pytest.mark.parametrize("headers", [{}, RIGHT, {"Authorization": "Bearer "}, {"Authorization": "Bearer"}])
def test_without_a_token_nobody_deletes(folder: Path, serve: Callable[..., Server], headers: dict[str, str]) -> None:
    server = serve()
    answer = requests.delete(f"{server.dicom_web}/studies/{STUDY}", headers=headers, timeout=30)
    assert answer.status_code == 403
    assert kept(folder) == []


def test_what_was_deleted_can_come_again(folder: Path) -> None:
    with closing(FolderArchive(folder)) as archive:
        assert archive.delete([f"{SERIES}.1", f"{SERIES}.1", "1.2.3"]) == 1
        archive.store([outgoing(ct(1))])
        assert len(uids(archive)) == 4
        assert archive.delete([f"{SERIES}.1"]) == 1
        assert archive.reindex().added == 0
        assert len(uids(archive)) == 3


class Crash(Exception):
    """Where the process would have died."""


class Dying:
    """Synchronises until it is enough; everything before has happened, nothing behind."""

    def __init__(self, calls: int) -> None:
        self.calls = calls

    def __call__(self, paths: object) -> None:
        self.calls -= 1
        if self.calls < 0:
            raise Crash


@pytest.mark.parametrize("calls", [0, 1])
def test_a_crash_leaves_an_instance_there_or_away(folder: Path, calls: int) -> None:
    with closing(FolderArchive(folder)) as archive:
        whole = uids(archive)
        dying = Deletions(folder / "deleted", archive._index, archive._files.path, Dying(calls))
        with pytest.raises(Crash):
            dying.delete([f"{SERIES}.1"])
    for _ in range(2):
        with closing(FolderArchive(folder)) as archive:
            found = uids(archive)
            assert found == (whole if calls == 0 else [uid for uid in whole if uid != f"{SERIES}.1"])
            assert all(path.exists() for uid in found if (path := archive.path_of(uid)))
            assert not list((folder / "deleted").glob("*.todo"))
            archive.reindex()
            assert uids(archive) == found


def test_a_deletion_that_was_interrupted_does_not_touch_what_came_again(folder: Path) -> None:
    with closing(FolderArchive(folder)) as archive:
        with pytest.raises(Crash):
            Deletions(folder / "deleted", archive._index, archive._files.path, Dying(1)).delete([f"{SERIES}.1"])
        archive.store([outgoing(ct(1))])
    with closing(FolderArchive(folder)) as archive:
        path = archive.path_of(f"{SERIES}.1")
        assert path is not None
        assert path.read_bytes() == encoded(ct(1))
        assert not list((folder / "deleted").glob("*.todo"))
