"""Annotations of other programs: where they lie in the patient, on whose segment, and what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from segqa_dicom.assessment.vocabulary import default_vocabulary
from segqa_dicom.model import Case, CtFacts, CtVolume, Geometry, Segment, Segmentation, SegmentRef
from segqa_dicom.model.segmentation import SegFacts
from segqa_dicom.pictures import OpenCase
from segqa_dicom.reviews.exchange.locating import NEAR_MM, finding_type, locate, location_of
from segqa_dicom.reviews.workflow.model import Annotation
from segqa_dicom.reviews.workflow.patient_positions import image_point_mm, slice_of
from segqa_dicom.sr.read_review import RawAnnotation
from tests.sr.factories import COLON, CT_SERIES, LIVER, SPLEEN, STUDY, ct_record, geometry, seg_record

SLICES, ROWS, COLUMNS = 12, 40, 50
A, B = seg_record(1).sop_instance_uid, seg_record(2).sop_instance_uid
RAW = RawAnnotation("1.2.9", 1, STUDY, "Reader^Rita", "OHIF", "ArrowAnnotate", "island", "", "20260101120000", "POINT")


def tilted() -> Geometry:
    """Slices that drift along the rows, with a gap."""
    origins = np.array([[-50.0, -60.0 + 0.4 * k, 3.0 * k + (6.0 if k > 7 else 0.0)] for k in range(SLICES)])
    return Geometry((SLICES, ROWS, COLUMNS), origins, np.array([0.0, 2.0, 0.0]), np.array([1.5, 0.0, 0.0]), 3.0)


def case(grid: Geometry | None = None, *, enhanced: bool = False) -> Case:
    """Model A has a liver with a small spleen in another layer inside, model B a liver that is shifted."""
    grid = grid or geometry(SLICES, ROWS, COLUMNS)
    first, second, other = (np.zeros(grid.shape, np.uint8) for _ in range(3))
    first[2:8, 10:20, 10:20] = 1
    second[4:6, 14:16, 14:16] = 2
    first[2:8, 10:20, 30:40] = 3
    other[2:8, 12:22, 10:20] = 1
    segments = (Segment(1, "Liver", LIVER), Segment(2, "Spleen", SPLEEN, layer=1), Segment(7, "Colon", COLON))
    ct = CtVolume(grid, np.zeros(grid.shape, np.int16), ct_record(SLICES, enhanced=enhanced), CtFacts())
    return Case(
        ct,
        (
            Segmentation(seg_record(1), segments, (first, second), SegFacts()),
            Segmentation(seg_record(2), segments[:1], (other,), SegFacts()),
        ),
    )


def at(k: int, row: float, column: float, **values: object) -> RawAnnotation:
    """A point on the voxel (k, row, column), as image coordinates."""
    points = ((column + 0.5, row + 0.5),)
    return replace(RAW, image=f"{CT_SERIES}.{k + 1}", points=points, **values)  # type: ignore[arg-type]


def places(found: list[Annotation]) -> list[tuple[str, int] | None]:
    return [None if one.place is None else (one.place.segmentation, one.place.segment) for one in found]


@pytest.mark.parametrize("grid", [geometry(SLICES, ROWS, COLUMNS), tilted()], ids=["straight", "tilted"])
def test_image_coordinates_become_millimetres(grid: Geometry) -> None:
    ct = case(grid).ct
    for k, row, column in ((0, 0, 0), (5, 3.25, 7.5), (11, 39, 49)):
        expected = grid.slice_origins_mm[k] + row * grid.row_step_mm + column * grid.column_step_mm
        point = image_point_mm(ct, f"{CT_SERIES}.{k + 1}", None, (column + 0.5, row + 0.5))
        assert point == pytest.approx(tuple(expected))
    assert image_point_mm(ct, "1.2.3", None, (1, 1)) is None
    assert image_point_mm(ct, f"{CT_SERIES}.1", None, (1,)) is None


def test_frames_of_one_image_are_slices() -> None:
    ct = case(enhanced=True).ct
    image = ct.record.slices[0].sop_instance_uid
    assert [slice_of(ct, image, frame) for frame in (1, 12, 13, None)] == [0, 11, None, None]
    single = case().ct
    assert [slice_of(single, f"{CT_SERIES}.2", frame) for frame in (None, 1)] == [1, 1]


@pytest.mark.parametrize("grid", [None, tilted()], ids=["straight", "tilted"])
def test_of_every_model_the_segment_at_the_place_is_meant(grid: Geometry | None) -> None:
    opened = OpenCase(case(grid))
    assert places(locate([at(3, 15, 12)], opened)) == [(A, 1), (B, 1)]
    assert places(locate([at(3, 11, 12)], opened)) == [(A, 1)]
    assert places(locate([at(3, 21, 12)], opened)) == [(B, 1)]
    assert places(locate([at(3, 11, 35)], opened)) == [(A, 7)]
    assert {one.distance_mm for one in locate([at(3, 15, 12)], opened)} == {0.0}


def test_of_several_segments_of_a_model_the_smallest_is_meant() -> None:
    assert places(locate([at(4, 15, 15)], OpenCase(case()))) == [(A, 2), (B, 1)]


def test_beside_all_segments_the_nearest_one_of_each_model_is_meant() -> None:
    opened = OpenCase(case())
    # Columns of 1.5 mm: both begin 2.5 columns beyond the middle of this one.
    (first, second) = locate([at(3, 15, 7)], opened)
    assert places([first, second]) == [(A, 1), (B, 1)]
    assert first.distance_mm == second.distance_mm == pytest.approx(2.5 * 1.5)
    assert places(locate([at(3, 15, 1)], opened)) == [None]
    (between,) = {one.place for one in locate([at(3, 11, 27)], opened) if one.place and one.place.segmentation == A}
    assert between == SegmentRef(A, 7)


def test_beyond_the_last_slice_is_near_too() -> None:
    opened = OpenCase(case())
    (one, other) = locate([at(9, 15, 12)], opened)
    assert one.distance_mm == other.distance_mm == pytest.approx(2 * 3.0 - 1.5)
    assert NEAR_MM < 4 * 3.0 - 1.5
    assert places(locate([at(11, 15, 12)], opened)) == [None]


def test_the_segment_that_a_group_names_is_meant_wherever_it_lies() -> None:
    opened = OpenCase(case())
    drawn = at(3, 15, 12, segmentation=A, segment=7)
    elsewhere = replace(RAW, graphic_type="", points=(), segmentation=B, segment=1)
    found = locate([drawn, elsewhere, replace(elsewhere, segment=0)], opened)
    assert places(found) == [(A, 7), (B, 1), (B, 0)]
    assert found[0].finding.location is not None
    assert found[1].finding.location is None


def test_points_in_space_lie_where_they_say() -> None:
    opened = OpenCase(case())
    point = opened.case.ct.geometry.point_at(3, 11, 12)
    raw = replace(RAW, points=(point,), frame_of_reference_uid=opened.case.ct.record.frame_of_reference_uid)
    (one,) = locate([raw], opened)
    assert one.place == SegmentRef(A, 1)
    assert one.finding.location is not None
    assert one.finding.location.point_mm == pytest.approx(point)
    assert locate([replace(raw, frame_of_reference_uid="1.2.3")], opened) == []


def test_copies_and_drawings_on_other_images_are_left_out() -> None:
    opened = OpenCase(case())
    assert locate([at(3, 15, 12, is_copy=True), replace(at(3, 15, 12), image="1.2.3")], opened) == []
    assert locate([], opened) == []


@pytest.mark.parametrize(
    ("kind", "points", "low", "high"),
    [
        ("POLYLINE", ((10, 10), (14, 10), (14, 20)), (10, 10), (14, 20)),
        ("CIRCLE", ((20, 20), (24, 20)), (16, 17), (24, 23)),
        ("ELLIPSE", ((10, 20), (20, 20), (15, 18), (15, 22)), (10, 18), (20, 22)),
        ("MULTIPOINT", ((10, 10), (12, 30)), (10, 10), (12, 30)),
    ],
)
def test_drawings_have_a_centre_and_an_extent(
    kind: str, points: tuple[tuple[float, ...], ...], low: tuple[int, int], high: tuple[int, int]
) -> None:
    ct = case().ct
    raw = replace(RAW, tool="", graphic_type=kind, points=points, image=f"{CT_SERIES}.4")
    found = location_of(raw, ct)
    assert found is not None
    assert found.box_mm is not None
    corners = [image_point_mm(ct, f"{CT_SERIES}.4", None, one) for one in (low, high)]
    assert np.allclose(found.box_mm, np.array(corners), atol=1e-4)
    assert np.allclose(found.point_mm, np.mean(np.array(corners), axis=0))


def test_a_turned_ellipse_reaches_as_far_as_it_does() -> None:
    ct = case().ct
    mm = [(30.0, 30.0), (50.0, 50.0), (36.0, 44.0), (44.0, 36.0)]
    points = tuple((x / 1.5 + 0.5, y / 2.0 + 0.5) for x, y in mm)
    found = location_of(replace(RAW, tool="", graphic_type="ELLIPSE", points=points, image=f"{CT_SERIES}.1"), ct)
    assert found is not None
    assert found.box_mm is not None
    angle = np.linspace(0, 2 * np.pi, 100_000)
    x = 40 + 10 * np.cos(angle) + 4 * np.sin(angle)
    assert found.box_mm[1][0] + 50.0 == pytest.approx(x.max(), abs=1e-3)


def test_the_place_of_an_arrow_is_its_tip() -> None:
    raw = replace(RAW, graphic_type="POLYLINE", points=((12.5, 15.5), (40.5, 30.5)), image=f"{CT_SERIES}.4")
    (one, _) = locate([raw], OpenCase(case()))
    assert one.finding.location is not None
    assert one.finding.location.box_mm is None
    assert one.finding.location.point_mm == pytest.approx(case().ct.geometry.point_at(3, 15, 12))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("leak into the lung", "leak"),
        ("Over-segmentation", "leak"),
        ("oversegmentation here", "leak"),
        ("under segmentation", "under"),
        ("two islands", "fragmented"),
        ("Wrong side!", "side"),
        ("wrong label", "level"),
        ("vertebrae_T1: Hole, minor (Dr. M)", "hole"),
        ("hole and leak", ""),
        ("no leak", ""),
        ("whole organ", ""),
        ("see comment", ""),
        ("fracture", ""),
        ("", ""),
    ],
)
def test_texts_name_a_finding_or_none(text: str, kind: str) -> None:
    assert finding_type(text, default_vocabulary()) == kind


def test_every_name_of_the_vocabulary_means_itself() -> None:
    words = default_vocabulary()
    for term in words.findings.values():
        if term.id != "other" and "(no" not in term.name:
            assert finding_type(term.name, words) == term.id


def test_what_is_said_is_kept() -> None:
    raw = at(3, 11, 12, text="two islands", label="Liver")
    (one,) = locate([raw], OpenCase(case()))
    assert (one.author, one.program, one.made_at, one.study) == ("Reader^Rita", "OHIF", "20260101120000", STUDY)
    assert (one.document, one.group) == ("1.2.9", 1)
    assert (one.finding.type, one.finding.severity) == ("fragmented", "minor")
    assert one.finding.comment == "two islands; Liver"
    (other,) = locate([replace(raw, text="look here", label="")], OpenCase(case()))
    assert (other.finding.type, other.finding.severity, other.finding.comment) == ("other", "minor", "look here")
