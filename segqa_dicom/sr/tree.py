"""Content items (PS3.3, section C.17.3) in the few forms that our documents need, as values that know their bytes.

The functions make items that keep to the rules (lengths, characters, nothing that is not finite); the classes encode
what they hold. What highdicom's classes write for the same values is the same, byte by byte: the tests compare.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from struct import pack
from typing import ClassVar, Literal, TypeAlias

from segqa_dicom.dicom import encoding
from segqa_dicom.model import Code, SliceRef
from segqa_dicom.sr import codes, reader_text
from segqa_dicom.sr.ascii import ascii_text, clipped
from segqa_dicom.sr.code_sequence import coded

Relation: TypeAlias = Literal[
    "CONTAINS", "HAS CONCEPT MOD", "HAS OBS CONTEXT", "HAS PROPERTIES", "INFERRED FROM", "SELECTED FROM"
]
CONTAINS: Relation = "CONTAINS"
CONCEPT_MOD: Relation = "HAS CONCEPT MOD"
OBS_CONTEXT: Relation = "HAS OBS CONTEXT"
PROPERTIES: Relation = "HAS PROPERTIES"
INFERRED_FROM: Relation = "INFERRED FROM"
SELECTED_FROM: Relation = "SELECTED FROM"

SIGNIFICANT_DIGITS = 7
SMALLEST_STEP = 1e-9
"""Nothing we measure means anything below this, in any of the units; it also keeps exponents out of the numbers."""
DECIMAL_STRING_LENGTH = 16

_REFERENCED_SOP_CLASS_UID = 0x00081150
_REFERENCED_SOP_INSTANCE_UID = 0x00081155
_REFERENCED_FRAME_NUMBER = 0x00081160
_REFERENCED_SOP_SEQUENCE = 0x00081199
_MEASUREMENT_UNITS_CODE_SEQUENCE = 0x004008EA
_RELATIONSHIP_TYPE = 0x0040A010
_VALUE_TYPE = 0x0040A040
_CONCEPT_NAME_CODE_SEQUENCE = 0x0040A043
_CONTINUITY_OF_CONTENT = 0x0040A050
_DATE_TIME = 0x0040A120
_PERSON_NAME = 0x0040A123
_UID = 0x0040A124
_TEXT_VALUE = 0x0040A160
_CONCEPT_CODE_SEQUENCE = 0x0040A168
_MEASURED_VALUE_SEQUENCE = 0x0040A300
_NUMERIC_VALUE = 0x0040A30A
_CONTENT_TEMPLATE_SEQUENCE = 0x0040A504
_CONTENT_SEQUENCE = 0x0040A730
_REFERENCED_SEGMENT_NUMBER = 0x0062000B
_GRAPHIC_DATA = 0x00700022
_GRAPHIC_TYPE = 0x00700023


# ------------------------------------------------------------------------------------------------------- values


@dataclass(frozen=True, slots=True)
class Item(ABC):
    """What all kinds of content items have, and how they become bytes.

    relation : to the parent; None for the root
    """

    value_type: ClassVar[str]

    name: Code
    relation: Relation | None
    children: tuple[Item, ...]

    def elements(self) -> list[bytes]:
        """The elements of the item, in the order of their tags."""
        name = self.name
        parts = [
            *self._references(),
            *_head(self.relation, self.value_type, name.value, name.scheme, name.meaning),
            *self._value(),
        ]
        if self.children:
            parts.append(encoding.sequence(_CONTENT_SEQUENCE, [child.encoded() for child in self.children]))
        return [*parts, *self._graphic()]

    def encoded(self) -> bytes:
        """The item as it stands in the Content Sequence of its parent."""
        return encoding.item(self.elements())

    def _references(self) -> tuple[bytes, ...]:
        """What stands before the concept name."""
        return ()

    @abstractmethod
    def _value(self) -> tuple[bytes, ...]:
        """What stands between the concept name and the children."""

    def _graphic(self) -> tuple[bytes, ...]:
        """What stands after the children."""
        return ()


@dataclass(frozen=True, slots=True)
class ContainerItem(Item):
    """CONTAINER whose children are read one by one; template = identifier in DCMR, "" if it has none."""

    value_type = "CONTAINER"

    template: str

    def _value(self) -> tuple[bytes, ...]:
        return (_SEPARATE, _template(self.template)) if self.template else (_SEPARATE,)


@dataclass(frozen=True, slots=True)
class CodeItem(Item):
    """CODE."""

    value_type = "CODE"

    value: Code

    def _value(self) -> tuple[bytes, ...]:
        return (coded(_CONCEPT_CODE_SEQUENCE, self.value),)


@dataclass(frozen=True, slots=True)
class TextItem(Item):
    """TEXT."""

    value_type = "TEXT"

    words: str

    def _value(self) -> tuple[bytes, ...]:
        return (encoding.text(_TEXT_VALUE, "UT", self.words),)


@dataclass(frozen=True, slots=True)
class UidItem(Item):
    """UIDREF."""

    value_type = "UIDREF"

    uid: str

    def _value(self) -> tuple[bytes, ...]:
        return (encoding.text(_UID, "UI", self.uid),)


@dataclass(frozen=True, slots=True)
class PersonItem(Item):
    """PNAME."""

    value_type = "PNAME"

    person_name: str

    def _value(self) -> tuple[bytes, ...]:
        return (encoding.text(_PERSON_NAME, "PN", self.person_name),)


@dataclass(frozen=True, slots=True)
class DateTimeItem(Item):
    """DATETIME."""

    value_type = "DATETIME"

    stamp: str

    def _value(self) -> tuple[bytes, ...]:
        return (encoding.text(_DATE_TIME, "DT", self.stamp),)


@dataclass(frozen=True, slots=True)
class NumberItem(Item):
    """NUM. The decimal string is the value: no Floating Point Value beside it that says more than is meant."""

    value_type = "NUM"

    decimal: str
    unit: Code

    def _value(self) -> tuple[bytes, ...]:
        unit = coded(_MEASUREMENT_UNITS_CODE_SEQUENCE, self.unit)
        measured = encoding.item((unit, encoding.text(_NUMERIC_VALUE, "DS", self.decimal)))
        return (encoding.sequence(_MEASURED_VALUE_SEQUENCE, (measured,)),)


@dataclass(frozen=True, slots=True)
class ImageItem(Item):
    """IMAGE: an instance, or one frame (from 1) or one segment of it."""

    value_type = "IMAGE"

    sop_class_uid: str
    sop_instance_uid: str
    frame_number: int | None
    segment_number: int | None

    def _references(self) -> tuple[bytes, ...]:
        parts = list(reference(self.sop_class_uid, self.sop_instance_uid))
        if self.frame_number is not None:
            parts.append(encoding.text(_REFERENCED_FRAME_NUMBER, "IS", str(self.frame_number)))
        if self.segment_number is not None:
            parts.append(encoding.element(_REFERENCED_SEGMENT_NUMBER, "US", pack("<H", self.segment_number)))
        return (encoding.sequence(_REFERENCED_SOP_SEQUENCE, (encoding.item(parts),)),)

    def _value(self) -> tuple[bytes, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class CompositeItem(Item):
    """COMPOSITE: an instance that is no image."""

    value_type = "COMPOSITE"

    sop_class_uid: str
    sop_instance_uid: str

    def _references(self) -> tuple[bytes, ...]:
        instance = encoding.item(reference(self.sop_class_uid, self.sop_instance_uid))
        return (encoding.sequence(_REFERENCED_SOP_SEQUENCE, (instance,)),)

    def _value(self) -> tuple[bytes, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class GraphicItem(Item):
    """SCOORD, in image coordinates (the centre of the first pixel is at 0.5, 0.5): POINT, or POLYLINE.

    points : (column, row)
    """

    value_type = "SCOORD"

    graphic_type: Literal["POINT", "POLYLINE"]
    points: tuple[tuple[float, float], ...]

    def _value(self) -> tuple[bytes, ...]:
        return ()

    def _graphic(self) -> tuple[bytes, ...]:
        values = [value for point in self.points for value in point]
        place = encoding.element(_GRAPHIC_DATA, "FL", pack(f"<{len(values)}f", *values))
        return place, encoding.text(_GRAPHIC_TYPE, "CS", self.graphic_type)


def reference(sop_class_uid: str, sop_instance_uid: str) -> tuple[bytes, bytes]:
    """The two elements that refer to an instance (PS3.3, table 10-11)."""
    return (
        encoding.text(_REFERENCED_SOP_CLASS_UID, "UI", sop_class_uid),
        encoding.text(_REFERENCED_SOP_INSTANCE_UID, "UI", sop_instance_uid),
    )


@lru_cache(maxsize=4096)
def _head(relation: Relation | None, value_type: str, value: str, scheme: str, meaning: str) -> tuple[bytes, ...]:
    """Relationship, value type and concept name: the same few hundred combinations occur thousands of times."""
    parts = [encoding.text(_RELATIONSHIP_TYPE, "CS", relation)] if relation else []
    parts.append(encoding.text(_VALUE_TYPE, "CS", value_type))
    parts.append(coded(_CONCEPT_NAME_CODE_SEQUENCE, Code(value, scheme, meaning)))
    return tuple(parts)


@lru_cache(maxsize=16)
def _template(identifier: str) -> bytes:
    resource = encoding.text(0x00080105, "CS", "DCMR")
    return encoding.sequence(
        _CONTENT_TEMPLATE_SEQUENCE, (encoding.item((resource, encoding.text(0x0040DB00, "CS", identifier))),)
    )


_SEPARATE = encoding.text(_CONTINUITY_OF_CONTENT, "CS", "SEPARATE")


# ------------------------------------------------------------------------------------------------------- makers


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


def text(name: Code, words: str, relation: Relation = CONTAINS) -> Item:
    """A TEXT item; empty text is not allowed (PS3.3: Text Value is type 1C), so it becomes a hyphen."""
    return TextItem(concept(name), relation, (), clipped(ascii_text(words)) or "-")


def code(name: Code, value: Code, relation: Relation = CONTAINS, children: Sequence[Item] = ()) -> Item:
    """A CODE item."""
    return CodeItem(concept(name), relation, tuple(children), concept(value))


def uid_reference(name: Code, uid: str, relation: Relation = CONTAINS) -> Item:
    """A UIDREF item."""
    return UidItem(concept(name), relation, (), uid)


def number(name: Code, value: float, unit: Code, children: Sequence[Item] = ()) -> Item:
    """A NUM item. Raises ValueError for what is not finite."""
    return NumberItem(concept(name), CONTAINS, tuple(children), decimal_string(value), concept(unit))


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


def segment_image(name: Code, sop_class_uid: str, sop_instance_uid: str, segment_number: int | None) -> Item:
    """An IMAGE item for one segment of a SEG; None = the SEG as a whole."""
    return ImageItem(concept(name), CONTAINS, (), sop_class_uid, sop_instance_uid, None, segment_number)


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
        None,
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
