"""Which segmentations of a CT series can be reviewed now. Pure: what has arrived and the time are arguments.

A segmentation names the images that it was drawn on, so no silence has to tell that everything is there: it is complete
when all that it names has arrived. Only one that names no images has to wait for quiet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field

from segqa_dicom.digests import digest
from segqa_dicom.ledger import SegmentationRow

QUIET_S = 10.0
"""For segmentations that name no images: so long nothing of the CT series may have arrived."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with a CT series.

    reviewable : segmentations to be reviewed together, in the order of their UIDs
    missing : images that did not arrive before the deadline, by the segmentation that names them
    waiting : segmentations to wait for
    check_at : when something changes even if nothing arrives; None if nothing does
    """

    reviewable: tuple[SegmentationRow, ...]
    missing: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    waiting: tuple[SegmentationRow, ...] = ()
    check_at: float | None = None


def decide(
    segmentations: Iterable[SegmentationRow],
    present: Set[str],
    *,
    arrived_at: float,
    now: float,
    deadline_s: float,
) -> Decision:
    """What can be reviewed.

    segmentations : all that are drawn on the CT series and can be read
    present : SOP Instance UIDs of what has arrived
    arrived_at : when the last object of the CT series, or drawn on it, did
    deadline_s : so long after a segmentation arrived it is reviewed with those images that have
    """
    reviewable, waiting, missing, due = [], [], {}, []
    rows = sorted(segmentations, key=lambda row: row.sop_instance_uid)
    # Sent together, they are given up together, and not in a revision for each.
    is_over = any(one.arrived_at + deadline_s <= now for one in rows)
    early_s = QUIET_S if is_over else 0.0
    for one in rows:
        absent = tuple(uid for uid in one.referenced_instances if uid not in present)
        deadline = one.arrived_at + deadline_s - early_s
        ready_at = (arrived_at + QUIET_S if not one.referenced_instances else now) if not absent else deadline
        if present and now >= ready_at:
            reviewable.append(one)
            if absent:
                missing[one.sop_instance_uid] = absent
        else:
            waiting.append(one)
            if ready_at > now:
                due.append(ready_at)
    return Decision(tuple(reviewable), missing, tuple(waiting), min(due, default=None))


def majority(counts: Mapping[str, int], absent: int) -> str | None:
    """The CT series that most images of a segmentation are in, as soon as those that are absent cannot change that.

    counts : images that have arrived, by series; 0 for a series that is named only
    absent : images, or series if no images are named, that have not arrived

    None if there is none yet. Of two with as many images it is the one with the smaller UID, as in `reading.grouping`.
    """
    ranked = sorted(counts, key=lambda uid: (-counts[uid], uid))
    if not ranked:
        return None
    second = counts[ranked[1]] if len(ranked) > 1 else 0
    return ranked[0] if not absent or counts[ranked[0]] - second > absent else None


def revision_key(
    ct_series_instance_uid: str,
    present: Iterable[str],
    reviewable: Iterable[SegmentationRow],
    *,
    ruleset_hash: str,
    measuring_version: int,
    conflicts: Iterable[tuple[str, str, str]] = (),
) -> str:
    """SHA-256 of all that decides a revision: the same input gives the same key, whatever order it arrived in."""
    segs = sorted((one.sop_instance_uid, one.digest) for one in reviewable)
    parts = [ct_series_instance_uid, sorted(present), segs, ruleset_hash, measuring_version, sorted(conflicts)]
    return digest(parts)
