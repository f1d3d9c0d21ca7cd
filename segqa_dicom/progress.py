"""Telling whoever waits how far a long step has come."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Called with the name of the step, how many parts are done, and how many there are."""


def silent(_step: str, _done: int, _total: int) -> None:
    """The `Progress` for callers that nobody watches."""
