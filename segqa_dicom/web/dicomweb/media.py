"""Media types: what a request accepts, and what a body says it is (RFC 9110, section 12.5.1; PS3.18, section 8.7)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request

DICOM, DICOM_JSON, JSON = "application/dicom", "application/dicom+json", "application/json"
OCTETS, MULTIPART = "application/octet-stream", "multipart/related"

_SEPARATED = {separator: re.compile(rf'(?:"(?:\\.|[^"\\])*"|[^"{separator}])+') for separator in ",;"}


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type or range.

    name : in small letters, without parameters
    part_type : media type of the parts, of multipart/related; empty if it is not stated
    transfer_syntax : UID, "*", or empty if it is not stated
    quality : 0 = not acceptable
    """

    name: str
    part_type: str = ""
    transfer_syntax: str = ""
    boundary: str = ""
    quality: float = 1.0

    def covers(self, name: str) -> bool:
        """Whether a media type is in this range."""
        return self.name in ("*/*", name, name.split("/")[0] + "/*")

    def covers_part(self, name: str) -> bool:
        """Whether a multipart body with parts of this media type is in this range."""
        if not self.covers(MULTIPART):
            return False
        return not self.part_type or MediaType(self.part_type).covers(name)

    @property
    def is_whole(self) -> bool:
        """Whether it is a range that a single part body fits, and not one of multipart bodies."""
        return self.name != MULTIPART

    def covers_syntax(self, transfer_syntax: str) -> bool:
        """Whether an encoding is in this range; where none is stated, as it is stored is."""
        return self.transfer_syntax in ("", "*", transfer_syntax)


def media_type(text: str) -> MediaType:
    """A media type with its parameters; what is unknown about it is left out."""
    name, *parameters = [part.strip() for part in _SEPARATED[";"].findall(text)] or [""]
    found = {}
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        found[key.strip().lower()] = value.strip().strip('"')
    return MediaType(
        name.lower(),
        found.get("type", "").lower(),
        found.get("transfer-syntax", ""),
        found.get("boundary", ""),
        _quality(found.get("q", "1")),
    )


def _quality(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0


def accepted(request: Request) -> Sequence[MediaType]:
    """What a request accepts, best first; everything if it does not say.

    The query parameter ``accept`` goes before the header (PS3.18, section 8.3.3.1).
    """
    text = request.query_params.get("accept") or ",".join(request.headers.getlist("accept"))
    types = [media_type(part) for part in _SEPARATED[","].findall(text) if part.strip()]
    if not types:
        return [MediaType("*/*")]
    return sorted((one for one in types if one.quality > 0), key=lambda one: -one.quality)


def accepts_json(request: Request) -> str:
    """Which name for DICOM JSON a request accepts; empty if none."""
    for one in accepted(request):
        for name in (DICOM_JSON, JSON):
            if one.covers(name):
                return name
    return ""


def accepts_gzip(request: Request) -> bool:
    """Whether a request accepts bodies compressed by gzip."""
    codings = [media_type(part) for part in request.headers.get("accept-encoding", "").split(",")]
    return any(one.name in ("gzip", "*") and one.quality > 0 for one in codings)
