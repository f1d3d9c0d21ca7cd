"""The words of readers."""

from __future__ import annotations

import pytest

from segqa_dicom.assessment.vocabulary import SECTIONS, default_vocabulary
from segqa_dicom.checks import default_ruleset, ruleset_with
from segqa_dicom.checks.ruleset import ruleset_from_toml
from segqa_dicom.errors import ConfigurationError


def test_every_word_can_be_written_as_a_code_of_its_own() -> None:
    vocabulary = default_vocabulary()
    terms = [term for section in SECTIONS for term in vocabulary.section(section).values()]
    assert len({term.code for term in terms}) == len(terms)
    assert all(len(term.code) <= 16 and len(term.name) <= 64 and term.name.isascii() for term in terms)


def test_ratings_are_five_grades_and_not_assessable() -> None:
    assert list(default_vocabulary().ratings) == ["5", "4", "3", "2", "1", "na"]


def test_severities_are_ordered_from_the_least_to_the_worst() -> None:
    assert list(default_vocabulary().severities) == ["cosmetic", "minor", "major", "critical"]


def test_other_words_change_the_hash_of_the_vocabulary_but_no_number_of_the_machine() -> None:
    changed = ruleset_with({"vocabulary": {"findings": {"leak": {"key": "g"}}}})
    assert changed.vocabulary.findings["leak"].key == "g"
    assert changed.vocabulary.hash != default_ruleset().vocabulary.hash
    assert changed.hash == default_ruleset().hash


def test_a_file_may_add_and_switch_off_finding_types() -> None:
    text = """
    [vocabulary.findings.contrast]
    code = "QF-CONTRAST"
    name = "Contrast medium taken for bone"
    key = "g"
    severity = "major"
    [vocabulary.findings.variant]
    enabled = false
    """
    words = ruleset_from_toml(text, "mine.toml").vocabulary.findings
    assert words["contrast"].name == "Contrast medium taken for bone"
    assert "variant" not in words
    assert words["contrast"].is_error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"moods": {}}, "vocabulary.moods does not exist"),
        ({"findings": {"leak": {"code": "QF-OTHERS"}}}, "vocabulary.findings.leak.code cannot be changed"),
        ({"findings": {"leak": {"colour": "red"}}}, "vocabulary.findings.leak.colour does not exist"),
        ({"findings": {"leak": {"key": 5}}}, "vocabulary.findings.leak.key must be a str"),
        ({"findings": {"leak": {"key": "u"}}}, "two words have the key 'u'"),
        ({"findings": {"leak": {"severity": "dire"}}}, "findings.leak.severity is one of: cosmetic"),
        ({"findings": {"new": {"name": "New", "severity": "minor"}}}, "findings.new needs a code"),
        ({"findings": {"new": {"code": "QF-" + 20 * "X", "name": "New"}}}, "at most 16 ASCII"),
        ({"findings": {"leak": 3}}, "findings.leak must be a table"),
    ],
)
def test_what_cannot_be_a_word_is_named(words: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message.replace(".", r"\.")):
        ruleset_with({"vocabulary": words})
