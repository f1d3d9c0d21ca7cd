"""Cases that are open: as many as fit into memory, each fetched and read once, whoever asks for it."""

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
"""No case takes so long to read; a folder that is older was left by a process that died."""
_LOADS_AT_ONCE = 2

_Key = tuple[str, str]
_Step = tuple[str, int, int]


class Closed(SegQaError):
    """The process is about to end, and opens nothing any more."""


class _NoRoom(SegQaError):
    """A case that nobody waits for would take the place of one that somebody looks at."""


@dataclass(eq=False)
class _Load:
    """A case on its way into memory.

    also : segmentations that it is to have, wherever they are
    is_wanted : somebody waits for it; else it is loaded in advance
    is_looked_at : somebody who waits will look at it, and not only take something from it
    reserved_bytes : of arrays that are being made
    """

    also: frozenset[str]
    is_wanted: bool
    is_looked_at: bool
    step: _Step = ("waiting", 0, 1)
    reserved_bytes: int = 0
    future: Future[OpenCase] = field(default_factory=Future)


class OpenCases:
    """Cases in memory, by the Study and Series Instance UIDs of their CT; for any number of threads.

    folder : for files while they are read; empty again after each case
    max_bytes : of all arrays together, those that are being read included. The case that was used last stays even if
        it alone is larger; no thread loses a case that it works with. Pictures that were drawn are kept beside them.
    """

    def __init__(self, archive: Archive, *, folder: Path, limits: Limits, max_bytes: int) -> None:
        self._fetcher = Fetcher(archive, limits)
        self._folder, self._max_bytes = folder, max_bytes
        self._lock = Lock()
        self._cases: OrderedDict[_Key, OpenCase] = OrderedDict()
        # Put out, but still in somebody's hands: as long as that is so they take room, and can be had again.
        self._put_out: WeakValueDictionary[_Key, OpenCase] = WeakValueDictionary()
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
        """The case of a CT series, fetched and read if it is not open; whoever asks meanwhile waits for the same.

        must_have : SOP Instance UID of a segmentation that may have come after the case was read: then it is read anew
        in_passing : only something small is taken from it; it does not put out the case that somebody looked at last
        Raises `NothingToShow` or another `InputError` if the case cannot be read or `must_have` is not there, and
        `PeerError` if the archive fails. All who waited get the error; the next one tries again.
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
                    load.is_wanted, load.is_looked_at = True, load.is_looked_at or not in_passing
                elif is_checked or must_have is None:
                    load = self._begin(key, must_have, is_wanted=True, is_looked_at=not in_passing)
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
        """What is being done to open a case: the step, how many parts of it are done, and of how many; else None."""
        load = self._loads.get((study, ct_series))
        return None if load is None else load.step

    def preload(self, study: str, ct_series: str) -> None:
        """Open a case in the background, if there is room for it beside the one used last; returns at once.

        Only the last one asked for is loaded; what goes wrong is logged, and found again by who opens the case.
        """
        key = study, ct_series
        with self._lock:
            if self._is_closed or key in self._cases or key in self._loads:
                return
            self._next = key
            self._background.submit(self._preload, key)

    def forget(self, study: str, ct_series: str) -> None:
        """Read a case anew when it is opened next."""
        with self._lock:
            self._cases.pop((study, ct_series), None)
            self._put_out.pop((study, ct_series), None)
            self._elsewhere.pop((study, ct_series), None)

    def close(self) -> None:
        """Stop loading and let go of all cases; whoever waits gets `Closed`."""
        with self._lock:
            self._is_closed = True
        self._background.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            self._cases.clear()

    @property
    def held_bytes(self) -> int:
        """Bytes of the arrays of all cases that are in memory or being read."""
        with self._lock:
            return self._held()

    # Loading

    def _begin(self, key: _Key, must_have: str | None, *, is_wanted: bool, is_looked_at: bool) -> _Load:
        """With the lock held."""
        if self._is_closed:
            raise Closed("the service is about to end")
        if not self._is_compiling:  # while files are fetched; else the first picture would wait for it
            self._is_compiling = True
            self._background.submit(compile_kernels)
        if must_have is not None:
            self._elsewhere[key] = self._elsewhere.get(key, frozenset()) | {must_have}
        load = self._loads[key] = _Load(self._elsewhere.get(key, frozenset()), is_wanted, is_looked_at)
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
            found = OpenCase(fetched.case, left_out=fetched.left_out)
            del fetched
        except BaseException as error:
            with self._lock:
                self._loads.pop(key, None)
            load.future.set_exception(error)
            raise
        with self._lock:
            self._loads.pop(key, None)
            if not self._is_closed:
                self._keep(key, found, is_looked_at=load.is_looked_at)
        load.future.set_result(found)
        return found

    def _preload(self, key: _Key) -> None:
        with self._lock:
            if self._next != key or self._is_closed or self._found(key) is not None or key in self._loads:
                return
            load = self._begin(key, None, is_wanted=False, is_looked_at=False)
        try:
            self._run(key, load)
        except (_NoRoom, Closed):
            return
        except Exception as error:  # noqa: BLE001 - whoever opens the case is told; nobody waits here
            log.event("preload", ct_series=log.hashed(key[1]), error=type(error).__name__)

    def _reporter(self, load: _Load) -> Callable[[str, int, int], None]:
        def report(step: str, done: int, total: int) -> None:
            if self._is_closed:
                raise Closed("the service is about to end")
            load.step = step, done, total

        return report

    def _reserver(self, key: _Key, load: _Load) -> Callable[[int], None]:
        def reserve(size: int) -> None:
            with self._lock:
                if not load.is_wanted and not self._has_room_beside_the_last(size):
                    self._loads.pop(key, None)  # whoever asks from now on begins anew
                    raise _NoRoom
                load.reserved_bytes = size
                self._make_room(keep=None if load.is_looked_at else self._last())

        return reserve

    # Room; all with the lock held

    def _found(self, key: _Key) -> OpenCase | None:
        return self._cases.get(key) or self._put_out.get(key)

    def _use(self, key: _Key, found: OpenCase) -> None:
        self._cases[key] = found
        self._cases.move_to_end(key)
        self._put_out.pop(key, None)
        self._make_room(keep=key)

    def _keep(self, key: _Key, found: OpenCase, *, is_looked_at: bool) -> None:
        """A case that nobody looks at yet is not the one used last."""
        old, last = self._cases.pop(key, None), self._last()
        if old is not None:
            self._put_out.pop(key, None)
        self._cases[key] = found
        if not is_looked_at and last is not None:
            self._cases.move_to_end(last)
        self._make_room(keep=key if is_looked_at else last)

    def _last(self) -> _Key | None:
        return next(reversed(self._cases), None)

    def _held(self) -> int:
        cases = {one.serial: one.size_bytes for one in (*self._cases.values(), *self._put_out.values())}
        return sum(cases.values()) + sum(load.reserved_bytes for load in self._loads.values())

    def _has_room_beside_the_last(self, size: int) -> bool:
        last = self._last()
        beside = 0 if last is None else self._cases[last].size_bytes
        return beside + size + sum(load.reserved_bytes for load in self._loads.values()) <= self._max_bytes

    def _make_room(self, *, keep: _Key | None) -> None:
        """Put out what was used longest ago, until the rest fits."""
        for key in list(self._cases):
            if self._held() <= self._max_bytes:
                return
            if key != keep:
                self._put_out[key] = self._cases.pop(key)


def _remove_leftovers(folder: Path) -> None:
    for path in folder.glob(f"{_PREFIX}*"):
        try:
            is_old = time.time() - path.stat().st_mtime > _LEFTOVER_S
        except OSError:
            continue  # another process was quicker
        if is_old:
            shutil.rmtree(path, ignore_errors=True)
