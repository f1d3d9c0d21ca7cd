"""Texts of people: what is kept of them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.valuerep import PersonName

from segqa_dicom.sr import reader_text

ANYTHING = st.text(st.characters(), max_size=300) | st.text(alphabet="a\r\n\t\x00\x1b\\^=\u202e\ud800\ufffe\u0301 ")
LONG = st.text(alphabet="a\u00e4 \n\u4e0b", min_size=1900, max_size=2500)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("l\u00e4uft aus \u2265 3 mm \u4e0b\u6975 \U0001f9e0", "l\u00e4uft aus \u2265 3 mm \u4e0b\u6975 \U0001f9e0"),
        ("  one\r\ntwo\rthree\u2028four\x0bfive  ", "one\ntwo\nthree\nfour\nfive"),
        ("a\tb\x00c\x1b[31md\x7f", "a bc[31md"),
        ("a\u0308", "\u00e4"),
        ("\ud83e alone, \ufffe and \ufdd0 are no text", " alone,  and  are no text".strip()),
        ("\u202egnp.exe \u2066x\u2069\ufeff", "gnp.exe x"),
        ("C:\\a\\b", "C:\\a\\b"),
        ("x" * 2001, "x" * 1999 + "\u2026"),
        ("x" * 2000, "x" * 2000),
        (" \n\x00 ", ""),
    ],
)
def test_comments_keep_everything_that_is_text(typed: str, kept: str) -> None:
    assert reader_text.comment_text(typed) == kept


@given(ANYTHING | LONG)
def test_a_cleaned_comment_stays_as_it_is(typed: str) -> None:
    kept = reader_text.comment_text(typed)
    assert reader_text.comment_text(kept) == kept
    assert len(kept.replace("\n", "\r\n").encode()) <= 4 * 2 * reader_text.COMMENT_LENGTH
    assert not [char for char in kept if char != "\n" and unicodedata.category(char) in {"Cc", "Cs"}]


@given(ANYTHING | LONG)
def test_a_line_has_no_line_breaks_and_stays_as_it_is(typed: str) -> None:
    line = reader_text.line_text(typed)
    assert len(line) <= reader_text.LINE_LENGTH
    assert len(line.splitlines()) <= 1
    assert reader_text.line_text(line) == line
    assert "\\" not in reader_text.long_string(typed)
    assert len(reader_text.long_string(typed)) <= 64
    assert reader_text.long_string(reader_text.long_string(typed)) == reader_text.long_string(typed)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("M\u00fcller^J\u00fcrgen^^Dr.", "M\u00fcller^J\u00fcrgen^^Dr."),
        ("Yamada^Tarou=\u5c71\u7530^\u592a\u90ce=\u3084\u307e\u3060^\u305f\u308d\u3046",) * 2,
        ("Doe^Jane^^^^", "Doe^Jane"),
        ("A^B^C^D^E^F", "A^B^C^D^E F"),
        ("a=b=c=d", "a=b=c"),
        ("=\u5c71\u7530", "=\u5c71\u7530"),
        ("Doe\\Roe^J\nane", "Doe/Roe^J ane"),
        ("x" * 70, "x" * 63 + "\u2026"),
        ("^^^", "reader"),
        (" ", "reader"),
    ],
)
def test_names_of_persons_are_made_to_fit(given: str, kept: str) -> None:
    assert reader_text.person_name(given, otherwise="reader") == kept


@given(ANYTHING, ANYTHING)
def test_a_name_is_always_a_name(name: str, login: str) -> None:
    kept = reader_text.person_name(name, otherwise=login)
    assert reader_text.person_name(kept, otherwise=login) == kept
    assert kept
    assert "\\" not in kept
    groups = kept.split("=")
    assert len(groups) <= 3
    assert all(len(group) <= 64 and len(group.split("^")) <= 5 for group in groups)
    assert str(PersonName(kept)) == kept
    assert reader_text.spoken_name(kept)


def test_names_are_said_as_people_say_them() -> None:
    assert reader_text.spoken_name("M\u00fcller^J\u00fcrgen^K.^Dr.^MD") == "Dr. J\u00fcrgen K. M\u00fcller MD"
    assert reader_text.spoken_name("=\u5c71\u7530^\u592a\u90ce") == "\u592a\u90ce \u5c71\u7530"
    assert reader_text.person_name("", otherwise="") == "Unknown"
    assert reader_text.person_name("", otherwise="a^b=c") == "a b c"
