"""The benchmark of the intake at a tiny size: that it runs. No time is asserted."""

from __future__ import annotations

import pytest

from benchmarks import intake
from tests.servers.process import program

pytestmark = pytest.mark.servers


def test_the_node_and_storescp_get_everything_that_is_sent() -> None:
    for name in ("storescu", "storescp"):
        program(name)
    found = intake.limits(intake.TINY, repeat=1, say=lambda _: None)
    assert [limit.unit for limit in found] == ["instances/s", "x", "MB/s", "x", "MB"]
    assert all(limit.value is not None for limit in found)
