"""Air around the patient, and the voxels of segments in it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from segqa_dicom.measures.body import outside_body
from segqa_dicom.model import CtFacts
from tests.scenes import LIVER, SPLEEN, Part, body_hu, box, ct, segmentation


def counts(hu: np.ndarray, *parts: Part) -> list[int]:
    (found,) = outside_body([segmentation(parts)], ct(hu))
    return [one.voxel_count for one in found if one is not None]


def test_voxels_in_the_air_are_counted_but_for_the_skin() -> None:
    # Body from row 4 on: rows 0-2 are air, row 3 is next to it.
    (found,) = outside_body([segmentation([Part("liver", LIVER, [box(8, 0, 15, 8)])])], ct(body_hu()))
    assert found[0] is not None
    assert found[0].voxel_count == 8 * 3 * 8
    assert found[0].location is not None
    assert found[0].location[1] <= 2


def test_air_inside_is_not_outside() -> None:
    hu = body_hu()
    hu[:, 12:20, 12:20] = -850
    assert counts(hu, Part("lung", SPLEEN, [box(8, 13, 13)])) == [0]


def test_a_table_is_no_air_but_the_air_between_is() -> None:
    hu = body_hu()
    hu[:, 38] = 100
    assert counts(hu, Part("liver", LIVER, [box(8, 36, 15, (2, 4, 4))])) == [0]


def random_hu(dtype: type = np.int16) -> np.ndarray:
    """Bodies with holes and inlets, and noise near the limit of air."""
    random = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(random.normal(size=(24, 40, 40)), (0, 3, 3))
    hu = np.where(smooth > 0.03, 40, -1000) + random.normal(0, 300, smooth.shape)
    return hu.astype(dtype)


def air_by_definition(hu: np.ndarray) -> np.ndarray:
    around = np.zeros(hu.shape, bool)
    for k, one in enumerate(hu):
        air, _ = ndimage.label(one <= -300)
        edge = set(np.concatenate([air[0], air[-1], air[:, 0], air[:, -1]])) - {0}
        around[k] = ndimage.binary_erosion(np.isin(air, list(edge)), np.ones((3, 3)), border_value=1)
    return around


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_it_is_what_the_definition_says_on_random_bodies(dtype: type) -> None:
    hu = random_hu(dtype)
    around = air_by_definition(hu)
    parts = [
        Part("liver", LIVER, [box(8, 10, 10, (8, 20, 20))]),
        Part("spleen", SPLEEN, [box(0, 0, 0, (24, 40, 40))]),
        Part("nowhere", LIVER, []),
    ]
    subject = segmentation(parts)
    assert len(subject.layers) == 2
    (found,) = outside_body([subject], ct(hu))
    for index, (segment, one) in enumerate(zip(subject.segments, found, strict=True)):
        assert one is not None
        where = np.argwhere(around & (subject.layers[segment.layer] == index + 1))
        assert one.voxel_count == len(where)
        first = where[where[:, 0] == where[0, 0]] if len(where) else where
        assert one.location == (tuple(first[len(first) // 2].tolist()) if len(where) else None)


def test_all_segmentations_are_held_against_the_same_air() -> None:
    one, other = segmentation([Part("a", LIVER, [box(8, 0, 15)])]), segmentation([Part("b", SPLEEN, [box(8, 15, 0)])])
    assert outside_body([one, other], ct()) == (*outside_body([one], ct()), *outside_body([other], ct()))


def test_body_that_fills_the_image_has_nothing_around_it() -> None:
    assert counts(np.full((24, 40, 40), 40, np.int16), Part("liver", LIVER, [box(0, 0, 0, (24, 40, 40))])) == [0]


def test_everything_is_outside_where_there_is_no_body() -> None:
    assert counts(np.full((24, 40, 40), -1000, np.int16), Part("liver", LIVER, [box(0, 0, 0)])) == [216]


def test_without_hu_nothing_is_said() -> None:
    volume = ct(facts=CtFacts(hu_defined=False, hu_note="x"))
    assert outside_body([segmentation([Part("liver", LIVER, [box(8, 0, 15)])])], volume) == ((None,),)
