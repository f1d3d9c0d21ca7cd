"""From the inbox into archive and ledger: what is taken, what is put aside, and that doing it twice changes nothing."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from segqa_dicom.errors import PeerUnavailable
from segqa_dicom.ledger import Ledger, Refusal, SegmentationState
from segqa_dicom.log import hashed
from tests.reading import handmade
from tests.service.bench import DEBOUNCE_S, NOW, SEG, Bench, ct, seg


def changed(dataset: Dataset, **attributes: object) -> Dataset:
    """The same object with other values."""
    other = deepcopy(dataset)
    for keyword, value in attributes.items():
        setattr(other, keyword, value)
    return other


def other_pixels(dataset: Dataset, seed: int = 7) -> Dataset:
    pixels = np.random.default_rng(seed).integers(0, 3000, (dataset.Rows, dataset.Columns)).astype(np.int16)
    return changed(dataset, PixelData=pixels.tobytes())


class DyingLedger(Ledger):
    """Its database goes away when one of the methods is called."""

    def __init__(self, url: str, dies_at: str) -> None:
        self._dies_at = dies_at
        super().__init__(url)

    def __getattribute__(self, name: str) -> object:
        if not name.startswith("_") and name == self._dies_at:
            raise PeerUnavailable("the ledger is gone")
        return super().__getattribute__(name)


@contextmanager
def openings(folder: Path) -> Iterator[Counter[Path]]:
    """How often files directly in a folder are opened, by path."""
    counted: Counter[Path] = Counter()
    is_counting = True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if is_counting and event == "open" and isinstance(arguments[0], str | Path):
            path = Path(arguments[0])
            counted.update([path] if path.parent == folder and path.suffix == ".dcm" else ())

    sys.addaudithook(hook)
    try:
        yield counted
    finally:
        is_counting = False


def refusal(bench: Bench) -> Refusal:
    (found,) = bench.ledger.refusals()
    return found


def test_what_is_taken_is_in_the_archive_and_in_the_ledger_and_the_inbox_is_empty(bench: Bench) -> None:
    images = ct()
    bench.take(*images, seg(images, names=images))
    assert bench.inbox.count() == 0
    assert len(bench.archive.list_instances(handmade.STUDY, handmade.SERIES)) == len(images)
    row = bench.row()
    assert (row.ct_series_instance_uid, row.state) == (handmade.SERIES, SegmentationState.WAITING)
    assert row.referenced_instances == tuple(sorted(str(one.SOPInstanceUID) for one in images))
    subject = bench.ledger.subject(handmade.SERIES)
    assert subject is not None
    assert (subject.ct_study_instance_uid, subject.check_at) == (handmade.STUDY, NOW + DEBOUNCE_S)


def test_taking_it_again_changes_nothing_but_the_quiet_time(bench: Bench) -> None:
    images = ct()
    objects = [*images, seg(images, names=images)]
    bench.take(*objects)
    row = bench.row()
    bench.take(*objects, *objects, now=NOW + 2)
    assert bench.row() == row
    assert len(bench.archive.list_instances(handmade.STUDY, handmade.SERIES)) == len(images)
    assert bench.ledger.refusals() == []
    assert bench.ledger.conflicts_in([handmade.SERIES, SEG]) == []
    subject = bench.ledger.subject(handmade.SERIES)
    assert subject is not None
    assert subject.check_at == NOW + 2 + DEBOUNCE_S


def test_more_files_than_one_batch_are_taken_in_their_order(bench: Bench) -> None:
    first = ct()[0]
    many = [changed(first, SOPInstanceUID=f"1.2.3.4.{number}") for number in range(1000, 1230)]
    bench.put(*many)
    assert [bench.intake.run_once(now=NOW) for _ in range(4)] == [100, 100, 30, 0]
    assert len(bench.archive.list_instances(handmade.STUDY, handmade.SERIES)) == 230


def test_an_image_is_opened_once_for_its_header_and_once_for_its_digest(bench: Bench) -> None:
    paths = bench.put(*ct())
    with openings(bench.inbox.folder) as counted:
        bench.intake.run_once(now=NOW)
    assert counted == dict.fromkeys(paths, 2)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        pytest.param(b"", "UnreadableObject", id="empty"),
        pytest.param(b"no DICOM at all, but long enough to be looked at", "UnreadableObject", id="no DICOM"),
        pytest.param(b"\0" * 128 + b"DICM", "UnreadableObject", id="a preamble and nothing more"),
        pytest.param("../../etc/passwd", "Inconsistent", id="a path for a UID"),
        pytest.param("1." + "2" * 70, "Inconsistent", id="a UID that is too long"),
        pytest.param("", "Inconsistent", id="no UID"),
    ],
)
def test_what_cannot_be_used_is_put_aside_with_a_reason_and_stops_nothing(
    bench: Bench, content: bytes | str, name: str
) -> None:
    images = ct()
    bad = content if isinstance(content, bytes) else changed(images[0], SOPInstanceUID=content)
    (path,) = bench.put(bad)
    kept = path.read_bytes()
    bench.take(*images)
    assert bench.inbox.count() == 0
    assert len(bench.archive.list_instances(handmade.STUDY, handmade.SERIES)) == len(images)
    found = refusal(bench)
    assert found.reason
    assert found.name in (name, "Inconsistent", "UnreadableObject")
    assert found.path == str(bench.quarantine / path.name)
    assert (bench.quarantine / path.name).read_bytes() == kept


def test_another_content_is_kept_in_quarantine_and_noted_once_however_often_it_comes(bench: Bench) -> None:
    images = ct()
    bench.take(*images)
    other = other_pixels(images[1])
    for _ in range(3):
        bench.take(other, now=NOW + 1)
    (conflict,) = bench.ledger.conflicts_in([handmade.SERIES])
    assert conflict.sop_instance_uid == images[1].SOPInstanceUID
    assert conflict.kept_digest != conflict.refused_digest
    (kept,) = bench.quarantine.iterdir()
    assert kept.name.startswith(hashed(str(images[1].SOPInstanceUID)))
    found = refusal(bench)
    assert (found.sop_instance_uid, found.name, found.path) == (images[1].SOPInstanceUID, "Conflict", str(kept))
    bench.take(other_pixels(images[1], seed=8), now=NOW + 2)
    assert len(bench.ledger.conflicts_in([handmade.SERIES])) == len(list(bench.quarantine.iterdir())) == 2


def test_two_contents_that_come_at_once_are_a_conflict_too(bench: Bench) -> None:
    images = ct()
    bench.take(*images, other_pixels(images[2]))
    assert len(bench.ledger.conflicts_in([handmade.SERIES])) == 1
    (there,) = bench.archive.fetch(bench.archive.find_instances([images[2].SOPInstanceUID]), bench.folder).values()
    assert images[2].PixelData in there.read_bytes()


def test_a_conflict_is_told_of_the_series_that_the_first_object_is_in(bench: Bench) -> None:
    images = ct()
    bench.take(*images, seg(images, names=images))
    assert len(bench.opened()) == 1
    bench.take(changed(other_pixels(images[0]), SeriesInstanceUID="1.2.3.99"), now=NOW + 10)
    assert [one.series_instance_uid for one in bench.ledger.conflicts_in([handmade.SERIES])] == [handmade.SERIES]
    (again,) = bench.opened(20)
    assert again.revision == 2


def test_a_crash_at_any_point_of_a_conflict_leaves_it_in_the_inbox_or_noted(bench: Bench) -> None:
    images = ct()
    bench.take(*images, seg(images, names=images))
    assert len(bench.opened()) == 1
    (path,) = bench.put(other_pixels(images[0]))
    for method in ("add_conflict", "touch_many", "refuse"):
        with pytest.raises(PeerUnavailable):
            bench.intake_with(DyingLedger(bench.ledger_url, method)).run_once(now=NOW + 10)
        assert path.exists()
    bench.take(now=NOW + 11)
    assert len(bench.ledger.conflicts_in([handmade.SERIES])) == len(list(bench.quarantine.iterdir())) == 1
    assert [case.revision for case in bench.opened(20)] == [2]


def test_what_is_neither_ct_nor_segmentation_is_archived_and_no_more(bench: Bench) -> None:
    other = changed(ct()[0], SOPClassUID="1.2.840.10008.5.1.4.1.1.7", Modality="OT")
    other.file_meta.MediaStorageSOPClassUID = other.SOPClassUID
    bench.take(other)
    assert len(bench.archive.list_instances(handmade.STUDY, handmade.SERIES)) == 1
    assert bench.ledger.subject(handmade.SERIES) is None
