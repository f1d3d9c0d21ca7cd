"""The frame table of a SEG without a data set per frame: the fast path of `frame_table`.

The Per-Frame Functional Groups Sequence is cut out of the file before pydicom parses the rest. A kernel checks its
nesting (PS3.5, section 7.5) and notes the offsets of the groups of each frame. Frames share most values (all segments
of a slice have its position), so each distinct value is converted once. Anything unusual raises `Unfamiliar` and is
left to the reference path; the result is always that of pydicom.
"""

from __future__ import annotations

import io
import math
import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from segqa_dicom.dicom.elements import (
    PIXEL_DATA,
    SPECIFIC_CHARACTER_SET,
    UNDEFINED_LENGTH,
    Element,
    Unfamiliar,
    elements,
    items,
)
from segqa_dicom.dicom.headers import PlainDataset
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import PREAMBLE_BYTES, OpenedObject, first_item, numbers, source_instances, translated
from segqa_dicom.errors import InputError, LimitExceeded
from segqa_dicom.model import CtVolume, SegmentationType
from segqa_dicom.reading import frame_walk
from segqa_dicom.reading.frame_table import (
    FrameTable,
    frame_grid,
    optional,
    same_orientation,
    same_spacing,
    segment_number,
)

_PER_FRAME = 0x52009230
_PER_FRAME_BYTES = b"\x00\x52\x30\x92"
_META_HEAD = b"\x02\x00\x00\x00UL\x04\x00"
"""(0002,0000) File Meta Information Group Length, which comes first (PS3.10, table 7.1-1)."""
_TRANSFER_SYNTAX_UID = 0x00020010

_SOURCE_IMAGES, _SOURCE_UID = 0x00082112, 0x00081155
_IMAGE_POSITION, _IMAGE_ORIENTATION, _SEGMENT_NUMBER = 0x00200032, 0x00200037, 0x0062000B
_SLICE_THICKNESS, _SPACING_BETWEEN, _PIXEL_SPACING = 0x00180050, 0x00180088, 0x00280030
_DECIMAL = re.compile(rb" *[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)? *", re.ASCII)
_UID = re.compile(rb"([0-9.]{1,64})\0?", re.ASCII)

_ASCII_IS_ASCII = (b"", b"ISO_IR 6", b"ISO_IR 100", b"ISO_IR 192")
"""Usual character sets in which ASCII bytes are ASCII characters (PS3.3, section C.12.1.1.2)."""


def open_indexed(path: Path, limits: Limits) -> tuple[OpenedObject, IndexedGroups]:
    """A SEG object with indexed frames; its data set has no Per-Frame Functional Groups Sequence.

    Raises `LimitExceeded` for a file above the limits, `Unfamiliar` for an unusual encoding.
    """
    size = path.stat().st_size
    if size > limits.max_file_bytes:
        raise LimitExceeded(f"file of {size} bytes is larger than the limit of {limits.max_file_bytes}")
    with path.open("rb") as stream:
        if size <= PREAMBLE_BYTES:
            raise Unfamiliar("no preamble")
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    view = memoryview(mapped)
    syntax, start = _file_meta(view)
    layout = _Layout(mapped, view, start, limits, implicit=syntax == ImplicitVRLittleEndian)
    dataset = layout.rest()
    opened = OpenedObject(path, dataset, syntax, layout.pixel_offset)
    return opened, IndexedGroups(dataset, mapped, layout.ranges, implicit=layout.implicit)


def _file_meta(view: memoryview) -> tuple[UID, int]:
    """Transfer syntax, and offset of the data set."""
    begin = PREAMBLE_BYTES + 12
    if bytes(view[128:140]) != b"DICM" + _META_HEAD:
        raise Unfamiliar("no file meta information, or one without its length")
    stop = begin + int.from_bytes(view[begin - 4 : begin], "little")
    found = {element.tag: element for element in elements(view, begin, stop, implicit=False)}
    if any(tag >> 16 != 2 for tag in found) or bytes(view[stop : stop + 2]) in (b"\0\0", b"\2\0"):
        raise Unfamiliar("file meta information of another length than it says")
    if _TRANSFER_SYNTAX_UID not in found:
        raise Unfamiliar("no transfer syntax")
    syntax = UID(_uid(view, found[_TRANSFER_SYNTAX_UID], implicit=False))
    if syntax in (ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian):
        raise Unfamiliar("big endian, or deflated as a whole")
    return syntax, stop


class _Layout:
    """Offsets of the per-frame sequence, its parts and the pixel data in a file."""

    def __init__(self, mapped: mmap.mmap, view: memoryview, start: int, limits: Limits, *, implicit: bool) -> None:
        self.mapped = mapped
        self.implicit = implicit
        self.begin = mapped.find(_PER_FRAME_BYTES, start)
        if self.begin < 0:
            raise Unfamiliar("no per-frame functional groups")
        # If these bytes were part of another element, the walk would not end exactly here.
        self.elements = list(elements(view, start, self.begin, implicit=implicit))
        self.stop, self.ranges = self._index(view, limits)
        after = list(elements(view, self.stop, len(view), implicit=implicit))
        self.pixel_offset = after[-1].stop if after else self.stop
        if int.from_bytes(view[self.pixel_offset : self.pixel_offset + 2], "little") != PIXEL_DATA >> 16:
            raise Unfamiliar("no pixel data")
        if after and not _PER_FRAME < after[0].tag <= after[-1].tag < PIXEL_DATA & 0xFFFF0000:
            raise Unfamiliar("elements out of order, or pixel data of another kind")
        self.elements += after

    def _index(self, view: memoryview, limits: Limits) -> tuple[int, NDArray[np.int64]]:
        """The end of the per-frame sequence, and the offsets of the groups of each frame."""
        begin = self.begin + (8 if self.implicit else 12)
        if begin > len(view) or not (self.implicit or bytes(view[self.begin + 4 : self.begin + 8]) == b"SQ\0\0"):
            raise Unfamiliar("the per-frame functional groups are no sequence")
        length = int.from_bytes(view[begin - 4 : begin], "little")
        ranges = np.empty((limits.max_frames, len(frame_walk.GROUPS), 2), np.int64)
        data = np.frombuffer(view, np.uint8)
        stop = -1 if length == UNDEFINED_LENGTH else begin + length
        tags = frame_walk.GROUPS, frame_walk.SEQUENCES
        count, end = frame_walk.index_frames(data, begin, stop, self.implicit, *tags, ranges)
        if count == frame_walk.FAILED:
            raise Unfamiliar("per-frame functional groups that are not plain")
        return end, ranges[:count]

    def rest(self) -> Dataset:
        """The data set without the per-frame sequence and the pixel data.

        pydicom parses it and must find the same elements; values are converted by `PlainDataset` where possible.
        """
        plain = self.mapped[: self.begin] + self.mapped[self.stop : self.pixel_offset]
        source = io.BytesIO(plain)
        try:
            with translated("file"):
                dataset = dcmread(source, force=True, stop_before_pixels=True)
        except InputError as error:
            raise Unfamiliar("what pydicom does not take") from error
        cut = self.stop - self.begin
        moved = [one if one.begin < self.stop else _moved(one, -cut) for one in self.elements]
        if source.tell() != len(plain) or [*_values(dataset)] != [(one.tag, one.start) for one in moved]:
            raise Unfamiliar("pydicom sees other elements")
        found = {one.tag: one for one in moved}
        if "SOPClassUID" not in dataset:
            raise Unfamiliar("no SOP Class UID")
        charset = found.get(SPECIFIC_CHARACTER_SET)
        if charset is not None and plain[charset.start : charset.stop].strip() not in _ASCII_IS_ASCII:
            return dataset
        index = {one.tag: (one.tag, one.vr, one.begin, one.start, one.stop) for one in moved}
        return cast("Dataset", PlainDataset(plain, index, implicit=self.implicit, full=lambda: dataset))


def _moved(element: Element, by: int) -> Element:
    return Element(element.tag, element.vr, element.begin + by, element.start + by, element.stop + by)


def _values(dataset: Dataset) -> Iterator[tuple[int, int]]:
    """Tag and value offset of each element of a data set."""
    for tag in dataset.keys():  # noqa: SIM118 - iterating over the data set would parse its elements
        element: Any = dataset.get_item(tag)
        yield int(tag), element.value_tell if element.is_raw else element.file_tell


class IndexedGroups:
    """Functional groups as offsets into the file.

    ranges : (frames, group, 2) offsets where the value of a group begins and ends; -1 if the frame has no such group
    """

    def __init__(self, dataset: Dataset, mapped: mmap.mmap, ranges: NDArray[np.int64], *, implicit: bool) -> None:
        self._dataset = dataset
        self._mapped = mapped
        self._ranges = ranges
        self._parser = _Values(implicit=implicit)

    @property
    def count(self) -> int:
        """Number of items of the Per-Frame Functional Groups Sequence."""
        return len(self._ranges)

    def table(self, kind: SegmentationType, ct: CtVolume | None) -> FrameTable:  # noqa: ARG002 - see the last sentence
        """As `FrameGroups.table`, for at least one frame.

        Raises `Unfamiliar` where the reference path could raise an error, and for frames without a position.
        """
        shared = first_item(self._dataset, "SharedFunctionalGroupsSequence")
        try:
            return self._table(kind, shared)
        except InputError as error:
            raise Unfamiliar("frames that contradict each other or say too little") from error

    def _table(self, kind: SegmentationType, shared: Dataset | None) -> FrameTable:
        segment_numbers = np.zeros(self.count, np.int64)
        if kind is not SegmentationType.LABELMAP:
            segment_numbers = self._segment_numbers(shared)
        which, values = self._distinct(frame_walk.POSITION)
        positions = [self._parser.decimals(value, _IMAGE_POSITION, 3) for value in values]
        if (which < 0).any():
            positions.append(numbers(_shared(shared, "PlanePositionSequence"), "ImagePositionPatient", 3))
        origins = np.array(positions)[which]
        orientation = self._orientation(shared)
        spacing, between_and_thickness = self._measures(shared)
        grid = frame_grid(self._dataset, origins, orientation, spacing, between_and_thickness)
        return FrameTable(segment_numbers, self._sources(shared), grid)

    def _distinct(self, group: int) -> tuple[NDArray[np.intp], list[bytes]]:
        """Index of the group's value for each frame (-1 without the group), and the distinct values."""
        known: dict[bytes, int] = {}
        mapped = self._mapped
        starts, stops = self._ranges[:, group, 0].tolist(), self._ranges[:, group, 1].tolist()
        which = [
            known.setdefault(mapped[start:stop], len(known)) if start >= 0 else -1
            for start, stop in zip(starts, stops, strict=True)
        ]
        return np.array(which, np.intp), list(known)

    def _segment_numbers(self, shared: Dataset | None) -> NDArray[np.int64]:
        which, values = self._distinct(frame_walk.IDENTIFICATION)
        found = [self._parser.whole_number(value, _SEGMENT_NUMBER) for value in values]
        if (which < 0).any():
            found.append(segment_number(_shared(shared, "SegmentIdentificationSequence")))
        return np.array(found, np.int64)[which]

    def _orientation(self, shared: Dataset | None) -> tuple[float, ...]:
        which, values = self._distinct(frame_walk.ORIENTATION)
        stated = [self._parser.decimals(value, _IMAGE_ORIENTATION, 6) for value in values]
        if which[0] < 0:
            stated.insert(0, numbers(_shared(shared, "PlaneOrientationSequence"), "ImageOrientationPatient", 6))
        if not all(same_orientation(other, stated[0]) for other in stated):
            raise Unfamiliar("frames of different orientation")
        return stated[0]

    def _measures(self, shared: Dataset | None) -> tuple[tuple[float, ...], tuple[float, float]]:
        """Pixel Spacing of the first frame; Spacing Between Slices and Slice Thickness of the last that has its own."""
        which, values = self._distinct(frame_walk.MEASURES)
        spacings = [self._parser.decimals(value, _PIXEL_SPACING, 2) for value in values]
        own = np.flatnonzero(which >= 0)
        if len(own) == 0 or own[0] > 0:
            measures = _shared(shared, "PixelMeasuresSequence")
            spacings.insert(0, numbers(measures, "PixelSpacing", 2))
            last = optional(measures, "SpacingBetweenSlices"), optional(measures, "SliceThickness")
        if len(own):
            value = values[which[own[-1]]]
            last = self._parser.optional(value, _SPACING_BETWEEN), self._parser.optional(value, _SLICE_THICKNESS)
        if not all(same_spacing(other, spacings[0]) for other in spacings):
            raise Unfamiliar("frames of different pixel spacing")
        return spacings[0], last

    def _sources(self, shared: Dataset | None) -> list[frozenset[str]]:
        which, values = self._distinct(frame_walk.DERIVATION)
        own = [self._parser.sources(value) for value in values]
        from_all = source_instances(shared)
        found = [sources or from_all for sources in own]
        found.append(from_all)
        return [found[index] for index in which.tolist()]


def _shared(shared: Dataset | None, sequence: str) -> Dataset:
    """A functional group that all frames share."""
    found = first_item(shared, sequence)
    if found is None:
        raise Unfamiliar("a group that neither every frame nor all together have")
    return found


@dataclass(frozen=True)
class _Values:
    """Conversion of the bytes of a functional group."""

    implicit: bool

    def decimals(self, group: bytes, tag: int, count: int) -> tuple[float, ...]:
        """The decimal strings of an element of a group, as pydicom converts them."""
        return self._decimals(group, self._required(group, tag), count)

    def optional(self, group: bytes, tag: int) -> float:
        """The absolute value of one decimal string; 0 if the element is missing."""
        element = self._item(group).get(tag)
        return abs(self._decimals(group, element, 1)[0]) if element else 0.0

    def whole_number(self, group: bytes, tag: int) -> int:
        """The value of one US element."""
        element = self._required(group, tag)
        if element.stop - element.start != 2 or element.vr not in (b"US", b""):
            raise Unfamiliar("not one number of 16 bits")
        return int.from_bytes(group[element.start : element.stop], "little")

    def sources(self, group: bytes) -> frozenset[str]:
        """SOP Instance UIDs in Source Image Sequences of a Derivation Image Sequence."""
        found: set[str] = set()
        for derivation in self._items(group, Element(0, b"SQ", 0, 0, len(group))):
            if _SOURCE_IMAGES not in derivation:
                continue
            for source in self._items(group, derivation[_SOURCE_IMAGES]):
                if _SOURCE_UID in source:
                    found.add(_uid(group, source[_SOURCE_UID], implicit=self.implicit))
        return frozenset(found)

    def _decimals(self, group: bytes, element: Element, count: int) -> tuple[float, ...]:
        parts = group[element.start : element.stop].split(b"\\")
        if element.vr not in (b"DS", b"") or len(parts) != count or not all(map(_DECIMAL.fullmatch, parts)):
            raise Unfamiliar("not plain decimal strings")
        values = tuple(map(float, parts))
        if not all(map(math.isfinite, values)):
            raise Unfamiliar("numbers without end")
        return values

    def _required(self, group: bytes, tag: int) -> Element:
        element = self._item(group).get(tag)
        if element is None:
            raise Unfamiliar("a functional group without what it is for")
        return element

    def _item(self, group: bytes) -> dict[int, Element]:
        """The elements of the one item of a group."""
        found = list(self._items(group, Element(0, b"SQ", 0, 0, len(group))))
        if len(found) != 1:
            raise Unfamiliar("a functional group has no or several items")
        return found[0]

    def _items(self, group: bytes, sequence: Element) -> Iterator[dict[int, Element]]:
        if sequence.vr not in (b"SQ", b""):
            raise Unfamiliar("a sequence that does not say so")
        for begin, stop in items(group, sequence, implicit=self.implicit):
            yield {element.tag: element for element in elements(group, begin, stop, implicit=self.implicit)}


def _uid(data: bytes | memoryview, element: Element, *, implicit: bool) -> str:
    found = _UID.fullmatch(data[element.start : element.stop])
    if found is None or element.vr != (b"" if implicit else b"UI"):
        raise Unfamiliar("not one UID")
    return found[1].decode("ascii")
