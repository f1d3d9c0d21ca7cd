"""CT series that stretch the standard or break it: the right voxels, or a fact that says what is wrong."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import gdcm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.encaps import encapsulate
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    RLELossless,
)

from segqa_dicom.dicom.limits import Limits
from segqa_dicom.errors import InputError, UnreadableObject
from segqa_dicom.model import CtVolume
from segqa_dicom.reading.ct import read_ct
from tests.reading import factories as f
from tests.tiers import examples

GRID = f.grid(6, (5, 7))
HU = f.hu_pattern((6, 5, 7))


def volume(folder: Path, images: list[Any], **options: Any) -> CtVolume:
    return read_ct(f.save_all(images, folder), f.LIMITS, **options)


# Encodings that no encoder of this environment writes, or that need care with signs

HTJ2K_STREAMS = {
    True: (
        "|4;u>04YEK0000A0000C00000000000000A0000C000000000000EBy0sl|{2mk^A000XAQUDA90ssL31q1{@0smY86Cj9?kdTm&"
        "kdTm&kdTmwh=~7W02crOPjF>!N>E53R%LP^FfKASE;BCwkN^q*00000-v9yslfVEbS^feCbN~Rr024p}62JfwfcX9b2Xp|70f%$|"
        "^#I3o0KfnfKmZd!01|)}?f{E)066ggA~XQ(0Ect{zyK9c00p4{0961B%Y-oU1N<YE0E-1*7|UQP@&JThV2Hn%0GBOT6T=DoB9#EZ"
        "04?YM1-SqKw}6;43I9HFDG7-xj`t#uj12dJf1wKik0TsI&<}k8xQ<+KSISZxk$d;D{3QaEiJc4DV2h&&<Re@FWK1y0mzU%)FiMt|"
        "F))~5g#N$yPk+QQjAPLcd;tI1"
    ),
    False: (
        "|4;u>04YEK0000A0000C00000000000000A0000C0000000000009pH0sl|{2mk^A000XAQUDA90ssL31q1{@0smY86Cj9?kdTm&"
        "kdTm&kdTmwh=~7W02crOPjF>!N>E53R%LP^FfKASE;BCwkN^q*00000-v9yslfVEbQTqi4bN~Rr024p}62JfwfcX9b2Xp|70f%$|"
        "^#I3o0KfnfKmZd!01|)}?f{E)066ggA~XQ(0Ect{zyK9c00p4{0961B%Y-oU1N<YE0E-1*7|UQP@&JThV2Hn%0GBOT6T=DoB9#EZ"
        "04?YM1-SqKw}6;43I9HFDG7-xj`t#uj12dJf1wKik0TsI&<}k8xQ<+KSISZxk$d;D{3QaEiJc4DV2h&&<Re@FWK1y0mzU%)FiMt|"
        "F))~5g#N$yPk+QQjAPLcd;tI1"
    ),
}
"""Base 85 of a codestream by OpenJPH 0.26 (imagecodecs 2026.3.6) of `HTJ2K_PIXELS`, signed or not."""
ROWS, COLUMNS = np.mgrid[:12, :10]
HTJ2K_PIXELS = 500 + 40 * COLUMNS - 30 * ROWS + (COLUMNS * ROWS) % 17 * 9


def smooth(shape: tuple[int, int], low: int, high: int) -> np.ndarray:
    """A ramp with structure: lossy codecs change it little."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    ramp = (rows + columns) / (shape[0] + shape[1]) * 0.8 + 0.1 * np.sin(rows / 5) + 0.1
    return (low + ramp * (high - low)).astype(np.int32)


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
@pytest.mark.parametrize("syntax", [HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K])
def test_htj2k_gives_the_pixels_that_were_encoded(tmp_path: Path, syntax: str, signed: bool) -> None:
    [image] = f.ct_images(f.grid(1, (12, 10)), RescaleIntercept="-24")
    dtype = np.int16 if signed else np.uint16
    stored = (HTJ2K_PIXELS - 900 * signed).astype(dtype)
    f.set_pixels(image, stored)
    image.PixelData = encapsulate([base64.b85decode(HTJ2K_STREAMS[signed])])
    image["PixelData"].VR = "OB"
    image["PixelData"].is_undefined_length = True
    image.file_meta.TransferSyntaxUID = syntax
    assert np.array_equal(volume(tmp_path, [image]).hu[0], stored.astype(int) - 24)


@pytest.mark.parametrize("bits_stored", [16, 12], ids=["16 bits", "12 bits"])
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
@pytest.mark.parametrize("syntax", [JPEGLossless, JPEGLosslessSV1])
def test_lossless_jpeg_by_gdcm_gives_the_pixels_that_were_encoded(
    tmp_path: Path, syntax: str, signed: bool, bits_stored: int
) -> None:
    [image] = f.ct_images(f.grid(1, (24, 20)))
    half = 2 ** (bits_stored - 1)
    values = np.random.default_rng(3).integers(-half if signed else 0, half if signed else 2 * half, (24, 20))
    f.set_pixels(image, values.astype(np.int16 if signed else np.uint16), bits_stored)
    image.RescaleIntercept, image.RescaleSlope = "0", "1"
    plain, packed = f.save(image, tmp_path / "plain.dcm"), tmp_path / "packed.dcm"
    reader = gdcm.ImageReader()
    reader.SetFileName(str(plain))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    kind = gdcm.TransferSyntax.GetTSType(str(syntax))
    change.SetTransferSyntax(gdcm.TransferSyntax(kind))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(packed))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    assert dcmread(packed).file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(read_ct([packed], f.LIMITS).hu[0], values)


@pytest.mark.servers
def test_jpeg_baseline_gives_what_pydicom_gives(tmp_path: Path) -> None:
    [image] = f.ct_images(f.grid(1, (32, 32)), RescaleIntercept="-100", RescaleSlope="2")
    f.set_pixels(image, smooth((32, 32), 10, 240).astype(np.uint8))
    f.save(image, tmp_path / "plain.dcm")
    f.run("dcmcjpeg", "+eb", tmp_path / "plain.dcm", tmp_path / "packed.dcm")
    assert dcmread(tmp_path / "packed.dcm").file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    found = read_ct([tmp_path / "packed.dcm"], f.LIMITS)
    assert np.array_equal(found.hu[0], f.decoded_hu(tmp_path / "packed.dcm").astype(np.float32))
    assert found.facts.lossy


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
def test_lossy_jpeg_2000_gives_what_pydicom_gives(tmp_path: Path, signed: bool) -> None:
    [image] = f.ct_images(f.grid(1, (64, 64)))
    f.set_pixels(image, smooth((64, 64), -900 * signed, 2000).astype(np.int16 if signed else np.uint16))
    image.compress(JPEG2000, j2k_cr=[4], encoding_plugin="pylibjpeg")
    path = f.save(image, tmp_path / "packed.dcm")
    found = read_ct([path], f.LIMITS)
    assert np.array_equal(found.hu[0], f.decoded_hu(path))
    assert np.abs(found.hu[0] + 1024 - smooth((64, 64), -900 * signed, 2000)).max() < 20


def test_compressed_enhanced_ct_is_read_frame_by_frame(tmp_path: Path) -> None:
    dataset = f.enhanced_ct(GRID, HU)
    dataset.compress(RLELossless, encoding_plugin="pydicom")
    assert np.array_equal(volume(tmp_path, [dataset]).hu, HU)


def test_signed_values_that_fill_only_their_stored_bits_keep_their_sign(tmp_path: Path) -> None:
    """Bits Stored 12 of 16 with zeros, or an overlay, in the bits above (PS3.5, section 8.1.1)."""
    values = np.random.default_rng(1).integers(-2048, 2048, (2, 5, 7))
    images = f.ct_images(f.grid(2, (5, 7)), RescaleIntercept="0")
    for number, image in enumerate(images):
        f.set_pixels(image, ((values[number] & 0x0FFF) | (0x8000 * number)).astype(np.uint16), 12)
        image.PixelRepresentation = 1
    assert np.array_equal(volume(tmp_path, images).hu, values)


def test_big_endian_without_meta_information_is_read(tmp_path: Path) -> None:
    images = f.ct_images(GRID, HU)
    for number, image in enumerate(images):
        image.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        image.PixelData = np.frombuffer(image.PixelData, "<u2").astype(">u2").tobytes()
        path = tmp_path / f"{number}.dcm"
        dcmwrite(path, image, little_endian=False, implicit_vr=False)
        data = path.read_bytes()
        path.write_bytes(data[data.index(b"\x00\x08\x00\x08CS") :])
    assert np.array_equal(read_ct(sorted(tmp_path.iterdir()), f.LIMITS).hu, HU)


@examples(20)
@given(
    slope=st.one_of(st.integers(1, 5).map(float), st.floats(0.01, 50)),
    intercept=st.one_of(st.integers(-2000, 2000).map(float), st.floats(-5000, 5000)),
    later=st.floats(0.5, 2),
    low=st.integers(-32768, 32000),
)
def test_rescale_of_each_slice_is_exact_in_float32_or_in_whole_numbers(
    tmp_path_factory: pytest.TempPathFactory, slope: float, intercept: float, later: float, low: int
) -> None:
    images = f.ct_images(f.grid(2, (3, 4)))
    stored = np.random.default_rng(0).integers(low, low + 700, (2, 3, 4)).astype(np.int16)
    slopes = [slope, round(slope * later, 4)]
    for image, values, one in zip(images, stored, slopes, strict=True):
        f.set_pixels(image, values)
        image.RescaleSlope, image.RescaleIntercept = f"{one:.10g}"[:16], f"{intercept:.10g}"[:16]
    hu = volume(tmp_path_factory.mktemp("ct"), images).hu
    for found, values, image in zip(hu, stored, images, strict=True):
        wanted = values.astype(np.float64) * float(image.RescaleSlope) + float(image.RescaleIntercept)
        assert np.array_equal(found, wanted.astype(hu.dtype))
        assert np.allclose(found, wanted, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("slope", "intercept"),
    [("1e300", "0"), ("1e20", "0"), ("1", "1e30"), ("0", "-1024"), ("nan", "0"), ("1,0", "0"), ("", "0")],
)
def test_a_rescale_that_cannot_be_meant_is_told_and_not_applied(tmp_path: Path, slope: str, intercept: str) -> None:
    images = f.ct_images(GRID, HU)
    paths = f.save_all(images, tmp_path)
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(
            _with_decimal(path.read_bytes(), image, {"RescaleSlope": slope, "RescaleIntercept": intercept})
        )
    found = read_ct(paths, f.LIMITS)
    assert not found.facts.hu_defined
    assert found.facts.hu_note
    assert np.array_equal(found.hu, HU.astype(int) + 1024)


def _with_decimal(data: bytes, image: Dataset, values: dict[str, str]) -> bytes:
    """Explicit VR bytes with decimal strings replaced by what pydicom would refuse to write."""
    for keyword, value in values.items():
        tag = image[keyword].tag
        at = data.index(tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little") + b"DS")
        length = int.from_bytes(data[at + 6 : at + 8], "little")
        written = value.encode() + b" " * (len(value) % 2)
        data = data[: at + 6] + len(written).to_bytes(2, "little") + written + data[at + 8 + length :]
    return data


# Geometry

ABSURD = [
    pytest.param({"PixelSpacing": "1e-300\\1e-300"}, id="spacing that underflows"),
    pytest.param({"PixelSpacing": "1e300\\1"}, id="spacing that overflows"),
    pytest.param({"PixelSpacing": "0\\0"}, id="no spacing"),
    pytest.param({"PixelSpacing": "1"}, id="one spacing"),
    pytest.param({"PixelSpacing": "0,7\\0,7"}, id="decimal commas"),
    pytest.param({"ImagePositionPatient": "0\\0\\1e300"}, id="position that overflows"),
    pytest.param({"ImagePositionPatient": "0\\0"}, id="two coordinates"),
    pytest.param({"ImagePositionPatient": "nan\\0\\0"}, id="not a number"),
    pytest.param({"ImageOrientationPatient": "1\\0\\0\\1\\0\\0"}, id="rows along columns"),
    pytest.param({"ImageOrientationPatient": "0\\0\\0\\0\\0\\0"}, id="no direction"),
    pytest.param({"ImageOrientationPatient": "1\\0\\0\\0\\1\\0\\0"}, id="seven cosines"),
]


@pytest.mark.parametrize("values", ABSURD)
def test_absurd_geometry_of_one_slice_leaves_it_out_and_of_all_is_one_error(
    tmp_path: Path, values: dict[str, str]
) -> None:
    images = f.ct_images(GRID, HU)
    paths = f.save_all(images, tmp_path)
    whole = [path.read_bytes() for path in paths]
    paths[2].write_bytes(_with_decimal(whole[2], images[2], values))
    found = read_ct(paths, f.LIMITS)
    assert np.array_equal(found.hu, HU[[0, 1, 3, 4, 5]])
    assert [uid for uid, _ in found.facts.unreadable] == [images[2].SOPInstanceUID]
    assert found.facts.missing_slices == 1
    for path, data, image in zip(paths, whole, images, strict=True):
        path.write_bytes(_with_decimal(data, image, values))
    with pytest.raises(InputError, match="no usable CT image"):
        read_ct(paths, f.LIMITS)


def test_a_damaged_thickness_does_not_matter_where_positions_tell_the_distance(tmp_path: Path) -> None:
    images = f.ct_images(GRID, HU)
    paths = f.save_all(images, tmp_path)
    for path, image in zip(paths, images, strict=True):
        path.write_bytes(_with_decimal(path.read_bytes(), image, {"SliceThickness": "2,5"}))
    assert read_ct(paths, f.LIMITS).geometry.spacing_mm[0] == pytest.approx(3)


@examples(20)
@given(
    angles=st.tuples(st.floats(-180, 180), st.floats(-80, 80), st.floats(-180, 180)),
    step=st.floats(0.3, 10),
    spacing=st.tuples(st.floats(0.2, 3), st.floats(0.2, 3)),
    origin=st.tuples(*[st.floats(-800, 800)] * 3),
    tilt=st.floats(-0.4, 0.4),
    order=st.permutations(range(6)),
)
def test_voxels_lie_where_their_slice_says_for_any_orientation_order_and_tilt(
    tmp_path_factory: pytest.TempPathFactory,
    angles: tuple[float, float, float],
    step: float,
    spacing: tuple[float, float],
    origin: tuple[float, float, float],
    tilt: float,
    order: list[int],
) -> None:
    axes = f.rotated(angles)
    where = f.grid(6, (5, 7), spacing, step, origin, axes, drift=tilt * step * np.array(axes[3:]))
    images = f.ct_images(where, HU)
    found = volume(tmp_path_factory.mktemp("ct"), [images[index] for index in order])
    assert np.array_equal(found.hu, HU)
    for plane in (0, 3, 5):
        corner = where.points(plane)[4, 6]
        assert found.geometry.point_at(plane, 4, 6) == pytest.approx(corner, abs=2e-3)
    assert found.geometry.spacing_mm == pytest.approx((step, *spacing), rel=1e-3)
    assert found.facts.missing_slices == 0
    assert found.facts.uneven_spacing_mm is None
    lean = np.degrees(np.arctan(abs(tilt)))
    assert found.facts.tilt_degrees == pytest.approx(lean if lean > 0.1 else 0, abs=0.11)


@pytest.mark.parametrize("noise_mm", [0.0, 0.001, 0.01, 0.03])
def test_pairs_of_images_at_positions_that_differ_by_noise_are_duplicates(tmp_path: Path, noise_mm: float) -> None:
    first = f.ct_images(GRID, HU)
    moved = f.Grid(GRID.origins + np.array([0, 0, noise_mm]), GRID.orientation, GRID.spacing, GRID.matrix, GRID.step)
    second = f.ct_images(moved, HU + 5, SeriesInstanceUID=f.SERIES, AcquisitionNumber=2)
    _rename(second)
    found = volume(tmp_path, first + second)
    assert np.array_equal(found.hu, HU)
    assert found.facts.duplicate_positions == 6
    assert found.geometry.spacing_mm[0] == pytest.approx(3, abs=0.05)
    chosen = {image.SOPInstanceUID for image in second}
    assert np.array_equal(volume(tmp_path, first + second, preferred=chosen).hu, HU + 5)


def _rename(images: list[Any], series: str = "77") -> None:
    for image in images:
        image.SOPInstanceUID = f"{image.SOPInstanceUID}.{series}"


def test_one_reference_decides_for_the_whole_acquisition(tmp_path: Path) -> None:
    """A SEG may refer only to the slices that it has frames on; mixing two acquisitions would be worse."""
    first, second = f.ct_images(GRID, HU), f.ct_images(GRID, HU + 5, AcquisitionNumber=2)
    _rename(second)
    found = volume(tmp_path, first + second, preferred={second[3].SOPInstanceUID})
    assert np.array_equal(found.hu, HU + 5)


def test_an_acquisition_between_the_slices_that_are_referred_to_is_left_out(tmp_path: Path) -> None:
    moved = f.Grid(GRID.origins + np.array([0, 0, 1.1]), GRID.orientation, GRID.spacing, GRID.matrix, GRID.step)
    first, second = f.ct_images(GRID, HU), f.ct_images(moved, HU + 5, AcquisitionNumber=2)
    _rename(second)
    found = volume(tmp_path, first + second, preferred={image.SOPInstanceUID for image in first})
    assert np.array_equal(found.hu[:6], HU)
    assert dict(found.facts.excluded) == {"other acquisition": 5}


def test_acquisitions_that_continue_each_other_are_one_volume(tmp_path: Path) -> None:
    images = f.ct_images(GRID, HU)
    for number, image in enumerate(images):
        image.AcquisitionNumber = number // 2
    chosen = {images[0].SOPInstanceUID, images[5].SOPInstanceUID}
    assert np.array_equal(volume(tmp_path, images, preferred=chosen).hu, HU)


def test_of_several_orientations_in_a_series_the_one_referred_to_counts(tmp_path: Path) -> None:
    axial = f.ct_images(GRID, HU)
    coronal = f.ct_images(f.grid(9, (5, 7), orientation=(1, 0, 0, 0, 0, -1)))
    _rename(coronal)
    assert volume(tmp_path, axial + coronal).hu.shape[0] == 9
    found = volume(tmp_path, axial + coronal, preferred={image.SOPInstanceUID for image in axial})
    assert np.array_equal(found.hu, HU)
    assert dict(found.facts.excluded) == {"other orientation": 9}


# Files


def test_a_copy_that_cannot_be_used_does_not_hide_the_one_that_can(tmp_path: Path) -> None:
    images = f.ct_images(GRID, HU)
    paths = f.save_all(images, tmp_path)
    del images[2].PixelData
    paths.append(f.save(images[2], tmp_path / "a first copy.dcm"))
    assert np.array_equal(read_ct(paths, f.LIMITS).hu, HU)


def test_an_enhanced_ct_that_is_cut_in_its_pixels_is_refused_in_words(tmp_path: Path) -> None:
    path = f.save(f.enhanced_ct(GRID, HU), tmp_path / "e.dcm")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UnreadableObject, match="no image of the CT series can be decoded"):
        read_ct([path], f.LIMITS)


@pytest.mark.parametrize(
    ("written", "signed", "wanted"),
    [(63536, True, -2000.0), (2000, True, 2000.0), (63536, False, 63536.0)],
    ids=["signed, written as unsigned", "signed", "unsigned"],
)
def test_padding_is_understood_whichever_vr_it_was_written_with(
    tmp_path: Path, written: int, signed: bool, wanted: float
) -> None:
    [image] = f.ct_images(f.grid(1, (5, 7)), RescaleIntercept="0")
    f.set_pixels(image, np.zeros((5, 7), np.int16 if signed else np.uint16))
    image.add_new("PixelPaddingValue", "US", written)
    assert volume(tmp_path, [image]).facts.padding_hu == (wanted, wanted)


def test_ct_far_too_large_is_refused_by_its_header(tmp_path: Path) -> None:
    images = f.ct_images(GRID, HU)
    with pytest.raises(InputError, match="the limit is 200"):
        read_ct(f.save_all(images, tmp_path), Limits(max_voxels=200))
