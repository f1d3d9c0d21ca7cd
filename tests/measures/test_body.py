"""Air around the patient, and the voxels of segments in it."""

from __future__ import annotations

import numpy as np
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


def test_it_is_what_the_definition_says_on_random_bodies() -> None:
    random = np.random.default_rng(0)
    hu = np.where(ndimage.gaussian_filter(random.normal(size=(24, 40, 40)), (0, 3, 3)) > 0.03, 40, -1000).astype(
        np.int16
    )
    expected = 0
    for k in range(8, 16):
        air, _ = ndimage.label(hu[k] <= -300)
        edge = set(np.concatenate([air[0], air[-1], air[:, 0], air[:, -1]])) - {0}
        around = ndimage.binary_erosion(np.isin(air, list(edge)), np.ones((3, 3)), border_value=1)
        expected += int(around[10:30, 10:30].sum())
    assert counts(hu, Part("liver", LIVER, [box(8, 10, 10, (8, 20, 20))])) == [expected]


def test_without_hu_nothing_is_said() -> None:
    volume = ct(facts=CtFacts(hu_defined=False, hu_note="x"))
    assert outside_body([segmentation([Part("liver", LIVER, [box(8, 0, 15)])])], volume) == ((None,),)
