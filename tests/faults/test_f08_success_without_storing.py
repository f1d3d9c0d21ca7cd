"""F08: the archive answers 200, and has stored nothing."""

from __future__ import annotations

import json

import pytest

from segqa_dicom.archive import Outcome, Outgoing
from segqa_dicom.archive.dicomweb import ROUNDS
from segqa_dicom.errors import PeerUnavailable
from tests.archive.objects import ct, outgoing
from tests.archive.web import archive, sr
from tests.servers.orthanc import Orthanc
from tests.servers.proxy import Fault, Proxy, storing

pytestmark = pytest.mark.servers

OBJECTS = [pytest.param(outgoing(sr()), id="SR"), pytest.param(outgoing(ct()), id="CT")]


def claims(one: Outgoing) -> bytes:
    item = {"00081155": {"vr": "UI", "Value": [one.instance.sop_instance_uid]}}
    return json.dumps({"00081199": {"vr": "SQ", "Value": [item]}}).encode()


@pytest.mark.parametrize("says_so", [True, False], ids=["names the object", "says nothing"])
@pytest.mark.parametrize("one", OBJECTS)
def test_object_that_was_not_stored_is_noticed_and_sent_again(orthanc: Orthanc, one: Outgoing, says_so: bool) -> None:
    with Proxy(orthanc.dicomweb_url) as proxy:
        proxy.script(storing, Fault(answer=(200, claims(one) if says_so else b"")), times=2)
        (stored,) = archive(proxy.url).store([one])
        assert len(proxy.requests(storing)) == 3
    assert stored.outcome == Outcome.STORED
    assert orthanc.count() == 1


@pytest.mark.parametrize("one", OBJECTS)
def test_archive_that_never_stores_is_unavailable_after_some_rounds(orthanc: Orthanc, one: Outgoing) -> None:
    with Proxy(orthanc.dicomweb_url) as proxy:
        proxy.script(storing, Fault(answer=(200, claims(one))))
        with pytest.raises(PeerUnavailable, match=one.instance.sop_instance_uid):
            archive(proxy.url).store([one])
        assert len(proxy.requests(storing)) == ROUNDS
    assert orthanc.count() == 0
