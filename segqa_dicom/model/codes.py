"""Coded concepts and what a segment says it is."""

from __future__ import annotations

from dataclasses import dataclass, field

LEFT = "7771000"
"""SNOMED CT code value of the modifier "Left" (CID 244)."""
RIGHT = "24028007"
"""SNOMED CT code value of the modifier "Right" (CID 244)."""


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept (PS3.3, section 8); two codes are equal if value and scheme are, whatever they are called."""

    value: str
    scheme: str
    meaning: str = field(default="", compare=False)

    @property
    def key(self) -> str:
        """``VALUE.SCHEME``."""
        return f"{self.value}.{self.scheme}"


@dataclass(frozen=True, slots=True)
class CodedStructure:
    """What a segment stands for, in the codes of its SegmentSequence item (PS3.3, section C.8.20.4).

    Only the first modifier of each kind is kept: CID 244 laterality in every table that was seen.
    """

    category: Code | None = None
    type: Code | None = None
    modifier: Code | None = None
    region: Code | None = None
    region_modifier: Code | None = None

    @property
    def key(self) -> str:
        """``type|modifier|region|region modifier`` as ``VALUE.SCHEME``, empty parts empty; the literal codes."""
        parts = (self.type, self.modifier, self.region, self.region_modifier)
        return "|".join(part.key if part else "" for part in parts)
