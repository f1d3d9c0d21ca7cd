"""Contours lie on pixel edges in millimetres, and the patient is the right way round."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segqa_dicom.model import Case, CtFacts, Geometry
from segqa_dicom.rendering.contours import outlines
from segqa_dicom.rendering.finding_figure import COLOURS, finding_picture
from segqa_dicom.rendering.patient_planes import VIEWS, Axes, voxel_at
from segqa_dicom.rendering.windows import BONE, LUNG, SOFT, window_for
from tests.scenes import KIDNEY_LEFT, L1, LIVER, SHAPE, Part, box, case, coded, ct, geometry, segmentation

Point = tuple[float, float]


def loops(path: str) -> list[list[Point]]:
    """The corners (x, y) of each closed loop of a path, in pixels."""
    found = []
    for x, y, steps in re.findall(r"M(-?\d+) (-?\d+)l([-\d ]+)z", path):
        moves = np.array([int(value) for value in steps.split()]).reshape(-1, 2)
        corners = np.concatenate(([[int(x), int(y)]], np.array([int(x), int(y)]) + np.cumsum(moves, axis=0)))
        found.append([(float(u), float(v)) for u, v in corners / 2])
    return found


def walked(loop: list[Point]) -> set[Point]:
    """Every half-pixel point that a loop runs through."""
    found = set()
    for (x, y), (u, v) in zip(loop, [*loop[1:], loop[0]], strict=True):
        count = round(2 * max(abs(u - x), abs(v - y)))
        found |= {(x + (u - x) * n / count, y + (v - y) * n / count) for n in range(count)}
    return found


def edge_middles(labels: np.ndarray) -> set[Point]:
    """Middles (x, y) of all pixel edges between different values, in pixels; beyond the border there is nothing."""
    padded = np.pad(labels, 1)
    rows, columns = np.nonzero(padded[1:, 1:-1] != padded[:-1, 1:-1])
    found = {(c + 0.5, float(r)) for r, c in zip(rows.tolist(), columns.tolist(), strict=True)}
    rows, columns = np.nonzero(padded[1:-1, 1:] != padded[1:-1, :-1])
    return found | {(float(c), r + 0.5) for r, c in zip(rows.tolist(), columns.tolist(), strict=True)}


def test_the_outline_of_a_rectangle_lies_on_its_pixel_edges() -> None:
    mask = np.zeros((8, 9), np.uint8)
    mask[2:5, 3:7] = 1
    faint, strong = outlines(mask, {1})
    assert faint == ""
    (loop,) = loops(strong)
    # Columns 3 to 7, rows 2 to 5; each corner is cut between the middles of its two edges.
    assert loop == [(3.5, 2), (6.5, 2), (7, 2.5), (7, 4.5), (6.5, 5), (3.5, 5), (3, 4.5), (3, 2.5)]


@pytest.mark.parametrize("seed", range(5))
def test_outlines_pass_the_middle_of_every_edge_between_labels_and_nothing_else(seed: int) -> None:
    labels = np.random.default_rng(seed).integers(0, 3, (12, 15)).astype(np.uint8)
    points = {point for path in outlines(labels, {2}) for loop in loops(path) for point in walked(loop)}
    assert {(x, y) for x, y in points if (x % 1 == 0) != (y % 1 == 0)} == edge_middles(labels)


def test_an_ellipse_keeps_its_area_and_its_centre_in_mm() -> None:
    y, x = np.mgrid[:60, :50]
    mask = (((x - 22) / 15) ** 2 + ((y - 31) / 24) ** 2 <= 1).astype(np.uint8)
    (loop,) = loops(outlines(mask, {1})[1])
    corners = np.array(loop)
    following = np.roll(corners, -1, axis=0)
    area = abs(np.sum(corners[:, 0] * following[:, 1] - following[:, 0] * corners[:, 1])) / 2
    assert area == pytest.approx(mask.sum(), rel=0.02)
    assert corners.min(axis=0) == pytest.approx((22 + 0.5 - 15.5, 31 + 0.5 - 24.5))
    assert corners.max(axis=0) == pytest.approx((22 + 0.5 + 15.5, 31 + 0.5 + 24.5))


def test_pixels_that_meet_at_a_corner_and_touching_labels_have_loops_of_their_own() -> None:
    assert len(loops(outlines(np.eye(3, dtype=np.uint8), {1})[1])) == 3
    faint, strong = outlines(np.array([[1, 1, 2, 2]], np.uint8), {2})
    assert (len(loops(faint)), len(loops(strong))) == (1, 1)


def test_a_hole_is_a_loop() -> None:
    ring = np.ones((5, 5), np.uint8)
    ring[2, 2] = 0
    assert len(loops(outlines(ring)[0])) == 2


def test_nothing_to_outline_gives_nothing() -> None:
    assert outlines(np.zeros((4, 4), np.uint8)) == ("", "")


def drawn_mm(picture: str, kind: str) -> np.ndarray:
    """Corners (x, y) in mm of the contours of one kind in one SVG element."""
    scale = re.search(r"scale\(([\d.]+) ([\d.]+)\) translate\((-?\d+) (-?\d+)\)", picture)
    assert scale is not None
    across, down, x, y = (float(value) for value in scale.groups())
    paths = re.findall(rf'class="m\d+ {kind}[^"]*"[^>]* d="([^"]+)"', picture)
    points = 2 * np.array([point for path in paths for loop in loops(path) for point in loop])
    return (points + np.array([x, y])) * np.array([across, down])


def test_contours_lie_in_millimetres_where_the_voxels_are() -> None:
    found = case(segmentation([Part("liver", LIVER, [box(8, 15, 12, (5, 6, 7))])]))
    axial, coronal, sagittal = pictures_of(found, found.ct.geometry.point_at(9, 17, 14), [(0, 0)])
    # Voxels are 3 x 2 x 2 mm, the volume 72 x 80 x 80 mm; rows 15 to 21, columns 12 to 19, slices 8 to 13 from below.
    for picture, low, high in (
        (axial, (24, 30), (38, 42)),
        (coronal, (24, 33), (38, 48)),
        (sagittal, (30, 33), (42, 48)),
    ):
        corners = drawn_mm(picture, "strong")
        assert corners.min(axis=0) == pytest.approx(low)
        assert corners.max(axis=0) == pytest.approx(high)


def test_a_structure_that_fits_is_shown_whole_and_one_that_goes_on_is_not_closed() -> None:
    found = case(segmentation([Part("liver", LIVER, [box(8, 10, 2, (5, 6, 16))])]))
    corner = found.ct.geometry.point_at(9, 12, 16)
    whole, *_ = pictures_of(found, corner, [(0, 0)], size_mm=40)
    assert drawn_mm(whole, "strong").min() >= 0
    cut, *_ = pictures_of(found, corner, [(0, 0)], size_mm=20)
    assert drawn_mm(cut, "strong")[:, 0].min() < 0  # beyond the border: clipped, no line along it


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


def pictures_of(found: Case, *arguments: Any, **options: Any) -> list[str]:
    return finding_picture(found, *arguments, **options).split("</svg>")[:-1]


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
    for one, other in zip(
        pictures_of(turned(order, flips, axial), point, [(0, 0)]), pictures_of(axial, point, [(0, 0)]), strict=True
    ):
        assert without_slice(one) == without_slice(other)


def without_slice(picture: str) -> str:
    """Only a plane that is a slice of the scanner says its number."""
    return re.sub(r", slice \d+", "", picture)


def test_a_scan_with_the_feet_first_has_the_head_up_and_left_on_the_right() -> None:
    hu = np.full(SHAPE, -160, np.int16)
    hu[20:, :, 30:] = 240
    axial = case(segmentation([Part("liver", LIVER, [box(8, 15, 15)])]), volume=ct(hu))
    feet_first = turned((0, 1, 2), (1, 0, 1), axial)
    assert feet_first.ct.geometry.normal[2] == pytest.approx(-1)
    _, coronal, _ = finding_picture(feet_first, (0, 0, 66.0), []).split("</svg>")[:-1]
    data = re.search(r"base64,([^\"]+)", coronal)
    assert data is not None
    grey = np.array(Image.open(io.BytesIO(base64.b64decode(data[1]))))
    assert (grey[0, -1], grey[0, 0], grey[-1, -1]) == (255, 0, 0)


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
        assert ">20 mm</text>" in picture
        assert f'aria-label="{view.name} plane' in picture
    assert 'viewBox="0 0 80 80"' in pictures[0]
    assert 'viewBox="0 0 80 72"' in pictures[1]
    assert 'class="m0 strong"' in pictures[0]
    assert ", slice 11<" in pictures[0]
    assert "slice" not in pictures[1]


def test_voxels_outside_are_moved_to_the_border() -> None:
    assert voxel_at(geometry(), (1e4, -1e4, -1e4)) == (0, 0, SHAPE[2] - 1)


def test_those_at_fault_lie_on_top_and_the_others_keep_their_colour() -> None:
    parts = [Part("liver", LIVER, [box(8, 15, 12)]), Part("kidney", KIDNEY_LEFT, [box(8, 25, 12)])]
    found = case(segmentation(parts), segmentation(parts, uid="1.2.4.2"))
    axial, *_ = pictures_of(found, (0, 0, 30.0), [(0, 0), (1, 0)], blamed=[0])
    kinds = re.findall(r'<path class="(m\d [a-z ]+)" stroke="([^"]+)"', axial)
    first, second = COLOURS[:2]
    assert kinds == [("m0 faint", first), ("m1 faint", second), ("m1 strong", second), ("m0 strong blamed", first)]


def test_more_segmentations_than_colours_are_told_apart_by_dashes() -> None:
    one = segmentation([Part("liver", LIVER, [box(8, 15, 12)])])
    axial, *_ = pictures_of(case(*[one] * 9), (0, 0, 30.0), [(8, 0)])
    assert re.search(rf'class="m8 strong dashed" stroke="{COLOURS[0]}"', axial)


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


@pytest.mark.parametrize(
    ("label", "window"), [("Left rib 7", BONE), ("my_lung_nodule", LUNG), ("tribute", SOFT), ("hip_implant", BONE)]
)
def test_labels_help_where_codes_say_nothing(label: str, window: object) -> None:
    segment = segmentation([Part(label, coded("1"), [box(1, 1, 1)])]).segments[0]
    assert window_for(segment, 30) == window


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
