"""The application: its routes, and what is around them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from segqa_dicom.archive import Archive, Instance
from segqa_dicom.archive.folder_keys import Level
from segqa_dicom.config import ServiceSettings, Settings
from segqa_dicom.findings import FILE_NAME, FindingsIndex
from segqa_dicom.inbox import Inbox
from segqa_dicom.pictures import Thumbnails
from segqa_dicom.web.api.findings import findings
from segqa_dicom.web.dicomweb import stow, wado
from segqa_dicom.web.dicomweb.capabilities import capabilities
from segqa_dicom.web.dicomweb.deleting import delete
from segqa_dicom.web.dicomweb.qido import search
from segqa_dicom.web.dicomweb.rendered import retrieve_rendered, retrieve_thumbnail
from segqa_dicom.web.middleware import Observed
from segqa_dicom.web.ops.health import healthz, status_page
from segqa_dicom.web.ops.metrics import add_metrics, metrics
from segqa_dicom.web.pages.guard import Guard
from segqa_dicom.web.pages.routes import page_routes
from segqa_dicom.web.pages.state import Pages, Readers
from segqa_dicom.web.pages.static import STATIC, static
from segqa_dicom.web.pages.users import identify_by
from segqa_dicom.web.pages.viewer import viewer_routes
from segqa_dicom.web.pages.views import Views
from segqa_dicom.web.problems import HANDLERS, Problem
from segqa_dicom.web.proxy.forwarding import proxy_routes
from segqa_dicom.web.state import DICOM_WEB, State, SummaryOfLedger, state_of

_STUDY, _SERIES = "/studies/{study}", "/studies/{study}/series/{series}"
_INSTANCE = f"{_SERIES}/instances/{{instance}}"


def _nobody(_: Sequence[Instance]) -> None:
    """Nobody wants to know what was stored."""


def create_app(
    *,
    archive: Archive,
    ledger: SummaryOfLedger,
    inbox: Inbox,
    settings: Settings,
    service: ServiceSettings,
    archive_url: str = "",
    on_stored: Callable[[Sequence[Instance]], None] = _nobody,
    clock: Callable[[], float] = time.time,
    findings_index: FindingsIndex | None = None,
    readers: Readers | None = None,
) -> Starlette:
    """The service in HTTP.

    inbox : what waits in it is shown, and STOW-RS writes into its `parts`; on the file system of a folder archive
    archive_url : of the archive's own DICOMweb, where the archive is not a folder; then ours passes questions on to it
    on_stored : told of what STOW-RS has stored, or stored again, before the sender gets its answer; called in a thread
    findings_index : what documents say; None = the index in the data folder, in which the inbox lies
    readers : what pages of readers need; None = there are none
    Raises `ConfigurationError` for settings that contradict each other.
    """
    findings_index = findings_index or FindingsIndex(inbox.folder.parent / FILE_NAME)
    state = State(archive, ledger, inbox, settings, service, archive_url, on_stored, clock, findings_index)
    registry, request_metrics = add_metrics(state)
    app = Starlette(
        routes=[
            *(page_routes() if readers else [Route("/", status_page)]),
            Route("/status", status_page),
            Route(f"{STATIC}/{{version}}/{{name}}", static),
            Route("/healthz", healthz),
            Route("/metrics", metrics),
            Route("/api/findings", findings),
            *viewer_routes(),
            *(proxy_routes(archive_url, service) if archive_url else _dicom_web()),
        ],
        exception_handlers=dict(HANDLERS),
        middleware=[Middleware(Observed, metrics=request_metrics), Middleware(Guard, service=service)],
    )
    app.state.segqa, app.state.registry, app.state.pages = state, registry, None
    if readers:
        folder = inbox.folder.parent
        views = Views(findings_index, readers.annotations)
        app.state.pages = Pages(readers, Thumbnails(readers.cases, folder / "thumbnails"), views, identify_by(service))
    return app


def _dicom_web() -> list[BaseRoute]:
    handlers: list[tuple[str, Callable[[Request], object]]] = [
        ("/studies", search(Level.STUDY)),
        (f"{_STUDY}/series", search(Level.SERIES)),
        (f"{_STUDY}/instances", search(Level.INSTANCE)),
        (f"{_SERIES}/instances", search(Level.INSTANCE)),
        ("/series", search(Level.SERIES)),
        ("/instances", search(Level.INSTANCE)),
        (f"{_STUDY}/metadata", wado.retrieve_metadata),
        (f"{_SERIES}/metadata", wado.retrieve_metadata),
        (f"{_INSTANCE}/metadata", wado.retrieve_metadata),
        (f"{_INSTANCE}/frames/{{frames}}", wado.retrieve_frames),
        (f"{_INSTANCE}/frames/{{frames}}/rendered", retrieve_rendered),
        (f"{_INSTANCE}/frames/{{frames}}/thumbnail", retrieve_thumbnail),
        (f"{_INSTANCE}/rendered", retrieve_rendered),
        (f"{_INSTANCE}/thumbnail", retrieve_thumbnail),
        (f"{_SERIES}/thumbnail", retrieve_thumbnail),
        (f"{_STUDY}/thumbnail", retrieve_thumbnail),
        (f"{_INSTANCE}/bulkdata/{{where:path}}", wado.retrieve_bulk_data),
        (_STUDY, wado.retrieve),
        (_SERIES, wado.retrieve),
        (_INSTANCE, wado.retrieve),
    ]
    posts = [Route(f"{DICOM_WEB}{path}", stow.store, methods=["POST"]) for path in ("/studies", _STUDY)]
    gets = [Route(f"{DICOM_WEB}{path}", handler, methods=["GET"]) for path, handler in handlers]
    deletes = [Route(f"{DICOM_WEB}{path}", delete, methods=["DELETE"]) for path in (_STUDY, _SERIES, _INSTANCE)]
    options = [Route(f"{DICOM_WEB}{path}", capabilities, methods=["OPTIONS"]) for path in ("", "/")]
    return [*posts, *gets, *deletes, *options, Route(f"{DICOM_WEB}{{rest:path}}", _nothing, methods=["GET", "POST"])]


def _nothing(request: Request) -> Response:
    """Paths that DICOMweb does not have, or ours not; of an archive that has its own, all of them."""
    state_of(request).folder_archive  # noqa: B018 - raises if the archive is not a folder
    raise Problem(404, "there is no such resource")
