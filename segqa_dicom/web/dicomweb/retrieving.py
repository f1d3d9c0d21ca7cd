"""What all handlers that retrieve share: which instances the path names, and where their files are."""

from __future__ import annotations

from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.archive.folder_index import Row
from segqa_dicom.web.dicomweb.qido import uid_in_path
from segqa_dicom.web.problems import Problem
from segqa_dicom.web.state import state_of

_MAX_FRAMES_ASKED = 100_000


async def rows_of(request: Request) -> tuple[FolderArchive, list[Row]]:
    """The instances that the path names; raises `Problem` 404 if there are none."""
    archive = state_of(request).folder_archive
    uids = [uid_in_path(request, name) for name in ("study", "series", "instance")]
    rows = await run_in_threadpool(archive.rows_of, *uids)
    if not rows:
        raise Problem(404, "the archive has no such instances")
    return archive, rows


async def path_of(archive: FolderArchive, row: Row) -> Path:
    """The file of an instance; raises `Problem` 404 if it is not there any more."""
    path = await run_in_threadpool(archive.path_of, row.instance.sop_instance_uid)
    if path is None or not path.exists():
        raise Problem(404, "the archive has no such instance any more")
    return path


def frame_numbers(text: str) -> list[int]:
    """The numbers in a path, counted from 1; raises `Problem` 400 if they are none."""
    parts = text.split(",")
    if not all(part.isascii() and part.isdecimal() and len(part) < 10 for part in parts):
        raise Problem(400, "frames are asked for by numbers, separated by commas")
    numbers = [int(part) for part in parts]
    if min(numbers) < 1 or len(numbers) > _MAX_FRAMES_ASKED:
        raise Problem(400, f"frames are counted from 1, and at most {_MAX_FRAMES_ASKED} are sent at a time")
    return numbers
