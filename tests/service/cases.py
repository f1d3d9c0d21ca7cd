"""Small cases to be sent to the service: a phantom, two models, an error that is found."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from segqa_dicom.dicom.uids import stable_uid
from tests.phantom_studies import phantom_study

SHAPE = (64, 80, 96)
TINY = (24, 40, 48)
"""For many cases at once."""
_UID = re.compile(rb"2\.25\.([0-9]{20,39})")
"""Of an object, series, study, frame of reference: all UIDs that phantoms have of their own are of this kind."""


def small_case(folder: Path, shape: tuple[int, int, int] = SHAPE) -> Path:
    """A folder with a CT series and the results of two models on it."""
    return phantom_study(folder, shape)


def copies(case: Path, count: int) -> list[Path]:
    """Folders beside `case` with the same pixels under other UIDs: as many other studies, each consistent in itself.

    Made anew, a copy has the same UIDs again.
    """
    folders = [case.with_name(f"{case.name}-{number}") for number in range(1, count + 1)]
    for path in sorted(case.rglob("*.dcm")):
        content = path.read_bytes()
        for number, folder in enumerate(folders, start=1):
            target = folder / path.relative_to(case)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(_UID.sub(partial(_other_uid, number), content))
    return folders


def _other_uid(number: int, found: re.Match[bytes]) -> bytes:
    """As long as the one that was found, so that it can take its place in a file."""
    digits = found[1].decode()
    other = stable_uid("copy of a test case", number, digits).removeprefix("2.25.")
    return b"2.25.1" + other.zfill(39)[1 - len(digits) :].encode()
