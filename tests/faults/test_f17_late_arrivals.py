"""F17: an image of the CT, and then another segmentation, come after the report.

Pass: each time a new revision, whose documents name those that they replace; the old ones stay as they are, byte for
byte; reviewing the newest revision again adds nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from segqa_dicom.ledger import CaseState
from segqa_dicom.phantoms import torso, write_ct, write_seg
from segqa_dicom.phantoms.demo import model_a, model_b
from tests.faults.arriving import current, kept_files, kind, of_kind, predecessors, wait_for_revision
from tests.servers.service import Serve, send, uids
from tests.service.cases import TINY

pytestmark = pytest.mark.servers


def test_late_arrivals_make_new_revisions_and_old_documents_stay(tmp_path: Path) -> None:
    phantom = torso(TINY)
    ct = write_ct(phantom, tmp_path / "ct")
    images = sorted((tmp_path / "ct").iterdir())
    first, second = tmp_path / "first.dcm", tmp_path / "second.dcm"
    write_seg(model_a(phantom)[:-1], phantom.structures, ct[:-1], first, model="Model A")
    write_seg(model_b(phantom), phantom.structures, ct, second, model="Model B", series_number=101)

    with Serve(tmp_path / "service") as service:
        assert send(service.dicom_port, *images[:-1], first) == 0
        service.wait_for_cases(1)
        documents = [service.documents()]
        files = kept_files(service)
        for revision, late in ((2, images[-1]), (3, second)):
            assert send(service.dicom_port, late) == 0
            wait_for_revision(service, revision)
            documents.append(service.documents())
            assert files.items() <= kept_files(service).items()
            files = kept_files(service)
            before, now = current(documents[-2]), current(documents[-1])
            assert not set(uids(before)) & set(uids(now))
            replaced = {uid for one in now for uid in predecessors(one)}
            assert replaced == set(uids(before))

        kinds = [kind(one) for one in current(documents[-1])]
        assert (kinds.count("report"), kinds.count("compare")) == (2, 1)
        assert len(of_kind(documents[-1], "report")) == 1 + 1 + 2

        (newest,) = service.cases(CaseState.CONFIRMED)
        replayed = service.segqa("replay", newest.case_id, "--json")
        assert json.loads(replayed.stdout)["state"] == "ready"
        service.wait_for_cases(1)
        assert kept_files(service) == files
        assert uids(service.documents()) == uids(documents[-1])
