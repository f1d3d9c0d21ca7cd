"""Errors as answers: a status and JSON with a message that names no patient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from segqa_dicom import log
from segqa_dicom.errors import ConfigurationError, InputError, PeerRefused, PeerUnavailable, SegQaError

_RETRY_S = 5


class Problem(Exception):
    """A request that is answered with an error.

    status : of HTTP
    message : what is wrong and what to do, in words that may be shown to anybody
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def problem_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer for an error."""
    return JSONResponse({"message": message}, status, headers=headers)


def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101 - this handler is registered for it
    return problem_response(error.status, error.message)


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - this handler is registered for it
    messages = {404: "there is no such resource", 405: f"{request.method} is not offered here"}
    message = messages.get(error.status_code, "the request cannot be answered")
    return problem_response(error.status_code, message, error.headers)


def _ours(_: Request, error: Exception) -> Response:
    if isinstance(error, InputError):
        return problem_response(400, str(error))
    log.event("request_failed", error=type(error).__name__)
    if isinstance(error, PeerUnavailable):
        message = "the archive or the ledger does not answer now; try again"
        return problem_response(503, message, {"Retry-After": str(_RETRY_S)})
    if isinstance(error, PeerRefused):
        return problem_response(501, "the archive does not answer such a question")
    if isinstance(error, ConfigurationError):
        return problem_response(500, "the service is not set up well; its operator must look at it")
    return problem_response(500, "the service has failed; its operator must look at it")


HANDLERS: Mapping[Any, Callable[[Request, Exception], Response]] = {
    Problem: _problem,
    HTTPException: _http,
    SegQaError: _ours,
}
"""Exception handlers of the application; whatever else is raised `middleware.Observed` answers."""
