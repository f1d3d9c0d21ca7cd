"""A torso of about a hundred structures: paired organs, spine, ribs, vessels and muscles, with codes and HU.

Not a model of anyone: sizes and places are plausible, neighbours do not overlap, vertebrae do not touch, and every
structure is one piece where anatomy has one. Supine, head first; x to the left, y to the back, z to the head, in mm;
z = 0 at the upper thighs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segqa_dicom.model import Geometry
from segqa_dicom.phantoms.soft_tissues import abdomen, chest, muscles, vessels
from segqa_dicom.phantoms.solids import (
    Vector,
    axial_geometry,
    box,
    cylinder,
    ellipsoid,
    paint,
    sphere,
    tube,
)
from segqa_dicom.phantoms.structures import AIR_HU, BONE_HU, FAT_HU, HEIGHT_MM, MUSCLE_HU, PhantomStructure, one

BODY_HALF_WIDTH_MM, BODY_HALF_DEPTH_MM = 172.0, 122.0
SPINE_Y_MM = 52.0

IN_SEVERAL_PIECES = ("costal_cartilages", "colon")
"""Structures that need not be one piece."""


# SNOMED CT codes: TotalSegmentator's table (github.com/wasserth/TotalSegmentator, resources); DICOM PS3.16.
_VERTEBRAE = {
    **dict(
        zip(
            (f"T{n}" for n in range(1, 13)),
            [
                "64864005",
                "53733008",
                "1626008",
                "73071006",
                "56401006",
                "45296009",
                "62487009",
                "11068009",
                "82687006",
                "7610001",
                "12989004",
                "23215003",
            ],
            strict=True,
        )
    ),
    **dict(
        zip((f"L{n}" for n in range(1, 6)), ["66794005", "14293000", "36470004", "11994002", "49668003"], strict=True)
    ),
}
_RIBS = (
    ("48535007", "First"),
    ("78247007", "Second"),
    ("25888004", "Third"),
    ("25523003", "Fourth"),
    ("15339008", "Fifth"),
    ("59558009", "Sixth"),
    ("24915002", "Seventh"),
    ("5953002", "Eighth"),
    ("22565002", "Ninth"),
    ("77644006", "Tenth"),
    ("58830002", "Eleventh"),
    ("43993008", "Twelfth"),
)


@dataclass(frozen=True, eq=False)
class Phantom:
    """A CT with its true segmentation.

    hu : (slice, row, column) int16
    labels : (slice, row, column) uint8; n + 1 = structures[n]
    """

    geometry: Geometry
    hu: NDArray[np.int16]
    labels: NDArray[np.uint8]
    structures: tuple[PhantomStructure, ...]

    def value_of(self, label: str) -> int:
        """The label value of a structure; raises `KeyError` if there is none of that name."""
        for index, structure in enumerate(self.structures):
            if structure.label == label:
                return index + 1
        raise KeyError(label)


def torso(
    shape: tuple[int, int, int] = (128, 160, 192), *, seed: int = 0, structure_count: int | None = None
) -> Phantom:
    """The torso, sampled so that it fills `shape` = (slices, rows, columns), with noise of a fixed seed.

    structure_count : fewer structures (the first ones), or more: small nodules in the lungs are added, up to 255
    """
    spacing = (HEIGHT_MM / shape[0], 2.1 * BODY_HALF_DEPTH_MM / shape[1], 2.1 * BODY_HALF_WIDTH_MM / shape[2])
    geometry = axial_geometry(shape, spacing, lowest_z_mm=HEIGHT_MM / shape[0] / 2)
    structures = list(_structures())
    if structure_count is not None:
        structures = [*_nodules(max(structure_count - len(structures), 0)), *structures][:structure_count]
    labels = np.zeros(shape, np.uint8)
    for index, structure in enumerate(structures):
        for solid in structure.solids:
            paint(labels, index + 1, solid, geometry)
    _one_piece_each(labels, structures)
    return Phantom(geometry, _hu(labels, structures, geometry, seed), labels, tuple(structures))


def _one_piece_each(labels: NDArray[np.uint8], structures: list[PhantomStructure]) -> None:
    """Drop what a neighbour cut off from a structure that anatomy has in one piece."""
    for index, place in enumerate(ndimage.find_objects(labels, len(structures))):
        if place is None or structures[index].label in IN_SEVERAL_PIECES:
            continue
        crop = labels[place]
        pieces, count = ndimage.label(crop == index + 1, np.ones((3, 3, 3)))
        if count > 1:
            largest = int(np.argmax(np.bincount(pieces.reshape(-1))[1:])) + 1
            crop[(pieces > 0) & (pieces != largest)] = 0


def _hu(
    labels: NDArray[np.uint8], structures: list[PhantomStructure], geometry: Geometry, seed: int
) -> NDArray[np.int16]:
    """HU slice by slice: air, fat, muscle and the structures, with smooth texture and noise."""
    random = np.random.default_rng(seed)
    table = np.array([0, *(structure.hu for structure in structures)], np.float32)
    slices, rows, columns = labels.shape
    y = geometry.slice_origins_mm[0, 1] + np.arange(rows)[:, None] * geometry.row_step_mm[1]
    x = geometry.slice_origins_mm[0, 0] + np.arange(columns)[None, :] * geometry.column_step_mm[0]
    hu = np.empty(labels.shape, np.int16)
    texture = ndimage.gaussian_filter(random.normal(size=(rows, columns)), 3) * 60
    for index in range(slices):
        z = float(geometry.slice_origins_mm[index, 2])
        inside = _outline(x, y, z, 0.0)
        values = np.where(inside, np.where(_outline(x, y, z, 14.0), MUSCLE_HU, FAT_HU), AIR_HU).astype(np.float32)
        values = np.where(labels[index] > 0, table[labels[index]], values)
        values = ndimage.gaussian_filter(values, 0.6)
        values[inside] += np.roll(texture, 7 * index, axis=1)[inside]
        hu[index] = np.clip(values + random.normal(0, 12, values.shape), -1024, 3071)
    return hu


def _outline(x: NDArray[np.float64], y: NDArray[np.float64], z: float, depth: float) -> NDArray[np.bool_]:
    """Whether points of a slice lie within the body, `depth` mm below the skin: waist and shoulders vary with z."""
    waist = 1 - 0.08 * math.exp(-(((z - 230) / 90) ** 2)) - 0.05 * math.exp(-(((z - 640) / 60) ** 2))
    width, back = BODY_HALF_WIDTH_MM * waist - depth, BODY_HALF_DEPTH_MM * waist - depth
    result: NDArray[np.bool_] = np.abs(x / width) ** 2.6 + np.abs(y / back) ** 2.6 <= 1
    return result


# ------------------------------------------------------------------------------------------------- structures


def _structures() -> Iterator[PhantomStructure]:
    """In painting order: what comes first keeps its voxels."""
    yield from _spine()
    yield from _ribs()
    yield from _bones()
    yield from vessels()
    yield from abdomen()
    yield from muscles()
    yield from chest()


def level_z_mm(level: str) -> float:
    """Height of the middle of a vertebral body."""
    number = int(level[1:])
    return 170.0 + 34.0 * (5 - number) if level[0] == "L" else 337.0 + 25.0 * (12 - number)


def _body_mm(level: str) -> tuple[float, float]:
    """Radius and half height of a vertebral body: each a little larger than the one above it."""
    number = int(level[1:])
    if level[0] == "L":
        return min(21.5 + 0.7 * number, 24.0), min(10.5 + 0.5 * number, 12.0)
    return 17.5 + 0.3 * (number - 1), 10.0 if number == 12 else 8.0


def _spine() -> Iterator[PhantomStructure]:
    yield one("spinal_cord", "2748008", "Spinal cord", 35, tube([(0, 79, 300), (0, 79, HEIGHT_MM)], 6))
    for level, code in _VERTEBRAE.items():
        z = level_z_mm(level)
        radius, half = _body_mm(level)
        arch = [
            (15.0, SPINE_Y_MM + 10, z),
            (17.0, 86.0, z),
            (0.0, 96.0, z),
            (-17.0, 86.0, z),
            (-15.0, SPINE_Y_MM + 10, z),
        ]
        yield one(
            f"vertebrae_{level}",
            code,
            f"{level} vertebra",
            BONE_HU - 200,
            cylinder((0, SPINE_Y_MM, z), (radius, radius - 3), half),
            tube(arch, 5.5 if level[0] == "T" else 6.0),
            tube([(0, 96, z), (0, 107, z - 3)], 4.5),
        )
    yield one("sacrum", "54735007", "Sacrum", BONE_HU - 220, ellipsoid((0, 74, 108), (46, 24, 42)))


def _ribs() -> Iterator[PhantomStructure]:
    for side, sign in (("left", 1.0), ("right", -1.0)):
        for number, (code, ordinal) in enumerate(_RIBS, start=1):
            line = rib_line(number, sign)
            yield one(f"rib_{side}_{number}", code, f"{ordinal} rib", BONE_HU, tube(line, 5.2), side=side)


def rib_line(number: int, sign: float) -> list[Vector]:
    """The course of a rib, from behind to the front and downwards; `sign` 1 = left."""
    width = (62, 88, 108, 122, 132, 138, 141, 142, 141, 138, 134, 128)[number - 1]
    depth = (62, 76, 86, 92, 95, 97, 97, 97, 96, 95, 94, 93)[number - 1]
    end = (2.5, 2.6, 2.6, 2.6, 2.55, 2.5, 2.4, 2.2, 2.05, 1.9, 1.35, 0.95)[number - 1]
    # Beside the transverse process; the first rib is too narrow to reach there, and begins beside the body.
    start = math.asin((26 if number == 1 else 31) / width)
    height = level_z_mm(f"T{number}")
    steps = np.linspace(start, end, 22)
    return [
        (sign * width * math.sin(angle), depth * math.cos(angle) - 12, height - 34 * (angle - start)) for angle in steps
    ]


def _bones() -> Iterator[PhantomStructure]:
    yield one("sternum", "56873002", "Sternum", BONE_HU - 150, box((0, -101, 490), (17, 6, 80)))
    cartilages = [
        part
        for sign in (1.0, -1.0)
        for number in range(2, 8)
        for part in tube([_beyond(number, sign), (sign * 26, -101, min(560, level_z_mm(f"T{number}") - 62))], 4.0)
    ]
    yield one("costal_cartilages", "50016007", "Costal cartilage", 120, cartilages)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        yield one(
            f"clavicula_{side}",
            "51299004",
            "Clavicle",
            BONE_HU,
            tube([(sign * 24, -84, 596), (sign * 80, -78, 612), (sign * 128, -40, 618)], 6),
            side=side,
        )
        yield one(
            f"scapula_{side}",
            "79601000",
            "Scapula",
            BONE_HU - 150,
            ellipsoid((sign * 96, 84, 545), (36, 5.5, 58)),
            side=side,
        )
        yield one(
            f"hip_{side}",
            "29836001",
            "Hip",
            BONE_HU - 100,
            ellipsoid((sign * 92, 42, 128), (16, 46, 52)),
            ellipsoid((sign * 86, 16, 78), (24, 30, 30)).where(
                lambda x, y, z, s=sign: (x - s * 108) ** 2 + (y - 14) ** 2 + (z - 66) ** 2 > 27**2  # type: ignore[misc]
            ),
            tube([(sign * 70, 0, 62), (sign * 8, -48, 40)], 9),
            side=side,
        )
        yield one(
            f"femur_{side}",
            "71341001",
            "Femur",
            BONE_HU,
            sphere((sign * 108, 14, 66), 22),
            tube([(sign * 108, 14, 66), (sign * 132, 22, 46), (sign * 134, 20, -20)], 13),
            side=side,
        )


def _beyond(number: int, sign: float) -> Vector:
    """A little beyond the front end of a rib."""
    end, before = rib_line(number, sign)[-1], rib_line(number, sign)[-2]
    step = [a - b for a, b in zip(end, before, strict=True)]
    scale = 13 / math.hypot(*step)
    return (end[0] + scale * step[0], end[1] + scale * step[1], end[2] + scale * step[2])


def _nodules(count: int) -> list[PhantomStructure]:
    """Small spheres in the lungs, for phantoms with more structures than a torso has."""
    random = np.random.default_rng(1)
    found = []
    for number in range(1, count + 1):
        sign = 1 if number % 2 else -1
        centre = (sign * random.uniform(55, 105), random.uniform(-60, 40), random.uniform(400, 560))
        found.append(one(f"nodule_{number}", "27925004", "Nodule", 40, sphere(centre, 6)))
    return found
