"""What tables of codes do differently and what is wrong in them (`codes.toml`)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from segqa_dicom.anatomy.data import load
from segqa_dicom.model import CodedStructure


@dataclass(frozen=True, slots=True)
class Equivalence:
    """A type code that stands for another one; `modifier` (a key, or "") is added if there is none."""

    type: str
    becomes: str
    modifier: str
    reason: str


@dataclass(frozen=True, slots=True)
class OtherMeaning:
    """Texts that tables show for one code value; all of them are the same concept."""

    code: str
    current: str
    also: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class CodeDefect:
    """A label whose codes in some tables say something else, or too little.

    label : name of the segment in those tables
    coded : identity key that they give it
    canonical : the structure that it is
    """

    tables: tuple[str, ...]
    label: str
    coded: str
    canonical: str
    reason: str


@cache
def equivalences() -> tuple[Equivalence, ...]:
    """All equivalent type codes, with the reasons."""
    return tuple(
        Equivalence(row["type"], row["becomes"], row.get("modifier", ""), row["reason"])
        for row in load("codes")["equivalent"]
    )


@cache
def other_meanings() -> tuple[OtherMeaning, ...]:
    """Codes that tables show with a text that is old or misspelt."""
    return tuple(
        OtherMeaning(row["code"], row["current"], tuple(row["also"]), row["reason"])
        for row in load("codes")["other_meaning"]
    )


@cache
def code_defects() -> tuple[CodeDefect, ...]:
    """Every known label with wrong, missing or shared codes."""
    return tuple(
        CodeDefect(tuple(row["tables"]), label, coded, canonical, row["reason"])
        for row in load("codes")["defect"]
        for label, coded, canonical in zip(row["labels"], row["coded"], row["structures"], strict=True)
    )


def code_defect(label: str, codes: CodedStructure) -> CodeDefect | None:
    """The known defect of a segment with this label and these codes; None if there is none."""
    name = label.lower().replace(" ", "_")
    same = (one for one in code_defects() if one.coded == codes.key and one.label.lower().replace(" ", "_") == name)
    return next(same, None)
