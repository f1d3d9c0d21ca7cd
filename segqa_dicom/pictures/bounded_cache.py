"""Things kept in memory up to a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

_Kept = TypeVar("_Kept")


class RecentlyUsed(Generic[_Kept]):
    """What was used last, of all that was made; for any number of threads.

    max_bytes : what was used longest ago is dropped beyond that
    size_of : bytes of a thing; larger ones than `max_bytes` are not kept at all
    """

    def __init__(self, max_bytes: int, size_of: Callable[[_Kept], int]) -> None:
        self._max_bytes, self._size_of = max_bytes, size_of
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._lock = Lock()
        self._held_bytes = 0

    @property
    def held_bytes(self) -> int:
        """Bytes of all that is kept."""
        return self._held_bytes

    def get(self, key: Hashable, make: Callable[[], _Kept]) -> _Kept:
        """What is kept under a key; else it is made, which two threads may do at the same time."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        size = self._size_of(made)
        with self._lock:
            if key not in self._kept and size <= self._max_bytes:
                self._kept[key] = made
                self._held_bytes += size
            while self._held_bytes > self._max_bytes:
                _, dropped = self._kept.popitem(last=False)
                self._held_bytes -= self._size_of(dropped)
        return made
