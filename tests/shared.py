"""The real data that may lie beside the project, and skipping with a reason where they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def shared(*parts: str) -> Path:
    """A path below the folder of real data; the test is skipped if it is not there."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"real data are not beside the project ({'/'.join(parts)})")
    return path
