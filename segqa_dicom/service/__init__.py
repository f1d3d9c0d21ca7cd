"""The service: from arrivals to documents in the archive.

intake      inbox -> archive, and what arrived -> ledger
schedule    what has arrived -> cases that are ready (pure part: readiness)
work        a claimed case -> documents in the outbox -> archive
reconcile   whatever was lost is found again
coordinator, supervisor   the processes that do all that, and who looks after them

Truth is the archive, then the ledger. Every step may be done again, and may be done by two at a time.
"""

from segqa_dicom.service.setup import Setup

__all__ = ["Setup"]
