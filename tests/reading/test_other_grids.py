"""A SEG on another grid than its CT: every CT voxel takes the SEG voxel it lies in, checked one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segqa_dicom.reading.ct import read_ct
from segqa_dicom.reading.seg import read_seg
from tests.reading import factories as f
from tests.reading.factories import Grid, grid, rotated

CT = grid(6, (8, 10), (1.0, 1.0), 3.0)
THIN = grid(13, (8, 10), (1.0, 1.0), 1.0)
OBLIQUE = grid(6, (8, 10), (1.0, 1.5), 2.0, (5, -3, 2), rotated((20, -15, 30)))
TILTED = grid(6, (8, 10), (1.0, 1.0), 3.0, drift=(0, 0.8, 0))
SAGITTAL = grid(6, (8, 10), (1.0, 1.0), 3.0, orientation=(0, 1, 0, 0, 0, -1))
CORONAL = grid(6, (8, 10), (1.0, 1.0), 3.0, orientation=(1, 0, 0, 0, 0, -1))


def shifted(base: Grid, by: tuple[float, float, float]) -> Grid:
    return Grid(base.origins + np.array(by), base.orientation, base.spacing, base.matrix, base.step)


GRIDS = [
    pytest.param(CT, CT, id="same"),
    pytest.param(CT, grid(6, (16, 20), (0.5, 0.5), 3.0, (-0.25, -0.25, 0)), id="finer in plane"),
    pytest.param(CT, grid(6, (4, 5), (2.0, 2.0), 3.0, (0.5, 0.5, 0)), id="coarser in plane"),
    pytest.param(CT, grid(6, (3, 4), (2.7, 2.3), 3.0, (0.4, 0.3, 0)), id="coarser by an odd factor"),
    pytest.param(CT, grid(18, (8, 10), (1.0, 1.0), 1.0, (0, 0, -1)), id="1 mm SEG on 3 mm CT"),
    pytest.param(CT, grid(16, (8, 10), (1.0, 1.0), 1.0), id="1 mm SEG on 3 mm CT, first planes equal"),
    pytest.param(CT, grid(9, (8, 10), (1.0, 1.0), 2.0), id="2 mm SEG on 3 mm CT"),
    pytest.param(CT, grid(14, (8, 10), (1.0, 1.0), 1.25, (0, 0, 0.1)), id="1.25 mm SEG on 3 mm CT"),
    pytest.param(THIN, grid(5, (8, 10), (1.0, 1.0), 3.0), id="3 mm SEG on 1 mm CT, planes coincide"),
    pytest.param(THIN, grid(5, (8, 10), (1.0, 1.0), 3.0, (0, 0, 0.4)), id="3 mm SEG on 1 mm CT, planes between"),
    pytest.param(THIN, grid(7, (8, 10), (1.0, 1.0), 2.0), id="2 mm SEG on 1 mm CT"),
    pytest.param(THIN, grid(10, (8, 10), (1.0, 1.0), 1.3), id="1.3 mm SEG on 1 mm CT"),
    pytest.param(CT, shifted(CT, (2, -3, 0)), id="shifted by whole pixels"),
    pytest.param(CT, shifted(CT, (0.3, 0.45, 0)), id="shifted by less than half a pixel"),
    pytest.param(CT, shifted(CT, (0.5, 0.5, 0)), id="shifted by half a pixel"),
    pytest.param(CT, shifted(CT, (-0.7, 1.6, 0)), id="shifted by fractional pixels"),
    pytest.param(CT, shifted(CT, (0, 0, 1.2)), id="shifted along slices"),
    pytest.param(CT, shifted(CT, (0, 0, 1.5)), id="shifted by half a slice"),
    pytest.param(CT, shifted(CT, (0, 0, -4.0)), id="shifted by more than a slice"),
    pytest.param(CT, grid(6, (8, 10), step=-3.0, origin=(0, 7, 0), orientation=(1, 0, 0, 0, -1, 0)), id="rows flipped"),
    pytest.param(
        CT, grid(6, (8, 10), step=-3.0, origin=(9, 0, 0), orientation=(-1, 0, 0, 0, 1, 0)), id="columns flipped"
    ),
    pytest.param(CT, grid(6, (8, 10), origin=(9, 7, 0), orientation=(-1, 0, 0, 0, -1, 0)), id="both flipped"),
    pytest.param(CT, grid(6, (10, 8), step=-3.0, orientation=(0, 1, 0, 1, 0, 0)), id="transposed"),
    pytest.param(CT, grid(6, (8, 10), step=-3.0, origin=(0, 0, 15)), id="reversed slice direction"),
    pytest.param(CT, grid(8, (6, 9), (1.3, 1.1), 2.5, (1, 0, 0), rotated((0, 0, 25))), id="rotated in plane"),
    pytest.param(CT, grid(9, (7, 9), (1.3, 1.1), 2.0, (1, 0, -1), rotated((15, -10, 25))), id="oblique"),
    pytest.param(CT, grid(10, (9, 8), (2.0, 1.0), -1.0, (0, 0, 15), (0, 1, 0, 0, 0, -1)), id="sagittal SEG"),
    pytest.param(CT, grid(3, (4, 5), (1.0, 1.0), 3.0, (3, 2, 6)), id="cropped"),
    pytest.param(CT, grid(10, (14, 16), (1.0, 1.0), 3.0, (-3, -3, -6)), id="larger than the CT"),
    pytest.param(CT, grid(1, (8, 10), (1.0, 1.0), 3.0, (0, 0, 6)), id="one plane"),
    pytest.param(CT, grid(1, (16, 20), (0.5, 0.5), 3.0, (0, 0, 6)), id="one finer plane"),
    pytest.param(OBLIQUE, OBLIQUE, id="oblique CT, same"),
    pytest.param(OBLIQUE, grid(6, (8, 10), (1.2, 1.2), 2.5, (5, -3, 2)), id="axial SEG on an oblique CT"),
    pytest.param(TILTED, TILTED, id="tilted gantry, same"),
    pytest.param(TILTED, CT, id="straight SEG on a tilted CT"),
    pytest.param(CT, TILTED, id="tilted SEG on a straight CT"),
    pytest.param(SAGITTAL, SAGITTAL, id="sagittal CT, same"),
    pytest.param(CORONAL, CORONAL, id="coronal CT, same"),
    pytest.param(CORONAL, grid(10, (9, 10), (2.0, 1.0), 2.0, (0, -1, 2), f.AXIAL), id="axial SEG on coronal CT"),
    pytest.param(grid(1), grid(1), id="single slices"),
    pytest.param(grid(1, step=5.0), grid(4, step=1.0, origin=(0, 0, -1)), id="four planes on a single slice"),
]


def on_disk(tmp_path: Path, ct_grid: Grid, **more: object):
    images = f.ct_images(ct_grid)
    return images, read_ct(f.save_all(images, tmp_path / "ct"), f.LIMITS)


def expected_order(ct_grid: Grid, volume: np.ndarray) -> np.ndarray:
    """Slices of the reader ascend along their normal."""
    return volume[np.argsort(ct_grid.origins @ ct_grid.normal)]


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
@pytest.mark.parametrize(("ct_grid", "seg_grid"), GRIDS)
def test_every_ct_voxel_takes_the_seg_voxel_it_lies_in(
    tmp_path: Path, ct_grid: Grid, seg_grid: Grid, kind: str
) -> None:
    images, ct = on_disk(tmp_path, ct_grid)
    volume = f.blobs((len(seg_grid.origins), *seg_grid.matrix))
    frames = f.frames_of(volume, kind)
    random = np.random.default_rng(1)
    frames = [frames[n] for n in random.permutation(len(frames))]
    path = f.save(f.seg(seg_grid, frames, [1, 2, 3], kind, images), tmp_path / "seg.dcm")

    found = read_seg(path, ct, f.LIMITS)

    wanted, tie = f.nearest_reference(ct_grid, seg_grid, volume)
    wanted, tie = expected_order(ct_grid, wanted), expected_order(ct_grid, tie)
    for number in (1, 2, 3):
        differs = (f.labels_of(found, number) != (wanted == number)) & ~tie
        assert not differs.any(), f"segment {number}: {differs.sum()} voxels differ, first {np.argwhere(differs)[0]}"


@pytest.mark.parametrize(
    "stated",
    [
        pytest.param((3.0, 3.0), id="both"),
        pytest.param((None, 3.0), id="thickness only"),
        pytest.param((3.0, None), id="spacing only"),
        pytest.param((None, None), id="nothing"),
    ],
)
def test_a_thick_seg_on_a_thin_ct_leaves_no_slice_empty_whatever_it_states(tmp_path: Path, stated: tuple) -> None:
    images, ct = on_disk(tmp_path, THIN)
    where = grid(5, (8, 10), step=3.0)
    volume = np.ones((5, 8, 10), np.uint8)
    path = f.save(f.seg(where, f.frames_of(volume), ct=images, step=stated[0], thickness=stated[1]), tmp_path / "s.dcm")
    found = read_seg(path, ct, f.LIMITS)
    assert f.labels_of(found, 1).all()
    assert found.facts.resampled


def test_a_thick_seg_that_leaves_out_empty_frames_does_not_fill_them(tmp_path: Path) -> None:
    images, ct = on_disk(tmp_path, THIN)
    where = grid(5, (8, 10), step=3.0)
    volume = np.zeros((5, 8, 10), np.uint8)
    volume[[0, 2, 4], 2:5, 3:6] = 1
    for step in (3.0, None):
        path = f.save(f.seg(where, f.frames_of(volume), ct=images, step=step), tmp_path / "s.dcm")
        found = read_seg(path, ct, f.LIMITS)
        wanted, tie = f.nearest_reference(THIN, where, volume)
        assert not ((f.labels_of(found, 1) != (wanted == 1)) & ~tie).any()


def test_a_sparse_seg_of_ct_slices_stays_on_them(tmp_path: Path) -> None:
    images, ct = on_disk(tmp_path, THIN)
    frames = [f.Frame(k, 1, np.ones((8, 10), bool)) for k in (0, 3, 6)]
    path = f.save(f.seg(THIN, frames, ct=images), tmp_path / "s.dcm")
    found = read_seg(path, ct, f.LIMITS)
    assert f.labels_of(found, 1).any(axis=(1, 2)).nonzero()[0].tolist() == [0, 3, 6]
    assert not found.facts.resampled


@pytest.mark.parametrize("noise_mm", [0.0005, 0.005, 0.02, 0.04])
@pytest.mark.parametrize("spacing", [1.0, 0.5])
def test_noise_in_written_frame_positions_loses_no_segment(tmp_path: Path, noise_mm: float, spacing: float) -> None:
    """Also on another grid, where frames of several segments form one plane though their positions differ a little."""
    images, ct = on_disk(tmp_path, CT)
    matrix = (int(8 / spacing), int(10 / spacing))
    where = grid(6, matrix, (spacing, spacing), origin=(0.25 * (spacing < 1), 0, 0))
    volume = f.blobs((6, *matrix))
    frames = f.frames_of(volume)
    random = np.random.default_rng(3)

    def jitter(dataset: object) -> None:
        for item in dataset.PerFrameFunctionalGroupsSequence:
            plane = item.PlanePositionSequence[0]
            z = float(plane.ImagePositionPatient[2]) + random.uniform(-noise_mm, noise_mm)
            plane.ImagePositionPatient = [*map(str, plane.ImagePositionPatient[:2]), f"{z:.5f}"]

    path = f.save(f.seg(where, frames, ct=images, edit=jitter), tmp_path / "s.dcm")
    found = read_seg(path, ct, f.LIMITS)
    wanted, tie = f.nearest_reference(CT, where, volume)
    for number in (1, 2, 3):
        assert not ((f.labels_of(found, number) != (wanted == number)) & ~tie).any()


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
@pytest.mark.parametrize("spacing", [pytest.param(1.0, id="CT grid"), pytest.param(0.5, id="finer grid")])
def test_frames_and_voxels_beyond_the_ends_are_counted_once(tmp_path: Path, kind: str, spacing: float) -> None:
    images, ct = on_disk(tmp_path, CT)
    scale = int(1 / spacing)
    shift = (spacing - 1) / 2
    where = grid(9, (8 * scale, 10 * scale), (spacing, spacing), 3.0, (shift, shift, -6))
    volume = np.zeros((9, *where.matrix), np.uint8)
    volume[:, :2, :3], volume[:, 4:6, 4:7], volume[:, 3:4, 8:] = 1, 2, 3
    frames = f.frames_of(volume, kind)
    path = f.save(f.seg(where, frames, [1, 2, 3], kind, images), tmp_path / "s.dcm")
    found = read_seg(path, ct, f.LIMITS)
    per_plane = 1 if kind == "LABELMAP" else 3
    assert found.facts.frames_outside_ct == 3 * per_plane
    assert [s.voxels_outside_ct for s in found.segments] == [int((volume[[0, 1, 8]] == n).sum()) for n in (1, 2, 3)]
    assert found.facts.outside_location_mm is not None
    assert not -1.5 <= found.facts.outside_location_mm[2] <= 16.5


def test_a_sagittal_seg_within_an_axial_ct_has_no_frame_outside(tmp_path: Path) -> None:
    images, ct = on_disk(tmp_path, CT)
    where = grid(10, (9, 8), (2.0, 1.0), -1.0, (0, 0, 30), (0, 1, 0, 0, 0, -1))
    volume = np.zeros((10, 9, 8), np.uint8)
    volume[:, 8, :] = 1  # lies at z = 14; the first rows, and with them the frames' positions, above the CT
    path = f.save(f.seg(where, f.frames_of(volume), ct=images), tmp_path / "s.dcm")
    found = read_seg(path, ct, f.LIMITS)
    assert found.segments[0].voxels_outside_ct == 0
    assert found.facts.frames_outside_ct == 0


def test_uneven_ct_slices_reach_half_way_to_their_neighbours(tmp_path: Path) -> None:
    base = grid(4)
    uneven = Grid(np.array([[0, 0, z] for z in (0.0, 1.0, 3.5, 4.5)]), base.orientation, base.spacing, base.matrix, 1.0)
    images, ct = on_disk(tmp_path, uneven)
    where = grid(19, step=0.25)
    volume = np.ones((19, 8, 10), np.uint8)
    path = f.save(f.seg(where, f.frames_of(volume), ct=images), tmp_path / "s.dcm")
    found = read_seg(path, ct, f.LIMITS)
    assert found.segments[0].voxels_outside_ct == 0
    assert f.labels_of(found, 1).all()


def test_frames_cropped_each_to_its_own_segment_are_put_where_they_say(tmp_path: Path) -> None:
    images, ct = on_disk(tmp_path, CT)
    full = np.ones((3, 4), bool)
    where = Grid(np.array([[1.0, 2, 3], [5, 4, 3], [1, 2, 6]]), f.AXIAL, (1.0, 1.0), (3, 4), 3.0)
    frames = [f.Frame(0, 1, full), f.Frame(1, 2, full), f.Frame(2, 1, full)]
    path = f.save(f.seg(where, frames, ct=images), tmp_path / "s.dcm")
    found = read_seg(path, ct, f.LIMITS)
    one, two = np.zeros((6, 8, 10), bool), np.zeros((6, 8, 10), bool)
    one[1:3, 2:5, 1:5] = True
    two[1, 4:7, 5:9] = True
    assert (f.labels_of(found, 1) == one).all()
    assert (f.labels_of(found, 2) == two).all()


def test_sixty_thousand_labels_on_another_grid_are_no_endless_loop(tmp_path: Path) -> None:
    images, ct = on_disk(tmp_path, CT)
    where = grid(6, (256, 256), (0.05, 0.05), 3.0)
    labels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    frames = [f.Frame(k, None, labels) for k in range(6)]
    path = f.save(f.seg(where, frames, [1, 7], "LABELMAP", images), tmp_path / "s.dcm")
    found = read_seg(path, ct, f.LIMITS)
    assert len(found.facts.undeclared_numbers) == 65533
