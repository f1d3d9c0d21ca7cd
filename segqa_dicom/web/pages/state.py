"""What the pages of readers share, and what every one of them does first and last."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from segqa_dicom import log
from segqa_dicom.assessment.model import Reviewer
from segqa_dicom.assessment.vocabulary import Vocabulary
from segqa_dicom.checks import RuleSet
from segqa_dicom.errors import InputError, PeerError
from segqa_dicom.model import SegmentRef
from segqa_dicom.pictures import NoSuchPlane, NoSuchSegment, NothingToShow, OpenCases, Thumbnails
from segqa_dicom.reviews.workflow.model import Annotation
from segqa_dicom.reviews.workflow.shared import NotYours
from segqa_dicom.reviews.workflow.workflow import ReviewWorkflow
from segqa_dicom.web.pages.guard import token_of, with_token
from segqa_dicom.web.pages.rendering import error_page, render
from segqa_dicom.web.pages.users import Identify, shown_name
from segqa_dicom.web.pages.viewer import root_path
from segqa_dicom.web.pages.views import Views
from segqa_dicom.web.problems import Problem

Handler = Callable[[Request], Awaitable[Response]]


def _none(_: SegmentRef) -> Sequence[Annotation]:
    return ()


@dataclass(frozen=True, slots=True)
class Readers:
    """What the service has for readers.

    annotations : what was drawn on a segment in other programs
    rules_text : TOML of what the rule set changes
    """

    workflow: ReviewWorkflow
    cases: OpenCases
    ruleset: RuleSet
    rules_text: str = ""
    annotations: Callable[[SegmentRef], Sequence[Annotation]] = _none


@dataclass(frozen=True, slots=True)
class Pages:
    """What the handlers of the pages share.

    views : what the machine says about segments, and what others drew on them
    identify : tells who asks
    """

    readers: Readers
    thumbnails: Thumbnails
    views: Views
    identify: Identify

    @property
    def workflow(self) -> ReviewWorkflow:
        """Where readers work."""
        return self.readers.workflow

    @property
    def cases(self) -> OpenCases:
        """Cases that pictures are made of."""
        return self.readers.cases

    @property
    def ruleset(self) -> RuleSet:
        """The rules in use."""
        return self.readers.ruleset

    @property
    def vocabulary(self) -> Vocabulary:
        """What readers can say."""
        return self.ruleset.vocabulary


def pages_of(request: Request) -> Pages:
    """The pages of the application that a request came to."""
    return cast("Pages", request.app.state.pages)


def reader_of(request: Request) -> Reviewer:
    """Who asks; raises `Problem` 401 if nobody is signed in."""
    return pages_of(request).identify(request)


async def shown(request: Request, template: str, *, status: int = 200, **values: Any) -> Response:
    """A page for a reader, with the token for changes and how much waits to be signed or decided."""
    reader, workflow = reader_of(request), pages_of(request).workflow

    def waiting() -> list[tuple[str, int]]:
        waiting = workflow.waiting(reader)
        return [("/sign", waiting.to_sign), ("/adjudicate", waiting.to_adjudicate)]

    counts = await run_in_threadpool(waiting)
    name = shown_name(reader.name) or reader.login
    return with_token(
        request,
        render(template, request, status=status, reader=name, counts=counts, csrf=token_of(request), **values),
    )


def page(handler: Handler) -> Handler:
    """A handler of pages: what goes wrong in it is said on a page, not as JSON."""

    async def answered(request: Request) -> Response:
        try:
            return await handler(request)
        except (Problem, InputError, PeerError) as error:
            status, message = _said(error)
            if status >= 500:
                log.event("request_failed", error=type(error).__name__)
            return error_page(status, message, root=root_path(request))

    return answered


def _said(error: Exception) -> tuple[int, str]:
    if isinstance(error, Problem):
        return error.status, error.message
    if isinstance(error, PeerError):
        return 503, "the archive or the ledger does not answer now; try again"
    return status_of(error), str(error)


def status_of(error: Exception) -> int:
    """HTTP status of what a reader asked for wrongly."""
    if isinstance(error, NoSuchPlane | NoSuchSegment | NothingToShow):
        return 404
    return 403 if isinstance(error, NotYours) else 400


def uid_in(values: Mapping[str, Any], name: str) -> str:
    """A UID of a path; raises `Problem` 404 for what is none."""
    value = str(values[name])
    if not value or len(value) > 64 or not set(value) <= set("0123456789."):
        raise Problem(404, "there is no such thing")
    return value


def number_in(values: Mapping[str, Any], name: str) -> int:
    """A number from 0 of a path; raises `Problem` 404 for what is none."""
    value = str(values[name])
    if not (value.isascii() and value.isdecimal() and len(value) < 6):
        raise Problem(404, "there is no such thing")
    return int(value)
