"""Long lists of UIDs, cut such that a database takes them as parameters of one statement."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

_SIZE = 500


def batches(uids: Iterable[str]) -> Iterator[list[str]]:
    """The UIDs in lists of 500 at most."""
    rest = iter(uids)
    while batch := list(islice(rest, _SIZE)):
        yield batch
