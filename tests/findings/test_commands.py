"""`segqa findings` and `segqa reindex` as a user calls them, over our documents of a phantom and of a real case."""

from __future__ import annotations

import csv
import io
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from pyarrow import parquet

from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.findings import read_document, reindex
from segqa_dicom.findings.filters import Filters
from segqa_dicom.findings.index import FindingsIndex
from segqa_dicom.findings.listing import COLUMNS, find
from tests.command import segqa
from tests.findings import byhand
from tests.findings.conftest import Study
from tests.findings.making import our_documents, outgoing, renewed
from tests.shared import shared

pytestmark = pytest.mark.servers


@pytest.fixture
def archive(tmp_path: Path, study: Study) -> Path:
    folder = tmp_path / "archive"
    with closing(FolderArchive(folder)) as found:
        found.store([outgoing(file) for file in study.files])
    return folder


def test_an_archive_is_indexed_and_asked(archive: Path, study: Study, tmp_path: Path) -> None:
    assert segqa("findings", "--archive", archive).code == 2
    done = segqa("reindex", "--archive", archive, "--json")
    assert (done.code, done.json["added"], done.json["refused"]) == (0, len(study.files), 0)
    expected = Counter(check[:4] for file in study.ours for check in byhand.checks(file))
    as_json = segqa("findings", "--archive", archive, "--json", "--kind", "check").json
    assert as_json["total"] == len(as_json["findings"]) == sum(expected.values())
    rows = as_json["findings"]
    assert Counter((one["document"], one["segment_number"], one["rule"], one["outcome"]) for one in rows) == expected
    failed = segqa(
        "findings", "--archive", archive, "--outcome", "FAIL", "--csv", "-", "--parquet", tmp_path / "f.parquet"
    )
    assert failed.code == 0
    lines = list(csv.DictReader(io.StringIO(failed.out)))
    table = parquet.read_table(tmp_path / "f.parquet")
    assert tuple(table.column_names) == COLUMNS
    assert table["document"].to_pylist() == [line["document"] for line in lines]
    assert len(lines) == sum(n for key, n in expected.items() if key[3] == "FAIL")
    shown = segqa("findings", "--archive", archive, "--outcome", "FAIL", "--limit", "3")
    assert f"3 of {len(lines)} findings" in shown.out


def test_a_document_that_cannot_be_read_is_named(archive: Path, study: Study) -> None:
    from tests.findings.test_feed import nested

    with closing(FolderArchive(archive)) as found:
        found.store([outgoing(renewed(nested(study.others["OHIF"], 100, is_open=False), "1.2.3.4"))])
    done = segqa("reindex", "--archive", archive)
    assert done.code == 1
    assert "1.2.3.4: document is nested deeper" in done.err


@pytest.mark.parametrize("option", [("--outcome", "MAYBE"), ("--date", "x"), ("--seg", "x"), ("--limit", "0")])
def test_wrong_filters_end_with_2(archive: Path, option: tuple[str, str]) -> None:
    FindingsIndex(archive / "findings.sqlite3").set_cursor("x", "1")
    assert segqa("findings", "--archive", archive, *option).code == 2


def test_an_archive_that_does_not_answer_ends_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGQA_DATA", str(tmp_path))
    assert segqa("reindex", "--archive", "http://127.0.0.1:9/dicom-web").code == 1


@pytest.mark.shared
def test_findings_of_a_real_case_are_those_of_its_documents(tmp_path: Path) -> None:
    files = [document.file for document in our_documents(shared("data", "case_A"))]
    with closing(FolderArchive(tmp_path / "archive")) as archive:
        archive.store([outgoing(file) for file in files])
        index = FindingsIndex(tmp_path / "findings.sqlite3")
        assert reindex(index, archive).added == len(files)
    found = find(index, Filters(), limit=1_000_000).rows
    expected = Counter(check for file in files for check in byhand.checks(file))
    assert Counter((one.document, one.segment_number, one.rule, one.outcome, one.detail) for one in found) == expected
    groups = [group for file in files for group in read_document(file).groups]
    assert index.size().groups == len(groups)
