"""What the service says that it offers is what it offers; its URLs are those that its clients know."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest
import requests
from pydicom import Dataset

from tests.archive.objects import ct, encoded
from tests.web.conftest import Server
from tests.web.test_wado import uids

WADL = "{http://wadl.dev.java.net/2009/02}"


def test_all_methods_that_are_stated_are_offered(phantom_server: Server, objects: list[Dataset]) -> None:
    answer = requests.options(phantom_server.dicom_web, timeout=30)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/vnd.sun.wadl+xml")
    (resources,) = ET.fromstring(answer.content)
    base = resources.attrib["base"]
    assert base == f"{phantom_server.dicom_web}/"
    study, series, instance = uids(objects[-1])
    names = {"study": study, "series": series, "instance": instance, "frames": "1", "bulkdata": "7FE00010"}
    stated = []
    for resource in resources:
        for method in resource.findall(f"{WADL}method"):
            stated.append(method.attrib["id"])
            if method.attrib["name"] != "GET":
                continue
            for representation in method.findall(f"{WADL}response/{WADL}representation"):
                accept = representation.attrib["mediaType"]
                if accept.startswith("text/"):
                    continue  # of documents
                url = base + resource.attrib["path"].format(**names)
                found = requests.get(url, headers={"Accept": accept}, timeout=30)
                assert found.status_code == 200, (url, accept, found.text[:200])
    assert len(set(stated)) >= 20
    assert "DeleteStudy" not in stated


def test_capabilities_come_as_json_too(serve: Callable[..., Server]) -> None:
    server = serve(SEGQA_OPERATOR_TOKEN="token")
    for url in (server.dicom_web, f"{server.dicom_web}/"):
        found = requests.options(url, headers={"Accept": "application/json"}, timeout=30).json()
        resources = found["application"]["resources"]
        assert resources["@base"] == f"{server.dicom_web}/"
        methods = {(one["@path"], method["@name"]) for one in resources["resource"] for method in one["method"]}
        assert {("studies", "POST"), ("studies", "GET"), ("studies/{study}", "DELETE")} <= methods
    assert requests.options(server.dicom_web, headers={"Accept": "image/png"}, timeout=30).status_code == 406


@pytest.mark.parametrize("public", ["https://qa.example.org/segqa", "https://qa.example.org/segqa/"])
def test_urls_in_answers_begin_with_the_public_url(serve: Callable[..., Server], public: str) -> None:
    server = serve(SEGQA_PUBLIC_URL=public)
    root = "https://qa.example.org/segqa/dicom-web/studies/"
    stored = requests.post(
        f"{server.dicom_web}/studies", data=encoded(ct()), headers={"Content-Type": "application/dicom"}, timeout=30
    )
    assert stored.json()["00081190"]["Value"][0].startswith(root)
    assert requests.get(f"{server.dicom_web}/studies", timeout=30).json()[0]["00081190"]["Value"][0].startswith(root)
    (one,) = requests.get(f"{server.dicom_web}/studies/{ct().StudyInstanceUID}/metadata", timeout=30).json()
    assert one["7FE00010"]["BulkDataURI"].startswith(root)


def test_what_proxies_claim_is_not_believed(phantom_server: Server) -> None:
    claims = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "Forwarded": "host=evil.example"}
    answer = requests.get(f"{phantom_server.dicom_web}/studies", headers=claims, timeout=30)
    assert answer.json()[0]["00081190"]["Value"][0].startswith(f"{phantom_server.dicom_web}/")
