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

from segqa_dicom.model import Code, CodedStructure, Geometry
from segqa_dicom.model.codes import LEFT, RIGHT
from segqa_dicom.phantoms.solids import (
    Solid,
    Vector,
    axial_geometry,
    box,
    cylinder,
    ellipsoid,
    paint,
    sphere,
    tube,
)

HEIGHT_MM = 640.0
"""From the upper thighs to the collar bones."""
BODY_HALF_WIDTH_MM, BODY_HALF_DEPTH_MM = 172.0, 122.0
SPINE_Y_MM = 52.0
AIR_HU, FAT_HU, MUSCLE_HU, LUNG_HU, BONE_HU = -1000, -100, 50, -850, 450

IN_SEVERAL_PIECES = ("costal_cartilages", "colon")
"""Structures that need not be one piece."""

_CATEGORY = Code("91723000", "SCT", "Anatomical Structure")
_SIDES = {"left": Code(LEFT, "SCT", "Left"), "right": Code(RIGHT, "SCT", "Right")}

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


@dataclass(frozen=True)
class PhantomStructure:
    """One structure: TotalSegmentator's label, codes, mean HU, and the solids that make it."""

    label: str
    codes: CodedStructure
    hu: int
    solids: tuple[Solid, ...]


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


def _one(
    label: str, code: str, meaning: str, hu: int, *solids: Solid | list[Solid], side: str = ""
) -> PhantomStructure:
    flat = tuple(part for solid in solids for part in (solid if isinstance(solid, list) else [solid]))
    modifier = _SIDES.get(side)
    return PhantomStructure(label, CodedStructure(_CATEGORY, Code(code, "SCT", meaning), modifier), hu, flat)


def _structures() -> Iterator[PhantomStructure]:
    """In painting order: what comes first keeps its voxels."""
    yield from _spine()
    yield from _ribs()
    yield from _bones()
    yield from _vessels()
    yield from _abdomen()
    yield from _muscles()
    yield from _chest()


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
    yield _one("spinal_cord", "2748008", "Spinal cord", 35, tube([(0, 79, 300), (0, 79, HEIGHT_MM)], 6))
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
        yield _one(
            f"vertebrae_{level}",
            code,
            f"{level} vertebra",
            BONE_HU - 200,
            cylinder((0, SPINE_Y_MM, z), (radius, radius - 3), half),
            tube(arch, 5.5 if level[0] == "T" else 6.0),
            tube([(0, 96, z), (0, 107, z - 3)], 4.5),
        )
    yield _one("sacrum", "54735007", "Sacrum", BONE_HU - 220, ellipsoid((0, 74, 108), (46, 24, 42)))


def _ribs() -> Iterator[PhantomStructure]:
    for side, sign in (("left", 1.0), ("right", -1.0)):
        for number, (code, ordinal) in enumerate(_RIBS, start=1):
            line = rib_line(number, sign)
            yield _one(f"rib_{side}_{number}", code, f"{ordinal} rib", BONE_HU, tube(line, 5.2), side=side)


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
    yield _one("sternum", "56873002", "Sternum", BONE_HU - 150, box((0, -101, 490), (17, 6, 80)))
    cartilages = [
        part
        for sign in (1.0, -1.0)
        for number in range(2, 8)
        for part in tube([_beyond(number, sign), (sign * 26, -101, min(560, level_z_mm(f"T{number}") - 62))], 4.0)
    ]
    yield _one("costal_cartilages", "50016007", "Costal cartilage", 120, cartilages)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        yield _one(
            f"clavicula_{side}",
            "51299004",
            "Clavicle",
            BONE_HU,
            tube([(sign * 24, -84, 596), (sign * 80, -78, 612), (sign * 128, -40, 618)], 6),
            side=side,
        )
        yield _one(
            f"scapula_{side}",
            "79601000",
            "Scapula",
            BONE_HU - 150,
            ellipsoid((sign * 96, 84, 545), (36, 5.5, 58)),
            side=side,
        )
        yield _one(
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
        yield _one(
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


def _vessels() -> Iterator[PhantomStructure]:
    yield _one("aorta", "15825003", "Aorta", 160, tube([(16, 22, 560), (18, 21, 400), (12, 16, 216)], 10.5))
    yield _one(
        "inferior_vena_cava", "64131007", "Inferior vena cava", 140, tube([(-22, 18, 205), (-24, 16, 395)], 10.5)
    )
    yield _one("superior_vena_cava", "48345005", "Superior vena cava", 140, tube([(-30, -18, 465), (-28, -24, 560)], 9))
    yield _one(
        "portal_vein_and_splenic_vein", "110765007", "Portal vein and splenic vein", 150,
        tube([(-42, -12, 318), (-8, -4, 302), (70, 20, 318)], 5.5),
    )  # fmt: skip
    yield _one(
        "brachiocephalic_trunk", "12691009", "Brachiocephalic artery", 160, tube([(2, -10, 570), (-14, -22, 612)], 6)
    )
    for side, sign in (("left", 1.0), ("right", -1.0)):
        yield _one(
            f"iliac_artery_{side}", "73634005", "Common iliac artery", 160,
            tube([(sign * 14 + 2, 8, 196), (sign * 46, -4, 140), (sign * 62, -14, 108)], 6), side=side,
        )  # fmt: skip
        yield _one(
            f"iliac_vena_{side}", "46027005", "Common iliac vein", 140,
            tube([(sign * 20 - 6, 26, 182), (sign * 50, 16, 140), (sign * 64, 6, 112)], 7), side=side,
        )  # fmt: skip
        yield _one(
            f"common_carotid_artery_{side}", "32062004", "Common carotid artery", 160,
            tube([(sign * 30, -8, 582), (sign * 30, -8, 660)], 5), side=side,
        )  # fmt: skip
        yield _one(
            f"subclavian_artery_{side}", "36765005", "Subclavian artery", 160,
            tube([(sign * 40, -14, 594), (sign * 74, -22, 604), (sign * 112, -18, 600)], 5), side=side,
        )  # fmt: skip


def _abdomen() -> Iterator[PhantomStructure]:
    for side, sign in (("left", 1.0), ("right", -1.0)):
        yield _one(
            f"adrenal_gland_{side}",
            "23451007",
            "Adrenal gland",
            30,
            ellipsoid((sign * 46, 34, 344), (7, 10.5, 12)),
            side=side,
        )
        yield _one(
            f"kidney_{side}",
            "64033007",
            "Kidney",
            110,
            ellipsoid((sign * 64, 42, 272 if sign > 0 else 262), (26, 23, 52)),
            side=side,
        )
    yield _one("gallbladder", "28231008", "Gallbladder", 10, ellipsoid((-52, -62, 272), (15, 15, 26)))
    yield _one("pancreas", "15776009", "Pancreas", 80, tube([(-20, -14, 268), (20, -16, 284), (76, 4, 300)], 12))
    yield _one("duodenum", "38848004", "Duodenum", 40, tube([(-42, -22, 292), (-50, -8, 250), (-10, -8, 228)], 12))
    yield _one("esophagus", "32849002", "Esophagus", 35, tube([(-4, 20, HEIGHT_MM), (-4, 14, 420), (14, 4, 362)], 7.5))
    yield _one(
        "stomach",
        "69695003",
        "Stomach",
        30,
        ellipsoid((58, -36, 330), (44, 42, 46)),
        ellipsoid((20, -60, 292), (46, 22, 22)),
    )
    yield _one("spleen", "78961009", "Spleen", 100, ellipsoid((104, 34, 332), (26, 38, 50)))
    yield _one(
        "liver",
        "10200004",
        "Liver",
        95,
        ellipsoid((-62, -8, 336), (70, 76, 66)),
        ellipsoid((-5, -45, 345), (50, 40, 38)),
    )
    yield _one(
        "colon", "71854001", "Colon", -20,
        tube([(-104, 6, 128), (-110, 2, 250), (-96, -60, 248), (0, -84, 240), (96, -60, 256)], 16),
        tube([(96, -60, 256), (108, 6, 268), (106, 10, 150), (60, 22, 96), (16, 34, 62)], 16),
    )  # fmt: skip
    yield _one("small_bowel", "30315005", "Small Intestine", 30, ellipsoid((0, -42, 172), (84, 44, 50)))
    yield _one("urinary_bladder", "89837001", "Urinary bladder", 8, ellipsoid((0, -34, 78), (36, 32, 30)))
    yield _one("prostate", "41216001", "Prostate", 45, ellipsoid((0, -22, 32), (20, 17, 15)))


def _muscles() -> Iterator[PhantomStructure]:
    for side, sign in (("left", 1.0), ("right", -1.0)):
        yield _one(
            f"iliopsoas_{side}",
            "68455001",
            "Iliopsoas muscle",
            60,
            tube([(sign * 42, 40, 296), (sign * 52, 34, 190), (sign * 78, -18, 96), (sign * 96, -20, 30)], 17),
            side=side,
        )
        yield _one(
            f"autochthon_{side}",
            "244849004",
            "Deep muscle of back",
            55,
            tube([(sign * 31, 88, 130), (sign * 30, 90, 620)], 14),
            side=side,
        )
        yield _one(
            f"gluteus_minimus_{side}",
            "75297007",
            "Gluteus minimus muscle",
            58,
            ellipsoid((sign * 116, 36, 116), (10, 26, 34)),
            side=side,
        )
        yield _one(
            f"gluteus_medius_{side}",
            "78333006",
            "Gluteus medius muscle",
            58,
            ellipsoid((sign * 132, 34, 128), (12, 38, 44)),
            side=side,
        )
        yield _one(
            f"gluteus_maximus_{side}",
            "181674001",
            "Gluteus maximus muscle",
            52,
            ellipsoid((sign * 84, 92, 62), (52, 18, 58)),
            side=side,
        )


def _chest() -> Iterator[PhantomStructure]:
    yield _one("trachea", "44567001", "Trachea", AIR_HU + 20, tube([(0, 2, HEIGHT_MM + 20), (0, 2, 500)], 8.5))
    yield _one("heart", "80891009", "Heart", 150, ellipsoid((24, -38, 425), (54, 46, 46)))
    yield _one("pulmonary_vein", "122972007", "Pulmonary vein", 150, tube([(-46, -4, 452), (52, -2, 452)], 7))
    right = ellipsoid((-78, -8, 452), (54, 84, 158)).where(lambda _x, _y, z: z > 330)
    left = ellipsoid((80, -8, 452), (52, 84, 158)).where(lambda _x, _y, z: z > 330)

    def behind(_x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.bool_]:
        return z < 462 + 1.3 * y  # the oblique fissure runs from behind and above to the front and below

    def above(_x: NDArray[np.float64], _y: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.bool_]:
        return z > 462

    for side, lung in (("left", left), ("right", right)):
        yield _one(f"lung_lower_lobe_{side}", "90572001", "Lower lobe of lung", LUNG_HU, lung.where(behind), side=side)
    yield _one("lung_upper_lobe_left", "45653009", "Upper lobe of lung", LUNG_HU, left, side="left")
    yield _one("lung_upper_lobe_right", "45653009", "Upper lobe of lung", LUNG_HU, right.where(above), side="right")
    yield _one("lung_middle_lobe_right", "72481006", "Middle lobe of right lung", LUNG_HU, right)


def _nodules(count: int) -> list[PhantomStructure]:
    """Small spheres in the lungs, for phantoms with more structures than a torso has."""
    random = np.random.default_rng(1)
    found = []
    for number in range(1, count + 1):
        sign = 1 if number % 2 else -1
        centre = (sign * random.uniform(55, 105), random.uniform(-60, 40), random.uniform(400, 560))
        found.append(_one(f"nodule_{number}", "27925004", "Nodule", 40, sphere(centre, 6)))
    return found
