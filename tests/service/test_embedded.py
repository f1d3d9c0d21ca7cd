"""``segqa serve`` with nothing else: objects in by C-STORE, documents in the archive."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import requests

from segqa_dicom.sr import is_own_sr
from tests.command import segqa
from tests.servers.service import Serve, send, uids
from tests.service.cases import small_case
from tests.shared import shared

pytestmark = pytest.mark.servers


def test_what_is_sent_is_reviewed_and_sending_it_again_adds_nothing(tmp_path: Path) -> None:
    case = small_case(tmp_path / "case")
    with Serve(tmp_path / "service") as service:
        assert send(service.dicom_port, case) == 0
        service.wait_for_cases(1)
        documents = service.documents()
        assert all(is_own_sr(one) for one in documents)
        assert {one.SeriesDescription.partition(":")[0] for one in documents} == {
            "Report",
            "Comparison",
            "Key images",
        }
        assert send(service.dicom_port, case) == 0
        service.wait_for_cases(1)
        assert uids(service.documents()) == uids(documents)
        status = json.loads(service.segqa("status", "--json").stdout)
        assert (status["cases"]["confirmed"], status["inbox"], status["outbox"]) == (1, 0, 0)
        assert requests.get(f"{service.url}/healthz", timeout=10).json()["status"] == "ok"
        assert service.stop(signal.SIGINT) == 0
    reviewed = segqa("review", case, "--out", tmp_path / "out", "--quiet")
    assert reviewed.code == 0
    assert {path.stem.partition("_")[2] for path in (tmp_path / "out").iterdir()} == set(uids(documents))


def test_the_real_case_is_reviewed_like_by_hand(tmp_path: Path) -> None:
    case = shared("data", "case_A")
    with Serve(tmp_path / "service", workers=2) as service:
        assert send(service.dicom_port, case) == 0
        service.wait_for_cases(1)
        documents = service.documents()
    reviewed = segqa("review", case, "--out", tmp_path / "out", "--quiet")
    assert reviewed.code == 0
    assert {path.stem.partition("_")[2] for path in (tmp_path / "out").iterdir()} == set(uids(documents))


def test_a_port_that_is_taken_is_told_and_nothing_is_left_running(tmp_path: Path) -> None:
    with Serve(tmp_path / "service", workers=0) as service:
        taken = service.dicom_port
        second = segqa("serve", "--archive", tmp_path / "b", "--dicom-port", str(taken), "--http-port", "0")
        assert second.code == 2
        assert f"cannot listen on 127.0.0.1:{taken}" in second.err
