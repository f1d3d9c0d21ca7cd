"""Offsets of data elements in little endian bytes, without an object per element: the fast path of reading.

It knows the two little endian forms of PS3.5, section 7, and raises `Unfamiliar` for anything else; callers then take
the reference path, which is pydicom's.

What is accepted is what pydicom divides into the same elements at the same offsets, and nothing that it repairs,
guesses or skips: known VRs only, tags ascending, every length inside what surrounds it. pydicom parses a sequence of
undefined length at once, items and all, and one of defined length when it is asked for; so the items of the former are
walked over here as well, those of the latter are left alone.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from pydicom.datadict import dictionary_VR

from segqa_dicom.dicom.value_representations import LONG_LENGTH_VRS, SHORT_LENGTH_VRS

UNDEFINED_LENGTH = 0xFFFFFFFF
ITEM = 0xFFFEE000
ITEM_END = 0xFFFEE00D
SEQUENCE_END = 0xFFFEE0DD
PIXEL_DATA = 0x7FE00010
SPECIFIC_CHARACTER_SET = 0x00080005

_HEADER_BYTES = {vr.encode(): 8 for vr in ("", *SHORT_LENGTH_VRS)} | {vr.encode(): 12 for vr in LONG_LENGTH_VRS}
"""Bytes before the value, by VR; the empty VR stands for implicit VR."""
FIRST_DELIMITER = 0xFFFE0000
"""The lowest tag of items and delimiters."""
_GROUP_2 = b"\x02\x00"
_ITEM_BYTES = b"\xfe\xff\x00\xe0"
_ITEM_END_BYTES = b"\xfe\xff\x0d\xe0\0\0\0\0"
_MAX_DEPTH = 16
_MAX_ELEMENTS = 1 << 16
"""Far more elements than a real data set has; millions of them would take gigabytes."""

_explicit_header = struct.Struct("<HH2sH").unpack_from
_implicit_header = struct.Struct("<HH0sI").unpack_from
_item_header = struct.Struct("<HHI").unpack_from
_long_length = struct.Struct("<I").unpack_from

_Data = bytes | memoryview
_Found = tuple[int, bytes, int, int, int]


class Unfamiliar(Exception):
    """Raised for an encoding that the fast path does not support; the object may be valid."""


class Cut(Unfamiliar):
    """Raised for data that end inside an element; at least `needed` bytes are necessary to go on."""

    def __init__(self, needed: int) -> None:
        super().__init__("an element ends behind what it is part of")
        self.needed = needed


class Element(NamedTuple):
    """An element of a data set.

    tag : group and element as one number, 0xggggeeee
    vr : two letters; empty in implicit VR
    begin, start, stop : offsets of the element, of its value, and of what follows it. The value of a sequence of
        undefined length includes its delimiter.
    """

    tag: int
    vr: bytes
    begin: int
    start: int
    stop: int


def elements(data: _Data, start: int, stop: int, *, implicit: bool) -> Iterator[Element]:
    """The top-level elements of ``data[start:stop]`` up to pixel data, in order.

    Raises `Unfamiliar`; its subclass `Cut` if an element ends beyond `stop`.
    """
    return map(Element._make, element_list(data, start, stop, implicit=implicit))


def element_list(data: _Data, start: int, stop: int, *, implicit: bool, in_item: bool = False) -> list[_Found]:
    """`elements` as plain tuples, which are faster to make.

    in_item : whether it is the data set of an item, in which Pixel Data do not end the walk
    """
    return _walk(data, start, stop, implicit=implicit, depth=int(in_item))[0]


def file_meta(data: _Data, start: int) -> tuple[list[_Found], int]:
    """The file meta information at `start`, and the offset behind it. Raises as `elements` does.

    Like pydicom, it ends with group 2, whatever File Meta Information Group Length states.
    """
    found: list[_Found] = []
    position, last = start, -1
    while data[position : position + 2] == _GROUP_2:
        if len(data) - position < 12:
            raise Cut(position + 12)
        group, number, vr, length = _explicit_header(data, position)
        value = position + _HEADER_BYTES.get(vr, 0)
        if value - position != 8:
            length = _long_form_length(data, position, value, len(data))
        if number <= last:
            raise Unfamiliar("elements out of order")
        if value + length > len(data):
            raise Cut(value + length)
        found.append((group << 16 | number, vr, position, value, value + length))
        position, last = value + length, number
    return found, position


def items(data: _Data, sequence: Element, *, implicit: bool) -> Iterator[tuple[int, int]]:
    """Start and stop offset of the data set of each item of a sequence.

    Raises as `elements` does; the elements of items of defined length are not checked.
    """
    position, stop = sequence.start, sequence.stop
    if stop > len(data):
        raise Cut(stop)
    while position < stop:
        length = _item_length(data, position, stop)
        position += 8
        if length is None:
            if position != stop:
                raise Unfamiliar("a sequence goes on behind its end")
            return
        end, after = position + length, position + length
        if length == UNDEFINED_LENGTH:
            after = _walk(data, position, stop, implicit=implicit, depth=1, open_end=True)[1]
            end = after - 8
        if after > stop:
            raise Unfamiliar("an item ends behind its sequence")
        yield position, end
        position = after


def _walk(
    data: _Data, start: int, stop: int, *, implicit: bool, depth: int = 0, open_end: bool = False
) -> tuple[list[_Found], int]:
    """The elements, and the offset of their end: at pixel data, at `stop`, or behind the item delimiter.

    depth : number of enclosing sequences; pixel data in an item (of an icon image) are an ordinary element
    open_end : whether it is an item of undefined length
    """
    if stop > len(data):
        raise Cut(stop)
    special = SPECIFIC_CHARACTER_SET if depth else PIXEL_DATA
    read_header = _implicit_header if implicit else _explicit_header
    found: list[_Found] = []
    position, last = start, -1
    while position < stop:
        if stop - position < 8:
            raise Cut(position + 8)
        group, number, vr, length = read_header(data, position)
        tag = group << 16 | number
        if not last < tag < FIRST_DELIMITER:
            if open_end and data[position : position + 8] == _ITEM_END_BYTES:
                return found, position + 8
            raise Unfamiliar("elements out of order")
        value = position + _HEADER_BYTES.get(vr, 0)
        if value - position != 8:
            length = _long_form_length(data, position, value, stop)
        if tag == special:
            return _stopped_at(tag, found, position)
        if length == UNDEFINED_LENGTH:
            _check_sequence(data, tag, vr, value, stop)
            end = _end_of_sequence(data, value, stop, implicit=implicit, depth=depth + 1)
        else:
            end = value + length
            if end > stop:
                raise Cut(end)
        found.append((tag, vr, position, value, end))
        position, last = end, tag
        if len(found) > _MAX_ELEMENTS:
            raise Unfamiliar("too many elements")
    if open_end:
        raise Cut(stop + 8)
    return found, position


def _stopped_at(tag: int, found: list[_Found], position: int) -> tuple[list[_Found], int]:
    if tag == SPECIFIC_CHARACTER_SET:
        raise Unfamiliar("an item in another character set")
    return found, position


def _long_form_length(data: _Data, begin: int, value: int, stop: int) -> int:
    if value == begin:
        raise Unfamiliar("an unknown value representation")
    if value > stop:
        raise Cut(value)
    length: int = _long_length(data, begin + 8)[0]
    return length


def _check_sequence(data: _Data, tag: int, vr: bytes, value: int, stop: int) -> None:
    """Raise unless pydicom takes an element of undefined length for a sequence, by VR, dictionary or first item."""
    if vr:
        known = vr == b"SQ"
    elif tag >> 16 & 1:
        if value + 4 > stop:
            raise Cut(value + 4)
        known = data[value : value + 4] == _ITEM_BYTES
    else:
        try:
            known = dictionary_VR(tag) == "SQ"
        except KeyError:
            known = False
    if not known:
        raise Unfamiliar("undefined length of something else than a sequence")


def _item_length(data: _Data, position: int, stop: int) -> int | None:
    """The length of the item at `position`; None for the sequence delimiter."""
    if stop - position < 8:
        raise Cut(position + 8)
    group, number, length = _item_header(data, position)
    tag = group << 16 | number
    if tag == ITEM:
        return int(length)
    if tag == SEQUENCE_END and length == 0:
        return None
    raise Unfamiliar("something between items")


def _end_of_sequence(data: _Data, start: int, stop: int, *, implicit: bool, depth: int) -> int:
    """The offset behind the delimiter of a sequence of undefined length."""
    if depth > _MAX_DEPTH:
        raise Unfamiliar("sequences nested too deep")
    position = start
    while True:
        length = _item_length(data, position, stop)
        position += 8
        if length is None:
            return position
        if length == UNDEFINED_LENGTH:
            position = _walk(data, position, stop, implicit=implicit, depth=depth, open_end=True)[1]
            continue
        if position + length > stop:
            raise Cut(position + length)
        try:
            position = _walk(data, position, position + length, implicit=implicit, depth=depth)[1]
        except Cut as cut:  # more data would not help: it is the item that is too short
            raise Unfamiliar("an element ends behind its item") from cut
