"""F07: the archive answers 503 twice, then takes the object; each attempt must carry all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from segqa_dicom.archive import Outcome
from tests.archive.objects import outgoing
from tests.archive.web import archive, sr
from tests.servers.orthanc import Orthanc
from tests.servers.proxy import Fault, Proxy, storing

pytestmark = pytest.mark.servers


@pytest.mark.parametrize("forward_first", [False, True], ids=["not stored", "stored all the same"])
def test_every_attempt_has_the_whole_body_and_what_is_stored_is_what_was_sent(
    orthanc: Orthanc, tmp_path: Path, forward_first: bool
) -> None:
    one = outgoing(sr(size=5_000_000), tmp_path / "outbox")
    assert isinstance(one.content, Path)
    with Proxy(orthanc.dicomweb_url) as proxy:
        proxy.script(storing, Fault(answer=(503, b"busy"), forward_first=forward_first), times=2)
        (stored,) = archive(proxy.url).store([one])
        attempts = proxy.requests(storing)
    assert stored.outcome == Outcome.STORED
    assert len(attempts) == 3
    assert {len(attempt.body) for attempt in attempts} == {attempts[0].content_length}
    assert all(one.content.read_bytes() in attempt.body for attempt in attempts)
    assert orthanc.count() == 1
    (path,) = archive(orthanc).fetch([one.instance], tmp_path / "back").values()
    assert path.read_bytes() == one.content.read_bytes()
