"""STOW-RS of DICOM JSON: what is stored is what was described, with the checks of all other objects."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests
from pydicom import Dataset

from segqa_dicom.dicom.multipart import MultipartParser
from segqa_dicom.web.dicomweb import stow_json
from segqa_dicom.web.dicomweb.stow_json import JsonReceiver
from segqa_dicom.web.problems import Problem
from tests.archive.objects import SERIES, STUDY, ct, encoded
from tests.web.conftest import Server
from tests.web.test_stow import leftovers, names, reasons

BOUNDARY = "a-boundary"


def part(content: bytes, content_type: str, location: str = "") -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Type: {content_type}\r\n"
    head += f"Content-Location: {location}\r\n" if location else ""
    return f"{head}\r\n".encode() + content + b"\r\n"


def described(*objects: Dataset) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """The objects in JSON, and their pixel data by URI."""
    found, values = [], {}
    for number, one in enumerate(objects):
        model = one.to_json_dict()
        values[f"bulk/{number}"] = one.PixelData
        model["7FE00010"] = {"vr": "OW", "BulkDataURI": f"bulk/{number}"}
        model["00083002"] = {"vr": "UI", "Value": ["1.2.840.10008.1.2.1"]}
        found.append(model)
    return found, values


def body(model: object, values: dict[str, bytes], media_type: str = "application/octet-stream") -> bytes:
    parts = [part(json.dumps(model).encode(), "application/dicom+json")]
    parts += [part(value, media_type, uri) for uri, value in values.items()]
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def post(server: Server, content: bytes, path: str = "/studies") -> requests.Response:
    kind = f'multipart/related; type="application/dicom+json"; boundary={BOUNDARY}'
    return requests.post(f"{server.dicom_web}{path}", data=content, headers={"Content-Type": kind}, timeout=60)


def test_objects_in_json_are_stored_with_their_values(serve: Callable[..., Server]) -> None:
    server, objects = serve(), [ct(1), ct(2)]
    answer = post(server, body(*described(*objects)))
    assert (answer.status_code, names(answer, "00081199")) == (200, ["1", "2"])
    written = [pydicom.dcmread(io.BytesIO(encoded(one))) for one in objects]
    assert server.client.retrieve_series(STUDY, SERIES) == written
    assert post(server, body(*described(*objects))).status_code == 200
    assert leftovers(server) == []


def test_what_was_retrieved_as_json_can_be_stored_elsewhere(
    phantom_server: Server, objects: list[Dataset], serve: Callable[..., Server]
) -> None:
    seg = objects[-1]
    uids = seg.StudyInstanceUID, seg.SeriesInstanceUID, seg.SOPInstanceUID
    url = "{}/studies/{}/series/{}/instances/{}".format(phantom_server.dicom_web, *uids)
    (model,) = requests.get(f"{url}/metadata", timeout=30).json()
    uri = model["7FE00010"]["BulkDataURI"]
    value = requests.get(uri, headers={"Accept": "application/octet-stream"}, timeout=30).content
    server = serve()
    assert post(server, body([model], {uri: value})).status_code == 200
    found = server.client.retrieve_instance(*uids)
    assert found.pop("SpecificCharacterSet").value == "ISO_IR 192"
    expected = copy.deepcopy(seg)
    expected.pop("SpecificCharacterSet", None)
    assert found == expected


def test_identity_is_checked_as_that_of_files(serve: Callable[..., Server]) -> None:
    server = serve()
    post(server, body(*described(ct(1))))
    model, values = described(ct(1, StudyID="other"), ct(2), ct(3, PatientID="P2"), ct(4))
    del values["bulk/3"]
    answer = post(server, body([*model, {}], values))
    assert (answer.status_code, names(answer, "00081199")) == (202, ["2"])
    found = dict(zip(names(answer, "00081198"), reasons(answer), strict=True))
    assert found == {"1": 0x0111, "3": 0x0110, "4": 0xC000}
    assert reasons(answer, "0008119A") == [0xC000]
    assert leftovers(server) == []
    assert post(server, body(*described(ct(5))), "/studies/1.2.3").status_code == 409


@pytest.mark.parametrize(
    ("content", "status"),
    [
        pytest.param(body([], {}), 400, id="no object"),
        pytest.param(body(5, {}), 400, id="no array"),
        pytest.param(part(b"{", "application/dicom+json") + f"--{BOUNDARY}--".encode(), 400, id="no JSON"),
        pytest.param(part(b"[" * 100_000, "application/dicom+json") + f"--{BOUNDARY}--".encode(), 400, id="deep"),
        pytest.param(part(b"x", "application/dicom") + f"--{BOUNDARY}--".encode(), 415, id="a file first"),
        pytest.param(body([], {"": b"x"}), 400, id="value without location"),
        pytest.param(body([], {"a": b"x"}, "image/jpeg"), 415, id="compressed value"),
        pytest.param(body(*described(ct()))[:-30], 400, id="cut"),
        pytest.param(body([{"00080018": {"vr": "UI", "Value": [{}]}}], {}), 409, id="nonsense"),
    ],
)
def test_statuses(serve: Callable[..., Server], content: bytes, status: int) -> None:
    server = serve()
    answer = post(server, content)
    assert answer.status_code == status
    assert leftovers(server) == []
    assert server.client.search_for_instances() == []


def test_values_that_are_too_large_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Nobody:
        def add(self, path: Path) -> None: ...
        def store(self) -> None: ...
        def fail(self, instance: object) -> None: ...
        def remove(self) -> None: ...

    for limit in ("MAX_VALUE_BYTES", "MAX_JSON_BYTES"):
        with monkeypatch.context() as patch:
            patch.setattr(stow_json, limit, 1000)
            receiver = JsonReceiver(tmp_path, Nobody())
            parser = MultipartParser(BOUNDARY)
            large = body([], {"a": b"x" * 2000}) if limit == "MAX_VALUE_BYTES" else body(["x" * 2000], {})
            with pytest.raises(Problem, match="application/dicom"):
                receiver.take(list(parser.feed(large)))
            receiver.remove()
            assert list(tmp_path.iterdir()) == []
