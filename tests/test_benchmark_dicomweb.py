"""The benchmark of DICOMweb at a tiny size: that it runs, and both answer the same. No time is asserted."""

from __future__ import annotations

import pytest

from benchmarks import dicomweb
from tests.servers.orthanc import dicomweb_plugin
from tests.servers.process import program

pytestmark = pytest.mark.servers


def test_our_dicomweb_and_orthancs_are_asked_the_same() -> None:
    program("Orthanc", "/usr/sbin/Orthanc")
    dicomweb_plugin()
    found = dicomweb.limits(dicomweb.TINY, repeat=1, say=lambda _: None)
    assert len(found) == len(dicomweb.questions(dicomweb.TINY))
    assert all(limit.value is not None and limit.bound is not None for limit in found)
    assert not [limit.note for limit in found if "rows" in limit.note]
