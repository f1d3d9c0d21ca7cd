"""The study of ``segqa demo`` in several sizes, made once in a run of the tests and copied for each of them."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from segqa_dicom.phantoms import demo_study


class _Kept:
    """Where the studies are; the processes of a run share it."""

    folder: Path


def keep_below(factory: pytest.TempPathFactory) -> None:
    """Keep studies below the folder of this run."""
    base = factory.getbasetemp()
    _Kept.folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "phantom studies"
    _Kept.folder.mkdir(exist_ok=True)


def phantom_study(folder: Path, shape: tuple[int, int, int]) -> Path:
    """A CT series of `shape` (slices, rows, columns) and the results of two models on it, below `folder`."""
    name = "x".join(map(str, shape))
    kept = _Kept.folder / name
    with (_Kept.folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            demo_study(_Kept.folder / f"{name}.part", shape)
            (_Kept.folder / f"{name}.part").rename(kept)
    shutil.copytree(kept, folder, dirs_exist_ok=True)
    return folder
