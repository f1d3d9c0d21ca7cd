"""DELETE of studies, series and instances: for an operator only, and only where the service was told to allow it."""

from __future__ import annotations

import hmac

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from segqa_dicom import log
from segqa_dicom.web.dicomweb.retrieving import rows_of
from segqa_dicom.web.problems import Problem
from segqa_dicom.web.state import state_of

_SCHEME = "bearer"


async def delete(request: Request) -> Response:
    """Take what the path names out of the archive: 204. The files are kept aside, in its folder `deleted`."""
    check_operator(request)
    archive, rows = await rows_of(request)
    count = await run_in_threadpool(archive.delete, [row.instance.sop_instance_uid for row in rows])
    log.event("deleted", study=log.hashed(rows[0].instance.study_instance_uid), count=count)
    return Response(status_code=204)


def check_operator(request: Request) -> None:
    """Raise `Problem` 403 unless the request has the operator's token; nobody has it where none is set."""
    token = state_of(request).service.operator_token.get_secret_value()
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    is_right = hmac.compare_digest(given.strip().encode(), token.encode())
    if not token or scheme.lower() != _SCHEME or not is_right:
        raise Problem(403, "only an operator may delete, with the token that the service was started with")
