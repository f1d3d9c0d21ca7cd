"""The DICOM JSON model (PS3.18, annex F), with bulk data by reference."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydicom import DataElement, Dataset

from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import OpenedObject, open_object, translated
from segqa_dicom.dicom.value_representations import BYTES_VRS
from segqa_dicom.errors import InputError

BULK_BYTES = 1024
"""Binary values longer than this become a BulkDataURI."""
_BULK_VRS = BYTES_VRS | {"UN", "OB or OW"}
AVAILABLE_TRANSFER_SYNTAX = "00083002"
PIXEL_DATA = "7FE00010"


def metadata(path: Path, bulk_url: str, limits: Limits) -> dict[str, Any]:
    """The metadata of the object in a file; bulk data are references below `bulk_url`.

    Damaged values are left out. Raises as `open_object` does.
    """
    opened = open_object(path, limits)
    with translated("object"):
        found = json_object(opened.dataset, bulk_url)
    found[AVAILABLE_TRANSFER_SYNTAX] = {"vr": "UI", "Value": [str(opened.transfer_syntax)]}
    if opened.pixel_offset >= 0:
        found[PIXEL_DATA] = pixel_data_reference(opened, bulk_url)
    return dict(sorted(found.items()))


def pixel_data_reference(opened: OpenedObject, bulk_url: str) -> dict[str, Any]:
    """The BulkDataURI of Pixel Data, whatever their length."""
    vr = bytes(opened.all_bytes()[opened.pixel_offset + 4 : opened.pixel_offset + 6])
    return {"vr": "OB" if vr == b"OB" else "OW", "BulkDataURI": f"{bulk_url}/{PIXEL_DATA}"}


def json_object(dataset: Dataset, bulk_url: str) -> dict[str, Any]:
    """A data set, or an item of a sequence, without group lengths."""
    found = {}
    for tag in sorted(dataset.keys()):
        if tag.element == 0 or tag.group <= 2:
            continue
        name = f"{tag:08X}"
        # pydicom converts on access, and damaged values make it raise anything.
        with suppress(Exception):
            found[name] = json_element(dataset[tag], f"{bulk_url}/{name}")
    return found


def json_element(element: DataElement, bulk_url: str) -> dict[str, Any]:
    """An attribute; for a damaged value any exception of pydicom."""
    if element.VR == "SQ":
        items = [json_object(item, f"{bulk_url}/{number}") for number, item in enumerate(element.value, start=1)]
        return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
    if element.VR in _BULK_VRS and len(element.value or b"") > BULK_BYTES:
        return {"vr": _plain_vr(element.VR), "BulkDataURI": bulk_url}
    found: dict[str, Any] = element.to_json_dict(None, 0)
    found["vr"] = _plain_vr(str(found["vr"]))
    values = found.get("Value")
    if values is not None and any(isinstance(value, float) and not math.isfinite(value) for value in values):
        found["Value"] = [value if math.isfinite(value) else _written(value) for value in values]
    return found


def _written(value: float) -> str:
    """NaN and infinities as text (PS3.18, section F.2.4)."""
    if math.isnan(value):
        return "NaN"
    return "inf" if value > 0 else "-inf"


def _plain_vr(vr: str) -> str:
    """One VR where the data dictionary allows several."""
    return vr.rpartition(" or ")[2] if " or " in vr else vr


def bulk_value(path: Path, where: str, limits: Limits) -> bytes | None:
    """The bytes of a value; None if there is none. Pixel Data are read elsewhere.

    where : tag, or tag/item/tag for a value in a sequence; items are counted from 1
    """
    opened = open_object(path, limits)
    try:
        with translated("object"):
            return _value_at(opened.dataset, where.split("/"))
    except (InputError, LookupError):
        return None


def _value_at(dataset: Dataset, steps: list[str]) -> bytes | None:
    tags, items = steps[0::2], steps[1::2]
    if len(tags) != len(items) + 1 or not all(item.isdecimal() and int(item) for item in items):
        return None
    for tag, item in zip(tags[:-1], items, strict=True):
        dataset = dataset[int(tag, 16)].value[int(item) - 1]
    element = dataset[int(tags[-1], 16)]
    return bytes(element.value) if element.VR in _BULK_VRS else None
