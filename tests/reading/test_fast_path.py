"""The fast path of reading gives what the reference path (pydicom) gives, or leaves the file to it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom.data
import pytest
from pydicom import Dataset, dcmread
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.dataelem import DataElement
from pydicom.sequence import Sequence as Items
from pydicom.tag import Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)
from pydicom.valuerep import TEXT_VR_DELIMS

from segqa_dicom.dicom import headers
from segqa_dicom.dicom.elements import elements, file_meta
from segqa_dicom.dicom.headers import PlainObject, open_plainly
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import open_object, text
from segqa_dicom.errors import InputError
from segqa_dicom.model import CtVolume
from segqa_dicom.reading import ct, scan
from segqa_dicom.reading.native import native_pixels
from tests.reading.handmade import ct_series, enhanced_ct, one, pixels, put_pixels, seg, write
from tests.shared import shared

LIMITS = Limits(max_voxels=10_000_000)
SHAPE = (3, 6, 8)


@contextmanager
def reference_path() -> Iterator[None]:
    """As if no file were plain."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ct, "open_header", open_object)
        patch.setattr(scan, "open_plainly", lambda path, limits, **options: None)
        yield


@dataclass
class Work:
    """How often pydicom had to be asked."""

    opened: list[Path] = field(default_factory=list)
    decoded: list[Path] = field(default_factory=list)


@contextmanager
def counted() -> Iterator[Work]:
    work = Work()

    def opening(path: Path, limits: Limits, **options: Any) -> Any:
        work.opened.append(path)
        return open_object(path, limits, **options)

    def decoding(opened: Any, *rest: Any) -> Any:
        found = native_pixels(opened, *rest)
        if found is None:
            work.decoded.append(opened.path)
        return found

    with pytest.MonkeyPatch.context() as patch:
        for module in (headers, scan):
            patch.setattr(module, "open_object", opening)
        patch.setattr(ct, "native_pixels", decoding)
        yield work


def outcome(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a reader gives, as something to compare: its result, or the class and the text of its error."""
    try:
        found = function(*arguments)
    except InputError as error:
        return type(error), str(error)
    return comparable(found) if isinstance(found, CtVolume) else found


def comparable(volume: CtVolume) -> tuple[Any, ...]:
    geometry = volume.geometry
    places = (geometry.slice_origins_mm, geometry.row_step_mm, geometry.column_step_mm)
    return (
        (volume.hu.dtype.str, volume.hu.shape, volume.hu.tobytes()),
        (geometry.shape, geometry.slice_spacing_mm, *(place.tobytes() for place in places)),
        (volume.record, volume.facts),
    )


def check_equal(paths: list[Path], limits: Limits = LIMITS) -> Work:
    """Both paths agree on the headers and on the volume of some files; what of it pydicom had to do."""
    with counted() as work:
        fast = outcome(ct.read_ct, paths, limits)
    fast_headers = [outcome(scan.read_header, path, limits) for path in paths]
    with reference_path():
        assert [outcome(scan.read_header, path, limits) for path in paths] == fast_headers
        assert outcome(ct.read_ct, paths, limits) == fast
    return work


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


# Real files


@pytest.mark.shared
@pytest.mark.parametrize("case", ["case_A", "case_B"])
def test_real_series_are_the_same_and_read_without_pydicom(case: str) -> None:
    paths = files(shared("data", case, "ct"))
    work = check_equal(paths)
    assert len(work.opened) == 1  # for the patient's attributes, of one slice
    assert not work.decoded


@pytest.mark.shared
@pytest.mark.parametrize("case", ["case_A", "case_B"])
def test_headers_of_real_files_need_no_pydicom(case: str) -> None:
    folder = shared("data", case)
    with counted() as work:
        found = scan.scan([folder], LIMITS)
    assert not work.opened
    with reference_path():
        assert scan.scan([folder], LIMITS) == found
    assert any(header.referenced_instances for header in found[0])


@pytest.mark.shared
def test_bad_files_have_the_same_outcome() -> None:
    taken = 0
    for path in files(shared("bad_inputs")):
        taken += open_plainly(path, LIMITS) is not None
        check_equal([path])
    assert taken > 50


def test_files_that_come_with_pydicom_have_the_same_outcome() -> None:
    paths = [path for path in files(Path(pydicom.data.__file__).parent) if path.stat().st_size < 1_000_000]
    taken = 0
    for path in paths:
        taken += open_plainly(path, LIMITS) is not None
        check_equal([path])
    assert taken > len(paths) // 2


# Files in every form


def by(**values: Any) -> Callable[[Dataset, int], None]:
    """Sets attributes of a slice; None deletes one."""

    def change(dataset: Dataset, index: int) -> None:
        for keyword, value in values.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)

    return change


def raw(keyword: str, vr: str, value: Any) -> Callable[[Dataset, int], None]:
    """Sets an element with a VR of its own choice."""

    def change(dataset: Dataset, index: int) -> None:
        element = DataElement(keyword, "UN", b"")
        element.VR, element._value = vr, value
        dataset[keyword] = element

    return change


def stored(values: np.ndarray, bits: int) -> Callable[[Dataset, int], None]:
    def change(dataset: Dataset, index: int) -> None:
        put_pixels(dataset, values[index])
        dataset.BitsStored, dataset.HighBit = bits, bits - 1

    return change


def per_slice(dataset: Dataset, index: int) -> None:
    dataset.RescaleIntercept = -1000 - index


def nested(dataset: Dataset, index: int) -> None:
    """Sequences of undefined length in front of the pixels, with items of both kinds, an icon among them."""
    inner = Dataset()
    inner.CodeValue, inner.CodingSchemeDesignator, inner.CodeMeaning = "1", "SCT", "one"
    holder = Dataset()
    holder.PurposeOfReferenceCodeSequence = Items([inner])
    holder["PurposeOfReferenceCodeSequence"].is_undefined_length = bool(index % 2)
    inner.is_undefined_length_sequence_item = True
    dataset.SourceImageSequence = Items([holder, Dataset()])
    dataset["SourceImageSequence"].is_undefined_length = True
    holder.is_undefined_length_sequence_item = index > 0
    icon = Dataset()
    put_pixels(icon, np.zeros((2, 2), np.uint8))
    dataset.IconImageSequence = Items([icon])
    dataset["IconImageSequence"].is_undefined_length = True


def private(length: int) -> Callable[[Dataset, int], None]:
    def change(dataset: Dataset, index: int) -> None:
        dataset.add_new(0x00090010, "LO", "MAKER")
        dataset.add_new(0x00091001, "OB", bytes(length))

    return change


def overlay(dataset: Dataset, index: int) -> None:
    stored((pixels(SHAPE) | 0x4000).astype(np.uint16), 12)(dataset, index)
    dataset.add_new(0x60000100, "US", 16)
    dataset.add_new(0x60000102, "US", 14)


DIRTY = (np.arange(144).reshape(SHAPE) * 991 % 65536).astype(np.uint16)
WIDE = np.linspace(-32768, 32767, 144).reshape(SHAPE).astype(np.int16)

READ_BY_US = {
    "usual": by(),
    "rescale of each slice": per_slice,
    "no rescale to do": by(RescaleIntercept=0),
    "raised": by(RescaleIntercept=29000),
    "unsigned": stored(pixels(SHAPE).astype(np.uint16), 16),
    "unsigned with 12 bits": stored(pixels(SHAPE).astype(np.uint16) % 4096, 12),
    "unsigned above int16": stored((DIRTY // 2 + 1024).astype(np.uint16), 16),
    "dirty high bits": stored(DIRTY, 12),
    "dirty high bits, signed": stored(DIRTY.view(np.int16), 13),
    "one bit": stored(DIRTY.view(np.int16), 1),
    "whole int16": lambda dataset, index: (stored(WIDE, 16)(dataset, index), by(RescaleIntercept=0)(dataset, index)),
    "fractional slope": by(RescaleSlope=0.5),
    "fractional intercept": by(RescaleIntercept=-1024.5),
    "slope": by(RescaleSlope=2),
    "beyond int16": by(RescaleIntercept=30000),
    "below int16": lambda dataset, index: (stored(WIDE, 16)(dataset, index), by(RescaleIntercept=-1)(dataset, index)),
    "no slope at all": by(RescaleSlope=0),
    "implausible intercept": by(RescaleIntercept=1e7),
    "beyond int16 from the second slice on": lambda dataset, index: by(RescaleIntercept=30000 * index)(dataset, index),
    "negative slope": by(RescaleSlope=-1),
    "inverted": by(PhotometricInterpretation="MONOCHROME1"),
    "missing rescale": by(RescaleIntercept=None),
    "not HU": by(RescaleType="US"),
    "sequences of undefined length": nested,
    "private elements": private(50),
    "header above what is read at first": private(100_000),
    "trailing padding": lambda dataset, index: dataset.add_new(0xFFFCFFFC, "OB", bytes(10)),
    "padding value": raw("PixelPaddingValue", "SS", -2000),
    "padding value in the wrong VR": raw("PixelPaddingValue", "US", 63536),
    "padding range": by(PixelPaddingValue=0, PixelPaddingRangeLimit=5),
    "one frame": by(NumberOfFrames=1),
    "UTF-8": by(SpecificCharacterSet="ISO_IR 192", PatientName="Müller^Jörg", PatientComments="ä"),
    "Latin": by(SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jörg", SeriesDescription="Schädel"),
    "Japanese": by(SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう"),
    "several names": by(PatientName="A^B\\C^D", OtherPatientIDs=["1", "2"]),
    "lossy once": by(LossyImageCompression="01", LossyImageCompressionMethod=["ISO_10918_1", "ISO_15444_1"]),
    "localizer": by(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
    "numbers written in odd ways": raw("PixelSpacing", "DS", ["1.5e0 ", " +1."]),
    "empty instance number": raw("InstanceNumber", "IS", ""),
    "weight as it was written": raw("PatientWeight", "DS", "081.632700"),
    "several weights": raw("PatientWeight", "DS", "081.632700\\ 1.0"),
    "other acquisition": by(AcquisitionNumber=3),
}
"""Slices of which pydicom opens one only, for the attributes of the patient."""

READ_BY_PYDICOM = {
    "8 bits": stored(pixels(SHAPE).astype(np.uint8), 8),
    "odd length": stored(pixels((3, 5, 7)).astype(np.uint8), 8),
    "32 bits": stored(pixels(SHAPE).astype(np.int32), 32),
    "several samples": by(SamplesPerPixel=3, PlanarConfiguration=0),
    "colour": by(PhotometricInterpretation="RGB"),
    "unknown photometric interpretation": by(PhotometricInterpretation="GREY"),
    "without photometric interpretation": by(PhotometricInterpretation=None),
    "more rows than there are": by(Rows=7),
    "fewer rows than there are": by(Rows=5),
    "no rows": by(Rows=0),
    "rows twice": raw("Rows", "US", [6, 6]),
    "rows as text": raw("Rows", "IS", "6"),
    "more bits stored than allocated": by(BitsStored=17),
    "no bits stored": by(BitsStored=0),
    "neither signed nor unsigned": by(PixelRepresentation=2),
    "several frames": by(NumberOfFrames=2),
    "frames in words": raw("NumberOfFrames", "IS", "one"),
    "overlay in the high bits": overlay,
    "look-up table": by(ModalityLUTSequence=one(LUTExplanation="x")),
    "functional groups at the top level": by(PixelMeasuresSequence=one(PixelSpacing=[2, 2])),
    "no position": by(ImagePositionPatient=None),
    "position in words": raw("ImagePositionPatient", "DS", "here\\there\\everywhere"),
    "position with underscores": raw("ImagePositionPatient", "DS", "1_0\\0\\0"),
    "position that is no number": raw("ImagePositionPatient", "DS", "nan\\0\\0"),
    "orientation of five": raw("ImageOrientationPatient", "DS", "1\\0\\0\\0\\1"),
    "spacing of zero": by(PixelSpacing=[0, 0]),
    "UID with letters": raw("SOPInstanceUID", "UI", "1.2.x"),
    "several UIDs": raw("SOPInstanceUID", "UI", "1.2\\1.3"),
    "no UID": by(SOPInstanceUID=None),
    "no class": by(SOPClassUID=None),
    "unknown character set": by(SpecificCharacterSet="utf_16"),
    "broken UTF-8": lambda dataset, index: (
        by(SpecificCharacterSet="ISO_IR 192")(dataset, index),
        raw("RescaleType", "LO", b"\xff\xfe")(dataset, index),
    ),
    "float pixels": lambda dataset, index: dataset.add_new(0x7FE00008, "OF", bytes(4)),
    "padding value in words": raw("PixelPaddingValue", "LO", "none"),
}


def make(folder: Path, change: Callable[[Dataset, int], Any], syntax: str | None = None) -> list[Path]:
    slices = ct_series(pixels(SHAPE), change=change)
    folder.mkdir(parents=True, exist_ok=True)
    for index, dataset in enumerate(slices):
        if syntax is not None:
            dataset.file_meta.TransferSyntaxUID = syntax
        write(folder, dataset, prefix=f"s{index}")
    return files(folder)


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian], ids=["explicit VR", "implicit VR"])
@pytest.mark.parametrize("name", READ_BY_US)
@pytest.mark.filterwarnings("ignore")
def test_usual_slices_are_read_without_pydicom(tmp_path: Path, name: str, syntax: str | None) -> None:
    work = check_equal(make(tmp_path, READ_BY_US[name], syntax))
    assert not work.decoded
    assert len(work.opened) <= 1


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian], ids=["explicit VR", "implicit VR"])
@pytest.mark.parametrize("name", READ_BY_PYDICOM)
@pytest.mark.filterwarnings("ignore")
def test_unusual_slices_are_read_by_pydicom(tmp_path: Path, name: str, syntax: str | None) -> None:
    check_equal(make(tmp_path, READ_BY_PYDICOM[name], syntax))


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_other_data_sets_are_left_to_pydicom(tmp_path: Path, syntax: str) -> None:
    slices = ct_series(pixels(SHAPE))
    for dataset in slices:
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").byteswap().tobytes()
    write(tmp_path, *slices)
    assert all(open_plainly(path, LIMITS) is None for path in files(tmp_path))
    assert len(check_equal(files(tmp_path)).decoded) == len(slices)


@pytest.mark.parametrize(("syntax", "plugin"), [(RLELossless, "pydicom"), (JPEGLSLossless, "pyjpegls")])
def test_compressed_slices_have_plain_headers_and_are_decoded_by_pydicom(
    tmp_path: Path, syntax: str, plugin: str
) -> None:
    slices = ct_series(pixels((3, 40, 40)))
    for dataset in slices:
        dataset.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
    write(tmp_path, *slices)
    assert all(open_plainly(path, LIMITS) is not None for path in files(tmp_path))
    assert len(check_equal(files(tmp_path)).decoded) == len(slices)


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian])
def test_enhanced_ct_is_the_same(tmp_path: Path, undefined: bool, syntax: str | None) -> None:
    dataset = enhanced_ct(ct_series(pixels(SHAPE)), pixels(SHAPE))
    if undefined:
        with_undefined_lengths(dataset)
    if syntax:
        dataset.file_meta.TransferSyntaxUID = syntax
    write(tmp_path, dataset)
    assert open_plainly(files(tmp_path)[0], LIMITS) is not None
    check_equal(files(tmp_path))


def with_undefined_lengths(dataset: Dataset) -> None:
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True
                with_undefined_lengths(item)


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian])
@pytest.mark.parametrize("named", ["by series", "by sources", "by frames"])
def test_what_a_segmentation_refers_to_is_the_same(
    tmp_path: Path, named: str, syntax: str | None, undefined: bool
) -> None:
    slices = ct_series(pixels(SHAPE))
    references = [
        one(ReferencedSOPClassUID=s.SOPClassUID, ReferencedSOPInstanceUID=s.SOPInstanceUID)[0] for s in slices
    ]
    plane = np.ones((4, 4), np.uint8)
    dataset = seg([(1, [0, 0, z], plane) for z in range(3)], references=slices if named == "by series" else ())
    if named == "by sources":
        dataset.SourceImageSequence = Items(references)
    if named == "by frames":
        for frame, reference in zip(dataset.PerFrameFunctionalGroupsSequence, references, strict=True):
            frame.DerivationImageSequence = one(SourceImageSequence=Items([reference]))
    if undefined:
        with_undefined_lengths(dataset)
    if syntax:
        dataset.file_meta.TransferSyntaxUID = syntax
    write(tmp_path, dataset)
    path = files(tmp_path)[0]
    with counted() as work:
        found = scan.read_header(path, LIMITS)
    assert not work.opened
    assert found.referenced_instances == {s.SOPInstanceUID for s in slices}
    with reference_path():
        assert scan.read_header(path, LIMITS) == found


def test_limits_hold_on_both_paths(tmp_path: Path) -> None:
    paths = make(tmp_path, by())
    check_equal(paths, Limits(max_file_bytes=100))
    check_equal(paths, Limits(max_voxels=100))


ALTERED: dict[str, Callable[[bytes], bytes]] = {
    "no preamble": lambda data: data[
        data.index(b"\x08\x00\x05\x00" if b"\x08\x00\x05\x00" in data else b"\x08\x00\x16") :
    ],
    "no prefix": lambda data: bytes(132) + data[132:],
    "empty": lambda data: b"",
    "cut in the meta information": lambda data: data[:200],
    "cut in the header": lambda data: data[: data.index(b"\x28\x00\x10\x00") + 3],
    "cut before the pixel data": lambda data: data[: data.index(b"\xe0\x7f\x10\x00")],
    "cut in the header of the pixel data": lambda data: data[: data.index(b"\xe0\x7f\x10\x00") + 9],
    "cut in the pixel data": lambda data: data[:-10],
    "cut by a byte": lambda data: data[:-1],
    "zeros behind": lambda data: data + bytes(24),
    "a few zeros behind": lambda data: data + bytes(5),
    "noise behind": lambda data: data + bytes(range(1, 100)),
    "a second header behind": lambda data: data + b"\x28\x00\x10\x00US\x02\x00\x09\x00",
    "other pixel data behind": lambda data: data + b"\xe0\x7f\x10\x00OW\0\0\x60\0\0\0" + bytes(96),
    "padding behind": lambda data: data + b"\xfc\xff\xfc\xffOB\0\0\x04\0\0\0" + bytes(4),
    "padding cut": lambda data: data + b"\xfc\xff\xfc\xffOB\0\0\x09\0\0\0" + bytes(4),
    "wrong length of the meta information": lambda data: data[:140] + struct.pack("<I", 7) + data[144:],
    "pixel data of unknown VR": lambda data: data.replace(b"\xe0\x7f\x10\x00OW", b"\xe0\x7f\x10\x00UN"),
    "pixel data of undefined length": lambda data: data.replace(b"OW\0\0\x60\0\0\0", b"OW\0\0\xff\xff\xff\xff"),
    "pixel data longer than the file": lambda data: data.replace(b"OW\0\0\x60\0\0\0", b"OW\0\0\x60\x01\0\0"),
    "pixel data longer than needed": lambda data: data.replace(b"OW\0\0\x60\0\0\0", b"OW\0\0\x64\0\0\0") + bytes(4),
    "UID padded with a space": lambda data: data.replace(b"1.2.840.10008.5.1.4.1.1.2\0", b"1.2.840.10008.5.1.4.1.1.2 "),
    "NUL inside": lambda data: data.replace(b"SECRET-ID", b"SECRET\0ID"),
    "elements out of order": lambda data: data.replace(b"\x10\x00\x20\x00LO", b"\x08\x00\x12\x00LO"),
    "an element twice": lambda data: data.replace(b"\x28\x00\x10\x00US\x02\0", b"\x28\x00\x11\x00US\x02\0"),
    "an unknown VR": lambda data: data.replace(b"\x10\x00\x20\x00LO", b"\x10\x00\x20\x00ZZ"),
    "no VR": lambda data: data.replace(b"\x10\x00\x20\x00LO", b"\x10\x00\x20\x00\0\0"),
    "a directory of a disc": lambda data: data.replace(
        b"1.2.840.10008.5.1.4.1.1.2\0", b"1.2.840.10008.1.3.10\0\0\0\0\0\0", 1
    ),
}


@pytest.mark.parametrize("name", ALTERED)
def test_altered_files_have_the_same_outcome(tmp_path: Path, name: str) -> None:
    paths = make(tmp_path, by())
    before = paths[1].read_bytes()
    after = ALTERED[name](before)
    assert after != before
    paths[1].write_bytes(after)
    check_equal(paths)
    check_equal(paths[1:2])


def test_an_equal_copy_and_another_file_of_the_same_name_are_noticed(tmp_path: Path) -> None:
    paths = make(tmp_path, by())
    (tmp_path / "t").write_bytes(paths[0].read_bytes())
    (tmp_path / "u").write_bytes(paths[1].read_bytes()[:-2] + b"zz")
    check_equal(files(tmp_path))


# Mutated files


def described(dataset: Dataset, index: int) -> None:
    """With everything that a volume takes from its slices."""
    dataset.PatientWeight, dataset.PatientAge, dataset.OtherPatientIDs = "081.50", "045Y", ["1", "2"]
    dataset.ImageType, dataset.BodyPartExamined = ["ORIGINAL", "PRIMARY", "AXIAL"], "CHEST"
    dataset.AcquisitionNumber, dataset.NumberOfFrames, dataset.SeriesDescription = 2, 1, "Thorax"
    dataset.LossyImageCompression, dataset.PixelPaddingValue = "00", 5


def seeds(folder: Path) -> dict[str, bytes]:
    def first(name: str, change: Callable[[Dataset, int], Any], syntax: str | None = None) -> bytes:
        return make(folder / name, change, syntax)[1].read_bytes()

    def both(dataset: Dataset, index: int) -> None:
        nested(dataset, index)
        overlay(dataset, index)
        dataset.SpecificCharacterSet, dataset.PatientName = "ISO_IR 192", "Müller"
        described(dataset, index)

    slices = ct_series(pixels(SHAPE))
    plane = np.ones((4, 4), np.uint8)
    for name, dataset in (
        ("enhanced", enhanced_ct(slices, pixels(SHAPE))),
        ("segmentation", seg([(1, [0, 0, z], plane) for z in range(3)], references=slices)),
    ):
        write(folder / name, dataset)
        with_undefined_lengths(dataset)
        write(folder / f"open {name}", dataset)
    return {
        "explicit": first("explicit", by()),
        "implicit": first("implicit", described, ImplicitVRLittleEndian),
        "nested": first("nested", both),
        "nested implicit": first("nested implicit", nested, ImplicitVRLittleEndian),
        "padded": first("padded", READ_BY_US["trailing padding"]),
    } | {
        name: files(folder / name)[0].read_bytes()
        for name in ("enhanced", "open enhanced", "segmentation", "open segmentation")
    }


SEEDS = [
    "explicit",
    "implicit",
    "nested",
    "nested implicit",
    "padded",
    "enhanced",
    "open enhanced",
    "segmentation",
    "open segmentation",
]
INTERESTING = (b"\0", b" ", b"\\", b"\xff", b"1", b"-", b"e", b".", b"_", b"\x1b", b"A", b"\x02", b"\x10")


def mutants(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Bytes of the header changed, removed, repeated, swapped; lengths blown up."""
    random = np.random.default_rng(seed)
    end = data.rfind(b"\xe0\x7f\x10\x00") + 14
    for _ in range(count):
        altered = bytearray(data)
        for _ in range(int(random.choice([1, 1, 2, 3]))):
            at = int(random.integers(132 if random.random() < 0.95 else 0, end))
            kind = random.integers(0, 7)
            if kind == 0:
                altered[at] = int(random.integers(0, 256))
            elif kind == 1:
                altered[at] ^= 1 << int(random.integers(0, 8))
            elif kind == 2:
                altered[at : at + 1] = INTERESTING[int(random.integers(0, len(INTERESTING)))]
            elif kind == 3:
                altered[at : at + 4] = struct.pack("<I", int(random.choice([0, 1, 0xFFFFFFFF, 0x7FFFFFFF, 65535, 8])))
            elif kind == 4:
                del altered[at : at + int(random.integers(1, 9))]
            elif kind == 5:
                altered[at:at] = altered[at : at + int(random.integers(1, 40))]
            else:
                other = int(random.integers(132, end))
                altered[at : at + 2], altered[other : other + 2] = altered[other : other + 2], altered[at : at + 2]
        yield bytes(altered)


def mutants_of_values(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """The same elements, but one to three of them with another byte in the value, another VR, or another tag."""
    random = np.random.default_rng(seed)
    meta, start = file_meta(data, 132)
    implicit = b"1.2.840.10008.1.2\0" in data[:start]
    found = [one for one in [*meta, *elements(data, start, len(data), implicit=implicit)] if one[4] > one[3]]
    for _ in range(count):
        altered = bytearray(data)
        for _ in range(int(random.choice([1, 1, 1, 2, 3]))):
            _, vr, begin, value, stop = found[int(random.integers(len(found)))]
            at = int(random.integers(value, stop))
            kind = random.integers(0, 5)
            if kind == 0:
                altered[at : at + 1] = INTERESTING[int(random.integers(len(INTERESTING)))]
            elif kind == 1:
                altered[at] = int(random.integers(256))
            elif kind == 2 and vr and value - begin == 8:
                altered[begin + 4 : begin + 6] = SHORT_VRS[int(random.integers(len(SHORT_VRS)))]
            elif kind == 3:
                altered[begin + 2] = (altered[begin + 2] + int(random.choice([-1, 1]))) % 256
            else:
                altered[stop - 1] = int(random.choice([0, 9, 10, 32, 92]))
        yield bytes(altered)


SHORT_VRS = (b"UI", b"CS", b"LO", b"DS", b"IS", b"US", b"SS", b"UL", b"FD", b"AT", b"PN", b"SH", b"DA", b"ST")


@pytest.mark.parametrize("make_mutants", [mutants, mutants_of_values], ids=["any byte", "values"])
@pytest.mark.parametrize("name", SEEDS)
@pytest.mark.parametrize(
    "count", [pytest.param(60, marks=pytest.mark.slow), pytest.param(1000, marks=pytest.mark.long)]
)
def test_mutated_files_have_the_same_outcome(tmp_path: Path, name: str, make_mutants: Any, count: int) -> None:
    data = seeds(tmp_path / "seeds")[name]
    folder = tmp_path / "mutants"
    paths = make(folder, by())[:2]
    taken = 0
    for mutant in make_mutants(data, count, seed=len(name)):
        paths[1].write_bytes(mutant)
        taken += isinstance(open_plainly(paths[1], LIMITS), PlainObject)
        check_equal(paths)
    assert taken > count // 20


@pytest.mark.parametrize("keyword", ["BitsStored", "PixelRepresentation", "SamplesPerPixel", "BitsAllocated", "Rows"])
@pytest.mark.parametrize("name", ["explicit", "enhanced", "segmentation"])
def test_numbers_of_the_wrong_length_are_pydicoms_to_refuse(tmp_path: Path, name: str, keyword: str) -> None:
    paths = make(tmp_path / "series", by())[:2]
    before = seeds(tmp_path / "seeds")[name]
    tag = struct.pack("<HH", Tag(keyword).group, Tag(keyword).element)
    paths[1].write_bytes(before.replace(tag + b"US", tag + b"UL"))
    assert paths[1].read_bytes() != before
    check_equal(paths)


# What the fast path relies on


@pytest.mark.parametrize("charset", sorted(headers._PLAIN_CHARACTER_SETS))
def test_ascii_is_ascii_in_the_accepted_character_sets(charset: bytes) -> None:
    ascii_bytes = bytes(range(0x20, 0x7F))
    encodings = convert_encodings(charset.decode().split("\\"))
    assert decode_bytes(ascii_bytes, encodings, TEXT_VR_DELIMS) == ascii_bytes.decode("ascii")


def test_what_is_not_plain_is_asked_of_pydicom(tmp_path: Path) -> None:
    path = make(tmp_path, by(PatientName="A^B"))[0]
    opened = open_plainly(path, LIMITS)
    assert opened is not None
    plain, full = opened.dataset, dcmread(path)
    assert str(plain.get("PatientName")) == "A^B"
    assert plain.Rows == full.Rows
    assert plain["Rows"].VR == "US"
    assert plain.get("StudyTime", "none") == "none"
    assert "StudyTime" not in plain
    for keyword in ("ImagePositionPatient", "InstanceNumber", "RescaleSlope", "SOPClassUID", "ImageType", "Rows"):
        assert text(plain, keyword) == text(full, keyword)
    with pytest.raises(KeyError):
        plain.get("NoSuchThing")
