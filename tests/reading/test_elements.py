"""The walk over elements finds what pydicom finds, at the same offsets, and gives up on whatever pydicom repairs."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ImplicitVRLittleEndian

from segqa_dicom.dicom.elements import Cut, Element, Unfamiliar, elements, file_meta, items
from tests.reading.handmade import one, put_pixels

OPEN = b"\xff\xff\xff\xff"
ITEM, ITEM_END, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"
ROWS, COLUMNS = b"\x28\0\x10\0US\2\0\7\0", b"\x28\0\x11\0US\2\0\x09\0"
PIXELS = b"\xe0\x7f\x10\0OW\0\0"
SOURCES = b"\x08\0\x12\x21SQ\0\0"


def rich() -> Dataset:
    """Elements of short and long form, sequences of both kinds in each other, an icon, private elements, pixels."""
    dataset = Dataset()
    dataset.PatientName, dataset.PixelSpacing, dataset.StudyInstanceUID = "A^B", [1, 2], "1.2.3"
    inner = one(CodeValue="1", CodeMeaning="one")
    inner[0].is_undefined_length_sequence_item = True
    dataset.SourceImageSequence = one(ReferencedSOPInstanceUID="1.2", PurposeOfReferenceCodeSequence=inner)
    icon = Dataset()
    put_pixels(icon, np.zeros((2, 2), np.uint8))
    dataset.IconImageSequence = Items([icon, Dataset()])
    dataset.add_new(0x00090010, "LO", "MAKER")
    dataset.add_new(0x00091001, "SQ", Items([Dataset()]))
    dataset.add_new(0x00091002, "UN", b"1234")
    put_pixels(dataset, np.zeros((3, 3), np.uint16))
    for keyword in ("SourceImageSequence", "IconImageSequence"):
        dataset[keyword].is_undefined_length = True
    dataset[0x00091001].is_undefined_length = True
    return dataset


def encoded(dataset: Dataset, *, implicit: bool) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = implicit, True
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def as_pydicom_sees_it(data: bytes, *, implicit: bool) -> list[tuple[int, int]]:
    """Tag and offset of the value of each element in front of the pixels."""
    syntax = b"1.2.840.10008.1.2\0" if implicit else b"1.2.840.10008.1.2.1\0"
    head = b"\x02\0\x10\0UI" + struct.pack("<H", len(syntax)) + syntax
    found = dcmread(io.BytesIO(bytes(128) + b"DICM" + head + data), stop_before_pixels=True)
    start = 132 + len(head)
    return [
        (int(tag), (found.get_item(tag).value_tell if found.get_item(tag).is_raw else found[tag].file_tell) - start)
        for tag in found.keys()  # noqa: SIM118 - iterating a data set gives elements
    ]


@pytest.mark.parametrize("implicit", [False, True])
def test_elements_lie_where_pydicom_finds_them(implicit: bool) -> None:
    data = encoded(rich(), implicit=implicit)
    found = list(elements(data, 0, len(data), implicit=implicit))
    assert [(element.tag, element.start) for element in found] == as_pydicom_sees_it(data, implicit=implicit)
    assert [element.stop for element in found[:-1]] == [element.begin for element in found[1:]]
    assert data[found[-1].stop :].startswith(b"\xe0\x7f\x10\0")
    assert all(element.vr == (b"" if implicit else data[element.begin + 4 : element.begin + 6]) for element in found)


@pytest.mark.parametrize("implicit", [False, True])
def test_items_are_data_sets_of_their_own(implicit: bool) -> None:
    data = encoded(rich(), implicit=implicit)
    found = {element.tag: element for element in elements(data, 0, len(data), implicit=implicit)}
    ((start, stop),) = items(data, found[0x00082112], implicit=implicit)
    inner = {element.tag: element for element in elements(data, start, stop, implicit=implicit)}
    assert list(inner) == [0x00081155, 0x0040A170]
    assert data[inner[0x00081155].start : inner[0x00081155].stop] == b"1.2\0"
    ((start, stop),) = items(data, inner[0x0040A170], implicit=implicit)
    assert [element.tag for element in elements(data, start, stop, implicit=implicit)] == [0x00080100, 0x00080104]
    assert len(list(items(data, found[0x00880200], implicit=implicit))) == 2


@pytest.mark.parametrize("implicit", [False, True])
def test_data_that_are_cut_say_how_many_are_needed(implicit: bool) -> None:
    data = encoded(rich(), implicit=implicit)
    whole = list(elements(data, 0, len(data), implicit=implicit))
    ends = {0, *(element.stop for element in whole)}
    for length in range(whole[-1].stop):
        if length in ends:
            found = list(elements(data[:length], 0, length, implicit=implicit))
            assert found == whole[: len(found)]
            continue
        with pytest.raises(Cut) as cut:
            list(elements(data[:length], 0, length, implicit=implicit))
        assert length < cut.value.needed <= len(data)
    with pytest.raises(Cut):
        list(elements(data, 0, len(data) + 1, implicit=implicit))


def nest(depth: int) -> bytes:
    return (
        SOURCES
        + OPEN
        + (ITEM + OPEN + nest(depth - 1) + ITEM_END + bytes(4) if depth else b"")
        + SEQUENCE_END
        + bytes(4)
    )


ODD = {
    "out of order": COLUMNS + ROWS,
    "twice": ROWS + ROWS,
    "unknown VR": b"\x28\0\x10\0ZZ\2\0\7\0",
    "no VR": b"\x28\0\x10\0\2\0\0\0\7\0",
    "longer than what there is": b"\x28\0\x10\0US\3\0\7\0",
    "an item": ROWS + ITEM + bytes(4),
    "end of an item": ROWS + ITEM_END + bytes(4),
    "undefined length of bytes": b"\x28\0\x00\x30OW\0\0" + OPEN + ITEM + bytes(4) + SEQUENCE_END + bytes(4),
    "undefined length of unknown": b"\x28\0\x00\x30UN\0\0" + OPEN + SEQUENCE_END + bytes(4),
    "sequence without end": SOURCES + OPEN + ITEM + bytes(4),
    "delimiter with a length": SOURCES + OPEN + SEQUENCE_END + b"\1\0\0\0",
    "item delimiter with a length": SOURCES + OPEN + ITEM + OPEN + ITEM_END + b"\1\0\0\0" + SEQUENCE_END + bytes(4),
    "element between items": SOURCES + OPEN + ROWS + SEQUENCE_END + bytes(4),
    "item shorter than its element": SOURCES + OPEN + ITEM + b"\x09\0\0\0" + ROWS + SEQUENCE_END + bytes(4),
    "item longer than its elements": SOURCES + OPEN + ITEM + b"\x0c\0\0\0" + ROWS + SEQUENCE_END + bytes(4),
    "item in another character set": SOURCES + OPEN + ITEM + b"\x08\0\0\0\x08\0\5\0CS\0\0" + SEQUENCE_END + bytes(4),
    "nested without end": nest(40),
    "too many": b"".join(
        struct.pack("<I2sH", n >> 16 | n << 16 & 0xFFFFFFFF, b"US", 0) for n in range(0x90000, 0xA0100)
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_not_plain_is_unfamiliar(name: str) -> None:
    data = ODD[name]
    with pytest.raises(Unfamiliar):
        list(elements(data, 0, len(data), implicit=False))


@pytest.mark.parametrize(
    ("tag", "content", "plain"),
    [
        pytest.param(0x00082112, ITEM + bytes(4), True, id="known sequence"),
        pytest.param(0x00282000, ITEM + bytes(4), False, id="known bytes"),
        pytest.param(0x00080003, ITEM + bytes(4), False, id="unknown"),
        pytest.param(0x00091001, ITEM + bytes(4), True, id="private with items"),
        pytest.param(0x00091001, b"", False, id="private without"),
    ],
)
def test_undefined_length_in_implicit_vr_is_for_sequences(tag: int, content: bytes, plain: bool) -> None:
    data = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + OPEN + content + SEQUENCE_END + bytes(4)
    if plain:
        assert [element.stop for element in elements(data, 0, len(data), implicit=True)] == [len(data)]
    else:
        with pytest.raises(Unfamiliar):
            list(elements(data, 0, len(data), implicit=True))


def test_pixel_data_end_the_walk_only_at_the_top() -> None:
    pixel_data = PIXELS + b"\2\0\0\0\1\1"
    item = ROWS + pixel_data
    data = SOURCES + OPEN + ITEM + struct.pack("<I", len(item)) + item + SEQUENCE_END + bytes(4) + pixel_data + b"noise"
    assert [element.tag for element in elements(data, 0, len(data), implicit=False)] == [0x00082112]
    for length in range(len(data) - 18, len(data) - 7):  # not even the header of the pixel data is complete
        with pytest.raises(Cut):
            list(elements(data, 0, length, implicit=False))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(ITEM + b"\x0b\0\0\0" + ROWS, id="item longer than its sequence"),
        pytest.param(SEQUENCE_END + bytes(4) + ITEM + bytes(4), id="items behind the delimiter"),
        pytest.param(ROWS, id="no item"),
        pytest.param(ITEM, id="cut"),
        pytest.param(ITEM + OPEN + ROWS, id="item without end"),
    ],
)
def test_odd_items_are_unfamiliar(content: bytes) -> None:
    with pytest.raises(Unfamiliar):
        list(items(content, Element(0x00082112, b"SQ", 0, 0, len(content)), implicit=False))


def test_the_file_meta_information_ends_with_its_group() -> None:
    meta: Any = FileMetaDataset()
    meta.TransferSyntaxUID, meta.ImplementationVersionName = ImplicitVRLittleEndian, "X"
    data = encoded(meta, implicit=False) + ROWS
    found, stop = file_meta(data, 0)
    assert [element[0] for element in found] == [0x00020010, 0x00020013]
    assert data[stop:] == ROWS
    assert file_meta(ROWS, 0) == ([], 0)
    with pytest.raises(Cut):
        file_meta(data[:20], 0)
    with pytest.raises(Unfamiliar):
        file_meta(data[:stop] + data[:stop], 0)
