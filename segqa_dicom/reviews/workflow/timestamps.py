"""DICOM date-times (VR DT) from and to seconds since 1970."""

from __future__ import annotations

from datetime import datetime


def made_at(now: float) -> str:
    """A time in seconds since 1970 as DICOM writes it, in local time with its offset from UTC."""
    return datetime.fromtimestamp(now).astimezone().strftime("%Y%m%d%H%M%S%z")


def seconds_of(stamp: str) -> float:
    """Seconds since 1970 of a date and time as DICOM writes them; 0 for what is none."""
    for form in ("%Y%m%d%H%M%S%z", "%Y%m%d%H%M%S.%f%z", "%Y%m%d%H%M%S"):
        try:
            return datetime.strptime(stamp, form).timestamp()  # noqa: DTZ007 - without an offset it is local time
        except ValueError:
            continue
    return 0.0
