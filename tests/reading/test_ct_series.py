"""CT series in all their forms give the same volume as pydicom's pixels put in place by hand."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import (
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from segqa_dicom.dicom.limits import Limits
from segqa_dicom.errors import InputError, LimitExceeded, UnreadableObject
from segqa_dicom.model import CtVolume
from segqa_dicom.reading.ct import read_ct
from tests.reading.handmade import (
    AXIAL,
    CORONAL,
    FEET_FIRST,
    OBLIQUE,
    SAGITTAL,
    SERIES,
    Axes,
    ct_series,
    enhanced_ct,
    normal,
    pixels,
    put_pixels,
    write,
)

SHAPE = (5, 7, 9)


def volume(folder: Path, limits: Limits | None = None, **options: Any) -> CtVolume:
    return read_ct(sorted(path for path in folder.rglob("*") if path.is_file()), limits or Limits(), **options)


@pytest.mark.parametrize(
    "axes",
    [
        pytest.param(AXIAL, id="axial"),
        pytest.param(SAGITTAL, id="sagittal"),
        pytest.param(CORONAL, id="coronal"),
        pytest.param(FEET_FIRST, id="feet first"),
        pytest.param(OBLIQUE, id="oblique"),
    ],
)
def test_any_orientation_and_file_order_gives_voxels_at_their_world_positions(tmp_path: Path, axes: Axes) -> None:
    values = pixels(SHAPE)
    order = np.random.default_rng(1).permutation(len(values))
    slices = ct_series(values, axes=axes, spacing=(2.5, 0.8, 0.7))
    write(tmp_path, *[slices[index] for index in order])
    found = volume(tmp_path)
    assert np.array_equal(found.hu, values - 1024)
    assert found.hu.dtype == np.int16
    k, i, j = 3, 2, 5
    expected = (
        np.array([10.0, -20.0, 30.0])
        + k * 2.5 * normal(axes)
        + i * 0.8 * np.array(axes[1])
        + j * 0.7 * np.array(axes[0])
    )
    assert found.geometry.point_at(k, i, j) == pytest.approx(expected, abs=1e-6)
    assert found.geometry.spacing_mm == pytest.approx((2.5, 0.8, 0.7))
    assert [ref.sop_instance_uid for ref in found.record.slices] == [f"{SERIES}.{n + 1}" for n in range(5)]


def test_slices_that_are_numbered_from_the_head_are_turned_round(tmp_path: Path) -> None:
    values = pixels(SHAPE)
    write(tmp_path, *ct_series(values[::-1], positions=[8, 6, 4, 2, 0]))
    assert np.array_equal(volume(tmp_path).hu, values - 1024)


def test_enhanced_ct_equals_single_slices(tmp_path: Path) -> None:
    values = pixels(SHAPE)
    slices = ct_series(values)
    slices[2].RescaleIntercept = -1000
    order = [3, 0, 4, 1, 2]
    write(tmp_path / "many", *slices)
    write(tmp_path / "one", enhanced_ct([slices[n] for n in order], values[order]))
    many, one = volume(tmp_path / "many"), volume(tmp_path / "one")
    assert np.array_equal(many.hu, one.hu)
    assert one.hu[2, 0, 0] == values[2, 0, 0] - 1000
    assert [ref.frame_number for ref in one.record.slices] == [2, 4, 5, 1, 3]


def test_several_enhanced_objects_form_one_volume(tmp_path: Path) -> None:
    values = pixels(SHAPE)
    slices = ct_series(values)
    write(
        tmp_path,
        enhanced_ct(slices[:2], values[:2], uid=f"{SERIES}.78"),
        enhanced_ct(slices[2:], values[2:], uid=f"{SERIES}.77"),
    )
    assert np.array_equal(volume(tmp_path).hu, values - 1024)


def with_slope(slope: float, intercept: float) -> Any:
    def change(dataset: Dataset, index: int) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = slope, intercept + index

    return change


def test_rescale_is_taken_from_each_slice(tmp_path: Path) -> None:
    values = pixels(SHAPE)
    write(tmp_path, *ct_series(values, change=with_slope(2, -1000)))
    expected = values.astype(int) * 2 - 1000 + np.arange(5)[:, None, None]
    assert np.array_equal(volume(tmp_path).hu, expected)


@pytest.mark.parametrize(("slope", "intercept"), [(0.5, -1024.25), (20, -1024)], ids=["fractional", "beyond int16"])
def test_hu_that_are_no_int16_become_float32(tmp_path: Path, slope: float, intercept: float) -> None:
    values = pixels(SHAPE)
    write(tmp_path, *ct_series(values, change=with_slope(slope, intercept)))
    found = volume(tmp_path)
    assert found.hu.dtype == np.float32
    assert found.hu == pytest.approx(values.astype(float) * slope + intercept + np.arange(5)[:, None, None], abs=1e-2)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.uint8, np.int8])
def test_stored_values_may_be_signed_or_not(tmp_path: Path, dtype: type) -> None:
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    values = np.random.default_rng(0).integers(max(low, -2000), min(high, 3000), SHAPE).astype(dtype)
    write(tmp_path, *ct_series(values, change=with_slope(1, -5)))
    assert np.array_equal(volume(tmp_path).hu, values.astype(int) - 5 + np.arange(5)[:, None, None])


def no_rescale(dataset: Dataset, index: int) -> None:
    del dataset.RescaleSlope


def other_unit(dataset: Dataset, index: int) -> None:
    dataset.RescaleType = "MGML"


@pytest.mark.parametrize("change", [no_rescale, other_unit])
def test_values_without_a_rescale_to_hu_are_not_hu(tmp_path: Path, change: Any) -> None:
    write(tmp_path, *ct_series(pixels(SHAPE), change=change))
    found = volume(tmp_path)
    assert not found.facts.hu_defined
    assert found.facts.hu_note


# Encodings


LOSSLESS = [
    pytest.param(lambda d: d.compress(RLELossless), id="RLE"),
    pytest.param(lambda d: d.compress(JPEGLSLossless, encoding_plugin="pyjpegls"), id="JPEG-LS"),
    pytest.param(lambda d: d.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg"), id="JPEG 2000"),
]


@pytest.mark.parametrize("compress", LOSSLESS)
@pytest.mark.parametrize("signed", [False, True])
def test_losslessly_compressed_slices_give_the_same_hu(tmp_path: Path, compress: Any, signed: bool) -> None:
    values = pixels((3, 64, 64)).astype(np.int16 if signed else np.uint16)
    slices = ct_series(values)
    for part in slices:
        compress(part)
    write(tmp_path, *slices)
    found = volume(tmp_path)
    assert np.array_equal(found.hu, values.astype(int) - 1024)
    assert not found.facts.lossy


DCMTK = [
    pytest.param(["dcmconv", "+ti"], "", id="implicit VR"),
    pytest.param(["dcmconv", "+tb"], "", id="big endian"),
    pytest.param(["dcmconv", "+td"], "", id="deflated"),
    pytest.param(["dcmconv", "-e"], "", id="undefined lengths"),
    pytest.param(["dcmconv", "-F"], "", id="without meta information"),
    pytest.param(["dcmcjpeg", "+e1"], "", id="JPEG lossless SV1"),
    pytest.param(["dcmcjpeg", "+el"], "", id="JPEG lossless 14"),
    pytest.param(["dcmcjpls"], "", id="JPEG-LS by DCMTK"),
    pytest.param(["dcmcjpls", "+en", "+md", "4"], "lossy", id="JPEG-LS near-lossless"),
    pytest.param(["dcmcjpeg", "+ee", "+q", "95"], "lossy", id="JPEG extended"),
]


@pytest.mark.servers
@pytest.mark.parametrize(("command", "kind"), DCMTK)
def test_files_that_dcmtk_rewrote_give_the_same_hu(tmp_path: Path, command: list[str], kind: str) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} (package dcmtk) is not installed")
    smooth = (np.add.outer(np.arange(32), np.arange(32)) * 20 + 500).astype(np.uint16)
    values = np.stack([smooth + 10 * n for n in range(3)])

    def twelve_bits(dataset: Dataset, index: int) -> None:
        dataset.BitsStored, dataset.HighBit = 12, 11

    write(tmp_path / "plain", *ct_series(values, change=twelve_bits))
    (tmp_path / "made").mkdir()
    for path in sorted((tmp_path / "plain").iterdir()):
        arguments = command[1:]
        subprocess.run([command[0], *arguments, path, tmp_path / "made" / path.name], check=True, capture_output=True)
    found = volume(tmp_path / "made")
    if kind == "lossy":
        assert found.facts.lossy
        assert np.array_equal(found.hu, _decoded_by_dcmtk(tmp_path, command[0]))
    else:
        assert np.array_equal(found.hu, values.astype(int) - 1024)
        assert not found.facts.lossy


def _decoded_by_dcmtk(folder: Path, encoder: str) -> np.ndarray:
    planes = []
    for path in sorted((folder / "made").iterdir()):
        target = folder / f"decoded-{path.name}"
        subprocess.run([encoder.replace("dcmc", "dcmd"), path, target], check=True, capture_output=True)
        decoded = dcmread(target)
        planes.append(decoded.pixel_array * float(decoded.RescaleSlope) + float(decoded.RescaleIntercept))
    return np.stack(planes)


def test_lossy_compression_of_the_past_is_told(tmp_path: Path) -> None:
    def change(dataset: Dataset, index: int) -> None:
        dataset.LossyImageCompression, dataset.LossyImageCompressionMethod = "01", "ISO_15444_1"

    write(tmp_path, *ct_series(pixels(SHAPE), change=change))
    assert volume(tmp_path).facts.lossy == "ISO_15444_1"


@pytest.mark.servers
def test_a_deflate_bomb_is_refused_without_being_inflated(tmp_path: Path) -> None:
    if shutil.which("dcmconv") is None:
        pytest.skip("dcmconv (package dcmtk) is not installed")
    write(tmp_path / "plain", *ct_series(np.zeros((1, 2000, 2000), np.int16)))
    (tmp_path / "made").mkdir()
    subprocess.run(["dcmconv", "+td", tmp_path / "plain" / "f0000", tmp_path / "made" / "x"], check=True)
    assert (tmp_path / "made" / "x").stat().st_size < 50_000
    with pytest.raises(InputError, match="inflates to more than"):
        volume(tmp_path / "made", Limits(max_inflated_bytes=1_000_000))


# Geometry that is not what it should be


def test_a_missing_slice_is_a_gap_not_another_spacing(tmp_path: Path) -> None:
    values = pixels((6, 4, 4))
    write(tmp_path, *ct_series(values, positions=[0, 2, 4, 10, 12, 14]))
    found = volume(tmp_path)
    assert found.facts.missing_slices == 2
    assert found.geometry.spacing_mm[0] == pytest.approx(2)
    assert found.geometry.is_uniform
    assert found.facts.gap_locations_mm[0][2] == pytest.approx(30 + 7)
    assert found.facts.uneven_spacing_mm is None
    assert found.hu.shape[0] == 6


def test_uneven_distances_are_told_and_volumes_follow_them(tmp_path: Path) -> None:
    write(tmp_path, *ct_series(pixels((5, 4, 4)), positions=[0, 1, 2, 5, 9.3]))
    found = volume(tmp_path)
    assert found.facts.uneven_spacing_mm == pytest.approx((1, 4.3))
    assert not found.geometry.is_uniform
    assert found.geometry.slice_extent_mm == pytest.approx([1, 1, 2, 3.65, 4.3])


def test_noise_in_written_positions_is_no_unevenness(tmp_path: Path) -> None:
    noise = np.random.default_rng(2).uniform(-0.004, 0.004, 20)
    write(tmp_path, *ct_series(pixels((20, 4, 4)), positions=np.arange(20) * 0.625 + noise))
    found = volume(tmp_path)
    assert found.geometry.is_uniform
    assert found.geometry.spacing_mm[0] == pytest.approx(0.625, abs=1e-3)


def test_of_two_images_at_one_position_the_one_referred_to_counts(tmp_path: Path) -> None:
    values = pixels((3, 4, 4))
    write(tmp_path / "a", *ct_series(values))
    again = ct_series(values + 7)
    for number, part in enumerate(again):
        part.SOPInstanceUID = part.file_meta.MediaStorageSOPInstanceUID = f"{SERIES}.9.{number}"
        part.AcquisitionNumber = 2
    write(tmp_path / "b", *again)
    first = volume(tmp_path)
    assert first.facts.duplicate_positions == 3
    assert np.array_equal(first.hu, values - 1024)
    second = volume(tmp_path, preferred={f"{SERIES}.9.{n}" for n in range(3)})
    assert np.array_equal(second.hu, values + 7 - 1024)


def test_gantry_tilt_is_measured_and_positions_follow_it(tmp_path: Path) -> None:
    write(tmp_path, *ct_series(pixels((5, 4, 4)), drift=0.5))
    found = volume(tmp_path)
    assert found.facts.tilt_degrees == pytest.approx(np.degrees(np.arctan2(0.5, 2)))
    assert found.geometry.point_at(4, 0, 0) == pytest.approx((10, -18, 38))


def test_localizers_and_other_orientations_are_left_out(tmp_path: Path) -> None:
    values = pixels((5, 7, 9))
    write(tmp_path / "a", *ct_series(values))
    scout = ct_series(pixels((1, 7, 9)), axes=CORONAL, series=SERIES)
    scout[0].SOPInstanceUID, scout[0].ImageType = f"{SERIES}.50", ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    other = ct_series(pixels((2, 7, 9)), axes=SAGITTAL, series=SERIES)
    for number, part in enumerate(other):
        part.SOPInstanceUID = f"{SERIES}.60.{number}"
    write(tmp_path / "b", *scout, *other)
    found = volume(tmp_path)
    assert np.array_equal(found.hu, values - 1024)
    assert dict(found.facts.excluded) == {"localizer": 1, "other orientation": 2}


def break_position(value: Any) -> Any:
    def change(dataset: Dataset) -> None:
        raw = ["0", "0", value] if isinstance(value, str) else value
        element = dataset["ImagePositionPatient"]
        element._value = raw

    return change


def without(keyword: str) -> Any:
    return lambda dataset: dataset.__delattr__(keyword)


def put(keyword: str, value: Any) -> Any:
    return lambda dataset: setattr(dataset, keyword, value)


BROKEN = [
    pytest.param(without("ImagePositionPatient"), id="no position"),
    pytest.param(without("ImageOrientationPatient"), id="no orientation"),
    pytest.param(without("PixelSpacing"), id="no spacing"),
    pytest.param(without("PixelData"), id="no pixels"),
    pytest.param(without("Rows"), id="no rows"),
    pytest.param(put("PixelSpacing", [0, 1]), id="zero spacing"),
    pytest.param(put("PixelSpacing", [-1, 1]), id="negative spacing"),
    pytest.param(put("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]), id="parallel axes"),
    pytest.param(put("ImageOrientationPatient", [2, 0, 0, 0, 2, 0]), id="not unit"),
    pytest.param(put("PixelData", b"\0\0"), id="cut pixels"),
]


@pytest.mark.parametrize("change", BROKEN)
def test_one_broken_slice_is_named_and_the_rest_is_used(tmp_path: Path, change: Any) -> None:
    slices = ct_series(pixels((6, 7, 9)))
    change(slices[3])
    write(tmp_path, *slices)
    found = volume(tmp_path)
    assert found.hu.shape[0] == 5
    assert [uid for uid, _ in found.facts.unreadable] == [f"{SERIES}.4"]
    assert found.facts.missing_slices == 1


@pytest.mark.parametrize("text", [b"nan    ", b"inf    ", b"1,5    ", b"abc    "])
def test_positions_that_are_no_numbers_are_refused(tmp_path: Path, text: bytes) -> None:
    slices = ct_series(pixels((3, 4, 4)), origin=(0, 0, 1.25))
    write(tmp_path, *slices)
    path = tmp_path / "f0001"
    data = path.read_bytes()
    assert data.count(b"0\\0\\3.25") == 1
    path.write_bytes(data.replace(b"0\\0\\3.25", b"0\\0\\" + text[:4]))
    found = volume(tmp_path)
    assert found.hu.shape[0] == 2
    assert len(found.facts.unreadable) == 1


def test_a_cut_file_costs_its_slice_only(tmp_path: Path) -> None:
    write(tmp_path, *ct_series(pixels((5, 40, 40))))
    path = tmp_path / "f0002"
    path.write_bytes(path.read_bytes()[:-1000])
    found = volume(tmp_path)
    assert found.hu.shape[0] == 4
    assert len(found.facts.unreadable) == 1


def test_a_single_slice_is_a_volume(tmp_path: Path) -> None:
    write(tmp_path, *ct_series(pixels((1, 4, 4)), spacing=(5, 1, 1)))
    found = volume(tmp_path)
    assert found.facts.single_slice
    assert found.geometry.spacing_mm[0] == 5


def test_the_same_object_twice_is_one_slice_and_a_changed_one_a_conflict(tmp_path: Path) -> None:
    slices = ct_series(pixels((3, 4, 4)))
    write(tmp_path / "a", *slices)
    write(tmp_path / "b", slices[0])
    assert volume(tmp_path).facts.conflicting_instances == ()
    put_pixels(slices[0], pixels((4, 4), seed=9))
    write(tmp_path / "b", slices[0])
    found = volume(tmp_path)
    assert found.facts.conflicting_instances == (f"{SERIES}.1",)
    assert np.array_equal(found.hu[0], pixels((3, 4, 4))[0] - 1024)


def test_absurd_sizes_are_refused(tmp_path: Path) -> None:
    write(tmp_path, *ct_series(pixels((3, 40, 40))))
    with pytest.raises(LimitExceeded, match="the limit is 4000"):
        volume(tmp_path, Limits(max_voxels=4000))


def test_nothing_usable_is_one_clear_error(tmp_path: Path) -> None:
    slices = ct_series(pixels((2, 4, 4)))
    for part in slices:
        del part.PixelSpacing
    write(tmp_path, *slices)
    with pytest.raises(UnreadableObject, match="PixelSpacing is missing"):
        volume(tmp_path)


def test_padding_is_known_in_hu(tmp_path: Path) -> None:
    def change(dataset: Dataset, index: int) -> None:
        dataset.PixelPaddingValue = -2000

    write(tmp_path, *ct_series(pixels((2, 4, 4)), change=change))
    assert volume(tmp_path).facts.padding_hu == (-3024, -3024)


def test_patient_and_study_are_kept_as_they_are(tmp_path: Path) -> None:
    def change(dataset: Dataset, index: int) -> None:
        dataset.SpecificCharacterSet, dataset.PatientName = "ISO_IR 144", "Иванов^Иван"

    write(tmp_path, *ct_series(pixels((2, 4, 4)), change=change))
    study = volume(tmp_path).record.patient_study
    assert study.get("PatientName") == "Иванов^Иван"
    assert study.get("StudyDate") == "20240102"


def test_htj2k_has_a_decoder() -> None:
    from segqa_dicom.dicom.transfer_syntaxes import COMPRESSIONS

    assert COMPRESSIONS[str(HTJ2KLossless)].plugin == "pylibjpeg"


def test_what_is_written_is_what_pydicom_reads(tmp_path: Path) -> None:
    """The factories make real DICOM: an independent reader sees the same pixels."""
    values = pixels(SHAPE)
    write(tmp_path, *ct_series(values))
    assert np.array_equal(dcmread(tmp_path / "f0002").pixel_array, values[2])


def test_noise_is_no_segmentation() -> None:
    from segqa_dicom.reading.content import changes

    noise = np.random.default_rng(0).integers(0, 3, (4, 50, 50)).astype(np.uint8)
    changes(noise, Limits())
    with pytest.raises(LimitExceeded, match="noise"):
        changes(noise, Limits(max_runs=1000))
