"""Thumbnails show the place and the contours; on disk they are bounded, whole, and shared by processes."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from segqa_dicom.pictures import NoSuchPlane, NoSuchSegment, OpenCase, OpenCases, Thumbnails, thumbnail
from segqa_dicom.rendering.finding_figure import COLOURS
from tests.pictures.archives import STUDY, CountingArchive, opened, with_cases
from tests.report.test_pictures import ORIENTATIONS, turned
from tests.scenes import LIVER, SHAPE, Part, box, case, ct, geometry, segmentation
from tests.tiers import examples

PLACE = (STUDY, "1.2.100", "1.3.100")


def pixels(picture: bytes) -> NDArray[np.int16]:
    with Image.open(io.BytesIO(picture)) as opened_picture:
        assert opened_picture.format == "WEBP"
        return np.asarray(opened_picture.convert("RGB")).astype(np.int16)


def like(shown: NDArray[np.int16], colour: str) -> NDArray[np.bool_]:
    """Pixels of about a colour."""
    wanted = np.array([int(colour[n : n + 2], 16) for n in (1, 3, 5)])
    return np.abs(shown - wanted).sum(axis=2) < 120


def liver_case() -> OpenCase:
    hu = np.full(SHAPE, -160, np.int16)
    hu[:, :, 30:] = 240  # white: the patient's left
    return OpenCase(case(segmentation([Part("liver", LIVER, [box(8, 15, 12, (5, 6, 7))])]), volume=ct(hu)))


@pytest.mark.parametrize("size", [96, 128, 160])
def test_a_thumbnail_shows_three_planes_with_contours(size: int) -> None:
    found = liver_case()
    shown = pixels(thumbnail(found, found.centre_mm(0, 0), [(0, 0)], size_px=size))
    assert shown.shape == (size, 3 * size + 4, 3)
    for number in range(3):
        one = like(shown[:, number * (size + 2) : number * (size + 2) + size], COLOURS[0])
        assert one.sum() > size / 2
        rows, columns = np.nonzero(one)
        # The segment is around the middle, and the picture shows 60 mm: all of it.
        assert 0.35 * size < rows.mean() < 0.65 * size
        assert 0.35 * size < columns.mean() < 0.65 * size


def test_left_is_on_the_right() -> None:
    found = liver_case()
    shown = pixels(thumbnail(found, found.case.ct.geometry.point_at(10, 20, 29), [], size_px=100)).mean(axis=2)
    axial, coronal = shown[:, :100], shown[:, 102:202]
    for one in (axial, coronal):
        assert one[20:30, 56:64].mean() > 200
        assert one[20:30, 30:40].mean() < 50


@pytest.mark.parametrize(("order", "flips"), ORIENTATIONS[::3])
def test_thumbnails_are_the_same_however_the_patient_was_scanned(
    order: tuple[int, int, int], flips: tuple[int, int, int]
) -> None:
    axial = liver_case()
    other = OpenCase(turned(order, flips, axial.case))
    point = axial.case.ct.geometry.point_at(9, 17, 14)
    assert thumbnail(other, point, [(0, 0)]) == thumbnail(axial, point, [(0, 0)])


@pytest.mark.parametrize("point", [(-1000.0, 0.0, 0.0), (500.0, 500.0, 500.0), None])
def test_places_at_the_border_and_outside_are_drawn_too(point: tuple[float, float, float] | None) -> None:
    shown = pixels(thumbnail(liver_case(), point, [(0, 0)] if point is None else [], size_px=64))
    assert shown.shape == (64, 196, 3)


def test_empty_segments_are_drawn_where_they_should_be() -> None:
    found = OpenCase(case(segmentation([Part("liver", LIVER, [])])))
    assert len(thumbnail(found, None, [(0, 0)])) > 100


@pytest.mark.parametrize("size", [0, 10_000])
def test_sizes_beyond_reason_are_refused(size: int) -> None:
    with pytest.raises(NoSuchPlane, match="32 to 512"):
        thumbnail(liver_case(), None, [], size_px=size)


@examples(60)
@given(seed=st.integers(0, 10**6))
def test_any_volume_and_any_place_can_be_drawn(seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = (int(random.integers(1, 30)), int(random.integers(1, 30)), int(random.integers(1, 30)))
    where = geometry(shape, (float(random.uniform(0.2, 12)), float(random.uniform(0.2, 12)), 0.7))
    low = [int(random.integers(0, size)) for size in shape]
    a, b, c = (slice(first, int(random.integers(first, size)) + 1) for first, size in zip(low, shape, strict=True))
    hu = random.integers(-1000, 1000, shape).astype(np.int16 if seed % 2 else np.float32)
    drawn = segmentation([Part("liver", LIVER, [(a, b, c)] if seed % 3 else [])], shape=shape)
    found = OpenCase(case(drawn, volume=ct(hu, where=where)))
    x, y, z = (float(value) for value in random.uniform(-300, 300, 3))
    for point in (None, (x, y, z), found.centre_mm(0, 0)):
        assert pixels(thumbnail(found, point, [(0, 0)], size_px=48)).shape == (48, 148, 3)


# On disk


@pytest.fixture
def archive(tmp_path: Path) -> CountingArchive:
    return with_cases(tmp_path / "archive", 2)


@pytest.fixture
def cases(archive: CountingArchive, tmp_path: Path) -> Iterator[OpenCases]:
    found = opened(archive, tmp_path)
    yield found
    found.close()


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_thumbnail_is_drawn_once_and_needs_no_case_then(
    archive: CountingArchive, cases: OpenCases, tmp_path: Path
) -> None:
    kept = Thumbnails(cases, tmp_path / "thumbnails")
    assert kept.find(*PLACE[1:], 1) is None
    drawn = kept.get(*PLACE, 1)
    assert kept.find(*PLACE[1:], 1) == drawn
    cases.forget(*PLACE[:2])
    later = Thumbnails(cases, tmp_path / "thumbnails")
    assert later.get(*PLACE, 1) == drawn
    assert archive.loads("1.2.100") == 1
    assert (tmp_path / "thumbnails").stat().st_mode & 0o077 == 0


def test_other_segments_places_and_sizes_have_thumbnails_of_their_own(cases: OpenCases, tmp_path: Path) -> None:
    kept = Thumbnails(cases, tmp_path / "thumbnails")
    kept.get(*PLACE, 1)
    kept.get(*PLACE, 2)
    kept.get(*PLACE, 0)
    kept.get(*PLACE, 1, (1.0, 2.0, 3.0))
    kept.get(*PLACE, 1, (1.0, 2.0, 4.0))
    kept.get(*PLACE, 1, (1.0, 2.0, 3.01))
    kept.get(*PLACE, 1, size_px=64)
    kept.get(STUDY, "1.2.101", "1.3.101", 1)
    assert len(files(tmp_path / "thumbnails")) == 7


def test_segments_that_are_not_there_leave_nothing(cases: OpenCases, tmp_path: Path) -> None:
    with pytest.raises(NoSuchSegment):
        Thumbnails(cases, tmp_path / "thumbnails").get(*PLACE, 9)
    assert files(tmp_path / "thumbnails") == []


@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 4000])
def test_what_a_crash_damaged_is_drawn_again(cases: OpenCases, tmp_path: Path, damage: bytes) -> None:
    kept = Thumbnails(cases, tmp_path / "thumbnails")
    drawn = kept.get(*PLACE, 1)
    (path,) = files(tmp_path / "thumbnails")
    path.write_bytes(damage)
    assert kept.find(*PLACE[1:], 1) is None
    assert kept.get(*PLACE, 1) == drawn == kept.find(*PLACE[1:], 1)


def test_files_and_bytes_are_bounded_and_the_ones_used_last_stay(cases: OpenCases, tmp_path: Path) -> None:
    folder = tmp_path / "thumbnails"
    kept = Thumbnails(cases, folder, max_files=20)
    for number in range(60):
        kept.get(*PLACE, 1, (float(number), 0.0, 0.0), size_px=32)
        assert kept.get(*PLACE, 1, (0.0, 0.0, 0.0), size_px=32)
        assert len(files(folder)) <= 20
    assert kept.find(*PLACE[1:], 1, (0.0, 0.0, 0.0), size_px=32)
    assert kept.find(*PLACE[1:], 1, (59.0, 0.0, 0.0), size_px=32)
    small = Thumbnails(cases, folder, max_bytes=8_000)
    for number in range(100, 120):
        small.get(*PLACE, 1, (float(number), 0.0, 0.0), size_px=32)
    assert sum(path.stat().st_size for path in files(folder)) <= 8_000


def test_a_folder_that_cannot_be_written_costs_time_only(cases: OpenCases, tmp_path: Path) -> None:
    folder = tmp_path / "thumbnails"
    kept = Thumbnails(cases, folder)
    folder.rmdir()
    folder.write_text("not a folder")
    assert kept.get(*PLACE, 1) == kept.get(*PLACE, 1)


_PROCESS = """
import sys
from pathlib import Path
from segqa_dicom.pictures import Thumbnails
from tests.pictures.archives import CountingArchive, opened

folder, work, start = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
cases = opened(CountingArchive(folder / "archive"), work)
kept = Thumbnails(cases, folder / "thumbnails", max_files=30)
for number in range(40):
    kept.get("1.2.3.4.1", "1.2.100", "1.3.100", 1, (float((start + number) % 50), 0.0, 0.0), size_px=32)
cases.close()
"""


@pytest.mark.servers
def test_several_processes_share_a_folder(archive: CountingArchive, cases: OpenCases, tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _PROCESS, str(tmp_path), str(tmp_path / f"work{number}"), str(20 * number)], cwd=root
        )
        for number in range(3)
    ]
    assert [one.wait(300) for one in running] == [0, 0, 0]
    found = files(tmp_path / "thumbnails")
    assert {path.suffix for path in found} == {".thumbnail"}
    assert 0 < len(found) <= 33
    kept = Thumbnails(cases, tmp_path / "thumbnails")
    whole = [kept.find(*PLACE[1:], 1, (float(number), 0.0, 0.0), size_px=32) for number in range(50)]
    assert sum(one is not None for one in whole) == len(found)


def test_many_threads_may_ask_for_the_same(archive: CountingArchive, cases: OpenCases, tmp_path: Path) -> None:
    kept = Thumbnails(cases, tmp_path / "thumbnails")
    with ThreadPoolExecutor(8) as threads:
        drawn = set(threads.map(lambda _: kept.get(*PLACE, 1), range(16)))
    assert len(drawn) == 1
    assert len(files(tmp_path / "thumbnails")) == 1
