"""STOW-RS: what was answered as stored is in the archive, and everything else is named with a reason."""

from __future__ import annotations

import http.client
import os
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from threading import Thread

import pytest
import requests
from pydicom import Dataset

from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.config import ServiceSettings, Settings
from segqa_dicom.dicom.multipart import InvalidMultipart, MultipartParser, PartBegins, PartEnds
from segqa_dicom.inbox import Inbox
from segqa_dicom.web import create_app
from tests.archive.objects import SERIES, STUDY, ct, encoded
from tests.servers.process import wait_until
from tests.web.conftest import Server
from tests.web.in_process import running
from tests.web.server import Ledger

BOUNDARY = "a-boundary"


def multipart(*parts: bytes, head: str = "Content-Type: application/dicom") -> bytes:
    return (
        b"".join(f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + part + b"\r\n" for part in parts)
        + f"--{BOUNDARY}--\r\n".encode()
    )


def post(server: Server, body: bytes, path: str = "/studies", content_type: str = "") -> requests.Response:
    kind = content_type or f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
    return requests.post(f"{server.dicom_web}{path}", data=body, headers={"Content-Type": kind}, timeout=60)


def names(answer: requests.Response, tag: str) -> list[str]:
    items = answer.json().get(tag, {}).get("Value", [])
    return [item["00081155"]["Value"][0].rpartition(".")[2] for item in items]


def reasons(answer: requests.Response, tag: str = "00081198") -> list[int]:
    return [item["00081197"]["Value"][0] for item in answer.json().get(tag, {}).get("Value", [])]


def leftovers(server: Server) -> list[str]:
    return [path.name for folder in ("inbox/incoming", "incoming") for path in (server.folder / folder).iterdir()]


def test_the_client_stores_and_gets_back_what_it_stored(serve: Callable[..., Server]) -> None:
    server = serve()
    slices = [ct(number) for number in range(1, 4)]
    answer = server.client.store_instances(slices)
    assert [item.ReferencedSOPInstanceUID for item in answer.ReferencedSOPSequence] == [
        one.SOPInstanceUID for one in slices
    ]
    assert "FailedSOPSequence" not in answer
    assert server.client.retrieve_series(STUDY, SERIES) == slices
    stored = post(server, multipart(encoded(slices[0]))).json()["00081199"]["Value"][0]
    assert requests.get(stored["00081190"]["Value"][0], timeout=30).ok
    assert leftovers(server) == []


def test_a_missing_preamble_is_put_in_front(serve: Callable[..., Server]) -> None:
    server, whole = serve(), encoded(ct())
    assert post(server, multipart(whole[132:])).status_code == 200
    answer = requests.get(f"{server.dicom_web}/studies/{STUDY}", headers={"Accept": "application/dicom"}, timeout=30)
    assert answer.content == whole


def test_storing_again_is_answered_as_stored(serve: Callable[..., Server]) -> None:
    server, body = serve(), multipart(encoded(ct()))
    answers = [post(server, body) for _ in range(2)]
    assert [(one.status_code, names(one, "00081199")) for one in answers] == [(200, ["1"])] * 2
    assert len(server.client.search_for_instances()) == 1


def test_what_fails_is_named_and_the_rest_is_stored(serve: Callable[..., Server]) -> None:
    server = serve()
    post(server, multipart(encoded(ct(1))))
    parts = [encoded(one) for one in (ct(1, StudyID="other"), ct(2), ct(3, PatientID="P2"))]
    answer = post(server, multipart(*parts, b"no DICOM"))
    assert (answer.status_code, names(answer, "00081199"), names(answer, "00081198")) == (202, ["2"], ["1", "3"])
    assert (reasons(answer), reasons(answer, "0008119A")) == ([0x0111, 0x0110], [0xC000])
    assert leftovers(server) == []


@pytest.mark.parametrize(
    ("body", "path", "status"),
    [
        pytest.param(multipart(b"junk"), "/studies", 409, id="no object"),
        pytest.param(multipart(encoded(ct())), "/studies/1.2.3", 409, id="another study"),
        pytest.param(multipart(encoded(ct())), f"/studies/{STUDY}", 200, id="this study"),
        pytest.param(multipart(encoded(ct())), "/studies/x", 400, id="no UID"),
        pytest.param(multipart(), "/studies", 400, id="no part"),
        pytest.param(b"", "/studies", 400, id="nothing"),
        pytest.param(multipart(encoded(ct()))[:-20], "/studies", 400, id="cut"),
        pytest.param(b"x" * 200_000, "/studies", 400, id="not multipart"),
        pytest.param(multipart(encoded(ct()), head="X: " + "y" * 40_000), "/studies", 400, id="endless header"),
        pytest.param(multipart(b"{}", head="Content-Type: application/dicom+json"), "/studies", 415, id="JSON part"),
    ],
)
def test_statuses(serve: Callable[..., Server], body: bytes, path: str, status: int) -> None:
    server = serve()
    answer = post(server, body, path)
    assert answer.status_code == status
    assert len(server.client.search_for_instances()) == (status == 200)
    assert leftovers(server) == []
    if status not in (200, 409):
        assert list(answer.json()) == ["message"]


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/dicom", 200),
        ("application/json", 415),
        ('multipart/related; type="application/dicom+xml"; boundary=x', 415),
        ("multipart/related", 400),
        (f"multipart/related; boundary={'x' * 80}", 400),
    ],
)
def test_content_types(serve: Callable[..., Server], content_type: str, status: int) -> None:
    assert post(serve(), encoded(ct()), content_type=content_type).status_code == status


def test_parts_above_the_limit_fail_for_themselves(serve: Callable[..., Server]) -> None:
    server = serve(10_000)
    answer = post(server, multipart(encoded(ct(1, size=512)), encoded(ct(2))))
    assert (answer.status_code, names(answer, "00081199"), reasons(answer, "0008119A")) == (202, ["2"], [0xA700])
    assert leftovers(server) == []


def test_many_objects_at_once_are_all_stored(serve: Callable[..., Server]) -> None:
    server = serve()
    answer = post(server, multipart(*(encoded(ct(number)) for number in range(1, 251))))
    assert (answer.status_code, len(names(answer, "00081199"))) == (200, 250)
    assert len(server.client.search_for_instances()) == 250


def test_senders_that_hang_up_leave_nothing(serve: Callable[..., Server]) -> None:
    server = serve()
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=30)
    connection.putrequest("POST", "/dicom-web/studies")
    connection.putheader("Content-Type", f"multipart/related; boundary={BOUNDARY}")
    connection.putheader("Content-Length", "1000000")
    connection.endheaders()
    connection.send(multipart(encoded(ct(1)), encoded(ct(2)))[:3000])
    wait_until(lambda: leftovers(server), what="the first part is on the disk")
    connection.close()
    wait_until(lambda: not leftovers(server), what="it is removed")
    assert requests.get(f"{server.url}/healthz", timeout=30).json()["status"] == "ok"


def test_what_was_answered_is_there_after_sigkill(serve: Callable[..., Server]) -> None:
    server = serve()
    answered: list[str] = []

    def send() -> None:
        try:
            for start in range(1, 400, 5):
                answer = post(server, multipart(*(encoded(ct(number)) for number in range(start, start + 5))))
                answered.extend(item["00081155"]["Value"][0] for item in answer.json()["00081199"]["Value"])
        except requests.ConnectionError:
            return

    sender = Thread(target=send)
    sender.start()
    wait_until(lambda: len(answered) >= 30, what="some are stored")
    os.kill(server.process.pid, signal.SIGKILL)
    sender.join()
    with closing(FolderArchive(server.folder)) as archive:
        assert {one.sop_instance_uid for one in archive.find_instances(answered)} == set(answered)


def test_bodies_are_divided_the_same_however_they_come() -> None:
    parts = [b"one", b"", b"\r\n--a-bound", b"--a-boundary", os.urandom(5000), b"\r\n" * 30]
    body = b"preamble\r\n" + multipart(*parts) + b"epilogue"
    for size in (1, 2, 3, 7, 64, 1000, len(body)):
        parser, found, current = MultipartParser(BOUNDARY), [], b""
        for start in range(0, len(body), size):
            for event in parser.feed(body[start : start + size]):
                if isinstance(event, PartBegins):
                    assert event.content_type == "application/dicom"
                    current = b""
                elif isinstance(event, PartEnds):
                    found.append(current)
                else:
                    current += event
        parser.finish()
        assert found == parts, size


def test_a_body_that_is_cut_is_noticed() -> None:
    parser = MultipartParser(BOUNDARY)
    list(parser.feed(multipart(b"one")[:-8]))
    with pytest.raises(InvalidMultipart):
        parser.finish()


def test_others_are_told_what_was_stored(tmp_path: Path) -> None:
    told: list[str] = []
    with closing(FolderArchive(tmp_path)) as archive:
        app = create_app(
            archive=archive,
            ledger=Ledger(),
            inbox=Inbox(tmp_path / "inbox"),
            settings=Settings(),
            service=ServiceSettings(min_free_bytes=0),
            on_stored=lambda stored: told.extend(one.sop_instance_uid for one in stored),
        )
        with running(app) as client:
            dataset: Dataset = ct()
            headers = {"Content-Type": "application/dicom"}
            assert client.post("/dicom-web/studies", data=encoded(dataset), headers=headers).status_code == 200
    assert told == [dataset.SOPInstanceUID]
