"""The fast path of reading a SEG: it gives what the reference path gives, or gives up; and on usual files it does not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence as Items
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from segqa_dicom.dicom.elements import Unfamiliar
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.dicom.opening import translated
from segqa_dicom.errors import InputError, LimitExceeded
from segqa_dicom.model import CtVolume, SegmentationType
from segqa_dicom.reading import seg as reading
from segqa_dicom.reading.ct import read_ct
from segqa_dicom.reading.frame_index import open_indexed
from segqa_dicom.reading.frame_table import open_parsed
from segqa_dicom.reading.frames import open_frames
from segqa_dicom.reading.seg import frames_within, read_seg
from tests.reading import factories as f
from tests.shared import SHARED, shared

WHERE = f.grid(4, (13, 11))
VOLUME = f.blobs((4, 13, 11))
SOURCES = f.ct_images(WHERE)
REAL = sorted(path.relative_to(SHARED).as_posix() for path in SHARED.glob("data/case_*/seg*.dcm")) or ["data/none"]


def described(path: Path, opener: Callable[..., Any], ct: CtVolume | None = None) -> dict[str, Any]:
    """All that a path finds out about the frames of a file, and about the rest of its header."""
    with translated("segmentation"):
        opened, groups = opener(path, f.LIMITS)
        kind = SegmentationType(opened.dataset.SegmentationType)
        table = groups.table(kind, ct)
        grid = table.grid
        rest = opened.dataset
        if "PerFrameFunctionalGroupsSequence" in rest:
            del rest.PerFrameFunctionalGroupsSequence
        return {
            "count": groups.count,
            "numbers": table.segment_numbers.tolist(),
            "sources": table.sources,
            "origins": grid.origins_mm.tolist(),
            "steps": [*grid.row_step_mm.tolist(), *grid.column_step_mm.tolist()],
            "grid": (grid.matrix, grid.declared_spacing_mm, grid.slice_thickness_mm),
            "pixels": opened.pixel_offset,
            "syntax": (opened.transfer_syntax, opened.dataset.file_meta.to_json_dict()),
            "header": rest.to_json_dict(),
        }


def by_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on `read_seg` does not try the fast path."""

    def gives_up(path: Path, limits: Limits) -> None:
        raise Unfamiliar

    monkeypatch.setattr(reading, "open_indexed", gives_up)


def assert_equal(one: Any, other: Any) -> None:
    assert one.record == other.record
    assert one.segments == other.segments
    assert one.facts == other.facts
    assert len(one.layers) == len(other.layers)
    for mine, its in zip(one.layers, other.layers, strict=True):
        assert mine.dtype == its.dtype
        assert np.array_equal(mine, its)


def with_everything(kind: str = "BINARY", dtype: type = np.uint8, **more: Any) -> Dataset:
    """A SEG whose frames say what frames of usual SEGs say: sources, dimensions, measures."""
    frames = [f.Frame(one.plane, one.segment, one.pixels.astype(dtype)) for one in f.frames_of(VOLUME, kind)]
    dataset = f.seg(WHERE, frames, [1, 2, 3], kind, SOURCES, **more)
    for frame, group in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        source, purpose, derivation, dimensions = Dataset(), f.code("121322", "Source", "DCM"), Dataset(), Dataset()
        source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = f.CT_CLASS, SOURCES[frame.plane].SOPInstanceUID
        source.PurposeOfReferenceCodeSequence = Items([purpose])
        derivation.SourceImageSequence = Items([source])
        derivation.DerivationCodeSequence = Items([f.code("113076", "Segmentation", "DCM")])
        group.DerivationImageSequence = Items([derivation])
        dimensions.DimensionIndexValues = [frame.segment or 1, frame.plane + 1]
        group.FrameContentSequence = Items([dimensions])
    return dataset


def per_frame_geometry(dataset: Dataset) -> None:
    shared_groups = dataset.SharedFunctionalGroupsSequence[0]
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        frame.PlaneOrientationSequence = shared_groups.PlaneOrientationSequence
        frame.PixelMeasuresSequence = shared_groups.PixelMeasuresSequence
    del shared_groups.PlaneOrientationSequence, shared_groups.PixelMeasuresSequence


def some_geometry_per_frame(dataset: Dataset) -> None:
    """The third frame states its own pixel measures, which thereby count for all."""
    measures = Dataset()
    measures.PixelSpacing, measures.SliceThickness = ["1.00001", "1.0"], "2.5"
    dataset.PerFrameFunctionalGroupsSequence[2].PixelMeasuresSequence = Items([measures])


def shared_position(dataset: Dataset) -> None:
    position = dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence
    del dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence
    dataset.SharedFunctionalGroupsSequence[0].PlanePositionSequence = position


def sources_of_all(dataset: Dataset) -> None:
    derivation = dataset.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence
    dataset.SharedFunctionalGroupsSequence[0].DerivationImageSequence = derivation
    for frame in dataset.PerFrameFunctionalGroupsSequence[::2]:
        frame.DerivationImageSequence = Items([])
    for frame in dataset.PerFrameFunctionalGroupsSequence[1::3]:
        del frame.DerivationImageSequence


def several_sources(dataset: Dataset) -> None:
    frames = dataset.PerFrameFunctionalGroupsSequence
    for one, other in zip(frames[1:], frames, strict=False):
        one.DerivationImageSequence.extend(other.DerivationImageSequence[:1])


def shuffled(dataset: Dataset) -> None:
    order = np.random.default_rng(3).permutation(len(dataset.PerFrameFunctionalGroupsSequence))
    frames = list(dataset.PerFrameFunctionalGroupsSequence)
    bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")[: 143 * len(order)]
    dataset.PixelData = np.packbits(bits.reshape(len(order), 143)[order].ravel(), bitorder="little").tobytes()
    dataset.PixelData += b"\0" * (len(dataset.PixelData) % 2)
    dataset.PerFrameFunctionalGroupsSequence = Items([frames[index] for index in order])


def private_group(dataset: Dataset) -> None:
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        inner = Dataset()
        inner.add_new(0x00091001, "LO", "nothing to know")
        frame.add_new(0x00090010, "LO", "SOMEBODY")
        frame.add_new(0x00091002, "SQ", [inner])
        frame.add_new(0x00091003, "OB", b"\xfe\xff\xdd\xe0\0\0\0\0")


def explicit(dataset: Dataset) -> None:
    pass


def implicit(dataset: Dataset) -> None:
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian


def undefined(dataset: Dataset) -> None:
    """Undefined lengths wherever there is a sequence."""
    for element in dataset.iterall():
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                item.is_undefined_length_sequence_item = True


def implicit_undefined(dataset: Dataset) -> None:
    implicit(dataset)
    undefined(dataset)


ENCODINGS = [explicit, implicit, undefined, implicit_undefined]
EDITS = [
    explicit,
    per_frame_geometry,
    some_geometry_per_frame,
    shared_position,
    sources_of_all,
    several_sources,
    shuffled,
]


@pytest.mark.parametrize("encode", ENCODINGS)
@pytest.mark.parametrize("edit", EDITS)
def test_both_paths_see_the_same_frames(tmp_path: Path, edit: Callable, encode: Callable) -> None:
    dataset = with_everything()
    edit(dataset)
    encode(dataset)
    path = f.save(dataset, tmp_path / "seg.dcm")
    assert described(path, open_indexed) == described(path, open_parsed)


@pytest.mark.parametrize("encode", [explicit, undefined])
def test_private_groups_are_passed_over(tmp_path: Path, encode: Callable) -> None:
    dataset = with_everything()
    private_group(dataset)
    encode(dataset)
    path = f.save(dataset, tmp_path / "seg.dcm")
    assert described(path, open_indexed) == described(path, open_parsed)


@pytest.mark.parametrize("encode", ENCODINGS)
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("BINARY", np.uint8), ("FRACTIONAL", np.uint8), ("LABELMAP", np.uint8), ("LABELMAP", np.uint16)],
)
def test_both_paths_read_the_same_segmentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, dtype: type, encode: Callable
) -> None:
    dataset = with_everything(kind, dtype)
    encode(dataset)
    path = f.save(dataset, tmp_path / "seg.dcm")
    ct = read_ct(f.save_all(SOURCES, tmp_path / "ct"), f.LIMITS)
    open_indexed(path, f.LIMITS)
    fast = read_seg(path, ct, f.LIMITS)
    by_reference(monkeypatch)
    assert_equal(fast, read_seg(path, ct, f.LIMITS))
    for number in (1, 2, 3):
        assert (f.labels_of(fast, number) == (number == VOLUME)).all()


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
def test_real_objects_are_read_by_the_fast_path_to_the_same_result(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = shared(*name.split("/"))
    open_indexed(path, f.LIMITS)[1].table(SegmentationType.BINARY, None)
    ct = read_ct(sorted((path.parent / "ct").iterdir()), f.LIMITS)
    fast = read_seg(path, ct, f.LIMITS)
    by_reference(monkeypatch)
    assert_equal(fast, read_seg(path, ct, f.LIMITS))


def changed_bytes(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))


def in_syntax(syntax: str, path: Path) -> None:
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, implicit_vr=False, little_endian=True, force_encoding=True)


NOT_PLAIN = [
    pytest.param(partial(changed_bytes, old=b"DICM", new=b"ACR "), id="no preamble"),
    pytest.param(partial(in_syntax, DeflatedExplicitVRLittleEndian), id="deflated"),
    pytest.param(partial(changed_bytes, old=b"\x20\0\x32\0DS", new=b"\x20\0\x32\0LO"), id="position in another VR"),
    pytest.param(partial(changed_bytes, old=b"\x62\0\x0b\0US", new=b"\x62\0\x0b\0SS"), id="signed number"),
    pytest.param(partial(changed_bytes, old=b"\x20\0\x13\x91SQ", new=b"\x20\0\x13\x91UN"), id="sequence as UN"),
    pytest.param(partial(changed_bytes, old=b"\x08\0\x24\x91SQ\0\0", new=b"\x08\0\x24\x91SQ\0\1"), id="reserved bytes"),
    pytest.param(partial(changed_bytes, old=b"1.2.840.10008.1.2.1\0", new=b"1.2.840.10008.1.2.2\0"), id="big endian"),
]


@pytest.mark.parametrize("spoil", NOT_PLAIN)
def test_what_is_not_plain_is_left_to_the_reference_path(tmp_path: Path, spoil: Callable) -> None:
    path = f.save(with_everything(), tmp_path / "seg.dcm")
    spoil(path=path)
    assert outcome(path, open_indexed) == "unfamiliar"


def test_a_file_above_the_limits_is_refused_before_it_is_looked_at(tmp_path: Path) -> None:
    path = f.save(with_everything(), tmp_path / "seg.dcm")
    with pytest.raises(LimitExceeded, match="limit"):
        open_indexed(path, Limits(max_file_bytes=1000))


def outcome(path: Path, opener: Callable[..., Any]) -> dict[str, Any] | str:
    try:
        return described(path, opener)
    except Unfamiliar:
        return "unfamiliar"
    except InputError:
        return "error"


def damaged(data: bytes, begin: int, stop: int, random: np.random.Generator) -> bytes:
    """`data` with one or two bytes of ``data[begin:stop]`` changed, some cut out, or some put in."""
    found = bytearray(data)
    for _ in range(random.integers(1, 3)):
        at = int(random.integers(begin, stop - 8))
        how = random.integers(0, 6)
        if how < 3:
            found[at] ^= 1 << random.integers(0, 8)
        elif how == 3:
            found[at] = random.integers(0, 256)
        elif how == 4:
            del found[at : at + 2 * int(random.integers(1, 6))]
        else:
            found[at:at] = found[at - 8 : at - 8 + 2 * int(random.integers(1, 6))]
    return bytes(found)


@pytest.mark.parametrize("encode", ENCODINGS)
def test_a_damaged_object_never_gets_another_answer(tmp_path: Path, encode: Callable) -> None:
    """Either both paths see the same, or the fast one gives up; it raises no error that the other does not."""
    dataset = with_everything()
    per_frame_geometry(dataset)
    dataset.PerFrameFunctionalGroupsSequence = Items(dataset.PerFrameFunctionalGroupsSequence[:3])
    dataset.NumberOfFrames = 3
    encode(dataset)
    path = f.save(dataset, tmp_path / "seg.dcm")
    data = path.read_bytes()
    begin, stop = data.index(b"\x00\x52\x30\x92"), data.rindex(b"\xe0\x7f\x10\x00")
    random = np.random.default_rng(20)
    outcomes = []
    for _ in range(300):
        path.write_bytes(damaged(data, begin, stop, random))
        fast = outcome(path, open_indexed)
        outcomes.append(fast if isinstance(fast, str) else "table")
        if fast != "unfamiliar":
            assert fast == outcome(path, open_parsed)
    assert outcomes.count("table") > 15, "nothing was compared"
    assert outcomes.count("unfamiliar") > 20, "nothing was wrong"


def test_the_pixel_data_do_not_count_for_the_digest_of_the_file_but_what_they_show_does(tmp_path: Path) -> None:
    ct = read_ct(f.save_all(SOURCES, tmp_path / "ct"), f.LIMITS)
    path = f.save(with_everything("FRACTIONAL"), tmp_path / "seg.dcm")
    one = read_seg(path, ct, f.LIMITS).record
    data = bytearray(path.read_bytes())
    at = data.rindex(b"\xe0\x7f\x10\x00") + 12
    places = [place for place in range(at, len(data)) if data[place] == 200]
    data[places[0]] = 199
    path.write_bytes(data)
    same = read_seg(path, ct, f.LIMITS).record
    assert (same.file_digest, same.content_digest) == (one.file_digest, one.content_digest)
    data[places[0]] = 0
    path.write_bytes(data)
    other = read_seg(path, ct, f.LIMITS).record
    assert other.file_digest != one.file_digest
    assert other.content_digest != one.content_digest
    changed = shutil.copy(path, tmp_path / "changed.dcm")
    changed_bytes(Path(changed), b"part 1", b"part 9")
    assert read_seg(Path(changed), ct, f.LIMITS).record.file_digest != other.file_digest


def test_compressed_pixel_data_depict_the_same(tmp_path: Path) -> None:
    ct = read_ct(f.save_all(SOURCES, tmp_path / "ct"), f.LIMITS)
    dataset = with_everything("LABELMAP")
    plain = read_seg(f.save(dataset, tmp_path / "plain.dcm"), ct, f.LIMITS)
    dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    packed = read_seg(f.save(dataset, tmp_path / "packed.dcm"), ct, f.LIMITS)
    assert plain.record.content_digest == packed.record.content_digest
    assert np.array_equal(plain.layers[0], packed.layers[0])


@pytest.mark.parametrize(("kind", "compressed"), [("BINARY", False), ("FRACTIONAL", False), ("FRACTIONAL", True)])
def test_frames_are_painted_from_where_they_are_stored(tmp_path: Path, kind: str, compressed: bool) -> None:
    dataset = with_everything(kind)
    if compressed:
        dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    opened, _ = open_indexed(f.save(dataset, tmp_path / "seg.dcm"), f.LIMITS)
    assert open_frames(opened, SegmentationType(kind), f.LIMITS).stored is not None


def test_where_frames_lie_is_asked_of_either_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ct = read_ct(f.save_all(SOURCES, tmp_path / "ct"), f.LIMITS)
    inside = f.save(with_everything(), tmp_path / "inside.dcm")
    elsewhere = f.grid(4, (13, 11), origin=(0.0, 0.0, 500.0))
    outside = f.save(f.seg(elsewhere, f.frames_of(VOLUME)), tmp_path / "outside.dcm")
    for _ in range(2):
        assert frames_within(inside, ct.geometry, f.LIMITS)
        assert not frames_within(outside, ct.geometry, f.LIMITS)
        by_reference(monkeypatch)
