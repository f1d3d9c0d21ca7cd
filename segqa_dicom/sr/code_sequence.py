"""Code sequences (PS3.3, section 8.8) as bytes."""

from __future__ import annotations

from functools import lru_cache

from segqa_dicom.dicom import encoding
from segqa_dicom.model import Code
from segqa_dicom.sr import codes


def coded(tag: int, code: Code) -> bytes:
    """A code sequence with `code` as its one item (PS3.3, section 8.8); nothing is cut here."""
    # Codes are equal whatever they are called, but their bytes are not: the meaning is part of the key.
    return _coded(tag, code.value, code.scheme, code.meaning)


@lru_cache(maxsize=4096)
def _coded(tag: int, value: str, scheme: str, meaning: str) -> bytes:
    designator, name = encoding.text(0x00080102, "SH", scheme), encoding.text(0x00080104, "LO", meaning)
    if len(value) <= codes.VALUE_LENGTH:
        return encoding.sequence(tag, [encoding.item((encoding.text(0x00080100, "SH", value), designator, name))])
    if value.startswith("urn") or "://" in value:
        return encoding.sequence(tag, [encoding.item((designator, name, encoding.text(0x00080120, "UR", value)))])
    return encoding.sequence(tag, [encoding.item((designator, name, encoding.text(0x00080119, "UC", value)))])
