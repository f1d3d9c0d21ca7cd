"""F15: segmentations before CT, CT before segmentations, interleaved over four associations, in random order, with
documents of others and of our own before both.

Pass: the current documents are the same each time, namely those that ``segqa review`` writes for the same files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from pydicom import dcmread
from pydicom.uid import ComprehensiveSRStorage

from segqa_dicom.sr import file_name, is_own_sr, write
from tests.faults.arriving import Pieces, current, send_at_once
from tests.findings.making import our_documents
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
    documents = our_documents(pieces.folder)
    own = [folder / file_name(document) for document in documents]
    for path, document in zip(own, documents, strict=True):
        write(document, path)
    other = dcmread(own[0])
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4.5"
    other.SeriesInstanceUID, other.SeriesDescription = "1.2.3.4.6", "another system's report"
    other.Manufacturer = other.ManufacturerModelName = "another system"
    other.SOPClassUID = other.file_meta.MediaStorageSOPClassUID = ComprehensiveSRStorage
    other.save_as(folder / "other.dcm", enforce_file_format=True)
    assert send(port, folder / "other.dcm", *own) == 0
    segmentations_first(port, pieces, folder)


SENDERS = [segmentations_first, images_first, interleaved, at_random, documents_first]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """One for all orders; each sends a study of its own."""
    # The quiet time must be longer than programs need to start on a machine that is busy with other tests.
    with Serve(tmp_path_factory.mktemp("service"), settings={"SEGQA_DEBOUNCE_S": "4"}) as running:
        yield running


@pytest.mark.parametrize("sender", SENDERS)
def test_the_order_of_arrival_decides_nothing(tmp_path: Path, service: Serve, sender: Sender) -> None:
    pieces = Pieces(tmp_path / "case", copy=1 + SENDERS.index(sender))
    expected = pieces.reviewed()
    sender(service.dicom_port, pieces, tmp_path)
    case = pieces.wait_until_confirmed(service)
    assert (case.revision, case.missing) == (1, {})
    assert uids(current([one for one in pieces.documents(service) if is_own_sr(one)])) == expected
    assert sorted(case.documents) == expected
