"""Vessels, organs, muscles and chest of the torso phantom."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.phantoms.solids import (
    ellipsoid,
    tube,
)
from segqa_dicom.phantoms.structures import AIR_HU, HEIGHT_MM, LUNG_HU, PhantomStructure, one


def vessels() -> Iterator[PhantomStructure]:
    """Vessels."""
    yield one("aorta", "15825003", "Aorta", 160, tube([(16, 22, 560), (18, 21, 400), (12, 16, 216)], 10.5))
    yield one("inferior_vena_cava", "64131007", "Inferior vena cava", 140, tube([(-22, 18, 205), (-24, 16, 395)], 10.5))
    yield one("superior_vena_cava", "48345005", "Superior vena cava", 140, tube([(-30, -18, 465), (-28, -24, 560)], 9))
    yield one(
        "portal_vein_and_splenic_vein", "110765007", "Portal vein and splenic vein", 150,
        tube([(-42, -12, 318), (-8, -4, 302), (70, 20, 318)], 5.5),
    )  # fmt: skip
    yield one(
        "brachiocephalic_trunk", "12691009", "Brachiocephalic artery", 160, tube([(2, -10, 570), (-14, -22, 612)], 6)
    )
    for side, sign in (("left", 1.0), ("right", -1.0)):
        yield one(
            f"iliac_artery_{side}", "73634005", "Common iliac artery", 160,
            tube([(sign * 14 + 2, 8, 196), (sign * 46, -4, 140), (sign * 62, -14, 108)], 6), side=side,
        )  # fmt: skip
        yield one(
            f"iliac_vena_{side}", "46027005", "Common iliac vein", 140,
            tube([(sign * 20 - 6, 26, 182), (sign * 50, 16, 140), (sign * 64, 6, 112)], 7), side=side,
        )  # fmt: skip
        yield one(
            f"common_carotid_artery_{side}", "32062004", "Common carotid artery", 160,
            tube([(sign * 30, -8, 582), (sign * 30, -8, 660)], 5), side=side,
        )  # fmt: skip
        yield one(
            f"subclavian_artery_{side}", "36765005", "Subclavian artery", 160,
            tube([(sign * 40, -14, 594), (sign * 74, -22, 604), (sign * 112, -18, 600)], 5), side=side,
        )  # fmt: skip


def abdomen() -> Iterator[PhantomStructure]:
    """Organs of the abdomen."""
    for side, sign in (("left", 1.0), ("right", -1.0)):
        yield one(
            f"adrenal_gland_{side}",
            "23451007",
            "Adrenal gland",
            30,
            ellipsoid((sign * 46, 34, 344), (7, 10.5, 12)),
            side=side,
        )
        yield one(
            f"kidney_{side}",
            "64033007",
            "Kidney",
            110,
            ellipsoid((sign * 64, 42, 272 if sign > 0 else 262), (26, 23, 52)),
            side=side,
        )
    yield one("gallbladder", "28231008", "Gallbladder", 10, ellipsoid((-52, -62, 272), (15, 15, 26)))
    yield one("pancreas", "15776009", "Pancreas", 80, tube([(-20, -14, 268), (20, -16, 284), (76, 4, 300)], 12))
    yield one("duodenum", "38848004", "Duodenum", 40, tube([(-42, -22, 292), (-50, -8, 250), (-10, -8, 228)], 12))
    yield one("esophagus", "32849002", "Esophagus", 35, tube([(-4, 20, HEIGHT_MM), (-4, 14, 420), (14, 4, 362)], 7.5))
    yield one(
        "stomach",
        "69695003",
        "Stomach",
        30,
        ellipsoid((58, -36, 330), (44, 42, 46)),
        ellipsoid((20, -60, 292), (46, 22, 22)),
    )
    yield one("spleen", "78961009", "Spleen", 100, ellipsoid((104, 34, 332), (26, 38, 50)))
    yield one(
        "liver",
        "10200004",
        "Liver",
        95,
        ellipsoid((-62, -8, 336), (70, 76, 66)),
        ellipsoid((-5, -45, 345), (50, 40, 38)),
    )
    yield one(
        "colon", "71854001", "Colon", -20,
        tube([(-104, 6, 128), (-110, 2, 250), (-96, -60, 248), (0, -84, 240), (96, -60, 256)], 16),
        tube([(96, -60, 256), (108, 6, 268), (106, 10, 150), (60, 22, 96), (16, 34, 62)], 16),
    )  # fmt: skip
    yield one("small_bowel", "30315005", "Small Intestine", 30, ellipsoid((0, -42, 172), (84, 44, 50)))
    yield one("urinary_bladder", "89837001", "Urinary bladder", 8, ellipsoid((0, -34, 78), (36, 32, 30)))
    yield one("prostate", "41216001", "Prostate", 45, ellipsoid((0, -22, 32), (20, 17, 15)))


def muscles() -> Iterator[PhantomStructure]:
    """Muscles."""
    for side, sign in (("left", 1.0), ("right", -1.0)):
        yield one(
            f"iliopsoas_{side}",
            "68455001",
            "Iliopsoas muscle",
            60,
            tube([(sign * 42, 40, 296), (sign * 52, 34, 190), (sign * 78, -18, 96), (sign * 96, -20, 30)], 17),
            side=side,
        )
        yield one(
            f"autochthon_{side}",
            "244849004",
            "Deep muscle of back",
            55,
            tube([(sign * 31, 88, 130), (sign * 30, 90, 620)], 14),
            side=side,
        )
        yield one(
            f"gluteus_minimus_{side}",
            "75297007",
            "Gluteus minimus muscle",
            58,
            ellipsoid((sign * 116, 36, 116), (10, 26, 34)),
            side=side,
        )
        yield one(
            f"gluteus_medius_{side}",
            "78333006",
            "Gluteus medius muscle",
            58,
            ellipsoid((sign * 132, 34, 128), (12, 38, 44)),
            side=side,
        )
        yield one(
            f"gluteus_maximus_{side}",
            "181674001",
            "Gluteus maximus muscle",
            52,
            ellipsoid((sign * 84, 92, 62), (52, 18, 58)),
            side=side,
        )


def chest() -> Iterator[PhantomStructure]:
    """Airways, lungs and heart."""
    yield one("trachea", "44567001", "Trachea", AIR_HU + 20, tube([(0, 2, HEIGHT_MM + 20), (0, 2, 500)], 8.5))
    yield one("heart", "80891009", "Heart", 150, ellipsoid((24, -38, 425), (54, 46, 46)))
    yield one("pulmonary_vein", "122972007", "Pulmonary vein", 150, tube([(-46, -4, 452), (52, -2, 452)], 7))
    right = ellipsoid((-78, -8, 452), (54, 84, 158)).where(lambda _x, _y, z: z > 330)
    left = ellipsoid((80, -8, 452), (52, 84, 158)).where(lambda _x, _y, z: z > 330)

    def behind(_x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.bool_]:
        return z < 462 + 1.3 * y  # the oblique fissure runs from behind and above to the front and below

    def above(_x: NDArray[np.float64], _y: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.bool_]:
        return z > 462

    for side, lung in (("left", left), ("right", right)):
        yield one(f"lung_lower_lobe_{side}", "90572001", "Lower lobe of lung", LUNG_HU, lung.where(behind), side=side)
    yield one("lung_upper_lobe_left", "45653009", "Upper lobe of lung", LUNG_HU, left, side="left")
    yield one("lung_upper_lobe_right", "45653009", "Upper lobe of lung", LUNG_HU, right.where(above), side="right")
    yield one("lung_middle_lobe_right", "72481006", "Middle lobe of right lung", LUNG_HU, right)
