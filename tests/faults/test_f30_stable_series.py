"""F30: Orthanc's StableSeries events never come (it crashed), or come more than once, or there is no list of changes at all.

Pass: the documents are those of F15, namely what ``segqa review`` writes, and there is one case.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from segqa_dicom.archive.feed import OrthancFeed, QidoFeed, feed_for
from tests.faults.arriving import Pieces
from tests.servers.orthanc import Orthanc
from tests.servers.process import wait_until
from tests.servers.service import Serve, documents_at, send, uids

pytestmark = pytest.mark.servers

NEVER = {"StableAge": 100_000}
BEHIND_A_PROXY = {"DicomWeb": {"Enable": True, "Root": "/pacs/dicom-web/"}}
"""As behind a proxy that lets only DICOMweb through: above it there is no REST interface of Orthanc."""


def stable_events(orthanc: Orthanc) -> Counter[str]:
    changes = orthanc.get("/changes?since=0&limit=100000")["Changes"]
    return Counter(one["ID"] for one in changes if one["ChangeType"] == "StableSeries")


def crashes(orthanc: Orthanc) -> None:
    orthanc.kill()
    orthanc.start()


def becomes_stable(orthanc: Orthanc) -> None:
    wait_until(lambda: stable_events(orthanc), 60, "StableSeries of the first part")


def goes_on(_orthanc: Orthanc) -> None:
    pass


@pytest.mark.parametrize(
    ("settings", "in_between", "least", "most"),
    [
        pytest.param(NEVER, crashes, 0, 0, id="absent"),
        pytest.param({"StableAge": 1}, becomes_stable, 2, 9, id="duplicated"),
        pytest.param(NEVER | BEHIND_A_PROXY, goes_on, 0, 0, id="no list of changes"),
    ],
)
def test_hints_of_the_archive_decide_nothing(
    tmp_path: Path, settings: dict[str, object], in_between: Callable[[Orthanc], None], least: int, most: int
) -> None:
    pieces = Pieces(tmp_path / "case")
    with Orthanc(tmp_path / "orthanc", settings=settings) as orthanc:
        root = f"{orthanc.url}/pacs/dicom-web" if "DicomWeb" in settings else orthanc.dicomweb_url
        assert isinstance(feed_for(root), QidoFeed if "DicomWeb" in settings else OrthancFeed)
        with Serve(tmp_path / "service", archive=root, settings={"SEGQA_DEBOUNCE_S": "3"}) as service:
            assert send(orthanc.dicom_port, *pieces.ct[::2], pieces.segs[0], aet=orthanc.ae_title) == 0
            in_between(orthanc)
            assert send(orthanc.dicom_port, *pieces.ct[1::2], pieces.segs[1], aet=orthanc.ae_title) == 0
            wait_until(lambda: service.cases(), 60, "a case")
            service.wait_for_cases(1)
            expected = pieces.reviewed()
            assert uids(documents_at(root)) == expected
            if most:
                wait_until(lambda: max(stable_events(orthanc).values()) >= least, 60, "StableSeries of the rest")
            assert max(stable_events(orthanc).values(), default=0) in range(least, most + 1)
            service.wait_for_cases(1)
            (case,) = service.cases()
            assert (case.revision, case.missing) == (1, {})
            assert uids(documents_at(root)) == expected
