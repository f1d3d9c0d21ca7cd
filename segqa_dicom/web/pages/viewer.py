"""/ohif: the viewer's files, its page and its configuration; or how to install it."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.staticfiles import NotModifiedResponse, StaticFiles

from segqa_dicom.viewer import VIEWER, app_config, find_installed, folder_of
from segqa_dicom.viewer.install import INDEX
from segqa_dicom.web.problems import Problem
from segqa_dicom.web.state import DICOM_WEB, state_of

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webapp": "application/manifest+json",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
}
_ENCODINGS = (("br", ".br"), ("gzip", ".gz"))
_PATH = re.compile(r"[A-Za-z0-9@_-][A-Za-z0-9@._-]*(/[A-Za-z0-9@_-][A-Za-z0-9@._-]*)*")
"""Names that the viewer's files have; none begins with a dot."""
_WITH_HASH = re.compile(r"(^|\.)[0-9a-f]{20}\.[a-z0-9]+$")
"""Names that say what is in the file, so that nobody need ask again."""
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_FROM_ROOT = re.compile(r"""((?:src|href|content)="|PUBLIC_URL = ')/(?!/)""")
_ISOLATED = {
    # Memory that threads share (WebAssembly) is there only for pages that nobody else's content can reach.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_POLICY = (
    "default-src 'none'; "
    # Decoders of compressed images make functions from text (Emscripten); scripts come from here all the same.
    "script-src 'self' 'unsafe-eval'{inline}; worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "connect-src 'self' blob: data:; img-src 'self' blob: data:; font-src 'self' data:; media-src 'self' blob:; "
    "object-src 'self' blob:; frame-src 'self' blob:; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'self'"
)
_HOW_TO_INSTALL = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>segqa: viewer</title>
<style>body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 42rem; margin: 2rem auto; padding: 0 1rem; }}
code {{ background: #f2f4f7; padding: .1rem .3rem; }}</style></head>
<body>
<h1>The viewer is not installed</h1>
<p>OHIF is a program of others and comes by npm, once. On the machine of the service:</p>
<p><code>segqa viewer install</code>, with the same <code>--archive</code> as <code>segqa serve</code></p>
<p>This page is the viewer then; the service need not be started again. Without npm or internet:
<code>segqa viewer install --help</code>.</p>
<p><a href="{root}/">Back to the service</a></p>
</body>
</html>
"""


def viewer_routes() -> list[BaseRoute]:
    """What is below `/ohif`."""
    return [
        Route(VIEWER, _page, methods=["GET"]),
        Route(f"{VIEWER}/app-config.js", _configuration, methods=["GET"]),
        Route(f"{VIEWER}/{{path:path}}", _file, methods=["GET"]),
    ]


def viewer_folder(request: Request) -> Path:
    """Where the viewer is installed, or would be: what the settings say, else the data folder's `viewer`."""
    state = state_of(request)
    return folder_of(state.service.viewer, state.inbox.folder.parent)


def root_path(request: Request) -> str:
    """What paths of this service begin with for its users; empty unless the public URL has a path."""
    return urlsplit(state_of(request).service.public_url).path.rstrip("/")


def _page(request: Request) -> Response:
    installed = find_installed(viewer_folder(request))
    if installed is None:
        page = _HOW_TO_INSTALL.format(root=root_path(request))
        return HTMLResponse(page, 404, {"Cache-Control": "no-store"})
    index = installed.folder / INDEX
    page, policy = _moved(index, index.stat().st_mtime_ns, root_path(request))
    return HTMLResponse(page, headers={"Content-Security-Policy": policy, "Cache-Control": "no-cache", **_ISOLATED})


@lru_cache(maxsize=4)
def _moved(index: Path, _: int, root: str) -> tuple[str, str]:
    """The page for where it is now, and the policy that lets its own scripts run."""
    page = index.read_text(encoding="utf-8")
    page = _FROM_ROOT.sub(lambda found: f"{found[1]}{root}{VIEWER}/", page)
    hashes = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in _INLINE.findall(page))
    return page, _POLICY.format(inline="".join(f" 'sha256-{one}'" for one in hashes))


def _configuration(request: Request) -> Response:
    script = app_config(root=root_path(request), dicom_web=DICOM_WEB)
    return Response(script, media_type="text/javascript", headers={"Cache-Control": "no-cache", **_ISOLATED})


def _file(request: Request) -> Response:
    """A file of the viewer; the page for whatever is a place within the viewer."""
    path = request.path_params["path"]
    installed = find_installed(viewer_folder(request))
    if installed is None or path in ("", INDEX) or not Path(path).suffix:
        return _page(request)
    place = installed.folder / path
    if not _PATH.fullmatch(path) or place.is_symlink() or not place.is_file():
        raise Problem(404, "the viewer has no such file")
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable" if _WITH_HASH.search(path) else "no-cache",
        "Content-Security-Policy": _POLICY.format(inline=""),
        "Vary": "Accept-Encoding",
        **_ISOLATED,
    }
    accepted = {part.partition(";")[0].strip() for part in request.headers.get("accept-encoding", "").split(",")}
    for encoding, suffix in _ENCODINGS:
        compressed = place.with_name(place.name + suffix)
        if encoding in accepted and compressed.is_file():
            headers["Content-Encoding"], sent = encoding, compressed
            break
    else:
        sent = place
    media_type = _TYPES.get(place.suffix, "application/octet-stream")
    response = FileResponse(sent, media_type=media_type, headers=headers, stat_result=sent.stat())
    if _known(response, request):
        return NotModifiedResponse(response.headers)
    return response


_CONDITIONS = StaticFiles()


def _known(response: Response, request: Request) -> bool:
    return _CONDITIONS.is_not_modified(response.headers, request.headers)
