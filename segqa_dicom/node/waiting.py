"""What is in the inbox, by UID."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from segqa_dicom.dicom.headers import open_header
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import text
from segqa_dicom.errors import InputError
from segqa_dicom.inbox import Inbox

IsHeld: TypeAlias = Callable[[str, str], bool]
"""Whether we hold an instance, by its SOP Class UID and its SOP Instance UID."""


_SETTLED_NS = 1_000_000_000


class WaitingInstances:
    """Finds instances among the files of the inbox; each file is opened once while it lies there.

    Ask this before the archive: objects go from here to there, and are for a moment in both.
    """

    def __init__(self, inbox: Inbox, limits: Limits | None = None) -> None:
        self._inbox, self._limits = inbox, limits or Limits()
        self._known: dict[str, tuple[str, str] | None] = {}
        self._held: frozenset[tuple[str, str] | None] = frozenset()
        self._stamp_ns = -1
        self._lock = threading.Lock()

    def holds(self, sop_class_uid: str, sop_instance_uid: str) -> bool:
        """Whether an instance waits in the inbox; an `IsHeld`."""
        with self._lock:
            self._look()
            return (sop_class_uid, sop_instance_uid) in self._held

    def _look(self) -> None:
        """List the folder, unless it is as it was; a change of the last moments may not show in its time yet."""
        stamp_ns = self._inbox.folder.stat().st_mtime_ns
        if stamp_ns == self._stamp_ns:
            return
        is_settled = time.time_ns() - stamp_ns > _SETTLED_NS
        files, known = {path.name: path for path in self._inbox.waiting()}, self._known
        self._known = {name: known[name] if name in known else self._uids(path) for name, path in files.items()}
        self._held = frozenset(self._known.values())
        self._stamp_ns = stamp_ns if is_settled else -1

    def _uids(self, path: Path) -> tuple[str, str] | None:
        try:
            dataset = open_header(path, self._limits).dataset
        except InputError:
            return None
        return text(dataset, "SOPClassUID"), text(dataset, "SOPInstanceUID")
