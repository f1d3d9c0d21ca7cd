"""Kinds of documents that segqa writes."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """Kind of a document; the values are part of its identity."""

    REPORT = "report"
    COMPARE = "compare"
    REVIEW = "review"
    KEYIMG = "keyimg"
    REVIEW_KEYIMG = "review_keyimg"


MACHINE_KINDS = (Kind.REPORT, Kind.COMPARE, Kind.KEYIMG)
"""Kinds without a human author."""
