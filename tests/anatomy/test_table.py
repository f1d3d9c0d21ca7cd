from __future__ import annotations

import pytest

from segqa_dicom.anatomy import (
    Chain,
    Group,
    Side,
    Structure,
    all_structures,
    chain_members,
    code_defect,
    code_defects,
    equivalences,
    knowledge,
    opposite_key,
    other_meanings,
    side_in_words,
    side_of,
    structure_key,
    structure_named,
    structure_of,
)
from segqa_dicom.anatomy.data import load
from segqa_dicom.anatomy.table import rows
from segqa_dicom.errors import ConfigurationError
from segqa_dicom.model import Code, CodedStructure
from segqa_dicom.model.codes import LEFT, RIGHT

STRUCTURES = list(all_structures())
CODED = [one for one in STRUCTURES if one.codes is not None]
MAX_CODE_MEANING = 64  # VR LO
WITHOUT_CODE = {"styloid_process", "prevertebral", "ventricle_trigone", "intermuscular_fat", "bowel_bag"}

_DIHEDRAL = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_PERMUTED = (
    "0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip


def has_check_digit(identifier: str) -> bool:
    """Whether the last digit is the Verhoeff check digit that every SNOMED CT identifier has."""
    check = 0
    for place, digit in enumerate(reversed(identifier)):
        check = int(_DIHEDRAL[check][int(_PERMUTED[place % 8][int(digit)])])
    return check == 0


def codes_of(codes: CodedStructure) -> list[Code]:
    parts = (codes.type, codes.modifier, codes.region, codes.region_modifier)
    return [part for part in parts if part is not None]


def coded(value: str, modifier: str = "", region: str = "") -> CodedStructure:
    return CodedStructure(
        type=Code(value, "SCT"),
        modifier=Code(modifier, "SCT") if modifier else None,
        region=Code(region, "SCT") if region else None,
    )


def test_the_check_digit_is_checked() -> None:
    assert has_check_digit("64033007")
    assert not has_check_digit("64033008")
    assert not has_check_digit("64030307")


def test_every_name_and_every_key_exists_once() -> None:
    names = [one.canonical for one in STRUCTURES]
    keys = [one.key for one in CODED]
    assert len(set(names)) == len(names)
    assert len(set(keys)) == len(keys)


def test_every_code_is_a_snomed_identifier_with_a_meaning_that_fits() -> None:
    texts: dict[str, str] = {}
    for one in CODED:
        assert one.codes is not None
        for code in codes_of(one.codes):
            assert code.scheme == "SCT"
            assert code.value.isdigit(), one.canonical
            assert has_check_digit(code.value), one.canonical
            assert 0 < len(code.meaning) <= MAX_CODE_MEANING, one.canonical
            assert texts.setdefault(code.value, code.meaning) == code.meaning, one.canonical


def test_every_other_code_in_the_files_is_one_too() -> None:
    keys = [key for row in equivalences() for key in (row.type, row.becomes, row.modifier) if key]
    keys += [part for row in code_defects() for part in row.coded.split("|") if part]
    keys += [row.code for row in other_meanings()]
    keys += [key for row in load("codes")["category_equivalent"] for key in (row["category"], row["becomes"])]
    for key in keys:
        value, _, scheme = key.partition(".")
        assert scheme == "SCT"
        assert value.isdigit(), key
        assert has_check_digit(value), key


def test_what_rules_ask_of_codes_holds_for_the_table_itself() -> None:
    for one in CODED:
        assert one.codes is not None
        assert one.codes.type is not None
        stated = side_in_words(one.codes.type.meaning)
        assert stated in (None, one.side) or side_of(one.codes) is None, one.canonical  # K2: code of the other side
        if one.paired:
            said = side_in_words(one.canonical)
            assert said is None or said is side_of(one.codes), one.canonical  # K4: label and code name one side
        assert structure_key(one.codes) == one.key, one.canonical


def test_every_structure_is_found_by_its_codes_and_by_its_name() -> None:
    for one in STRUCTURES:
        assert structure_named(one.canonical) == one
        if one.codes is not None:
            assert structure_of(one.codes) == one
            assert knowledge(one.codes) == one


def test_left_and_right_are_mirror_images() -> None:
    by_key = {one.key: one for one in CODED}
    sided = [one for one in CODED if opposite_key(one.key) in by_key]
    assert len(sided) > 200
    for one in sided:
        other = by_key[opposite_key(one.key) or ""]
        assert {one.side, other.side} == set(Side)
        assert other.canonical == swapped(one.canonical)
        assert other.wholes == tuple(swapped(name) for name in one.wholes)
        for name in Structure.__slots__:
            if name not in ("canonical", "side", "codes", "wholes", "volumes"):
                assert getattr(one, name) == getattr(other, name), (one.canonical, name)


def swapped(name: str) -> str:
    base = structure_named(name)
    if base.side is None or f"_{base.side}" not in f"_{name}" or base.base == name:
        return name
    return name.replace("left", "RIGHT").replace("right", "left").replace("RIGHT", "right")


def test_a_side_that_does_not_exist_is_not_found() -> None:
    assert structure_of(coded("68786006", RIGHT)) is None  # right atrial appendage
    assert structure_of(coded("10200004", LEFT)) is None  # left liver
    assert knowledge(coded("10200004", LEFT)).canonical == "liver"


def test_both_sides_in_one_segment_have_twice_the_parts() -> None:
    assert knowledge(coded("64234005", LEFT)).components == 1
    both = knowledge(coded("64234005"))
    assert (both.canonical, both.both_sides, both.components, both.paired) == ("patella", True, 2, False)
    one_of_two = knowledge(coded("64033007"))
    assert (one_of_two.canonical, one_of_two.both_sides, one_of_two.components) == ("kidney", False, 1)


def test_a_region_tells_structures_of_one_type_apart() -> None:
    assert knowledge(coded("59820001", region="10200004")).canonical == "liver_vessels"
    assert knowledge(coded("59820001", region="39607008")).canonical == "lung_vessels"
    assert knowledge(coded("59820001")).canonical == "blood_vessels"
    assert knowledge(coded("59820001", region="64033007")).canonical == "blood_vessels"
    assert structure_of(coded("59820001", region="64033007")) is None


def test_the_side_of_a_cyst_is_in_the_region_modifier() -> None:
    left = structure_named("kidney_cyst_left")
    assert left.key == "367643001.SCT||64033007.SCT|7771000.SCT"
    assert (left.side, left.paired, left.wholes) == (Side.LEFT, False, ("kidney_left",))


def test_what_is_not_in_the_table_gets_the_generic_rules() -> None:
    assert knowledge(coded("1")) == Structure()
    assert structure_of(coded("1")) is None
    assert structure_of(CodedStructure()) is None
    assert knowledge(CodedStructure()) == Structure()
    altered = CodedStructure(category=Code("49755003", "SCT"), type=Code("1", "SCT"))
    assert knowledge(altered).components is None
    with pytest.raises(ConfigurationError, match="kidneys"):
        structure_named("kidneys")


def test_only_structures_that_no_table_has_a_code_for_have_none() -> None:
    assert {one.base for one in STRUCTURES if one.codes is None} == WITHOUT_CODE


def test_the_spine_is_complete_and_in_order() -> None:
    levels = [f"C{n}" for n in range(1, 8)] + [f"T{n}" for n in range(1, 13)] + [f"L{n}" for n in range(1, 7)] + ["S1"]
    assert chain_members(structure_named("vertebrae_T4")) == tuple(f"vertebrae_{level}" for level in levels)
    assert [structure_named(f"vertebrae_{level}").level for level in levels] == [*range(1, 26), None]
    assert structure_named("vertebrae_S1").order == 26


@pytest.mark.parametrize("side", Side)
def test_the_ribs_are_complete_and_in_order(side: Side) -> None:
    members = chain_members(structure_named(f"rib_{side}_5"))
    assert members == tuple(f"rib_{side}_{n}" for n in range(1, 14))
    assert [structure_named(name).level for name in members] == list(range(1, 14))


def test_only_vertebrae_and_ribs_are_in_chains() -> None:
    assert {one.chain for one in STRUCTURES if one.group is Group.RIB} == {Chain.RIBS}
    assert {one.chain for one in STRUCTURES if one.group is Group.VERTEBRA} == {Chain.SPINE}
    others = [one for one in STRUCTURES if one.group not in (Group.RIB, Group.VERTEBRA)]
    assert {(one.chain, one.level, one.order) for one in others} == {(None, None, None)}
    assert chain_members(structure_named("liver")) == ()


def test_the_midline_is_taken_from_what_lies_on_it() -> None:
    # The pipeline fits the midline to the groups vertebra and nerve: nothing with a side may be in them.
    on_it = [one for one in STRUCTURES if one.group in (Group.VERTEBRA, Group.NERVE)]
    assert {one.side for one in on_it} == {None}


def test_rows_have_no_words_that_nothing_reads() -> None:
    known = {
        "name", "words", "type", "modifier", "region", "sides", "both", "paired", "side", "group", "components",
        "worst", "level", "order", "part_of", "overlaps", "holes", "outside", "cut",
    }  # fmt: skip
    assert {word for row in rows() for word in row} == known


@pytest.mark.parametrize(
    ("one", "same"),
    [
        pytest.param(("29700009", RIGHT), ("36765005", RIGHT), id="right subclavian artery"),
        pytest.param(("29700009", LEFT), ("36765005", LEFT), id="left one coded as right subclavian artery"),
        pytest.param(("29700009", ""), ("36765005", RIGHT), id="right subclavian artery, side in the type"),
        pytest.param(("85235006", ""), ("36765005", LEFT), id="left subclavian artery, side in the type"),
        pytest.param(("721028001", ""), ("69105007", LEFT), id="left carotid artery"),
        pytest.param(("772065000", ""), ("80169004", RIGHT), id="right cochlea"),
        pytest.param(("717762003", ""), ("32259006", LEFT), id="anterior segment of left eye"),
        pytest.param(("724380004", ""), ("18234004", RIGHT), id="right optic nerve"),
        pytest.param(("44178003", ""), ("45289007", LEFT), id="left parotid gland"),
        pytest.param(("181235001", LEFT), ("54019009", LEFT), id="submandibular gland"),
        pytest.param(("30641009", LEFT), ("13561001", LEFT), id="lacrimal gland"),
        pytest.param(("206007", LEFT), ("181674001", LEFT), id="gluteus maximus"),
        pytest.param(("8205005", LEFT), ("83936004", LEFT), id="carpus"),
        pytest.param(("280711000", LEFT), ("53884002", LEFT), id="metatarsus"),
        pytest.param(("785709003", ""), ("29707007", RIGHT), id="toes of right foot"),
    ],
)
def test_equivalent_codes_have_one_identity(one: tuple[str, str], same: tuple[str, str]) -> None:
    assert structure_key(coded(*one)) == structure_key(coded(*same))
    found = structure_of(coded(*one))
    assert found is not None
    assert found == structure_of(coded(*same))


def test_every_equivalence_leads_to_a_row_and_says_why() -> None:
    targets = {one.codes.type.key for one in CODED if one.codes and one.codes.type}
    for row in equivalences():
        assert row.becomes in targets
        assert row.type not in targets
        assert row.reason


def test_a_known_defect_is_found_by_label_and_codes() -> None:
    found = code_defect("Gluteus minimus left", coded("78333006", LEFT))
    assert found is not None
    assert structure_named(found.canonical).key == "75297007.SCT|7771000.SCT||"
    assert code_defect("gluteus_medius_left", coded("78333006", LEFT)) is None
    assert code_defect("gluteus_minimus_left", coded("75297007", LEFT)) is None


def test_what_scans_usually_cut_and_what_may_leave_the_body() -> None:
    cut = {one.canonical for one in STRUCTURES if one.may_be_cut}
    assert {"spinal_cord", "aorta", "femur_left", "subcutaneous_fat", "body_trunc"} <= cut
    assert not {"liver", "liver_tumor", "kidney_left", "mediastinum", "vertebrae_T3"} & cut
    outside = {one.canonical for one in STRUCTURES if one.may_leave_body}
    assert {"nasal_cavity_left", "auditory_canal_right", "face"} <= outside
    assert not {"liver", "lung_left", "trachea", "colon"} & outside


def test_where_holes_are_normal() -> None:
    holes = {one.canonical for one in STRUCTURES if one.holes_are_normal}
    assert {"trachea", "colon", "small_bowel", "skull", "urinary_bladder", "aorta"} <= holes  # rule T3
    assert not {"liver", "spleen", "kidney_left", "vertebrae_T3", "brain", "lung_left"} & holes
