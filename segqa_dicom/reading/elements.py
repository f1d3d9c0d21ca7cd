"""Walking over the elements of a data set in little endian bytes without making objects of them.

The fast path of reading. It knows the two little endian forms of PS3.5, section 7, and gives up (`Unfamiliar`) on
whatever else it meets; who calls it then takes the reference path, which is pydicom's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

UNDEFINED_LENGTH = 0xFFFFFFFF
ITEM = 0xFFFEE000
ITEM_END = 0xFFFEE00D
SEQUENCE_END = 0xFFFEE0DD
PIXEL_DATA = 0x7FE00010

_LONG_FORM = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
"""Value representations with a length of 32 bits (PS3.5, table 7.1-1)."""
_SHORT_FORM = frozenset(
    (
        *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT", b"PN", b"SH"),
        *(b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"),
    )
)
_MAX_DEPTH = 16


class Unfamiliar(Exception):
    """Something that the fast path does not know; says nothing about whether the object is sound."""


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


def elements(data: bytes | memoryview, start: int, stop: int, *, implicit: bool) -> Iterator[Element]:
    """The elements of ``data[start:stop]`` in their order, sequences as one element each; stops before pixel data.

    Raises `Unfamiliar` for whatever is not plain: lengths beyond the end, unknown VR, elements out of order.
    """
    yield from _walk(data, start, stop, implicit=implicit, depth=0)


def items(data: bytes | memoryview, sequence: Element, *, implicit: bool) -> Iterator[tuple[int, int]]:
    """First and last + 1 offset of the data set in each item of a sequence."""
    for begin, end, _ in _items(data, sequence.start, sequence.stop, implicit=implicit, depth=0):
        yield begin, end


def _walk(data: bytes | memoryview, start: int, stop: int, *, implicit: bool, depth: int) -> Iterator[Element]:
    if stop > len(data):
        raise Unfamiliar("beyond the end of the data")
    position, last = start, -1
    while position < stop:
        begin = position
        tag, vr, position, length = _header(data, begin, stop, implicit=implicit)
        if tag <= last:
            raise Unfamiliar("elements out of order")
        last = tag
        if tag == PIXEL_DATA and depth == 0:
            return
        if length == UNDEFINED_LENGTH:
            if vr not in (b"SQ", b""):
                raise Unfamiliar("undefined length of something else than a sequence")
            end = _end_of_sequence(data, position, stop, implicit=implicit, depth=depth + 1)
        else:
            end = position + length
            if end > stop:
                raise Unfamiliar("an element ends behind what it is part of")
        yield Element(tag, vr, begin, position, end)
        position = end


def _header(data: bytes | memoryview, begin: int, stop: int, *, implicit: bool) -> tuple[int, bytes, int, int]:
    """Tag, VR, offset of the value, and length."""
    if begin + 8 > stop:
        raise Unfamiliar("an element is cut")
    tag = int.from_bytes(data[begin : begin + 2], "little") << 16 | int.from_bytes(
        data[begin + 2 : begin + 4], "little"
    )
    if implicit:
        return tag, b"", begin + 8, int.from_bytes(data[begin + 4 : begin + 8], "little")
    vr = bytes(data[begin + 4 : begin + 6])
    if vr in _SHORT_FORM:
        return tag, vr, begin + 8, int.from_bytes(data[begin + 6 : begin + 8], "little")
    if vr not in _LONG_FORM or begin + 12 > stop:
        raise Unfamiliar("an unknown value representation")
    return tag, vr, begin + 12, int.from_bytes(data[begin + 8 : begin + 12], "little")


def _items(
    data: bytes | memoryview, start: int, stop: int, *, implicit: bool, depth: int
) -> Iterator[tuple[int, int, int]]:
    """Begin and end of the data set of each item, and where the next thing begins; ends at the delimiter or `stop`."""
    if depth > _MAX_DEPTH:
        raise Unfamiliar("sequences nested too deep")
    position = start
    while position < stop:
        if position + 8 > stop:
            raise Unfamiliar("an item is cut")
        tag = int.from_bytes(data[position : position + 2], "little") << 16
        tag |= int.from_bytes(data[position + 2 : position + 4], "little")
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        position += 8
        if tag == SEQUENCE_END and length == 0:
            return
        if tag != ITEM:
            raise Unfamiliar("something between items")
        if length == UNDEFINED_LENGTH:
            end, after = _end_of_item(data, position, stop, implicit=implicit, depth=depth)
        else:
            end = after = position + length
        if after > stop:
            raise Unfamiliar("an item ends behind its sequence")
        yield position, end, after
        position = after


def _end_of_item(data: bytes | memoryview, start: int, stop: int, *, implicit: bool, depth: int) -> tuple[int, int]:
    """Where the data set of an item of undefined length ends, and where what follows its delimiter begins."""
    position = start
    while True:
        if position + 8 > stop:
            raise Unfamiliar("an item is cut")
        if data[position : position + 4] == b"\xfe\xff\x0d\xe0":
            return position, position + 8
        _, vr, value, length = _header(data, position, stop, implicit=implicit)
        if length == UNDEFINED_LENGTH:
            if vr not in (b"SQ", b""):
                raise Unfamiliar("undefined length of something else than a sequence")
            position = _end_of_sequence(data, value, stop, implicit=implicit, depth=depth + 1)
        else:
            position = value + length
        if position > stop:
            raise Unfamiliar("an element ends behind what it is part of")


def _end_of_sequence(data: bytes | memoryview, start: int, stop: int, *, implicit: bool, depth: int) -> int:
    position = start
    for _, _, after in _items(data, start, stop, implicit=implicit, depth=depth):
        position = after
    if data[position : position + 4] != b"\xfe\xff\xdd\xe0":
        raise Unfamiliar("a sequence has no end")
    return position + 8
