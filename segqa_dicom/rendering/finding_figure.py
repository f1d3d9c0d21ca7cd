"""Pictures of a finding: three planes through it, CT as an image, contours as vectors, all as inline SVG.

Pixels keep their size in millimetres, whatever the spacing.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segqa_dicom.model import Case, CtVolume, Geometry, PointMm
from segqa_dicom.rendering.contours import outlines
from segqa_dicom.rendering.patient_planes import VIEWS, Axes, Planes, View, voxel_at
from segqa_dicom.rendering.windows import SOFT, Window

CROP_MM = 180.0
"""Longest edge of what a plane shows."""
SCALE_BARS_MM = (50, 20, 10, 5, 2, 1)

COLOURS = ("#56B4E9", "#E69F00", "#F0E442", "#DE8FC0", "#12B886", "#F0642B", "#9AA5FF", "#C8C8C8")
"""Colours of segmentations, in order: Okabe and Ito 2008, the dark ones lightened so that they stand out from black."""


def colour_of(number: int) -> str:
    """Colour of the segmentation at an index of the case."""
    return COLOURS[number % len(COLOURS)]


def is_dashed(number: int) -> bool:
    """Whether the segmentation at an index has the colour of an earlier one, and is told from it by dashed contours."""
    return number // len(COLOURS) % 2 == 1


def finding_picture(
    case: Case,
    location_mm: PointMm,
    focus: Sequence[tuple[int, int]],
    window: Window = SOFT,
    *,
    blamed: Collection[int] = (),
    size_mm: float = CROP_MM,
) -> str:
    """Three SVG elements, all at the same scale, around `location_mm`.

    focus : (index of segmentation, index of segment) of what is drawn strongly; everything else is drawn faintly
    blamed : indices of the segmentations whose structures in focus lie on top and are tinted
    """
    place = voxel_at(case.ct.geometry, location_mm)
    axes = Axes(case.ct.geometry)
    planes = [_Plane(case.ct.geometry, axes, view, place) for view in VIEWS]
    pictures = [_Picture(case, plane, _crop(case, plane, focus, blamed, size_mm)) for plane in planes]
    unit_mm = max(max(picture.size_mm) for picture in pictures) / CROP_MM
    return "".join(picture.svg(focus, set(blamed), window, unit_mm) for picture in pictures)


class _Plane:
    """A plane of voxels through a place; indices are (down, across)."""

    def __init__(self, geometry: Geometry, axes: Axes, view: View, place: tuple[int, int, int]) -> None:
        self.view, self.place = view, place
        self._planes = Planes(geometry, view, axes)
        self.through, self.shape, self.pixel_mm = self._planes.through, self._planes.shape, self._planes.pixel_mm
        self.centre = self._planes.pixel_of(place)

    def of(self, volume: NDArray[Any]) -> NDArray[Any]:
        """The whole plane of a volume (slice, row, column), as a view of it."""
        return self._planes.of(volume, self.place[self.through])


def _crop(
    case: Case, plane: _Plane, focus: Sequence[tuple[int, int]], blamed: Collection[int], size_mm: float
) -> tuple[slice, slice]:
    """What is shown of a plane: around the place, moved so that the structure at fault is whole if it fits."""
    mask = np.zeros(plane.shape, bool)
    for at, index in focus:
        if not blamed or at in blamed:
            mask |= plane.of(case.segmentations[at].layers[case.segmentations[at].segments[index].layer]) == index + 1
    down, across = (
        _span(
            np.flatnonzero(mask.any(axis=1 - axis)),
            plane.shape[axis],
            plane.centre[axis],
            size_mm / plane.pixel_mm[axis],
        )
        for axis in range(2)
    )
    return down, across


def _span(wanted: NDArray[np.intp], size: int, middle: int, length: float) -> slice:
    """Pixels around one, inside the volume, all of the wanted ones in it if there is room for them."""
    count = min(size, max(round(length), 1))
    start = middle - count // 2
    if len(wanted):
        margin = count // 20
        low, high = int(min(wanted[0], middle)) - margin, int(max(wanted[-1], middle)) + 1 + margin
        if high - low <= count:
            start = int(np.clip(start, high - count, low))
    start = int(np.clip(start, 0, size - count))
    return slice(start, start + count)


class _Picture:
    """The crop of one plane of one case."""

    def __init__(self, case: Case, plane: _Plane, crop: tuple[slice, slice]) -> None:
        self.case, self.plane, self.crop = case, plane, crop
        counts = crop[0].stop - crop[0].start, crop[1].stop - crop[1].start
        self.size_mm = counts[0] * plane.pixel_mm[0], counts[1] * plane.pixel_mm[1]

    def svg(self, focus: Sequence[tuple[int, int]], blamed: set[int], window: Window, unit_mm: float) -> str:
        """`unit_mm` : what letters, gaps and margins are measured in, so that a small volume has no giant letters."""
        height, width = self.size_mm
        through = f", slice {self.plane.place[0] + 1}" if self.plane.through == 0 else ""
        left, right, top, bottom = self.plane.view.letters
        label = f"{self.plane.view.name} plane{through}; left {left}, right {right}, top {top}, bottom {bottom}"
        return (
            f'<svg class="plane" viewBox="0 0 {width:.5g} {height:.5g}" style="--mm:{width:.5g}" role="img" '
            f'aria-label="{label}"><image width="{width:.5g}" height="{height:.5g}" preserveAspectRatio="none" '
            f'href="{self._png(window)}"/>{self._contours(focus, blamed)}{self._marks(unit_mm, through)}</svg>'
        )

    def _png(self, window: Window) -> str:
        values = self.plane.of(self.case.ct.hu)[self.crop].astype(np.float32)
        low, high = _range(self.case.ct, window, values)
        grey = np.clip((values - low) * (255 / (high - low)), 0, 255).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(grey).save(stream, "PNG", compress_level=6)
        return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()

    def _contours(self, focus: Sequence[tuple[int, int]], blamed: set[int]) -> str:
        """Faint ones below, then the structures in focus, those at fault on top."""
        window, margins = self._with_margin()
        drawn: list[tuple[int, str]] = []
        for number, segmentation in enumerate(self.case.segmentations):
            faint, strong = [], []
            for at, layer in enumerate(segmentation.layers):
                values = {i + 1 for n, i in focus if n == number and segmentation.segments[i].layer == at}
                weak_part, strong_part = outlines(self.plane.of(layer)[window], values)
                faint.append(weak_part)
                strong.append(strong_part)
            rank, kind = (2, "strong blamed") if number in blamed else (1, "strong")
            drawn.append((0, _path(number, "faint", "".join(faint))))
            drawn.append((rank, _path(number, kind, "".join(strong))))
        drawn.sort(key=lambda one: one[0])
        down, across = self.plane.pixel_mm
        moved = f"scale({across / 2:.6g} {down / 2:.6g}) translate({-2 * margins[1]} {-2 * margins[0]})"
        return f'<g transform="{moved}">{"".join(path for _, path in drawn)}</g>'

    def _with_margin(self) -> tuple[tuple[slice, slice], tuple[int, int]]:
        """The crop with one pixel around it where there is one: contours run on, and do not close, at its border."""
        margins = min(1, self.crop[0].start), min(1, self.crop[1].start)
        wider = [slice(part.start - margin, part.stop + 1) for part, margin in zip(self.crop, margins, strict=True)]
        return (wider[0], wider[1]), margins

    def _marks(self, unit: float, through: str) -> str:
        """Cross-hair, name of the plane, letters of the sides, scale bar."""
        (height, width), (down, across) = self.size_mm, self.plane.pixel_mm
        x = (self.plane.centre[1] - self.crop[1].start + 0.5) * across
        y = (self.plane.centre[0] - self.crop[0].start + 0.5) * down
        gap = 9 * unit
        cross = "".join(
            f"M{a:.4g} {b:.4g}L{c:.4g} {d:.4g}"
            for a, b, c, d in (
                (x, 0, x, y - gap),
                (x, y + gap, x, height),
                (0, y, x - gap, y),
                (x + gap, y, width, y),
            )
            if c - a + d - b > 0
        )
        left, right, top, bottom = self.plane.view.letters
        bar = next((mm for mm in SCALE_BARS_MM if mm <= width / 3), SCALE_BARS_MM[-1])
        texts = (
            (3.5, height / unit / 2, "start", left),
            (width / unit - 3.5, height / unit / 2, "end", right),
            (width / unit / 2, 8.5, "middle", top),
            (width / unit / 2, height / unit - 3.5, "middle", bottom),
            (3.5, 8.5, "start", self.plane.view.name + through),
            (4, height / unit - 6.5, "start", f"{bar} mm"),
        )
        return (
            f'<path class="cross" d="{cross}"/><path class="bar" d="M{4 * unit:.4g} {height - 3.5 * unit:.5g}h{bar}"/>'
            f'<g font-size="{7 * unit:.3g}">{"".join(_text(unit, *text) for text in texts)}</g>'
        )


def _text(unit: float, x: float, y: float, anchor: str, text: str) -> str:
    kind = "letter" if len(text) == 1 else "note"
    return f'<text class="{kind}" x="{x * unit:.4g}" y="{y * unit:.4g}" text-anchor="{anchor}">{text}</text>'


def _path(number: int, kind: str, data: str) -> str:
    if not data:
        return ""
    dashed = " dashed" if is_dashed(number) else ""
    return f'<path class="m{number} {kind}{dashed}" stroke="{colour_of(number)}" d="{data}"/>'


def _range(ct: CtVolume, window: Window, plane: NDArray[np.float32]) -> tuple[float, float]:
    """HU of black and white; what shows the plane if its values are not HU."""
    if ct.facts.hu_defined:
        return window.range_hu
    low, high = (float(value) for value in np.percentile(plane, (1, 99)))
    return (low, high) if high > low else (low, low + 1)
