"""The versioned rule set: parameters of all rules, and the hash that stands for them in every report."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from segqa_dicom.assessment.vocabulary import Vocabulary, default_vocabulary, vocabulary_with
from segqa_dicom.digests import digest
from segqa_dicom.errors import ConfigurationError

Limits = Mapping[str, float]
"""Parameters of one rule by name."""


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Parameters of all rules.

    rules : rule id -> parameters; rules that are switched off are not in it
    provisional : ids of rules whose thresholds are not calibrated yet
    hash : of all that decides numbers, checks and risks; the vocabulary of readers has its own
    """

    version: str
    rules: Mapping[str, Limits]
    provisional: frozenset[str]
    tolerance_scheme: str
    risk: Mapping[str, float]
    hash: str
    vocabulary: Vocabulary


def default_ruleset() -> RuleSet:
    """The rule set that comes with segqa."""
    return _ruleset(_defaults(), default_vocabulary())


def ruleset_from_toml(text: str, name: object) -> RuleSet:
    """The default rule set with what a TOML text changes; `name` is what messages call it. See `ruleset_with`."""
    try:
        return ruleset_with(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"rule set {name} cannot be read: {error}") from error


def ruleset_with(overrides: Mapping[str, Any]) -> RuleSet:
    """The default rule set with some values replaced; ``enabled = false`` switches a rule off.

    Raises `ConfigurationError`, naming the place, for a section, rule or parameter that does not exist, and for a value
    of another type than the default's.
    """
    rest = dict(overrides)
    words = rest.pop("vocabulary", {})
    if not isinstance(words, Mapping):
        raise ConfigurationError("rule set.vocabulary must be a table")
    return _ruleset(_merged(_defaults(), rest, "rule set"), vocabulary_with(words))


@cache
def _default_text() -> str:
    return resources.files(__package__).joinpath("ruleset.toml").read_text(encoding="utf-8")


def _defaults() -> dict[str, Any]:
    return tomllib.loads(_default_text())


def _merged(default: dict[str, Any], override: Mapping[str, Any], where: str) -> dict[str, Any]:
    result = dict(default)
    for name, value in override.items():
        place = f"{where}.{name}"
        if name == "enabled" and where.startswith("rule set.rules.") and isinstance(value, bool):
            result[name] = value
        elif name not in default:
            raise ConfigurationError(
                f"{place} does not exist; there are {', '.join(sorted(default)) or 'no parameters'}"
            )
        elif isinstance(default[name], dict):
            if not isinstance(value, Mapping):
                raise ConfigurationError(f"{place} must be a table")
            result[name] = _merged(default[name], value, place)
        else:
            result[name] = _checked(default[name], value, place)
    return result


def _checked(default: object, value: Any, place: str) -> Any:
    number = isinstance(default, (int, float)) and not isinstance(default, bool)
    fits = (
        isinstance(value, (int, float)) and not isinstance(value, bool) if number else isinstance(value, type(default))
    )
    if not fits:
        raise ConfigurationError(f"{place} must be like {default!r}, not {value!r}")
    return float(value) if number else value


def _ruleset(data: dict[str, Any], vocabulary: Vocabulary) -> RuleSet:
    rules = {name: dict(values) for name, values in data["rules"].items() if values.get("enabled", True)}
    provisional = frozenset(name for name, values in rules.items() if values.get("provisional"))
    switches = ("enabled", "provisional")
    return RuleSet(
        version=data["version"],
        rules={
            name: {key: float(value) for key, value in values.items() if key not in switches}
            for name, values in rules.items()
        },
        provisional=provisional,
        tolerance_scheme=data["surface"]["tolerance_scheme"],
        risk={key: float(value) for key, value in data["risk"].items()},
        hash=digest(data),
        vocabulary=vocabulary,
    )
