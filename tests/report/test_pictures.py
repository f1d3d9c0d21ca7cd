"""Contours lie on pixel edges in millimetres, and the patient is the right way round."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from segqa_dicom.model import Case, CtFacts, Geometry
from segqa_dicom.report.pictures import BONE, LUNG, SOFT, VIEWS, Axes, finding_picture, outline, voxel_at, window_for
from tests.scenes import KIDNEY_LEFT, L1, LIVER, SHAPE, Part, box, case, coded, ct, geometry, segmentation


def edges(path: str) -> set[tuple[str, int, int]]:
    """The unit edges of a path: (direction, x, y) of their upper left end."""
    found = set()
    for x, y, direction, length in re.findall(r"M(\d+) (\d+)([hv])(\d+)", path):
        for step in range(int(length)):
            across, down = (step, 0) if direction == "h" else (0, step)
            found.add((direction, int(x) + across, int(y) + down))
    return found


def test_the_outline_of_a_rectangle_is_its_edge() -> None:
    mask = np.zeros((8, 9), np.uint8)
    mask[2:5, 3:7] = 1
    expected = {("h", x, y) for x in range(3, 7) for y in (2, 5)} | {("v", x, y) for y in range(2, 5) for x in (3, 7)}
    assert edges(outline(mask)) == expected


def test_the_outline_of_any_mask_is_where_neighbours_differ() -> None:
    labels = np.random.default_rng(0).integers(0, 3, (12, 15)).astype(np.uint8)
    padded = np.pad(labels, 1)
    expected = {("h", c, r) for r in range(13) for c in range(15) if padded[r + 1, c + 1] != padded[r, c + 1]} | {
        ("v", c, r) for r in range(12) for c in range(16) if padded[r + 1, c + 1] != padded[r + 1, c]
    }
    assert edges(outline(labels)) == expected


def test_nothing_to_outline_gives_nothing() -> None:
    assert outline(np.zeros((4, 4), np.uint8)) == ""


def turned(order: tuple[int, int, int], flips: tuple[int, int, int], found: Case) -> Case:
    """The same scene, scanned with other axes: voxel axis n is axis order[n] of the axial one, perhaps reversed."""
    axial = found.ct.geometry
    steps = [np.array([0.0, 0.0, axial.slice_spacing_mm]), axial.row_step_mm, axial.column_step_mm]
    first = np.array(axial.slice_origins_mm[0])
    for axis in range(3):
        if flips[axis]:
            first = first + steps[order[axis]] * (axial.shape[order[axis]] - 1)
    new = [steps[order[axis]] * (-1 if flips[axis] else 1) for axis in range(3)]

    def move(volume: np.ndarray) -> np.ndarray:
        result = np.transpose(volume, order)
        for axis in range(3):
            if flips[axis]:
                result = np.flip(result, axis)
        return np.ascontiguousarray(result)

    shape = tuple(axial.shape[axis] for axis in order)
    origins = first + np.arange(shape[0])[:, None] * new[0]
    where = Geometry(shape, origins, new[1], new[2], float(np.linalg.norm(new[0])))
    volume = ct(move(found.ct.hu), where=where)
    parts = tuple(replace(part, layers=tuple(move(layer) for layer in part.layers)) for part in found.segmentations)
    return Case(volume, parts)


def right_handed(order: tuple[int, int, int], flips: tuple[int, int, int]) -> bool:
    """Slices must ascend along the normal, columns x rows."""
    unit = np.eye(3)[list(order)] * np.where(flips, -1, 1)[:, None]  # rows: directions in (z, y, x)
    k, i, j = unit[:, ::-1]  # as (x, y, z)
    return bool(np.cross(j, i) @ k > 0)


ORIENTATIONS = [
    (order, flips)
    for order in ((0, 1, 2), (2, 0, 1), (1, 0, 2), (2, 1, 0))
    for flips in np.ndindex(2, 2, 2)
    if right_handed(order, flips)
]


@pytest.mark.parametrize(("order", "flips"), ORIENTATIONS)
def test_pictures_are_the_same_however_the_patient_was_scanned(
    order: tuple[int, int, int], flips: tuple[int, int, int]
) -> None:
    hu = np.random.default_rng(0).integers(-200, 300, SHAPE).astype(np.int16)
    axial = case(segmentation([Part("liver", LIVER, [box(8, 15, 12, (5, 6, 7))])]), volume=ct(hu))
    point = axial.ct.geometry.point_at(9, 17, 14)
    assert finding_picture(turned(order, flips, axial), point, [(0, 0)]) == finding_picture(axial, point, [(0, 0)])


def test_the_patients_left_is_on_the_viewers_right_and_the_head_is_up() -> None:
    hu = np.full(SHAPE, -160, np.int16)
    hu[20:, :, 30:] = 240  # white: left and head
    pictures = finding_picture(
        case(segmentation([Part("liver", LIVER, [box(8, 15, 15)])]), volume=ct(hu)), (0, 0, 66.0), []
    )
    axial, coronal, _ = [
        np.array(Image.open(io.BytesIO(base64.b64decode(data))))
        for data in re.findall(r"data:image/png;base64,([^\"]+)", pictures)
    ]
    assert axial[5, -1] == 255
    assert axial[5, 0] == 0
    assert coronal[0, -1] == 255
    assert coronal[-1, -1] == 0
    assert coronal[0, 0] == 0


def test_every_picture_has_its_letters_and_true_proportions() -> None:
    found = case(segmentation([Part("liver", LIVER, [box(8, 15, 15)])]))
    pictures = finding_picture(found, (0, 0, 30.0), [(0, 0)]).split("</svg>")[:-1]
    assert len(pictures) == len(VIEWS)
    for picture, view in zip(pictures, VIEWS, strict=True):
        assert re.findall(r">([RLAPHF])</text>", picture) == list(view.letters)
    assert 'viewBox="0 0 80 80"' in pictures[0]
    assert 'viewBox="0 0 80 72"' in pictures[1]
    assert 'class="m0"' in pictures[0]


def test_voxels_outside_are_moved_to_the_border() -> None:
    assert voxel_at(geometry(), (1e4, -1e4, -1e4)) == (0, 0, SHAPE[2] - 1)


def test_axes_of_an_oblique_stack_are_the_nearest() -> None:
    c, s = np.cos(0.3), np.sin(0.3)
    row, column = np.array([-s, c, 0.0]), np.array([c, s, 0.0])
    origins = np.arange(4)[:, None] * np.array([0, 0, 2.0])
    axes = Axes(Geometry((4, 5, 6), origins, row, column, 2.0))
    assert axes.of_patient == (2, 1, 0)


@pytest.mark.parametrize(
    ("codes", "mean", "window"),
    [
        (L1, 200, BONE),
        (KIDNEY_LEFT, 900, SOFT),
        (coded("45653009"), -800, LUNG),
        (coded("1"), -700, LUNG),
        (coded("1"), 600, BONE),
        (coded("1"), None, SOFT),
    ],
)
def test_the_window_follows_the_structure(codes: object, mean: float | None, window: object) -> None:
    segment = segmentation([Part("x", codes, [box(1, 1, 1)])]).segments[0]
    assert window_for(segment, mean) == window


def test_values_that_are_not_hu_are_shown_by_their_own_range() -> None:
    hu = np.random.default_rng(0).integers(20000, 22000, SHAPE).astype(np.int16)
    volume = ct(hu, facts=CtFacts(hu_defined=False, hu_note="x"))
    picture = finding_picture(
        case(segmentation([Part("liver", LIVER, [box(8, 15, 15)])]), volume=volume), (0, 0, 30.0), []
    )
    data = re.search(r"base64,([^\"]+)", picture)
    assert data is not None
    grey = np.array(Image.open(io.BytesIO(base64.b64decode(data[1]))))
    assert grey.std() > 50
