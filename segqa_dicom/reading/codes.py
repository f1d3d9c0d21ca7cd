"""Code sequence items to `Code`, with retired SNOMED-RT values replaced by SNOMED CT ones."""

from __future__ import annotations

from functools import cache

from pydicom import Dataset
from pydicom.sr._concepts_dict import concepts  # the DICOM context groups, as data; pydicom has no public name for it
from pydicom.sr._snomed_dict import mapping

from segqa_dicom.dicom.opening import first_item, text
from segqa_dicom.model import Code, CodedStructure

_RETIRED_SNOMED = ("SRT", "SNM3", "99SDM")
"""Coding scheme designators of SNOMED-RT in older objects (PS3.16, section 8.1)."""


def read_code(item: Dataset | None) -> Code | None:
    """The current code of a code sequence item; None if it has no value or no coding scheme."""
    if item is None:
        return None
    value = text(item, "CodeValue") or text(item, "LongCodeValue") or text(item, "URNCodeValue")
    scheme = text(item, "CodingSchemeDesignator")
    if not value or not (scheme or text(item, "URNCodeValue")):
        return None
    meaning = text(item, "CodeMeaning")
    if scheme in _RETIRED_SNOMED and value in mapping["SRT"]:
        return Code(str(mapping["SRT"][value]), "SCT", meaning)
    return Code(value, scheme or "URN", meaning)


def read_structure(item: Dataset) -> CodedStructure:
    """The coded properties of a Segment Sequence item (PS3.3, section C.8.20.4); None where missing."""
    type_item = first_item(item, "SegmentedPropertyTypeCodeSequence")
    modifier = first_item(type_item, "SegmentedPropertyTypeModifierCodeSequence") or first_item(
        item, "SegmentedPropertyTypeModifierCodeSequence"
    )
    region_item = first_item(item, "AnatomicRegionSequence")
    return CodedStructure(
        category=read_code(first_item(item, "SegmentedPropertyCategoryCodeSequence")),
        type=read_code(type_item),
        modifier=read_code(modifier),
        region=read_code(region_item),
        region_modifier=read_code(first_item(region_item, "AnatomicRegionModifierSequence")),
    )


@cache
def _listed_values(scheme: str) -> frozenset[str]:
    keywords: dict[str, dict[str, object]] = concepts.get(scheme, {})  # type: ignore[assignment]
    return frozenset(value for values in keywords.values() for value in values)


def unlisted(structure: CodedStructure) -> tuple[Code, ...]:
    """The SNOMED CT and DCM codes of no DICOM context group; no error by itself, because these are extensible."""
    codes = (structure.category, structure.type, structure.modifier, structure.region, structure.region_modifier)
    known = [code for code in codes if code and code.scheme in ("SCT", "DCM")]
    return tuple(code for code in known if code.value not in _listed_values(code.scheme))
