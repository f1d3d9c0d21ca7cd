"""Text that every reader of DICOM can show: ASCII, on one line, no longer than its attribute may be.

Readers differ in how they decode text inside nested items, even under ISO_IR 192 (dcmjs takes it for Latin-1), so what
the machine writes is ASCII. The patient's name and the like keep their characters.
"""

from __future__ import annotations

import re
import unicodedata

LONG_STRING = 64
"""Characters in an LO value."""
TEXT_LENGTH = 1000
"""UT has no limit that matters; a message longer than this is cut because nobody reads it in a viewer."""

_LETTERS = {
    # As in ICAO Doc 9303 (machine readable travel documents), part 3, section 6, where accents alone do not do.
    "\u00c4": "Ae", "\u00d6": "Oe", "\u00dc": "Ue", "\u00e4": "ae", "\u00f6": "oe", "\u00fc": "ue",
    "\u00df": "ss", "\u1e9e": "SS", "\u00c6": "Ae", "\u00e6": "ae", "\u00d8": "Oe", "\u00f8": "oe",
    "\u00c5": "Aa", "\u00e5": "aa", "\u0152": "Oe", "\u0153": "oe", "\u0141": "L", "\u0142": "l",
    "\u0110": "D", "\u0111": "d", "\u00d0": "D", "\u00f0": "d", "\u00de": "Th", "\u00fe": "th", "\u0131": "i",
    # Signs that messages of rules use.
    "\u2013": "-", "\u2014": "-", "\u2212": "-", "\u2010": "-", "\u2011": "-", "\u2018": "'", "\u2019": "'",
    "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u00d7": "x", "\u2265": ">=", "\u2264": "<=", "\u00b1": "+/-",
    "\u00b5": "u", "\u03bc": "u", "\u00b0": " deg", "\u2192": "->", "\u00b7": "-", "\u2026": "...", "\u2248": "~",
    "\u2260": "!=",
    # The backslash separates values in DICOM.
    "\\": "/",
}  # fmt: skip
_TABLE = str.maketrans(_LETTERS)
_NOT_ASCII = re.compile(r"[^\x20-\x7e]+")
_PLAIN = re.compile(r"[ -\[\]-~]*\Z")
"""Printable ASCII without the backslash: nearly every text, and nothing but its spaces can change."""


def ascii_text(text: str) -> str:
    """`text` in printable ASCII on one line; what has no Latin spelling becomes ``[U+809D 810F]``."""
    if _PLAIN.match(text):
        return " ".join(text.split())
    composed = unicodedata.normalize("NFC", text).translate(_TABLE)
    plain = "".join(char for char in unicodedata.normalize("NFKD", composed) if not unicodedata.combining(char))
    # Control characters are no text, and a lone surrogate cannot be encoded; white space becomes one space.
    spaced = "".join(" " if unicodedata.category(char) in {"Cc", "Cf", "Cs"} else char for char in plain)
    escaped = _NOT_ASCII.sub(_escape, " ".join(spaced.translate(_TABLE).split()))
    return escaped.strip()


def _escape(match: re.Match[str]) -> str:
    return "[U+" + " ".join(f"{ord(char):04X}" for char in match.group()) + "]"


def clipped(text: str, length: int = TEXT_LENGTH) -> str:
    """`text`, its end replaced by ``...`` if it is longer than `length`."""
    return text if len(text) <= length else text[: length - 3].rstrip() + "..."


def squeezed(text: str, length: int) -> str:
    """`text` without its middle if it is longer than `length`: models are told apart by how their names end."""
    if len(text) <= length:
        return text
    end = (length - 3) // 2
    return text[: length - 3 - end] + "..." + text[len(text) - end :]


def counted(count: int, singular: str, plural: str = "") -> str:
    """``1 structure``, ``2 structures``."""
    return f"{count} {singular if count == 1 else plural or singular + 's'}"
