"""Findings over the network: QIDO-RS about content, `/api/findings`, and the examples of the documentation."""

from __future__ import annotations

import csv
import io
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import requests
from pydicom import Dataset

from segqa_dicom.archive import Outcome
from segqa_dicom.archive.dicomweb import DicomwebArchive
from segqa_dicom.archive.feed import FolderFeed
from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.config import ServiceSettings, Settings
from segqa_dicom.findings import FILE_NAME, FindingsIndex, index_news, reindex
from segqa_dicom.findings.filters import parsed_filters
from segqa_dicom.findings.listing import COLUMNS, as_json, find
from segqa_dicom.inbox import Inbox
from segqa_dicom.web import create_app
from tests.archive.objects import outgoing as outgoing_dataset
from tests.findings import byhand
from tests.findings.conftest import Study
from tests.findings.making import changed, outgoing, renewed
from tests.servers.orthanc import Orthanc
from tests.servers.process import program
from tests.web.conftest import Server, started
from tests.web.in_process import running
from tests.web.server import Ledger

pytestmark = pytest.mark.servers

DOCS = Path(__file__).resolve().parents[2] / "docs" / "reference"
FORMULA = '=HYPERLINK("http://127.0.0.1/";"x")'


def with_formula(file: bytes) -> bytes:
    def change(dataset: Dataset) -> None:
        for item in dataset.ContentSequence:
            for group in item.get("ContentSequence", ()):
                for child in group.get("ContentSequence", ()):
                    if child.ConceptNameCodeSequence[0].CodeValue == "112039":
                        child.TextValue = FORMULA

    return renewed(changed(file, change), "1.2.3.4.5")


@pytest.fixture(scope="module")
def server(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("findings") / "archive"
    files = [*study.files, with_formula(study.others["highdicom"])]
    with closing(FolderArchive(folder)) as archive:
        archive.store([outgoing_dataset(study.ct), outgoing_dataset(study.seg), *(outgoing(file) for file in files)])
        index = FindingsIndex(folder / FILE_NAME)
        while not index_news(index, FolderFeed(archive), archive, name="archive").is_done:
            pass
    with ExitStack() as stack:
        yield started(stack, folder)


def asked(server: Server, path: str, **parameters: str) -> set[str]:
    answer = requests.get(f"{server.dicom_web}{path}", params=parameters, timeout=60)
    assert answer.status_code == 200, answer.text
    return {one["00080018"]["Value"][0] for one in answer.json()}


def test_content_and_other_keys_must_both_hold(server: Server, study: Study) -> None:
    seg = str(study.seg.SOPInstanceUID)
    about = asked(server, "/instances", ReferencedSOPInstanceUID=seg)
    assert about == {byhand.uid(file) for file in study.files if seg.encode() in file} | {"1.2.3.4.5"}
    assert asked(server, "/instances", ReferencedSOPInstanceUID=seg, Modality="CT") == set()
    assert asked(server, "/instances", ReferencedSOPInstanceUID=seg, SeriesDescription="Measurements") == {
        byhand.uid(study.others["dcmqi"])
    }
    assert asked(server, f"/studies/{study.seg.StudyInstanceUID}/instances", ReferencedSOPInstanceUID=seg) == about
    assert asked(server, "/studies/1.2.3/instances", ReferencedSOPInstanceUID=seg) == set()
    one = "1.2.3.4.5"
    assert asked(
        server, f"/studies/{study.seg.StudyInstanceUID}/series/{one}.9/instances", ReferencedSOPInstanceUID=seg
    ) == {one}


def test_pages_and_references_are_answered(server: Server, study: Study) -> None:
    seg = str(study.seg.SOPInstanceUID)
    query = {"ReferencedSOPInstanceUID": seg, "includefield": "ReferencedSOPSequence", "limit": "2"}
    answer = requests.get(f"{server.dicom_web}/instances", params=query, timeout=60)
    assert "Warning" not in answer.headers
    rows = answer.json()
    assert len(rows) == 2
    for row in rows:
        assert seg in {one["00081155"]["Value"][0] for one in row["00081199"]["Value"]}


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/studies", "ReferencedSOPInstanceUID=1.2.3"),
        ("/series", "ContentSequence.TextValue=x"),
        ("/instances", "ContentSequence.TextValue=x&ContentSequence.TextValue=y"),
        ("/instances", "ContentSequence.KVP=120"),
        ("/instances", "ContentSequence.1.1.TextValue=120"),
        ("/instances", "ContentSequence.MeasuredValueSequence.NumericValue=%25"),
        ("/instances", "PertinentOtherEvidenceSequence.StudyInstanceUID=1"),
    ],
)
def test_what_cannot_be_answered_is_400_with_a_reason(server: Server, path: str, query: str) -> None:
    answer = requests.get(f"{server.dicom_web}{path}?{query}", timeout=60)
    assert answer.status_code == 400
    assert len(answer.json()["message"]) > 20


def test_rows_are_those_of_the_index(server: Server) -> None:
    index = FindingsIndex(server.folder / FILE_NAME)
    query = {"outcome": "FAIL,WARN", "limit": "7", "offset": "3"}
    answer = requests.get(f"{server.url}/api/findings", params=query, timeout=60)
    expected = find(index, parsed_filters([("outcome", "FAIL,WARN")]), limit=7, offset=3)
    assert answer.json() == {
        "total": expected.total,
        "limit": 7,
        "offset": 3,
        "findings": [as_json(row) for row in expected.rows],
    }


def test_csv_holds_no_formula(server: Server) -> None:
    answer = requests.get(f"{server.url}/api/findings?document=1.2.3.4.5,1.2&format=csv", timeout=60)
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["X-Total-Count"] == "2"
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert tuple(rows[0]) == COLUMNS
    assert {row["label"] for row in rows} == {f"'{FORMULA}"}
    negative = requests.get(f"{server.url}/api/findings?kind=measurement&format=csv", timeout=60).text
    assert "-778.5" in {row["value"] for row in csv.DictReader(io.StringIO(negative))}


@pytest.mark.parametrize(
    "query", ["nonsense=1", "outcome=x", "limit=-1", "limit=10001", "offset=x", "format=xml", "date=x"]
)
def test_wrong_filters_are_400(server: Server, query: str) -> None:
    answer = requests.get(f"{server.url}/api/findings?{query}", timeout=60)
    assert answer.status_code == 400
    assert "message" in answer.json()


def test_an_index_that_was_never_filled_does_not_say_that_there_is_nothing(tmp_path: Path) -> None:
    with ExitStack() as stack:
        server = started(stack, tmp_path / "archive")
        for url in (f"{server.url}/api/findings", f"{server.dicom_web}/instances?ContentSequence.TextValue=x"):
            assert requests.get(url, timeout=60).status_code == 503
        assert requests.get(f"{server.dicom_web}/instances", timeout=60).json() == []


def test_content_is_asked_of_the_index_and_the_rest_of_an_archive_that_leaves_out_such_conditions(
    tmp_path: Path, study: Study, orthanc: Orthanc
) -> None:
    archive = DicomwebArchive(orthanc.dicomweb_url)
    stored = archive.store([outgoing_dataset(study.ct), outgoing_dataset(study.seg), *map(outgoing, study.files)])
    assert {one.outcome for one in stored} == {Outcome.STORED}
    app = create_app(
        archive=archive,
        ledger=Ledger(),
        inbox=Inbox(tmp_path / "inbox"),
        settings=Settings(),
        service=ServiceSettings(),
        archive_url=orthanc.dicomweb_url,
    )
    index = FindingsIndex(tmp_path / FILE_NAME)
    assert reindex(index, archive).added == len(study.files)
    seg = str(study.seg.SOPInstanceUID)
    with running(app) as client:

        def found(query: str, path: str = "/instances") -> set[str]:
            answer = client.get(f"/dicom-web{path}?{query}")
            assert answer.status_code == 200, answer.text
            return {one["00080018"]["Value"][0] for one in answer.json()}

        of_seg = found(f"ReferencedSOPInstanceUID={seg}")
        assert of_seg == {byhand.uid(file) for file in study.files if seg.encode() in file}
        checked = "ContentSequence.ConceptNameCodeSequence.CodeValue=CHK-F1"
        assert found(checked) == byhand.with_item(study.files, lambda item: byhand.name(item) == "CHK-F1")
        assert found(f"{checked}&Modality=CT") == set()
        assert found(f"{checked}&limit=1") < found(checked)
        one = sorted(of_seg)[0]
        assert found(f"ReferencedSOPInstanceUID={seg}&SOPInstanceUID={one}") == {one}
        (row,) = client.get(
            f"/dicom-web/instances?ReferencedSOPInstanceUID={seg}&SOPInstanceUID={one}&includefield=ReferencedSOPSequence"
        ).json()
        assert seg in {item["00081155"]["Value"][0] for item in row["00081199"]["Value"]}
        assert client.get("/dicom-web/series?ReferencedSOPInstanceUID=1.2").status_code == 400
        assert client.get("/dicom-web/instances?ContentSequence.PatientID=1").status_code == 400


def examples(page: str, heading: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8").partition(heading)[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_examples_of_the_documentation_work(server: Server, study: Study) -> None:
    (shell,) = examples("conformance.md", "## Findings by DICOMweb", "sh")
    commands = shell.replace("http://127.0.0.1:8080", server.url).replace("$SEG", str(study.seg.SOPInstanceUID))
    counts = []
    for command in commands.strip().splitlines():
        assert program("curl")
        done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=60, check=True)
        counts.append(len(requests.models.complexjson.loads(done.stdout)))
    assert all(counts), counts
    (source,) = examples("conformance.md", "## Findings by DICOMweb", "python")
    names: dict[str, list] = {}
    exec(source.replace("http://127.0.0.1:8080", server.url), names)
    documents = names["documents"]
    assert len(documents) == counts[1]
    assert all("00081199" in one for one in documents)
    (rows,) = examples("findings.md", "# Findings as rows", "sh")
    for url in re.findall(r'curl -s "([^"]+)"', rows):
        assert requests.get(url.replace("http://127.0.0.1:8080", server.url), timeout=60).status_code == 200
