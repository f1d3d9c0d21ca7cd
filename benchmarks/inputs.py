"""The input of the benchmarks: a torso phantom and a real case brought to its size, as DICOM and as arrays."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.seg_writer import write_binary_seg
from benchmarks.upsampling import upsampled_case
from benchmarks.warping import warped
from segqa_dicom.model import Code, CodedStructure
from segqa_dicom.phantoms import Phantom, PhantomStructure, torso, write_ct
from segqa_dicom.phantoms.solids import paint, sphere
from segqa_dicom.phantoms.structures import HEIGHT_MM
from segqa_dicom.phantoms.torso import BODY_HALF_DEPTH_MM, BODY_HALF_WIDTH_MM

Labels = NDArray[Any]
Shape = tuple[int, int, int]

VERSION = 2
"""Raised when the same request makes another input, so that kept folders are made anew."""
FULL_SHAPE: Shape = (300, 512, 512)
FULL_STRUCTURES = 104
ISLANDS = 24
_MODELS = ("a", "b", "c")


@dataclass(frozen=True)
class Request:
    """What an input is made from.

    models : a is the truth, b has errors, c is like b with other boundaries
    copies : the same study this many times, each with UIDs of its own
    arrays : also write CT and labels as arrays, for the steps that start with them
    source : name of the case that it was made from
    """

    kind: str
    shape: Shape
    structures: int
    models: int = 2
    copies: int = 1
    arrays: bool = True
    source: str = ""
    version: int = VERSION


@dataclass(frozen=True)
class Study:
    """A made input: ``dicom/N/ct``, ``dicom/N/a.dcm`` and so on below `folder`, and arrays beside them.

    frames : of the SEG of each model
    made_s : seconds it took to make
    """

    name: str
    folder: Path
    shape: Shape
    spacing_mm: tuple[float, float, float]
    structures: int
    frames: tuple[int, ...]
    megabytes: float
    made_s: float

    @property
    def dicom(self) -> Path:
        """Everything that belongs to all copies."""
        return self.folder / "dicom"

    def case(self, copy: int = 0) -> Path:
        """The folder of one copy: one case."""
        return self.dicom / str(copy)

    def array(self, name: str) -> NDArray[Any]:
        """``hu`` or the labels of a model, of the shape of the CT; label n is the same structure in all models."""
        loaded: NDArray[Any] = np.load(self.folder / f"{name}.npy")
        return loaded


def prepared(name: str, folder: Path, request: Request, source: Path | None = None) -> Study:
    """The input of that name below `folder`: the one that is there if it was made from the same request.

    source : the folder of the case for an input of kind "real"
    """
    place = folder / name
    facts = place / "input.json"
    wanted = json.loads(json.dumps(asdict(request)))
    if facts.exists():
        found = json.loads(facts.read_text(encoding="utf-8"))
        if found["request"] == wanted:
            return opened(place)
        shutil.rmtree(place)
    place.mkdir(parents=True, exist_ok=True)
    if any(place.iterdir()):
        raise ValueError(f"{place} holds something that is no input of benchmarks; choose another folder")
    facts.write_text(json.dumps({"request": None}), encoding="utf-8")  # so that half an input can be made anew
    started = time.perf_counter()
    made = _torso(request) if source is None else upsampled_case(source, request.shape)
    spacing = made[0].geometry.spacing_mm
    frames = _write(place, *made, request)
    size = sum(path.stat().st_size for path in place.rglob("*.dcm")) / 1e6
    entry = {
        "request": wanted,
        "name": name,
        "shape": made[0].geometry.shape,
        "spacing_mm": spacing,
        "structures": len(made[0].structures),
        "frames": frames,
        "megabytes": round(size, 1),
        "made_s": round(time.perf_counter() - started, 1),
    }
    facts.write_text(json.dumps(entry, indent=2), encoding="utf-8")
    return opened(place)


def opened(place: Path) -> Study:
    """The input in a folder."""
    entry = json.loads((place / "input.json").read_text(encoding="utf-8"))
    return Study(
        entry["name"], place, tuple(entry["shape"]), tuple(entry["spacing_mm"]), entry["structures"],
        tuple(entry["frames"]), entry["megabytes"], entry["made_s"],
    )  # fmt: skip


def _write(place: Path, phantom: Phantom, models: Sequence[Labels], request: Request) -> list[int]:
    frames: list[int] = []
    for copy in range(request.copies):
        case = place / "dicom" / str(copy)
        ct = write_ct(phantom, case / "ct", name=f"benchmark {request.kind} {copy}")
        frames = [
            write_binary_seg(labels, phantom.structures, ct, case / f"{name}.dcm", model=f"Model {name}")
            for name, labels in zip(_MODELS, models, strict=False)
        ]
    if not request.arrays:
        return frames
    np.save(place / "hu.npy", phantom.hu)
    for name, labels in zip(_MODELS, models, strict=False):
        np.save(place / f"{name}.npy", labels)
    return frames


# ----------------------------------------------------------------------------------------------------- torso


def _torso(request: Request) -> tuple[Phantom, list[Labels]]:
    phantom = torso(request.shape, structure_count=min(request.structures, FULL_STRUCTURES))
    phantom = _with_balls(phantom, request.structures - FULL_STRUCTURES)
    return phantom, [phantom.labels, *(_with_errors(phantom, seed) for seed in range(1, request.models))]


def _with_balls(phantom: Phantom, count: int) -> Phantom:
    """The phantom with `count` balls of 9 mm on a lattice through the body, painted over whatever is there."""
    if count <= 0:
        return phantom
    steps = (
        np.arange(40.0, HEIGHT_MM - 20, 36.0),
        np.arange(-BODY_HALF_DEPTH_MM + 30, BODY_HALF_DEPTH_MM - 25, 36.0),
        np.arange(-BODY_HALF_WIDTH_MM + 30, BODY_HALF_WIDTH_MM - 25, 36.0),
    )
    places = list(product(*steps))
    if count > len(places):
        raise ValueError(f"at most {FULL_STRUCTURES + len(places)} structures")
    order = np.random.default_rng(3).permutation(len(places))[:count]
    first = len(phantom.structures) + 1
    labels = phantom.labels.astype(np.uint16 if first + count > 256 else np.uint8)
    balls = []
    for number, at in enumerate(order):
        z, y, x = places[at]
        ball = sphere((x, y, z), 9.0)
        paint(cast("NDArray[np.uint8]", labels), first + number, ball, phantom.geometry, over=True)
        balls.append(PhantomStructure(f"ball_{number + 1}", _ball_codes(), 40, (ball,)))
    return replace(phantom, labels=cast("NDArray[np.uint8]", labels), structures=(*phantom.structures, *balls))


def _ball_codes() -> CodedStructure:
    return CodedStructure(
        Code("49755003", "SCT", "Morphologically Altered Structure"), Code("27925004", "SCT", "Nodule")
    )


def _with_errors(phantom: Phantom, seed: int) -> Labels:
    """Boundaries that wander by about 1 mm; structures missing, cut, swapped left for right; islands."""
    voxels = [min(1.0 / step, 2.0) for step in phantom.geometry.spacing_mm]
    labels = warped(phantom.labels, seed=seed, voxels=(voxels[0], voxels[1], voxels[2]))
    random = np.random.default_rng(seed)
    counts = np.bincount(labels.reshape(-1), minlength=len(phantom.structures) + 1)
    by_size = [int(value) for value in np.argsort(counts) if value and counts[value]]
    for share in (0.05, 0.15, 0.3):
        labels[labels == by_size[int(share * len(by_size))]] = 0
    boxes = ndimage.find_objects(labels)
    for share in (0.45, 0.65, 0.85):
        _cut(labels, by_size[int(share * len(by_size))], boxes)
    _swap(labels, *_sides(phantom, by_size))
    for _ in range(ISLANDS):
        _add_island(labels, int(random.choice(by_size[len(by_size) // 3 :])), random)
    return labels


def _cut(labels: Labels, value: int, boxes: Sequence[tuple[slice, ...] | None]) -> None:
    """Without the upper half of a structure."""
    place = boxes[value - 1]
    if place is not None:
        upper = labels[(slice((place[0].start + place[0].stop) // 2, place[0].stop), *place[1:])]
        upper[upper == value] = 0


def _sides(phantom: Phantom, by_size: Sequence[int]) -> tuple[int, int]:
    names = {structure.label: at for at, structure in enumerate(phantom.structures, start=1)}
    left, right = names.get("kidney_left"), names.get("kidney_right")
    return (left, right) if left and right else (by_size[-1], by_size[-2])


def _swap(labels: Labels, one: int, other: int) -> None:
    was_one = labels == one
    labels[labels == other] = one
    labels[was_one] = other


def _add_island(labels: Labels, value: int, random: np.random.Generator) -> None:
    """A box of up to 9 voxels an edge somewhere in the middle of the volume."""
    sizes = [min(int(random.integers(3, 10)), length // 4) for length in labels.shape]
    starts = [int(random.integers(length // 5, 4 * length // 5 - size)) for length, size in zip(labels.shape, sizes)]  # noqa: B905
    labels[tuple(slice(start, start + size) for start, size in zip(starts, sizes, strict=True))] = value
