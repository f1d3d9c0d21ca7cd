"""Pixels of plain CT slices straight from the file into the volume: the fast path of reading CT.

For one frame of uncompressed 16-bit pixels, which is nearly all CT; what is done to the bits is what pydicom's decoder
does to them. For everything else the answer is no, and pydicom reads it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.dicom.elements import PIXEL_DATA, Unfamiliar, element_list
from segqa_dicom.dicom.headers import PlainDataset, PlainObject
from segqa_dicom.dicom.opening import OpenedObject
from segqa_dicom.reading.slices import Rescale, Slice

_LONGEST_TAIL = 1 << 16
_OVERLAYS = 0x6000
_HU_MIN, _HU_MAX = -32768, 32767


@dataclass(frozen=True, slots=True)
class NativePixels:
    """Stored values, (row, column), uint16 or int16, and between which their number of bits lets them lie."""

    values: NDArray[Any]
    lowest: int
    highest: int


def native_pixels(opened: OpenedObject, part: Slice, into: NDArray[np.int16]) -> NativePixels | None:
    """The pixels of a slice, read into memory that is given, (row, column); None if pydicom has to read them.

    Then `into` may have changed, and nothing is said about what is wrong, if anything.
    """
    if not isinstance(opened, PlainObject) or sys.byteorder != "little":
        return None
    try:
        bits, signed = _stored(opened, part)
    except Unfamiliar:
        return None
    if not _fill(opened, into):
        return None
    values = into if signed else into.view(np.uint16)
    if bits < 16:  # as pydicom does: what lies in the unused high bits is not part of the value
        np.left_shift(values, 16 - bits, out=values)
        np.right_shift(values, 16 - bits, out=values)
    lowest = -(1 << bits - 1) if signed else 0
    return NativePixels(values, lowest, lowest + (1 << bits) - 1)


def rescaled_in_place(pixels: NativePixels, rescale: Rescale) -> bool:
    """Turn stored values into HU, int16, where they lie; False, and nothing is done, if that takes more than adding."""
    offset = int(rescale.intercept)
    if rescale.slope != 1 or offset != rescale.intercept:
        return False
    low, high = _HU_MIN - offset, _HU_MAX - offset
    values = pixels.values
    if (pixels.lowest < low and values.min() < low) or (pixels.highest > high and values.max() > high):
        return False
    if offset:  # modulo 2**16, and all results are within: so it does not matter that unsigned values look signed
        hu = values.view(np.int16)
        np.add(hu, np.int16((offset - _HU_MIN) % 65536 + _HU_MIN), out=hu)
    return True


def _stored(opened: PlainObject, part: Slice) -> tuple[int, bool]:
    """Bits that count, and whether pixels are signed; `Unfamiliar` unless all is there that pydicom asks for."""
    dataset: Any = opened.dataset
    if not isinstance(dataset, PlainDataset):
        raise Unfamiliar("nothing is known about the header")
    get = dataset.plain
    bits, representation = get("BitsStored"), get("PixelRepresentation")
    plain = (
        opened.is_native_little_endian
        and part.ref.frame_number is None
        and opened.pixel_stop - opened.pixel_start == part.matrix[0] * part.matrix[1] * 2
        and (get("Rows"), get("Columns")) == part.matrix
        and get("SamplesPerPixel") == 1
        and get("PhotometricInterpretation") in ("MONOCHROME1", "MONOCHROME2")
        and get("BitsAllocated") == 16
        and bits in range(1, 17)
        and representation in (0, 1)
        and get("NumberOfFrames", 1) == 1
        and get("PlanarConfiguration", 0) in (0, 1)
        and "ExtendedOffsetTable" not in dataset
        and not dataset.has_group(_OVERLAYS)
    )
    if not plain:
        raise Unfamiliar("pixels of another kind")
    return int(bits), representation == 1


def _fill(opened: PlainObject, target: NDArray[np.int16]) -> bool:
    """Read the bytes of the pixels into `target`, if they are all there and nothing strange follows them."""
    if opened.pixel_stop > opened.size or opened.size - opened.pixel_stop > _LONGEST_TAIL:
        return False
    try:
        with opened.path.open("rb", buffering=0) as stream:
            stream.seek(opened.pixel_start)
            if stream.readinto(target.data.cast("B")) != target.nbytes:
                return False
            return opened.pixel_stop == opened.size or _is_plain_tail(stream.read(), implicit=opened.is_implicit)
    except OSError:
        return False


def _is_plain_tail(data: bytes, *, implicit: bool) -> bool:
    """Whether what follows the pixel data are elements that belong there: pydicom would read any others over them."""
    try:
        found = element_list(data, 0, len(data), implicit=implicit)
    except Unfamiliar:
        return False
    return bool(found) and found[0][0] > PIXEL_DATA and found[-1][4] == len(data)
