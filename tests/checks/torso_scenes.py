"""Spine and ribs of the torso phantom with errors, and rows of vertebrae made of boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.checks import Check, Finding, Outcome
from segqa_dicom.model import Case, CodedStructure, SegFacts, Segment, Segmentation, SegRecord
from segqa_dicom.phantoms import Phantom, errors, torso
from tests.scenes import Box, Part, case, ct, geometry, segmentation

Labels = NDArray[np.uint8]
SPINE_AND_RIBS = 43
"""So many structures stand first in the phantom: spinal cord, 17 vertebrae, sacrum, 24 ribs."""
LEVELS = [*(f"T{n}" for n in range(1, 13)), *(f"L{n}" for n in range(1, 6))]


@cache
def phantom() -> Phantom:
    return torso(structure_count=SPINE_AND_RIBS)


def truth() -> Labels:
    return phantom().labels


@cache
def other_truth() -> Labels:
    """The same anatomy as another model sees it."""
    return errors.jitter(truth(), seed=1)


def value(name: str) -> int:
    """``T9``, ``left 9``, ``sacrum`` -> label in the phantom."""
    if " " in name:
        return phantom().value_of(f"rib_{name.replace(' ', '_')}")
    return phantom().value_of(f"vertebrae_{name}" if name in LEVELS else name)


def values(*names: str) -> list[int]:
    return [value(name) for name in names]


def spine() -> list[int]:
    return values(*LEVELS)


def ribs(side: str) -> list[int]:
    return values(*(f"{side} {n}" for n in range(1, 13)))


def without(*names: str) -> Labels:
    return errors.renumber(truth(), dict.fromkeys(values(*names), 0))


def renamed(labels: Labels, names: Mapping[str, str]) -> Labels:
    return errors.renumber(labels, {value(old): value(new) for old, new in names.items()})


def codes_of(level: str) -> CodedStructure:
    return phantom().structures[value(level) - 1].codes


def model(labels: Labels, name: str) -> Segmentation:
    uid = f"1.2.5.{sum(map(ord, name))}"
    record = SegRecord(
        uid, "1.2.840.10008.5.1.4.1.1.66.4", f"{uid}.1", "1.2", name, file_digest=uid, content_digest=uid
    )
    segments = tuple(Segment(n + 1, one.label, one.codes, frame_count=1) for n, one in enumerate(phantom().structures))
    return Segmentation(record, segments, (labels.copy(),), SegFacts())


def models(*volumes: Labels) -> Case:
    """Results "A", "B", ... of the phantom's CT."""
    named = [model(labels, chr(ord("A") + n)) for n, labels in enumerate(volumes)]
    return Case(ct(phantom().hu, where=phantom().geometry), tuple(named))


def cut_above(labels: Labels, name: str) -> Case:
    """A scan that ends in the middle of a structure, with one result."""
    whole = phantom()
    slices = np.flatnonzero((labels == value(name)).any(axis=(1, 2)))
    stop = int(slices[len(slices) // 2])
    where = geometry((stop, *whole.geometry.shape[1:]), whole.geometry.spacing_mm)
    return Case(ct(whole.hu[:stop].copy(), where=where), (model(labels[:stop], "A"),))


ROW_SHAPE, ROW_SPACING = (70, 60, 30), (4.0, 4.0, 4.0)


def row(*vertebrae: tuple[str, Sequence[Box]]) -> Case:
    """Vertebrae made of boxes in a larger body of 4 mm voxels."""
    parts = [Part(f"vertebrae_{level}", codes_of(level), boxes) for level, boxes in vertebrae]
    return case(segmentation(parts, shape=ROW_SHAPE), volume=ct(where=geometry(ROW_SHAPE, ROW_SPACING)))


def block(k: int, i: int = 20, size: tuple[int, int, int] = (5, 8, 8)) -> Box:
    """The body of a vertebra from slice k and row i on."""
    return slice(k, k + size[0]), slice(i, i + size[1]), slice(11, 11 + size[2])


def straight(**changed: Sequence[Box]) -> Case:
    """T6 to T12 in a row, each 5 slices high with one slice between them; some with other boxes (none: not there)."""
    boxes = {f"T{n}": [block(60 - 6 * (n - 5))] for n in range(6, 13)} | changed
    return row(*((level, found) for level, found in boxes.items() if found))


def complaints(found: Sequence[Check | Finding]) -> list[Check | Finding]:
    return [one for one in found if one.outcome in (Outcome.WARNING, Outcome.FAIL)]
