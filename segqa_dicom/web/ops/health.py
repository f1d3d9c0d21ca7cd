"""/healthz, and the page that says the same to people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import anyio
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from segqa_dicom import __version__
from segqa_dicom.errors import SegQaError
from segqa_dicom.web.pages.rendering import render
from segqa_dicom.web.state import DICOM_WEB, LedgerSummary, State, state_of

PATIENCE_S = 5
"""An archive or ledger that has not answered by then counts as not working."""
LATE_S = 3600
"""A service whose oldest runnable case is older is degraded: its workers do not keep up, or there are none."""
_NO_INSTANCE = "2.25.0"
"""Asked for to see whether the archive answers."""
_OK = "ok"


@dataclass(frozen=True, slots=True)
class Health:
    """State of the service.

    status : "ok"; "degraded" = it works, but is late or short of disk; "failing" = archive or ledger do not answer
    oldest_runnable_s : age of the oldest case that could run; None if none waits, or the ledger does not say
    inbox : files that wait
    archive, ledger : "ok", or what is wrong
    """

    status: str
    oldest_runnable_s: float | None
    inbox: int
    archive: str
    ledger: str
    version: str = __version__


async def health(state: State) -> tuple[Health, LedgerSummary | None]:
    """Ask everything that the service needs."""
    archive, _ = await _asked("archive", lambda: state.archive.find_instances([_NO_INSTANCE]))
    ledger, summary = await _asked("ledger", lambda: state.ledger.summary(state.clock()))
    waiting, free = await run_sync(lambda: (state.inbox.count(), state.inbox.free_bytes()))
    oldest = summary.oldest_runnable_s if summary is not None else None
    status = "ok"
    if free < state.service.min_free_bytes or (oldest or 0) > LATE_S:
        status = "degraded"
    if (archive, ledger) != (_OK, _OK):
        status = "failing"
    return Health(status, oldest, waiting, archive, ledger), summary


async def _asked(what: str, question: Callable[[], Any]) -> tuple[str, Any]:
    try:
        with anyio.fail_after(PATIENCE_S):
            return _OK, await run_sync(question, abandon_on_cancel=True)
    except TimeoutError:
        return f"the {what} has not answered within {PATIENCE_S} s", None
    except SegQaError as error:
        return f"the {what} does not work ({type(error).__name__})", None


async def healthz(request: Request) -> Response:
    """GET /healthz: 200, or 503 if the service fails."""
    found, _ = await health(state_of(request))
    return JSONResponse(asdict(found), 503 if found.status == "failing" else 200, {"Cache-Control": "no-store"})


async def status_page(request: Request) -> Response:
    """GET /status: a page for people; where there are no pages of readers it is the first one."""
    state = state_of(request)
    found, summary = await health(state)
    return render(
        "status.html",
        request,
        health=found,
        summary=summary,
        cases=sorted(summary.cases.items()) if summary is not None else [],
        dicom_web=DICOM_WEB,
        archive_url=state.archive_url,
    )
