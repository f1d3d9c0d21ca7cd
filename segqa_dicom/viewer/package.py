"""The package of the viewer: name, version, digest and download."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
from pathlib import Path

from segqa_dicom.errors import ConfigurationError, PeerRefused, PeerUnavailable

NAME = "@ohif/app"
VERSION = "3.12.10"
INTEGRITY = "sha512-0kuF66Mq9c9dMD++bUsTjMrJpXJwaZhz9B4uS244DawAjSkTwIYFU93pxPuRUQixaRi7QAHlF3Fe1qudBlZrmA=="
"""Subresource integrity of the package's file (`npm view @ohif/app@VERSION dist.integrity`)."""
PACK_TIMEOUT_S = 600
"""The package has 50 MB."""
_CHUNK_BYTES = 1 << 20


def pack(folder: Path) -> Path:
    """Download the package into `folder` by npm from its configured registry; returns the file.

    Raises `ConfigurationError` without npm, `PeerUnavailable` if the download fails.
    """
    npm = shutil.which("npm")
    wanted = f"{NAME}@{VERSION}"
    if npm is None:
        raise ConfigurationError(
            f"npm is not installed; on a machine that has it run `npm pack {wanted}`, bring the file here and give it "
            "by --from"
        )
    command = [npm, "pack", wanted, "--json", "--ignore-scripts", "--pack-destination", str(folder)]
    try:
        done = subprocess.run(  # noqa: S603 - arguments of ours
            command, capture_output=True, text=True, timeout=PACK_TIMEOUT_S, check=False, cwd=folder
        )
    except subprocess.TimeoutExpired as error:
        raise PeerUnavailable(
            f"npm has not got {wanted} within {PACK_TIMEOUT_S} s; try again, or give --from"
        ) from error
    found = sorted(folder.glob("*.tgz"))
    if done.returncode or len(found) != 1:
        raise PeerUnavailable(
            f"npm does not get {wanted} ({_reason(done)}); see `npm config get registry`, or give --from"
        )
    return found[0]


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """Error code of npm."""
    try:
        return str(json.loads(done.stdout)["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return f"exit code {done.returncode}"


def check(file: Path) -> None:
    """Raise `PeerRefused` unless `file` has the digest of the package, `ConfigurationError` if it cannot be read."""
    digest = hashlib.sha512()
    try:
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}") from error
    if f"sha512-{base64.b64encode(digest.digest()).decode()}" != INTEGRITY:
        raise PeerRefused(
            f"{file.name} is not {NAME} {VERSION} as it was published: its SHA-512 is another one; nothing was unpacked"
        )
