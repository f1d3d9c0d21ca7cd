"""Planes have one pixel per voxel, the patient the right way round, contours where the voxels are."""

from __future__ import annotations

import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from segqa_dicom.model import Case, CtFacts, Geometry
from segqa_dicom.pictures import NoSuchPlane, OpenCase, Plane, plane, scene, to_mm, to_voxel
from segqa_dicom.rendering.contours import outlines
from segqa_dicom.rendering.patient_planes import VIEWS
from segqa_dicom.rendering.windows import BONE, SOFT, Window
from tests.report.test_pictures import ORIENTATIONS, turned
from tests.scenes import KIDNEY_LEFT, LIVER, SHAPE, SPLEEN, Part, box, case, ct, geometry, segmentation

PARTS = [Part("liver", LIVER, [box(8, 15, 12, (5, 6, 7))]), Part("kidney", KIDNEY_LEFT, [box(2, 25, 22)])]
FULL = Window("all", 500, 50)


def noise() -> NDArray[np.int16]:
    return np.random.default_rng(0).integers(-200, 300, SHAPE).astype(np.int16)


def axial_case() -> Case:
    return case(segmentation(PARTS), segmentation(PARTS[::-1], uid="1.2.4.2"), volume=ct(noise()))


def grey_of(drawn: Plane) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(drawn.image)))


@pytest.mark.parametrize(("order", "flips"), ORIENTATIONS)
def test_planes_are_the_same_however_the_patient_was_scanned(
    order: tuple[int, int, int], flips: tuple[int, int, int]
) -> None:
    one, other = OpenCase(axial_case()), OpenCase(turned(order, flips, axial_case()))
    point = one.case.ct.geometry.point_at(9, 17, 14)
    for view in VIEWS:
        through = one.planes[view.name].through, other.planes[view.name].through
        first = plane(one, view.name, to_voxel(one, point)[through[0]], window=SOFT, focus=[(0, 0)])
        second = plane(other, view.name, to_voxel(other, point)[through[1]], window=SOFT, focus=[(0, 0)])
        assert np.array_equal(grey_of(first), grey_of(second))
        # Loops begin at their highest pixel, then the leftmost: the same in a picture that is the same.
        assert first.contours == second.contours
        assert first.pixel_mm == pytest.approx(second.pixel_mm)


@pytest.mark.parametrize(("order", "flips"), ORIENTATIONS)
def test_pixels_voxels_and_millimetres_go_round(order: tuple[int, int, int], flips: tuple[int, int, int]) -> None:
    found = OpenCase(turned(order, flips, axial_case()))
    described = scene(found, "1.2.4.1", 1)
    lowest = {"R": (0, -1), "L": (0, 1), "A": (1, -1), "P": (1, 1), "F": (2, -1), "H": (2, 1)}
    for view in VIEWS:
        planes, said = found.planes[view.name], described["views"][view.name]
        for index, down, across in product((0, 3), (0, 5), (0, 7)):
            voxel = planes.voxel_at(index, down, across)
            assert planes.pixel_of(voxel) == (down, across)
            assert to_voxel(found, to_mm(found, voxel)) == voxel
            # What the page computes from the scene.
            page = [0, 0, 0]
            page[said["axes"]["through"]] = index
            page[said["axes"]["down"]] = said["rows"] - 1 - down if said["flipped"]["down"] else down
            page[said["axes"]["across"]] = said["columns"] - 1 - across if said["flipped"]["across"] else across
            assert tuple(page) == voxel
            where = described["geometry"]
            mm = (
                np.array(where["slice_origins_mm"][page[0]])
                + page[1] * np.array(where["row_step_mm"])
                + page[2] * np.array(where["column_step_mm"])
            )
            assert mm == pytest.approx(to_mm(found, voxel))
        # A step to a side of the picture is a step to that side of the patient.
        start = np.array(to_mm(found, planes.voxel_at(2, 2, 2)))
        for side, target in (
            ("left", (2, 2, 1)),
            ("right", (2, 2, 3)),
            ("top", (2, 1, 2)),
            ("bottom", (2, 3, 2)),
        ):
            axis, sign = lowest[said["letters"][side]]
            assert (np.array(to_mm(found, planes.voxel_at(*target))) - start)[axis] * sign > 1
        for end, index in zip(said["ends"], (1, 3), strict=True):
            axis, sign = lowest[end]
            assert (np.array(to_mm(found, planes.voxel_at(index, 2, 2))) - start)[axis] * sign > 1


@pytest.mark.parametrize("view", [view.name for view in VIEWS])
def test_every_pixel_is_one_voxel_in_the_window(view: str) -> None:
    found = OpenCase(axial_case())
    drawn = plane(found, view, 11, window=FULL, focus=[])
    planes = found.planes[view]
    assert (drawn.rows, drawn.columns) == planes.shape
    expected = np.clip((planes.of(noise(), 11).astype(np.float32) + 200) * (255 / 500), 0, 255).astype(np.uint8)
    assert np.array_equal(grey_of(drawn), expected)


@pytest.mark.parametrize("view", [view.name for view in VIEWS])
def test_contours_are_those_of_the_reference_for_each_segmentation(view: str) -> None:
    found = OpenCase(axial_case())
    for index in range(found.planes[view].count):
        drawn = plane(found, view, index, window=SOFT, focus=[(0, 0), (1, 1)])
        expected = {}
        for number, strong in ((0, {1}), (1, {2})):
            layer = found.case.segmentations[number].layers[0]
            faint_path, strong_path = outlines(found.planes[view].of(layer, index), strong)
            expected |= {(number, "faint"): faint_path, (number, "strong"): strong_path}
        assert {(one.segmentation, one.kind): one.path for one in drawn.contours} == {
            key: path for key, path in expected.items() if path
        }


def test_faint_contours_come_first_and_the_segment_in_review_last() -> None:
    found = OpenCase(axial_case())
    for focus in ([(0, 0), (1, 1)], [(1, 1), (0, 0)]):
        kinds = [(one.kind, one.segmentation) for one in plane(found, "coronal", 17, window=SOFT, focus=focus).contours]
        assert kinds[-1] == ("strong", focus[0][0])
        assert [kind for kind, _ in kinds] == sorted(kind for kind, _ in kinds)


def test_overlapping_segments_are_drawn_both() -> None:
    parts = [Part("liver", LIVER, [box(8, 15, 12)]), Part("spleen", SPLEEN, [box(9, 16, 13)])]
    found = OpenCase(case(segmentation(parts)))
    assert len(found.case.segmentations[0].layers) == 2
    (faint, strong) = plane(found, "axial", 10, window=SOFT, focus=[(0, 1)]).contours
    assert (faint.kind, faint.path.count("M"), strong.kind, strong.path.count("M")) == ("faint", 1, "strong", 1)


def test_planes_of_fractional_values_are_drawn_too() -> None:
    hu = noise().astype(np.float32) + np.float32(0.5)
    found = OpenCase(case(segmentation(PARTS), volume=ct(hu)))
    expected = np.clip((hu[3] + 200) * (255 / 500), 0, 255).astype(np.uint8)
    assert np.array_equal(grey_of(plane(found, "axial", 3, window=FULL, focus=[])), expected)


def test_windows_differ_and_a_picture_is_not_taken_for_another() -> None:
    one, other = OpenCase(axial_case()), OpenCase(case(segmentation(PARTS), volume=ct(noise()[::-1].copy())))
    soft, bone, else_ = (
        plane(found, "axial", 0, window=window, focus=[]).image
        for found, window in ((one, SOFT), (one, BONE), (other, SOFT))
    )
    assert len({soft, bone, else_}) == 3
    assert plane(one, "axial", 0, window=SOFT, focus=[]).image == soft


def test_oblique_stacks_are_shown_by_their_own_axes() -> None:
    c, s = np.cos(0.3), np.sin(0.3)
    step, row, column = np.array([s, 0, c]) * 2, np.array([0.0, 1.5, 0.0]), np.array([c, 0.0, -s]) * 1.5
    origins = np.arange(SHAPE[0])[:, None] * step
    where = Geometry(SHAPE, origins, row, column, 2.0)
    found = OpenCase(case(segmentation(PARTS), volume=ct(noise(), where=where)))
    described = scene(found, "1.2.4.1", 1)["views"]["coronal"]
    assert described["axes"] == {"through": 1, "down": 0, "across": 2}
    assert described["pixel_mm"] == pytest.approx([2.0, 1.5])
    centre = found.centre_mm(0, 0)
    assert centre is not None
    assert to_voxel(found, centre) == found.centre(0, 0)


def test_uneven_slices_have_their_own_places() -> None:
    even = geometry()
    origins = np.array(even.slice_origins_mm)
    origins[10:, 2] += 1.7
    where = replace(even, slice_origins_mm=origins)
    found = OpenCase(case(segmentation(PARTS), volume=ct(noise(), where=where)))
    assert to_mm(found, (10, 0, 0))[2] == pytest.approx(31.7)
    assert to_mm(found, (9.5, 0, 0))[2] == pytest.approx((27 + 31.7) / 2)
    assert to_voxel(found, to_mm(found, (10, 4, 5))) == (10, 4, 5)


@pytest.mark.parametrize(("view", "index"), [("oblique", 0), ("axial", -1), ("axial", 24), ("sagittal", 40)])
def test_planes_that_do_not_exist_are_refused(view: str, index: int) -> None:
    with pytest.raises(NoSuchPlane, match=r"axial, coronal or sagittal|numbered from 0 to"):
        plane(OpenCase(axial_case()), view, index, window=SOFT, focus=[])


@pytest.mark.parametrize("width", [0.0, -5.0, float("nan"), float("inf")])
def test_windows_without_a_width_are_refused(width: float) -> None:
    with pytest.raises(NoSuchPlane, match="width above 0"):
        plane(OpenCase(axial_case()), "axial", 0, window=Window("x", width, 0), focus=[])


def test_a_background_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(NoSuchPlane, match="png or jpeg"):
        plane(OpenCase(axial_case()), "axial", 0, window=SOFT, focus=[], background="gif")  # type: ignore[arg-type]


def test_json_has_the_picture_and_the_paths() -> None:
    drawn = plane(OpenCase(axial_case()), "axial", 9, window=SOFT, focus=[(0, 0)], background="jpeg")
    said = json.loads(json.dumps(drawn.as_json()))
    kind, data = said["image"].split(",")
    assert kind == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert (picture.format, picture.size) == ("JPEG", (40, 40))
    assert (said["rows"], said["columns"], said["pixel_mm"]) == (40, 40, [2.0, 2.0])
    assert {(one["segmentation"], one["kind"]) for one in said["contours"]} == {(0, "strong"), (1, "faint")}


def test_many_threads_get_the_same_planes() -> None:
    found = OpenCase(axial_case())
    asked = [(view.name, index) for view in VIEWS for index in range(20)] * 4
    alone = {one: plane(OpenCase(axial_case()), *one, window=BONE, focus=[(0, 1)]) for one in set(asked)}
    with ThreadPoolExecutor(8) as threads:
        drawn = list(threads.map(lambda one: plane(found, *one, window=BONE, focus=[(0, 1)]), asked))
    assert all(alone[one] == got for one, got in zip(asked, drawn, strict=True))


def test_values_that_are_not_hu_are_shown_in_one_range_for_all_planes() -> None:
    values = np.random.default_rng(0).integers(20000, 22000, SHAPE).astype(np.int16)
    values[:, :4] = -2000
    facts = CtFacts(hu_defined=False, hu_note="x", padding_hu=(-2000, -2000))
    found = OpenCase(case(segmentation(PARTS), volume=ct(values, facts=facts)))
    said = scene(found, "1.2.4.1", 1)
    assert not said["is_hu"]
    assert [one["name"] for one in said["windows"]] == ["full range"]
    assert said["window"]["width_hu"] == pytest.approx(1960, rel=0.02)
    assert grey_of(plane(found, "axial", 5, window=Window(**said["window"]), focus=[]))[10:].std() > 50
