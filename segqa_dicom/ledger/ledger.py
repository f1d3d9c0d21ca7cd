"""The ledger: what must happen and what has happened."""

from __future__ import annotations

from types import TracebackType

from segqa_dicom.ledger.cases import Cases
from segqa_dicom.ledger.claims import Claims
from segqa_dicom.ledger.outbox import Outbox
from segqa_dicom.ledger.records import Records
from segqa_dicom.ledger.review_plans import ReviewPlans
from segqa_dicom.ledger.reviews import Reviews
from segqa_dicom.ledger.segmentations import Segmentations
from segqa_dicom.ledger.subjects import Subjects
from segqa_dicom.ledger.summary import Summaries


class Ledger(Subjects, Segmentations, Cases, Claims, Outbox, Records, Reviews, ReviewPlans, Summaries):
    """Memory of the service: subjects, segmentations, cases with their claims, documents on their way, and readers.

    Any number of processes on any number of hosts may use it at a time; every method that writes is one transaction,
    and none knows the clock: who calls says what time it is.

    Raises `PeerUnavailable` from any method if the database does not answer (trying again later may help), and
    `ConfigurationError` for a wrong URL, or at the first use if `migrate` was never called or by another version.
    """

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
