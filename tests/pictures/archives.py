"""Archives with small cases, made object by object."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from pydicom import Dataset

from segqa_dicom.archive import Instance, Outgoing
from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.pictures import OpenCases
from tests.archive.objects import outgoing
from tests.reading.factories import Frame, Grid, blobs, ct_images, frames_of, grid, seg

STUDY = "1.2.3.4.1"
WHERE = grid(6, (16, 20))
OPEN_BYTES = 6 * 16 * 20 * (2 + 1)
"""Of a case with one segmentation."""


class CountingArchive(FolderArchive):
    """An archive that notes what it was asked to fetch, and may be told to do something first."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.fetched: list[tuple[str, ...]] = []
        self.before_fetch: Callable[[], None] = lambda: None
        self._noting = threading.Lock()

    def fetch(self, instances: Sequence[Instance], folder: Path) -> dict[str, Path]:
        with self._noting:
            self.fetched.append(tuple(one.sop_instance_uid for one in instances))
        self.before_fetch()
        return super().fetch(instances, folder)

    def loads(self, ct_series: str) -> int:
        """How often a CT series was fetched."""
        return sum(any(uid.startswith(f"{ct_series}.") for uid in uids) for uids in self.fetched)


def images(ct_series: str, where: Grid = WHERE, **more: object) -> list[Dataset]:
    return list(ct_images(where, SeriesInstanceUID=ct_series, StudyInstanceUID=STUDY, **more))


def drawn_on(ct: Sequence[Dataset], uid: str, where: Grid = WHERE, **more: object) -> Dataset:
    """A segmentation with three segments on a CT series."""
    volume = blobs((len(where.origins), *where.matrix))
    frames: list[Frame] = frames_of(volume)
    attributes = {"StudyInstanceUID": STUDY, "SeriesInstanceUID": f"{uid}.9", "Modality": "SEG"} | more
    return seg(where, frames, [1, 2, 3], ct=ct, uid=uid, **attributes)  # type: ignore[arg-type]


def store(archive: FolderArchive, *objects: Dataset) -> None:
    archive.store([outgoing(one) for one in objects])


def stored(*objects: Dataset) -> list[Outgoing]:
    return [outgoing(one) for one in objects]


def with_cases(folder: Path, count: int) -> CountingArchive:
    """CT series 1.2.100 and on, with a segmentation 1.3.100 and on each."""
    archive = CountingArchive(folder)
    for number in range(100, 100 + count):
        ct = images(f"1.2.{number}")
        store(archive, *ct, drawn_on(ct, f"1.3.{number}"))
    return archive


def opened(archive: FolderArchive, folder: Path, *, max_bytes: int = 10**9) -> OpenCases:
    return OpenCases(archive, folder=folder / "work", limits=Limits(), max_bytes=max_bytes)
