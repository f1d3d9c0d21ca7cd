"""What a reader can say about a segment: ratings, finding types, severities, actions, confidences, each with a code.

The vocabulary belongs to the rule set (section `vocabulary` of its file) and has a version and a hash of its own: other
words for readers change no number and no check, so the documents of the machine stay as they are.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from segqa_dicom.digests import digest
from segqa_dicom.errors import ConfigurationError

SECTIONS = ("ratings", "findings", "severities", "actions", "confidences")
_FIELDS = {"code": str, "name": str, "key": str, "severity": str, "is_error": bool}
_LONGEST_CODE = 16
"""Code Value (PS3.5: VR SH); longer ones OHIF does not read."""


@dataclass(frozen=True, slots=True)
class Term:
    """One word of the vocabulary.

    id : in drafts and in JSON
    code, name : Code Value and Code Meaning in the scheme 99SEGQA
    key : on the review page; empty = none
    severity : id of the severity that a finding of this type has unless the reader says otherwise
    is_error : False for findings that are no fault of the segmentation
    """

    id: str
    code: str
    name: str
    key: str = ""
    severity: str = ""
    is_error: bool = True


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """All words, by id, in the order in which they are offered; severities from the least to the worst."""

    version: str
    hash: str
    ratings: Mapping[str, Term]
    findings: Mapping[str, Term]
    severities: Mapping[str, Term]
    actions: Mapping[str, Term]
    confidences: Mapping[str, Term]

    def section(self, name: str) -> Mapping[str, Term]:
        """The words of one of `SECTIONS`."""
        found: Mapping[str, Term] = getattr(self, name)
        return found


def default_vocabulary() -> Vocabulary:
    """The vocabulary that comes with segqa."""
    return _vocabulary(_defaults())


def vocabulary_with(overrides: Mapping[str, Any]) -> Vocabulary:
    """The default vocabulary with some entries changed, added, or switched off by ``enabled = false``.

    Raises `ConfigurationError`, naming the place, for a section or field that does not exist, a value of another type,
    and codes or keys that two words share. Codes of the words that come with segqa cannot be changed.
    """
    merged: dict[str, Any] = {
        name: dict(value) if isinstance(value, dict) else value for name, value in _defaults().items()
    }
    for section, entries in overrides.items():
        if section == "version":
            merged["version"] = str(entries)
            continue
        if section not in SECTIONS or not isinstance(entries, Mapping):
            raise ConfigurationError(f"rule set.vocabulary.{section} does not exist; there are {', '.join(SECTIONS)}")
        for word, fields in entries.items():
            merged[section][word] = _changed(merged[section].get(word, {}), fields, f"{section}.{word}")
    return _vocabulary(merged)


def _changed(default: Mapping[str, Any], fields: object, place: str) -> dict[str, Any]:
    where = f"rule set.vocabulary.{place}"
    if not isinstance(fields, Mapping):
        raise ConfigurationError(f"{where} must be a table")
    for name, value in fields.items():
        kind = bool if name == "enabled" else _FIELDS.get(name)
        if kind is None:
            raise ConfigurationError(f"{where}.{name} does not exist; there are enabled, {', '.join(_FIELDS)}")
        if not isinstance(value, kind):
            raise ConfigurationError(f"{where}.{name} must be a {kind.__name__}, not {value!r}")
        if name == "code" and default and value != default["code"]:
            raise ConfigurationError(f"{where}.code cannot be changed: documents with {default['code']} exist")
    return {**default, **fields}


@cache
def _text() -> str:
    return resources.files(__package__).joinpath("vocabulary.toml").read_text(encoding="utf-8")


def _defaults() -> dict[str, Any]:
    return tomllib.loads(_text())


def _vocabulary(data: Mapping[str, Any]) -> Vocabulary:
    sections = {
        section: {word: _term(word, fields, section) for word, fields in data[section].items() if _is_on(fields)}
        for section in SECTIONS
    }
    for term in sections["findings"].values():
        if term.severity not in sections["severities"]:
            raise ConfigurationError(
                f"rule set.vocabulary.findings.{term.id}.severity is one of: {', '.join(sections['severities'])}"
            )
    terms = [term for section in sections.values() for term in section.values()]
    _check_different("code", [term.code for term in terms])
    _check_different("key", [term.key for term in terms if term.key])
    return Vocabulary(data["version"], digest(dict(data)), **sections)


def _is_on(fields: Mapping[str, Any]) -> bool:
    return bool(fields.get("enabled", True))


def _term(word: str, fields: Mapping[str, Any], section: str) -> Term:
    where = f"rule set.vocabulary.{section}.{word}"
    for name in ("code", "name"):
        if not fields.get(name):
            raise ConfigurationError(f"{where} needs a {name}")
    if len(fields["code"]) > _LONGEST_CODE or not fields["code"].isascii():
        raise ConfigurationError(f"{where}.code must have at most {_LONGEST_CODE} ASCII characters")
    if len(fields.get("key", "")) > 1:
        raise ConfigurationError(f"{where}.key must be one character")
    return Term(word, **{name: value for name, value in fields.items() if name != "enabled"})


def _check_different(what: str, values: list[str]) -> None:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ConfigurationError(f"rule set.vocabulary: two words have the {what} {twice[0]!r}")
