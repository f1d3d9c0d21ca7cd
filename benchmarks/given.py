"""What a step works on: arrays and files of an input, loaded before any clock runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.inputs import Study
from segqa_dicom.model import (
    Code,
    CodedStructure,
    CtFacts,
    CtRecord,
    CtVolume,
    Geometry,
    PatientStudy,
    SegFacts,
    Segment,
    Segmentation,
    SegRecord,
    SliceRef,
)
from segqa_dicom.phantoms.solids import axial_geometry

Numbers: TypeAlias = Mapping[str, Mapping[str, float | None]]
"""Structure -> name of the number -> value; None = undefined."""
Box: TypeAlias = tuple[slice, slice, slice]

TOLERANCE_MM = 3.0
"""Of surface Dice, for all structures."""


def _as_it_is(result: Any) -> Any:
    return result


@dataclass(frozen=True)
class Prepared:
    """A step ready to run.

    run : what the clock measures
    numbers : the numbers in what `run` returned, or the volume that it made; not on the clock
    warm : what runs before the clock does, to load and compile; `run` itself if it is None
    note : what a reader must know of the work
    """

    run: Callable[[], Any]
    numbers: Callable[[Any], Numbers | NDArray[Any]] = _as_it_is
    warm: Callable[[], Any] | None = None
    note: str = ""


class Given:
    """An input as the steps want it; `every` = the peers that take minutes get every such structure by size only."""

    def __init__(self, study: Study, every: int = 1) -> None:
        self.study = study
        self.every = every

    @cached_property
    def a(self) -> NDArray[Any]:
        """Labels of the reference."""
        return self.study.array("a")

    @cached_property
    def b(self) -> NDArray[Any]:
        """Labels of the evaluated model."""
        return self.study.array("b")

    @cached_property
    def hu(self) -> NDArray[np.int16]:
        """The CT."""
        return self.study.array("hu")

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """(slice, row, column)."""
        return self.study.spacing_mm

    @property
    def geometry(self) -> Geometry:
        """Of CT and labels."""
        return axial_geometry(self.study.shape, self.spacing_mm)

    @property
    def ct_files(self) -> list[Path]:
        """One per slice, in the order of their names."""
        return sorted((self.study.case() / "ct").iterdir())

    def seg_file(self, model: str) -> Path:
        """The SEG of a model."""
        return self.study.case() / f"{model}.dcm"

    @property
    def scratch(self) -> Path:
        """Where steps write to: beside the input, gone with it."""
        folder = self.study.folder / "written"
        folder.mkdir(exist_ok=True)
        return folder

    @property
    def labels(self) -> range:
        """All label values."""
        return range(1, self.study.structures + 1)

    @cached_property
    def boxes(self) -> dict[int, Box]:
        """Joint bounding box of each structure that both models have, one voxel wider; the smallest box first."""
        found = [ndimage.find_objects(labels, self.study.structures) for labels in (self.a, self.b)]
        boxes: dict[int, Box] = {}
        for label, (one, other) in enumerate(zip(*found, strict=True), start=1):
            if one is not None and other is not None:
                parts = [
                    slice(max(min(p.start, q.start) - 1, 0), min(max(p.stop, q.stop) + 1, length))
                    for p, q, length in zip(one, other, self.study.shape, strict=True)
                ]
                boxes[label] = (parts[0], parts[1], parts[2])
        return dict(sorted(boxes.items(), key=lambda item: _volume(item[1])))

    @property
    def sample(self) -> list[int]:
        """Every `every`-th structure of `boxes`."""
        return list(self.boxes)[self.every // 2 :: self.every] or list(self.boxes)[-1:]

    @property
    def sample_share(self) -> float:
        """Share of the voxels of all boxes that lie in those of the sample."""
        return sum(_volume(self.boxes[label]) for label in self.sample) / sum(map(_volume, self.boxes.values()))

    @cached_property
    def ct(self) -> CtVolume:
        """The CT as our measures want it."""
        slices = tuple(SliceRef("1.2.840.10008.5.1.4.1.1.2", f"2.25.{k + 1}") for k in range(self.study.shape[0]))
        record = CtRecord("2.25.1", "2.25.2", "2.25.3", PatientStudy(()), slices, ())
        return CtVolume(self.geometry, self.hu, record, CtFacts())

    def segmentation(self, model: str) -> Segmentation:
        """The labels of a model as our measures want them: segment n + 1 has the label n + 1, also if it is empty."""
        codes = CodedStructure(None, Code("123037004", "SCT", "Body structure"))
        segments = tuple(Segment(label, str(label), codes) for label in self.labels)
        record = SegRecord(f"2.25.9{ord(model)}", "1.2.840.10008.5.1.4.1.1.66.4", "2.25.5", "2.25.2")
        return Segmentation(record, segments, (getattr(self, model),), SegFacts())


def _volume(box: Box) -> int:
    return math.prod(int(part.stop - part.start) for part in box)
