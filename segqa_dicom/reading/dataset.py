"""Opening DICOM files: the one place where pydicom's many exceptions become ours."""

from __future__ import annotations

import hashlib
import io
import math
import mmap
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydicom import Dataset, dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from segqa_dicom.errors import Inconsistent, InputError, LimitExceeded, UnreadableObject
from segqa_dicom.reading.limits import Limits

PREAMBLE_BYTES = 132
_FIRST_GROUPS = (0x0002, 0x0008)
"""Groups that a data set without preamble can begin with (PS3.10, section 7.1; old archives leave the preamble out)."""

_INFLATE_CHUNK_BYTES = 1 << 20


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn whatever a decoder raises into `UnreadableObject` that names `what`; warnings of the parser are dropped.

    Damaged files make pydicom and its decoders raise more than a dozen unrelated exception classes, so everything is
    caught here, and only here.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:160]
            raise UnreadableObject(f"{what} cannot be read ({type(error).__name__}: {reason})") from error


def looks_like_dicom(path: Path) -> bool:
    """Whether a file has the DICOM prefix, or begins like a data set without one."""
    try:
        with path.open("rb") as stream:
            head = stream.read(PREAMBLE_BYTES)
    except OSError as error:
        raise UnreadableObject(f"file cannot be opened ({error.strerror})") from error
    if head[128:132] == b"DICM":
        return True
    if len(head) < 16:
        return False
    group, element = int.from_bytes(head[0:2], "little"), int.from_bytes(head[2:4], "little")
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    implicit_length = int.from_bytes(head[4:8], "little")
    return group in _FIRST_GROUPS and element < 0x0100 and (explicit or implicit_length <= 1024)


@dataclass(slots=True)
class OpenedObject:
    """A data set without its pixel data, and where that lies.

    pixel_offset : file offset of the PixelData element, -1 if there is none
    inflated : the whole data set in memory if it had to be inflated, else None
    """

    path: Path
    dataset: Dataset
    transfer_syntax: UID
    pixel_offset: int
    inflated: bytes | None = None

    @property
    def is_native_little_endian(self) -> bool:
        """Whether pixel data are plain bytes in little endian order."""
        return self.transfer_syntax in (
            ExplicitVRLittleEndian,
            ImplicitVRLittleEndian,
            DeflatedExplicitVRLittleEndian,
        )

    def native_pixel_bytes(self) -> memoryview:
        """The value of a native PixelData element, mapped, not copied; shorter than declared if the file is cut."""
        if self.pixel_offset < 0:
            raise UnreadableObject("it has no pixel data")
        if self.inflated is not None:
            view = memoryview(self.inflated)
        else:
            with self.path.open("rb") as stream:
                view = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
        start, length = _value_of_pixel_data(view, self.pixel_offset, self.transfer_syntax)
        return view[start : start + length]

    def with_pixels(self) -> Dataset:
        """The complete data set, pixel data included."""
        with translated("object"):
            source: Any = io.BytesIO(self.inflated) if self.inflated is not None else self.path
            dataset = dcmread(source, force=True)
            if self.inflated is not None:
                dataset.file_meta = self.dataset.file_meta
            return dataset


def _value_of_pixel_data(view: memoryview, offset: int, transfer_syntax: UID) -> tuple[int, int]:
    if transfer_syntax == ImplicitVRLittleEndian:
        start, length = offset + 8, int.from_bytes(view[offset + 4 : offset + 8], "little")
    else:
        start, length = offset + 12, int.from_bytes(view[offset + 8 : offset + 12], "little")
    if length == 0xFFFFFFFF:
        raise UnreadableObject("its pixel data are encapsulated although its transfer syntax is not")
    return start, length


def open_object(path: Path, limits: Limits, *, keywords: Sequence[str] | None = None) -> OpenedObject:
    """Read a file up to its pixel data; only some top-level elements if `keywords` are given.

    Raises `LimitExceeded` for files above the limits, `UnreadableObject` for whatever cannot be parsed.
    """
    size = path.stat().st_size
    if size > limits.max_file_bytes:
        raise LimitExceeded(f"file of {size} bytes is larger than the limit of {limits.max_file_bytes}")
    with translated("file"), path.open("rb") as stream:
        source, inflated = _inflated_if_needed(path, stream, limits)
        tags: list[Any] | None = list(keywords) if keywords is not None else None
        dataset = dcmread(source, force=True, stop_before_pixels=True, specific_tags=tags)
        offset = source.tell()
        if "SOPClassUID" not in dataset:
            raise UnreadableObject("file has no SOP Class UID: not a DICOM image or segmentation")
        if inflated is not None:
            dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        syntax = UID(str(dataset.file_meta.get("TransferSyntaxUID", ""))) if hasattr(dataset, "file_meta") else UID("")
        if not syntax:
            syntax = _guessed_syntax(dataset)
        at_pixels = source.read(4) == b"\xe0\x7f\x10\x00"
    return OpenedObject(path, dataset, syntax, offset if at_pixels else -1, inflated)


def _guessed_syntax(dataset: Dataset) -> UID:
    # Without file meta information the VR form that the parser settled on is the only hint.
    implicit, little = dataset.original_encoding
    if little is False:
        raise UnreadableObject("file has no meta information and is not little endian")
    return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian


def _inflated_if_needed(path: Path, stream: BinaryIO, limits: Limits) -> tuple[BinaryIO, bytes | None]:
    """`stream`, or the inflated data set as a stream: pydicom inflates without any bound (1 MB can become 1 GB)."""
    head = stream.read(PREAMBLE_BYTES)
    stream.seek(0)
    if head[128:132] != b"DICM":
        return stream, None
    meta = read_file_meta_info(path)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return stream, None
    stream.seek(PREAMBLE_BYTES)
    body = stream.read()
    meta_length = 12 + int(meta.FileMetaInformationGroupLength)
    inflated = inflate(body[meta_length:], limits.max_inflated_bytes)
    plain = head + _with_syntax(body[:meta_length], meta) + inflated
    return io.BytesIO(plain), plain


def _with_syntax(meta_bytes: bytes, meta: Dataset) -> bytes:
    # Same length on purpose: "1.2.840.10008.1.2.1" padded with NULs where "1.2.840.10008.1.2.1.99" stood.
    old = str(meta.TransferSyntaxUID).encode()
    return meta_bytes.replace(old, str(ExplicitVRLittleEndian).encode().ljust(len(old), b"\0"), 1)


def inflate(data: bytes, max_bytes: int) -> bytes:
    """`data` (raw deflate, RFC 1951) inflated; `LimitExceeded` as soon as more than `max_bytes` would come out."""
    decompressor = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    parts: list[bytes] = []
    total = 0
    pending = data
    while pending and not decompressor.eof:
        part = decompressor.decompress(pending, _INFLATE_CHUNK_BYTES)
        pending = decompressor.unconsumed_tail
        total += len(part)
        if total > max_bytes:
            raise LimitExceeded(f"it inflates to more than {max_bytes} bytes")
        parts.append(part)
        if not part and not pending:
            break
    parts.append(decompressor.flush())
    return b"".join(parts)


def file_digest(path: Path) -> str:
    """SHA-256 of the data set in a file, the file meta information left out (it changes with who stored the file)."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        head = stream.read(PREAMBLE_BYTES + 12)
        if head[128:132] == b"DICM" and head[132:136] == b"\x02\x00\x00\x00":
            stream.seek(PREAMBLE_BYTES + 12 + int.from_bytes(head[140:144], "little"))
        else:
            stream.seek(0)
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def text(dataset: Dataset, keyword: str) -> str:
    """The value of an element as text, several values joined by a backslash; empty if it is not there."""
    value = dataset.get(keyword)
    if value is None:
        return ""
    if isinstance(value, (list, tuple)) or hasattr(value, "insert"):
        return "\\".join(str(part) for part in value)
    return str(value).strip(" \0")


def numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...]:
    """The `count` finite numbers of an element.

    Raises `Inconsistent` if the element is missing, has another number of values, or one that is not a finite number.
    """
    value = dataset.get(keyword)
    if value is None or (isinstance(value, str) and not value):
        raise Inconsistent(f"{keyword} is missing")
    try:
        parts = tuple(float(part) for part in (value if hasattr(value, "__len__") else [value]))
    except (TypeError, ValueError) as error:
        raise Inconsistent(f"{keyword} is not a number") from error
    if len(parts) != count or not all(math.isfinite(part) for part in parts):
        raise Inconsistent(f"{keyword} is not {count} finite numbers")
    return parts


def whole_number(dataset: Dataset, keyword: str, *, low: int, high: int) -> int:
    """The whole number of an element between `low` and `high`; raises `Inconsistent` otherwise."""
    value = dataset.get(keyword)
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise Inconsistent(f"{keyword} is missing or not a whole number") from error
    if not low <= number <= high:
        raise Inconsistent(f"{keyword} is {number}, not between {low} and {high}")
    return number


def items(dataset: Dataset | None, keyword: str) -> list[Dataset]:
    """The items of a sequence; none if it is not there."""
    value = dataset.get(keyword) if dataset is not None else None
    return list(value) if value is not None and hasattr(value, "append") else []


def first_item(dataset: Dataset | None, keyword: str) -> Dataset | None:
    """The first item of a sequence; None if there is none."""
    found = items(dataset, keyword)
    return found[0] if found else None
