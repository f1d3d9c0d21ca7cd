"""Grids that nobody thought of: SEG and CT at random, held against the voxel by voxel reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segqa_dicom.reading.ct import read_ct
from segqa_dicom.reading.seg import read_seg
from tests.reading import factories as f
from tests.reading.factories import Grid
from tests.tiers import examples

ORIENTATIONS = [
    f.AXIAL,
    (1, 0, 0, 0, 0, -1),
    (0, 1, 0, 0, 0, -1),
    (-1, 0, 0, 0, 1, 0),
    (1, 0, 0, 0, -1, 0),
    (-1, 0, 0, 0, -1, 0),
    (0, 1, 0, 1, 0, 0),
]
ANGLE = st.integers(-45, 45)
ORIENTATION = st.one_of(st.sampled_from(ORIENTATIONS), st.tuples(ANGLE, ANGLE, ANGLE).map(f.rotated))
PLACE = st.tuples(*[st.integers(-400, 200).map(lambda n: n / 100)] * 3)


@st.composite
def ct_grids(draw: st.DrawFn) -> Grid:
    matrix = draw(st.tuples(st.integers(2, 6), st.integers(2, 6)))
    spacing = draw(st.tuples(st.sampled_from([1.0, 1.5, 0.7]), st.sampled_from([1.0, 1.2])))
    step = draw(st.sampled_from([1.0, 2.0, 3.0, 1.25]))
    return f.grid(draw(st.integers(1, 6)), matrix, spacing, step, draw(PLACE), draw(ORIENTATION))


@st.composite
def along_the_slices(draw: st.DrawFn, ct: Grid) -> Grid:
    """The pixel grid of the CT, other distances of planes, shifted along the normal."""
    step = ct.step * draw(st.sampled_from([1, 2, 3, 0.5, 1 / 3, 0.8, 1.5, 1.1, 0.9]))
    shift = ct.step * draw(st.sampled_from([0, 0.3, 0.5, -1, -2.2]))
    origin = ct.origins[0] + ct.normal * shift
    return f.grid(draw(st.integers(1, 8)), ct.matrix, ct.spacing, step, origin, ct.orientation)


@st.composite
def within_the_slices(draw: st.DrawFn, ct: Grid) -> Grid:
    """Planes of the CT, other pixels, shifted by whole and by fractional ones."""
    factor = st.sampled_from([1, 0.5, 2, 1.3])
    shift = ct.row_step * draw(st.sampled_from([0, 1, 0.3, 0.6, -1.4]))
    shift = shift + ct.column_step * draw(st.sampled_from([0, 2, 0.4, -0.7]))
    matrix = draw(st.tuples(st.integers(1, 7), st.integers(1, 7)))
    spacing = (ct.spacing[0] * draw(factor), ct.spacing[1] * draw(factor))
    return f.grid(draw(st.integers(1, 6)), matrix, spacing, ct.step, ct.origins[0] + shift, ct.orientation)


@st.composite
def anywhere(draw: st.DrawFn, ct: Grid) -> Grid:
    length = st.integers(50, 200).map(lambda n: n / 100)
    matrix = draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
    step = draw(st.integers(60, 300)) / 100 * draw(st.sampled_from([1, -1]))
    origin = ct.points(len(ct.origins) // 2)[0, 0] + draw(PLACE)
    return f.grid(draw(st.integers(1, 8)), matrix, (draw(length), draw(length)), step, origin, draw(ORIENTATION))


@examples(40)
@given(data=st.data(), ct=ct_grids(), seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(["BINARY", "LABELMAP"]))
def test_every_ct_voxel_takes_the_seg_voxel_it_lies_in_on_any_two_grids(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, ct: Grid, seed: int, kind: str
) -> None:
    where = data.draw(st.one_of(along_the_slices(ct), within_the_slices(ct), anywhere(ct)))
    random = np.random.default_rng(seed)
    volume = random.integers(0, 4, (len(where.origins), *where.matrix)).astype(np.uint8)
    if seed % 3 == 0:
        volume[random.random(len(volume)) < 0.4] = 0  # frames without voxels are left out
    volume[0, 0, 0] = max(volume[0, 0, 0], 1)
    folder = tmp_path_factory.mktemp("case")
    images = f.ct_images(ct)
    target = read_ct(f.save_all(images, folder / "ct"), f.LIMITS)

    found = read_seg(
        f.save(f.seg(where, f.frames_of(volume, kind), [1, 2, 3], kind, images), folder / "s"), target, f.LIMITS
    )

    wanted, tie = f.nearest_reference(ct, where, volume)
    for number in (1, 2, 3):
        assert not ((f.labels_of(found, number) != (wanted == number)) & ~tie).any()
