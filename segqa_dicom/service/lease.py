"""Holding on to a case while it is worked on."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import TracebackType

from segqa_dicom import log
from segqa_dicom.errors import PeerError
from segqa_dicom.ledger import Claim, Ledger


class LeaseLost(Exception):
    """Somebody else has the case now; whatever was made of it is to be thrown away."""


class Lease:
    """Renews the lease on a case from a thread of its own for as long as the context lasts.

    lease_s : it is renewed three times in that time
    time_limit_s : a case that takes longer ends this process by SIGKILL, because no other way stops a decoder that
        hangs; the attempt is counted, and whoever looks after the process starts another one
    """

    def __init__(
        self,
        ledger: Ledger,
        claim: Claim,
        *,
        lease_s: float,
        time_limit_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger, self._claim, self._lease_s, self._clock = ledger, claim, lease_s, clock
        self._kill_at = time.monotonic() + time_limit_s
        self._ended, self._lost = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def check(self, *_step: object) -> None:
        """Raise `LeaseLost` if the case is somebody else's; takes what `Progress` takes, to be called at each step."""
        if self._lost.is_set():
            raise LeaseLost

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(timeout=5)

    def _renew(self) -> None:
        while not self._ended.wait(self._lease_s / 3):
            if time.monotonic() > self._kill_at:
                log.event("time limit", case=self._claim.case_id)
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                held = self._ledger.renew(
                    self._claim.case_id, self._claim.token, now=self._clock(), lease_s=self._lease_s
                )
            except PeerError:
                continue  # the ledger may be back before the lease is over; the token decides in the end
            if not held:
                self._lost.set()
                return
