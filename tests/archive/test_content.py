"""Whether two encodings of an object say the same."""

from __future__ import annotations

import io
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from segqa_dicom.archive.content import content_digest, same_content
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.errors import LimitExceeded, UnreadableObject
from tests.archive.objects import ct, encoded
from tests.shared import shared


def nested() -> Dataset:
    """A CT image with sequences in sequences, an empty one, a private element and text beyond ASCII."""
    dataset = ct()
    inner = Dataset()
    inner.CodeValue, inner.CodeMeaning = "10200004", "Liver ü"
    outer = Dataset()
    outer.PurposeOfReferenceCodeSequence = Sequence([inner, Dataset()])
    outer.ReferencedSOPInstanceUID = "1.2.3"
    dataset.ReferencedImageSequence = Sequence([outer, inner])
    dataset.ReferencedStudySequence = Sequence([])
    dataset.private_block(0x0009, "SEGQA TEST", create=True).add_new(1, "OB", b"\1\2\3\4")
    return dataset


def written(dataset: Dataset, syntax: str, *, undefined: bool = False) -> bytes:
    """The data set in a transfer syntax, its sequences with or without lengths."""
    copy = dcmread(io.BytesIO(encoded(dataset)))
    for element in copy.iterall():
        if element.VR == "SQ":
            element.is_undefined_length = undefined
            for item in element.value:
                item.is_undefined_length_sequence_item = undefined
    copy.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    copy.save_as(buffer, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True, enforce_file_format=True)
    return buffer.getvalue()


def test_same_object_in_all_little_endian_forms_has_one_digest() -> None:
    forms = [
        written(nested(), syntax, undefined=undefined)
        for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)
        for undefined in (False, True)
    ]
    assert len(set(forms)) == 6
    assert len({content_digest(form) for form in forms}) == 1
    assert all(same_content(forms[0], form) for form in forms)


def test_group_lengths_padding_and_meta_information_are_no_content() -> None:
    plain = nested()
    other = nested()
    other.add_new(0x00080000, "UL", 1234)
    other.add_new(0x00200000, "UL", 99)
    other.add_new(0xFFFCFFFC, "OB", b"\0" * 64)
    other.file_meta.ImplementationVersionName = "SOMEBODY"
    other.file_meta.SourceApplicationEntityTitle = "ELSEWHERE"
    assert same_content(encoded(plain), encoded(other))


def test_what_has_no_preamble_and_no_meta_information_is_read_too() -> None:
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        whole = written(nested(), syntax)
        start = 132 + 12 + int.from_bytes(whole[140:144], "little")
        assert same_content(whole, whole[start:])
        assert same_content(whole, whole[132:])
        assert same_content(written(nested(), ExplicitVRLittleEndian), whole[start:])


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("PatientID", "P2"), ("PixelData", bytes(512)), ("SeriesDescription", "new"), ("InstanceNumber", "01")],
)
def test_another_value_is_another_content(keyword: str, value: object) -> None:
    assert not same_content(encoded(ct()), encoded(ct(**{keyword: value})))


def test_an_element_that_moves_into_another_item_is_another_content() -> None:
    def with_items(*parts: tuple[str, ...]) -> bytes:
        dataset = ct()
        dataset.ReferencedImageSequence = Sequence()
        for part in parts:
            item = Dataset()
            for keyword in part:
                setattr(item, keyword, "1.2.3")
            dataset.ReferencedImageSequence.append(item)
        return encoded(dataset)

    forms = [
        with_items(("ReferencedSOPClassUID", "ReferencedSOPInstanceUID")),
        with_items(("ReferencedSOPClassUID",), ("ReferencedSOPInstanceUID",)),
        with_items((), ("ReferencedSOPClassUID", "ReferencedSOPInstanceUID")),
        with_items(("ReferencedSOPClassUID", "ReferencedSOPInstanceUID"), ()),
        with_items(),
    ]
    assert len({content_digest(form) for form in forms}) == 5


def test_encapsulated_pixel_data_count_with_their_transfer_syntax() -> None:
    def compressed(syntax: str, *frames: bytes) -> bytes:
        dataset = ct()
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = encapsulate(list(frames))
        dataset["PixelData"].is_undefined_length = True
        return encoded(dataset)

    first = compressed(RLELossless, b"abcdef", b"gh")
    assert same_content(first, compressed(RLELossless, b"abcdef", b"gh"))
    assert not same_content(first, compressed(JPEGLSLossless, b"abcdef", b"gh"))
    assert not same_content(first, compressed(RLELossless, b"abcd", b"efgh"))


def test_big_endian_is_the_same_only_as_its_own_bytes() -> None:
    dataset = ct()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    buffer = io.BytesIO()
    dataset.save_as(buffer, implicit_vr=False, little_endian=False, enforce_file_format=True)
    assert same_content(buffer.getvalue(), buffer.getvalue())
    assert not same_content(buffer.getvalue(), encoded(ct()))


def test_unknown_sequences_of_undefined_length_are_walked_over() -> None:
    item = b"\x08\x00\x00\x01\x02\x00\x00\x00" + b"AB"  # implicit VR, as PS3.5, section 6.2.2 has it
    sequence = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + item + b"\xfe\xff\x0d\xe0\0\0\0\0" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    head = b"\x08\x00\x16\x00UI\x04\x00" + b"1.2\0"
    content = head + b"\x09\x00\x10\x10UN\0\0\xff\xff\xff\xff" + sequence
    implicit = b"\x08\x00\x16\x00\x04\x00\x00\x00" + b"1.2\0" + b"\x09\x00\x10\x10\xff\xff\xff\xff" + sequence
    assert content_digest(content) == content_digest(implicit)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"GIF89a" + bytes(500), id="something else"),
        pytest.param(encoded(nested())[:-1], id="pixels cut"),
        pytest.param(encoded(nested())[:200], id="meta information cut"),
        pytest.param(written(nested(), ExplicitVRLittleEndian, undefined=True)[:600], id="sequence cut"),
        pytest.param(b"\x08\x00\x16\x00UI\x04\x00" + b"1.2\0" + b"\xfe\xff\x00\xe0\0\0\0\0", id="an item by itself"),
        pytest.param(b"\x08\x00\x16\x00UI\x04\x00" + b"1.2\0" + b"\x09\0\1\0??\0\0\0\0\0\0", id="no VR"),
        pytest.param(
            b"\x08\x00\x16\x00UI\x04\x00"
            b"1.2\0" + b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 3000,
            id="3000 levels",
        ),
    ],
)
def test_what_is_not_sound_is_unreadable(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(UnreadableObject):
        content_digest(content)
    path = tmp_path / "object.dcm"
    path.write_bytes(content)
    with pytest.raises(UnreadableObject):
        content_digest(path)


def test_a_file_that_is_not_there_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(UnreadableObject):
        content_digest(tmp_path / "none.dcm")


def test_a_bomb_is_refused_by_its_limit() -> None:
    small = written(ct(), DeflatedExplicitVRLittleEndian)
    start = 132 + 12 + int.from_bytes(small[140:144], "little")
    squeeze = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bomb = small[:start] + squeeze.compress(bytes(20_000_000)) + squeeze.flush()
    with pytest.raises(LimitExceeded):
        content_digest(bomb, Limits(max_inflated_bytes=1_000_000))
    with pytest.raises(UnreadableObject):
        content_digest(small[:start] + b"\xff" * 100)


def test_large_files_are_compared_in_little_memory(tmp_path: Path) -> None:
    explicit, implicit = tmp_path / "explicit.dcm", tmp_path / "implicit.dcm"
    big = ct(PixelData=np.zeros(30_000_000, np.uint8).tobytes())
    explicit.write_bytes(written(big, ExplicitVRLittleEndian))
    implicit.write_bytes(written(big, ImplicitVRLittleEndian))
    del big
    tracemalloc.start()
    assert same_content(explicit, implicit)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6_000_000


@given(st.integers(0, 1), st.data())
def test_damage_gives_another_digest_or_an_error_of_ours(which: int, data: st.DataObject) -> None:
    sound = written(nested(), (ExplicitVRLittleEndian, ImplicitVRLittleEndian)[which], undefined=bool(which))
    position = data.draw(st.integers(132, len(sound) - 1))
    value = data.draw(st.integers(0, 255))
    damaged = sound[:position] + bytes([value]) + sound[position + 1 :]
    with suppress(UnreadableObject, LimitExceeded):
        is_same = same_content(sound, damaged)
        if position >= len(sound) - len(nested().PixelData):
            assert is_same == (sound == damaged)


def test_real_segmentations_have_a_digest_in_either_form(tmp_path: Path) -> None:
    path = shared("data", "case_A", "seg_ts2.15_spine.dcm")
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    other = tmp_path / "implicit.dcm"
    dataset.save_as(other, implicit_vr=True, little_endian=True, enforce_file_format=True)
    assert same_content(path, other)
