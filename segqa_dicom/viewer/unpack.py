"""Extraction of the viewer's files from its package, changed so that they work below any path."""

from __future__ import annotations

import gzip
import re
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from segqa_dicom.errors import PeerRefused

MAX_BYTES = 300_000_000
"""Of all files in the package; they have 200 MB, the extracted ones 50 MB."""
MAX_FILES = 2_000
_FOLDER = PurePosixPath("package/dist")
_EXCLUDED = ("ort/*", "*.map", "_headers", "_redirects", "serve.json", "sw.js")
"""A runtime for models loaded from elsewhere (136 MB), source maps (40 MB), configuration of other hosts."""
_COMPRESSED = frozenset((".js", ".css", ".svg", ".json", ".wasm"))
_MIN_COMPRESSED_BYTES = 4_096
_LEVEL = 6

# The package is built for the root of a host. Scripts get their path from the page, workers from their own URL;
# index.html is changed when it is served, because only the request has the path of the service.
_HERE = b'(self.PUBLIC_URL||new URL("./",self.location).pathname)'
_SCRIPT_ROOT = re.compile(rb'__webpack_require__\.p = "/";')
_SCRIPT_PART = re.compile(rb"browserImportFunction\('/(?=[a-z])")
_STYLE_ROOT = re.compile(rb"url\(/(?=[^/])")
_MANIFEST_ROOT = re.compile(rb'"/assets/')


def unpack(file: Path, folder: Path) -> int:
    """Extract the files of the package into the empty `folder`; returns their number.

    Only regular files below the package's `dist` are written. Raises `PeerRefused` for members that are neither files
    nor folders, names outside the folder, a package above the limits, or unexpected content.
    """
    n_files, n_bytes, n_rooted = 0, 0, 0
    try:
        with tarfile.open(file, "r:gz") as package:
            for member in package:
                path = _path_of(member)
                n_bytes += member.size
                if n_bytes > MAX_BYTES:
                    raise PeerRefused("the package is larger than the viewer can be; nothing was installed")
                if path is None or any(path.match(pattern) for pattern in _EXCLUDED):
                    continue
                n_files += 1
                if n_files > MAX_FILES:
                    raise PeerRefused("the package has more files than the viewer can have; nothing was installed")
                stream = package.extractfile(member)
                n_rooted += _write(folder / path, stream.read() if stream is not None else b"")
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise PeerRefused(f"{file.name} cannot be unpacked ({type(error).__name__})") from error
    if not n_rooted or not (folder / "index.html").is_file():
        raise PeerRefused(f"{file.name} does not hold the viewer in the form that was tried; nothing was installed")
    return n_files


def _path_of(member: tarfile.TarInfo) -> PurePosixPath | None:
    """The path of a member below the folder; None if it is not extracted.

    The filters of tarfile need Python 3.11.4; members are read and written here instead.
    """
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise PeerRefused("the package holds a file that leads out of its folder; nothing was installed")
    if member.isdir():
        return None
    if not member.isfile():
        raise PeerRefused("the package holds something that is not a file; nothing was installed")
    return path.relative_to(_FOLDER) if path.is_relative_to(_FOLDER) else None


def _write(path: Path, content: bytes) -> int:
    """Write a file, with a compressed copy if it is large; returns the number of root paths that were replaced."""
    content, changes = _movable(path.name, content)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if path.suffix in _COMPRESSED and len(content) >= _MIN_COMPRESSED_BYTES:
        compressed = path.with_name(f"{path.name}.gz")
        compressed.write_bytes(gzip.compress(content, _LEVEL, mtime=0))
    return changes


def _movable(name: str, content: bytes) -> tuple[bytes, int]:
    if name.endswith(".js"):
        content, changes = _SCRIPT_ROOT.subn(lambda _: b"__webpack_require__.p = " + _HERE + b";", content)
        return _SCRIPT_PART.sub(lambda _: b"browserImportFunction(self.PUBLIC_URL+'", content), changes
    if name.endswith(".css"):
        return _STYLE_ROOT.sub(b"url(", content), 0
    if name == "manifest.json":
        return _MANIFEST_ROOT.sub(b'"assets/', content), 0
    return content, 0
