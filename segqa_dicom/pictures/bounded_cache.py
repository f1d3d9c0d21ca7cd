"""A least-recently-used cache bounded by bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

_Kept = TypeVar("_Kept")


class RecentlyUsed(Generic[_Kept]):
    """A thread-safe least-recently-used cache.

    max_bytes : of all values; larger values are not kept
    size_of : bytes of a value
    """

    def __init__(self, max_bytes: int, size_of: Callable[[_Kept], int]) -> None:
        self._max_bytes, self._size_of = max_bytes, size_of
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._lock = Lock()
        self._held_bytes = 0

    @property
    def held_bytes(self) -> int:
        """Bytes of all values."""
        return self._held_bytes

    def get(self, key: Hashable, make: Callable[[], _Kept]) -> _Kept:
        """The value of a key, made if it is missing; two threads may make it at the same time."""
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
