"""Unreadable and hostile objects among those of a good case.

Pass: nothing stops the others; each is kept byte for byte, and listed by ``segqa quarantine list`` with a reason unless
the archive could take it as an object that is no part of any case; the documents of the case are as if they had not come.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from copy import deepcopy
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence as Items
from pydicom.uid import DeflatedExplicitVRLittleEndian

from segqa_dicom.inbox import Inbox
from segqa_dicom.ledger import SegmentationState
from tests.faults.arriving import Pieces, kept_files
from tests.servers.process import wait_until
from tests.servers.service import Serve, send, uids
from tests.shared import shared

pytestmark = pytest.mark.servers

SETTINGS = {"SEGQA_DEBOUNCE_S": "3", "SEGQA_MAX_INFLATED_BYTES": "1000000"}


def encoded(dataset: Dataset) -> bytes:
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def changed(path: Path, **attributes: object) -> Dataset:
    """An object of its own with other values."""
    dataset = deepcopy(dcmread(path))
    dataset.SOPInstanceUID = f"{dataset.SOPInstanceUID[:-9]}{sum(map(ord, str(attributes))):09d}"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def another(ct: Path, number: int) -> bytes:
    """A good image of another series of the study."""
    return encoded(changed(ct, SeriesInstanceUID="1.2.3.4.5.6", InstanceNumber=number))


def deflated(ct: Path) -> bytes:
    """Few bytes that become many."""
    dataset = changed(ct, PixelData=bytes(4_000_000))
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    return encoded(dataset)


def nested(ct: Path) -> bytes:
    """A sequence in a sequence in a sequence, and none of them ends."""
    whole = another(ct, 4)
    begin = whole.index(b"\x08\x00\x60\x00CS")
    sequence = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
    return whole[:begin] + sequence * 1000 + whole[begin:]


HANDMADE: dict[str, Callable[[Path], bytes]] = {
    "empty": lambda ct: b"",
    "text": lambda ct: b"Dear colleague, please find attached the images of our patient. " * 9,
    "zip": lambda ct: b"PK\3\4" + bytes(range(256)) * 8,
    "cut in its header": lambda ct: another(ct, 1)[:500],
    "cut in its pixels": lambda ct: another(ct, 2)[:-100],
    "a path for a UID": lambda ct: encoded(changed(ct)).replace(dcmread(ct).SeriesInstanceUID[:6].encode(), b"../../"),
    "no UIDs": lambda ct: encoded(changed(ct, StudyInstanceUID="", SeriesInstanceUID="")),
    "a UID with letters": lambda ct: encoded(changed(ct, SeriesInstanceUID="1.2.abc")),
    "inflates without end": deflated,
    "an element beyond its end": lambda ct: another(ct, 3)[:600] + b"\x10\x00\x10\x00UN\0\0\xf0\xff\xff\x7f" + bytes(64),
    "nested a thousand times": nested,
}  # fmt: skip


def pour(service: Serve, contents: list[bytes]) -> None:
    """Put contents into the inbox as the node does with what it has acknowledged; so none is stopped by its checks."""
    inbox = Inbox(service.data / "inbox")
    for number, content in enumerate(contents):
        part = inbox.parts / f"test-{number}"
        part.write_bytes(content)
        inbox.accept(part)
    wait_until(lambda: inbox.count() == 0, 90, "the inbox is empty")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def quarantined(service: Serve) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(service.segqa("quarantine", "list", "--json").stdout)["objects"]
    return found


def lost(service: Serve, contents: list[bytes]) -> list[int]:
    """Which of the contents are neither in the archive, nor in quarantine with a reason."""
    reasons = {Path(one["path"]).name: one["reason"] for one in quarantined(service)}
    kept = {sha256(path.read_bytes()) for path in (service.data / "quarantine").iterdir() if reasons.get(path.name)}
    kept |= set(kept_files(service).values())
    return [number for number, content in enumerate(contents) if sha256(content) not in kept]


def test_handmade_objects_among_good_ones(tmp_path: Path) -> None:
    pieces = Pieces(tmp_path / "case")
    expected = pieces.reviewed()
    bad = [make(pieces.ct[3]) for make in HANDMADE.values()]
    lying = changed(pieces.segs[0], NumberOfFrames=60_000)
    empty = changed(pieces.segs[0], SegmentSequence=Items([]))
    with Serve(tmp_path / "service", settings=SETTINGS) as service:
        pour(service, bad[::2])
        for number, one in enumerate((lying, empty)):
            one.save_as(tmp_path / f"bad-{number}.dcm", enforce_file_format=True)
        assert send(service.dicom_port, *pieces.ct[:9], tmp_path / "bad-0.dcm", tmp_path / "bad-1.dcm") == 0
        pour(service, bad[1::2])
        assert send(service.dicom_port, *pieces.ct[9:], *pieces.segs) == 0
        wait_until(lambda: service.cases(), 60, "a case")
        service.wait_for_cases(1)
        assert uids(service.documents()) == expected

        assert [list(HANDMADE)[number] for number in lost(service, bad)] == []
        assert len([one for one in quarantined(service) if one["name"] != "NotReviewed"]) == len(bad)
        refused = {
            one["sop_instance_uid"]: one["reason"] for one in quarantined(service) if one["name"] == "NotReviewed"
        }
        assert set(refused) == {str(lying.SOPInstanceUID), str(empty.SOPInstanceUID)}
        with service.ledger() as ledger:
            for uid, reason in refused.items():
                row = ledger.segmentation(uid)
                assert row is not None
                assert (row.state, row.reason) == (SegmentationState.REFUSED, reason)
                assert reason
        assert "Traceback" not in service.log.read_text()


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.long)])
def test_malformed_files_of_others_among_good_ones(tmp_path: Path, step: int) -> None:
    folder = shared("bad_inputs", "fuzz_corpus_v3")
    files = [path for path in sorted(folder.rglob("*.dcm"))[::step] if path.stat().st_size < 5_000_000]
    contents = list({sha256(path.read_bytes()): path.read_bytes() for path in files}.values())
    assert len(contents) > 150 / step
    pieces = Pieces(tmp_path / "case")
    expected = pieces.reviewed()
    with Serve(tmp_path / "service", settings=SETTINGS) as service:
        pour(service, contents[::2])
        assert send(service.dicom_port, *pieces.segs, *pieces.ct) == 0
        pour(service, contents[1::2])
        wait_until(lambda: service.cases(), 60, "a case")
        service.wait_for_cases(1)
        assert uids(service.documents()) == expected
        assert lost(service, contents) == []
        assert quarantined(service)
        assert "Traceback" not in service.log.read_text()
