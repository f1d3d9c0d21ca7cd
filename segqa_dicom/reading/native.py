"""Native pixels of CT slices read directly into the volume: the fast path of reading CT.

It supports single frames of 16-bit pixels, which nearly all CT has, with the results of pydicom's decoder; everything
else is left to pydicom.
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
    """The pixels of a slice, read into an array (row, column); None if pydicom has to read them.

    Then `into` may have changed; the object may be valid.
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
    """Convert stored values to HU, int16, in place; returns False if that takes more than adding the intercept."""
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
    """Bits Stored, and whether pixels are signed; raises `Unfamiliar` for an unsupported encoding."""
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
    """Read the pixels into `target`; returns whether they are complete and followed by valid elements only."""
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
    """Whether the pixel data are followed by valid elements of higher tags."""
    try:
        found = element_list(data, 0, len(data), implicit=implicit)
    except Unfamiliar:
        return False
    return bool(found) and found[0][0] > PIXEL_DATA and found[-1][4] == len(data)
