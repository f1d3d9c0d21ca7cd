"""Content items (PS3.3, section C.17.3) as values that know their bytes.

What highdicom's classes write for the same values is the same, byte by byte: the tests compare.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from struct import pack
from typing import ClassVar, Literal, TypeAlias

from segqa_dicom.dicom import encoding
from segqa_dicom.model import Code
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
_FLOATING_POINT_VALUE = 0x0040A161
_NUMERIC_VALUE = 0x0040A30A
_CONTENT_TEMPLATE_SEQUENCE = 0x0040A504
_CONTENT_SEQUENCE = 0x0040A730
_REFERENCED_SEGMENT_NUMBER = 0x0062000B
_GRAPHIC_DATA = 0x00700022
_GRAPHIC_TYPE = 0x00700023


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
    """NUM.

    floating : Floating Point Value, where the decimal string (16 characters) cannot hold the number
    """

    value_type = "NUM"

    decimal: str
    unit: Code
    floating: float | None

    def _value(self) -> tuple[bytes, ...]:
        unit = coded(_MEASUREMENT_UNITS_CODE_SEQUENCE, self.unit)
        floating = []
        if self.floating is not None:
            floating.append(encoding.element(_FLOATING_POINT_VALUE, "FD", pack("<d", self.floating)))
        measured = encoding.item((unit, *floating, encoding.text(_NUMERIC_VALUE, "DS", self.decimal)))
        return (encoding.sequence(_MEASURED_VALUE_SEQUENCE, (measured,)),)


@dataclass(frozen=True, slots=True)
class ImageItem(Item):
    """IMAGE: an instance, or one frame (from 1) or some segments of it."""

    value_type = "IMAGE"

    sop_class_uid: str
    sop_instance_uid: str
    frame_number: int | None
    segment_numbers: tuple[int, ...]

    def _references(self) -> tuple[bytes, ...]:
        parts = list(reference(self.sop_class_uid, self.sop_instance_uid))
        if self.frame_number is not None:
            parts.append(encoding.text(_REFERENCED_FRAME_NUMBER, "IS", str(self.frame_number)))
        if numbers := self.segment_numbers:
            parts.append(encoding.element(_REFERENCED_SEGMENT_NUMBER, "US", pack(f"<{len(numbers)}H", *numbers)))
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
