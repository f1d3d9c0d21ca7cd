"""F09: the connection is cut, after the object went out or while it comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from segqa_dicom.archive import Outcome
from segqa_dicom.errors import PeerUnavailable
from tests.archive.objects import ct, instance, outgoing
from tests.archive.web import archive, series, sr
from tests.servers.orthanc import Orthanc
from tests.servers.proxy import Exchange, Fault, Proxy, storing

pytestmark = pytest.mark.servers


def of_series(one: Exchange) -> bool:
    return one.method == "GET" and "/series/" in one.path and "/instances" not in one.path


def of_instance(one: Exchange) -> bool:
    return one.method == "GET" and "/instances/" in one.path


@pytest.mark.parametrize("forward_first", [True, False], ids=["after it was stored", "before"])
def test_connection_cut_after_the_object_leads_to_one_object(orthanc: Orthanc, forward_first: bool) -> None:
    objects = [outgoing(sr()), *series(3)]
    with Proxy(orthanc.dicomweb_url) as proxy:
        proxy.script(storing, Fault(cut=True, forward_first=forward_first), times=2)
        outcomes = archive(proxy.url).store(objects)
    assert {one.outcome for one in outcomes} == {Outcome.STORED}
    assert orthanc.count() == 4


def test_connection_that_is_always_cut_leaves_the_fate_unknown(orthanc: Orthanc) -> None:
    one = outgoing(sr())
    with Proxy(orthanc.dicomweb_url) as proxy:
        proxy.script(storing, Fault(cut=True, forward_first=True))
        with pytest.raises(PeerUnavailable):
            archive(proxy.url).store([one])
    assert archive(orthanc).store([one])[0].outcome == Outcome.ALREADY_THERE
    assert orthanc.count() == 1


@pytest.mark.parametrize("cut_at", [0, 10, 400, 5000, 9000])
def test_answer_that_is_cut_gives_whole_files_only(orthanc: Orthanc, tmp_path: Path, cut_at: int) -> None:
    objects = {one.instance.sop_instance_uid: one for one in series(12)}
    archive(orthanc).store(list(objects.values()))
    with Proxy(orthanc.dicomweb_url) as proxy:
        proxy.script(of_series, Fault(cut_answer_at=cut_at))
        proxy.script(of_instance, Fault(cut_answer_at=cut_at), times=2)
        files = archive(proxy.url).fetch([one.instance for one in objects.values()], tmp_path / "files")
    assert {uid: path.read_bytes() for uid, path in files.items()} == {uid: one.content for uid, one in objects.items()}
    assert len(list((tmp_path / "files").iterdir())) == 12


def test_answer_that_is_always_cut_is_unavailable_and_leaves_nothing(orthanc: Orthanc, tmp_path: Path) -> None:
    archive(orthanc).store([outgoing(ct())])
    with Proxy(orthanc.dicomweb_url) as proxy:
        proxy.script(of_instance, Fault(cut_answer_at=300))
        with pytest.raises(PeerUnavailable):
            archive(proxy.url).fetch([instance(ct())], tmp_path)
    assert list(tmp_path.glob("*.dcm")) == list(tmp_path.glob("*.part")) == []


def test_multipart_without_its_end_is_unavailable(orthanc: Orthanc, tmp_path: Path) -> None:
    archive(orthanc).store([outgoing(ct())])
    with Proxy(orthanc.dicomweb_url) as proxy:
        proxy.script(of_instance, Fault(change_answer=lambda body: body[:-20]))
        with pytest.raises(PeerUnavailable, match="ends before"):
            archive(proxy.url).fetch([instance(ct())], tmp_path)
