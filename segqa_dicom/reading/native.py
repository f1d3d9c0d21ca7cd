"""Pixels of plain CT slices straight from the file into the volume: the fast path of reading CT.

For one frame of uncompressed 16-bit pixels whose rescale only adds a whole number, which is nearly all CT; what is done
to the bits is what pydicom's decoder does to them. For everything else the answer is no, and pydicom reads it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.reading.dataset import OpenedObject
from segqa_dicom.reading.elements import PIXEL_DATA, Unfamiliar, element_list
from segqa_dicom.reading.headers import PlainDataset, PlainObject
from segqa_dicom.reading.slices import Rescale, Slice

_LONGEST_TAIL = 1 << 16
_OVERLAYS = 0x6000
_HU_MIN, _HU_MAX = -32768, 32767


@dataclass(frozen=True, slots=True)
class _Stored:
    """How 16 bits hold a pixel."""

    bits: int
    signed: bool

    @property
    def range(self) -> tuple[int, int]:
        return (-(1 << self.bits - 1), (1 << self.bits - 1) - 1) if self.signed else (0, (1 << self.bits) - 1)


def read_native(opened: OpenedObject, part: Slice, target: NDArray[Any]) -> bool:
    """Put the HU of a slice into `target`, (row, column); whether that was possible.

    If not, whatever the reason, `target` may have changed, and the reference path has to fill it or to say why not.
    """
    offset = int(part.rescale.intercept)
    if target.dtype != np.int16 or not _adds_whole_number(part.rescale) or not isinstance(opened, PlainObject):
        return False
    stored = _stored(opened, part)
    if stored is None or not _fill(opened, target):
        return False
    values = target.view(np.int16 if stored.signed else np.uint16)
    unused = 16 - stored.bits
    if unused:  # as pydicom does: what lies in the unused high bits is not part of the value
        np.left_shift(values, unused, out=values)
        np.right_shift(values, unused, out=values)
    if not _all_within(values, stored.range, _HU_MIN - offset, _HU_MAX - offset):
        return False
    if offset:  # modulo 2**16, and all results are within: so it does not matter that unsigned values look signed
        np.add(target, np.int16((offset - _HU_MIN) % 65536 + _HU_MIN), out=target)
    return True


def _adds_whole_number(rescale: Rescale) -> bool:
    return rescale.slope == 1 and rescale.intercept.is_integer()


def _stored(opened: PlainObject, part: Slice) -> _Stored | None:
    """How pixels are stored, if all that pydicom asks for is there and as expected."""
    dataset: Any = opened.dataset
    if not isinstance(dataset, PlainDataset) or sys.byteorder != "little" or part.ref.frame_number is not None:
        return None
    bits, signed = dataset.get("BitsStored"), dataset.get("PixelRepresentation")
    plain = (
        opened.is_native_little_endian
        and opened.pixel_stop - opened.pixel_start == part.matrix[0] * part.matrix[1] * 2
        and (dataset.get("Rows"), dataset.get("Columns")) == part.matrix
        and dataset.get("SamplesPerPixel") == 1
        and dataset.get("PhotometricInterpretation") in ("MONOCHROME1", "MONOCHROME2")
        and dataset.get("BitsAllocated") == 16
        and bits in range(1, 17)
        and signed in (0, 1)
        and ("NumberOfFrames" not in dataset or dataset.get("NumberOfFrames") == 1)
        and ("PlanarConfiguration" not in dataset or dataset.get("PlanarConfiguration") in (0, 1))
        and "ExtendedOffsetTable" not in dataset
        and not dataset.has_group(_OVERLAYS)
    )
    return _Stored(int(bits), signed == 1) if plain else None


def _fill(opened: PlainObject, target: NDArray[Any]) -> bool:
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


def _all_within(values: NDArray[Any], possible: tuple[int, int], low: int, high: int) -> bool:
    """Whether all values are between `low` and `high`; looked at only if their type allows others."""
    return (possible[0] >= low or int(values.min()) >= low) and (possible[1] <= high or int(values.max()) <= high)
