"""Text of people, who do not write ASCII: kept as it is, but for what no attribute may have.

What is cleaned once stays as it is when it is cleaned again, so that what was read from a document can be compared
with what was written.
"""

from __future__ import annotations

import re
import unicodedata

from segqa_dicom.sr.ascii import LONG_STRING

COMMENT_LENGTH = 2000
"""Characters of a comment; what is longer is cut, with a mark."""
LINE_LENGTH = 300
"""Characters of a line in a list, or beside an arrow."""
NAME_LENGTH = 64
"""Characters in each component group of a person's name (PS3.5, table 6.2-1, VR PN)."""
CUT = "\u2026"
"""What stands where something was left out."""
_LINE_ENDS = re.compile("\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_LONE_SURROGATES = re.compile("[\ud800-\udfff]")
# What turns the direction of the text that follows: names that look like others can be made with it.
_TURNS = "\ufeff\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_GROUPS, _COMPONENTS = 3, 5


def comment_text(text: str, length: int = COMMENT_LENGTH) -> str:
    """`text` without control characters, its lines separated by line feeds, cut with a mark; may be empty."""
    lines = _LINE_ENDS.sub("\n", text).replace("\t", " ")
    kept = "".join(char for char in lines if char == "\n" or not _is_forbidden(char))
    return _cut(unicodedata.normalize("NFC", kept).strip(), length)


def line_text(text: str, length: int = LINE_LENGTH) -> str:
    """The same on one line."""
    return _cut(" ".join(comment_text(text, max(length, COMMENT_LENGTH)).split()), length)


def long_string(text: str) -> str:
    """`text` as a value of VR LO: on one line, without the backslash that separates values."""
    return line_text(text.replace("\\", "/"), LONG_STRING)


def person_name(name: str, otherwise: str = "") -> str:
    """`name` as a value of VR PN: at most three groups (=) of at most five components (^), without a backslash.

    If nothing is left of it: `otherwise` as the family name, or "Unknown".
    """
    for candidate in (name, otherwise.replace("^", " ").replace("=", " ")):
        groups = [_name_group(group) for group in candidate.replace("\\", "/").split("=")[:_GROUPS]]
        found = "=".join(groups).rstrip("=")
        if found.strip("="):
            return found
    return "Unknown"


def spoken_name(name: str) -> str:
    """A person's name (VR PN) as people say it: ``Dr. Jane Doe``."""
    group = next((one for one in name.split("=") if one), "")
    family, given, middle, prefix, suffix = (group.split("^") + [""] * _COMPONENTS)[:_COMPONENTS]
    return " ".join(" ".join((prefix, given, middle, family, suffix)).split())


def _name_group(group: str) -> str:
    components = [line_text(one, NAME_LENGTH) for one in group.split("^")]
    rest = " ".join(components[_COMPONENTS - 1 :]).strip()
    joined = "^".join([*components[: _COMPONENTS - 1], rest]).rstrip("^ ")
    return _cut(joined, NAME_LENGTH).rstrip("^ ")


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + CUT


def _is_forbidden(char: str) -> bool:
    if char in _TURNS or _LONE_SURROGATES.match(char) or (ord(char) & 0xFFFE) == 0xFFFE or "\ufdd0" <= char <= "\ufdef":
        return True
    return unicodedata.category(char) == "Cc"
