"""Cases are fetched once, kept as far as memory allows, and errors are told to whoever waits."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from segqa_dicom.errors import InputError, PeerUnavailable
from segqa_dicom.pictures import NoSuchSegment, NothingToShow, OpenCases, plane, scene
from segqa_dicom.pictures.open_cases import Closed
from segqa_dicom.rendering.windows import SOFT
from tests.pictures.archives import OPEN_BYTES, STUDY, CountingArchive, drawn_on, images, opened, store, with_cases
from tests.reading.factories import ENHANCED_CT_CLASS, Frame, blobs, enhanced_ct, grid, hu_pattern, rotated, seg
from tests.servers.process import wait_until


@pytest.fixture
def archive(tmp_path: Path) -> CountingArchive:
    return with_cases(tmp_path / "archive", 3)


@pytest.fixture
def cases(archive: CountingArchive, tmp_path: Path) -> Iterator[OpenCases]:
    found = opened(archive, tmp_path)
    yield found
    found.close()


def test_a_case_has_the_ct_and_the_segmentations_on_it(cases: OpenCases) -> None:
    found = cases.open(STUDY, "1.2.101")
    assert found.case.ct.record.series_instance_uid == "1.2.101"
    assert [one.record.sop_instance_uid for one in found.case.segmentations] == ["1.3.101"]
    assert found.size_bytes == OPEN_BYTES == cases.held_bytes
    assert found.segment_place("1.3.101", 2) == (0, 1)
    with pytest.raises(NoSuchSegment, match="another CT series"):
        found.segment_place("1.3.100", 1)


def test_a_case_is_fetched_once_however_many_ask(archive: CountingArchive, cases: OpenCases) -> None:
    asking = threading.Barrier(8)

    def ask(_: int) -> int:
        asking.wait()
        return cases.open(STUDY, "1.2.100").serial

    with ThreadPoolExecutor(8) as threads:
        serials = set(threads.map(ask, range(8)))
    assert len(serials) == 1
    assert archive.loads("1.2.100") == 1
    assert cases.is_open(STUDY, "1.2.100")
    assert not cases.is_open(STUDY, "1.2.101")


@pytest.mark.slow
def test_what_was_used_longest_ago_makes_room(archive: CountingArchive, tmp_path: Path) -> None:
    cases = opened(archive, tmp_path, max_bytes=2 * OPEN_BYTES)
    for series in ("1.2.100", "1.2.101", "1.2.100", "1.2.102"):
        cases.open(STUDY, series)
        gc.collect()
        assert cases.held_bytes <= 2 * OPEN_BYTES
    assert [cases.is_open(STUDY, f"1.2.{n}") for n in (100, 101, 102)] == [True, False, True]
    cases.close()


def test_a_case_larger_than_the_memory_is_opened_alone(archive: CountingArchive, tmp_path: Path) -> None:
    cases = opened(archive, tmp_path, max_bytes=100)
    cases.open(STUDY, "1.2.100")
    cases.open(STUDY, "1.2.101")
    gc.collect()
    assert cases.held_bytes == OPEN_BYTES
    assert cases.open(STUDY, "1.2.101") is cases.open(STUDY, "1.2.101")
    assert archive.loads("1.2.101") == 1
    cases.close()


def test_a_case_that_somebody_still_holds_is_not_read_again(archive: CountingArchive, tmp_path: Path) -> None:
    cases = opened(archive, tmp_path, max_bytes=OPEN_BYTES)
    held = cases.open(STUDY, "1.2.100")
    cases.open(STUDY, "1.2.101")
    assert not cases.is_open(STUDY, "1.2.100")
    assert cases.open(STUDY, "1.2.100") is held
    assert archive.loads("1.2.100") == 1
    cases.close()


def test_a_segmentation_that_came_later_is_read_when_it_is_asked_for(
    archive: CountingArchive, cases: OpenCases
) -> None:
    first = cases.open(STUDY, "1.2.100", must_have="1.3.100")
    store(archive, drawn_on(images("1.2.100"), "1.3.900"))
    assert cases.open(STUDY, "1.2.100") is first
    second = cases.open(STUDY, "1.2.100", must_have="1.3.900")
    assert {one.record.sop_instance_uid for one in second.case.segmentations} == {"1.3.100", "1.3.900"}
    assert cases.open(STUDY, "1.2.100", must_have="1.3.100") is second
    assert archive.loads("1.2.100") == 2


def test_a_segmentation_in_another_study_is_shown_where_it_belongs(archive: CountingArchive, cases: OpenCases) -> None:
    store(archive, drawn_on(images("1.2.100"), "1.3.900", StudyInstanceUID="1.2.77"))
    found = cases.open(STUDY, "1.2.100", must_have="1.3.900")
    assert found.segmentation_index("1.3.900") == 1
    cases.open(STUDY, "1.2.100", must_have="1.3.100")
    cases.forget(STUDY, "1.2.100")
    assert not cases.is_open(STUDY, "1.2.100")


def test_a_segmentation_that_is_not_there_costs_no_reading(archive: CountingArchive, cases: OpenCases) -> None:
    cases.open(STUDY, "1.2.100")
    for _ in range(3):
        with pytest.raises(NothingToShow, match=r"1\.3\.999 is not in the archive"):
            cases.open(STUDY, "1.2.100", must_have="1.3.999")
    assert archive.loads("1.2.100") == 1


def test_one_that_cannot_be_read_is_left_out_with_its_reason_and_read_once(
    archive: CountingArchive, cases: OpenCases
) -> None:
    broken = drawn_on(images("1.2.100"), "1.3.900")
    broken.PixelData = broken.PixelData[:10]
    store(archive, broken)
    for _ in range(2):
        found = cases.open(STUDY, "1.2.100", must_have="1.3.900")
        with pytest.raises(NoSuchSegment, match=r"1\.3\.900 cannot be shown: .*pixel"):
            scene(found, "1.3.900", 1)
    assert archive.loads("1.2.100") == 1


def test_one_on_another_series_with_the_same_frame_of_reference_is_not_shown(cases: OpenCases) -> None:
    found = cases.open(STUDY, "1.2.100")
    assert [one.record.sop_instance_uid for one in found.case.segmentations] == ["1.3.100"]
    assert set(found.excluded) == {"1.3.101", "1.3.102"}


def test_errors_are_told_to_all_who_wait_and_forgotten(archive: CountingArchive, cases: OpenCases) -> None:
    waiting = threading.Semaphore(0)
    go_on = threading.Event()

    def fail() -> None:
        waiting.release()
        go_on.wait(30)
        raise PeerUnavailable("the archive does not answer")

    archive.before_fetch = fail
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(cases.open, STUDY, "1.2.100") for _ in range(4)]
        waiting.acquire()
        assert cases.progress(STUDY, "1.2.100") == ("fetching images", 0, 6)
        go_on.set()
        for one in asked:
            with pytest.raises(PeerUnavailable):
                one.result(30)
    archive.before_fetch = lambda: None
    assert cases.progress(STUDY, "1.2.100") is None
    assert cases.open(STUDY, "1.2.100").size_bytes == OPEN_BYTES


def test_a_series_that_is_not_there_or_has_nothing_drawn_on_it_is_an_input_error(
    archive: CountingArchive, cases: OpenCases
) -> None:
    with pytest.raises(NothingToShow, match=r"1\.2\.999 is no longer in the archive"):
        cases.open(STUDY, "1.2.999")
    store(archive, *images("1.2.500"))
    with pytest.raises(InputError, match="no segmentation"):
        cases.open(STUDY, "1.2.500")


def test_files_are_gone_when_a_case_is_open_and_leftovers_of_the_dead_are_removed(
    archive: CountingArchive, tmp_path: Path
) -> None:
    for name, age_s in (("pictures-old", 100_000), ("pictures-new", 10), ("case-old", 100_000)):
        folder = tmp_path / "work" / name
        folder.mkdir(parents=True)
        (folder / "x").write_bytes(b"x")
        os.utime(folder, (time.time() - age_s,) * 2)
    cases = opened(archive, tmp_path)
    cases.open(STUDY, "1.2.100")
    assert {path.name for path in (tmp_path / "work").iterdir()} == {"pictures-new", "case-old"}
    cases.close()


def test_preloading_opens_a_case_for_who_comes_next(archive: CountingArchive, cases: OpenCases) -> None:
    cases.preload(STUDY, "1.2.101")
    wait_until(lambda: cases.is_open(STUDY, "1.2.101"))
    cases.open(STUDY, "1.2.101")
    assert archive.loads("1.2.101") == 1


def test_preloading_puts_no_case_out_that_is_looked_at(archive: CountingArchive, tmp_path: Path) -> None:
    cases = opened(archive, tmp_path, max_bytes=OPEN_BYTES)
    first = cases.open(STUDY, "1.2.100")
    cases.preload(STUDY, "1.2.101")
    wait_until(lambda: archive.loads("1.2.101") == 1 and cases.progress(STUDY, "1.2.101") is None)
    assert cases.is_open(STUDY, "1.2.100")
    assert not cases.is_open(STUDY, "1.2.101")
    assert cases.open(STUDY, "1.2.100") is first
    cases.close()


def test_a_case_opened_in_passing_puts_none_out_that_is_looked_at(archive: CountingArchive, tmp_path: Path) -> None:
    cases = opened(archive, tmp_path, max_bytes=OPEN_BYTES)
    looked_at = cases.open(STUDY, "1.2.100")
    taken = cases.open(STUDY, "1.2.101", must_have="1.3.101", in_passing=True)
    assert taken.segmentation_index("1.3.101") == 0
    assert cases.open(STUDY, "1.2.101", in_passing=True) is taken  # as long as somebody holds it
    assert cases.is_open(STUDY, "1.2.100")
    assert not cases.is_open(STUDY, "1.2.101")
    assert cases.open(STUDY, "1.2.100") is looked_at
    del taken
    gc.collect()
    assert cases.held_bytes == OPEN_BYTES
    assert cases.open(STUDY, "1.2.101").size_bytes == OPEN_BYTES
    assert not cases.is_open(STUDY, "1.2.100")
    cases.close()


def test_a_preloaded_case_makes_room_before_the_one_used_last(archive: CountingArchive, tmp_path: Path) -> None:
    cases = opened(archive, tmp_path, max_bytes=2 * OPEN_BYTES)
    cases.open(STUDY, "1.2.100")
    cases.preload(STUDY, "1.2.101")
    wait_until(lambda: cases.is_open(STUDY, "1.2.101"))
    cases.preload(STUDY, "1.2.102")
    wait_until(lambda: cases.is_open(STUDY, "1.2.102"))
    assert [cases.is_open(STUDY, f"1.2.{n}") for n in (100, 101, 102)] == [True, False, True]
    cases.close()


def test_what_goes_wrong_while_preloading_is_nobodys_error(archive: CountingArchive, cases: OpenCases) -> None:
    cases.preload(STUDY, "1.2.999")
    cases.preload(STUDY, "1.2.101")
    wait_until(lambda: cases.is_open(STUDY, "1.2.101"))
    with pytest.raises(NothingToShow):
        cases.open(STUDY, "1.2.999")


def test_who_opens_what_is_being_preloaded_waits_for_that(archive: CountingArchive, tmp_path: Path) -> None:
    cases = opened(archive, tmp_path, max_bytes=OPEN_BYTES)
    cases.open(STUDY, "1.2.100")
    is_fetching, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        is_fetching.set()
        go_on.wait(30)

    archive.before_fetch = wait
    cases.preload(STUDY, "1.2.101")
    assert is_fetching.wait(30)
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(cases.open, STUDY, "1.2.101")
        # It is wanted as soon as somebody waits for it, although there is no room beside the other.
        wait_until(lambda: cases._loads[STUDY, "1.2.101"].is_wanted)
        go_on.set()
        assert asked.result(30).case.ct.record.series_instance_uid == "1.2.101"
    assert archive.loads("1.2.101") == 1
    cases.close()


def test_nothing_is_opened_after_the_end(archive: CountingArchive, tmp_path: Path) -> None:
    cases = opened(archive, tmp_path)
    cases.open(STUDY, "1.2.100")
    cases.close()
    assert cases.held_bytes == 0
    with pytest.raises(Closed):
        cases.open(STUDY, "1.2.101")
    cases.preload(STUDY, "1.2.101")


@pytest.mark.slow
def test_many_threads_on_many_cases_stay_within_the_memory(tmp_path: Path) -> None:
    archive = with_cases(tmp_path / "archive", 6)
    cases = opened(archive, tmp_path, max_bytes=3 * OPEN_BYTES)

    def look(number: int) -> int:
        found = cases.open(STUDY, f"1.2.{100 + number % 6}")
        return len(plane(found, "axial", number % 6, window=SOFT, focus=[(0, 0)]).image)

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(look, range(120)))
    gc.collect()
    assert cases.held_bytes <= 3 * OPEN_BYTES
    cases.close()


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell the memory of a process")
def test_memory_of_the_process_follows_the_limit(tmp_path: Path) -> None:
    where = grid(40, (256, 256))
    archive = CountingArchive(tmp_path / "archive")
    for number in range(100, 106):
        ct = images(f"1.2.{number}", where)
        store(archive, *ct, drawn_on(ct, f"1.3.{number}", where))
    size = 40 * 256 * 256 * 3
    cases = opened(archive, tmp_path, max_bytes=2 * size)
    cases.open(STUDY, "1.2.100")
    cases.open(STUDY, "1.2.101")
    gc.collect()
    before = resident_bytes()
    for _ in range(2):
        for number in range(100, 106):
            cases.open(STUDY, f"1.2.{number}")
    gc.collect()
    assert cases.held_bytes <= 2 * size
    # Twelve cases have gone through; allocators may keep room for one or two.
    assert resident_bytes() - before < 3 * size
    cases.close()


# Kinds of objects


def test_enhanced_ct_is_shown(tmp_path: Path) -> None:
    where = grid(6, (16, 20))
    hu = hu_pattern((6, 16, 20))
    ct = enhanced_ct(where, hu, uid="1.2.600.1", SeriesInstanceUID="1.2.600", StudyInstanceUID=STUDY)
    assert ct.SOPClassUID == ENHANCED_CT_CLASS
    assert_shown(tmp_path, [ct], drawn_on([ct], "1.3.600", where), hu)


def test_oblique_volumes_are_shown(tmp_path: Path) -> None:
    where = grid(6, (16, 20), orientation=rotated((10, 20, 15)))
    ct = images("1.2.600", where)
    assert_shown(tmp_path, ct, drawn_on(ct, "1.3.600", where), hu_pattern((6, 16, 20)))


def test_uneven_slices_are_shown(tmp_path: Path) -> None:
    where = grid(6, (16, 20))
    where.origins[3:, 2] += 1.3
    ct = images("1.2.600", where)
    assert_shown(tmp_path, ct, drawn_on(ct, "1.3.600", where), hu_pattern((6, 16, 20)))


def test_label_maps_are_shown(tmp_path: Path) -> None:
    where = grid(6, (16, 20))
    ct = images("1.2.600", where)
    volume = blobs((6, 16, 20)).astype(np.uint8)
    frames = [Frame(number, None, plane_of) for number, plane_of in enumerate(volume)]
    drawn = seg(
        where, frames, [1, 2, 3], "LABELMAP", ct, "1.3.600", StudyInstanceUID=STUDY, SeriesInstanceUID="1.3.600.9"
    )
    assert_shown(tmp_path, ct, drawn, hu_pattern((6, 16, 20)))


def test_overlapping_segments_are_shown(tmp_path: Path) -> None:
    where = grid(6, (16, 20))
    ct = images("1.2.600", where)
    whole = np.zeros((16, 20), np.uint8)
    whole[2:12, 3:15] = 1
    part = np.zeros_like(whole)
    part[4:8, 5:9] = 1
    frames = [Frame(number, segment, mask) for segment, mask in ((1, whole), (2, part)) for number in range(6)]
    drawn = seg(where, frames, [1, 2], "BINARY", ct, "1.3.600", StudyInstanceUID=STUDY, SeriesInstanceUID="1.3.600.9")
    assert_shown(tmp_path, ct, drawn, hu_pattern((6, 16, 20)))


def assert_shown(tmp_path: Path, ct: list[Dataset], drawn: Dataset, hu: np.ndarray) -> None:
    archive = CountingArchive(tmp_path / "archive")
    store(archive, *ct, drawn)
    cases = opened(archive, tmp_path)
    found = cases.open(STUDY, "1.2.600", must_have="1.3.600")
    assert np.array_equal(np.sort(found.case.ct.hu, axis=None), np.sort(hu, axis=None))
    described = scene(found, "1.3.600", 1)
    assert described["start_reason"] == "segment"
    for name, view in described["views"].items():
        index = described["start"][view["axes"]["through"]]
        shown = plane(found, name, index, window=SOFT, focus=[(0, 0)])
        assert [one.kind for one in shown.contours][-1] == "strong"
        assert (shown.rows, shown.columns) == (view["rows"], view["columns"])
    cases.close()
