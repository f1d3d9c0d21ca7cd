"""Metadata in DICOM JSON, written straight from the bytes of a header.

A segmentation has a dozen sequences for each of its frames, and making objects of them takes pydicom seconds. Here
each element becomes a piece of JSON at once, and pieces that come again (codes, positions, references) are remembered.
What comes out is what `dicom_json.metadata` gives; whatever is not plain that writes.
"""

from __future__ import annotations

import json
import math
import struct
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from pydicom import Dataset

from segqa_dicom.dicom.dicom_json import (
    AVAILABLE_TRANSFER_SYNTAX,
    BULK_BYTES,
    PIXEL_DATA,
    json_element,
    json_object,
    metadata,
    pixel_data_reference,
)
from segqa_dicom.dicom.elements import Element, Unfamiliar, element_list, items
from segqa_dicom.dicom.headers import PlainDataset, PlainObject, open_plainly
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import text, translated
from segqa_dicom.dicom.value_representations import BYTES_VRS, LONG_TEXT_VRS, NUMBER_FORMATS, SHORT_TEXT_VRS

_CHUNK_BYTES = 1 << 18
_REMEMBERED = 10_000
"""Pieces of JSON that are remembered of one object."""
_SHORT_BYTES = BULK_BYTES
"""Elements up to this length are remembered; none of them holds a value so large that it is a reference."""
_DIGITS_OF_NUMBERS = b"0123456789+-.eE"
_DIGITS_OF_UIDS = b"0123456789."
_Found = tuple[int, bytes, int, int, int]
_ENCODINGS = {"ISO_IR 192": "utf-8", "ISO_IR 100": "latin-1"}
"""How text is decoded by Specific Character Set; with others all but ASCII is pydicom's."""


Memory = dict[str, dict[bytes, str]]
"""Pieces of JSON by how text is decoded, and by the bytes of the elements; may be used for several objects."""


def metadata_pieces(path: Path, bulk_url: str, limits: Limits, memory: Memory | None = None) -> Iterator[bytes]:
    """What `dicom_json.metadata` gives, as JSON in pieces of some hundred kilobytes; raises the same errors.

    memory : what was written for objects before; gets what is written for this one
    """
    opened = open_plainly(path, limits)
    if opened is None or opened.is_implicit or not isinstance(opened.dataset, PlainDataset):
        yield encoded(metadata(path, bulk_url, limits))
        return
    pending: list[str] = []
    length = 0
    for piece in _plain_pieces(opened, opened.dataset, bulk_url, memory if memory is not None else {}):
        pending.append(piece)
        length += len(piece)
        if length > _CHUNK_BYTES:
            yield "".join(pending).encode("utf-8", "replace")
            pending, length = [], 0
    yield "".join(pending).encode("utf-8", "replace")


def encoded(value: Any) -> bytes:
    """JSON without spaces."""
    return _dumps(value).encode("utf-8", "replace")


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _plain_pieces(opened: PlainObject, dataset: PlainDataset, bulk_url: str, memory: Memory) -> Iterator[str]:
    data, elements = dataset.walked()
    encoding = _ENCODINGS.get(text(cast("Dataset", dataset), "SpecificCharacterSet"), "ascii")
    writer = _Writer(data, encoding, memory.setdefault(encoding, {}))
    added: dict[int, dict[str, Any]] = {
        int(AVAILABLE_TRANSFER_SYNTAX, 16): {"vr": "UI", "Value": [str(opened.transfer_syntax)]}
    }
    if opened.pixel_offset >= 0:
        added[int(PIXEL_DATA, 16)] = pixel_data_reference(opened, bulk_url)
    found: dict[int, _Found | dict[str, Any]] = {one[0]: one for one in elements if one[0] & 0xFFFF}
    found |= added
    separator = "{"
    for tag in sorted(found):
        one = found[tag]
        pieces = (
            [f'"{tag:08X}":{_dumps(one)}'] if isinstance(one, dict) else _element_pieces(writer, one, dataset, bulk_url)
        )
        for piece in pieces:
            yield separator
            yield piece
            separator = ""
        if not separator:
            separator = ","
    yield "}"


def _element_pieces(writer: _Writer, element: _Found, dataset: PlainDataset, bulk_url: str) -> Iterable[str]:
    """An element of the object itself; nothing if its value is damaged. pydicom writes what is not plain."""
    tag, vr, begin, start, stop = element
    url = f"{bulk_url}/{tag:08X}"
    try:
        if vr != b"SQ" or stop - begin <= _SHORT_BYTES:
            return [writer.element(element, url)]
        parts = list(items(writer.data, Element(tag, vr, begin, start, stop), implicit=False))
    except Unfamiliar:
        return _by_pydicom(tag, dataset, url)
    return _item_pieces(writer, tag, parts, dataset, url)  # longer than an empty one


def _item_pieces(
    writer: _Writer, tag: int, parts: Sequence[tuple[int, int]], dataset: PlainDataset, bulk_url: str
) -> Iterator[str]:
    """A sequence item by item, so that a long one is never there as a whole."""
    separator = f'"{tag:08X}":{{"vr":"SQ","Value":['
    for number, (start, stop) in enumerate(parts, start=1):
        try:
            piece = writer.item(start, stop, f"{bulk_url}/{number}")
        except Unfamiliar:
            with translated("object"):
                piece = _dumps(json_object(dataset[tag].value[number - 1], f"{bulk_url}/{number}"))
        yield separator
        yield piece
        separator = ","
    yield "]}"


def _by_pydicom(tag: int, dataset: PlainDataset, bulk_url: str) -> Iterable[str]:
    try:
        with translated("object"):
            found = json_element(dataset[tag], bulk_url)
    except Exception:  # noqa: BLE001 - pydicom converts on access, and damaged values make it raise anything
        return ()
    return [f'"{tag:08X}":{_dumps(found)}']


class _Writer:
    """Writes the elements of one object. All raise `Unfamiliar` for what pydicom must look at."""

    def __init__(self, data: bytes, encoding: str, known: dict[bytes, str]) -> None:
        self.data = data
        self._encoding = encoding
        self._known = known

    def item(self, start: int, stop: int, bulk_url: str) -> str:
        """The data set of an item, as an object."""
        found = element_list(self.data, start, stop, implicit=False, in_item=True)
        return "{" + ",".join([self.element(one, f"{bulk_url}/{one[0]:08X}") for one in found if one[0] & 0xFFFF]) + "}"

    def element(self, element: _Found, bulk_url: str) -> str:
        """An element with its tag."""
        tag, vr, begin, start, stop = element
        if stop - begin > _SHORT_BYTES:
            return self._written(tag, vr, start, stop, bulk_url)
        written = self.data[begin:stop]
        found = self._known.get(written)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[written] = self._written(tag, vr, start, stop, bulk_url)
        return found

    def _written(self, tag: int, vr: bytes, start: int, stop: int, bulk_url: str) -> str:
        return f'"{tag:08X}":{self._value(tag, vr, start, stop, bulk_url)}'

    def _value(self, tag: int, vr: bytes, start: int, stop: int, bulk_url: str) -> str:
        if vr == b"SQ":
            parts = items(self.data, Element(tag, vr, start, start, stop), implicit=False)
            values = [self.item(*part, f"{bulk_url}/{number}") for number, part in enumerate(parts, start=1)]
            return '{"vr":"SQ","Value":[' + ",".join(values) + "]}" if values else '{"vr":"SQ"}'
        name = vr.decode("ascii")
        if stop == start:
            if vr == b"UN":
                raise Unfamiliar("a VR that pydicom may convert")
            return f'{{"vr":"{name}"}}'
        if name in BYTES_VRS:
            if stop - start > BULK_BYTES:
                return f'{{"vr":"{name}","BulkDataURI":{_dumps(bulk_url)}}}'
            return f'{{"vr":"{name}","InlineBinary":"{b64encode(self.data[start:stop]).decode()}"}}'
        convert = _CONVERTERS.get(name)
        if convert is None:
            raise Unfamiliar("a VR that pydicom may convert")
        return f'{{"vr":"{name}","Value":{convert(name, self.data[start:stop], self._encoding)}}}'


def _texts(_: str, raw: bytes, encoding: str) -> str:
    value = _decoded(raw, encoding)
    if "\\" not in value:
        return f"[{_dumps(value)}]"
    parts = value.split("\\")
    if not all(part and part == part.strip() for part in parts):
        raise Unfamiliar("several texts, padded or empty ones among them")
    return _dumps(parts)


def _long_text(_: str, raw: bytes, encoding: str) -> str:
    return f"[{_dumps(_decoded(raw, encoding))}]"


def _decoded(raw: bytes, encoding: str) -> str:
    try:
        value = raw.rstrip(b"\0 ").decode(encoding)
    except UnicodeDecodeError as error:
        raise Unfamiliar("text in another character set") from error
    if not value or value[0] == " " or not value.isprintable():
        raise Unfamiliar("text that is padded, empty, or has control characters")
    return value


def _name(_: str, raw: bytes, encoding: str) -> str:
    value = _decoded(raw, encoding)
    if value[-1] == "^" or "=" in value or "\\" in value:
        raise Unfamiliar("several names, or one with empty components or in several scripts")
    return f'[{{"Alphabetic":{_dumps(value)}}}]'


def _tags(_: str, raw: bytes, __: str) -> str:
    if len(raw) % 4:
        raise Unfamiliar("half a tag")
    return "[" + ",".join(f'"{group:04X}{number:04X}"' for group, number in struct.iter_unpack("<HH", raw)) + "]"


def _uids(_: str, raw: bytes, __: str) -> str:
    value = raw.rstrip(b"\0 ")
    if not value or value.strip(_DIGITS_OF_UIDS):
        raise Unfamiliar("several UIDs, or an unusual one")
    return f'["{value.decode()}"]'


def _binary_numbers(vr: str, raw: bytes, _: str) -> str:
    form = NUMBER_FORMATS[vr]
    size = struct.calcsize(f"<{form}")
    if len(raw) % size:
        raise Unfamiliar("half a number")
    values = struct.unpack(f"<{len(raw) // size}{form}", raw)
    if form in "fd" and not all(map(math.isfinite, values)):
        raise Unfamiliar("a number that JSON does not have")
    return "[" + ",".join(map(repr, values)) + "]"


def _decimals(_: str, raw: bytes, __: str) -> str:
    try:
        values = [float(part) for part in _number_parts(raw)]
    except ValueError as error:
        raise Unfamiliar("an unusual number") from error
    if not all(map(math.isfinite, values)):
        raise Unfamiliar("a number that JSON does not have")
    return "[" + ",".join(map(repr, values)) + "]"


def _integers(_: str, raw: bytes, __: str) -> str:
    try:
        values = [int(part) for part in _number_parts(raw)]
    except ValueError as error:
        raise Unfamiliar("an unusual number") from error
    if not all(-(2**31) <= value < 2**31 for value in values):
        raise Unfamiliar("a number out of range")
    return "[" + ",".join(map(repr, values)) + "]"


def _number_parts(raw: bytes) -> list[bytes]:
    parts = [part.strip(b" ") for part in raw.rstrip(b"\0 ").split(b"\\")]
    if not all(part and len(part) <= 16 for part in parts) or b"".join(parts).strip(_DIGITS_OF_NUMBERS):
        raise Unfamiliar("an unusual number")
    return parts


_Converter = Callable[[str, bytes, str], str]
_CONVERTERS: dict[str, _Converter] = {
    **dict.fromkeys(SHORT_TEXT_VRS, _texts),
    **dict.fromkeys(LONG_TEXT_VRS, _long_text),
    **dict.fromkeys(NUMBER_FORMATS, _binary_numbers),
    "PN": _name,
    "AT": _tags,
    "UI": _uids,
    "DS": _decimals,
    "IS": _integers,
}
"""What writes the value of an element, by VR."""
