"""Questions of QIDO-RS, and metadata, to our DICOMweb and to Orthanc's, over the same small instances, in turns.

A worklist is what this looks like: many studies, each with a CT, a segmentation and a report. Both answer over one kept
connection; answers must have the same number of rows. ``python -m benchmarks.dicomweb FOLDER PORT`` is the server that
is measured, ``python -m benchmarks.dicomweb`` alone prints the table.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from benchmarks.intake import free_port
from benchmarks.results import Limit
from segqa_dicom.archive import Instance, Outgoing
from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.config import ServiceSettings, Settings
from segqa_dicom.inbox import Inbox
from segqa_dicom.ledger import LedgerSummary
from segqa_dicom.web import create_app, run_web

_ORTHANC = "/usr/sbin/Orthanc"
_PLUGINS = (Path("/usr/share/orthanc/plugins"), Path("/usr/lib/orthanc"))
_PLUGIN = "libOrthancDicomWeb.so"
_ROOT = "2.25.7000"
_CT, _SEG, _SR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.33"
_START_S = 60.0
_BATCH = 500
_SENDERS = 4

Say = Callable[[str], None]


@dataclass(frozen=True)
class Load:
    """So many studies with so many instances each; each question is asked so often."""

    studies: int = 100
    instances: int = 100
    times: int = 15


TINY = Load(studies=3, instances=5, times=2)


@dataclass(frozen=True)
class Server:
    """Somebody who is asked."""

    url: str
    session: requests.Session

    def rows(self, question: str) -> int:
        """Number of rows of the answer."""
        answer = self.session.get(f"{self.url}{question}", headers={"Accept": "application/dicom+json"}, timeout=60)
        answer.raise_for_status()
        return len(answer.json()) if answer.content else 0

    def milliseconds(self, question: str) -> float:
        """How long the answer takes to arrive; reading its JSON is not part of it."""
        begin = time.perf_counter()
        answer = self.session.get(f"{self.url}{question}", headers={"Accept": "application/dicom+json"}, timeout=60)
        answer.raise_for_status()
        return 1000 * (time.perf_counter() - begin)


def limits(load: Load, *, repeat: int, say: Say) -> list[Limit]:
    """Medians of ours, with those of Orthanc as their bounds."""
    plugin = next((folder / _PLUGIN for folder in _PLUGINS if (folder / _PLUGIN).exists()), None)
    if not Path(_ORTHANC).exists() or plugin is None:
        return [Limit("questions of QIDO-RS", None, "ms", note="Orthanc with its DICOMweb plugin is not installed")]
    with tempfile.TemporaryDirectory(prefix="segqa-dicomweb-") as name:
        folder = Path(name)
        say("questions: storing the instances ...")
        with _ours(folder / "ours", load) as ours, _orthanc(folder / "orthanc", plugin, load) as peer:
            return [
                _asked(title, question, ours, peer, repeat * load.times, say) for title, question in questions(load)
            ]


def questions(load: Load) -> list[tuple[str, str]]:
    """What is asked, with names for people."""
    study, series, patient = f"{_ROOT}.1", f"{_ROOT}.1.1", f"P{load.studies // 2}"
    viewer = "limit=101&offset=0&fuzzymatching=false&includefield=00081030&includefield=00080060"
    return [
        ("study list of the viewer, 101 rows", f"/studies?{viewer}"),
        ("one study of the viewer", f"/studies?{viewer}&StudyInstanceUID={study}"),
        ("studies of a patient", f"/studies?00100020={patient}"),
        ("studies by a part of the name", "/studies?PatientName=Name*&limit=101"),
        ("studies of a month", "/studies?StudyDate=20260101-20260131&limit=101"),
        ("studies with reports, 101 rows", "/studies?ModalitiesInStudy=SR&limit=101"),
        ("series of a study", f"/studies/{study}/series?includefield=0008103E"),
        ("all series of reports", "/series?Modality=SR"),
        ("instances of a series", f"/studies/{study}/series/{series}/instances"),
        ("100 instances by modality", "/instances?Modality=SR&limit=100"),
        ("an instance by its UID", f"/instances?SOPInstanceUID={series}.1"),
        ("metadata of a series", f"/studies/{study}/series/{series}/metadata"),
    ]


def _asked(title: str, question: str, ours: Server, peer: Server, times: int, say: Say) -> Limit:
    say(f"questions: {title}")
    rows = ours.rows(question), peer.rows(question)
    pairs = [(ours.milliseconds(question), peer.milliseconds(question)) for _ in range(times)]
    mine, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    note = (
        f"Orthanc: {theirs:.1f}" if rows[0] == rows[1] else f"Orthanc: {theirs:.1f}, {rows[1]} rows and not {rows[0]}"
    )
    return Limit(f"DICOMweb, {title}", mine, "ms", theirs, note=note)


def _objects(load: Load) -> Iterator[Dataset]:
    """Small objects: in each study a report and a segmentation, the rest CT slices of 8 x 8 pixels."""
    for study in range(1, load.studies + 1):
        for number in range(1, load.instances + 1):
            modality = "SR" if number == load.instances else "SEG" if number == load.instances - 1 else "CT"
            yield _object(study, number, modality)


def _object(study: int, number: int, modality: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    series = f"{_ROOT}.{study}.{('CT', 'SEG', 'SR').index(modality) + 1}"
    dataset.SOPClassUID = UID({"CT": _CT, "SEG": _SEG, "SR": _SR}[modality])
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID = UID(f"{series}.{number}"), UID(series)
    dataset.StudyInstanceUID, dataset.StudyID = UID(f"{_ROOT}.{study}"), str(study)
    dataset.StudyDate, dataset.StudyTime = f"2026{study % 12 + 1:02d}{study % 28 + 1:02d}", "101500"
    dataset.PatientName, dataset.PatientID = f"Name{study}^Given", f"P{study}"
    dataset.PatientBirthDate, dataset.PatientSex = "19700101", "O"
    dataset.AccessionNumber, dataset.ReferringPhysicianName = f"A{study}", ""
    dataset.StudyDescription, dataset.SeriesDescription = "Abdomen", f"{modality} series"
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = modality, "1", str(number)
    if modality != "SR":
        dataset.Rows = dataset.Columns = 8
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
        dataset.PixelData = bytes(128)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def _encoded(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@contextmanager
def _ours(folder: Path, load: Load) -> Iterator[Server]:
    with closing(FolderArchive(folder)) as archive:
        batch: list[Outgoing] = []
        for one in _objects(load):
            uids = (one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID, one.SOPClassUID)
            batch.append(Outgoing(Instance(*map(str, uids)), _encoded(one)))
            if len(batch) == _BATCH:
                archive.store(batch)
                batch = []
        archive.store(batch)
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.dicomweb", str(folder), str(port)]
    with _running(command, f"http://127.0.0.1:{port}", "/healthz") as server:
        yield Server(f"{server.url}/dicom-web", server.session)


@contextmanager
def _orthanc(folder: Path, plugin: Path, load: Load) -> Iterator[Server]:
    folder.mkdir()
    port, dicom_port = free_port(), free_port()
    settings = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "Plugins": [str(plugin)],
        "HttpPort": port,
        "DicomPort": dicom_port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "SyncStorageArea": False,
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings), encoding="utf-8")
    command = [_ORTHANC, str(folder / "orthanc.json")]
    with _running(command, f"http://127.0.0.1:{port}", "/system") as server:

        def send(one: Dataset) -> None:
            requests.post(f"{server.url}/instances", data=_encoded(one), timeout=60).raise_for_status()

        with ThreadPoolExecutor(_SENDERS) as pool:
            for _ in pool.map(send, _objects(load)):
                pass
        yield Server(f"{server.url}/dicom-web", server.session)


@contextmanager
def _running(command: Sequence[str], url: str, page: str) -> Iterator[Server]:
    root = Path(__file__).resolve().parents[1]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=os.environ | {"TCP_NODELAY": "1"}, cwd=root, **quiet) as process:  # type: ignore[call-overload]
        try:
            deadline = time.monotonic() + _START_S
            while not _answers(f"{url}{page}"):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} does not start")
                time.sleep(0.1)
            with requests.Session() as session:
                session.trust_env = False
                yield Server(url, session)
        finally:
            process.kill()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


class _NoLedger:
    """A ledger without cases."""

    def summary(self, _: float) -> LedgerSummary:
        """Nothing has been done."""
        return LedgerSummary({}, None, 0, 0, 0, 0, {})


def _serve(folder: Path, port: int) -> None:
    with closing(FolderArchive(folder)) as archive:
        service = ServiceSettings(min_free_bytes=0)
        inbox = Inbox(folder / "inbox")
        app = create_app(archive=archive, ledger=_NoLedger(), inbox=inbox, settings=Settings(), service=service)
        run_web(app, host="127.0.0.1", port=port)


def _print_table() -> None:
    for one in limits(Load(), repeat=1, say=lambda _: None):
        value = "-" if one.value is None else f"{one.value:8.1f} {one.unit}"
        print(f"{one.title:50} {value}  {one.note}")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        _serve(Path(sys.argv[1]), int(sys.argv[2]))
    else:
        _print_table()
