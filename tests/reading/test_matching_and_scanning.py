"""From folders to cases: what is found, what it was drawn on, and that nothing but our errors ever escapes."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.sequence import Sequence as Items

from segqa_dicom.errors import InputError
from segqa_dicom.reading.case import read_case
from segqa_dicom.reading.ct import read_ct
from segqa_dicom.reading.grouping import group
from segqa_dicom.reading.scan import scan
from tests.reading import factories as f
from tests.reading.factories import Frame, grid

SHARED = Path(__file__).resolve().parents[3] / "shared"
CT = grid(4, (7, 9))
MASK = np.eye(7, 9, dtype=bool)


def a_seg(ct: list, **more: object) -> Dataset:
    return f.seg(CT, [Frame(k, 1, MASK) for k in range(4)], ct=ct, **more)


def cases_of(*folders: Path):
    headers, left_out = scan(folders, f.LIMITS)
    cases, more = group(headers, f.LIMITS)
    return cases, left_out + more


def whole(folder: Path) -> None:
    """Everything that a run does with files, nothing but our errors allowed."""
    cases, _ = cases_of(folder)
    for case in cases:
        read_case(case, f.LIMITS)


def derivation(images: list):
    def edit(dataset: Dataset) -> None:
        for frame, image in zip(dataset.PerFrameFunctionalGroupsSequence, images, strict=False):
            item = Dataset()
            item.SourceImageSequence = f.references([image])
            frame.DerivationImageSequence = Items([item])

    return edit


def in_another_study(images: list):
    def edit(dataset: Dataset) -> None:
        dataset.StudyInstanceUID = "1.2.3.77"
        series = dataset.ReferencedSeriesSequence
        del dataset.ReferencedSeriesSequence
        study = Dataset()
        study.StudyInstanceUID, study.ReferencedSeriesSequence = f.STUDY, series
        dataset.StudiesContainingOtherReferencedInstancesSequence = Items([study])

    return edit


def test_of_two_series_with_one_frame_of_reference_the_one_referred_to_is_taken(tmp_path: Path) -> None:
    one, two = f.ct_images(CT), f.ct_images(CT, SeriesInstanceUID="1.2.3.4.8")
    f.save_all(one, tmp_path / "one")
    f.save_all(two, tmp_path / "two")
    variants = {
        "1.9.1": a_seg(two, uid="1.9.1"),
        "1.9.2": a_seg([], uid="1.9.2", edit=derivation(two)),
        "1.9.3": a_seg([], uid="1.9.3", SourceImageSequence=f.references(two)),
        "1.9.4": a_seg(two, uid="1.9.4", edit=in_another_study(two)),
        "1.9.5": a_seg(two, uid="1.9.5", FrameOfReferenceUID=None),
        "1.9.6": a_seg(two, uid="1.9.6", FrameOfReferenceUID="1.2.3.66"),
    }
    for uid, dataset in variants.items():
        f.save(dataset, tmp_path / f"{uid}.dcm")
    cases, _ = cases_of(tmp_path)
    assert [case.name for case in cases] == ["1.2.3.4.8"]
    assert {part.header.sop_instance_uid for part in cases[0].segmentations} == set(variants)
    assert all(part.references_ct_series for part in cases[0].segmentations)
    case, left_out = read_case(cases[0], f.LIMITS)
    assert not left_out
    assert all((f.labels_of(s, 1) == MASK).all() for s in case.segmentations)
    assert {s.record.sop_instance_uid for s in case.segmentations if s.facts.study_differs} == {"1.9.4"}


def test_a_seg_without_references_is_matched_by_frame_of_reference_if_only_one_series_fits(tmp_path: Path) -> None:
    images = f.ct_images(CT)
    f.save_all(images, tmp_path / "one")
    far = grid(4, (7, 9), origin=(0, 0, 500))
    f.save_all(f.ct_images(far, SeriesInstanceUID="1.2.3.4.8"), tmp_path / "two")
    f.save(a_seg([]), tmp_path / "s.dcm")
    cases, _ = cases_of(tmp_path)
    assert [case.name for case in cases] == [f.SERIES]
    assert not cases[0].segmentations[0].references_ct_series


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"PatientID": "P2"}, id="other patient"),
        pytest.param({"ReferencedSeriesSequence": None, "FrameOfReferenceUID": None}, id="refers to nothing"),
        pytest.param({"ReferencedSeriesSequence": None, "FrameOfReferenceUID": "1.2.9"}, id="other frame of reference"),
    ],
)
def test_a_seg_that_belongs_to_no_ct_is_named_with_the_reason(tmp_path: Path, more: dict) -> None:
    images = f.ct_images(CT)
    f.save_all(images, tmp_path / "ct")
    f.save(a_seg(images, **more), tmp_path / "s.dcm")
    cases, left_out = cases_of(tmp_path)
    assert not cases
    reasons = [one.reason for one in left_out if one.is_segmentation]
    assert len(reasons) == 1
    assert "Secret" not in reasons[0]


def test_odd_names_links_copies_and_foreign_objects_do_not_disturb(tmp_path: Path) -> None:
    images = f.ct_images(CT)
    for index, image in enumerate(images):
        f.save(image, tmp_path / ("d" * index) / "ü ß" / f"no ending {index}")
    path = f.save(a_seg(images), tmp_path / "x.json")
    (tmp_path / "copy.dcm").write_bytes(path.read_bytes())
    (tmp_path / "link.dcm").symlink_to(path)
    (tmp_path / "nowhere.dcm").symlink_to(tmp_path / "gone")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty.dcm").write_bytes(b"")
    f.save(f.blank("1.2.840.10008.5.1.4.1.1.4", "1.5.1", Modality="MR"), tmp_path / "mr.dcm")
    f.save(f.blank("1.2.840.10008.5.1.4.1.1.481.3", "1.5.2", Modality="RTSTRUCT"), tmp_path / "rt.dcm")
    cases, left_out = cases_of(tmp_path)
    assert len(cases) == 1
    assert len(cases[0].segmentations) == 1
    assert not [one for one in left_out if one.is_segmentation]
    case, _ = read_case(cases[0], f.LIMITS)
    assert case.ct.hu.shape == (4, 7, 9)


@pytest.mark.parametrize("sop_class", [f.SEG_CLASS, f.LABELMAP_CLASS])
@pytest.mark.parametrize("keep", [260, 300, 400, 600])
def test_an_unreadable_file_that_says_it_is_a_segmentation_counts_as_one(
    tmp_path: Path, sop_class: str, keep: int
) -> None:
    path = f.save(a_seg(f.ct_images(CT), SOPClassUID=sop_class), tmp_path / "s.dcm")
    data = path.read_bytes().replace(f.SEG_CLASS.encode(), sop_class.encode())
    (tmp_path / "s.dcm").write_bytes(data[:keep])
    if sop_class.encode() not in data[:keep]:
        pytest.skip("cut before the class")
    _, left_out = cases_of(tmp_path)
    assert [one.is_segmentation for one in left_out] == [True]


def test_a_segmentation_whose_meta_information_is_destroyed_counts_as_one(tmp_path: Path) -> None:
    path = f.save(a_seg(f.ct_images(CT)), tmp_path / "s.dcm")
    data = bytearray(path.read_bytes())
    data[132:144] = bytes(range(200, 212))
    data[400:420] = b"\xff" * 20
    path.write_bytes(data)
    _, left_out = cases_of(tmp_path)
    assert [one.is_segmentation for one in left_out] == [True]


def test_a_segmentation_with_a_bad_uid_counts_as_one(tmp_path: Path) -> None:
    dataset = a_seg(f.ct_images(CT))
    path = f.save(dataset, tmp_path / "s.dcm")
    path.write_bytes(path.read_bytes().replace(b"1.2.3.9.2", b"../../etc"))
    _, left_out = cases_of(tmp_path)
    assert [one.is_segmentation for one in left_out] == [True]


@pytest.mark.servers
@pytest.mark.parametrize("part", range(6))
@pytest.mark.filterwarnings("ignore")
def test_random_changes_of_bytes_raise_nothing_but_our_errors(tmp_path: Path, part: int) -> None:
    """250 files in each part: SEG and CT, native and compressed; every one read to the end within seconds."""
    random = np.random.default_rng(1000 + part)
    images = f.ct_images(CT)
    paths = f.save_all(images, tmp_path)
    kind = ["BINARY", "LABELMAP", "FRACTIONAL"][part % 3]
    volume = f.blobs((4, 7, 9))
    victim = f.save(f.seg(CT, f.frames_of(volume, kind), [1, 2, 3], kind, images), tmp_path / "s.dcm")
    if part >= 3:
        victim = paths[1]
    if part == 4:
        f.run("dcmcjpls", victim, victim)
    if part == 5:
        f.run("dcmcrle", victim, victim)
    original = victim.read_bytes()
    for number in range(250):
        data = bytearray(original)
        if number % 5 == 4:
            del data[random.integers(len(data)) :]
        for at in random.integers(128, max(len(data), 129), random.integers(1, 12)):
            if at < len(data):
                data[at] = random.integers(256)
        victim.write_bytes(data)
        started = time.monotonic()
        whole(tmp_path)
        assert time.monotonic() - started < 10


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore")
def test_malformed_files_of_others_raise_nothing_but_our_errors(tmp_path: Path) -> None:
    if not (SHARED / "bad_inputs").is_dir():
        pytest.skip("no malformed files beside the project")
    files = sorted(path for path in (SHARED / "bad_inputs").rglob("*") if path.is_file())
    for path in files:
        headers, _ = scan([path], f.LIMITS)
        cases, _ = group(headers, f.LIMITS)
        for case in cases:
            read_case(case, f.LIMITS)
        for header in headers:
            with suppress(InputError):
                read_ct([header.path], f.LIMITS)
    whole(SHARED / "bad_inputs")
