"""Matching of names and of multiple values (PS3.4, section C.2.2.2), as functions for SQLite."""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from collections.abc import Callable


def folded(name: str) -> str:
    """A person name in lower case without accents."""
    parts = unicodedata.normalize("NFKD", name)
    return "".join(part for part in parts if not unicodedata.combining(part)).casefold()


def _pattern(value: str) -> re.Pattern[str]:
    return re.compile(re.escape(value).replace(r"\*", ".*").replace(r"\?", "."), re.DOTALL)


def _name_matches(name: str, wanted: str) -> bool:
    pattern = _pattern(wanted)
    return any(
        pattern.fullmatch(group) is not None
        for one in folded(name).split("\\")
        for group in (one, *(part.rstrip("^") for part in one.split("=")))
    )


def _fuzzy_name(name: str, wanted: str) -> bool:
    words = re.split(r"[\s^=\\]+", folded(name))
    asked = [word for word in re.split(r"[\s^=*]+", wanted) if word]
    return all(any(_pattern(f"{part}*").fullmatch(word) for word in words) for part in asked)


def _one_matches(values: str, wanted: str) -> bool:
    pattern = _pattern(wanted)
    return any(pattern.fullmatch(value) is not None for value in values.split("\\"))


_FUNCTIONS: dict[str, Callable[[str, str], bool]] = {
    "name_matches": _name_matches,
    "fuzzy_name": _fuzzy_name,
    "one_matches": _one_matches,
}


def add_functions(connection: sqlite3.Connection) -> None:
    """Define `name_matches`, `fuzzy_name` and `one_matches` for the SQL of a connection."""
    for name, function in _FUNCTIONS.items():
        connection.create_function(name, 2, function, deterministic=True)
