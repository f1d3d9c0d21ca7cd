"""The study of ``segqa demo``: a torso and two models, each wrong in its own ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.phantoms import errors
from segqa_dicom.phantoms.dicom import write_ct, write_seg
from segqa_dicom.phantoms.torso import Phantom, torso

VERTEBRAE = [*(f"vertebrae_T{n}" for n in range(1, 13)), *(f"vertebrae_L{n}" for n in range(1, 6))]
"""Labels of the spine, head to feet."""


def demo_study(folder: Path, shape: tuple[int, int, int] = (128, 136, 192)) -> None:
    """Write the CT and the two segmentations below `folder`. Pixels are square: else OHIF 3.12 misplaces marks."""
    phantom = torso(shape)
    ct = write_ct(phantom, folder / "ct")
    for number, (model, labels) in enumerate((("Model A", model_a(phantom)), ("Model B", model_b(phantom))), start=100):
        path = folder / f"{model.lower().replace(' ', '_')}.dcm"
        write_seg(labels, phantom.structures, ct, path, model=model, series_number=number)


def model_a(phantom: Phantom) -> NDArray[np.uint8]:
    """T8 merged into T9, an island of the liver in the pelvis, a gap in the aorta."""
    labels = errors.jitter(phantom.labels, seed=1)
    value = phantom.value_of
    labels = errors.merge(labels, value("vertebrae_T9"), value("vertebrae_T8"))
    slices, rows, columns = labels.shape
    labels = errors.add_island(labels, value("liver"), (slices // 5, rows // 2, columns // 3), (1, 1, 3))
    return errors.drop_slice(labels, value("aorta"), round(slices * 0.55))


def model_b(phantom: Phantom) -> NDArray[np.uint8]:
    """Kidneys swapped, the spleen leaking out of the body, a rib with a piece of its neighbour, no gallbladder."""
    labels = errors.jitter(phantom.labels, seed=2)
    value = phantom.value_of
    labels = errors.swap(labels, value("kidney_left"), value("kidney_right"))
    labels = errors.leak(labels, value("spleen"), rows=0, columns=labels.shape[2] // 5)
    labels = errors.take_piece(labels, value("rib_right_7"), value("rib_right_8"))
    return errors.remove(labels, value("gallbladder"))
