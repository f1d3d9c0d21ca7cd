"""Assignments, and second readings of the same reader."""

from __future__ import annotations

from segqa_dicom.errors import Inconsistent
from segqa_dicom.model import WHOLE, SegmentRef
from segqa_dicom.reviews.workflow.repeats import chosen_repeats
from segqa_dicom.reviews.workflow.shared import LONGEST_LOGIN, Shared


class Planning:
    """Which reader reads what."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def assign(self, place: SegmentRef | str, login: str | None, by: str) -> None:
        """Have a reader look at a segment or a segmentation; None = nobody is asked any more."""
        where = SegmentRef(place, WHOLE) if isinstance(place, str) else place
        if login is None:
            self._shared.ledger.unassign(where.segmentation, where.segment)
            return
        if not login or len(login) > LONGEST_LOGIN:
            raise Inconsistent(f"a login has 1 to {LONGEST_LOGIN} characters")
        self._shared.ledger.assign(where.segmentation, where.segment, login, by=by, now=self._shared.clock())

    def schedule_repeats(self, share: float, reviewer: str | None = None, seed: int = 0) -> int:
        """Have readers read a share of what they have signed again, without being told; returns how many are new.

        reviewer : login; None = all
        seed : decides which ones. The same call again adds only what is due to what was signed since.
        """
        if not 0 <= share <= 1:
            raise Inconsistent("the share of segments to be read again lies between 0 and 1")
        self._shared.memory.refresh()
        rows = chosen_repeats(
            self._shared.memory.current(login=reviewer), self._shared.ledger.repeats(reviewer), share, seed
        )
        return self._shared.ledger.add_repeats(rows, now=self._shared.clock())
