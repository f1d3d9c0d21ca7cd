"""Data elements encoded in Explicit VR Little Endian (PS3.5, section 7.1.2), the transfer syntax of all documents.

A document has ten thousand elements of a dozen forms. pydicom makes an object of each and looks it up several times;
here an element is encoded at once. Sequences and items have defined lengths, as pydicom writes
them: the tests hold every form against pydicom's writer.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from struct import Struct

from segqa_dicom.dicom.value_representations import LONG_LENGTH_VRS

_TAG = Struct("<HH")
_SHORT_LENGTH, _LONG_LENGTH = Struct("<H"), Struct("<I")
_LONG = frozenset(LONG_LENGTH_VRS)
_ITEM = _TAG.pack(0xFFFE, 0xE000)
_MOST = {2: 0xFFFE, 4: 0xFFFFFFFE}
"""The largest even length by the bytes of the length field."""


def element(tag: int, vr: str, value: bytes) -> bytes:
    """An element with a value of even length; raises ValueError if the value is too long for its VR."""
    if vr in _LONG:
        return b"".join((_prefix(tag, vr), _LONG_LENGTH.pack(_fitting(value, 4)), value))
    return b"".join((_prefix(tag, vr), _SHORT_LENGTH.pack(_fitting(value, 2)), value))


def text(tag: int, vr: str, words: str) -> bytes:
    """An element with a text in UTF-8, padded with a null for UI, else with a space."""
    value = words.encode()
    return element(tag, vr, value if len(value) % 2 == 0 else value + (b"\0" if vr == "UI" else b" "))


def item(elements: Iterable[bytes]) -> bytes:
    """One item of a sequence; elements must ascend by tag."""
    value = b"".join(elements)
    return b"".join((_ITEM, _LONG_LENGTH.pack(_fitting(value, 4)), value))


def sequence(tag: int, items: Iterable[bytes]) -> bytes:
    """A sequence of items."""
    return element(tag, "SQ", b"".join(items))


def tag_of(encoded: bytes) -> int:
    """The tag of an element."""
    group, number = _TAG.unpack_from(encoded)
    return int(group) << 16 | int(number)


@lru_cache(maxsize=256)
def _prefix(tag: int, vr: str) -> bytes:
    """Tag, VR and, where the length has 32 bits, the two reserved bytes before it."""
    return _TAG.pack(tag >> 16, tag & 0xFFFF) + vr.encode() + (b"\0\0" if vr in _LONG else b"")


def _fitting(value: bytes, field_bytes: int) -> int:
    length = len(value)
    if length % 2 or length > _MOST[field_bytes]:
        raise ValueError(f"a value of {length} bytes cannot be written")
    return length
