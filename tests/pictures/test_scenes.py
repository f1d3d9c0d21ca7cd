"""What a page is told of a case: where to look first, windows, counterparts; places of segments."""

from __future__ import annotations

import json

import numpy as np
import pytest

from segqa_dicom.model import CodedStructure
from segqa_dicom.pictures import NoSuchSegment, OpenCase, scene
from tests.scenes import KIDNEY_LEFT, KIDNEY_RIGHT, L1, L2, LIVER, SHAPE, SPLEEN, Part, box, case, segmentation

LIVER_BOX = box(8, 15, 12, (5, 6, 7))


def opened(*models: list[Part]) -> OpenCase:
    return OpenCase(case(*(segmentation(parts, uid=f"1.2.4.{n}") for n, parts in enumerate(models, start=1))))


def test_a_scene_is_json_and_says_what_is_to_be_seen() -> None:
    found = opened(
        [Part("liver", LIVER, [LIVER_BOX])], [Part("spleen", SPLEEN, [box(1, 1, 1)]), Part("l", LIVER, [LIVER_BOX])]
    )
    said = scene(found, "1.2.4.1", 1, [(0.0, 0.0, 30.0), (4.0, 2.0, 33.0)])
    assert json.loads(json.dumps(said)) == said
    assert said["shape"] == list(SHAPE)
    assert said["spacing_mm"] == pytest.approx([3.0, 2.0, 2.0])
    assert said["focus"] == [[0, 0], [1, 1]]
    assert said["segment"] | {"centre": None} == {
        "place": [0, 0],
        "number": 1,
        "label": "liver",
        "is_empty": False,
        "box": [[8, 15, 12], [13, 21, 19]],
        "centre": None,
    }
    assert (said["start"], said["start_reason"]) == (said["locations"][0], "location")
    assert len(said["locations"]) == 2
    assert [one["uid"] for one in said["segmentations"]] == ["1.2.4.1", "1.2.4.2"]
    assert all(one["has_structure"] for one in said["segmentations"])
    assert said["window"]["name"] == "soft tissue"
    assert [one["name"] for one in said["windows"]] == ["soft tissue", "bone", "lung", "liver", "brain", "full range"]


def test_bones_open_in_the_bone_window() -> None:
    assert scene(opened([Part("L1", L1, [LIVER_BOX])]), "1.2.4.1", 1)["window"]["name"] == "bone"


def test_a_segment_without_locations_opens_at_its_middle() -> None:
    said = scene(opened([Part("liver", LIVER, [LIVER_BOX])]), "1.2.4.1", 1)
    assert said["start_reason"] == "segment"
    assert said["start"] == said["segment"]["centre"]


def test_an_empty_segment_opens_where_another_model_has_it() -> None:
    found = opened([Part("liver", LIVER, [])], [Part("liver", LIVER, [LIVER_BOX])])
    said = scene(found, "1.2.4.1", 1)
    assert said["segment"]["is_empty"]
    assert said["segment"]["box"] is None
    assert (said["start_reason"], tuple(said["start"])) == ("counterpart", found.centre(1, 0))


def test_a_segment_that_nobody_has_opens_near_its_neighbours() -> None:
    found = opened([Part("L2", L2, []), Part("L1", L1, [LIVER_BOX])])
    said = scene(found, "1.2.4.1", 1)
    assert (said["start_reason"], tuple(said["start"])) == ("neighbours", found.centre(0, 1))


def test_a_segment_of_which_nothing_is_known_opens_in_the_middle_of_the_volume() -> None:
    said = scene(opened([Part("thing", CodedStructure(), [])]), "1.2.4.1", 1)
    assert (said["start_reason"], said["start"]) == ("middle", [12, 20, 20])


def test_the_segmentation_as_a_whole_has_all_its_segments_in_focus() -> None:
    found = opened([Part("liver", LIVER, [LIVER_BOX]), Part("spleen", SPLEEN, [box(1, 1, 1)])])
    said = scene(found, "1.2.4.1", 0)
    assert said["focus"] == [[0, 0], [0, 1]]
    assert said["segment"]["place"] == [0, None]
    assert said["start_reason"] == "middle"


def test_counterparts_are_found_by_code_and_side_and_never_without_codes() -> None:
    found = opened(
        [Part("a", KIDNEY_LEFT, [LIVER_BOX]), Part("same", CodedStructure(), [])],
        [Part("x", KIDNEY_RIGHT, [LIVER_BOX]), Part("y", KIDNEY_LEFT, [LIVER_BOX]), Part("same", CodedStructure(), [])],
    )
    assert found.counterparts(0, 0) == [(1, 1)]
    assert found.counterparts(0, 1) == []


def test_the_centre_is_a_voxel_of_the_segment_in_its_largest_cross_section() -> None:
    ring = [box(5, 5, 5, (1, 12, 2)), box(5, 5, 15, (1, 12, 2)), box(5, 5, 5, (1, 2, 12)), box(5, 15, 5, (1, 2, 12))]
    found = opened([Part("ring", LIVER, [*ring, box(12, 10, 10, (3, 2, 2))])])
    centre = found.centre(0, 0)
    assert centre is not None
    assert centre[0] == 5
    assert found.case.segmentations[0].layers[0][centre] == 1
    assert found.centre_mm(0, 0) == pytest.approx(found.case.ct.geometry.point_at(*centre))
    assert found.centre(0, 0) == centre


def test_boxes_are_those_of_the_voxels_in_every_layer_and_type() -> None:
    parts = [Part("a", LIVER, [LIVER_BOX]), Part("b", SPLEEN, [box(9, 16, 13, 4)]), Part("c", L1, [])]
    whole = segmentation(parts)
    for kind in (np.uint8, np.uint16):
        layers = tuple(layer.astype(kind) for layer in whole.layers)
        found = OpenCase(case(type(whole)(whole.record, whole.segments, layers, whole.facts)))
        first, second = found.bounding_box(0, 0), found.bounding_box(0, 1)
        assert first is not None
        assert second is not None
        assert (first.start, first.stop) == ((8, 15, 12), (13, 21, 19))
        assert (second.start, second.stop) == ((9, 16, 13), (13, 20, 17))
        assert found.bounding_box(0, 2) is None
        assert found.centre(0, 2) is None


def test_segments_and_segmentations_that_are_not_there_are_named() -> None:
    found = opened([Part("liver", LIVER, [LIVER_BOX])])
    assert found.segment_place("1.2.4.1", 1) == (0, 0)
    with pytest.raises(NoSuchSegment, match=r"1\.2\.4\.1 has no segment 7"):
        found.segment_place("1.2.4.1", 7)
    with pytest.raises(NoSuchSegment, match=r"1\.9"):
        scene(found, "1.9", 1)
