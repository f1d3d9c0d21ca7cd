from __future__ import annotations

import pytest

from segqa_dicom.anatomy import LabelMap, label_map, label_map_names, structure_named
from segqa_dicom.errors import ConfigurationError

MAPS = [label_map(name) for name in label_map_names()]


@pytest.mark.parametrize("one", MAPS, ids=lambda one: one.name)
def test_every_label_resolves_and_stands_once(one: LabelMap) -> None:
    assert one.title
    assert one.source
    assert one.mark in ("", "from memory")
    for label in one.labels:
        assert structure_named(label.canonical).canonical == label.canonical
        for name in (label.name, *label.also):
            assert one.structure(name).canonical == label.canonical
        if label.number is not None:
            assert one.structure(label.number).canonical == label.canonical
    assert len({label.canonical for label in one.labels}) == len(one.labels)
    assert len({label.name for label in one.labels}) == len(one.labels)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("total_v1", 104),
        ("total", 117),
        ("auto3dseg", 117),
        ("multitalent", 117),
        ("vista3d", 127),
        ("btcv", 13),
        ("amos", 15),
        ("flare22", 13),
        ("word", 16),
        ("verse", 25),
        ("totalsegmentator_v2_vista", 117),
    ],
)
def test_number_of_labels(name: str, count: int) -> None:
    assert len(label_map(name).labels) == count


def test_moose_and_cads_are_complete() -> None:
    for family, count in (("moose_", 148), ("cads_", 167)):
        names = [name for name in label_map_names() if name.startswith(family)]
        assert sum(len(label_map(name).labels) for name in names) == count


@pytest.mark.parametrize(
    ("name", "label", "structure"),
    [
        ("total", 56, "subclavian_artery_left"),
        ("total_v1", 44, "heart_myocardium"),
        ("moose_muscles", "gluteus_minimus_left", "gluteus_minimus_left"),
        ("moose_ribs", 26, "rib_right_13"),
        ("cads_556", "Bowel space", "bowel_bag"),
        ("cads_558", "OAR_A_Carotid_L", "carotid_artery_left"),
        ("cads_551", "Kidney R", "kidney_right"),
        ("auto3dseg", 92, "rib_right_4"),
        ("multitalent", "kidney_cyst_left", "kidney_cyst_left"),
        ("vista3d", "left lung upper lobe", "lung_upper_lobe_left"),
        ("vista3d", 132, "lung_trachea_bronchia"),
        ("btcv", 10, "portal_vein_and_splenic_vein"),
        ("amos", 9, "inferior_vena_cava"),
        ("flare22", 13, "kidney_left"),
        ("verse", 8, "vertebrae_T1"),
        ("word", 15, "femur_head_left"),
        ("ct_org", 3, "lung"),
        ("ventricle_parts", 8, "ventricle_body_right"),
        ("aortic_sinuses", "right_coronary_cusp", "right_coronary_cusp"),
    ],
)
def test_labels(name: str, label: int | str, structure: str) -> None:
    assert label_map(name).structure(label).canonical == structure


def test_numbers_and_names_of_a_map() -> None:
    assert label_map("chaos_mr").names() == {63: "liver", 126: "kidney_right", 189: "kidney_left", 252: "spleen"}
    assert label_map("multitalent").names() == {}


def test_what_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="nobody"):
        label_map("nobody")
    with pytest.raises(ConfigurationError, match="118"):
        label_map("total").structure(118)
