"""The parts of the coordinator on a real ledger and a real archive in a folder, with the time as an argument."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path

import numpy as np
from pydicom import Dataset

from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.checks.ruleset import RuleSet, default_ruleset
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.inbox import Inbox
from segqa_dicom.ledger import Case, Ledger, SegmentationRow, SegmentationState
from segqa_dicom.service.arrivals import Arrivals
from segqa_dicom.service.intake import Intake
from segqa_dicom.service.schedule import Scheduler
from tests.reading import handmade

NOW = 1_700_000_000.0
DEBOUNCE_S, DEADLINE_S = 5.0, 3600.0
SHAPE = (4, 8, 8)
SEG = "1.2.3.5.1"


def ct(series: str = handmade.SERIES, *, study: str = handmade.STUDY, frame: str = handmade.FRAME) -> list[Dataset]:
    """A CT series of four slices."""

    def change(dataset: Dataset, _index: int) -> None:
        dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = study, frame

    return handmade.ct_series(handmade.pixels(SHAPE), series=series, change=change)


def seg(images: Sequence[Dataset], *, uid: str = SEG, names: Sequence[Dataset] = (), **attributes: object) -> Dataset:
    """A segmentation with a voxel on each of the images.

    names : images that it refers to, with their series
    """
    plane = np.zeros(SHAPE[1:], np.uint8)
    plane[3:5, 3:5] = 1

    def change(dataset: Dataset) -> None:
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)

    planes = [(1, image.ImagePositionPatient, plane) for image in images]
    return handmade.seg(planes, uid=uid, references=names, change=change)


class Bench:
    """What the coordinator of a service in `folder` would do, step by step."""

    def __init__(self, folder: Path, *, ruleset: RuleSet | None = None, deadline_s: float = DEADLINE_S) -> None:
        self.folder, self.quarantine = folder, folder / "quarantine"
        self.quarantine.mkdir(parents=True, exist_ok=True)
        self.work, self._limits = folder / "work", Limits()
        self.work.mkdir(exist_ok=True)
        self.inbox = Inbox(folder / "inbox")
        self.archive = FolderArchive(folder / "archive", linkable=(self.inbox.folder,))
        self.ledger_url = f"sqlite:///{folder / 'ledger.sqlite'}"
        self.ledger = Ledger(self.ledger_url)
        self.ledger.migrate()
        self.intake = self.intake_with(self.ledger)
        self.scheduler = self.scheduler_with(ruleset or default_ruleset(), deadline_s=deadline_s)
        self._numbers = count()

    def intake_with(self, ledger: Ledger) -> Intake:
        """What takes from the inbox, with that ledger."""
        arrivals = Arrivals(self.archive, ledger, self._limits, debounce_s=DEBOUNCE_S, work_folder=self.work)
        return Intake(self.inbox, self.archive, ledger, arrivals, quarantine=self.quarantine, limits=self._limits)

    def scheduler_with(self, ruleset: RuleSet, *, deadline_s: float = DEADLINE_S) -> Scheduler:
        """What opens cases, with those rules."""
        return Scheduler(self.archive, self.ledger, ruleset, self._limits, deadline_s=deadline_s, work_folder=self.work)

    def put(self, *objects: Dataset | bytes) -> list[Path]:
        """Put objects into the inbox, as the node does."""
        paths = []
        for one in objects:
            part = self.inbox.parts / f"part-{next(self._numbers)}"
            if isinstance(one, bytes):
                part.write_bytes(one)
            else:
                one.save_as(part, enforce_file_format=True)
            paths.append(self.inbox.accept(part))
        return paths

    def take(self, *objects: Dataset | bytes, now: float = NOW) -> None:
        """Put objects into the inbox and take them from there."""
        self.put(*objects)
        while self.intake.run_once(now=now):
            pass

    def opened(self, after_s: float = DEBOUNCE_S) -> list[Case]:
        """Cases that the scheduler opens so long after `NOW`."""
        return self.scheduler.run_once(now=NOW + after_s)

    def row(self, uid: str = SEG) -> SegmentationRow:
        found = self.ledger.segmentation(uid)
        assert found is not None
        return found

    def state(self, uid: str = SEG) -> tuple[SegmentationState, str]:
        return self.row(uid).state, self.row(uid).reason

    def close(self) -> None:
        self.ledger.close()
        self.archive.close()
