"""Errors of requests for images."""

from __future__ import annotations

from segqa_dicom.errors import InputError


class NothingToShow(InputError):
    """Raised for a CT series that is not archived or has no readable segmentation."""


class NoSuchSegment(InputError):
    """Raised for an unknown segmentation or segment."""


class NoSuchPlane(InputError):
    """Raised for an unknown view, an out-of-range plane or an invalid window."""
