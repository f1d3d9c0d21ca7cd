"""Frames as they are encoded in an object, each for itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom.encaps import get_frame
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

from segqa_dicom.errors import Inconsistent, UnreadableObject
from segqa_dicom.reading.dataset import OpenedObject, open_object, text, translated, whole_number, whole_number_or
from segqa_dicom.reading.limits import Limits

_IMAGE_TYPES = {
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}
"""Media type of a compressed frame by transfer syntax (PS3.18, table 8.7.3-5)."""
_OTHER_IMAGE_TYPE = "application/octet-stream"
_LONG_HEADER_BYTES = 12


@dataclass(frozen=True, slots=True)
class FrameSource:
    """The pixel data of an object that was opened.

    media_type : of one compressed frame; of native ones it is octets
    transfer_syntax : in which the frames come
    """

    media_type: str
    transfer_syntax: str
    number_of_frames: int
    _opened: OpenedObject = field(repr=False)
    _bits_per_frame: int

    def frames(self, numbers: Sequence[int]) -> Iterator[bytes]:
        """Frames by number, from 1; each is taken from the file when it is asked for."""
        if UID(self.transfer_syntax).is_encapsulated:
            return self._encapsulated(numbers)
        return self._native(numbers)

    def _native(self, numbers: Sequence[int]) -> Iterator[bytes]:
        pixels, bits = self._opened.native_pixel_bytes(), self._bits_per_frame
        if len(pixels) * 8 < bits * self.number_of_frames:
            raise UnreadableObject("its pixel data are shorter than its header says")
        for number in numbers:
            start, stop = (number - 1) * bits, number * bits
            data = bytes(pixels[start // 8 : (stop + 7) // 8])
            yield data if start % 8 == 0 and stop % 8 == 0 else _repacked(data, start % 8, bits)

    def _encapsulated(self, numbers: Sequence[int]) -> Iterator[bytes]:
        dataset = self._opened.dataset
        offsets, lengths = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
        extended = (bytes(offsets), bytes(lengths)) if offsets and lengths else None
        with self._opened.path.open("rb") as stream:
            stream.seek(self._opened.pixel_offset + _LONG_HEADER_BYTES)
            for number in numbers:
                with translated("pixel data"):
                    frame = get_frame(
                        stream, number - 1, extended_offsets=extended, number_of_frames=self.number_of_frames
                    )
                yield frame


def _repacked(data: bytes, shift: int, count: int) -> bytes:
    """Bits that do not begin on a byte (PS3.5, section 8.1.1), moved so that they do; the last byte is filled up."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[shift : shift + count]
    return np.packbits(bits, bitorder="little").tobytes()


def open_frames(path: Path, limits: Limits) -> FrameSource | None:
    """The frames of an object; None if it has no pixel data.

    Raises `UnreadableObject` and `Inconsistent` if they cannot be told apart.
    """
    opened = open_object(path, limits)
    if opened.pixel_offset < 0:
        return None
    dataset, syntax = opened.dataset, opened.pixel_syntax
    if syntax == ExplicitVRBigEndian:
        raise Inconsistent("its pixels are big endian, which DICOMweb does not know; retrieve the whole object")
    number_of_frames = max(1, whole_number_or(dataset, "NumberOfFrames", 1))
    if syntax.is_encapsulated:
        return FrameSource(_IMAGE_TYPES.get(str(syntax), _OTHER_IMAGE_TYPE), str(syntax), number_of_frames, opened, 0)
    pixels = whole_number(dataset, "Rows", low=1, high=65535) * whole_number(dataset, "Columns", low=1, high=65535)
    samples = whole_number_or(dataset, "SamplesPerPixel", 1)
    if text(dataset, "PhotometricInterpretation") == "YBR_FULL_422":
        samples = 2  # two pixels share their colours
    bits = pixels * samples * whole_number(dataset, "BitsAllocated", low=1, high=64)
    return FrameSource(_OTHER_IMAGE_TYPE, str(ExplicitVRLittleEndian), number_of_frames, opened, bits)


def pixel_value(path: Path, limits: Limits) -> tuple[int, int] | bytes | None:
    """Where the value of native pixel data lies in a file: offset and length; their bytes if they had to be inflated.

    None if there are no native pixel data.
    """
    opened = open_object(path, limits)
    if opened.pixel_offset < 0 or opened.pixel_syntax.is_encapsulated:
        return None
    pixels = opened.native_pixel_bytes()
    if opened.inflated is not None:
        return bytes(pixels)
    start = opened.pixel_offset + (8 if opened.transfer_syntax.is_implicit_VR else _LONG_HEADER_BYTES)
    return start, len(pixels)
