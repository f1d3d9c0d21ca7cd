"""From the inbox into the archive.

A file leaves the inbox only after the archive has it and the ledger knows; a crash at any point means that it is taken
again, which changes nothing.
"""

from __future__ import annotations

from pathlib import Path

from segqa_dicom import log
from segqa_dicom.archive import Archive, Instance, Outcome, Outgoing, Stored
from segqa_dicom.archive.folder_keys import read_outgoing
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.errors import InputError
from segqa_dicom.inbox import Inbox
from segqa_dicom.ledger import Ledger
from segqa_dicom.service.arrivals import Arrivals

BATCH = 100
"""Files taken at a time."""


class Intake:
    """Takes files from the inbox.

    quarantine : folder for objects that the archive will never take
    """

    def __init__(
        self, inbox: Inbox, archive: Archive, ledger: Ledger, arrivals: Arrivals, *, quarantine: Path, limits: Limits
    ) -> None:
        self._inbox, self._archive, self._ledger, self._arrivals = inbox, archive, ledger, arrivals
        self._quarantine, self._limits = quarantine, limits

    def run_once(self, *, now: float) -> int:
        """Take up to 100 files, oldest first; returns how many. Raises `PeerError` if archive or ledger fail.

        Takes nothing while somebody else does: two at a time would take files away from each other.
        """
        with self._inbox.emptying() as is_alone:
            return self._take(now) if is_alone else 0

    def _take(self, now: float) -> int:
        paths = self._inbox.waiting(BATCH)
        known: list[tuple[Path, Outgoing]] = []
        for path in paths:
            try:
                known.append((path, read_outgoing(path, self._limits)))
            except InputError as error:
                self._put_aside(path, "", type(error).__name__, str(error), now)
        if known:
            self._store(known, now)
        return len(paths)

    def _store(self, known: list[tuple[Path, Outgoing]], now: float) -> None:
        outcomes = self._archive.store([one for _, one in known])
        taken: list[tuple[Path, Instance]] = []
        for (path, one), outcome in zip(known, outcomes, strict=True):
            instance = one.instance
            if outcome.outcome is Outcome.REFUSED:
                self._put_aside(path, instance.sop_instance_uid, "Refused", outcome.reason, now)
                continue
            if outcome.outcome is Outcome.CONFLICT:
                self._arrivals.note_conflict(instance, outcome, now=now)
                self._keep_refused(path, outcome, now)
            else:
                taken.append((path, instance))
        files = {instance.sop_instance_uid: path for path, instance in taken}
        self._arrivals.note([instance for _, instance in taken], now=now, files=files)
        for path, _ in known:
            path.unlink(missing_ok=True)

    def _keep_refused(self, path: Path, outcome: Stored, now: float) -> None:
        """The other content of an object is kept, once, for whoever wants to find out where it came from."""
        uid = outcome.sop_instance_uid
        target = self._quarantine / f"{log.hashed(uid)}-{outcome.refused_digest[:16]}.dcm"
        reason = outcome.reason or "another content with this SOP Instance UID is there, and stays"
        self._ledger.refuse(sop_instance_uid=uid, name="Conflict", reason=reason, path=str(target), now=now)
        path.rename(target)

    def _put_aside(self, path: Path, uid: str, name: str, reason: str, now: float) -> None:
        target = self._quarantine / path.name
        # The note first: without it nobody would find the file; noting twice changes nothing.
        self._ledger.refuse(sop_instance_uid=uid, name=name, reason=reason, path=str(target), now=now)
        path.rename(target)
        log.event("quarantine", object=log.hashed(uid or path.name), error=name)
