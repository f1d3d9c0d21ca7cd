"""What the messages ask for. A message names a case; whether there is anything to do for it, the ledger knows."""

from __future__ import annotations

from functools import cache

from segqa_dicom.errors import PeerError
from segqa_dicom.service.broker import ASSESS, DELIVER, SWEEP
from segqa_dicom.service.coordinator import Coordinator
from segqa_dicom.service.work import Worker
from workers.app import app, setup


@cache
def worker() -> Worker:
    """The one of this process."""
    return Worker(setup)


@cache
def coordinator() -> Coordinator:
    """The one of this process."""
    return Coordinator(setup)


@app.task(name=ASSESS)  # type: ignore[untyped-decorator]
def assess(case_id: str) -> None:
    """Review a case and put its documents into the archive."""
    _work_on(case_id)


@app.task(name=DELIVER)  # type: ignore[untyped-decorator]
def deliver(case_id: str) -> None:
    """Put the documents of a case into the archive that was reviewed before."""
    _work_on(case_id)


@app.task(name=SWEEP)  # type: ignore[untyped-decorator]
def sweep() -> None:
    """Repair whatever was lost, and send what can be worked on; ``celery beat`` asks for it every 30 seconds."""
    coordinator().sweep_and_send()


def _work_on(case_id: str) -> None:
    try:
        worker().run_case(case_id)
    except PeerError:
        return  # the ledger does not answer: it will send the case again when it does
