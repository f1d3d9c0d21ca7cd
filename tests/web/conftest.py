"""A running server over an archive with a phantom, shared by the tests that only ask; and empty ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from pydicom import Dataset

from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.phantoms.dicom import write_ct, write_seg
from segqa_dicom.phantoms.torso import torso
from tests.archive.objects import outgoing
from tests.servers.process import Process, wait_until


@dataclass(frozen=True)
class Server:
    """A running server.

    url : of its root
    """

    url: str
    folder: Path
    process: Process

    @property
    def dicom_web(self) -> str:
        return f"{self.url}/dicom-web"

    @property
    def client(self) -> DICOMwebClient:
        return DICOMwebClient(self.dicom_web)


def started(stack: ExitStack, folder: Path, *arguments: object, **environment: str) -> Server:
    port_file = folder.with_name(folder.name + ".port")
    command = [sys.executable, "-m", "tests.web.server", *map(str, (folder, port_file, *arguments))]
    root, log = Path(__file__).resolve().parents[2], folder.with_name(folder.name + ".log")
    process = Process(command, log, environment=environment, cwd=root)
    stack.enter_context(process)
    wait_until(lambda: port_file.exists() or not process.is_running, what="the server listens")
    assert process.is_running, process.output()
    return Server(f"http://127.0.0.1:{port_file.read_text()}", folder, process)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers of this test."""
    with ExitStack() as stack:
        yield lambda *arguments, **environment: started(stack, tmp_path / "archive", *arguments, **environment)


@pytest.fixture(scope="session")
def objects(tmp_path_factory: pytest.TempPathFactory) -> list[Dataset]:
    """CT slices of 50 x 45 pixels, so that frames of single bits do not begin on bytes, and their SEG, which is last."""
    folder = tmp_path_factory.mktemp("phantom")
    phantom = torso((12, 45, 50))
    ct = write_ct(phantom, folder / "ct")
    write_seg(phantom.labels, phantom.structures, ct, folder / "seg.dcm", model="Model A")
    return [*(pydicom.dcmread(path) for path in sorted((folder / "ct").iterdir())), pydicom.dcmread(folder / "seg.dcm")]


@pytest.fixture(scope="session")
def phantom_server(objects: list[Dataset], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server over the phantom; nothing may be stored in it."""
    folder = tmp_path_factory.mktemp("web") / "archive"
    with closing(FolderArchive(folder)) as archive:
        archive.store([outgoing(one) for one in objects])
    with ExitStack() as stack:
        yield started(stack, folder)
