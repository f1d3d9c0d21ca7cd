"""Metadata that are written from the bytes are those that pydicom's conversion gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.data import get_testdata_files
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian

from segqa_dicom.dicom.dicom_json import metadata
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.errors import InputError
from segqa_dicom.web.dicomweb.metadata import encoded, metadata_pieces
from tests.archive.objects import ct
from tests.shared import shared

URL = "http://server/dicom-web/bulk"


def check(path: Path) -> None:
    """Byte for byte the same, or the same refusal."""
    try:
        expected = encoded(metadata(path, URL, Limits()))
    except InputError as error:
        with pytest.raises(type(error)):
            list(metadata_pieces(path, URL, Limits()))
        return
    assert b"".join(metadata_pieces(path, URL, Limits())) == expected


def code(meaning: str, value: str = "1") -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "99X", meaning
    return item


def _private(dataset: Dataset) -> None:
    dataset.add_new(0x00090010, "LO", "TEST")
    dataset.add_new(0x00091001, "OB", b"\3\4" * 10)
    dataset.add_new(0x00091002, "UN", b"\5\6" * 1000)
    dataset.add_new(0x00091003, "UN", b"1\\2 ")
    dataset.add_new(0x00091004, "FD", [1.5, float("inf"), float("nan")])
    dataset.add_new(0x00091005, "AT", [0x00100010, 0x7FE00010])
    dataset.add_new(0x00091006, "SV", -5)


def _sequences(dataset: Dataset) -> None:
    inner = code("Über", "A\\B")
    inner.ConceptCodeSequence = Sequence([code("plain"), code("  padded "), Dataset()])
    inner.add_new(0x00420011, "OB", b"\1\2" * 3000)
    dataset.ConceptCodeSequence = Sequence([inner, code('quote " and \\u00e4'), Dataset()])
    dataset.ReferencedImageSequence = Sequence([])
    dataset.ConceptCodeSequence.is_undefined_length = True
    dataset.ConceptCodeSequence[0].is_undefined_length_sequence_item = True


def _texts(dataset: Dataset) -> None:
    dataset.PatientComments = "first line\r\nsecond line"
    dataset.ImageComments = "back\\slash"
    dataset.SoftwareVersions = ["one", "", "three "]
    dataset.OperatorsName = ["Yamada^Tarou=山田^太郎=やまだ^たろう", "Nobody"]
    dataset.StudyDescription = ""
    dataset.PatientName = None
    dataset.NameOfPhysiciansReadingStudy = "Trailing^^"
    dataset.PhysiciansOfRecord = " Leading^Space "


def _numbers(dataset: Dataset) -> None:
    dataset.PixelSpacing = ["0.70", "1e-3"]
    dataset.ImagePositionPatient = [-0.0, 12345.678, 1]
    dataset.ReferencedFrameNumber = [1, -2, 3]
    dataset.KVP = None
    dataset.add_new(0x00281052, "DS", "")


def _latin(dataset: Dataset) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.StudyDescription, dataset.SeriesDescription = "Schädel", "plain"


def _cyrillic(dataset: Dataset) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 144"
    dataset.StudyDescription = "Череп"


@pytest.mark.parametrize("change", [_private, _sequences, _texts, _numbers, _latin, _cyrillic])
@pytest.mark.parametrize("implicit", [False, True], ids=["explicit VR", "implicit VR"])
def test_unusual_elements_are_written_as_pydicom_does(
    tmp_path: Path, change: Callable[[Dataset], None], implicit: bool
) -> None:
    dataset = ct()
    change(dataset)
    if implicit:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.save_as(tmp_path / "one.dcm", enforce_file_format=True)
    check(tmp_path / "one.dcm")


@pytest.mark.parametrize("value", [b"one ", b"1e+5", b"9\\ 8", b"1.0 ", b"-\0\0\0", b"    ", b"\xff\xfe\xfd\xfc"])
def test_damaged_values_are_left_out(tmp_path: Path, value: bytes) -> None:
    one = tmp_path / "one.dcm"
    for keyword in ("InstanceNumber", "KVP", "StudyDescription", "FrameOfReferenceUID", "StudyDate"):
        dataset = ct()
        setattr(dataset, keyword, "7531")
        dataset.save_as(one, enforce_file_format=True)
        one.write_bytes(one.read_bytes().replace(b"7531", value))
        check(one)


def test_metadata_of_pydicoms_own_examples_are_the_same() -> None:
    for name in get_testdata_files("*.dcm"):
        check(Path(name))


def test_metadata_of_segmentations_are_the_same(objects: list[Dataset], tmp_path: Path) -> None:
    for one in (objects[0], objects[-1]):
        one.save_as(tmp_path / "one.dcm")
        check(tmp_path / "one.dcm")
        pieces = list(metadata_pieces(tmp_path / "one.dcm", URL, Limits()))
        assert json.loads(b"".join(pieces))["00080018"]["Value"] == [one.SOPInstanceUID]


def test_metadata_of_real_segmentations_are_the_same() -> None:
    check(shared("data", "case_B", "seg_ts2.7_fast.dcm"))
