"""Who has an answer already, or wants a part of it, gets no more than that."""

from __future__ import annotations

import pytest
import requests
from pydicom import Dataset

from tests.web.conftest import Server
from tests.web.test_wado import url_of

FRAMES = "multipart/related; type=application/octet-stream; transfer-syntax=*"


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("", '"application/dicom"'),
        ("", "application/dicom"),
        ("/metadata", "application/dicom+json"),
        ("/frames/1", FRAMES),
        ("/bulkdata/7FE00010", "application/octet-stream"),
        ("/rendered", "image/png"),
        ("/thumbnail", "image/jpeg"),
    ],
)
def test_what_is_known_is_not_sent_again(
    phantom_server: Server, objects: list[Dataset], path: str, accept: str
) -> None:
    accept = f"multipart/related; type={accept}" if accept.startswith('"') else accept
    urls = [f"{url_of(phantom_server, one)}{path}" for one in (objects[0], objects[-1])]
    headers = {"Accept": accept}
    first, other = (requests.get(url, headers=headers, timeout=30) for url in urls)
    assert (first.status_code, other.status_code) == (200, 200)
    assert first.headers["ETag"] != other.headers["ETag"]
    assert first.headers["Cache-Control"] == "private, no-cache"
    again = requests.get(urls[0], headers=headers | {"If-None-Match": first.headers["ETag"]}, timeout=30)
    if path.startswith("/bulkdata"):
        assert again.content == first.content
    else:
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    changed = requests.get(urls[0], headers=headers | {"If-None-Match": other.headers["ETag"]}, timeout=30)
    assert changed.status_code == 200


def test_another_representation_has_another_tag(phantom_server: Server, objects: list[Dataset]) -> None:
    url = f"{url_of(phantom_server, objects[0])}/metadata"
    tags = {
        requests.get(url, headers={"Accept-Encoding": coding, "Accept": accept}, timeout=30).headers["ETag"]
        for coding in ("gzip", "identity")
        for accept in ("application/json", "application/dicom+json")
    }
    assert len(tags) == 4


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("bytes=0-9", 0, 10), ("bytes=100-", 100, None), ("bytes=-7", -7, None), ("bytes=0-99999999", 0, None)],
)
def test_parts_of_large_values(
    phantom_server: Server, objects: list[Dataset], asked: str, start: int, stop: int | None
) -> None:
    whole = objects[0].PixelData
    headers = {"Accept": "application/octet-stream", "Range": asked}
    answer = requests.get(f"{url_of(phantom_server, objects[0])}/bulkdata/7FE00010", headers=headers, timeout=30)
    assert (answer.status_code, answer.content) == (206, whole[start:stop])
    first = start % len(whole)
    assert answer.headers["Content-Range"] == f"bytes {first}-{first + len(answer.content) - 1}/{len(whole)}"


@pytest.mark.parametrize(
    ("asked", "status"), [("bytes=9999999-", 416), ("bytes=-0", 416), ("bytes=0-1,5-6", 200), ("lines=1-2", 200)]
)
def test_ranges_that_are_not_there_or_not_known(
    phantom_server: Server, objects: list[Dataset], asked: str, status: int
) -> None:
    headers = {"Accept": "application/octet-stream", "Range": asked}
    answer = requests.get(f"{url_of(phantom_server, objects[0])}/bulkdata/7FE00010", headers=headers, timeout=30)
    assert answer.status_code == status
