"""DICOM files read by pydicom, whose exceptions become those of `segqa_dicom.errors` here."""

from __future__ import annotations

import hashlib
import io
import logging
import math
import mmap
import re
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
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from segqa_dicom.dicom.elements import Unfamiliar
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.errors import Inconsistent, InputError, LimitExceeded, UnreadableObject

logging.getLogger("pydicom").setLevel(logging.CRITICAL)  # its warnings quote values, which can be the patient's

PREAMBLE_BYTES = 132
_FIRST_GROUPS = (0x0002, 0x0008)
"""First groups of a file without preamble (against PS3.10, section 7.1; old archives write such files)."""

_PIXEL_DATA_TAGS = {True: b"\xe0\x7f\x10\x00", False: b"\x7f\xe0\x00\x10"}
"""(7FE0,0010) in little and in big endian order."""
_INFLATE_CHUNK_BYTES = 1 << 20
_MAX_DEFLATE_RATIO = 1032
"""The maximum of deflate (RFC 1951: 258 bytes in two bits)."""
_QUOTED = re.compile(r"""b?(['"]).*\1""")


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn any exception of a decoder into `UnreadableObject`, naming `what`; warnings of the parser are dropped.

    Damaged files make pydicom and its decoders raise more than a dozen unrelated exception classes, so everything is
    caught here, and only here.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except (InputError, Unfamiliar):
            raise
        except Exception as error:
            raise UnreadableObject(f"{what} cannot be read ({_in_short(error)})") from error


def _in_short(error: Exception) -> str:
    """Class and message of an exception without quoted text, which may be patient data."""
    reason = " ".join(str(error).split("Traceback")[0].split())
    reason = _QUOTED.sub("...", reason)[:160].strip(" :")
    return f"{type(error).__name__}: {reason}" if reason else type(error).__name__


def looks_like_dicom(path: Path) -> bool:
    """Whether a file has the DICOM prefix, or begins like a data set without one."""
    try:
        with path.open("rb") as stream:
            head = stream.read(PREAMBLE_BYTES)
    except OSError as error:
        raise UnreadableObject(f"file cannot be opened ({error.strerror})") from error
    if head[128:132] == b"DICM":
        return True
    if not head:
        raise UnreadableObject("file is empty")
    if len(head) < 16:
        return False
    explicit = head[4:6].isalpha() and head[4:6].isupper()
    if explicit and int.from_bytes(head[0:2], "big") in _FIRST_GROUPS:
        return int.from_bytes(head[2:4], "big") < 0x0100
    group, element = int.from_bytes(head[0:2], "little"), int.from_bytes(head[2:4], "little")
    implicit_length = int.from_bytes(head[4:8], "little")
    return group in _FIRST_GROUPS and element < 0x0100 and (explicit or implicit_length <= 1024)


def media_class(path: Path) -> str:
    """The SOP Class UID in the file meta information; empty if there is none."""
    try:
        with translated("file"):
            return text(read_file_meta_info(path), "MediaStorageSOPClassUID")
    except InputError:
        return ""


@dataclass(slots=True)
class OpenedObject:
    """A data set without pixel data, and the offset of these.

    pixel_offset : file offset of the PixelData element, -1 if there is none
    inflated : the whole data set in memory if it had to be inflated, else None
    """

    path: Path
    dataset: Dataset
    transfer_syntax: UID
    pixel_offset: int
    inflated: bytes | None = None

    @property
    def pixel_syntax(self) -> UID:
        """Transfer syntax of the pixel data; a deflated data set has been inflated."""
        return UID(ExplicitVRLittleEndian if self.inflated is not None else self.transfer_syntax)

    @property
    def is_native_little_endian(self) -> bool:
        """Whether pixel data are native and little endian."""
        return self.transfer_syntax in (
            ExplicitVRLittleEndian,
            ImplicitVRLittleEndian,
            DeflatedExplicitVRLittleEndian,
        )

    def all_bytes(self) -> memoryview:
        """The mapped file; if it was deflated, the inflated bytes."""
        if self.inflated is not None:
            return memoryview(self.inflated)
        with self.path.open("rb") as stream:
            return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))

    def native_pixel_bytes(self) -> memoryview:
        """The value of native Pixel Data, mapped; shorter than declared if the file is truncated."""
        if self.pixel_offset < 0:
            raise UnreadableObject("it has no pixel data")
        view = self.all_bytes()
        start, length = _value_of_pixel_data(view, self.pixel_offset, self.transfer_syntax)
        return view[start : start + length]

    def with_pixels(self) -> Dataset:
        """The complete data set, pixel data included."""
        with translated("object"):
            source: Any = io.BytesIO(self.inflated) if self.inflated is not None else self.path
            dataset = dcmread(source, force=True)
            dataset.file_meta.TransferSyntaxUID = self.pixel_syntax
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
    """Read a file up to its pixel data.

    keywords : the top-level attributes to read; all if None
    Raises `LimitExceeded` for a file above the limits, `UnreadableObject` for one that cannot be parsed.
    """
    with translated("file"), path.open("rb") as stream:
        size = path.stat().st_size
        if size > limits.max_file_bytes:
            raise LimitExceeded(f"file of {size} bytes is larger than the limit of {limits.max_file_bytes}")
        source, inflated = _inflated_if_needed(path, stream, limits)
        tags: list[Any] | None = list(keywords) if keywords is not None else None
        dataset = dcmread(source, force=True, stop_before_pixels=True, specific_tags=tags)
        offset = source.tell()
        if "SOPClassUID" not in dataset:
            raise UnreadableObject("file has no SOP Class UID: neither CT nor segmentation, or truncated")
        if inflated is not None:
            dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        syntax = UID(str(dataset.file_meta.get("TransferSyntaxUID", ""))) if hasattr(dataset, "file_meta") else UID("")
        if not syntax:
            syntax = _guessed_syntax(dataset)
        at_pixels = source.read(4) == _PIXEL_DATA_TAGS[syntax != ExplicitVRBigEndian]
    return OpenedObject(path, dataset, syntax, offset if at_pixels else -1, inflated)


def _guessed_syntax(dataset: Dataset) -> UID:
    # Without file meta information the VR form that the parser settled on is the only hint.
    implicit, little = dataset.original_encoding
    if little is False:
        return ExplicitVRBigEndian
    return ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian


def _inflated_if_needed(path: Path, stream: BinaryIO, limits: Limits) -> tuple[BinaryIO, bytes | None]:
    """The stream, or an inflated one: pydicom inflates without a limit (1 MB can become 1 GB)."""
    head = stream.read(PREAMBLE_BYTES)
    stream.seek(0)
    if head[128:132] != b"DICM":
        return stream, None
    meta = read_file_meta_info(path)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return stream, None
    stream.seek(PREAMBLE_BYTES)
    meta_bytes = stream.read(12 + int(meta.FileMetaInformationGroupLength))
    plain = inflate(stream.read(), limits.max_inflated_bytes, prefix=head + _with_syntax(meta_bytes, meta))
    return io.BytesIO(plain), plain


def _with_syntax(meta_bytes: bytes, meta: Dataset) -> bytes:
    # Same length on purpose: "1.2.840.10008.1.2.1" padded with NULs where "1.2.840.10008.1.2.1.99" stood.
    old = str(meta.TransferSyntaxUID).encode()
    return meta_bytes.replace(old, str(ExplicitVRLittleEndian).encode().ljust(len(old), b"\0"), 1)


def inflate(data: bytes, max_bytes: int, *, prefix: bytes = b"") -> bytes:
    """`prefix` and the inflated `data` (raw deflate, RFC 1951); raises `LimitExceeded` above `max_bytes`.

    Data that could exceed the limit are first inflated without being kept, so that a bomb costs time but no memory.
    """
    if len(data) * _MAX_DEFLATE_RATIO > max_bytes:
        _inflate_into(None, data, max_bytes)
    buffer = io.BytesIO()
    buffer.write(prefix)
    _inflate_into(buffer, data, max_bytes)
    return buffer.getvalue()


def _inflate_into(buffer: io.BytesIO | None, data: bytes, max_bytes: int) -> None:
    decompressor = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    total = 0
    pending = data
    while not decompressor.eof:
        part = decompressor.decompress(pending, _INFLATE_CHUNK_BYTES)
        pending = decompressor.unconsumed_tail
        total += len(part)
        if total > max_bytes:
            raise LimitExceeded(f"it inflates to more than the limit of {max_bytes} bytes")
        if buffer is not None:
            buffer.write(part)
        if not part and not pending:
            break  # truncated: the parser will notice


def file_digest(path: Path) -> str:
    """SHA-256 of the data set in a file, without the file meta information, which archives rewrite."""
    with translated("file"):
        return untranslated_file_digest(path)


def untranslated_file_digest(path: Path) -> str:
    """`file_digest` that raises `OSError`; thread-safe."""
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
    """The value of an attribute as text, multiple values joined by a backslash; empty if missing or damaged."""
    try:
        value = dataset.get(keyword)
    except Exception:  # noqa: BLE001 - pydicom converts on access; a damaged description is no reason to refuse
        return ""
    if value is None:
        return ""
    if isinstance(value, (list, tuple)) or hasattr(value, "insert"):
        return "\\".join(str(part) for part in value)
    return str(value).strip(" \0")


def _value(dataset: Dataset, keyword: str) -> Any:
    """The value of a numeric attribute; None if missing."""
    try:
        value = dataset.get(keyword)
    except Exception as error:  # pydicom converts on access, and fails in many ways on values it cannot convert
        raise Inconsistent(f"{keyword} is not a number") from error
    if isinstance(value, (str, bytes)):
        value = value.strip() or None
    if isinstance(value, bytes):
        raise Inconsistent(f"{keyword} is not a number")
    return value


def numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...]:
    """The `count` finite numbers of an attribute.

    Raises `Inconsistent` if it is missing, has another number of values, or a value that is not a finite number.
    """
    value = _value(dataset, keyword)
    if value is None:
        raise Inconsistent(f"{keyword} is missing")
    several = hasattr(value, "__len__") and not isinstance(value, str)
    try:
        parts = tuple(float(part) for part in (value if several else [value]))
    except (TypeError, ValueError) as error:
        raise Inconsistent(f"{keyword} is not a number") from error
    if len(parts) != count or not all(math.isfinite(part) for part in parts):
        raise Inconsistent(f"{keyword} is not {count} finite numbers")
    return parts


def whole_number(dataset: Dataset, keyword: str, *, low: int, high: int) -> int:
    """The integer value of an attribute from `low` to `high`; raises `Inconsistent` otherwise."""
    value = _value(dataset, keyword)
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise Inconsistent(f"{keyword} is missing or not a whole number") from error
    if not low <= number <= high:
        raise Inconsistent(f"{keyword} is {number}, not between {low} and {high}")
    return number


def whole_number_or(dataset: Dataset, keyword: str, default: int) -> int:
    """The integer value of an attribute, or a default if it is missing or invalid."""
    try:
        return whole_number(dataset, keyword, low=-(2**31), high=2**32)
    except Inconsistent:
        return default


def items(dataset: Dataset | None, keyword: str) -> list[Dataset]:
    """The items of a sequence; empty if it is missing."""
    value = dataset.get(keyword) if dataset is not None else None
    return list(value) if value is not None and hasattr(value, "append") else []


def first_item(dataset: Dataset | None, keyword: str) -> Dataset | None:
    """The first item of a sequence; None if there is none."""
    found = items(dataset, keyword)
    return found[0] if found else None


def referenced_series(dataset: Dataset) -> list[Dataset]:
    """Items for referenced series in the same study and in others (PS3.3, section C.12.2)."""
    studies = items(dataset, "StudiesContainingOtherReferencedInstancesSequence")
    return [item for holder in (dataset, *studies) for item in items(holder, "ReferencedSeriesSequence")]


def source_instances(group: Dataset | None) -> frozenset[str]:
    """SOP Instance UIDs in the Source Image Sequences of a functional group."""
    derivations = items(group, "DerivationImageSequence")
    sources = (source for derivation in derivations for source in items(derivation, "SourceImageSequence"))
    return frozenset(uid for source in sources if (uid := text(source, "ReferencedSOPInstanceUID")))
