"""The service as it is deployed: Orthanc, Redis, PostgreSQL and Celery workers, all real, on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers.deployment import Deployment
from tests.servers.postgres import PostgresCluster
from tests.servers.service import documents_at, send, uids
from tests.service.cases import small_case

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("through", ["orthanc", "segqa"])
def test_what_is_sent_to_either_port_is_reviewed_once(tmp_path: Path, postgres: PostgresCluster, through: str) -> None:
    case = small_case(tmp_path / "case")
    with (
        postgres.database() as ledger,
        Deployment(tmp_path / "deployment", ledger=ledger, workers=2) as deployment,
    ):
        ports = {"orthanc": (deployment.orthanc.dicom_port, "ORTHANC"), "segqa": (deployment.serve.dicom_port, "SEGQA")}
        port, aet = ports.pop(through)
        assert send(port, case, aet=aet) == 0
        deployment.serve.wait_for_cases(1)
        documents = documents_at(deployment.orthanc.dicomweb_url)
        assert len(documents) >= 3
        ((other_port, other_aet),) = ports.values()
        assert send(other_port, case, aet=other_aet) == 0
        deployment.serve.wait_for_cases(1)
        assert uids(documents_at(deployment.orthanc.dicomweb_url)) == uids(documents)
        with deployment.serve.ledger() as ledger:
            assert ledger.conflicts_in([one.StudyInstanceUID for one in documents]) == []
