"""Makers of content items that keep to the rules: lengths, characters, nothing that is not finite."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from typing import Literal

from segqa_dicom.model import Code, SliceRef
from segqa_dicom.sr import codes, reader_text
from segqa_dicom.sr.ascii import ascii_text, clipped
from segqa_dicom.sr.content_items import (
    CONCEPT_MOD,
    CONTAINS,
    INFERRED_FROM,
    OBS_CONTEXT,
    PROPERTIES,
    SELECTED_FROM,
    CodeItem,
    CompositeItem,
    ContainerItem,
    DateTimeItem,
    GraphicItem,
    ImageItem,
    Item,
    NumberItem,
    PersonItem,
    Relation,
    TextItem,
    UidItem,
    reference,
)

__all__ = ["CONCEPT_MOD", "CONTAINS", "OBS_CONTEXT", "PROPERTIES", "Item", "reference"]

SIGNIFICANT_DIGITS = 7
SMALLEST_STEP = 1e-9
"""Nothing we measure means anything below this, in any of the units; it also keeps exponents out of the numbers."""
DECIMAL_STRING_LENGTH = 16


def concept(code: Code) -> Code:
    """`code` within the lengths of its attributes; codes of a SEG may be anything."""
    # Codes are equal whatever they are called: a cache by code would give one structure the name of another.
    return _concept(code.value, code.scheme, code.meaning)


@lru_cache(maxsize=4096)
def _concept(value: str, scheme: str, meaning: str) -> Code:
    value = ascii_text(value)
    name = clipped(ascii_text(meaning) or value, codes.MEANING_LENGTH)
    return Code(value, clipped(ascii_text(scheme), codes.VALUE_LENGTH), name)


def container(name: Code, children: Iterable[Item], *, template: str = "", is_root: bool = False) -> Item:
    """A CONTAINER (SEPARATE: OHIF runs CONTINUOUS text together)."""
    return ContainerItem(concept(name), None if is_root else CONTAINS, tuple(children), template)


def text(name: Code, words: str, relation: Relation = CONTAINS, children: Sequence[Item] = ()) -> Item:
    """A TEXT item; empty text is not allowed (PS3.3: Text Value is type 1C), so it becomes a hyphen."""
    return TextItem(concept(name), relation, tuple(children), clipped(ascii_text(words)) or "-")


def code(name: Code, value: Code, relation: Relation = CONTAINS, children: Sequence[Item] = ()) -> Item:
    """A CODE item."""
    return CodeItem(concept(name), relation, tuple(children), concept(value))


def uid_reference(name: Code, uid: str, relation: Relation = CONTAINS) -> Item:
    """A UIDREF item."""
    return UidItem(concept(name), relation, (), uid)


def number(name: Code, value: float, unit: Code, children: Sequence[Item] = ()) -> Item:
    """A NUM item. Raises ValueError for what is not finite."""
    return NumberItem(concept(name), CONTAINS, tuple(children), decimal_string(value), concept(unit), None)


def exact_number(
    name: Code, value: float, unit: Code, relation: Relation = PROPERTIES, children: Sequence[Item] = ()
) -> Item:
    """A NUM item that is read back as the very same number. Raises ValueError for what is not finite."""
    decimal, is_exact = exact_decimal(value)
    return NumberItem(
        concept(name), relation, tuple(children), decimal, concept(unit), None if is_exact else float(value)
    )


def coordinates(names: Sequence[Code], point: Sequence[float]) -> list[Item]:
    """A point in LPS mm as one NUM item per axis."""
    return [exact_number(name, value, codes.MILLIMETER) for name, value in zip(names, point, strict=True)]


def exact_decimal(value: float) -> tuple[str, bool]:
    """`value` as a DICOM decimal string, and whether that is the very number; else it has as many digits as fit.

    Raises ValueError for what is not finite.
    """
    if not math.isfinite(value):
        raise ValueError("only finite numbers can be written")
    number = float(value) + 0.0  # no minus zero
    for digits in range(17, 0, -1):
        written = repr(number).removesuffix(".0") if digits == 17 else f"{number:.{digits}g}"
        if len(written) <= DECIMAL_STRING_LENGTH:
            return written, float(written) == number
    raise ValueError("a number has more digits than a decimal string")


def decimal_string(value: float) -> str:
    """`value` as a DICOM decimal string: whole numbers whole, others to seven digits, no exponent if it can be avoided.

    Raises ValueError for what is not finite.
    """
    if not math.isfinite(value):
        raise ValueError("only finite numbers can be written")
    whole = str(int(value))
    if value == int(value) and len(whole) <= DECIMAL_STRING_LENGTH:
        return whole
    if abs(value) >= 10.0**9:
        return f"{value:.6E}" if len(whole) > DECIMAL_STRING_LENGTH else str(round(value))
    if abs(value) < SMALLEST_STEP:
        return "0"
    exponent = max(math.floor(math.log10(abs(value))) - SIGNIFICANT_DIGITS + 1, round(math.log10(SMALLEST_STEP)))
    rounded = Decimal(repr(float(value))).quantize(Decimal(1).scaleb(min(exponent, 0)))
    digits = f"{rounded:f}"
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def segment_image(
    name: Code,
    sop_class_uid: str,
    sop_instance_uid: str,
    segment_numbers: Sequence[int] = (),
    relation: Relation = CONTAINS,
) -> Item:
    """An IMAGE item for segments of a SEG; none = the SEG as a whole."""
    return ImageItem(concept(name), relation, (), sop_class_uid, sop_instance_uid, None, tuple(segment_numbers))


def point(column: float, row: float, source: SliceRef) -> Item:
    """A point on an image."""
    return graphic("POINT", ((column, row),), source)


def graphic(
    graphic_type: Literal["POINT", "POLYLINE"], points: tuple[tuple[float, float], ...], source: SliceRef
) -> Item:
    """Points (column, row) on an image."""
    image = ImageItem(
        concept(codes.SOURCE_OF_MEASUREMENT),
        SELECTED_FROM,
        (),
        source.sop_class_uid,
        source.sop_instance_uid,
        source.frame_number,
        (),
    )
    return GraphicItem(concept(codes.SPATIAL_LOCATION), INFERRED_FROM, (image,), graphic_type, points)


def human_text(name: Code, words: str, relation: Relation = CONTAINS) -> Item:
    """A TEXT item with what a person wrote, cleaned before (`sr.reader_text`); a hyphen if that is nothing."""
    return TextItem(concept(name), relation, (), words.replace("\n", "\r\n") or "-")


def word(name: Code, value: Code, relation: Relation = CONTAINS, children: Sequence[Item] = ()) -> Item:
    """A CODE item with a word of the vocabulary of readers, which may have been named in any language."""
    value = replace(concept(value), meaning=reader_text.long_string(value.meaning) or value.value)
    return CodeItem(concept(name), relation, tuple(children), value)


def person(name: Code, person_name: str, relation: Relation = CONTAINS) -> Item:
    """A PNAME item; the name as VR PN has it (`sr.reader_text.person_name`)."""
    return PersonItem(concept(name), relation, (), person_name)


def date_time(name: Code, stamp: str) -> Item:
    """A DATETIME item."""
    return DateTimeItem(concept(name), CONTAINS, (), stamp)


def composite(name: Code, sop_class_uid: str, sop_instance_uid: str) -> Item:
    """A COMPOSITE item."""
    return CompositeItem(concept(name), CONTAINS, (), sop_class_uid, sop_instance_uid)
