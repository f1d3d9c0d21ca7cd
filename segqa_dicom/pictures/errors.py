"""What can be wrong with a question for a picture."""

from __future__ import annotations

from segqa_dicom.errors import InputError


class NothingToShow(InputError):
    """The archive has no such CT series, or nothing drawn on it that can be read."""


class NoSuchSegment(InputError):
    """The case has no such segmentation, or that has no such segment."""


class NoSuchPlane(InputError):
    """There is no such view, no plane with that number, or the window is none."""
