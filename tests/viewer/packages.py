"""Packages for the viewer that are not the viewer."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

INDEX = b"""<!doctype html><html><head><link rel="manifest" href="/manifest.json"/>
<meta name="msapplication-config" content="/assets/browserconfig.xml"/>
<script>console.log(1);
      window.PUBLIC_URL = '/';</script><script src="/app-config.js"></script>
<script defer="defer" src="/app.bundle.0123456789abcdef0123.js"></script></head><body></body></html>"""
SCRIPT = b'before(); __webpack_require__.p = "/"; after(); ' + b"// as long as scripts are\n" * 500
FILES = {
    "package/LICENSE": b"MIT",
    "package/dist/index.html": INDEX,
    "package/dist/app.bundle.0123456789abcdef0123.js": SCRIPT,
    "package/dist/app.bundle.0123456789abcdef0123.js.map": b"{}",
    "package/dist/app.css": b"a{src:url(/0123456789abcdef0123.woff2)} b{src:url(data:x)} c{src:url(//d)}",
    "package/dist/manifest.json": b'{"icons": [{"src": "/assets/icon.png"}]}',
    "package/dist/assets/icon.png": b"\x89PNG",
    "package/dist/0123456789abcdef0123.wasm": b"\0asm",
    "package/dist/ort/ort.js": b"a runtime",
    "package/dist/sw.js": b"a service worker",
}


def packed(path: Path, files: Mapping[str, bytes] = FILES, *others: tarfile.TarInfo) -> Path:
    """Write a package as npm does."""
    with tarfile.open(path, "w:gz") as package:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            package.addfile(member, io.BytesIO(content))
        for member in others:
            package.addfile(member, io.BytesIO(bytes(member.size)))
    return path


def integrity_of(path: Path) -> str:
    return f"sha512-{base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()}"
