"""One canonical log line per case: what was done and how long it took, without patient data.

Identifiers are hashed: the line can be matched with a known UID, but tells nobody who the patient is.
"""

from __future__ import annotations

import hashlib
import json
import logging

LOGGER = logging.getLogger("segqa")


def hashed(identifier: str) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of an identifier."""
    return hashlib.sha256(identifier.encode()).hexdigest()[:12]


def event(name: str, **fields: str | int | float) -> None:
    """Log an event with its fields as one line of JSON; fields are counts, durations and hashes only."""
    LOGGER.info("%s", json.dumps({"event": name, **fields}, sort_keys=True))
