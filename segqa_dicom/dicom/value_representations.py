"""Value representations by the form of their elements and values (PS3.5, sections 6.2 and 7.1.2)."""

from __future__ import annotations

LONG_LENGTH_VRS = ("SQ", "OB", "OD", "OF", "OL", "OV", "OW", "SV", "UC", "UN", "UR", "UT", "UV")
"""With a length of 32 bits in explicit VR (PS3.5, table 7.1-1)."""
SHORT_LENGTH_VRS = (
    *("DS", "UI", "US", "CS", "UL", "SH", "LO", "AE", "AS", "AT", "DA", "DT", "FL", "FD", "IS", "LT", "PN", "SL"),
    *("SS", "ST", "TM"),
)
"""With a length of 16 bits (PS3.5, table 7.1-2); those of segmentations first, for linear search."""

NUMBER_FORMATS = {"US": "H", "UL": "I", "SS": "h", "SL": "i", "FL": "f", "FD": "d"}
"""Binary numbers by their format in `struct`."""
INTEGER_VRS = frozenset(("IS", "US", "UL", "SS", "SL"))
BYTES_VRS = frozenset(("OB", "OD", "OF", "OL", "OV", "OW"))
SHORT_TEXT_VRS = frozenset(("AE", "AS", "CS", "DA", "DT", "LO", "SH", "TM"))
"""Character strings with a backslash between values."""
LONG_TEXT_VRS = frozenset(("LT", "ST", "UT"))
"""Character strings of one value, which may contain a backslash."""
WILDCARD_VRS = frozenset(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"))
"""With wild card matching (PS3.4, section C.2.2.2.4)."""
