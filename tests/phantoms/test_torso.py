"""The torso is what it claims to be: tests of rules are only as good as their phantoms."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from segqa_dicom.anatomy import Side, opposite_key, side_in_words, side_of, structure_key
from segqa_dicom.phantoms import Phantom, torso
from segqa_dicom.phantoms.demo import VERTEBRAE
from segqa_dicom.phantoms.solids import axial_geometry, box, ellipsoid, paint, sphere
from segqa_dicom.phantoms.torso import IN_SEVERAL_PIECES

NEIGHBOURS = np.ones((3, 3, 3))
CUT_BY_THE_SCAN = ("spinal_cord", "femur_left", "femur_right", "esophagus", "trachea")


@cache
def phantom() -> Phantom:
    return torso((128, 160, 192))


def centroid_mm(label: str) -> np.ndarray:
    found = phantom()
    index = np.argwhere(found.labels == found.value_of(label)).astype(float)
    return found.geometry.to_world(index).mean(axis=0)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.8, 0.8), (2.5, 1.5, 0.7)])
def test_painted_solids_have_their_analytic_volume(spacing: tuple[float, float, float]) -> None:
    geometry = axial_geometry(tuple(int(80 / size) for size in spacing), spacing, lowest_z_mm=-40.0)
    for solid, volume in (
        (sphere((1.3, -2.2, 0.4), 20), 4 / 3 * np.pi * 20**3),
        (ellipsoid((0.3, 0.1, 2), (12, 18, 25)), 4 / 3 * np.pi * 12 * 18 * 25),
        (box((0.2, 0.3, 0.1), (10, 15, 20)), 8 * 10 * 15 * 20),
    ):
        labels = np.zeros(geometry.shape, np.uint8)
        paint(labels, 1, solid, geometry)
        assert labels.sum() * np.prod(spacing) == pytest.approx(volume, rel=0.04)


def test_what_was_painted_first_stays() -> None:
    geometry = axial_geometry((40, 40, 40), (1.0, 1.0, 1.0), lowest_z_mm=-20.0)
    labels = np.zeros(geometry.shape, np.uint8)
    paint(labels, 1, sphere((0, 0, 0), 10), geometry)
    before = labels.copy()
    paint(labels, 2, sphere((0, 0, 0), 15), geometry)
    assert (labels[before == 1] == 1).all()


def test_there_are_about_a_hundred_structures_and_all_have_voxels() -> None:
    assert len(phantom().structures) == 99
    assert set(np.unique(phantom().labels)) == set(range(100))


def test_every_structure_is_one_piece_where_anatomy_has_one() -> None:
    found = phantom()
    for value, structure in enumerate(found.structures, start=1):
        if structure.label not in IN_SEVERAL_PIECES:
            assert ndimage.label(found.labels == value, NEIGHBOURS)[1] == 1, structure.label


def test_structures_are_complete_but_for_those_that_leave_the_scan() -> None:
    found = phantom()
    ends = {int(value) for value in np.unique(found.labels[[0, -1]]) if value}
    labels = {found.structures[value - 1].label for value in ends}
    assert labels == {*CUT_BY_THE_SCAN, "common_carotid_artery_left", "common_carotid_artery_right"}


def test_left_is_at_greater_x() -> None:
    for structure in phantom().structures:
        side = side_in_words(structure.label)
        if structure.label != "lung_middle_lobe_right":  # its side is in its type: there is only one
            assert side_of(structure.codes) is side, structure.label
        if side is not None and structure.label.startswith(("kidney", "rib", "hip", "lung", "femur")):
            assert (centroid_mm(structure.label)[0] > 0) == (side is Side.LEFT), structure.label


def test_pairs_are_complete_and_codes_differ_by_side_only() -> None:
    keys = {structure_key(structure.codes) for structure in phantom().structures}
    assert len(keys) == len(phantom().structures)
    assert all(opposite_key(key) in keys for key in keys if opposite_key(key))


def test_vertebrae_and_ribs_follow_each_other_from_head_to_feet() -> None:
    for chain in (VERTEBRAE, *([f"rib_{side}_{n}" for n in range(1, 13)] for side in ("left", "right"))):
        heights = [centroid_mm(label)[2] for label in chain]
        assert heights == sorted(heights, reverse=True)


def test_vertebrae_do_not_touch_each_other() -> None:
    found = phantom()
    values = [found.value_of(label) for label in VERTEBRAE]
    for one, other in pairwise(values):
        grown = ndimage.binary_dilation(found.labels == one, NEIGHBOURS)
        assert not (grown & (found.labels == other)).any()


def test_neighbouring_vertebrae_are_alike_in_volume() -> None:
    found = phantom()
    volumes = [np.count_nonzero(found.labels == found.value_of(label)) for label in VERTEBRAE]
    assert all(0.8 < lower / upper < 1.35 for upper, lower in pairwise(volumes))


@pytest.mark.parametrize("side", ["left", "right"])
def test_every_rib_begins_at_its_vertebra(side: str) -> None:
    found = phantom()
    for number in range(1, 13):
        bone = found.labels == found.value_of(f"vertebrae_T{number}")
        away = ndimage.distance_transform_edt(~bone, sampling=found.geometry.spacing_mm)
        assert away[found.labels == found.value_of(f"rib_{side}_{number}")].min() < 8


def test_hu_are_those_of_the_tissue() -> None:
    found = phantom()
    for label, low, high in (("liver", 75, 115), ("lung_upper_lobe_left", -880, -780), ("aorta", 130, 180)):
        assert low < found.hu[found.labels == found.value_of(label)].mean() < high


def test_the_same_seed_gives_the_same_phantom() -> None:
    one, other = (torso((24, 30, 36), seed=5) for _ in range(2))
    assert np.array_equal(one.hu, other.hu)
    assert not np.array_equal(one.hu, torso((24, 30, 36), seed=6).hu)


@pytest.mark.parametrize("count", [20, 120])
def test_the_number_of_structures_can_be_chosen(count: int) -> None:
    assert len(torso((24, 30, 36), structure_count=count).structures) == count
