"""The table of frames of a SEG without a data set object per frame: the fast path beside `frame_table`.

The Per-Frame Functional Groups Sequence is cut out of the file before pydicom parses the rest. A kernel checks that it
is nested as PS3.5, section 7.5, says and notes where each frame keeps the groups that matter. Frames share most values
(a slice has one position, whatever segments lie on it), so each distinct value is converted once. What is not plain in
any respect is `Unfamiliar`, and the reference path answers: here is nothing but what pydicom would say, too.
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

from segqa_dicom.dicom.elements import PIXEL_DATA, UNDEFINED_LENGTH, Element, Unfamiliar, elements, items
from segqa_dicom.dicom.headers import PlainDataset
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import PREAMBLE_BYTES, OpenedObject, first_item, numbers, source_instances, translated
from segqa_dicom.errors import InputError, LimitExceeded
from segqa_dicom.jit import kernel
from segqa_dicom.model import CtVolume, SegmentationType
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

_DERIVATION, _POSITION, _ORIENTATION, _MEASURES, _IDENTIFICATION = range(5)
_GROUPS = np.array([0x00089124, 0x00209113, 0x00209116, 0x00289110, 0x0062000A], np.int64)
"""Functional groups that matter, in the order of the names above."""
_SEQUENCES = np.array(
    [
        *_GROUPS,
        *(0x00082112, 0x00089215, 0x0040A170, 0x00081140, 0x00209111, 0x00209071, 0x00082218),
        *(0x00289132, 0x00289145, 0x00409096, 0x00189477),
    ],
    np.int64,
)
"""Sequences that occur in functional groups of a SEG; in implicit VR nothing in the bytes says that they are."""
_SOURCE_IMAGES, _SOURCE_UID = 0x00082112, 0x00081155
_IMAGE_POSITION, _IMAGE_ORIENTATION, _SEGMENT_NUMBER = 0x00200032, 0x00200037, 0x0062000B
_SLICE_THICKNESS, _SPACING_BETWEEN, _PIXEL_SPACING = 0x00180050, 0x00180088, 0x00280030
_DECIMAL = re.compile(rb" *[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)? *", re.ASCII)
_UID = re.compile(rb"([0-9.]{1,64})\0?", re.ASCII)

_DEPTH = 16
"""Sequences and items that may surround each other; a usual frame needs seven."""
_CHARACTER_SET = 0x00080005
_ASCII_IS_ASCII = (b"", b"ISO_IR 6", b"ISO_IR 100", b"ISO_IR 192")
"""Character sets with which the bytes of ASCII are no other text (PS3.3, section C.12.1.1.2); most SEGs have one."""
_UNDEFINED = UNDEFINED_LENGTH
_FAILED, _END, _ITEM, _SEQUENCE, _VALUE = -1, 0, 1, 2, 3
"""What the kernel can meet; `_FAILED` is whatever is not plain."""


def _vr_numbers(names: str) -> NDArray[np.int64]:
    return np.array([int.from_bytes(name.encode(), "big") for name in names.split()], np.int64)


_SHORT_FORMS = _vr_numbers("DS UI US CS UL SH LO AE AS AT DA DT FL FD IS LT PN SL SS ST TM")
_LONG_FORMS = _vr_numbers("SQ OB OD OF OL OV OW SV UC UN UR UT UV")
"""Value representations by the size of their length (PS3.5, table 7.1-1), the usual ones first."""
_SQ = int(_LONG_FORMS[0])


def open_indexed(path: Path, limits: Limits) -> tuple[OpenedObject, IndexedGroups]:
    """A SEG object whose frames are not parsed but indexed.

    Its data set is that of `open_object` without the Per-Frame Functional Groups Sequence.
    Raises `LimitExceeded` for files above the limits, `Unfamiliar` for whatever is not plain.
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
    """Transfer syntax, and where the data set begins."""
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
    """Where in a file the per-frame sequence, its parts and the pixel data lie."""

    def __init__(self, mapped: mmap.mmap, view: memoryview, start: int, limits: Limits, *, implicit: bool) -> None:
        self.mapped = mapped
        self.implicit = implicit
        self.begin = mapped.find(_PER_FRAME_BYTES, start)
        if self.begin < 0:
            raise Unfamiliar("no per-frame functional groups")
        # Had these bytes stood within another element, the walk to them would not end with a whole one.
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
        """Where the per-frame sequence stops, and where the groups of each frame lie in it."""
        begin = self.begin + (8 if self.implicit else 12)
        if begin > len(view) or not (self.implicit or bytes(view[self.begin + 4 : self.begin + 8]) == b"SQ\0\0"):
            raise Unfamiliar("the per-frame functional groups are no sequence")
        length = int.from_bytes(view[begin - 4 : begin], "little")
        ranges = np.empty((limits.max_frames, len(_GROUPS), 2), np.int64)
        data = np.frombuffer(view, np.uint8)
        stop = -1 if length == UNDEFINED_LENGTH else begin + length
        count, end = _index_frames(data, begin, stop, self.implicit, _GROUPS, _SEQUENCES, ranges)
        if count == _FAILED:
            raise Unfamiliar("per-frame functional groups that are not plain")
        return end, ranges[:count]

    def rest(self) -> Dataset:
        """Everything but the per-frame sequence and the pixel data.

        pydicom parses it, and has to find the same elements; values are looked up in the bytes where that is safe.
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
        charset = found.get(_CHARACTER_SET)
        if charset is not None and plain[charset.start : charset.stop].strip() not in _ASCII_IS_ASCII:
            return dataset
        index = {one.tag: (one.tag, one.vr, one.begin, one.start, one.stop) for one in moved}
        return cast("Dataset", PlainDataset(plain, index, implicit=self.implicit, full=lambda: dataset))


def _moved(element: Element, by: int) -> Element:
    return Element(element.tag, element.vr, element.begin + by, element.start + by, element.stop + by)


def _values(dataset: Dataset) -> Iterator[tuple[int, int]]:
    """Tag of each element of a data set, and the offset of its value in the file."""
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
        """See `FrameGroups`; there must be a frame.

        Raises `Unfamiliar` where the reference path might find something to complain about. Positions by way of the CT
        are for the reference path, too.
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
        which, values = self._distinct(_POSITION)
        positions = [self._parser.decimals(value, _IMAGE_POSITION, 3) for value in values]
        if (which < 0).any():
            positions.append(numbers(_shared(shared, "PlanePositionSequence"), "ImagePositionPatient", 3))
        origins = np.array(positions)[which]
        orientation = self._orientation(shared)
        spacing, between_and_thickness = self._measures(shared)
        grid = frame_grid(self._dataset, origins, orientation, spacing, between_and_thickness)
        return FrameTable(segment_numbers, self._sources(shared), grid)

    def _distinct(self, group: int) -> tuple[NDArray[np.intp], list[bytes]]:
        """Index of the value of a group in each frame (-1: it has none), and the distinct values."""
        known: dict[bytes, int] = {}
        mapped = self._mapped
        starts, stops = self._ranges[:, group, 0].tolist(), self._ranges[:, group, 1].tolist()
        which = [
            known.setdefault(mapped[start:stop], len(known)) if start >= 0 else -1
            for start, stop in zip(starts, stops, strict=True)
        ]
        return np.array(which, np.intp), list(known)

    def _segment_numbers(self, shared: Dataset | None) -> NDArray[np.int64]:
        which, values = self._distinct(_IDENTIFICATION)
        found = [self._parser.whole_number(value, _SEGMENT_NUMBER) for value in values]
        if (which < 0).any():
            found.append(segment_number(_shared(shared, "SegmentIdentificationSequence")))
        return np.array(found, np.int64)[which]

    def _orientation(self, shared: Dataset | None) -> tuple[float, ...]:
        which, values = self._distinct(_ORIENTATION)
        stated = [self._parser.decimals(value, _IMAGE_ORIENTATION, 6) for value in values]
        if which[0] < 0:
            stated.insert(0, numbers(_shared(shared, "PlaneOrientationSequence"), "ImageOrientationPatient", 6))
        if not all(same_orientation(other, stated[0]) for other in stated):
            raise Unfamiliar("frames of different orientation")
        return stated[0]

    def _measures(self, shared: Dataset | None) -> tuple[tuple[float, ...], tuple[float, float]]:
        """Pixel Spacing of the first frame; Spacing Between Slices and Slice Thickness of the last that has its own."""
        which, values = self._distinct(_MEASURES)
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
        which, values = self._distinct(_DERIVATION)
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
    """Conversion of the value of a functional group, the bytes of a sequence that the kernel has walked over."""

    implicit: bool

    def decimals(self, group: bytes, tag: int, count: int) -> tuple[float, ...]:
        """The decimal strings of an element of a group, as pydicom converts them."""
        return self._decimals(group, self._required(group, tag), count)

    def optional(self, group: bytes, tag: int) -> float:
        """The size of one decimal string; 0 if the group has no such element."""
        element = self._item(group).get(tag)
        return abs(self._decimals(group, element, 1)[0]) if element else 0.0

    def whole_number(self, group: bytes, tag: int) -> int:
        """One unsigned number of 16 bits."""
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


@kernel
def _index_frames(
    data: NDArray[np.uint8],
    start: int,
    stop: int,
    implicit: bool,  # noqa: FBT001 - numba has no keyword-only arguments
    groups: NDArray[np.int64],
    sequences: NDArray[np.int64],
    ranges: NDArray[np.int64],
) -> tuple[int, int]:
    """Walk over the value of a per-frame sequence and note where the groups of each frame lie.

    data : the file; nothing is read outside of it, whatever it says
    start, stop : offsets of the value; stop is -1 if the length is undefined
    groups, sequences : tags of the functional groups to note, and of what is a sequence in implicit VR
    ranges : (room for frames, groups, 2) filled in with offsets of values, -1 where a frame has no such group
    Returns the number of frames and where the sequence ends; (-1, 0) for whatever is not exactly nested, in ascending
    order and of a known VR.
    """
    # Sequences (even) and items (odd) that surround the position: where each ends (-1: at its delimiter), how far it
    # may reach at most, the last tag in it, and which group it is the value of.
    ends, bounds = np.full(_DEPTH, -1, np.int64), np.full(_DEPTH, data.size, np.int64)
    last, noted = np.zeros(_DEPTH, np.int64), np.full(_DEPTH, -1, np.int64)
    depth, frame, position = 0, -1, start
    if stop >= 0:
        ends[0], bounds[0] = stop, min(stop, data.size)
    while depth >= 0:
        kind, tag, length, width = _END, 0, 0, 0
        if position != ends[depth]:
            kind, tag, length, width = _next(data, position, bounds[depth], depth % 2 == 1, implicit, sequences)
            if kind == _END and ends[depth] >= 0:
                return _FAILED, 0
        position += width
        if kind == _END:
            if noted[depth] >= 0:
                ranges[frame, noted[depth], 1] = position
            depth -= 1
            continue
        end = bound = position + length
        if length == _UNDEFINED:
            end, bound = -1, bounds[depth]
        if kind == _FAILED or bound > bounds[depth] or 0 < tag <= last[depth] or (kind == _VALUE and end < 0):
            return _FAILED, 0
        last[depth] = tag
        if kind == _VALUE:
            position = end
            continue
        depth += 1
        frame += depth == 1
        if depth >= _DEPTH or frame >= ranges.shape[0]:
            return _FAILED, 0
        ends[depth], bounds[depth], last[depth] = end, bound, 0
        noted[depth] = _note(ranges[frame], depth, groups, tag, position)
    return frame + 1, position


@kernel
def _note(ranges: NDArray[np.int64], depth: int, groups: NDArray[np.int64], tag: int, position: int) -> int:
    """Note where a group of a frame begins, at the beginning of the frame that none has begun; the group, else -1."""
    if depth == 1:
        ranges[:] = -1
    if depth != 2:
        return -1
    group = _place(groups, tag)
    if group >= 0:
        ranges[group, 0] = position
    return group


@kernel
def _next(
    data: NDArray[np.uint8],
    at: int,
    bound: int,
    in_item: bool,  # noqa: FBT001 - numba has no keyword-only arguments
    implicit: bool,  # noqa: FBT001
    sequences: NDArray[np.int64],
) -> tuple[int, int, int, int]:
    """What begins at an offset: its kind, tag (0 for items), length, and the bytes in front of its value."""
    if at + 8 > bound:
        return _FAILED, 0, 0, 0
    tag, length = _long(data, at) << 16 & 0xFFFF0000 | _long(data, at) >> 16, _long(data, at + 4)
    if tag == (0xFFFEE00D if in_item else 0xFFFEE0DD):
        return (_END if length == 0 else _FAILED), 0, 0, 8
    if not in_item:
        return (_ITEM if tag == 0xFFFEE000 else _FAILED), 0, length, 8
    if tag < 0x00080000 or tag == _CHARACTER_SET or tag >= 0x7FE00000:
        return _FAILED, 0, 0, 0
    is_known = _place(sequences, tag) >= 0
    if implicit:
        return (_SEQUENCE if is_known else _VALUE), tag, length, 8
    vr = int(np.int64(data[at + 4]) << 8 | np.int64(data[at + 5]))
    if _place(_SHORT_FORMS, vr) >= 0:
        return (_FAILED if is_known else _VALUE), tag, length >> 16, 8
    if _place(_LONG_FORMS, vr) < 0 or length >> 16 or at + 12 > bound or is_known != (is_known and vr == _SQ):
        return _FAILED, 0, 0, 0
    length = _long(data, at + 8)
    return (_SEQUENCE if vr == _SQ else _VALUE), tag, length, 12


@kernel
def _long(data: NDArray[np.uint8], at: int) -> int:
    word = np.int64(0)
    for byte in range(4):
        word |= np.int64(data[at + byte]) << (8 * byte)
    return int(word)


@kernel
def _place(values: NDArray[np.int64], wanted: int) -> int:
    """Index of a value; -1 if it is not there."""
    for index in range(values.size):
        if values[index] == wanted:
            return index
    return -1
