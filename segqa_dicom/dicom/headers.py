"""File headers without pydicom: the fast path of everything that opens many files.

`open_plainly` returns an `OpenedObject` like that of `open_object`. Its data set has the offsets of its elements and
converts values on access, with the results of pydicom; anything unusual (a VR other than the dictionary's, several
values where one is expected, characters beyond ASCII, ...) is left to pydicom. Files with an unusual encoding are read
by pydicom from the beginning.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, BinaryIO, cast

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from segqa_dicom.dicom.elements import (
    SPECIFIC_CHARACTER_SET,
    UNDEFINED_LENGTH,
    Cut,
    Element,
    Unfamiliar,
    element_list,
    file_meta,
    items,
)
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import PREAMBLE_BYTES, OpenedObject, open_object
from segqa_dicom.dicom.sop_classes import MEDIA_STORAGE_DIRECTORY
from segqa_dicom.dicom.transfer_syntaxes import COMPRESSIONS, DEFLATED_IMAGE_FRAME

_FIRST_BYTES = 1 << 13
"""Bytes of the first read; the header of a CT slice has 2 to 6 KB."""
_MOST_BYTES = 1 << 26
"""Larger headers are left to pydicom, which need not keep all of them in memory."""

_SYNTAXES = {
    uid.encode(): UID(uid)
    for uid in (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DEFLATED_IMAGE_FRAME, *COMPRESSIONS)
}
"""Transfer syntaxes with a little endian data set that is not deflated."""
_PLAIN_CHARACTER_SETS = frozenset(
    (
        *(b"", b"ISO_IR 6", b"ISO_IR 192", b"GB18030", b"GBK", b"\\ISO 2022 IR 87", b"ISO 2022 IR 6\\ISO 2022 IR 87"),
        *(b"ISO_IR %d" % number for number in (100, 101, 109, 110, 126, 127, 138, 144, 148)),
        *(b"\\ISO 2022 IR 149", b"\\ISO 2022 IR 58", b"ISO 2022 IR 100"),
    )
)
"""Values of Specific Character Set in which ASCII bytes are ASCII characters."""

_SOP_CLASS_UID = 0x00080016
_META_LENGTH, _MEDIA_CLASS, _TRANSFER_SYNTAX = 0x00020000, 0x00020002, 0x00020010
_FIRST_META = frozenset(((_META_LENGTH, b"UL"), (0x00020001, b"OB"), (_MEDIA_CLASS, b"UI")))
"""First elements of the file meta information whose value pydicom can convert."""
_META_STOP = PREAMBLE_BYTES + 12
_FLOAT_PIXEL_DATA, _DOUBLE_FLOAT_PIXEL_DATA = 0x7FE00008, 0x7FE00009


@dataclass(slots=True)
class PlainObject(OpenedObject):
    """A file whose header is plain.

    pixel_start, pixel_stop : offsets of the value of native pixel data; -1 if there are none
    size : bytes of the file
    """

    pixel_start: int = -1
    pixel_stop: int = -1
    size: int = 0

    @property
    def is_implicit(self) -> bool:
        """Whether elements have no VR."""
        return bool(self.transfer_syntax == ImplicitVRLittleEndian)


def open_header(path: Path, limits: Limits) -> OpenedObject:
    """The header of a file, by the fast path where possible; raises as `open_object` does."""
    return open_plainly(path, limits) or open_object(path, limits)


def open_plainly(path: Path, limits: Limits, *, keywords: Sequence[str] | None = None) -> PlainObject | None:
    """The header of a file by the fast path; None if that does not support the file, which may be valid.

    keywords : the only attributes that are needed, for the parts that pydicom reads
    """

    def full() -> Dataset:
        return open_object(path, limits, keywords=keywords).dataset

    try:
        with path.open("rb", buffering=0) as stream:
            return _opened(path, limits, cast("BinaryIO", stream), full)
    except (Unfamiliar, OSError):
        return None


def _opened(path: Path, limits: Limits, stream: BinaryIO, full: Callable[[], Dataset]) -> PlainObject:
    size = os.fstat(stream.fileno()).st_size
    if size > limits.max_file_bytes:
        raise Unfamiliar("a file above the limits")
    data = stream.read(_FIRST_BYTES)
    while True:
        try:
            return _parsed(path, data, size, full)
        except Cut as cut:
            needed = max(cut.needed, 4 * len(data))
            if cut.needed > min(size, _MOST_BYTES):
                raise
            more = stream.read(needed - len(data))
            if not more:
                raise
            data += more


def _parsed(path: Path, data: bytes, size: int, full: Callable[[], Dataset]) -> PlainObject:
    syntax, start = _file_meta(data)
    implicit = syntax == ImplicitVRLittleEndian
    if implicit and data[start + 4 : start + 6].isalpha():
        raise Unfamiliar("pydicom would take the length of the first element for a VR")
    found = element_list(data, start, len(data), implicit=implicit)
    if not found:
        raise Unfamiliar("no elements")
    stop = found[-1][4]
    if stop == len(data) < size:
        raise Cut(stop + 1)
    index = {element[0]: element for element in found}
    _check_header(data, index, implicit=implicit)
    dataset = PlainDataset(data[:stop], index, implicit=implicit, full=full)
    opened = PlainObject(path, cast("Dataset", dataset), syntax, -1, size=size)
    if stop < len(data):
        opened.pixel_offset = stop
        opened.pixel_start, opened.pixel_stop = _pixel_value(data, stop, implicit=implicit)
    return opened


def _file_meta(data: bytes) -> tuple[UID, int]:
    """Transfer syntax, and offset of the data set."""
    if data[128:PREAMBLE_BYTES] != b"DICM":
        raise Unfamiliar("no preamble")
    elements, start = file_meta(data, PREAMBLE_BYTES)
    found = {element[0]: element for element in elements}
    if not elements or elements[0][:2] not in _FIRST_META or (_META_LENGTH in found and elements[0][4] != _META_STOP):
        raise Unfamiliar("file meta information that begins in an unusual way")
    if int.from_bytes(data[start : start + 2], "little") < 2:
        raise Unfamiliar("a command set")
    syntax, media_class = found.get(_TRANSFER_SYNTAX), found.get(_MEDIA_CLASS)
    if syntax is None or syntax[1] != b"UI" or (uid := data[syntax[3] : syntax[4]].rstrip(b"\0 ")) not in _SYNTAXES:
        raise Unfamiliar("another transfer syntax")
    if media_class is not None and MEDIA_STORAGE_DIRECTORY.encode() in data[media_class[3] : media_class[4]]:
        raise Unfamiliar("the directory of a disc")
    return _SYNTAXES[uid], start


_Index = dict[int, tuple[int, bytes, int, int, int]]


def _check_header(data: bytes, index: _Index, *, implicit: bool) -> None:
    if _SOP_CLASS_UID not in index:
        raise Unfamiliar("no SOP Class UID")
    if _FLOAT_PIXEL_DATA in index or _DOUBLE_FLOAT_PIXEL_DATA in index:
        raise Unfamiliar("pixels that are no integers")
    if (charset := index.get(SPECIFIC_CHARACTER_SET)) is not None:
        _, vr, _, start, stop = charset
        if vr != (b"" if implicit else b"CS") or data[start:stop].rstrip(b" ") not in _PLAIN_CHARACTER_SETS:
            raise Unfamiliar("an unusual character set")


def _pixel_value(data: bytes, begin: int, *, implicit: bool) -> tuple[int, int]:
    """Start and stop offset of native pixel data; (-1, -1) for encapsulated ones."""
    if implicit:
        start = begin + 8
    elif data[begin + 4 : begin + 6] in (b"OB", b"OW"):
        start = begin + 12
    else:
        return -1, -1
    length = int.from_bytes(data[start - 4 : start], "little")
    return (start, start + length) if length != UNDEFINED_LENGTH else (-1, -1)


class PlainDataset:
    """A stand-in for a pydicom `Dataset`: `get` and `in` work on the bytes, everything else on pydicom's data set.

    data : the file from its beginning
    index : elements by tag
    full : reads pydicom's data set
    """

    __slots__ = ("_data", "_full", "_implicit", "_index", "_known")

    def __init__(self, data: bytes, index: _Index, *, implicit: bool, full: Callable[[], Dataset]) -> None:
        self._data = data
        self._index = index
        self._implicit = implicit
        self._full = full
        self._known: Dataset | None = None

    def __contains__(self, keyword: str) -> bool:
        return _attribute(keyword)[0] in self._index

    def get(self, keyword: str, default: Any = None) -> Any:
        """The value of an element; text as str, numbers as int or float, several values as tuple, items as list."""
        try:
            return self.plain(keyword, default)
        except Unfamiliar:
            return self._pydicom().get(keyword, default)

    def plain(self, keyword: str, default: Any = None) -> Any:
        """`get` without pydicom; raises `Unfamiliar` if that is not possible."""
        tag, vr = _attribute(keyword)
        element = self._index.get(tag)
        if element is None:
            return default
        if element[1] != vr and not self._implicit:
            raise Unfamiliar("another VR than the dictionary's")
        if vr == b"SQ":
            self.plain("PixelRepresentation")  # which pydicom hands down to the items, and fails if it cannot
            return self._items(keyword, Element._make(element))
        return _value(vr, self._data[element[3] : element[4]])

    def raw(self, keyword: str) -> bytes | None:
        """The bytes of a value with padding; None if the element is missing.

        Raises `Unfamiliar` if the element has another VR than the dictionary's.
        """
        tag, vr = _attribute(keyword)
        element = self._index.get(tag)
        if element is None:
            return None
        if element[1] != vr and not self._implicit:
            raise Unfamiliar("another VR than the dictionary's")
        return self._data[element[3] : element[4]]

    def walked(self) -> tuple[bytes, list[tuple[int, bytes, int, int, int]]]:
        """The bytes of the file up to its pixel data, and the elements of this data set as in `element_list`."""
        return self._data, list(self._index.values())

    def has_group(self, group: int) -> bool:
        """Whether the data set has an element of a group."""
        for tag in reversed(self._index):  # ascending; groups that are asked for stand near the end
            if tag >> 16 <= group:
                return tag >> 16 == group
        return False

    def _items(self, keyword: str, sequence: Element) -> list[PlainDataset]:
        return [
            PlainDataset(
                self._data,
                _indexed(self._data, start, stop, implicit=self._implicit),
                implicit=self._implicit,
                full=lambda number=number: self._pydicom().get(keyword)[number],  # type: ignore[misc]
            )
            for number, (start, stop) in enumerate(items(self._data, sequence, implicit=self._implicit))
        ]

    def _pydicom(self) -> Dataset:
        if self._known is None:
            self._known = self._full()
        return self._known

    def __getitem__(self, key: Any) -> Any:
        return self._pydicom()[key]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pydicom(), name)


def _indexed(data: bytes, start: int, stop: int, *, implicit: bool) -> _Index:
    return {element[0]: element for element in element_list(data, start, stop, implicit=implicit, in_item=True)}


@cache
def _attribute(keyword: str) -> tuple[int, bytes]:
    """Tag and VR of a keyword in the data dictionary."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(f"no such attribute: {keyword}")
    return tag, dictionary_VR(tag).encode()


def _value(vr: bytes, raw: bytes) -> Any:
    """The value of an element as pydicom converts it."""
    convert = _CONVERTERS.get(vr)
    if convert is None:
        raise Unfamiliar("a VR that pydicom may convert")
    return convert(raw)


_UID = re.compile(rb"[0-9.]{1,64}[\0 ]?\Z")
_NUMBER = rb" *[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)? *"
_DECIMALS = re.compile(_NUMBER + rb"(?:\\" + _NUMBER + rb")*\Z")
_INTEGER = re.compile(rb" *[+-]?[0-9]{1,9} *\Z")


def _uid(raw: bytes) -> str:
    if raw and not _UID.match(raw):
        raise Unfamiliar("an unusual UID")
    return raw.rstrip(b"\0 ").decode()


def _text(raw: bytes) -> str:
    """One value of ASCII characters without control characters."""
    value = raw.rstrip(b"\0 ").decode("latin-1")
    if not value.isascii() or not value.isprintable() or "\\" in value:
        raise Unfamiliar("text that depends on the character set, or several values")
    return value


def _code_strings(raw: bytes) -> str | tuple[str, ...]:
    if b"\\" not in raw:
        return _text(raw)
    value = raw.rstrip(b"\0 ").decode("latin-1")
    if not value.isascii() or not value.isprintable():
        raise Unfamiliar("an unusual code string")
    return tuple(value.split("\\"))


class _Decimal(float):
    """A decimal string with its original text, as pydicom's DSfloat: documents repeat it."""

    def __init__(self, written: bytes) -> None:
        self.written = written.decode().strip(" ")

    def __str__(self) -> str:
        return self.written


class _Integer(int):
    """An integer string with its original text."""

    def __init__(self, written: bytes) -> None:
        self.written = written.decode().strip(" ")

    def __str__(self) -> str:
        return self.written


@lru_cache(maxsize=1024)
def _decimals(raw: bytes) -> _Decimal | tuple[_Decimal, ...] | None:
    # Cached: slope, spacing and orientation are the same bytes in each slice of a series.
    if not raw:
        return None
    if not _DECIMALS.match(raw):
        raise Unfamiliar("an unusual number")
    parts = tuple(map(_Decimal, raw.split(b"\\")))
    return parts if len(parts) > 1 else parts[0]


def _integer(raw: bytes) -> _Integer | None:
    if not raw:
        return None
    if not _INTEGER.match(raw):
        raise Unfamiliar("an unusual number, or several")
    return _Integer(raw)


def _unsigned_short(raw: bytes) -> int | None:
    if not raw:
        return None
    if len(raw) != 2:
        raise Unfamiliar("several numbers")
    return raw[0] | raw[1] << 8


_CONVERTERS: dict[bytes, Callable[[bytes], Any]] = {
    b"UI": _uid,
    b"CS": _code_strings,
    b"LO": _text,
    b"SH": _text,
    b"DS": _decimals,
    b"IS": _integer,
    b"US": _unsigned_short,
}
