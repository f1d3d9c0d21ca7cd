from __future__ import annotations

import pytest

from segqa_dicom.anatomy import (
    Place,
    all_structures,
    are_exclusive,
    made_of,
    may_overlap,
    neighbours,
    part_of,
    positions,
    structure_named,
)
from segqa_dicom.anatomy.data import load
from segqa_dicom.anatomy.table import rows

STRUCTURES = list(all_structures())


def test_part_of_has_no_cycle() -> None:
    for one in STRUCTURES:
        assert one.canonical not in one.wholes
        assert not part_of(one, one)
        for other in one.wholes:
            assert not part_of(structure_named(other), one), (one.canonical, other)


def test_every_whole_exists() -> None:
    for row in rows():
        for name in (*row.get("part_of", ()), *row.get("overlaps", ())):
            structure_named(name)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("lung_upper_lobe_left", "lung_left", True),
        ("lung_upper_lobe_left", "lung_right", False),
        ("lung_upper_lobe_left", "lung", True),
        ("lung_middle_lobe_right", "lung_right", True),
        ("lung_middle_lobe_right", "lung_left", False),
        ("kidney_cyst_left", "kidney_left", True),
        ("kidney_cyst_left", "kidney_right", False),
        ("heart_atrium_left", "heart", True),
        ("heart", "heart_atrium_left", False),
        ("vertebrae_S1", "sacrum", True),
        ("vertebrae_T3", "vertebrae_thoracic", True),
        ("vertebrae_T3", "vertebrae_lumbar", False),
        ("ventricle_body_left", "brain", True),
        ("glottis", "larynx", True),
        ("rib_left_3", "ribs", True),
        ("liver", "spleen", False),
    ],
)
def test_part_of(one: str, other: str, *, expected: bool) -> None:
    assert part_of(structure_named(one), structure_named(other)) is expected


def test_a_part_may_overlap_its_whole() -> None:
    for one in STRUCTURES:
        for name in one.wholes[:1]:
            whole = structure_named(name)
            if one.codes and whole.codes:
                assert may_overlap(one.codes, whole.codes), (one.canonical, name)
                assert not are_exclusive(one, whole)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("kidney_left", "liver", True),
        ("kidney_left", "kidney_right", True),
        ("lung_upper_lobe_right", "liver", True),
        ("vertebrae_T3", "spinal_cord", True),
        ("vertebrae_T3", "vertebrae_T4", True),
        ("vertebrae_T3", "rib_left_3", True),
        ("rib_left_3", "lung_upper_lobe_left", True),
        ("heart_atrium_left", "lung_left", True),
        ("atrial_appendage_left", "heart_atrium_left", False),
        ("heart", "heart_atrium_left", False),
        ("kidney_left", "kidney_cyst_left", False),
        ("vertebrae_S1", "sacrum", False),
        ("liver", "liver", False),
        ("liver", "body_trunc", False),
        ("colon", "small_bowel", False),
    ],
)
def test_exclusive_pairs(one: str, other: str, *, expected: bool) -> None:
    first, second = structure_named(one), structure_named(other)
    assert are_exclusive(first, second) is expected
    assert are_exclusive(second, first) is expected


def test_relations_name_only_what_exists() -> None:
    groups = {f"group:{one.group}" for one in STRUCTURES}
    data = load("relations")
    names = [name for row in data["exclusive"] for side in ("one", "other") for name in row[side]]
    names += [name for row in (*data["neighbour"], *data["position"]) for name in row["of"]]
    names += [name for whole, parts in data["made_of"].items() for name in (whole, *parts)]
    for name in names:
        assert name in groups or structure_named(name)


def test_neighbours_are_on_the_same_side_and_level() -> None:
    (adrenal,) = neighbours(structure_named("adrenal_gland_right"))
    assert (adrenal.to, adrenal.max_distance_mm, adrenal.provisional) == (("kidney_right",), 25.0, True)
    (rib,) = neighbours(structure_named("rib_left_7"))
    assert (rib.to, rib.max_distance_mm) == (("vertebrae_T7",), 15.0)
    (gallbladder,) = neighbours(structure_named("gallbladder"))
    assert gallbladder.to == ("liver",)
    (aorta,) = neighbours(structure_named("aorta"))
    assert {"vertebrae_C1", "vertebrae_L5"} < set(aorta.to)


def test_a_thirteenth_rib_has_no_vertebra_of_its_number() -> None:
    assert neighbours(structure_named("rib_left_13")) == ()
    assert neighbours(structure_named("femur_left")) == ()


def test_positions() -> None:
    (lobe,) = positions(structure_named("lung_upper_lobe_left"))
    assert (lobe.place, lobe.than) == (Place.ABOVE, "lung_lower_lobe_left")
    (spleen,) = positions(structure_named("spleen"))
    assert (spleen.place, spleen.than) == (Place.LEFT, "")
    (bladder,) = positions(structure_named("urinary_bladder"))
    assert (bladder.place, bladder.than) == (Place.BELOW, "vertebrae_S1")


def test_what_a_whole_is_made_of_is_part_of_it() -> None:
    assert made_of(structure_named("kidney_left")) == ()
    for name in load("relations")["made_of"]:
        whole = structure_named(name)
        parts = made_of(whole)
        assert len(parts) > 1
        assert all(part_of(structure_named(part), whole) for part in parts)
