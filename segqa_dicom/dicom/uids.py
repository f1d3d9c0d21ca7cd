"""DICOM UIDs: validation, and stable UIDs computed from content."""

from __future__ import annotations

import re
import uuid

from segqa_dicom.digests import canonical_json
from segqa_dicom.errors import Inconsistent

PROJECT_NAMESPACE = uuid.UUID("6f0d3a0e-52a6-5c1b-9a0e-5e95a0c1d1b7")
"""Namespace of all computed UIDs; changing it changes the UID of every document."""

_UID = re.compile(r"[0-9]+(\.[0-9]+)*\Z")


def normalised_uid(text: object, *, what: str) -> str:
    """A UID without padding (PS3.5, section 9.1; leading zeros are tolerated).

    Raises `Inconsistent`, naming `what`, for anything else: it must never become a key or a file name.
    """
    uid = str(text or "").strip(" \0")
    if not uid or len(uid) > 64 or not _UID.match(uid):
        raise Inconsistent(f"{what} is not a valid UID")
    return uid


def stable_uid(*parts: object) -> str:
    """The UID of `parts` (JSON values), always the same for the same parts.

    ``2.25.`` + a name-based UUID as an integer (PS3.5, section B.2; RFC 9562, version 5).
    """
    return f"2.25.{uuid.uuid5(PROJECT_NAMESPACE, canonical_json(parts)).int}"
