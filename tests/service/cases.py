"""Small cases to be sent to the service: a phantom, two models, an error that is found."""

from __future__ import annotations

from pathlib import Path

from segqa_dicom.phantoms import demo_study

SHAPE = (64, 80, 96)


def small_case(folder: Path, shape: tuple[int, int, int] = SHAPE) -> Path:
    """A folder with a CT series and the results of two models on it."""
    demo_study(folder, shape)
    return folder
