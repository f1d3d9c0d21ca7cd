"""F03: Redis is killed and comes back empty, or is emptied in the middle, while several cases wait in it.

All are finished by what the ledger sends again in its sweeps; nothing is computed or stored twice.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from segqa_dicom.ledger import CaseState
from segqa_dicom.service.broker import ASSESS_QUEUE
from tests.faults.celery_service import CeleryService
from tests.servers.process import wait_until
from tests.servers.service import send
from tests.service.cases import TINY, copies, small_case

pytestmark = pytest.mark.servers

CASES = 6


@pytest.mark.parametrize("is_killed", [True, False], ids=["killed and wiped", "flushed"])
def test_f03_what_redis_forgets_is_sent_again(tmp_path: Path, *, is_killed: bool) -> None:
    studies = copies(small_case(tmp_path / "case", TINY), CASES)
    with CeleryService(tmp_path / "service", workers=1, beat=True) as service:
        serve, redis = service.serve, service.redis
        assert send(serve.dicom_port, *studies) == 0
        with redis.client() as client:
            wait_until(lambda: client.llen(ASSESS_QUEUE) >= CASES // 2, 60, "messages wait", every_s=0.01)
            wait_until(lambda: serve.cases(CaseState.RUNNING, CaseState.CONFIRMED), 60, "the work has begun")
            if is_killed:
                redis.wipe()
                redis.start()
            else:
                client.flushall()
        assert len(serve.cases(CaseState.CONFIRMED)) < CASES
        serve.wait_for_cases(CASES)
        assert [case.attempt for case in serve.cases()] == [1] * CASES
        documents = serve.documents()
        assert service.beat is not None
        assert service.beat.is_running
        assert all(worker.process.is_running for worker in service.workers)
    counts = Counter(str(one.StudyInstanceUID) for one in documents)
    assert len(counts) == CASES
    assert len(set(counts.values())) == 1
    assert len({one.SOPInstanceUID for one in documents}) == len(documents)
