"""Requests exactly as the viewer, 3D Slicer (dicomweb-client) and curl send them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import requests
from pydicom import Dataset

from tests.archive.objects import encoded
from tests.servers.process import program
from tests.web.conftest import Server
from tests.web.test_wado import uids, url_of

pytestmark = pytest.mark.servers

FRAME = "multipart/related; type=application/octet-stream; transfer-syntax=*"
WHOLE = 'multipart/related; type="application/dicom"'
BROWSER = {"Accept-Encoding": "gzip, deflate, br, zstd", "Accept-Language": "en", "Connection": "keep-alive"}


def test_the_viewer_opens_a_study(phantom_server: Server, objects: list[Dataset]) -> None:
    """The table of requests in the order in which OHIF 3.12 sends them."""
    root, seg = phantom_server.dicom_web, objects[-1]
    study = seg.StudyInstanceUID
    json_type = BROWSER | {"Accept": "application/dicom+json"}
    listing = "limit=101&offset=0&fuzzymatching=false&includefield=00081030%2C00080060"
    (row,) = requests.get(f"{root}/studies?{listing}", headers=json_type, timeout=30).json()
    assert row["00081030"]["Value"] == [seg.StudyDescription]
    (row,) = requests.get(f"{root}/studies?{listing}&StudyInstanceUID={study}", headers=json_type, timeout=30).json()
    (other,) = requests.get(f"{root}/studies?00100020={seg.PatientID}", headers=json_type, timeout=30).json()
    assert other["0020000D"] == row["0020000D"]
    series = requests.get(f"{root}/studies/{study}/series?includefield=0008103E", headers=json_type, timeout=30).json()
    assert [one["00080060"]["Value"] for one in series] == [["CT"], ["SEG"]]
    for one in series:
        path = f"/studies/{study}/series/{one['0020000E']['Value'][0]}/metadata"
        answer = requests.get(f"{root}{path}", headers=json_type, timeout=30)
        assert answer.headers["Content-Encoding"] == "gzip"
        assert len(answer.json()) == one["00201209"]["Value"][0]
    for one in objects[:-1]:
        answer = requests.get(
            f"{url_of(phantom_server, one)}/frames/1", headers=BROWSER | {"Accept": FRAME}, timeout=30
        )
        assert one.PixelData in answer.content
    assert encoded(seg) in requests.get(url_of(phantom_server, seg), headers={"Accept": WHOLE}, timeout=30).content


@pytest.mark.parametrize(
    "accept",
    [
        'multipart/related; type="application/dicom"; transfer-syntax="*"',
        "multipart/related;type=application/dicom;transfer-syntax=*",
        'MULTIPART/Related ; Type = "application/dicom" ; Transfer-Syntax=* ; q=0.5',
        (
            'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.50, '
            'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.1; q=0.2'
        ),
        'multipart/related; type="image/jpeg", multipart/related; type="application/dicom"',
        'image/png;q=1, multipart/related; type="application/dicom"; q=0.001',
        "multipart/related",
        "multipart/*",
    ],
)
def test_ways_to_ask_for_a_multipart_object(phantom_server: Server, objects: list[Dataset], accept: str) -> None:
    answer = requests.get(url_of(phantom_server, objects[0]), headers={"Accept": accept}, timeout=30)
    assert answer.headers["Content-Type"].startswith('multipart/related; type="application/dicom"')
    assert encoded(objects[0]) in answer.content


@pytest.mark.parametrize("accept", ["application/octet-stream", "application/*", "application/octet-stream; q=0.3"])
def test_a_single_frame_comes_without_parts(phantom_server: Server, objects: list[Dataset], accept: str) -> None:
    answer = requests.get(f"{url_of(phantom_server, objects[0])}/frames/1", headers={"Accept": accept}, timeout=30)
    assert answer.headers["Content-Type"] == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    assert answer.content == objects[0].PixelData
    several = requests.get(f"{url_of(phantom_server, objects[-1])}/frames/1,2", headers={"Accept": accept}, timeout=30)
    assert several.status_code == 406


def test_several_accept_headers_are_one(phantom_server: Server, objects: list[Dataset]) -> None:
    program("curl")
    command = ["curl", "-sS", "-H", "Accept: image/png", "-H", "Accept: application/dicom"]
    found = subprocess.run([*command, url_of(phantom_server, objects[0])], capture_output=True, check=True, timeout=60)
    assert found.stdout == encoded(objects[0])


def test_slicer_browses_and_downloads(phantom_server: Server, objects: list[Dataset]) -> None:
    """What DICOMwebBrowser does: studies by pages, series, instances, and each instance by itself."""
    client, seg = phantom_server.client, objects[-1]
    (study,) = client.search_for_studies(offset=0, limit=100, fuzzymatching=False)
    series = client.search_for_series(study["0020000D"]["Value"][0])
    assert len(series) == 2
    instances = client.search_for_instances(*uids(seg)[:2])
    assert [one["00080018"]["Value"][0] for one in instances] == [seg.SOPInstanceUID]
    for accepted in (None, ("application/dicom",), (("application/dicom", "*"),)):
        assert client.retrieve_instance(*uids(seg), media_types=accepted) == seg
    (frame,) = client.retrieve_instance_frames(*uids(objects[0]), frame_numbers=[1])
    assert np.array_equal(np.frombuffer(frame, "<i2").reshape(objects[0].Rows, -1), objects[0].pixel_array)
    assert client.retrieve_instance_rendered(*uids(objects[0]), media_types=("image/png",))[:4] == b"\x89PNG"
    assert client.retrieve_bulkdata(f"{url_of(phantom_server, seg)}/bulkdata/7FE00010")[0] == seg.PixelData
    assert list(client.iter_study(seg.StudyInstanceUID))


def test_curl_gets_what_it_asks_for(phantom_server: Server, objects: list[Dataset], tmp_path: Path) -> None:
    program("curl")
    url, target = url_of(phantom_server, objects[0]), tmp_path / "one.dcm"

    def curl(*arguments: str) -> bytes:
        return subprocess.run(["curl", "-fsS", *arguments], capture_output=True, check=True, timeout=60).stdout

    curl("-o", str(target), "-H", "Accept: application/dicom", url)
    assert target.read_bytes() == encoded(objects[0])
    assert json.loads(curl("--compressed", f"{url}/metadata"))[0]["00080018"]["Value"] == [objects[0].SOPInstanceUID]
    studies = curl("-G", f"{phantom_server.dicom_web}/studies", "--data-urlencode", "PatientName=Phantom^*")
    assert len(json.loads(studies)) == 1
    head = curl("-I", f"{url}/metadata").decode().lower()
    assert "200 ok" in head
    assert "etag:" in head
    assert curl("-o", "/dev/null", "-w", "%{content_type}", f"{url}/rendered") == b"image/jpeg"
