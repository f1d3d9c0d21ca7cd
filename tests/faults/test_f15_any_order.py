"""F15: segmentations before CT, CT before segmentations, interleaved over four associations, in random order, with
documents of others and of our own before both.

Pass: the current documents are the same each time, namely those that ``segqa review`` writes for the same files.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from pydicom import dcmread
from pydicom.uid import ComprehensiveSRStorage

from segqa_dicom.sr import is_own_sr
from tests.faults.arriving import Pieces, current, send_at_once, uid_of
from tests.servers.process import wait_until
from tests.servers.service import Serve, send, uids

pytestmark = pytest.mark.servers

Sender = Callable[[int, Pieces, Path], None]


def segmentations_first(port: int, pieces: Pieces, _folder: Path) -> None:
    assert send(port, *pieces.segs) == 0
    assert send(port, *pieces.ct) == 0


def images_first(port: int, pieces: Pieces, _folder: Path) -> None:
    assert send(port, *pieces.ct) == 0
    assert send(port, *pieces.segs) == 0


def interleaved(port: int, pieces: Pieces, _folder: Path) -> None:
    mixed = Random(15).sample(pieces.all, len(pieces.all))
    send_at_once(port, [mixed[n::4] for n in range(4)])


def at_random(port: int, pieces: Pieces, _folder: Path) -> None:
    chance = Random(1500)
    assert send(port, *chance.sample(pieces.all, len(pieces.all))) == 0


def documents_first(port: int, pieces: Pieces, folder: Path) -> None:
    """A report of somebody else, and those of ours that are to come."""
    own = pieces.reviewed(folder / "before")
    other = dcmread(own[0])
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.5"
    other.SeriesInstanceUID, other.SeriesDescription = "1.2.3.4.6", "another system's report"
    other.Manufacturer = other.ManufacturerModelName = "another system"
    other.SOPClassUID = other.file_meta.MediaStorageSOPClassUID = ComprehensiveSRStorage
    other.save_as(folder / "other.dcm", enforce_file_format=True)
    assert send(port, folder / "other.dcm", *own) == 0
    segmentations_first(port, pieces, folder)


@pytest.mark.parametrize("sender", [segmentations_first, images_first, interleaved, at_random, documents_first])
def test_the_order_of_arrival_decides_nothing(tmp_path: Path, sender: Sender) -> None:
    pieces = Pieces(tmp_path / "case")
    expected = sorted(map(uid_of, pieces.reviewed(tmp_path / "out")))
    # The quiet time must be longer than programs need to start on a machine that is busy with other tests.
    with Serve(tmp_path / "service", settings={"SEGQA_DEBOUNCE_S": "4"}) as service:
        sender(service.dicom_port, pieces, tmp_path)
        wait_until(lambda: len(service.cases()) == 1, 60, "a case")
        service.wait_for_cases(1)
        (case,) = service.cases()
        assert (case.revision, case.missing) == (1, {})
        assert uids(current([one for one in service.documents() if is_own_sr(one)])) == expected
        assert sorted(case.documents) == expected
