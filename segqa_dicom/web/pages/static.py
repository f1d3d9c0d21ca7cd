"""/static: style sheets and scripts, under an address that says what is in them."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response

from segqa_dicom.web.dicomweb.validators import is_known
from segqa_dicom.web.problems import Problem

STATIC = "/static"
_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
_FOR_EVER = "public, max-age=31536000, immutable"


@cache
def static_files() -> dict[str, bytes]:
    """Contents by name."""
    folder = resources.files("segqa_dicom.web").joinpath("static")
    return {one.name: one.read_bytes() for one in folder.iterdir() if one.name.rpartition(".")[2] in _TYPES}


@cache
def static_version() -> str:
    """Digest of all files: scripts import each other, so that they change together."""
    digest = hashlib.sha256()
    for name, content in sorted(static_files().items()):
        digest.update(f"{name} {len(content)} ".encode() + content)
    return digest.hexdigest()[:16]


async def static(request: Request) -> Response:
    """GET of a file; of another version the present one, which nobody may keep then."""
    name = request.path_params["name"]
    content = static_files().get(name)
    if content is None:
        raise Problem(404, "there is no such file")
    tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
    is_current = request.path_params["version"] == static_version()
    headers = {"ETag": tag, "Cache-Control": _FOR_EVER if is_current else "no-cache"}
    if is_known(request, tag):
        return Response(status_code=304, headers=headers)
    return Response(content, headers={**headers, "Content-Type": _TYPES[name.rpartition(".")[2]]})
