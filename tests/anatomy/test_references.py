from __future__ import annotations

import pytest

from segqa_dicom.anatomy import (
    Range,
    Structure,
    Volume,
    all_structures,
    level_name,
    level_of,
    rib_asymmetry,
    structure_named,
    tolerance,
    tolerance_mm,
    volume_ratios,
)
from segqa_dicom.anatomy.data import load
from segqa_dicom.errors import ConfigurationError
from segqa_dicom.model import Code, CodedStructure

GROUP = "group:"


def test_every_reference_value_belongs_to_a_structure_or_group() -> None:
    groups = {f"{GROUP}{one.group}" for one in all_structures()}
    data = load("ranges")
    names = {name for part in ("volume", "hu") for row in data[part] for name in row["of"]}
    names |= {name for scheme in data["tolerance_mm"].values() for name in scheme} - {
        "source",
        "default",
        "provisional",
    }
    for name in names:
        assert name in groups or structure_named(name)


def test_every_reference_value_has_a_source() -> None:
    for one in all_structures():
        for found in (*one.volumes, one.hu_window, one.hu_native):
            assert found is None or found.source


def test_published_limits_come_first_and_the_widest_count() -> None:
    liver = structure_named("liver").volume_range_ml()
    assert liver is not None
    assert (liver.low, liver.high) == (824.5, 1281 + 2 * 219)
    assert liver.source == "Kim 2021 (Radiology); Jasper 2022"
    spleen = structure_named("spleen").volume_range_ml("M")
    assert spleen is not None
    assert (spleen.low, spleen.high) == (198 - 2 * 88, 198 + 2 * 88)


def test_volumes_are_told_apart_by_sex() -> None:
    female, male = (structure_named("vertebrae_T12").volume_range_ml(sex) for sex in "FM")
    assert female == Range(38.8 - 2 * 5.2, 38.8 + 2 * 5.2, female.source if female else "", provisional=True)
    assert male is not None
    assert male.high == pytest.approx(54.0 + 2 * 7.9)
    both = structure_named("vertebrae_T12").volume_range_ml()
    assert both is not None
    assert female is not None
    assert (both.low, both.high) == (female.low, male.high)


def test_a_mean_without_sd_and_quartiles_are_no_limits() -> None:
    assert structure_named("kidney_left").volume_range_ml("F") is None
    assert structure_named("kidney_left").typical_volume_ml("F") == 156.5
    assert structure_named("kidney_right").typical_volume_ml("M") == 193.1
    assert Volume("quartiles", "x", typical_ml=2.0, low_ml=1.0, high_ml=3.0).limits_ml is None
    assert Volume("cases", "x", typical_ml=2.0, low_ml=1.0, high_ml=3.0).limits_ml is None


def test_volumes_of_bodies_are_not_those_of_whole_vertebrae() -> None:
    lumbar = structure_named("vertebrae_L3")
    assert lumbar.volume_range_ml() is None
    assert lumbar.typical_volume_ml() is None
    assert {one.definition for one in lumbar.volumes} == {"vertebral body"}
    assert [one.typical_ml for one in lumbar.volumes] == [29.54, 44.21]
    assert structure_named("vertebrae_T1").typical_volume_ml("F") == 19.2


def test_sides_of_the_adrenal_glands_differ() -> None:
    left, right = (structure_named(f"adrenal_gland_{side}").volume_range_ml("M") for side in ("left", "right"))
    assert left is not None
    assert right is not None
    assert left.high == pytest.approx(3.24 + 2 * 0.93)
    assert right.high == pytest.approx(2.73 + 2 * 0.79)
    assert left.provisional


def test_nothing_is_known_of_what_is_not_in_the_table() -> None:
    assert Structure().volume_range_ml() is None
    assert Structure().typical_volume_ml("F") is None
    assert Structure().hu_window is None


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("liver", -20.0, 220.0),
        ("kidney_left", 0.0, 350.0),
        ("lung_upper_lobe_right", -950.0, -400.0),
        ("autochthon_left", -30.0, 150.0),
        ("subcutaneous_fat", -200.0, -30.0),
        ("vertebrae_L1", 50.0, None),
        ("aorta", 20.0, 500.0),
    ],
)
def test_hu_windows(name: str, low: float, high: float | None) -> None:
    window = structure_named(name).hu_window
    assert window is not None
    assert (window.low, window.high, window.provisional) == (low, high, True)


def test_a_range_contains_its_limits() -> None:
    assert 1.0 in Range(1.0, None, "x", provisional=False)
    assert 0.5 not in Range(1.0, 2.0, "x", provisional=False)
    assert 2.5 not in Range(None, 2.0, "x", provisional=False)


def test_normal_native_values_lie_in_the_window() -> None:
    for one in all_structures():
        if one.hu_window is not None and one.hu_native is not None:
            assert one.hu_native.low in one.hu_window
            assert one.hu_native.high in one.hu_window


def test_tolerances() -> None:
    duodenum = CodedStructure(type=Code("38848004", "SCT"))
    assert tolerance_mm(duodenum, "3mm") == 3.0
    assert tolerance_mm(duodenum, "flare") == 7.0
    assert tolerance(structure_named("brainstem"), "nikolov").mm == 2.5
    assert not tolerance(structure_named("brainstem"), "nikolov").provisional
    assert tolerance(structure_named("brain"), "nikolov").provisional
    assert tolerance(Structure(), "flare").mm == 3.0
    with pytest.raises(ConfigurationError, match="4mm"):
        tolerance_mm(duodenum, "4mm")


def test_asymmetry_is_known_of_twelve_ribs() -> None:
    assert [rib_asymmetry(level) for level in (1, 12, 13)] == [0.045, 0.124, None]


def test_volume_ratios() -> None:
    ratios = {(one.of, one.to): one.limits for one in volume_ratios()}
    assert ratios["liver", "spleen"] == Range(3.96, 13.78, ratios["liver", "spleen"].source, provisional=False)
    assert ratios[f"{GROUP}vertebra", "level above"].provisional


@pytest.mark.parametrize(("level", "name"), [(1, "C1"), (8, "T1"), (19, "T12"), (20, "L1"), (25, "L6")])
def test_levels_have_names(level: int, name: str) -> None:
    assert level_name(level) == name
    assert level_of(name) == level
    assert structure_named(f"vertebrae_{name}").level == level


def test_other_numbers_are_no_levels() -> None:
    assert level_name(0) is None
    assert level_name(26) is None
    assert level_of("S1") is None
