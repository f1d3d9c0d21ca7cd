"""The service keeps the index: what is stored in the archive is found without anybody asking for it."""

from __future__ import annotations

from pathlib import Path

from segqa_dicom.config import ServiceSettings
from segqa_dicom.findings import FILE_NAME, FindingsIndex
from segqa_dicom.service import Setup
from segqa_dicom.service.coordinator import Coordinator
from tests.findings import byhand
from tests.findings.conftest import Study
from tests.findings.making import outgoing
from tests.servers.process import wait_until


def test_documents_are_indexed_as_they_come(tmp_path: Path, study: Study) -> None:
    setup = Setup.from_settings(ServiceSettings(poll_s=0.01), archive=str(tmp_path / "archive"))
    setup.make_folders()
    with setup.open_ledger() as ledger:
        ledger.migrate()
    coordinator, archive = Coordinator(setup), setup.open_archive()
    index = FindingsIndex(setup.data / FILE_NAME)
    for some in (study.files[:3], study.files):
        archive.store([outgoing(file) for file in some])
        expected = {byhand.uid(file) for file in some}

        def is_indexed(expected: set[str] = expected) -> bool:
            coordinator.run_once()
            return index.documents() == expected

        wait_until(is_indexed, what="all documents are indexed")
