from __future__ import annotations

import pytest

from segqa_dicom.checks.finding import Outcome, Verdict
from segqa_dicom.checks.registry import listing
from segqa_dicom.model import Code
from segqa_dicom.sr import codes, tree
from segqa_dicom.sr.ascii import ascii_text, clipped, counted, squeezed


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("D\u00fcnndarm", "Duenndarm"),
        ("Du\u0308nndarm", "Duenndarm"),
        ("f\u00eamur \u2265 3 mm\u00b2 \u2013 ok", "femur >= 3 mm2 - ok"),
        ("\u809d\u810f left", "[U+809D 810F] left"),
        ("a\\b\r\n\tc\x00d", "a/b c d"),
        ("\ud800x", "x"),
        ("   ", ""),
        ("\u00bd", "1[U+2044]2"),
    ],
)
def test_text_becomes_printable_ascii(given: str, expected: str) -> None:
    assert ascii_text(given) == expected


def test_every_character_of_the_basic_plane_becomes_ascii() -> None:
    for start in range(0, 0x10000, 64):
        assert ascii_text("".join(map(chr, range(start, start + 64)))).isascii()


def test_long_text_is_cut_and_short_text_is_not() -> None:
    assert clipped("x" * 64, 64) == "x" * 64
    assert len(clipped("x" * 65, 64)) == 64
    assert squeezed("TotalSegmentator 2.15", 18) == "TotalSeg...or 2.15"
    assert listing("abcd", most=2) == "a, b and 2 more"
    assert (counted(1, "structure"), counted(0, "structure")) == ("1 structure", "0 structures")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (107098, "107098"),
        (41349.0, "41349"),
        (-3.25, "-3.25"),
        (1 / 3, "0.3333333"),
        (0.99999999, "1"),
        (123456.789, "123456.8"),
        (1.23456789e-5, "0.000012346"),
        (1e-12, "0"),
        (-1e-300, "0"),
        (12345678.9, "12345679"),
        (9876543210.4, "9876543210"),
        (1e15, "1000000000000000"),
        (1e20, "1.000000E+20"),
        (-1.5e300, "-1.500000E+300"),
    ],
)
def test_numbers_are_written_as_people_write_them(value: float, expected: str) -> None:
    assert tree.decimal_string(value) == expected
    assert len(expected) <= 16


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        tree.decimal_string(value)


def test_numbers_keep_six_digits() -> None:
    for exponent in range(-3, 15):
        value = 1.23456789 * 10.0**exponent
        assert float(tree.decimal_string(value)) == pytest.approx(value, rel=1e-6)


def test_codes_keep_to_their_lengths() -> None:
    concept = tree.concept(Code("V" * 17, "S" * 20, "M\u00fc" * 60))
    assert (concept.value, concept.meaning[:8]) == ("V" * 17, "MueMueMu")
    assert len(concept.meaning) == 64
    assert len(concept.scheme) == 16
    assert tree.concept(Code("1", "X")).meaning == "1"


def test_check_codes_are_made_from_the_rule() -> None:
    assert codes.check_code("T1", "Components") == Code("CHK-T1", "99SEGQA")
    assert codes.check_code("T1", "Components").meaning == "Check: Components"
    assert codes.check_code("T1").meaning == "Check: T1"
    long = [codes.check_code("a-very-long-rule-name" + end, "x" * 100) for end in "ab"]
    assert {len(code.value) for code in long} == {16}
    assert len({code.value for code in long}) == 2
    assert all(len(code.meaning) == 64 for code in long)


def test_private_codes_fit_their_attributes_and_stand_in_the_table() -> None:
    table = codes.markdown_table()
    for value, entry in codes.PRIVATE.items():
        assert 0 < len(value) <= 16
        assert 0 < len(entry.meaning) <= 64
        assert entry.meaning.isascii()
        assert table.count(f"| `{value}` |") == 1
    assert all(line.count(" |") == 5 for line in table.splitlines()[2:])


def test_every_private_code_in_use_is_defined_and_every_other_scheme_is_public() -> None:
    used = [value for value in vars(codes).values() if isinstance(value, Code)]
    for table in (codes.VERDICTS, codes.OUTCOMES, codes.PURPOSES, codes.SEVERITIES, codes.KINDS, codes.RULE_UNITS):
        used += table.values()
    used += [*codes.LOCATION, *codes.LOWEST_CORNER, *codes.HIGHEST_CORNER]
    assert {code.scheme for code in used} == {"99SEGQA", "DCM", "SCT", "IBSI", "LN", "UMLS", "UCUM", "RFC5646"}
    assert {code.value for code in used if code.scheme == codes.SCHEME} == set(codes.PRIVATE)
    assert set(codes.OUTCOMES) == set(Outcome)
    assert set(codes.VERDICTS) == set(Verdict)
    assert all(len(code.value) <= 16 and len(code.meaning) <= 64 for code in used)
