"""Orthanc's configuration files, loaded unchanged by the Orthanc of the distribution."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import pytest
import requests
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind, Verification

from tests.deploy.files import ORTHANC, ROOT, compose, read_json_with_comments
from tests.servers.orthanc import dicomweb_plugin
from tests.servers.process import Process, free_port, listens, program, wait_until

pytestmark = pytest.mark.servers

AUTH = ("segqa", "a password")
SENDER, WORKSTATION, STRANGER = "SENDER", "WORKSTATION", "STRANGER"
CONTEXTS = (Verification, CTImageStorage, StudyRootQueryRetrieveInformationModelFind)


@dataclass(frozen=True)
class Server:
    url: str
    dicom_port: int
    log: Path

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url + path, auth=AUTH, timeout=30)


def modality(title: str, *allowed: str) -> dict[str, object]:
    """An entry of the allow-list; everything else is forbidden."""
    rights = ("AllowEcho", "AllowStore", "AllowFind", "AllowFindWorklist", "AllowGet", "AllowMove")
    return {"AET": title, "Host": "127.0.0.1", "Port": free_port(), **{right: right in allowed for right in rights}}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """orthanc.json as it is; beside it a file with what the container sets and a list of two known titles."""
    for attempt in range(3):  # another test may take a port between looking and listening
        folder = tmp_path / str(attempt)
        found, configuration = configured(folder)
        with Process([program("Orthanc", "/usr/sbin/Orthanc"), configuration], found.log, cwd=folder) as process:
            wait_until(partial(answers_or_ended, found, process), 60, "Orthanc answers")
            if process.is_running:
                yield found
                process.kill()  # ending in good order takes it seconds
                return
    pytest.fail(f"Orthanc does not start: {process.output()[-2000:]}")


def answers_or_ended(server: Server, process: Process) -> bool:
    """Its HTTP server starts before the one for DICOM."""
    return not process.is_running or (server.get("/system").ok and listens(server.dicom_port))


def configured(folder: Path) -> tuple[Server, Path]:
    """The server to be, and the folder with its configuration files."""
    http_port, dicom_port = free_port(), free_port()
    configuration = folder / "configuration"
    configuration.mkdir(parents=True)
    (folder / "temporary").mkdir()
    (configuration / "orthanc.json").write_bytes((ORTHANC / "orthanc.json").read_bytes())
    overrides = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "index"),
        "TemporaryDirectory": str(folder / "temporary"),
        "Plugins": [str(dicomweb_plugin())],
        "HttpPort": http_port,
        "DicomPort": dicom_port,
        "RegisteredUsers": dict([AUTH]),
        "DicomModalities": {
            "sender": modality(SENDER, "AllowEcho", "AllowStore"),
            "workstation": modality(WORKSTATION, "AllowEcho", "AllowFind"),
        },
    }
    (configuration / "tests.json").write_text(json.dumps(overrides))
    return Server(f"http://127.0.0.1:{http_port}", dicom_port, folder / "log"), configuration


def instance(number: int = 1, series: str = "1.2.3.4", comment: str = "") -> Dataset:
    dataset = Dataset()
    dataset.PatientID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1", "1.2.3", series
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, f"{series}.{number}"
    dataset.Modality, dataset.InstanceNumber, dataset.ImageComments = "CT", number, comment
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def upload(server: Server, dataset: Dataset) -> str:
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    answer = requests.post(f"{server.url}/instances", data=buffer.getvalue(), auth=AUTH, timeout=30)
    answer.raise_for_status()
    return str(answer.json()["Status"])


def associate(
    server: Server, calling: str, called: str, *contexts: str, syntax: str = ExplicitVRLittleEndian
) -> Association:
    entity = AE(ae_title=calling)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 30
    for context in contexts or (Verification,):
        entity.add_requested_context(context, syntax)
    return entity.associate("127.0.0.1", server.dicom_port, ae_title=called)


def search(association: Association) -> list[int]:
    """The statuses that a search for studies is answered with; none if the association is ended instead."""
    query = Dataset()
    query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", ""
    answers = association.send_c_find(query, StudyRootQueryRetrieveInformationModelFind)
    return [status.Status for status, _ in answers if "Status" in status]


def test_it_answers_whoever_knows_the_password(server: Server) -> None:
    assert server.get("/system").json()["DicomAet"] == "ORTHANC"
    assert server.get("/dicom-web/studies").json() == []
    assert requests.get(f"{server.url}/system", timeout=30).status_code == 401


def test_what_is_stored_is_not_replaced(server: Server) -> None:
    assert server.get("/system").json().get("OverwriteInstances", False) is False
    assert upload(server, instance(comment="first")) == "Success"
    assert upload(server, instance(comment="second")) == "AlreadyStored"
    (found,) = server.get("/instances").json()
    assert server.get(f"/instances/{found}/content/0020-4000").text.strip() == "first"


@pytest.mark.parametrize(
    ("calling", "called"), [(STRANGER, "ORTHANC"), (SENDER, "ANOTHER"), (SENDER.lower(), "ORTHANC")]
)
def test_unknown_titles_are_refused(server: Server, calling: str, called: str) -> None:
    # By DCMTK: pynetdicom may see the end of the connection before the rejection that came with it.
    command = [program("echoscu"), "-aet", calling, "-aec", called, "127.0.0.1", str(server.dicom_port)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode != 0
    assert "Association Rejected" in ran.stderr


def test_a_known_sender_may_echo_and_store_but_not_search(server: Server) -> None:
    association = associate(server, SENDER, "ORTHANC", *CONTEXTS)
    try:
        assert association.send_c_echo().Status == 0x0000
        assert association.send_c_store(instance()).Status == 0x0000
        assert search(association) == []
    finally:
        association.abort()
    assert len(server.get("/instances").json()) == 1


def test_a_known_workstation_may_search_but_not_store(server: Server) -> None:
    upload(server, instance())
    association = associate(server, WORKSTATION, "ORTHANC", *CONTEXTS)
    try:
        assert search(association) == [0xFF00, 0x0000]
        assert "Status" not in association.send_c_store(instance(2))
    finally:
        association.abort()
    assert len(server.get("/instances").json()) == 1


def test_deflated_objects_are_not_accepted(server: Server) -> None:
    association = associate(server, SENDER, "ORTHANC", CTImageStorage, syntax=DeflatedExplicitVRLittleEndian)
    try:
        assert not association.accepted_contexts
    finally:
        association.abort()


def test_searches_answer_everything(server: Server) -> None:
    """With a limit Orthanc leaves out the rest of a series without a word, and `offset` does not bring it."""
    for number in range(1, 31):
        upload(server, instance(number))
    assert len(server.get("/dicom-web/studies/1.2.3/series/1.2.3.4/instances").json()) == 30
    configuration = read_json_with_comments(ORTHANC / "orthanc.json")
    assert configuration["LimitFindResults"] == configuration["LimitFindInstances"] == 0


@pytest.mark.parametrize("path", ["/app/explorer.html", "/webdav/"])
def test_what_nobody_needs_is_switched_off(server: Server, path: str) -> None:
    assert server.get(path).status_code in (403, 404)


def test_scripts_of_strangers_are_not_run(server: Server) -> None:
    answer = requests.post(f"{server.url}/tools/execute-script", data="print(1)", auth=AUTH, timeout=30)
    assert answer.status_code in (403, 404)


def test_the_log_names_no_patient(server: Server) -> None:
    dataset = instance()
    dataset.PatientName = "Nobody^Knows"
    upload(server, dataset)
    assert "Nobody" not in server.log.read_text()


def test_the_images_own_reader_understands_the_files() -> None:
    """The image also replaces variables in them, so they must hold no dollar sign."""
    seen: set[str] = set()
    for name in ("orthanc.json", "postgresql.json", "modalities.json"):
        loaded = read_json_with_comments(ORTHANC / name)
        assert not seen & set(loaded), "Orthanc refuses a setting that is in two files"
        seen |= set(loaded)
        assert "$" not in (ORTHANC / name).read_text()


def test_nobody_may_use_the_dicom_port_at_first() -> None:
    assert read_json_with_comments(ORTHANC / "modalities.json") == {"DicomModalities": {}}


def test_the_index_is_on_the_database_that_compose_makes() -> None:
    settings = read_json_with_comments(ORTHANC / "postgresql.json")["PostgreSQL"]
    assert settings["Host"] in compose()["services"]
    assert "Password" not in settings
    assert f"make {settings['Database']} " in (ORTHANC / "databases.sh").read_text()


def test_every_setting_has_its_reason_in_the_document() -> None:
    document = (ROOT / "docs" / "howto" / "deploy.md").read_text()
    table = document.partition("## Orthanc's settings")[2].partition("\n## ")[0]
    named = set(re.findall(r"[A-Za-z0-9]+", " ".join(re.findall(r"(?m)^\| (.*?) \|", table))))
    settings = {
        key for key in read_json_with_comments(ORTHANC / "orthanc.json") if not key.startswith("DicomAlwaysAllow")
    }
    assert settings - named == set()
    assert "DicomAlwaysAllow" in named
