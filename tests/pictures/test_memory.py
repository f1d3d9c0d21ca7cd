"""What was used last is kept, as far as there is room."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from segqa_dicom.pictures.bounded_cache import RecentlyUsed


def made(number: int) -> bytes:
    return bytes(number)


def must_not_be_made() -> bytes:
    pytest.fail("it is kept")


def test_what_was_used_longest_ago_is_dropped() -> None:
    kept = RecentlyUsed(100, len)
    for key in ("a", "b"):
        kept.get(key, lambda: made(40))
    kept.get("a", must_not_be_made)
    kept.get("c", lambda: made(40))
    assert kept.held_bytes == 80
    kept.get("a", must_not_be_made)
    kept.get("c", must_not_be_made)
    assert kept.get("b", lambda: made(7)) == made(7)


def test_what_is_larger_than_the_room_is_made_each_time_and_drops_nothing() -> None:
    kept = RecentlyUsed(100, len)
    kept.get("a", lambda: made(60))
    assert kept.get("large", lambda: made(101)) == made(101)
    assert kept.get("large", lambda: made(102)) == made(102)
    kept.get("a", must_not_be_made)
    assert kept.held_bytes == 60


def test_many_threads_do_not_exceed_the_room() -> None:
    kept = RecentlyUsed(1000, len)
    with ThreadPoolExecutor(8) as threads:
        sizes = list(threads.map(lambda n: len(kept.get(n % 30, lambda: made(n % 30 + 50))), range(3000)))
    assert sizes == [n % 30 + 50 for n in range(3000)]
    assert 0 < kept.held_bytes <= 1000


def test_errors_are_not_kept() -> None:
    kept = RecentlyUsed(100, len)

    def fail() -> bytes:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        kept.get("a", fail)
    assert kept.get("a", lambda: made(3)) == made(3)
