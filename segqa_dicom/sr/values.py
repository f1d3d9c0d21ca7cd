"""Values of the elements of structured reports.

Files in the usual form are read from their bytes, which takes a tenth of the time that pydicom needs; whatever is
unusual about a file pydicom reads instead. Values that are not valid are left out.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache
from struct import iter_unpack, unpack
from typing import Any, TypeAlias

from pydicom import Dataset
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.valuerep import TEXT_VR_DELIMS

from segqa_dicom.dicom import opening
from segqa_dicom.dicom.headers import PlainDataset
from segqa_dicom.model import Code

MAX_TEXT = 4_000
"""Characters of a text that are kept."""
MAX_POINTS = 3000
"""Coordinates of a graphic that are kept."""

Node: TypeAlias = PlainDataset | Dataset


class ValueReader:
    """Values of a data set, or of an item in one, as text; empty where there is none."""

    def __init__(self, node: Node) -> None:
        raw = node.raw("SpecificCharacterSet") if isinstance(node, PlainDataset) else b""
        self._codes: dict[bytes, Code | None] = {}
        self._encodings = _encodings((raw or b"").decode("ascii", "replace").strip())

    def text(self, node: Node, keyword: str) -> str:
        """A value, several joined by backslashes, cut to `MAX_TEXT` characters."""
        if not isinstance(node, PlainDataset):
            return opening.text(node, keyword)[:MAX_TEXT]
        raw = node.raw(keyword)
        if not raw:
            return ""
        if raw.isascii() and b"\x1b" not in raw:
            return raw.decode("ascii").strip(" \0")[:MAX_TEXT]
        return decode_bytes(raw, list(self._encodings), TEXT_VR_DELIMS).strip(" \0")[:MAX_TEXT]

    def items(self, node: Node, keyword: str) -> list[Any]:
        """The items of a sequence."""
        if not isinstance(node, PlainDataset):
            return opening.items(node, keyword)
        return list(node.plain(keyword) or ())

    def numbers(self, node: Node, keyword: str) -> tuple[int, ...]:
        """Whole numbers; what is none is left out."""
        if isinstance(node, PlainDataset) and keyword == "ReferencedSegmentNumber":
            raw = node.raw(keyword) or b""
            return tuple(int.from_bytes(raw[at : at + 2], "little") for at in range(0, len(raw) & ~1, 2))
        parts = self.text(node, keyword).split("\\")
        return tuple(int(part) for part in (one.strip() for one in parts) if part.isdecimal() and len(part) < 10)

    def floats(self, node: Node, keyword: str) -> tuple[float, ...]:
        """Finite numbers of VR FL, at most `MAX_POINTS`."""
        if isinstance(node, PlainDataset):
            raw = (node.raw(keyword) or b"")[: 4 * MAX_POINTS]
            return tuple(one for (one,) in iter_unpack("<f", raw[: len(raw) & ~3]) if math.isfinite(one))
        value = node.get(keyword)
        several = value if hasattr(value, "__len__") and not isinstance(value, (str, bytes)) else [value]
        return tuple(float(one) for one in several[:MAX_POINTS] if isinstance(one, (int, float)) and math.isfinite(one))

    def floating(self, node: Node) -> float | None:
        """Floating Point Value, of which the Numeric Value may have fewer digits; None if absent or not finite."""
        if isinstance(node, PlainDataset):
            raw = node.raw("FloatingPointValue") or b""
            value: object = unpack("<d", raw)[0] if len(raw) == 8 else None
        else:
            value = node.get("FloatingPointValue")
        return float(value) if isinstance(value, float) and math.isfinite(value) else None

    def code(self, node: Node, keyword: str) -> Code | None:
        """The first item of a code sequence (PS3.3, section 8.8); None if it names no code.

        The same bytes are the same code: a document has thousands of sequences and few dozens of codes.
        """
        raw = node.raw(keyword) if isinstance(node, PlainDataset) else None
        if raw is None:
            return None if isinstance(node, PlainDataset) else self._first_code(node, keyword)
        if raw not in self._codes:
            self._codes[raw] = self._first_code(node, keyword)
        return self._codes[raw]

    def _first_code(self, node: Node, keyword: str) -> Code | None:
        for item in self.items(node, keyword)[:1]:
            value = next(
                (found for name in ("CodeValue", "LongCodeValue", "URNCodeValue") if (found := self.text(item, name))),
                "",
            )
            if value:
                return _code(value, self.text(item, "CodingSchemeDesignator"), self.text(item, "CodeMeaning"))
        return None


@cache
def _encodings(charset: str) -> tuple[str, ...]:
    return tuple(convert_encodings(charset.split("\\")))


@lru_cache(maxsize=8192)
def _code(value: str, scheme: str, meaning: str) -> Code:
    """One object for each code, of which a document has thousands."""
    return Code(value, scheme, meaning)
