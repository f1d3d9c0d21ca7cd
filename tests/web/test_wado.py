"""What WADO-RS sends is what was stored."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pydicom
import pytest
import requests
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGLSLossless, RLELossless

from segqa_dicom.archive.folder import FolderArchive
from tests.archive.objects import SERIES, STUDY, ct, encoded, outgoing
from tests.web.conftest import Server

IMAGE = f"/studies/{STUDY}/series/{SERIES}/instances/{SERIES}.1"


def uids(one: Dataset) -> tuple[str, str, str]:
    return one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID


def url_of(server: Server, one: Dataset) -> str:
    return "{}/studies/{}/series/{}/instances/{}".format(server.dicom_web, *uids(one))


@pytest.fixture
def image_server(tmp_path: Path, serve: Callable[..., Server]) -> Callable[[Dataset], Server]:
    """Serves one object."""

    def start(dataset: Dataset) -> Server:
        with closing(FolderArchive(tmp_path / "archive")) as archive:
            archive.store([outgoing(dataset)])
        return serve()

    return start


def test_the_client_retrieves_studies_series_and_instances(phantom_server: Server, objects: list[Dataset]) -> None:
    client = phantom_server.client
    by_uid = {one.SOPInstanceUID: one for one in objects}
    study = client.retrieve_study(objects[0].StudyInstanceUID)
    assert {one.SOPInstanceUID: one for one in study} == by_uid
    series = client.retrieve_series(*uids(objects[0])[:2])
    assert [one.SOPInstanceUID for one in series] == [one.SOPInstanceUID for one in objects[:-1]]
    assert client.retrieve_instance(*uids(objects[-1])) == objects[-1]


def test_a_single_object_is_sent_as_its_file(phantom_server: Server, objects: list[Dataset]) -> None:
    for one in (objects[0], objects[-1]):
        answer = requests.get(url_of(phantom_server, one), headers={"Accept": "application/dicom"}, timeout=30)
        assert answer.headers["Content-Type"] == "application/dicom"
        assert answer.content == encoded(one)


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("*/*", 200),
        ('multipart/related; type="application/dicom"; transfer-syntax=*', 200),
        ('multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.1', 200),
        ('multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.80', 406),
        ('multipart/related; type="application/dicom"; q=0', 406),
        ("image/png, multipart/related;type=application/dicom;q=0.1", 200),
        ("image/png", 406),
        ("multipart/related; type=image/jpeg", 406),
    ],
)  # fmt: skip
def test_what_is_sent_depends_on_what_is_accepted(
    phantom_server: Server, objects: list[Dataset], accept: str, status: int
) -> None:
    answer = requests.get(url_of(phantom_server, objects[0]), headers={"Accept": accept}, timeout=30)
    assert answer.status_code == status
    if status == 200:
        assert answer.headers["Content-Type"].startswith('multipart/related; type="application/dicom"; boundary=')
        assert int(answer.headers["Content-Length"]) == len(answer.content)


def test_metadata_are_the_objects_without_their_pixels(phantom_server: Server, objects: list[Dataset]) -> None:
    client = phantom_server.client
    for one in (objects[0], objects[-1]):
        found = client.retrieve_instance_metadata(*uids(one))
        reference = found.pop("7FE00010")
        assert reference["BulkDataURI"].endswith(f"/instances/{one.SOPInstanceUID}/bulkdata/7FE00010")
        assert found.pop("00083002") == {"vr": "UI", "Value": ["1.2.840.10008.1.2.1"]}
        expected = one.to_json_dict()
        del expected["7FE00010"]
        assert found == expected
    assert len(client.retrieve_study_metadata(objects[0].StudyInstanceUID)) == len(objects)
    assert len(client.retrieve_series_metadata(*uids(objects[0])[:2])) == len(objects) - 1


def test_metadata_are_compressed_if_that_is_accepted(phantom_server: Server, objects: list[Dataset]) -> None:
    url = f"{url_of(phantom_server, objects[-1])}/metadata"
    plain = requests.get(url, headers={"Accept-Encoding": "identity"}, timeout=30, stream=True)
    packed = requests.get(url, headers={"Accept-Encoding": "gzip"}, timeout=30, stream=True)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    body = plain.raw.read()
    assert gzip.decompress(data := packed.raw.read()) == body
    assert len(data) < len(body) / 5
    assert json.loads(body)[0]["00080060"]["Value"] == ["SEG"]


def test_frames_are_the_pixels(phantom_server: Server, objects: list[Dataset]) -> None:
    for one in (objects[0], objects[-1]):
        pixels = one.pixel_array.reshape(-1, one.Rows, one.Columns)
        numbers = [1] if len(pixels) == 1 else [3, 1, len(pixels)]
        frames = phantom_server.client.retrieve_instance_frames(*uids(one), frame_numbers=numbers)
        for number, frame in zip(numbers, frames, strict=True):
            if one.BitsAllocated == 1:
                found = np.unpackbits(np.frombuffer(frame, np.uint8), bitorder="little")[: one.Rows * one.Columns]
            else:
                found = np.frombuffer(frame, pixels.dtype)
            assert np.array_equal(found.reshape(one.Rows, one.Columns), pixels[number - 1])


def test_frames_for_the_viewer_are_octets(phantom_server: Server, objects: list[Dataset]) -> None:
    accept = "multipart/related; type=application/octet-stream; transfer-syntax=*"
    answer = requests.get(f"{url_of(phantom_server, objects[0])}/frames/1", headers={"Accept": accept}, timeout=30)
    assert b"Content-Type: application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1\r\n" in answer.content
    assert objects[0].PixelData in answer.content


@pytest.mark.parametrize(
    ("frames", "status"), [("0", 400), ("x", 400), ("1,", 400), ("2", 404), ("1,1", 200), ("99999999999", 400)]
)
def test_frames_that_are_not_there(phantom_server: Server, objects: list[Dataset], frames: str, status: int) -> None:
    answer = requests.get(f"{url_of(phantom_server, objects[0])}/frames/{frames}", timeout=30)
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("syntax", "media_type"), [(RLELossless, "image/dicom-rle"), (JPEGLSLossless, "image/jls")], ids=["RLE", "JPEG-LS"]
)
def test_compressed_frames_are_sent_as_they_are(
    image_server: Callable[[Dataset], Server], syntax: str, media_type: str
) -> None:
    dataset = ct()
    pixels = [np.full((16, 16), number, np.uint16) for number in range(3)]
    dataset.NumberOfFrames = 3
    dataset.PixelData = np.stack(pixels).tobytes()
    dataset.compress(syntax, generate_instance_uid=False)
    dataset.PixelData = encapsulate(
        frames := list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=3)), has_bot=False
    )
    server = image_server(dataset)
    found = server.client.retrieve_instance_frames(
        *uids(dataset), frame_numbers=[2, 3], media_types=((media_type, syntax),)
    )
    assert found == frames[1:]
    answer = requests.get(f"{server.dicom_web}{IMAGE}/frames/1", timeout=30)
    assert f"Content-Type: {media_type}; transfer-syntax={syntax}\r\n".encode() in answer.content
    octets = {"Accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}
    answer = requests.get(f"{server.dicom_web}{IMAGE}/frames/1", headers=octets, timeout=30)
    assert f"Content-Type: application/octet-stream; transfer-syntax={syntax}\r\n".encode() in answer.content
    for stated in ("", "; transfer-syntax=1.2.840.10008.1.2.1"):
        plain = {"Accept": f"multipart/related; type=application/octet-stream{stated}"}
        answer = requests.get(f"{server.dicom_web}{IMAGE}/frames/2,3", headers=plain, timeout=30)
        head = b"Content-Type: application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1\r\n"
        assert answer.content.count(head) == 2
        assert all(one.tobytes() in answer.content for one in pixels[1:])
    png = {"Accept": "multipart/related; type=image/png"}
    assert requests.get(f"{server.dicom_web}{IMAGE}/frames/1", headers=png, timeout=30).status_code == 406
    answer = requests.get(f"{server.dicom_web}{IMAGE}/bulkdata/7FE00010", timeout=30)
    assert all(frame in answer.content for frame in frames)


def test_deflated_objects_have_frames_and_metadata(image_server: Callable[[Dataset], Server]) -> None:
    dataset = ct()
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    server = image_server(dataset)
    (frame,) = server.client.retrieve_instance_frames(*uids(dataset), frame_numbers=[1])
    assert frame == dataset.PixelData
    assert server.client.retrieve_instance_metadata(*uids(dataset))["00280010"]["Value"] == [16]
    bulk = requests.get(
        f"{server.dicom_web}{IMAGE}/bulkdata/7FE00010", headers={"Accept": "application/octet-stream"}, timeout=30
    )
    assert bulk.content == dataset.PixelData


def test_large_values_are_references_that_can_be_followed(image_server: Callable[[Dataset], Server]) -> None:
    item = Dataset()
    item.add_new(0x00420011, "OB", b"\x01\x02" * 3000)
    dataset = ct(PresentationLUTSequence=[Dataset(), item])
    dataset.add_new(0x00090010, "LO", "TEST")
    dataset.add_new(0x00091001, "OB", b"\x03\x04" * 10)
    dataset.add_new(0x00091002, "UN", b"\x05\x06" * 1000)
    server = image_server(dataset)
    found = server.client.retrieve_instance_metadata(*uids(dataset))
    assert found["00091001"]["InlineBinary"] == dataset.to_json_dict()["00091001"]["InlineBinary"]
    octets = {"Accept": "application/octet-stream"}
    url = f"{server.dicom_web}{IMAGE}/bulkdata"
    assert found["00091002"]["BulkDataURI"].endswith("/bulkdata/00091002")
    assert requests.get(f"{url}/00091002", headers=octets, timeout=30).content == b"\x05\x06" * 1000
    nested = found["20500010"]["Value"][1]["00420011"]["BulkDataURI"].rpartition("/bulkdata")[2]
    assert requests.get(f"{url}{nested}", headers=octets, timeout=30).content == b"\x01\x02" * 3000
    assert requests.get(f"{url}/7FE00010", headers=octets, timeout=30).content == dataset.PixelData
    assert dataset.PixelData in requests.get(f"{url}/7FE00010", timeout=30).content
    for wrong in ("00100010", "00099999", "x", "20500010/9/00420011", "20500010/0/00420011", "20500010/2", ""):
        assert requests.get(f"{url}/{wrong}", headers=octets, timeout=30).status_code == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/studies/1.2.3", 404),
        ("/studies/1.2.3/metadata", 404),
        (f"/studies/1.2.3/series/{SERIES}/instances/{SERIES}.1", 404),
        (f"/studies/1.2.3/series/{SERIES}/instances/{SERIES}.1/frames/1", 404),
        ("/studies/..%2F..%2Fetc", 404),
        ("/studies/abc", 400),
        (f"/studies/{'1' * 65}/metadata", 400),
        ("/nothing", 404),
        ("/", 404),
    ],
)
def test_what_is_not_there_is_answered_as_json(phantom_server: Server, path: str, status: int) -> None:
    answer = requests.get(f"{phantom_server.dicom_web}{path}", timeout=30)
    assert (answer.status_code, list(answer.json())) == (status, ["message"])


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_nothing_can_be_replaced(phantom_server: Server, objects: list[Dataset], method: str) -> None:
    answer = requests.request(method, url_of(phantom_server, objects[0]), timeout=30)
    assert (answer.status_code, list(answer.json())) == (405, ["message"])
