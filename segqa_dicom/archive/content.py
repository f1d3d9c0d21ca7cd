"""Comparison of the content of two DICOM files, whatever their encoding.

An archive may encode an object again: sequences of defined instead of undefined length, other file meta information, no
group lengths, implicit instead of explicit VR. Its content is the same. Compared are the elements with their values,
the items of sequences, and for encapsulated pixel data the transfer syntax.

Not recognised as equal: a private sequence of defined length in implicit VR and the same in explicit VR; big endian and
little endian; pixel data that were compressed again.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

from pydicom.datadict import dictionary_VR
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from segqa_dicom.archive.base import Content
from segqa_dicom.dicom.elements import FIRST_DELIMITER, ITEM, ITEM_END, SEQUENCE_END, UNDEFINED_LENGTH
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import PREAMBLE_BYTES, inflate
from segqa_dicom.dicom.value_representations import SHORT_LENGTH_VRS
from segqa_dicom.errors import UnreadableObject

_TRAILING_PADDING = 0xFFFCFFFC
_TRANSFER_SYNTAX = 0x00020010
_SHORT_LENGTH = frozenset(vr.encode() for vr in SHORT_LENGTH_VRS)
"""All other VRs, future ones included, have a length of 32 bits (PS3.5, section 7.1.2)."""
_MAX_DEPTH = 32
_CHUNK_BYTES = 1 << 20
_SMALL_BYTES = 1 << 16
_EQUAL_SYNTAXES = frozenset((str(ImplicitVRLittleEndian), str(ExplicitVRLittleEndian)))
"""Transfer syntaxes with the same encoding of values."""

_explicit_fields = struct.Struct("<HH2sH").unpack_from
_implicit_fields = struct.Struct("<HHI").unpack_from
_length_field = struct.Struct("<I").unpack_from
_head = struct.Struct("<IQ").pack
_SEQUENCE = 2**64 - 1
"""In place of the length of a value; longer than any."""
_OPEN_ITEM, _CLOSE = b"\xff" * 8, b"\xfe" + b"\xff" * 7
"""Marks that begin like no tag of an element."""

_Bytes = bytes | mmap.mmap


@dataclass(frozen=True, slots=True)
class _Opened:
    """An object in memory or mapped.

    start : offset of the data set, behind the file meta information
    syntax : Transfer Syntax UID; empty if there is no file meta information
    """

    data: _Bytes
    start: int
    syntax: str

    @property
    def form(self) -> str:
        """The transfer syntax, inferred if it is not stated."""
        return self.syntax or guessed_syntax(self.data[self.start : self.start + 8])


def content_digest(content: Content, limits: Limits | None = None) -> str:
    """SHA-256, in hexadecimal, of the content of a DICOM file, independent of its encoding; in little memory.

    Raises `UnreadableObject` for a file that is not DICOM, truncated, or nested too deeply; `LimitExceeded` for one
    that inflates beyond the limits.
    """
    with _opened(content, limits or Limits()) as opened:
        return _digest(opened)


def same_content(one: Content, other: Content, limits: Limits | None = None) -> bool:
    """Whether two DICOM files have the same content; they are not parsed if their data sets are the same bytes.

    Raises as `content_digest` does.
    """
    limits = limits or Limits()
    with _opened(one, limits) as first, _opened(other, limits) as second:
        if first.syntax == second.syntax and _same_bytes(first, second):
            return True
        return _digest(first) == _digest(second)


def guessed_syntax(begin: bytes) -> str:
    """Transfer Syntax UID of a data set without file meta information, by its first bytes."""
    if begin[:1] == b"\0":
        return str(ExplicitVRBigEndian)
    return str(ExplicitVRLittleEndian if _is_vr(begin[4:6]) else ImplicitVRLittleEndian)


@contextmanager
def _opened(content: Content, limits: Limits) -> Iterator[_Opened]:
    if isinstance(content, bytes):
        yield _inflated(_Opened(content, *_behind_meta(content)), limits)
        return
    try:
        with content.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            data.madvise(mmap.MADV_SEQUENTIAL)
            yield _inflated(_Opened(data, *_behind_meta(data)), limits)
    except (OSError, ValueError) as error:  # an empty file cannot be mapped
        raise UnreadableObject(f"file cannot be read ({type(error).__name__})") from error


def _behind_meta(data: _Bytes) -> tuple[int, str]:
    if len(data) < 16:
        raise UnreadableObject("it is not a DICOM file: it is too short")
    position = PREAMBLE_BYTES if data[128:PREAMBLE_BYTES] == b"DICM" else 0
    syntax = ""
    has_meta = False
    while data[position : position + 2] == b"\x02\x00":
        try:
            tag, _, value, length = _element(data, position, implicit=False)
        except struct.error as error:
            raise UnreadableObject("it is truncated within its file meta information") from error
        position, has_meta = value + length, True
        if position > len(data):
            raise UnreadableObject("it is truncated within its file meta information")
        if tag == _TRANSFER_SYNTAX:
            syntax = data[value:position].rstrip(b" \0").decode("ascii", "replace")
    if not has_meta and data[position : position + 2] not in (b"\x08\x00", b"\x00\x08"):
        raise UnreadableObject("it is not a DICOM file: it has neither a preamble nor the beginning of a data set")
    return position, syntax


def _inflated(opened: _Opened, limits: Limits) -> _Opened:
    if opened.syntax != DeflatedExplicitVRLittleEndian:
        return opened
    try:
        plain = inflate(opened.data[opened.start :], limits.max_inflated_bytes)
    except zlib.error as error:
        raise UnreadableObject("its deflated data set is damaged") from error
    return _Opened(plain, 0, str(ExplicitVRLittleEndian))


def _same_bytes(one: _Opened, other: _Opened) -> bool:
    length = len(one.data) - one.start
    if length != len(other.data) - other.start:
        return False
    for offset in range(0, length, _CHUNK_BYTES):
        here, there = one.start + offset, other.start + offset
        if one.data[here : here + _CHUNK_BYTES] != other.data[there : there + _CHUNK_BYTES]:
            return False
        _forget(one.data, here)
        _forget(other.data, there)
    return True


def _forget(data: _Bytes, before: int) -> None:
    """Release the pages of a mapped file in the two chunks before an offset, so that they do not add up in memory."""
    begin, end = max(0, before - 2 * _CHUNK_BYTES) // mmap.PAGESIZE, before // mmap.PAGESIZE
    if isinstance(data, mmap.mmap) and end > begin:
        data.madvise(mmap.MADV_DONTNEED, begin * mmap.PAGESIZE, (end - begin) * mmap.PAGESIZE)


def _digest(opened: _Opened) -> str:
    canonical = _Canonical(opened.data)
    if opened.form not in _EQUAL_SYNTAXES:
        canonical.put(opened.form.encode())
    if opened.form == ExplicitVRBigEndian:
        canonical.put_value(opened.start, len(opened.data))  # retired: no archive converts to it
    else:
        try:
            canonical.put_data_set(opened.start, len(opened.data), implicit=opened.form == ImplicitVRLittleEndian)
        except struct.error as error:
            raise UnreadableObject("it is truncated within an element") from error
    return canonical.hexdigest()


class _Canonical:
    """The digest of a data set in a canonical form: tag, length and value of each element, marks around items.

    It has no VR: implicit VR has none, and it follows from the tag.
    """

    def __init__(self, data: _Bytes) -> None:
        self._data = data
        self._digest = hashlib.sha256()
        self._pending = bytearray(b"segqa-content-1\0")

    def hexdigest(self) -> str:
        self._flush()
        return self._digest.hexdigest()

    def put(self, piece: bytes) -> None:
        self._pending += piece
        if len(self._pending) > _CHUNK_BYTES:
            self._flush()

    def put_value(self, start: int, stop: int) -> None:
        if stop - start < _SMALL_BYTES:
            self.put(self._data[start:stop])
            return
        self._flush()
        for offset in range(start, stop, _CHUNK_BYTES):
            end = min(offset + _CHUNK_BYTES, stop)
            self._digest.update(self._data[offset:end])
            _forget(self._data, end)

    def _flush(self) -> None:
        self._digest.update(self._pending)
        self._pending = bytearray()

    def put_data_set(self, start: int, stop: int, *, implicit: bool, depth: int = 0, is_open: bool = False) -> int:
        """Put the elements from `start`; returns the offset behind them.

        is_open : whether it is an item of undefined length, ended by a delimiter
        """
        if depth > _MAX_DEPTH:
            raise UnreadableObject(f"its sequences are nested deeper than {_MAX_DEPTH}")
        position = start
        while position < stop:
            tag, vr, value, length = _element(self._data, position, implicit=implicit)
            if tag >= FIRST_DELIMITER:
                if tag == ITEM_END and is_open:
                    return position + 8
                raise UnreadableObject("an invalid tag is between its elements")
            if length == UNDEFINED_LENGTH:
                position = self._put_open(tag, vr, value, stop, implicit=implicit, depth=depth)
                continue
            position = value + length
            if position > stop:
                raise UnreadableObject("it is truncated within an element")
            if tag & 0xFFFF == 0 or tag == _TRAILING_PADDING:
                continue  # group lengths and padding are no content
            if vr == b"SQ":
                self.put(_head(tag, _SEQUENCE))
                self._put_items(value, position, implicit=implicit, depth=depth, is_open=False)
            else:
                self.put(_head(tag, length))
                self.put_value(value, position)
        if is_open:
            raise UnreadableObject("it is truncated within an item")
        return position

    def _put_open(self, tag: int, vr: bytes, start: int, stop: int, *, implicit: bool, depth: int) -> int:
        """An element of undefined length: a sequence, or pixel data in fragments."""
        self.put(_head(tag, _SEQUENCE))
        if vr in (b"OB", b"OW"):
            return self._put_fragments(start, stop)
        if not implicit and vr not in (b"SQ", b"UN"):
            raise UnreadableObject("an element other than a sequence has undefined length")
        inside = implicit or vr == b"UN"  # PS3.5, section 6.2.2: then it is in implicit VR
        return self._put_items(start, stop, implicit=inside, depth=depth, is_open=True)

    def _put_items(self, start: int, stop: int, *, implicit: bool, depth: int, is_open: bool) -> int:
        position = start
        while position < stop:
            tag, length = _item_header(self._data, position)
            position += 8
            if tag == SEQUENCE_END and is_open:
                self.put(_CLOSE)
                return position
            if tag != ITEM:
                raise UnreadableObject("an invalid tag is between its items")
            self.put(_OPEN_ITEM)
            is_item_open = length == UNDEFINED_LENGTH
            end = stop if is_item_open else position + length
            if end > stop:
                raise UnreadableObject("an item ends beyond its sequence")
            position = self.put_data_set(position, end, implicit=implicit, depth=depth + 1, is_open=is_item_open)
            self.put(_CLOSE)
        if is_open:
            raise UnreadableObject("it is truncated within a sequence")
        self.put(_CLOSE)
        return position

    def _put_fragments(self, start: int, stop: int) -> int:
        position = start
        while position < stop:
            tag, length = _item_header(self._data, position)
            position += 8
            if tag == SEQUENCE_END:
                self.put(_CLOSE)
                return position
            if tag != ITEM or position + length > stop:
                raise UnreadableObject("it is truncated within its pixel data")
            self.put(_head(tag, length))
            self.put_value(position, position + length)
            position += length
        raise UnreadableObject("it is truncated within its pixel data")


def _element(data: _Bytes, position: int, *, implicit: bool) -> tuple[int, bytes, int, int]:
    """Tag, VR, offset of the value, and length of the element at `position`."""
    if implicit:
        group, number, length = _implicit_fields(data, position)
        tag = group << 16 | number
        return tag, _vr_of(tag), position + 8, length
    group, number, vr, length = _explicit_fields(data, position)
    tag = group << 16 | number
    if vr in _SHORT_LENGTH or tag >= FIRST_DELIMITER:
        return tag, vr, position + 8, length
    if not _is_vr(vr):
        raise UnreadableObject("an element has no valid VR")
    return tag, vr, position + 12, _length_field(data, position + 8)[0]


def _item_header(data: _Bytes, position: int) -> tuple[int, int]:
    group, number, length = _implicit_fields(data, position)
    return group << 16 | number, length


@lru_cache(maxsize=1 << 14)
def _vr_of(tag: int) -> bytes:
    """The VR of a tag in the data dictionary; empty for an unknown tag."""
    try:
        return dictionary_VR(tag).encode()
    except KeyError:
        return b""


def _is_vr(letters: bytes) -> bool:
    return len(letters) == 2 and letters.isalpha() and letters.isupper()
