"""The same study in our archive and in Orthanc: where Orthanc is right, both say the same."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image
from pydicom import Dataset

from tests.archive.objects import encoded
from tests.servers.orthanc import Orthanc
from tests.web.conftest import Server
from tests.web.test_wado import uids

pytestmark = pytest.mark.servers

NOT_COMPARED = {
    "00080005",  # Orthanc answers in the character set of the study
    "00081190",  # each has its own URLs
    "00083002",  # only ours
    "7FE00010",  # references, or left out
}


@pytest.fixture(scope="module")
def orthanc(objects: list[Dataset], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """Orthanc with the phantom."""
    with Orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        for one in objects:
            server.upload(encoded(one))
        yield server


def asked(root: str, path: str) -> list[dict[str, Any]]:
    answer = requests.get(f"{root}{path}", headers={"Accept": "application/dicom+json"}, timeout=60)
    assert answer.status_code == 200, (root, path, answer.text)
    found: list[dict[str, Any]] = answer.json()
    return found


def normal(attribute: dict[str, Any]) -> object:
    """Numbers as numbers, items without order of their tags, and no VR: Orthanc guesses some."""
    if attribute.get("vr") == "SQ":
        return [{tag: normal(value) for tag, value in item.items()} for item in attribute.get("Value", [])]
    values = [as_number(value) for value in attribute.get("Value", [])]
    if all(isinstance(value, (str, float)) for value in values):
        return tuple(values)
    return values


def as_number(value: object) -> object:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return value


def common(ours: dict[str, Any], theirs: dict[str, Any]) -> tuple[dict[str, object], dict[str, object]]:
    tags = (ours.keys() & theirs.keys()) - NOT_COMPARED
    return {tag: normal(ours[tag]) for tag in tags}, {tag: normal(theirs[tag]) for tag in tags}


def by_uid(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    tags = ("00080018", "0020000E", "0020000D")
    return {next(row[tag]["Value"][0] for tag in tags if tag in row): row for row in rows}


QUESTIONS = [
    "/studies",
    "/studies?includefield=00081030&limit=101&offset=0&fuzzymatching=false",
    "/studies?PatientName=Phantom*",
    "/studies?PatientName=Nobody*",
    "/studies?ModalitiesInStudy=SEG",
    "/studies?ModalitiesInStudy=MR",
    "/studies?StudyDate=20000101-20991231",
    "/studies?StudyDate=20990101-",
    "/studies?00100020=*",
    "/series",
    "/series?Modality=CT",
    "/series?Modality=CT,SEG",
    "/instances",
    "/instances?Modality=SEG",
    "/instances?SOPClassUID=1.2.840.10008.5.1.4.1.1.66.4",
    "/instances?InstanceNumber=3",
    "/studies/{study}/series",
    "/studies/{study}/instances",
    "/studies/{study}/series/{series}/instances",
    "/studies/{study}/series/{series}/instances?InstanceNumber=5",
]


@pytest.mark.parametrize("question", QUESTIONS)
def test_questions_have_the_same_answers(
    phantom_server: Server, orthanc: Orthanc, objects: list[Dataset], question: str
) -> None:
    study, series, _ = uids(objects[0])
    path = question.format(study=study, series=series)
    ours, theirs = (by_uid(asked(root, path)) for root in (phantom_server.dicom_web, orthanc.dicomweb_url))
    assert ours.keys() == theirs.keys()
    for uid, row in ours.items():
        mine, other = common(row, theirs[uid])
        assert len(mine) >= 5
        for several in ("00080061", "00080062"):  # sets, in any order
            for side in (mine, other):
                side[several] = set(side.get(several, ()))  # type: ignore[call-overload]
        assert mine == other


def test_metadata_are_the_same(phantom_server: Server, orthanc: Orthanc, objects: list[Dataset]) -> None:
    path = f"/studies/{objects[0].StudyInstanceUID}/metadata"
    ours, theirs = (by_uid(asked(root, path)) for root in (phantom_server.dicom_web, orthanc.dicomweb_url))
    assert ours.keys() == theirs.keys() == {one.SOPInstanceUID for one in objects}
    for uid, one in ours.items():
        mine, other = common(one, theirs[uid])
        assert mine == other
        assert theirs[uid].keys() - NOT_COMPARED <= one.keys()


def test_frames_and_objects_are_the_same(phantom_server: Server, orthanc: Orthanc, objects: list[Dataset]) -> None:
    one = objects[3]
    path = "/studies/{}/series/{}/instances/{}".format(*uids(one))
    viewer = {"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}
    whole = {"Accept": 'multipart/related; type="application/dicom"'}
    for root in (phantom_server.dicom_web, orthanc.dicomweb_url):
        assert one.PixelData in requests.get(f"{root}{path}/frames/1", headers=viewer, timeout=60).content
        assert encoded(one) in requests.get(f"{root}{path}", headers=whole, timeout=60).content


def test_what_is_rendered_looks_the_same(phantom_server: Server, orthanc: Orthanc, objects: list[Dataset]) -> None:
    path = "/studies/{}/series/{}/instances/{}/rendered?window=40,400,linear".format(*uids(objects[6]))
    pictures = []
    for root in (phantom_server.dicom_web, orthanc.dicomweb_url):
        answer = requests.get(f"{root}{path}", headers={"Accept": "image/png"}, timeout=60)
        pictures.append(np.asarray(Image.open(io.BytesIO(answer.content)).convert("L"), float))
    assert np.abs(pictures[0] - pictures[1]).max() <= 2
