"""A cache of open cases, bounded by memory, in which each case is read once for all threads."""

from __future__ import annotations

import shutil
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import BoundedSemaphore, Lock
from weakref import WeakValueDictionary

from segqa_dicom import log
from segqa_dicom.archive import Archive
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.errors import SegQaError
from segqa_dicom.pictures.errors import NothingToShow
from segqa_dicom.pictures.fetching import Fetcher
from segqa_dicom.pictures.open_case import OpenCase, compile_kernels

_PREFIX = "pictures-"
_LEFTOVER_S = 86_400
"""Age of a temporary folder whose process must have died."""
_LOADS_AT_ONCE = 2

_Key = tuple[str, str]
_Step = tuple[str, int, int]


class Closed(SegQaError):
    """Raised while the process shuts down."""


class _NoRoom(SegQaError):
    """Raised for a preloaded case that would evict the one used last."""


@dataclass(eq=False)
class _Load:
    """A case that is being read.

    also : segmentations to include, whatever their study
    is_wanted : whether a thread waits for it; else it is preloaded
    is_viewed : whether one of these will show it, and not only take a thumbnail
    reserved_bytes : of arrays that are being made
    """

    also: frozenset[str]
    is_wanted: bool
    is_viewed: bool
    step: _Step = ("waiting", 0, 1)
    reserved_bytes: int = 0
    future: Future[OpenCase] = field(default_factory=Future)


class OpenCases:
    """Cases in memory, by Study and Series Instance UID of their CT; thread-safe.

    folder : for temporary files
    max_bytes : of the arrays of all cases, including those being read. The case used last is kept even if it is larger,
        and no thread loses a case that it uses. Cached images are not counted.
    """

    def __init__(self, archive: Archive, *, folder: Path, limits: Limits, max_bytes: int) -> None:
        self._fetcher = Fetcher(archive, limits)
        self._folder, self._max_bytes = folder, max_bytes
        self._lock = Lock()
        self._cases: OrderedDict[_Key, OpenCase] = OrderedDict()
        # Evicted, but still used by a thread: they take memory until then, and can be returned again.
        self._evicted: WeakValueDictionary[_Key, OpenCase] = WeakValueDictionary()
        self._loads: dict[_Key, _Load] = {}
        self._elsewhere: dict[_Key, frozenset[str]] = {}
        self._slots = BoundedSemaphore(_LOADS_AT_ONCE)
        self._background = ThreadPoolExecutor(1, thread_name_prefix="preload")
        self._is_compiling = False
        self._next: _Key | None = None
        self._is_closed = False
        folder.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(folder)

    def open(self, study: str, ct_series: str, *, must_have: str | None = None, in_passing: bool = False) -> OpenCase:
        """The case of a CT series, read if it is not open; concurrent calls wait for the same reading.

        must_have : SOP Instance UID of a segmentation; if it arrived after the case was read, the case is read again
        in_passing : whether the case is used briefly; then it does not evict the one used last
        Raises `NothingToShow` or another `InputError` if the case cannot be read or `must_have` is not archived, and
        `PeerError` if the archive fails. All waiting calls get the error; the next call tries again.
        """
        key = study, ct_series
        is_checked = False
        while True:
            with self._lock:
                found = self._found(key)
                if found is not None and (must_have is None or found.knows(must_have)):
                    if not in_passing:
                        self._use(key, found)
                    return found
                load = self._loads.get(key)
                if load is not None:
                    load.is_wanted, load.is_viewed = True, load.is_viewed or not in_passing
                elif is_checked or must_have is None:
                    load = self._begin(key, must_have, is_wanted=True, is_viewed=not in_passing)
                    break
            if load is not None:
                found = load.future.result()
                if must_have is None or found.knows(must_have):
                    return found
            elif must_have is not None:
                if not self._fetcher.is_there(must_have):
                    raise NothingToShow(f"segmentation {must_have} is not in the archive")
                is_checked = True
        return self._run(key, load)

    def is_open(self, study: str, ct_series: str) -> bool:
        """Whether a case is in memory."""
        with self._lock:
            return (study, ct_series) in self._cases

    def progress(self, study: str, ct_series: str) -> _Step | None:
        """Progress of opening a case: step, parts done, and total; None if it is not being opened."""
        load = self._loads.get((study, ct_series))
        return None if load is None else load.step

    def preload(self, study: str, ct_series: str) -> None:
        """Open a case in the background, if there is room for it beside the one used last; returns at once.

        Only the last requested case is loaded. Errors are logged, and raised again by `open`.
        """
        key = study, ct_series
        with self._lock:
            if self._is_closed or key in self._cases or key in self._loads:
                return
            self._next = key
            self._background.submit(self._preload, key)

    def forget(self, study: str, ct_series: str) -> None:
        """Have a case read again when it is opened next."""
        with self._lock:
            self._cases.pop((study, ct_series), None)
            self._evicted.pop((study, ct_series), None)
            self._elsewhere.pop((study, ct_series), None)

    def close(self) -> None:
        """Stop loading and drop all cases; waiting calls raise `Closed`."""
        with self._lock:
            self._is_closed = True
        self._background.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            self._cases.clear()

    @property
    def held_bytes(self) -> int:
        """Bytes of the arrays of all cases in memory or being read."""
        with self._lock:
            return self._held()

    # Loading

    def _begin(self, key: _Key, must_have: str | None, *, is_wanted: bool, is_viewed: bool) -> _Load:
        """With the lock held."""
        if self._is_closed:
            raise Closed("the service is shutting down")
        if not self._is_compiling:  # while files are fetched, so that the first image does not wait for it
            self._is_compiling = True
            self._background.submit(compile_kernels)
        if must_have is not None:
            self._elsewhere[key] = self._elsewhere.get(key, frozenset()) | {must_have}
        load = self._loads[key] = _Load(self._elsewhere.get(key, frozenset()), is_wanted, is_viewed)
        return load

    def _run(self, key: _Key, load: _Load) -> OpenCase:
        try:
            with self._slots, TemporaryDirectory(dir=self._folder, prefix=_PREFIX) as folder:
                fetched = self._fetcher.fetch(
                    *key,
                    Path(folder),
                    also=load.also,
                    expect=self._reserver(key, load),
                    progress=self._reporter(load),
                )
            found = OpenCase(fetched.case, excluded=fetched.excluded)
            del fetched
        except BaseException as error:
            with self._lock:
                self._loads.pop(key, None)
            load.future.set_exception(error)
            raise
        with self._lock:
            self._loads.pop(key, None)
            if not self._is_closed:
                self._keep(key, found, is_viewed=load.is_viewed)
        load.future.set_result(found)
        return found

    def _preload(self, key: _Key) -> None:
        with self._lock:
            if self._next != key or self._is_closed or self._found(key) is not None or key in self._loads:
                return
            load = self._begin(key, None, is_wanted=False, is_viewed=False)
        try:
            self._run(key, load)
        except (_NoRoom, Closed):
            return
        except Exception as error:  # noqa: BLE001 - `open` raises it again; nobody waits here
            log.event("preload", ct_series=log.hashed(key[1]), error=type(error).__name__)

    def _reporter(self, load: _Load) -> Callable[[str, int, int], None]:
        def report(step: str, done: int, total: int) -> None:
            if self._is_closed:
                raise Closed("the service is shutting down")
            load.step = step, done, total

        return report

    def _reserver(self, key: _Key, load: _Load) -> Callable[[int], None]:
        def reserve(size: int) -> None:
            with self._lock:
                if not load.is_wanted and not self._has_room_beside_the_last(size):
                    self._loads.pop(key, None)  # the next call reads it again
                    raise _NoRoom
                load.reserved_bytes = size
                self._make_room(keep=None if load.is_viewed else self._last())

        return reserve

    # Memory; all with the lock held

    def _found(self, key: _Key) -> OpenCase | None:
        return self._cases.get(key) or self._evicted.get(key)

    def _use(self, key: _Key, found: OpenCase) -> None:
        self._cases[key] = found
        self._cases.move_to_end(key)
        self._evicted.pop(key, None)
        self._make_room(keep=key)

    def _keep(self, key: _Key, found: OpenCase, *, is_viewed: bool) -> None:
        """Keep a case, as the one used last only if it is viewed."""
        old, last = self._cases.pop(key, None), self._last()
        if old is not None:
            self._evicted.pop(key, None)
        self._cases[key] = found
        if not is_viewed and last is not None:
            self._cases.move_to_end(last)
        self._make_room(keep=key if is_viewed else last)

    def _last(self) -> _Key | None:
        return next(reversed(self._cases), None)

    def _held(self) -> int:
        cases = {one.serial: one.size_bytes for one in (*self._cases.values(), *self._evicted.values())}
        return sum(cases.values()) + sum(load.reserved_bytes for load in self._loads.values())

    def _has_room_beside_the_last(self, size: int) -> bool:
        last = self._last()
        beside = 0 if last is None else self._cases[last].size_bytes
        return beside + size + sum(load.reserved_bytes for load in self._loads.values()) <= self._max_bytes

    def _make_room(self, *, keep: _Key | None) -> None:
        """Evict the least recently used cases until the rest fits."""
        for key in list(self._cases):
            if self._held() <= self._max_bytes:
                return
            if key != keep:
                self._evicted[key] = self._cases.pop(key)


def _remove_leftovers(folder: Path) -> None:
    for path in folder.glob(f"{_PREFIX}*"):
        try:
            is_old = time.time() - path.stat().st_mtime > _LEFTOVER_S
        except OSError:
            continue  # removed by another process
        if is_old:
            shutil.rmtree(path, ignore_errors=True)
