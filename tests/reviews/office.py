"""A place where readers work: an archive with a reviewed phantom, a ledger, an index of findings, and a clock."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import dcmread

from segqa_dicom.archive import Archive, Instance, Outgoing
from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.assessment.model import Location, Reviewer, ReviewFinding, SegmentReview
from segqa_dicom.assessment.vocabulary import default_vocabulary
from segqa_dicom.config import ServiceSettings
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.findings import FILE_NAME, Document, FindingsIndex, read_document, reindex
from segqa_dicom.findings.worklist import matching_places
from segqa_dicom.ledger import Ledger
from segqa_dicom.model import SegmentRef
from segqa_dicom.pictures import OpenCases
from segqa_dicom.reviews.workflow.model import Draft, Task, WorklistFilters
from segqa_dicom.reviews.workflow.workflow import ReviewWorkflow
from tests.findings.making import our_documents
from tests.phantom_studies import phantom_study
from tests.service.cases import TINY

NOW = 1_790_000_000.0
ANNA = Reviewer("anna", "Alpha^Anna", "Radiology")
BEN = Reviewer("ben", "Beta^Ben", "Radiology")
CARL = Reviewer("carl", "Gamma^Carl", "Radiology")
ALL = WorklistFilters()
LIVER = ReviewFinding("leak", "major", Location((10.0, -20.0, 30.5)), "into the lung")


class Clock:
    """Says what it is told."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += seconds


def outgoing(contents: Iterable[Path | bytes]) -> list[Outgoing]:
    """Objects, to be stored."""
    return [Outgoing(_instance(content), content) for content in contents]


def _instance(content: Path | bytes) -> Instance:
    header = dcmread(content if isinstance(content, Path) else BytesIO(content), stop_before_pixels=True)
    uids = (header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID, header.SOPClassUID)
    return Instance(*map(str, uids))


def make_reviewed(folder: Path) -> Path:
    """A folder with an archive of a phantom, two models and the documents of the machine, and its index."""
    phantom_study(folder / "dicom", TINY)
    archive = FolderArchive(folder / "office")
    documents = [one.file for one in our_documents(folder / "dicom")]
    archive.store(outgoing([*sorted((folder / "dicom").rglob("*.dcm")), *documents]))
    reindex(FindingsIndex(folder / "office" / FILE_NAME), archive)
    archive.close()
    return folder / "office"


@lru_cache(maxsize=100)
def _read(content: bytes) -> Document:
    """Documents never change, and each test asks for them several times."""
    return read_document(content)


class Office:
    """An office of its own, in `folder`, which begins as a copy of a reviewed one (None = is there already).

    ledger_url : None = SQLite in the folder
    archive : in place of the folder's
    """

    def __init__(
        self, reviewed: Path | None, folder: Path, *, ledger_url: str | None = None, archive: Archive | None = None
    ) -> None:
        if reviewed is not None:
            shutil.copytree(reviewed, folder)
        self.folder, self.clock = folder, Clock()
        self.ledger_url = ledger_url or f"sqlite:///{folder / 'ledger.sqlite3'}"
        self.index = FindingsIndex(folder / FILE_NAME)
        self.archive: Archive = archive or FolderArchive(folder)
        self._closing: list[Callable[[], None]] = []
        self.ledger = self.open_ledger()

    def open_ledger(self) -> Ledger:
        ledger = Ledger(self.ledger_url)
        ledger.migrate()
        self._closing.append(ledger.close)
        return ledger

    def workflow(self, *, archive: Archive | None = None, **settings: Any) -> ReviewWorkflow:
        """A workflow as a process that was just started has it."""
        given = archive or self.archive
        cases = OpenCases(given, folder=self.folder / "open", limits=Limits(), max_bytes=500_000_000)
        self._closing.append(cases.close)
        return ReviewWorkflow(
            ledger=self.ledger,
            archive=given,
            index=self.index,
            cases=cases,
            vocabulary=default_vocabulary(),
            settings=ServiceSettings(**settings),
            clock=self.clock,
        )

    def lose_ledger(self) -> None:
        """As if its file was deleted."""
        self.ledger.close()
        for path in self.folder.glob("ledger.sqlite3*"):
            path.unlink()
        self.ledger = self.open_ledger()

    def lose_index(self) -> None:
        """Of findings; it is filled again from the archive."""
        for path in self.folder.glob(f"{FILE_NAME}*"):
            path.unlink()

    def places(self) -> list[SegmentRef]:
        return matching_places(self.index, ALL)

    def segmentations(self) -> list[str]:
        return sorted({one.segmentation for one in self.places()})

    def documents(self, kind: str = "review") -> list[Document]:
        """Documents of readers in the archive, by when they were made."""
        found = []
        for series in self.archive.list_series(modality="SR"):
            instances = self.archive.list_instances(series.study_instance_uid, series.series_instance_uid)
            fetched = self.folder / "fetched"
            fetched.mkdir(exist_ok=True)
            for path in self.archive.fetch(instances, fetched).values():
                document = _read(path.read_bytes())
                if document.kind == kind:
                    found.append(document)
        return sorted(found, key=lambda one: (one.content_date, one.content_time, len(one.predecessors)))

    def objects(self) -> list[Path]:
        """All files of the archive."""
        return sorted(path for path in (self.folder / "objects").rglob("*") if path.is_file())

    def close(self) -> None:
        for close in reversed(self._closing):
            close()


def said(place: SegmentRef, rating: str = "3", *findings: ReviewFinding, **more: Any) -> SegmentReview:
    return SegmentReview(place.segment, rating, findings, **more)


def finish(
    workflow: ReviewWorkflow, reader: Reviewer, place: SegmentRef, rating: str = "3", *findings: ReviewFinding
) -> Draft:
    """Review a segment as somebody who knows what to say."""
    task = workflow.task_of(reader, place)
    before = workflow.draft(reader, task)
    return workflow.save(reader, task, said(place, rating, *findings), version=before.version, finish=True)


def task(place: SegmentRef) -> Task:
    return Task(place)
