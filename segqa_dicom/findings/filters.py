"""Filters of findings, as URLs and options write them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

from segqa_dicom.dicom.uids import normalised_uid
from segqa_dicom.errors import Inconsistent, InputError
from segqa_dicom.sr.interpretation import FindingKind
from segqa_dicom.sr.outcomes import OUTCOMES, SEVERITIES

VERDICTS = ("unusable", "review", "usable")

KINDS = {kind.name.lower(): kind for kind in FindingKind}

_DATE = re.compile(r"([0-9]{8})?(-)?([0-9]{8})?\Z")

_MOST_CHARACTERS = 256


class UnsupportedFilter(InputError):
    """A filter that there is not, or a value that it cannot have."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which findings are wanted. Of a tuple one value must hold, of several filters all; empty = whatever it is.

    structure : code value, canonical name (``kidney_left``, ``kidney``), or words of label and codes
    rule : ids of rules (``T1``)
    outcome, severity, verdict, kind : see `OUTCOMES`, `SEVERITIES`, `VERDICTS`, `KINDS`
    model : part of the SEG's series description or model name, whatever the case
    version : of the model, by the SEG's Software Versions or as a word of its name
    reviewer : part of the name of a person who observed, or of the login of who wrote a review
    study, series, seg, document : UIDs; a series is that of the CT or of the document
    first_date, last_date : YYYYMMDD, of the document
    is_current_only : without documents that another one has replaced
    """

    structure: tuple[str, ...] = ()
    rule: tuple[str, ...] = ()
    outcome: tuple[str, ...] = ()
    severity: tuple[str, ...] = ()
    verdict: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    model: tuple[str, ...] = ()
    version: tuple[str, ...] = ()
    reviewer: tuple[str, ...] = ()
    study: tuple[str, ...] = ()
    series: tuple[str, ...] = ()
    seg: tuple[str, ...] = ()
    document: tuple[str, ...] = ()
    first_date: str = ""
    last_date: str = ""
    is_current_only: bool = True


def parsed_filters(given: Sequence[tuple[str, str]]) -> Filters:
    """Filters from names and values as they stand in a URL; commas separate alternatives, but not in `structure`,
    `model` and `reviewer`, which are given several times.

    Raises `UnsupportedFilter`.
    """
    listed: dict[str, tuple[str, ...]] = {}
    first = last = ""
    current = True
    for name, value in given:
        if len(value) > _MOST_CHARACTERS:
            raise UnsupportedFilter(f"value of {name} has more than {_MOST_CHARACTERS} characters")
        if name == "date":
            first, last = _dates(value)
        elif name == "current":
            current = _only_current(value)
        elif name in _LISTED:
            parts = (value,) if name in _WITH_COMMAS else tuple(part.strip() for part in value.split(","))
            listed[name] = listed.get(name, ()) + tuple(_checked(name, part) for part in parts if part)
        else:
            raise UnsupportedFilter(f"{_shown(name)} is no filter; filters: {', '.join((*_LISTED, 'date', 'current'))}")
    return Filters(**listed, first_date=first, last_date=last, is_current_only=current)


_LISTED = tuple(one.name for one in fields(Filters))[:-3]

_WITH_COMMAS = frozenset(("structure", "model", "reviewer"))

_CHOICES: dict[str, tuple[str, ...]] = {
    "outcome": OUTCOMES,
    "severity": SEVERITIES,
    "verdict": VERDICTS,
    "kind": tuple(KINDS),
}

_UIDS = frozenset(("study", "series", "seg", "document"))


def _checked(name: str, value: str) -> str:
    if name in _CHOICES:
        found = next((one for one in _CHOICES[name] if one.lower() == value.lower()), None)
        if found is None:
            raise UnsupportedFilter(f"{name} is one of: {', '.join(_CHOICES[name])}")
        return found
    if name in _UIDS:
        try:
            return normalised_uid(value, what=f"value of {name}")
        except Inconsistent as error:
            raise UnsupportedFilter(str(error)) from error
    return value


def _dates(value: str) -> tuple[str, str]:
    found = _DATE.match(value.strip())
    if found is None or not (found[1] or found[3]):
        raise UnsupportedFilter("date is YYYYMMDD, or a range: YYYYMMDD-YYYYMMDD, YYYYMMDD-, -YYYYMMDD")
    first, dash, last = found[1] or "", found[2], found[3] or ""
    return (first, last) if dash else (first, first)


def _only_current(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise UnsupportedFilter("current is true (the default) or false")
    return value.lower() == "true"


def _shown(name: str) -> str:
    return name if re.fullmatch(r"[0-9A-Za-z_-]{1,32}", name) else "a name in the question"
