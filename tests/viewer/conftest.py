"""OHIF, installed once for all who test with it, and a reviewed study in archives of both kinds."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from tests.command import segqa
from tests.phantom_studies import phantom_study
from tests.servers.orthanc import Orthanc
from tests.servers.service import Serve, documents_at, send

SHAPE = (64, 136, 192)
"""Nearly square pixels: OHIF 3.12 exchanges row and column spacing where it places marks."""


@pytest.fixture(scope="session")
def ohif_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where services of these tests look for OHIF; one for all processes of a test run."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "ohif"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def ohif(ohif_folder: Path) -> Path:
    """OHIF, which npm has brought. Without it a failure in CI, elsewhere a skip."""
    with (ohif_folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ran = segqa("viewer", "install", "--to", ohif_folder, "--json", timeout_s=600)
    if ran.code and not os.environ.get("CI"):
        pytest.skip(f"OHIF is not there: {ran.err.strip()}")
    assert ran.code == 0, ran.err
    assert ran.json["installed"]
    return ohif_folder


@dataclass(frozen=True)
class Reviewed:
    """A study that the service has reviewed.

    url : of the service
    segmentations : by model
    """

    url: str
    ct: list[Dataset]
    segmentations: dict[str, Dataset]
    documents: list[Dataset]

    @property
    def study(self) -> str:
        return str(self.ct[0].StudyInstanceUID)

    def document(self, kind: str, model: str = "Model B") -> Dataset:
        """The `kind` ("Report", "Key images", "Comparison") on a model's result."""
        described = [(one, str(one.SeriesDescription)) for one in self.documents]
        (found,) = [one for one, text in described if text.startswith(f"{kind}: ") and model in text]
        return found

    def image(self, sop_instance_uid: str) -> Dataset:
        (found,) = [one for one in self.ct if one.SOPInstanceUID == sop_instance_uid]
        return found


def reviewed_by(serve: Serve, folder: Path, n_cases: int = 1) -> Reviewed:
    """Send a study and wait until its documents are in the archive."""
    assert send(serve.dicom_port, folder) == 0
    serve.wait_for_cases(n_cases)
    objects = [dcmread(path) for path in sorted(folder.rglob("*")) if path.is_file()]
    images = sorted((one for one in objects if one.Modality == "CT"), key=lambda one: int(one.InstanceNumber))
    segmentations = {str(one.SeriesDescription): one for one in objects if one.Modality == "SEG"}
    return Reviewed(serve.url, images, segmentations, documents_at(f"{serve.url}/dicom-web"))


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo study, smaller."""
    folder = tmp_path_factory.mktemp("viewed") / "demo"
    phantom_study(folder, SHAPE)
    return folder


@pytest.fixture(scope="module")
def embedded(demo: Path, ohif_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewed]:
    """Reviewed with a folder as archive."""
    folder = tmp_path_factory.mktemp("embedded")
    with Serve(folder, settings={"SEGQA_VIEWER": str(ohif_folder)}) as serve:
        yield reviewed_by(serve, demo)


@pytest.fixture(scope="module")  # the service asks its archive all the time
def deployed(demo: Path, ohif_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewed]:
    """Reviewed with an Orthanc as archive."""
    folder = tmp_path_factory.mktemp("deployed")
    with Orthanc(folder / "orthanc") as orthanc:
        settings = {"SEGQA_VIEWER": str(ohif_folder)}
        with Serve(folder / "serve", archive=orthanc.dicomweb_url, settings=settings) as serve:
            yield reviewed_by(serve, demo)


def content(item: Dataset, name: str, *, value_type: str = "TEXT") -> list[Any]:
    """Texts, or items, of all content items with that code, at any depth."""
    found: list[Any] = []
    for child in item.get("ContentSequence", ()):
        names = [one.CodeValue for one in child.get("ConceptNameCodeSequence", ())]
        if name in names and child.ValueType == value_type:
            found.append(child.TextValue if value_type == "TEXT" else child)
        found += content(child, name, value_type=value_type)
    return found
