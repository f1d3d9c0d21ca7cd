"""Documents that the tests of findings share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from segqa_dicom.findings import FindingsIndex, read_document
from tests.findings.making import dcmqi_document, highdicom_document, ohif_document, our_documents
from tests.phantom_studies import phantom_study


@dataclass(frozen=True)
class Study:
    """A phantom with two models, our documents about them, and those of others.

    ours : by kind and number
    others : by the program that wrote them
    """

    folder: Path
    ours: list[bytes]
    others: dict[str, bytes]
    seg: Dataset
    ct: Dataset

    @property
    def files(self) -> list[bytes]:
        return [*self.ours, *self.others.values()]


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("study")
    dicom = folder / "dicom"
    phantom_study(dicom, (64, 80, 96))
    seg_path, ct_path = dicom / "model_a.dcm", dicom / "ct"
    seg, images = dcmread(seg_path), [dcmread(path, stop_before_pixels=True) for path in sorted(ct_path.iterdir())]
    ct = images[0]
    ours = [document.file for document in our_documents(dicom)]
    others = {
        "dcmqi": dcmqi_document(folder, seg_path, ct_path),
        "OHIF": ohif_document(ct),
        "highdicom": highdicom_document(seg, images),
    }
    return Study(dicom, ours, others, seg, ct)


@pytest.fixture(scope="session")
def indexed(study: Study, tmp_path_factory: pytest.TempPathFactory) -> FindingsIndex:
    """An index of all of them; nobody may change it."""
    index = FindingsIndex(tmp_path_factory.mktemp("index") / "findings.sqlite3")
    index.add(read_document(file) for file in study.files)
    return index


@pytest.fixture
def index(tmp_path: Path) -> FindingsIndex:
    """An empty one."""
    return FindingsIndex(tmp_path / "findings.sqlite3")
