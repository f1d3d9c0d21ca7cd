"""The data files of this folder, read once and only when something asks for them."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any


@cache
def load(name: str) -> dict[str, Any]:
    """A TOML file beside this module, by its path without ``.toml``."""
    return tomllib.loads(resources.files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def file_names(folder: str) -> list[str]:
    """Names without ``.toml`` of the files in a folder beside this module, sorted."""
    files = resources.files(__package__).joinpath(folder).iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))
