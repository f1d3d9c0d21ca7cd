"""Health, metrics, the page at the root, the log, and how the process ends."""

from __future__ import annotations

import json
import logging
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from segqa_dicom import __version__
from segqa_dicom.archive import Archive, Instance, Outgoing, Series, Stored
from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.config import ServiceSettings, Settings
from segqa_dicom.errors import ConfigurationError, PeerUnavailable
from segqa_dicom.inbox import Inbox
from segqa_dicom.web import create_app, run_web
from tests.archive.objects import ct, encoded
from tests.web.conftest import Server
from tests.web.in_process import Asking, running
from tests.web.server import Ledger, Summary


class FarArchive:
    """An archive elsewhere, which may be away."""

    def __init__(self, *, is_up: bool = True) -> None:
        self._is_up = is_up

    def list_series(
        self,
        *,
        study_instance_uid: str | None = None,
        series_instance_uid: str | None = None,
        modality: str | None = None,
    ) -> list[Series]:
        return []

    def list_instances(self, study_instance_uid: str, series_instance_uid: str) -> list[Instance]:
        return []

    def find_instances(self, sop_instance_uids: Any) -> list[Instance]:
        if not self._is_up:
            raise PeerUnavailable("connection refused")
        return []

    def fetch(self, instances: Sequence[Instance], folder: Path) -> dict[str, Path]:
        return {}

    def store(self, objects: Sequence[Outgoing]) -> list[Stored]:
        raise PeerUnavailable("connection refused")


@contextmanager
def asked(archive: Archive, folder: Path, **options: Any) -> Iterator[Asking]:
    given: dict[str, Any] = {"ledger": Ledger(), "settings": Settings(), "service": ServiceSettings(min_free_bytes=0)}
    app = create_app(archive=archive, inbox=Inbox(folder / "inbox"), **(given | options))
    with running(app) as client:
        yield client


def test_a_healthy_service_says_so(phantom_server: Server) -> None:
    answer = requests.get(f"{phantom_server.url}/healthz", timeout=30)
    expected = {
        "status": "ok",
        "oldest_runnable_s": 12.5,
        "inbox": 0,
        "archive": "ok",
        "ledger": "ok",
        "version": __version__,
    }
    assert (answer.status_code, answer.json()) == (200, expected)


@pytest.mark.parametrize(
    ("archive", "options", "status", "code"),
    [
        pytest.param(FarArchive(), {}, "ok", 200, id="well"),
        pytest.param(FarArchive(is_up=False), {}, "failing", 503, id="no archive"),
        pytest.param(FarArchive(), {"ledger": Ledger(None)}, "failing", 503, id="no ledger"),
        pytest.param(
            FarArchive(), {"ledger": Ledger(replace(Summary(), oldest_runnable_s=9999.0))}, "degraded", 200, id="late"
        ),
        pytest.param(FarArchive(), {"service": ServiceSettings(min_free_bytes=2**60)}, "degraded", 200, id="disk"),
    ],
)
def test_health_tells_what_is_wrong(
    tmp_path: Path, archive: Archive, options: dict[str, Any], status: str, code: int
) -> None:
    with asked(archive, tmp_path, **options) as client:
        answer = client.get("/healthz")
        assert (answer.json()["status"], answer.status_code) == (status, code)
        assert "refused" not in answer.text
        page = client.get("/")
        assert page.status_code == 200
        assert f'<strong class="{status}">' in page.text


def test_metrics_are_those_of_the_ledger_and_the_inbox(tmp_path: Path) -> None:
    with asked(FarArchive(), tmp_path) as client:
        (tmp_path / "inbox" / "1-a.dcm").write_bytes(b"")
        client.get("/healthz")
        client.get("/no/such/path/1.2.3")
        answer = client.get("/metrics")
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert found[("segqa_cases", "ready")] == 2
    assert found[("segqa_cases", "confirmed")] == 3
    assert found[("segqa_oldest_runnable_seconds",)] == 12.5
    assert found[("segqa_inbox_files",)] == 1
    assert found[("segqa_inbox_free_bytes",)] > 0
    assert found[("segqa_attempts_total",)] == 6
    assert found[("segqa_quarantined_objects_total",)] == 4
    assert found[("segqa_conflicts_total",)] == 5
    assert found[("segqa_requests_total", "/healthz", "200", "GET")] == 1
    assert found[("segqa_requests_total", "404", "GET", "none")] == 1
    assert "1.2.3" not in answer.text


def test_metrics_are_answered_without_the_ledger(tmp_path: Path) -> None:
    with asked(FarArchive(), tmp_path, ledger=Ledger(None)) as client:
        text = client.get("/metrics").text
    assert "segqa_ledger_up 0.0" in text
    assert "segqa_inbox_files 0.0" in text


def test_an_archive_with_its_own_dicomweb_is_named_on_the_page(tmp_path: Path) -> None:
    url = "https://orthanc.example/dicom-web"
    with asked(FarArchive(), tmp_path, archive_url=url) as client:
        assert url in client.get("/").text


@pytest.mark.parametrize("path", ["/studies", "/studies/1.2.3/metadata", "/anything", ""])
def test_an_archive_that_is_no_folder_and_has_no_address_has_no_dicomweb(tmp_path: Path, path: str) -> None:
    with asked(FarArchive(), tmp_path) as client:
        assert client.get(f"/dicom-web{path}").status_code == 501
        assert client.post("/dicom-web/studies", b"").status_code == 501


def test_nothing_is_taken_when_the_disk_is_nearly_full(tmp_path: Path) -> None:
    service = ServiceSettings(min_free_bytes=2**60)
    with closing(FolderArchive(tmp_path)) as archive, asked(archive, tmp_path, service=service) as client:
        answer = client.post("/dicom-web/studies", encoded(ct()), headers={"Content-Type": "application/dicom"})
        assert (answer.status_code, list(answer.json())) == (507, ["message"])
        assert client.get("/dicom-web/studies").json() == []


def test_requests_are_logged_without_identifiers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "segqa")
    with closing(FolderArchive(tmp_path)) as archive, asked(archive, tmp_path) as client:
        headers = {"Content-Type": "application/dicom"}
        client.post("/dicom-web/studies", encoded(ct()), headers=headers)
        client.get("/dicom-web/studies?PatientName=M%C3%BCller*")
        client.get(f"/dicom-web/studies/{ct().StudyInstanceUID}/metadata")
        client.get("/dicom-web/studies?PatientName[]=Secret")
    lines = [json.loads(record.message) for record in caplog.records if record.name == "segqa"]
    assert [(line["method"], line["route"], line["status"]) for line in lines] == [
        ("POST", "/dicom-web/studies", 200),
        ("GET", "/dicom-web/studies", 200),
        ("GET", "/dicom-web/studies/{study}/metadata", 200),
        ("GET", "/dicom-web/studies", 400),
    ]
    assert all(line["event"] == "request" and line["seconds"] >= 0 and line["bytes"] > 0 for line in lines)
    assert not any(word in record.getMessage() for record in caplog.records for word in ("ller", "1.2.826", "Secret"))


def test_a_fault_of_ours_is_answered_without_its_trace(tmp_path: Path) -> None:
    class Broken(FarArchive):
        def find_instances(self, sop_instance_uids: Any) -> list[Instance]:
            raise RuntimeError("Müller^Anna")

    with asked(Broken(), tmp_path) as client:
        answer = client.get("/healthz")
    assert (answer.status_code, list(answer.json())) == (500, ["message"])
    assert "ller" not in answer.text


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/dicom-web/studies", "/none"])
def test_browsers_are_told_what_they_may_do(phantom_server: Server, path: str) -> None:
    answer = requests.get(phantom_server.url + path, timeout=30)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "Server" not in answer.headers


def test_the_page_has_no_script_and_says_what_is_going_on(phantom_server: Server) -> None:
    text = requests.get(phantom_server.url, timeout=30).text
    assert "<script" not in text
    for word in ("confirmed", "quarantine", "/dicom-web", __version__):
        assert word in text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_cleanly_and_quietly(serve: Callable[..., Server], number: signal.Signals) -> None:
    server = serve()
    assert requests.get(f"{server.url}/healthz", timeout=30).ok
    assert server.process.stop(number) == 0
    assert server.process.output() == ""


def test_an_address_in_use_is_a_wrong_setting() -> None:
    async def app(*_: Any) -> None:
        return None

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConfigurationError, match="cannot listen"):
            run_web(app, host="127.0.0.1", port=taken.getsockname()[1])
