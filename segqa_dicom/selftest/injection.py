"""What an injected error is: what it changes, and which rules should say so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from segqa_dicom.dicom.limits import Limits
from segqa_dicom.model import Case, CtVolume, Segmentation
from segqa_dicom.reading.grouping import CaseFiles


@dataclass(frozen=True, eq=False)
class Subject:
    """What errors are put into: a case, and the files that it was read from.

    folder : where changed files may be written; gone after the self-test
    doubtful : SOP Instance UIDs of the segmentations in which errors are found untouched
    """

    name: str
    case: Case
    files: CaseFiles
    limits: Limits
    folder: Path
    doubtful: frozenset[str] = frozenset()

    @property
    def order(self) -> list[int]:
        """Segmentations in the order in which they are fit for errors: those without any first, then by segments."""

        def key(index: int) -> tuple[bool, int]:
            segmentation = self.case.segmentations[index]
            return segmentation.record.sop_instance_uid in self.doubtful, -len(segmentation.segments)

        return sorted(range(len(self.case.segmentations)), key=key)


@dataclass(frozen=True, eq=False)
class Changed:
    """A segmentation that is wrong now.

    keys : identity keys of the structures that are; none = the segmentation as a whole
    what : the same in words
    """

    segmentation: Segmentation
    keys: frozenset[str]
    what: str


@dataclass(frozen=True, eq=False)
class Injected:
    """A case of which one segmentation is wrong, by its SOP Instance UID; `keys` and `what` as in `Changed`."""

    case: Case
    sop_instance_uid: str
    keys: frozenset[str]
    what: str


Change = Callable[[Segmentation, CtVolume], Changed | None]
"""An error of the model: pure; None where the segmentation does not have what it takes."""


@dataclass(frozen=True, slots=True)
class Injection:
    """An error that can be made on purpose.

    expected : ids of the rules that should find it; one of them is enough
    function : the case with the error; None where nothing in it is fit for it
    """

    id: str
    title: str
    expected: tuple[str, ...]
    function: Callable[[Subject], Injected | None]


def in_model(change: Change) -> Callable[[Subject], Injected | None]:
    """An error of one segmentation, made in the first one that is fit for it."""

    def function(subject: Subject) -> Injected | None:
        for at in subject.order:
            changed = change(subject.case.segmentations[at], subject.case.ct)
            if changed is not None:
                return replaced(subject.case, at, changed)
        return None

    return function


def replaced(case: Case, at: int, changed: Changed) -> Injected:
    """The case with a wrong segmentation in the place of one of its own; the others stay beside it."""
    found = [*case.segmentations]
    found[at] = changed.segmentation
    uid = changed.segmentation.record.sop_instance_uid
    return Injected(replace(case, segmentations=tuple(found)), uid, changed.keys, changed.what)
