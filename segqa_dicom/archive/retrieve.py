"""Retrieval of objects by WADO-RS (PS3.18, section 10.4) into files whose names are not taken from the answer."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import requests

from segqa_dicom.archive.transport import Peer
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.multipart import media_type, parts
from segqa_dicom.dicom.opening import open_object, text
from segqa_dicom.errors import InputError, LimitExceeded, PeerRefused, PeerUnavailable

_CHUNK_BYTES = 1 << 18
_ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
"""In the stored transfer syntax; without the last parameter servers may decompress."""
_IDENTITY = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_MAX_PARTS = 200_000

Identity = tuple[str, ...]
"""StudyInstanceUID, SeriesInstanceUID, SOPInstanceUID and SOPClassUID as the object states them."""
Found = Callable[[Identity], Path | None]
"""Returns the path of an object by its identity; None if it is not wanted."""


def file_name(sop_instance_uid: str) -> str:
    """The file name of an object: SHA-256 of its UID, which itself must never become a path."""
    return f"{hashlib.sha256(sop_instance_uid.encode()).hexdigest()}.dcm"


def retrieve(peer: Peer, path: str, folder: Path, limits: Limits, keep: Found) -> bool:
    """Retrieve all objects of a DICOMweb path into files.

    keep : returns the path of each file by the identity of its object, which is empty strings if it cannot be read

    Objects are streamed to disk; files get their names when they are complete. Returns whether the path exists.
    Raises `PeerUnavailable` for a truncated answer, whose complete objects are kept.
    """
    with (
        peer.translated(),
        peer.session.get(
            f"{peer.url}{path}",
            headers={"Accept": _ACCEPT},
            timeout=peer.timeouts_s,
            stream=True,
            allow_redirects=False,
        ) as response,
    ):
        if response.status_code in (204, 404, 410):
            return False
        peer.check_status(response.status_code)
        for index, part in enumerate(_parts(response)):
            if index >= _MAX_PARTS:
                raise PeerRefused("an answer of the archive has more parts than any series")
            _take(part, folder, limits, keep)
    return True


def _parts(response: requests.Response) -> Iterator[Iterator[bytes]]:
    if response.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
        raise PeerRefused("the archive compresses its answers although it was asked not to: switch that off")
    kind, boundary = media_type(response.headers.get("Content-Type", ""))
    chunks = response.iter_content(_CHUNK_BYTES)
    if kind == "application/dicom":
        return iter((chunks,))
    if kind != "multipart/related":
        raise PeerRefused("the archive does not answer with DICOM files: is its URL the root of DICOMweb?")
    return parts(chunks, boundary)


def _take(part: Iterator[bytes], folder: Path, limits: Limits, keep: Found) -> None:
    path = folder / f"{secrets.token_hex(16)}.part"
    try:
        size = 0
        with path.open("xb") as stream:
            for chunk in part:
                size += len(chunk)
                if size > limits.max_file_bytes:
                    raise LimitExceeded(f"an object of the archive is larger than {limits.max_file_bytes} bytes")
                stream.write(chunk)
        if target := keep(_identity(path, limits)):
            path.replace(target)
    except OSError as error:
        if isinstance(error, requests.RequestException):
            raise
        raise PeerUnavailable(f"what the archive sends cannot be written to disk ({error.strerror})") from error
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _identity(path: Path, limits: Limits) -> Identity:
    try:
        dataset = open_object(path, limits, keywords=_IDENTITY).dataset
    except InputError:
        return ("",) * len(_IDENTITY)
    return tuple(text(dataset, keyword).strip(" \0") for keyword in _IDENTITY)
