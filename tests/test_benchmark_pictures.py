"""The benchmark of pictures at a tiny size: that it runs. No time is asserted."""

from __future__ import annotations

import pytest

from benchmarks import pictures


@pytest.mark.servers
@pytest.mark.slow
def test_pictures_are_drawn_beside_those_of_peers() -> None:
    found = pictures.limits(pictures.TINY, real=None, say=lambda _: None)
    titles = [limit.title for limit in found]
    assert all(limit.value is not None for limit in found)
    assert len(set(titles)) == len(titles)
    assert "phantom, 6 models, sagittal plane" in titles
    assert any("memory" in title for title in titles)
