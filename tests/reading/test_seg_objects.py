"""SEG objects of every type, encoding and oddity: exactly the voxels that were written, on exactly their segments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from segqa_dicom.errors import InputError
from segqa_dicom.reading.ct import read_ct
from segqa_dicom.reading.seg import read_seg
from tests.reading import factories as f
from tests.reading.factories import Frame, grid

SIZES = [(7, 9), (1, 3), (8, 8), (5, 1)]


def scene(tmp_path: Path, matrix: tuple[int, int] = (7, 9), slices: int = 4):
    where = grid(slices, matrix)
    images = f.ct_images(where)
    return where, images, read_ct(f.save_all(images, tmp_path / "ct"), f.LIMITS)


def deflated_frames(path: Path) -> None:
    """Turn a native SEG into Deflated Image Frame Compression."""
    import zlib

    dataset = dcmread(path)
    size = dataset.Rows * dataset.Columns
    if dataset.BitsAllocated == 1:
        bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")
        parts = [
            np.packbits(bits[n * size : (n + 1) * size], bitorder="little").tobytes()
            for n in range(dataset.NumberOfFrames)
        ]
    else:
        size *= dataset.BitsAllocated // 8
        parts = [dataset.PixelData[n * size : (n + 1) * size] for n in range(dataset.NumberOfFrames)]
    packed = []
    for part in parts:
        packer = zlib.compressobj(wbits=-15)
        packed.append(packer.compress(part) + packer.flush())
    dataset.PixelData = encapsulate(packed)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.8.1"
    dataset.save_as(path, implicit_vr=False, little_endian=True, force_encoding=True)


def compress(path: Path, syntax: str) -> None:
    dataset = dcmread(path)
    plugin = {RLELossless: "pydicom", JPEGLSLossless: "pyjpegls", JPEG2000Lossless: "pylibjpeg"}[syntax]
    dataset.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
    dataset.save_as(path)


def dcmconv(*options: str):
    def convert(path: Path) -> None:
        f.run("dcmconv", *options, path, path.with_suffix(".out"))
        path.with_suffix(".out").rename(path)

    return convert


ANY = [
    pytest.param(lambda path: None, id="explicit little endian"),
    pytest.param(dcmconv("+ti"), id="implicit"),
    pytest.param(dcmconv("+tb"), id="big endian"),
    pytest.param(dcmconv("+td"), id="deflated"),
    pytest.param(dcmconv("-e"), id="undefined lengths"),
    pytest.param(dcmconv("+ti", "-e"), id="implicit, undefined lengths"),
    pytest.param(dcmconv("-F"), id="no meta information"),
    pytest.param(dcmconv("-F", "+ti"), id="no meta information, implicit"),
    pytest.param(deflated_frames, id="deflated frames"),
]
BYTES = [
    pytest.param(lambda path: compress(path, RLELossless), id="RLE"),
    pytest.param(lambda path: compress(path, JPEGLSLossless), id="JPEG-LS"),
    pytest.param(lambda path: compress(path, JPEG2000Lossless), id="JPEG 2000"),
]


def check(tmp_path: Path, kind: str, encode: object, matrix: tuple[int, int], dtype: type = np.uint8) -> None:
    where, images, ct = scene(tmp_path, matrix)
    volume = f.blobs((4, *matrix))
    frames = [
        Frame(fr.plane, fr.segment, fr.pixels if kind == "BINARY" else fr.pixels.astype(dtype))
        for fr in f.frames_of(volume, kind)
    ]
    path = f.save(f.seg(where, frames, [1, 2, 3], kind, images), tmp_path / "seg.dcm")
    encode(path)
    found = read_seg(path, ct, f.LIMITS)
    for number in (1, 2, 3):
        assert (f.labels_of(found, number) == (volume == number)).all()


@pytest.mark.servers
@pytest.mark.parametrize("matrix", SIZES)
@pytest.mark.parametrize("encode", ANY)
def test_binary_frames_of_any_size_and_encoding_are_exact(tmp_path: Path, encode: object, matrix: tuple) -> None:
    check(tmp_path, "BINARY", encode, matrix)


@pytest.mark.servers
@pytest.mark.parametrize("encode", ANY + BYTES)
@pytest.mark.parametrize(("kind", "dtype"), [("FRACTIONAL", np.uint8), ("LABELMAP", np.uint8), ("LABELMAP", np.uint16)])
def test_fractional_and_label_map_in_any_encoding_are_exact(
    tmp_path: Path, kind: str, dtype: type, encode: object
) -> None:
    check(tmp_path, kind, encode, (39, 41), dtype)


@pytest.mark.parametrize("highest", [255, 100, 3])
def test_a_fractional_voxel_counts_from_half_the_maximum_on(tmp_path: Path, highest: int) -> None:
    where, images, ct = scene(tmp_path, (16, 16), 1)
    values = np.minimum(np.arange(256), highest).astype(np.uint8).reshape(16, 16)
    dataset = f.seg(where, [Frame(0, 1, values)], kind="FRACTIONAL", ct=images, MaximumFractionalValue=highest)
    found = read_seg(f.save(dataset, tmp_path / "s.dcm"), ct, f.LIMITS)
    assert (f.labels_of(found, 1)[0] == (2 * values.astype(int) >= highest)).all()


def test_overlapping_segments_are_whole_in_their_layers(tmp_path: Path) -> None:
    where, images, ct = scene(tmp_path)
    random = np.random.default_rng(2)
    masks = random.random((5, 4, 7, 9)) > 0.5
    frames = [Frame(k, n + 1, masks[n, k]) for n in range(5) for k in range(4)]
    found = read_seg(f.save(f.seg(where, frames, ct=images), tmp_path / "s.dcm"), ct, f.LIMITS)
    for n in range(5):
        assert (f.labels_of(found, n + 1) == masks[n]).all()


def test_several_frames_of_one_segment_on_one_slice_are_united(tmp_path: Path) -> None:
    where, images, ct = scene(tmp_path)
    masks = np.random.default_rng(2).random((3, 7, 9)) > 0.7
    frames = [Frame(2, 1, mask) for mask in masks]
    found = read_seg(f.save(f.seg(where, frames, ct=images), tmp_path / "s.dcm"), ct, f.LIMITS)
    assert (f.labels_of(found, 1)[2] == masks.any(axis=0)).all()
    assert f.labels_of(found, 1).sum() == masks.any(axis=0).sum()


def test_unsorted_numbers_with_gaps_duplicates_and_undeclared_ones_keep_their_voxels(tmp_path: Path) -> None:
    where, images, ct = scene(tmp_path)
    masks = {n: np.random.default_rng(n).random((7, 9)) > 0.5 for n in (40, 7, 300, 9)}
    frames = [Frame(1, n, mask) for n, mask in masks.items()]
    found = read_seg(f.save(f.seg(where, frames, [300, 7, 7, 40], ct=images), tmp_path / "s.dcm"), ct, f.LIMITS)
    assert [s.number for s in found.segments] == [7, 40, 300]
    assert found.facts.raw_segment_numbers == (300, 7, 7, 40)
    assert found.facts.undeclared_numbers == (9,)
    assert all((f.labels_of(found, n)[1] == masks[n]).all() for n in (7, 40, 300))


@pytest.mark.parametrize(
    "declared", [pytest.param([0, 1, 2, 3], id="declared"), pytest.param([1, 2, 3], id="not declared")]
)
def test_background_of_a_label_map_is_no_segment(tmp_path: Path, declared: list[int]) -> None:
    where, images, ct = scene(tmp_path)
    volume = f.blobs((4, 7, 9))
    found = read_seg(
        f.save(f.seg(where, f.frames_of(volume, "LABELMAP"), declared, "LABELMAP", images), tmp_path / "s.dcm"),
        ct,
        f.LIMITS,
    )
    assert [s.number for s in found.segments] == [1, 2, 3]
    assert found.facts.undeclared_numbers == ()


def test_another_background_value_is_no_segment_and_zero_can_be_one(tmp_path: Path) -> None:
    where, images, ct = scene(tmp_path)
    volume = f.blobs((4, 7, 9))
    dataset = f.seg(where, f.frames_of(volume, "LABELMAP"), [0, 1, 2], "LABELMAP", images, PixelPaddingValue=3)
    found = read_seg(f.save(dataset, tmp_path / "s.dcm"), ct, f.LIMITS)
    assert found.facts.undeclared_numbers == ()
    assert all((f.labels_of(found, n) == (volume == n)).all() for n in (0, 1, 2))
    assert found.segments[0].frame_count == 4


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_three_hundred_segments_are_told_apart(tmp_path: Path, kind: str) -> None:
    where, images, ct = scene(tmp_path, (20, 20), 2)
    labels = np.minimum(np.arange(400), 300).astype(np.uint16).reshape(20, 20)
    frames = [Frame(1, None, labels)] if kind == "LABELMAP" else [Frame(1, n, labels == n) for n in range(1, 301)]
    found = read_seg(f.save(f.seg(where, frames, range(1, 301), kind, images), tmp_path / "s.dcm"), ct, f.LIMITS)
    assert len(found.segments) == 300
    assert all((f.labels_of(found, n)[1] == (labels == n)).all() for n in (1, 255, 256, 257, 300))


def numbered(number: int) -> Dataset:
    item = Dataset()
    item.SegmentNumber = number
    return item


def test_all_segments_that_numbers_allow_are_told_apart(tmp_path: Path) -> None:
    where, images, ct = scene(tmp_path, (256, 256), 1)
    labels = np.arange(65536, dtype=np.uint16).reshape(256, 256)

    def bare(dataset: object) -> None:
        dataset.SegmentSequence = [numbered(n) for n in range(1, 65536)]

    dataset = f.seg(where, [Frame(0, None, labels)], [1], "LABELMAP", images, edit=bare)
    found = read_seg(f.save(dataset, tmp_path / "s.dcm"), ct, f.LIMITS)
    assert len(found.segments) == 65535
    assert (found.layers[0][0] == labels).all()


def per_frame_geometry(dataset: object) -> None:
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        frame.PixelMeasuresSequence = shared.PixelMeasuresSequence
        frame.PlaneOrientationSequence = shared.PlaneOrientationSequence
    del shared.PixelMeasuresSequence, shared.PlaneOrientationSequence


def shared_position(dataset: object) -> None:
    dataset.SharedFunctionalGroupsSequence[0].PlanePositionSequence = dataset.PerFrameFunctionalGroupsSequence[
        0
    ].PlanePositionSequence
    del dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence


@pytest.mark.parametrize("edit", [per_frame_geometry, shared_position])
@pytest.mark.parametrize("shared", [True, False])
def test_functional_groups_may_be_shared_or_per_frame(tmp_path: Path, edit: object, shared: bool) -> None:
    where, images, ct = scene(tmp_path)
    mask = np.eye(7, 9, dtype=bool)
    dataset = f.seg(where, [Frame(2, 4, mask)], ct=images, shared_identification=shared, edit=edit)
    found = read_seg(f.save(dataset, tmp_path / "s.dcm"), ct, f.LIMITS)
    assert (f.labels_of(found, 4)[2] == mask).all()


BROKEN = [
    pytest.param({"NumberOfFrames": 5}, id="more frames than described"),
    pytest.param({"Rows": 65535, "Columns": 65535}, id="absurd size"),
    pytest.param({"Rows": 70}, id="pixel data too short"),
    pytest.param({"SegmentationType": "X"}, id="unknown type"),
    pytest.param({"SegmentSequence": None}, id="no segments"),
    pytest.param({"PerFrameFunctionalGroupsSequence": None}, id="no functional groups"),
    pytest.param({"PixelData": None}, id="no pixel data"),
    pytest.param({"BitsAllocated": 32}, id="32 bits"),
    pytest.param({"SamplesPerPixel": 3}, id="three samples"),
    pytest.param({"SOPInstanceUID": "../x"}, id="bad UID"),
]


@pytest.mark.parametrize("change", BROKEN)
@pytest.mark.filterwarnings("ignore")
def test_a_seg_that_contradicts_itself_is_refused_in_one_sentence_without_patient_data(
    tmp_path: Path, change: dict
) -> None:
    where, images, ct = scene(tmp_path)
    dataset = f.seg(where, f.frames_of(f.blobs((4, 7, 9))), ct=images)
    path = f.save(dataset, tmp_path / "s.dcm")
    f.change(dataset, change)
    dataset.save_as(path)
    with pytest.raises(InputError) as raised:
        read_seg(path, ct, f.LIMITS)
    message = str(raised.value)
    assert message
    assert "\n" not in message
    assert "Secret" not in message


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.999])
def test_a_cut_seg_is_refused_wherever_it_is_cut(tmp_path: Path, share: float) -> None:
    where, images, ct = scene(tmp_path)
    path = f.save(f.seg(where, f.frames_of(f.blobs((4, 7, 9))), ct=images), tmp_path / "s.dcm")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError):
        read_seg(path, ct, f.LIMITS)
