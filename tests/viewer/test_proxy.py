"""/dicom-web where the archive is an Orthanc: what is passed on, what is not, and what is said when it fails."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from pydicom import dcmread

from segqa_dicom.archive.dicomweb import DicomwebArchive
from segqa_dicom.config import ServiceSettings, Settings
from segqa_dicom.inbox import Inbox
from segqa_dicom.web import create_app
from segqa_dicom.web.proxy.forwarding import plain_query
from tests.archive.objects import SERIES, STUDY, ct, encoded
from tests.servers.orthanc import PASSWORD, USER, Orthanc
from tests.servers.process import free_port
from tests.servers.proxy import Fault, Proxy
from tests.web.in_process import Asking, running
from tests.web.server import Ledger

pytestmark = pytest.mark.servers

ONE = f"/dicom-web/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.1"
DICOM = 'multipart/related; type="application/dicom"'


@pytest.fixture(scope="module")
def filled_orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """An Orthanc that asks for a password and holds two images; nothing may be stored in it."""
    with Orthanc(tmp_path_factory.mktemp("proxied") / "orthanc", authentication=True) as server:
        for number in (1, 2):
            server.upload(encoded(ct(number, PatientName="Doe^Jane", SeriesDescription="CT Abdomen")))
        yield server


@contextmanager
def asked(url: str, folder: Path, **settings: Any) -> Iterator[Asking]:
    service = ServiceSettings(**{"archive_user": USER, "archive_password": PASSWORD, "min_free_bytes": 0, **settings})
    archive = DicomwebArchive(url, user=USER, password=PASSWORD, scratch=folder)
    inbox = Inbox(folder / "inbox")
    app = create_app(
        archive=archive, ledger=Ledger(), inbox=inbox, settings=Settings(), service=service, archive_url=url
    )
    with running(app) as client:
        yield client


def stow_body(*objects: bytes) -> tuple[bytes, dict[str, str]]:
    parts = b"".join(b"--b\r\nContent-Type: application/dicom\r\n\r\n" + one + b"\r\n" for one in objects)
    return parts + b"--b--\r\n", {"Content-Type": f"{DICOM}; boundary=b", "Accept": "application/dicom+json"}


def test_questions_are_answered_by_the_archive_with_its_password(filled_orthanc: Orthanc, tmp_path: Path) -> None:
    with asked(filled_orthanc.dicomweb_url, tmp_path) as client:
        (study,) = client.get("/dicom-web/studies").json()
        assert study["0020000D"]["Value"] == [STUDY]
        assert len(client.get(f"/dicom-web/studies/{STUDY}/series/{SERIES}/instances").json()) == 2
        metadata = client.get(f"/dicom-web/studies/{STUDY}/series/{SERIES}/metadata").json()
        assert len(metadata) == 2
        whole = client.get(ONE, headers={"Accept": DICOM})
        begin = whole.content.index(b"DICM") - 128
        assert dcmread(io.BytesIO(whole.content[begin:])).SOPInstanceUID == f"{SERIES}.1"
        frame = client.get(
            f"{ONE}/frames/1",
            headers={"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"},
        )
        assert ct().PixelData in frame.content


def test_addresses_in_answers_lead_back_to_the_service(filled_orthanc: Orthanc, tmp_path: Path) -> None:
    with asked(filled_orthanc.dicomweb_url, tmp_path) as client:
        (study,) = client.get("/dicom-web/studies").json()
        assert study["00081190"]["Value"] == [f"{client.url}/dicom-web/studies/{STUDY}"]
        assert str(filled_orthanc.http_port) not in json.dumps(study)
    with asked(filled_orthanc.dicomweb_url, tmp_path, public_url="https://qa.example.org") as client:
        (study,) = client.get("/dicom-web/studies").json()
        assert study["00081190"]["Value"] == [f"https://qa.example.org/dicom-web/studies/{STUDY}"]


@pytest.mark.parametrize(
    "query",
    [
        "PatientName=Doe%5EJane",
        "PatientName=%2ADoe%2A",
        "ModalitiesInStudy=CT%2CSR",
        "PatientName=Doe*&includefield=00081030%2C00080060",
        "limit=%31&offset=0",
    ],
)
def test_searches_of_browsers_find_what_they_mean(filled_orthanc: Orthanc, tmp_path: Path, query: str) -> None:
    with asked(filled_orthanc.dicomweb_url, tmp_path) as client:
        (study,) = client.get(f"/dicom-web/studies?{query}").json()
        if "includefield" in query:
            assert study["00081030"]["Value"] == ["Abdomen"]


@pytest.mark.parametrize(
    ("query", "plain"),
    [
        ("", ""),
        ("a=%2A%2C%3A%2F&b=", "a=*,:/&b="),
        ("PatientName=Doe%5EJane%20X", "PatientName=Doe?Jane?X"),
        ("PatientName=M%C3%BCller+A", "PatientName=M?ller?A"),
        ("x=%26y%3D1%23%25", "x=?y?1??"),
        ("%5Bx%5D=1%0D%0AHost:%20a", "%5Bx%5D=1??Host:?a"),
    ],
)
def test_queries_keep_only_what_needs_no_encoding(query: str, plain: str) -> None:
    assert plain_query(query) == plain


def test_metadata_is_compressed_for_who_can_read_that(filled_orthanc: Orthanc, tmp_path: Path) -> None:
    path = f"/dicom-web/studies/{STUDY}/series/{SERIES}/metadata"
    with asked(filled_orthanc.dicomweb_url, tmp_path) as client:
        compressed = client.get(path, headers={"Accept-Encoding": "gzip"})
        plain = client.get(path, headers={"Accept-Encoding": "identity"})
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert compressed.json() == plain.json()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/servers"),
        ("GET", "/../system"),
        ("GET", "/studies/../../system"),
        ("GET", "/studies/%2e%2e/%2e%2e/system"),
        ("GET", "/studies/1%2f..%2f..%2fsystem"),
        ("GET", "/studies/1?x/../../system#"),
        ("GET", "//127.0.0.1/studies"),
        ("GET", ""),
        ("POST", "/servers/x/stow"),
        ("POST", f"/studies/{STUDY}/series"),
    ],
)
def test_nothing_else_of_the_archive_can_be_reached(
    filled_orthanc: Orthanc, tmp_path: Path, method: str, path: str
) -> None:
    with asked(filled_orthanc.dicomweb_url, tmp_path) as client:
        sent = requests.Request(method, client.url).prepare()
        sent.url = f"{client.url}/dicom-web{path}"
        answer = client.send(sent, timeout=30)
        assert answer.status_code == 404
        assert "message" in answer.json()


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_nothing_is_changed_but_by_storing(filled_orthanc: Orthanc, tmp_path: Path, method: str) -> None:
    with asked(filled_orthanc.dicomweb_url, tmp_path) as client:
        assert client.request(method, f"/dicom-web/studies/{STUDY}").status_code == 405
    assert filled_orthanc.count() == 2


@pytest.mark.parametrize("chunked", [True, False])
def test_what_the_viewer_saves_is_stored_in_the_archive(orthanc: Orthanc, tmp_path: Path, chunked: bool) -> None:
    body, headers = stow_body(*(encoded(ct(number, size=600)) for number in range(1, 6)))
    with asked(orthanc.dicomweb_url, tmp_path) as client:
        data = iter([body[:100], body[100:1_000_000], body[1_000_000:]]) if chunked else body
        answer = client.post("/dicom-web/studies", data=data, headers=headers)
        assert answer.status_code == 200
        assert len(answer.json()["00081199"]["Value"]) == 5
        refused = client.post("/dicom-web/studies/1.2.3", data=stow_body(encoded(ct(9)))[0], headers=headers)
        assert refused.status_code == 409
        assert len(refused.json()["00081198"]["Value"]) == 1
    assert orthanc.count() == 5


def test_passwords_and_cookies_of_clients_stay_here(tmp_path: Path) -> None:
    with Orthanc(tmp_path / "orthanc") as server, Proxy(server.dicomweb_url) as between:
        with asked(between.url, tmp_path) as client:
            sent = {
                "Authorization": "Bearer secret",
                "Cookie": "a=secret",
                "X-Forwarded-Host": "evil.example",
                "Forwarded": "host=evil.example",
                "Proxy-Authorization": "secret",
                "Connection": "keep-alive, X-Secret",
                "X-Secret": "secret",
            }
            assert client.get("/dicom-web/studies", headers=sent).status_code == 200
        got = json.dumps(between.exchanges[-1].headers)
    assert "secret" not in got
    assert "evil" not in got
    assert "Basic" in got


def test_an_archive_that_does_not_know_us_does_not_ask_the_client(filled_orthanc: Orthanc, tmp_path: Path) -> None:
    with asked(filled_orthanc.dicomweb_url, tmp_path, archive_password="wrong") as client:
        answer = client.get("/dicom-web/studies")
    assert answer.status_code == 502
    assert "WWW-Authenticate" not in answer.headers
    assert "refuses the service" in answer.json()["message"]


def test_an_archive_that_is_away_is_said_to_be(tmp_path: Path) -> None:
    with asked(f"http://127.0.0.1:{free_port()}/dicom-web", tmp_path) as client:
        answer = client.get("/dicom-web/studies")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        body, headers = stow_body(encoded(ct()))
        assert client.post("/dicom-web/studies", data=body, headers=headers).status_code == 503


def test_what_the_archive_does_not_have_is_said_without_its_words(filled_orthanc: Orthanc, tmp_path: Path) -> None:
    with asked(filled_orthanc.dicomweb_url, tmp_path) as client:
        answer = client.get("/dicom-web/studies/1.2.3/series/1.2.4/instances/1.2.5")
    assert answer.status_code == 404
    assert list(answer.json()) == ["message"]


def test_half_an_answer_of_the_archive_is_no_whole_one_here(filled_orthanc: Orthanc, tmp_path: Path) -> None:
    with Proxy(filled_orthanc.dicomweb_url) as between, asked(between.url, tmp_path) as client:
        between.script(lambda one: one.path.endswith("/metadata"), Fault(cut_answer_at=50))
        with pytest.raises(requests.RequestException):
            client.get(f"/dicom-web/studies/{STUDY}/metadata", headers={"Accept-Encoding": "identity"})


def test_a_connection_that_the_archive_has_closed_is_opened_again(filled_orthanc: Orthanc, tmp_path: Path) -> None:
    with Proxy(filled_orthanc.dicomweb_url) as between, asked(between.url, tmp_path) as client:
        between.script(lambda _: True, Fault(cut=True), times=1)
        assert client.get("/dicom-web/studies").status_code in (200, 401, 502)
        assert len(between.exchanges) == 2


def test_what_the_archive_says_when_it_fails_stays_there(tmp_path: Path, filled_orthanc: Orthanc) -> None:
    with Proxy(filled_orthanc.dicomweb_url) as between, asked(between.url, tmp_path) as client:
        between.script(lambda _: True, Fault(answer=(500, b"Doe^Jane")))
        answer = client.get("/dicom-web/studies")
    assert (answer.status_code, list(answer.json())) == (502, ["message"])
    assert "Doe" not in answer.text
