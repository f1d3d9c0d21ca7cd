"""Errors of the encoding: made in the files, and read back as they would be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pydicom

from segqa_dicom.reading.case import read_case
from segqa_dicom.reading.seg import read_seg
from segqa_dicom.selftest.injection import Changed, Injected, Subject, replaced


def drop_referenced_instance(subject: Subject) -> Injected | None:
    """The image in the middle of the CT does not come with the others."""
    slices = subject.case.ct.record.slices
    gone = slices[len(slices) // 2].sop_instance_uid
    left = tuple(header for header in subject.files.ct if header.sop_instance_uid != gone)
    if len(left) < 2:
        return None  # an Enhanced CT is there as a whole or not at all
    case, _ = read_case(replace(subject.files, ct=left), subject.limits)
    if case is None:
        return None
    at = max(range(len(case.segmentations)), key=lambda index: len(case.segmentations[index].segments))
    uid = case.segmentations[at].record.sop_instance_uid
    return Injected(case, uid, frozenset(), f"image {len(slices) // 2 + 1} of {len(slices)}")


def rotate_frame_order(subject: Subject) -> Injected | None:
    """Every frame at the position of the one before it, under its own source image: the content is displaced.

    In the smallest file, because it is written anew.
    """
    paths = {part.header.sop_instance_uid: part.header.path for part in subject.files.segmentations}
    known = {one.record.sop_instance_uid: at for at, one in enumerate(subject.case.segmentations)}
    for uid in sorted(known, key=lambda one: paths[one].stat().st_size):
        changed = subject.folder / f"{uid}.dcm"
        if _write_rotated(paths[uid], changed):
            segmentation = read_seg(changed, subject.case.ct, subject.limits)
            return replaced(subject.case, known[uid], Changed(segmentation, frozenset(), "all structures"))
    return None


def _write_rotated(path: Path, changed: Path) -> bool:
    """Write an object with the positions of its frames rotated by one; False if it does not state any."""
    dataset = pydicom.dcmread(path)
    frames = dataset.PerFrameFunctionalGroupsSequence
    if not all("PlanePositionSequence" in frame for frame in frames):
        return False
    positions = [frame.PlanePositionSequence for frame in frames]
    for frame, position in zip(frames, [*positions[-1:], *positions[:-1]], strict=True):
        frame.PlanePositionSequence = position
    dataset.save_as(changed)
    return True
