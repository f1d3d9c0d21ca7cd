"""F14: the sender is cut off in the middle of a study and sends the rest later, on a new association.

Pass: one case, complete; its documents are those of ``segqa review``; of the object that was cut nothing is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from tests.faults.arriving import Pieces
from tests.node import wire
from tests.servers.process import wait_until
from tests.servers.service import Serve, send, uids

pytestmark = pytest.mark.servers

SENT = 10


def send_and_break_off(port: int, whole: list[Path], cut: Path) -> None:
    """Some objects as a whole, of the next one only the beginning, then the cable is pulled."""
    datasets = [dcmread(path) for path in (*whole, cut)]
    with wire.connect(port) as connection:
        connection.sendall(wire.associate([datasets[0].SOPClassUID], called="SEGQA"))
        assert wire.answer(connection)[0] == wire.ACCEPT
        for path, dataset in zip((*whole, cut), datasets, strict=True):
            command = wire.store_command(dataset.SOPClassUID, dataset.SOPInstanceUID)
            content = path.read_bytes()
            body = content[content.index(b"\x08\x00\x05\x00CS") :]
            if path == cut:
                connection.sendall(wire.data((1, 3, command), (1, 0, body[: len(body) // 2])))
                return
            connection.sendall(wire.data((1, 3, command), (1, 2, body)))
            assert wire.status(wire.answer(connection)) == 0


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    with Serve(tmp_path_factory.mktemp("service"), settings={"SEGQA_DEBOUNCE_S": "3"}) as running:
        yield running


@pytest.mark.parametrize(("copy", "first"), [(1, "images"), (2, "segmentations")])
def test_a_study_that_was_broken_off_and_resumed_is_one_case(
    tmp_path: Path, service: Serve, copy: int, first: str
) -> None:
    pieces = Pieces(tmp_path / "case", copy)
    if first == "segmentations":
        assert send(service.dicom_port, *pieces.segs) == 0
    send_and_break_off(service.dicom_port, pieces.ct[:SENT], pieces.ct[SENT])

    def was_looked_at() -> bool:
        with service.ledger() as ledger:
            subject = ledger.subject(dcmread(pieces.ct[0]).SeriesInstanceUID)
        return subject is not None and subject.evaluated_at is not None

    wait_until(was_looked_at, 60, "the quiet time after the abort is over")
    assert pieces.cases(service) == []
    parts = service.data / "inbox" / "incoming"
    wait_until(lambda: not list(parts.iterdir()), 30, "nothing of the object that was cut is left")

    assert send(service.dicom_port, *pieces.ct[SENT:], *(pieces.segs if first == "images" else ())) == 0
    case = pieces.wait_until_confirmed(service)
    assert (case.revision, case.missing) == (1, {})
    assert uids(pieces.documents(service)) == pieces.reviewed()
