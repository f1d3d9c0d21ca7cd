"""Storage commitment: what is held is promised, on the same association or on one that we open."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association

from segqa_dicom.dicom.sop_classes import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE
from segqa_dicom.errors import PeerUnavailable
from segqa_dicom.inbox import Inbox
from segqa_dicom.node import Node, WaitingInstances
from tests.node.objects import CT_CLASS, TITLE, node_at, send, uid, write_ct
from tests.servers.process import wait_until

TRANSACTION = "1.2.3.4.5"


class Requester:
    """Asks for commitment, and keeps what is reported; can listen for reports, too."""

    def __init__(self) -> None:
        self.reports: list[tuple[int, Dataset, bool]] = []
        self.ae = AE("MODALITY")
        self.ae.add_requested_context(STORAGE_COMMITMENT)
        self.ae.add_supported_context(STORAGE_COMMITMENT, scu_role=False, scp_role=True)
        self.handlers: list[Any] = [(evt.EVT_N_EVENT_REPORT, self._reported)]

    def _reported(self, event: Any) -> tuple[int, None]:
        self.reports.append((event.event_type, event.event_information, event.assoc.is_acceptor))
        return 0x0000, None

    @contextmanager
    def association(self, port: int) -> Iterator[Association]:
        one = self.ae.associate("127.0.0.1", port, ae_title=TITLE, evt_handlers=self.handlers)
        assert one.is_established
        yield one
        one.release()

    @contextmanager
    def listening(self) -> Iterator[int]:
        server = self.ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=self.handlers)
        assert server is not None
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def request(numbers: Sequence[int], *, transaction: str = TRANSACTION) -> Dataset:
    dataset = Dataset()
    dataset.TransactionUID = transaction
    dataset.ReferencedSOPSequence = [Dataset() for _ in numbers]
    for item, number in zip(dataset.ReferencedSOPSequence, numbers, strict=True):
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT_CLASS, uid(number)
    return dataset


def ask(
    association: Association, dataset: Dataset, *, action: int = 1, instance: str = STORAGE_COMMITMENT_INSTANCE
) -> int:
    status, _ = association.send_n_action(dataset, action, STORAGE_COMMITMENT, instance)
    return int(status.Status)


def uids(dataset: Dataset, keyword: str) -> list[str]:
    return [item.ReferencedSOPInstanceUID for item in dataset.get(keyword, [])]


@pytest.mark.servers
def test_what_is_in_the_inbox_is_promised_on_the_same_association(node: Node, tmp_path: Path) -> None:
    assert send(node.port, write_ct(tmp_path / "ct", 3)).returncode == 0
    requester = Requester()
    with requester.association(node.port) as association:
        assert ask(association, request([0, 1, 2])) == 0x0000
        wait_until(lambda: requester.reports)
    ((kind, report, from_elsewhere),) = requester.reports
    assert (kind, from_elsewhere) == (1, False)
    assert report.TransactionUID == TRANSACTION
    assert uids(report, "ReferencedSOPSequence") == [uid(0), uid(1), uid(2)]
    assert "FailedSOPSequence" not in report


def test_what_is_not_held_is_said_with_its_reason(tmp_path: Path) -> None:
    def is_held(sop_class_uid: str, sop_instance_uid: str) -> bool:
        if sop_instance_uid == uid(2):
            raise PeerUnavailable("archive does not answer")
        return (sop_class_uid, sop_instance_uid) == (CT_CLASS, uid(0))

    requester = Requester()
    with node_at(tmp_path, is_held=is_held) as node, requester.association(node.port) as association:
        assert ask(association, request([0, 1, 2])) == 0x0000
        wait_until(lambda: requester.reports)
    ((kind, report, _),) = requester.reports
    assert kind == 2
    assert uids(report, "ReferencedSOPSequence") == [uid(0)]
    reasons = {item.ReferencedSOPInstanceUID: item.FailureReason for item in report.FailedSOPSequence}
    assert reasons == {uid(1): 0x0112, uid(2): 0x0110}


def test_a_report_comes_to_the_known_address_if_the_association_is_over(tmp_path: Path) -> None:
    may_answer = threading.Event()

    def is_held(_: str, __: str) -> bool:
        return may_answer.wait(30)

    requester = Requester()
    with (
        requester.listening() as port,
        node_at(tmp_path, is_held=is_held, allowed_ae=f"MODALITY@127.0.0.1:{port}") as node,
    ):
        with requester.association(node.port) as association:
            assert ask(association, request([5])) == 0x0000
        wait_until(lambda: node.association_count == 0)
        assert requester.reports == []
        may_answer.set()
        wait_until(lambda: requester.reports)
    ((kind, report, from_elsewhere),) = requester.reports
    assert (kind, from_elsewhere) == (1, True)
    assert uids(report, "ReferencedSOPSequence") == [uid(5)]


def test_without_an_address_it_is_said_what_to_set(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    may_answer = threading.Event()
    with node_at(tmp_path, is_held=lambda *_: may_answer.wait(30)) as node:
        with Requester().association(node.port) as association:
            assert ask(association, request([5])) == 0x0000
        wait_until(lambda: node.association_count == 0)
        may_answer.set()
        wait_until(lambda: "SEGQA_ALLOWED_AE" in caplog.text)


@pytest.mark.parametrize(
    ("dataset", "changes", "status"),
    [
        pytest.param(request([1]), {"action": 2}, 0x0123, id="another action"),
        pytest.param(request([1]), {"instance": "1.2.3"}, 0x0112, id="another instance"),
        pytest.param(request([]), {}, 0x0115, id="no objects"),
        pytest.param(request([1], transaction=""), {}, 0x0115, id="no transaction"),
    ],
)
def test_requests_that_are_not_understood_are_refused(
    node: Node, dataset: Dataset, changes: dict[str, Any], status: int
) -> None:
    with Requester().association(node.port) as association:
        assert ask(association, dataset, **changes) == status


def test_waiting_instances_come_and_go(inbox: Inbox, tmp_path: Path) -> None:
    waiting = WaitingInstances(inbox)
    assert not waiting.holds(CT_CLASS, uid(1))
    for path in write_ct(inbox.parts, 2):
        inbox.accept(path)
    part = inbox.parts / "rubbish"
    part.write_bytes(b"rubbish")
    inbox.accept(part)
    assert waiting.holds(CT_CLASS, uid(1))
    assert not waiting.holds("1.2.3", uid(1))
    assert not waiting.holds(CT_CLASS, uid(2))
    for path in inbox.waiting():
        path.unlink()
    assert not waiting.holds(CT_CLASS, uid(1))


def test_waiting_instances_of_a_folder_that_has_not_changed_are_known(inbox: Inbox) -> None:
    for path in write_ct(inbox.parts, 3):
        inbox.accept(path)
    os.utime(inbox.folder, (1_000_000_000, 1_000_000_000))
    waiting = WaitingInstances(inbox)
    assert [waiting.holds(CT_CLASS, uid(number)) for number in (0, 1, 2, 3)] == [True, True, True, False]
    (more,) = write_ct(inbox.parts, 4)[3:]
    inbox.accept(more)
    assert waiting.holds(CT_CLASS, uid(3))
