"""Content items (PS3.3, section C.17.3) in the few forms that our documents need."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Literal, TypeAlias

import highdicom as hd
import numpy as np
from highdicom.sr import CodedConcept
from pydicom.sequence import Sequence as DicomSequence
from pydicom.valuerep import DS

from segqa_dicom.model import Code, SliceRef
from segqa_dicom.sr import codes
from segqa_dicom.sr.words import ascii_text, clipped

Item: TypeAlias = hd.sr.ContentItem
Relation: TypeAlias = Literal["CONTAINS", "HAS CONCEPT MOD", "HAS OBS CONTEXT", "INFERRED FROM", "SELECTED FROM"]
CONTAINS: Relation = "CONTAINS"
CONCEPT_MOD: Relation = "HAS CONCEPT MOD"
OBS_CONTEXT: Relation = "HAS OBS CONTEXT"
INFERRED_FROM: Relation = "INFERRED FROM"
SELECTED_FROM: Relation = "SELECTED FROM"

SIGNIFICANT_DIGITS = 7
SMALLEST_STEP = 1e-9
"""Nothing we measure means anything below this, in any of the units; it also keeps exponents out of the numbers."""
DECIMAL_STRING_LENGTH = 16


def concept(code: Code) -> CodedConcept:
    """A coded concept that keeps to the lengths of its attributes; codes of a SEG may be anything."""
    value = ascii_text(code.value)
    meaning = clipped(ascii_text(code.meaning) or value, codes.MEANING_LENGTH)
    return CodedConcept(value, clipped(ascii_text(code.scheme), codes.VALUE_LENGTH), meaning)


def container(name: Code, children: Iterable[Item], *, template: str | None = None, is_root: bool = False) -> Item:
    """A container whose children are read one by one (SEPARATE: OHIF runs CONTINUOUS text together)."""
    item = hd.sr.ContainerContentItem(
        concept(name),
        is_content_continuous=False,
        template_id=template,
        relationship_type=None if is_root else CONTAINS,
    )
    item.ContentSequence = DicomSequence(children)
    return item


def text(name: Code, words: str, relation: Relation = CONTAINS) -> Item:
    """A TEXT item; empty text is not allowed (PS3.3: Text Value is type 1C), so it becomes a hyphen."""
    return hd.sr.TextContentItem(concept(name), clipped(ascii_text(words)) or "-", relationship_type=relation)


def code(name: Code, value: Code, relation: Relation = CONTAINS, children: Sequence[Item] = ()) -> Item:
    """A CODE item."""
    item = hd.sr.CodeContentItem(concept(name), concept(value), relationship_type=relation)
    if children:
        item.ContentSequence = DicomSequence(children)
    return item


def uid_reference(name: Code, uid: str, relation: Relation = CONTAINS) -> Item:
    """A UIDREF item."""
    return hd.sr.UIDRefContentItem(concept(name), uid, relationship_type=relation)


def number(name: Code, value: float, unit: Code, children: Sequence[Item] = ()) -> Item:
    """A NUM item. The decimal string is the value: no Floating Point Value beside it that says more than is meant."""
    item = hd.sr.NumContentItem(concept(name), 0, concept(unit), relationship_type=CONTAINS)
    # highdicom writes the integer 12 as "12.0".
    item.MeasuredValueSequence[0].NumericValue = DS(decimal_string(value))
    if children:
        item.ContentSequence = DicomSequence(children)
    return item


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
    return hd.sr.ImageContentItem(
        concept(name),
        sop_class_uid,
        sop_instance_uid,
        referenced_segment_numbers=segment_number,
        relationship_type=CONTAINS,
    )


def point(column: float, row: float, source: SliceRef) -> Item:
    """A point on an image, in image coordinates (the centre of the first pixel is at 0.5, 0.5)."""
    item = hd.sr.ScoordContentItem(
        concept(codes.SPATIAL_LOCATION),
        "POINT",
        np.array([[column, row]], dtype=np.float64),
        relationship_type=INFERRED_FROM,
    )
    image = hd.sr.ImageContentItem(
        concept(codes.SOURCE_OF_MEASUREMENT),
        source.sop_class_uid,
        source.sop_instance_uid,
        referenced_frame_numbers=source.frame_number,
        relationship_type=SELECTED_FROM,
    )
    item.ContentSequence = DicomSequence([image])
    return item
