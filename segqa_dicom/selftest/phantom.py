"""The torso as a study of three models that are right: the truth, and twice the truth with wandering boundaries."""

from __future__ import annotations

from pathlib import Path

from highdicom.seg import SegmentationTypeValues

from segqa_dicom.phantoms import errors, torso, write_ct, write_seg

PHANTOM_SHAPE = (128, 160, 192)
"""Slices of 5 mm: of them every thoracic vertebra gets the same number."""


def write_phantom_study(folder: Path, shape: tuple[int, int, int]) -> None:
    """Write the CT and the segmentations: one with a frame for each segment and slice, the others as label maps.

    Three, because of two that disagree nobody knows which one is wrong.
    """
    phantom = torso(shape)
    ct = write_ct(phantom, folder / "ct")
    write_seg(phantom.labels, phantom.structures, ct, folder / "a.dcm", model="Model A", series_number=100)
    for seed, name in ((2, "b"), (3, "c")):
        write_seg(
            errors.jitter(phantom.labels, seed=seed),
            phantom.structures,
            ct,
            folder / f"{name}.dcm",
            model=f"Model {name.upper()}",
            series_number=99 + seed,
            type_=SegmentationTypeValues.LABELMAP,
        )
