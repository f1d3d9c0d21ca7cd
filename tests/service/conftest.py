"""A bench for the parts of the coordinator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """An empty one."""
    made = Bench(tmp_path / "bench")
    yield made
    made.close()
