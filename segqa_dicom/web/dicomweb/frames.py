"""Frames of an object: as they are encoded, each for itself, or decoded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

from segqa_dicom.dicom.headers import PlainObject, open_plainly
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import (
    OpenedObject,
    inflate,
    open_object,
    text,
    translated,
    whole_number,
    whole_number_or,
)
from segqa_dicom.dicom.transfer_syntaxes import COMPRESSIONS, DEFLATED_IMAGE_FRAME, frame_decoder
from segqa_dicom.errors import Inconsistent, LimitExceeded, UnreadableObject

_OTHER_IMAGE_TYPE = "application/octet-stream"
_LONG_HEADER_BYTES = 12
_REMEMBERED = 128
"""Objects whose place of the pixel data is remembered: viewers ask for each frame by itself."""
_PIXEL_KEYWORDS = (
    *("SOPClassUID", "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation"),
    *("PlanarConfiguration", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
)
_NUMBERS = ("SamplesPerPixel", "PlanarConfiguration", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")


@dataclass(frozen=True, slots=True)
class Pixels:
    """What the header of an image says about a frame.

    values : of the attributes in `_NUMBERS` that are there
    """

    rows: int
    columns: int
    photometric_interpretation: str
    values: tuple[tuple[str, int], ...]

    def value(self, keyword: str, default: int) -> int:
        """An attribute, or what it is where it is missing."""
        return dict(self.values).get(keyword, default)

    @property
    def samples(self) -> int:
        """Values for each pixel."""
        return self.value("SamplesPerPixel", 1)


@dataclass(frozen=True, slots=True)
class FrameSource:
    """The pixel data of an object.

    media_type : of one compressed frame; of native ones it is octets
    transfer_syntax : in which the frames come
    start, size_bytes : where native pixel data lie in the file, or in what it inflates to
    """

    path: Path
    media_type: str
    transfer_syntax: str
    number_of_frames: int
    pixels: Pixels
    start: int = 0
    size_bytes: int = 0
    _bits_per_frame: int = 0
    _extended_offsets: tuple[bytes, bytes] | None = field(default=None, repr=False)
    _inflated: bytes | None = field(default=None, repr=False)

    @property
    def is_in_file(self) -> bool:
        """Whether the bytes lie in the file; else they are in memory, because the object is deflated as a whole."""
        return self._inflated is None

    @property
    def is_compressed(self) -> bool:
        """Whether frames are compressed."""
        return bool(UID(self.transfer_syntax).is_encapsulated)

    def frames(self, numbers: Sequence[int]) -> Iterator[bytes]:
        """Frames by number, from 1; each is taken from the file when it is asked for."""
        with self.path.open("rb") as stream:
            yield from self._encapsulated(stream, numbers) if self.is_compressed else self._native(stream, numbers)

    def _native(self, stream: BinaryIO, numbers: Sequence[int]) -> Iterator[bytes]:
        bits = self._bits_per_frame
        if self.size_bytes * 8 < bits * self.number_of_frames:
            raise UnreadableObject("its pixel data are shorter than its header says")
        for number in numbers:
            first, last = (number - 1) * bits, number * bits
            data = self._bytes(stream, self.start + first // 8, (last + 7) // 8 - first // 8)
            yield data if first % 8 == 0 and last % 8 == 0 else _repacked(data, first % 8, bits)

    def _bytes(self, stream: BinaryIO, start: int, length: int) -> bytes:
        # Read and not mapped: pages of a mapped file would count as memory of the service.
        if self._inflated is not None:
            return self._inflated[start : start + length]
        stream.seek(start)
        data = stream.read(length)
        if len(data) != length:
            raise UnreadableObject("file is truncated: it ends inside its pixel data")
        return data

    def _encapsulated(self, stream: BinaryIO, numbers: Sequence[int]) -> Iterator[bytes]:
        for number in numbers:
            stream.seek(self.start)
            with translated("pixel data"):
                frame = get_frame(
                    stream,
                    number - 1,
                    extended_offsets=self._extended_offsets,
                    number_of_frames=self.number_of_frames,
                )
            yield frame

    def native_pieces(self, start: int, length: int, chunk_bytes: int = 1 << 20) -> Iterator[bytes]:
        """Bytes of native pixel data as they are stored."""
        with self.path.open("rb") as stream:
            for offset in range(start, start + length, chunk_bytes):
                yield self._bytes(stream, self.start + offset, min(chunk_bytes, start + length - offset))

    def decoded(self, numbers: Sequence[int], limits: Limits) -> Iterator[bytes]:
        """Frames by number, uncompressed, little endian. Raises `UnreadableObject` if one cannot be decoded."""
        if not self.is_compressed:
            yield from self.frames(numbers)
            return
        for number, frame in zip(numbers, self.frames(numbers), strict=True):
            if self.transfer_syntax == DEFLATED_IMAGE_FRAME:
                yield _inflated_frame(frame, self.pixels)
                continue
            array = _decoded(frame, self, limits)
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            if self.pixels.value("BitsAllocated", 0) == 1:
                little = np.packbits(little != 0, bitorder="little")
            with translated(f"frame {number}"):
                yield little.tobytes()

    def array(self, number: int, limits: Limits) -> NDArray[Any]:
        """A frame by number: (row, column), or (row, column, sample), as it is stored."""
        (data,) = self.decoded([number], limits)
        pixels = self.pixels
        bits, samples = pixels.value("BitsAllocated", 0), pixels.samples
        if bits == 1:
            values: NDArray[Any] = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        elif bits in (8, 16, 32):
            sign = "i" if pixels.value("PixelRepresentation", 0) else "u"
            values = np.frombuffer(data, np.dtype(f"<{sign}{bits // 8}"))
        else:
            raise Inconsistent(f"{bits} bits per pixel cannot be shown")
        count = pixels.rows * pixels.columns * samples
        if len(values) < count:
            raise Inconsistent("its pixels are stored in a way that cannot be shown")
        values = values[:count]
        if samples == 1:
            return values.reshape(pixels.rows, pixels.columns)
        # Decoders give the samples of a pixel together; natively they can be stored one plane after the other.
        if pixels.value("PlanarConfiguration", 0) == 1 and not self.is_compressed:
            return values.reshape(samples, pixels.rows, pixels.columns).transpose(1, 2, 0)
        return values.reshape(pixels.rows, pixels.columns, samples)


def _repacked(data: bytes, shift: int, count: int) -> bytes:
    """Bits that do not begin on a byte (PS3.5, section 8.1.1), moved so that they do; the last byte is filled up."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[shift : shift + count]
    return np.packbits(bits, bitorder="little").tobytes()


def _inflated_frame(frame: bytes, pixels: Pixels) -> bytes:
    size = (pixels.rows * pixels.columns * pixels.samples * pixels.value("BitsAllocated", 8) + 7) // 8
    with translated("pixel data"):
        return inflate(frame, size + 2)[:size]


def _decoded(frame: bytes, source: FrameSource, limits: Limits) -> NDArray[Any]:
    """The one frame as pydicom decodes it: an object of this frame alone is made for it."""
    pixels = source.pixels
    size = pixels.rows * pixels.columns * pixels.samples * pixels.value("BitsAllocated", 8) // 8
    if size > (len(frame) + 64) * limits.max_compression_ratio:
        raise LimitExceeded("a frame would decode to an implausible multiple of its size")
    with translated("pixel data"):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = UID(source.transfer_syntax)
        dataset.Rows, dataset.Columns, dataset.NumberOfFrames = pixels.rows, pixels.columns, 1
        dataset.PhotometricInterpretation = pixels.photometric_interpretation
        for keyword, value in pixels.values:
            setattr(dataset, keyword, value)
        dataset.PixelData = encapsulate([frame])
        opened = OpenedObject(source.path, dataset, UID(source.transfer_syntax), 0)
        decoder, options = frame_decoder(opened)
        array, _ = decoder.as_array(dataset, **options)
    return array


def open_frames(path: Path, limits: Limits) -> FrameSource | None:
    """The frames of an object; None if it has no pixel data.

    Objects that were opened before are not opened again: what has a name in an archive is never changed. Raises
    `UnreadableObject` and `Inconsistent` if frames cannot be told apart.
    """
    status = path.stat()
    key = (path, status.st_ino, status.st_mtime_ns, status.st_size)
    with _GUARD:
        if key in _KNOWN:
            _KNOWN.move_to_end(key)
            return _KNOWN[key]
    source = _opened(path, limits)
    if source is not None and source.is_in_file:  # what had to be inflated would take too much memory
        with _GUARD:
            _KNOWN[key] = source
            while len(_KNOWN) > _REMEMBERED:
                _KNOWN.popitem(last=False)
    return source


_KNOWN: OrderedDict[tuple[Path, int, int, int], FrameSource] = OrderedDict()
_GUARD = Lock()


def _opened(path: Path, limits: Limits) -> FrameSource | None:
    opened = open_plainly(path, limits, keywords=_PIXEL_KEYWORDS) or open_object(path, limits, keywords=_PIXEL_KEYWORDS)
    if opened.pixel_offset < 0:
        return None
    dataset, syntax = opened.dataset, opened.pixel_syntax
    if syntax == ExplicitVRBigEndian:
        raise Inconsistent("its pixels are big endian, which DICOMweb does not know; retrieve the whole object")
    number_of_frames = max(1, whole_number_or(dataset, "NumberOfFrames", 1))
    pixels = _pixels(dataset)
    if syntax.is_encapsulated:
        known = COMPRESSIONS.get(str(syntax))
        offsets, lengths = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
        return FrameSource(
            path,
            known.media_type if known else _OTHER_IMAGE_TYPE,
            str(syntax),
            number_of_frames,
            pixels,
            opened.pixel_offset + _LONG_HEADER_BYTES,
            _extended_offsets=(bytes(offsets), bytes(lengths)) if offsets and lengths else None,
        )
    samples = 2 if pixels.photometric_interpretation == "YBR_FULL_422" else pixels.samples  # two share their colours
    start, size_bytes = _place(opened)
    return FrameSource(
        path,
        _OTHER_IMAGE_TYPE,
        str(ExplicitVRLittleEndian),
        number_of_frames,
        pixels,
        start,
        size_bytes,
        pixels.rows * pixels.columns * samples * whole_number(dataset, "BitsAllocated", low=1, high=64),
        _inflated=opened.inflated,
    )


def _pixels(dataset: Dataset) -> Pixels:
    numbers = ((keyword, whole_number_or(dataset, keyword, -1)) for keyword in _NUMBERS)
    return Pixels(
        whole_number(dataset, "Rows", low=1, high=65535),
        whole_number(dataset, "Columns", low=1, high=65535),
        text(dataset, "PhotometricInterpretation"),
        tuple((keyword, value) for keyword, value in numbers if value >= 0),
    )


def _place(opened: OpenedObject) -> tuple[int, int]:
    """Offset and length of the value of native pixel data; the length as far as the file goes."""
    if isinstance(opened, PlainObject) and opened.pixel_start >= 0:
        return opened.pixel_start, min(opened.pixel_stop, opened.size) - opened.pixel_start
    size_bytes = len(opened.native_pixel_bytes())
    return opened.pixel_offset + (8 if opened.transfer_syntax.is_implicit_VR else _LONG_HEADER_BYTES), size_bytes
