"""Finding again whatever was lost: messages, workers, events, a ledger that is older than the archive."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice

from segqa_dicom import log
from segqa_dicom.archive import Archive, Instance
from segqa_dicom.ledger import CaseState, Ledger
from segqa_dicom.progress import Progress, silent
from segqa_dicom.service.arrivals import Arrivals

_SAMPLE = 3
"""Finished cases of which each sweep asks whether their documents are still there."""
_AMONG = 500
_WAITING_AT_ONCE = 50
"""CT series that each sweep looks at again because a segmentation waits there: a net below the feed, some will do."""
_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was found to be repaired.

    expired : cases whose worker was not heard of any more
    looked_at : CT series with segmentations that wait, to be looked at again
    replayed : finished cases whose documents were gone
    segmentations : that the ledger did not know
    """

    expired: int = 0
    looked_at: int = 0
    replayed: int = 0
    segmentations: int = 0

    def as_json(self) -> dict[str, int]:
        """As JSON."""
        return asdict(self)


def sweep(archive: Archive, ledger: Ledger, *, now: float, seed: int | None = None) -> Repaired:
    """The small repair, every 30 seconds. Any number of processes may do it at a time.

    seed : of the sample of finished cases
    """
    expired = ledger.requeue_expired(now)
    chance = random.Random(seed)  # noqa: S311 - a sample, no secret
    waiting = ledger.waiting_subjects()
    waiting = chance.sample(waiting, min(_WAITING_AT_ONCE, len(waiting)))
    ledger.look_again(waiting, now=now)
    replayed = _replay_lost(archive, ledger, now, chance)
    repaired = Repaired(expired, len(waiting), replayed)
    if expired or replayed:
        log.event("sweep", **repaired.as_json())
    return repaired


def walk(archive: Archive, ledger: Ledger, arrivals: Arrivals, *, now: float, progress: Progress = silent) -> Repaired:
    """The large repair: every segmentation of the archive is compared with the ledger, and every CT series that one is
    drawn on is looked at again.

    It makes the whole ledger anew if there is none.
    """
    small = sweep(archive, ledger, now=now)
    added = looked_at = 0
    series = archive.list_series(modality="SEG")
    instances = (
        one for each in series for one in archive.list_instances(each.study_instance_uid, each.series_instance_uid)
    )
    for done, group in enumerate(_groups(instances)):
        progress("comparing archive and ledger", done * _AT_ONCE, len(series))
        added += len(arrivals.note(group, now=now))
        looked_at += len(group)
    repaired = Repaired(small.expired, small.looked_at + looked_at, small.replayed, added)
    log.event("reconcile", **repaired.as_json())
    return repaired


def _groups(instances: Iterator[Instance]) -> Iterator[list[Instance]]:
    while group := list(islice(instances, _AT_ONCE)):
        yield group


def _replay_lost(archive: Archive, ledger: Ledger, now: float, chance: random.Random) -> int:
    """Finished cases whose documents are not in the archive: it was set back, or somebody deleted them."""
    finished = [case for case in ledger.cases(CaseState.CONFIRMED, limit=_AMONG) if case.documents]
    replayed = 0
    for case in chance.sample(finished, min(_SAMPLE, len(finished))):
        if len(archive.find_instances(case.documents)) < len(set(case.documents)):
            ledger.replay(case.case_id, now=now)
            log.event("documents lost", case=case.case_id)
            replayed += 1
    return replayed
