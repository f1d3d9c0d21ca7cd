"""Pictures of a finding: three planes through it, CT as an image, contours as vectors, all as inline SVG.

Planes follow the patient, not the scanner: axial seen from the feet (the patient's left on the viewer's right), coronal
from the front, sagittal with the face to the left. Pixels keep their size in millimetres, whatever the spacing.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segqa_dicom.anatomy import Group, knowledge
from segqa_dicom.model import Case, CtVolume, Geometry, PointMm, Segment

CROP_MM = 200.0
"""Edge of the square that a picture shows."""
SCALE_BAR_MM = 50.0

COLOURS = ("#E69F00", "#56B4E9", "#F0E442", "#CC79A7", "#009E73", "#D55E00", "#B0B0B0", "#4D9DE0")
"""Colours of segmentations, in order, told apart by colour-blind readers and on black (Okabe and Ito 2008)."""

MAX_COLOURS = 32
"""Segmentations that have a class of their own; beyond the number of `COLOURS` colours come again."""

Window = tuple[float, float]
BONE, LUNG, SOFT = (-500.0, 1300.0), (-1350.0, 150.0), (-160.0, 240.0)
"""(black, white) in HU: width 1800 level 400, width 1500 level -600, width 400 level 40."""

_BONES = (Group.BONE, Group.VERTEBRA, Group.RIB, Group.CARTILAGE)


@dataclass(frozen=True, slots=True)
class View:
    """A plane: patient axes (0 = x, 1 = y, 2 = z) across, down and through, and whether "down" descends."""

    name: str
    across: int
    down: int
    through: int
    head_up: bool
    letters: tuple[str, str, str, str]  # left, right, top, bottom of the picture


VIEWS = (
    View("axial", 0, 1, 2, head_up=False, letters=("R", "L", "A", "P")),
    View("coronal", 0, 2, 1, head_up=True, letters=("R", "L", "H", "F")),
    View("sagittal", 1, 2, 0, head_up=True, letters=("A", "P", "H", "F")),
)


@dataclass(frozen=True, eq=False)
class Axes:
    """Which voxel axis runs along which patient axis, for the orientation that is nearest to the volume's."""

    geometry: Geometry

    @cached_property
    def _directions(self) -> NDArray[np.float64]:
        steps = (self.geometry.normal, self.geometry.row_step_mm, self.geometry.column_step_mm)
        return np.stack([step / np.linalg.norm(step) for step in steps])

    @cached_property
    def of_patient(self) -> tuple[int, int, int]:
        """The voxel axis (0 = slice, 1 = row, 2 = column) along x, y and z."""
        best = max(
            permutations(range(3)), key=lambda order: sum(abs(self._directions[v, p]) for p, v in enumerate(order))
        )
        return best[0], best[1], best[2]

    def ascends(self, patient_axis: int) -> bool:
        """Whether the index of the voxel axis along x, y or z grows with the coordinate."""
        return bool(self._directions[self.of_patient[patient_axis], patient_axis] > 0)


def colour_class(segmentation: int) -> str:
    """Class of everything that is drawn in the colour of a segmentation (index)."""
    return f"m{segmentation % MAX_COLOURS}"


def window_for(segment: Segment | None, mean_hu: float | None) -> Window:
    """The window in which a structure is seen best: by what it is, else by its mean HU."""
    group = knowledge(segment.codes).group if segment is not None else Group.UNKNOWN
    if group in _BONES:
        return BONE
    if group is Group.LUNG:
        return LUNG
    if group is Group.UNKNOWN and mean_hu is not None:
        return LUNG if mean_hu < -400 else BONE if mean_hu > 250 else SOFT
    return SOFT


def finding_picture(case: Case, location_mm: PointMm, focus: Sequence[tuple[int, int]], window: Window = SOFT) -> str:
    """Three SVG elements around `location_mm`.

    focus : (index of segmentation, index of segment) of what is drawn strongly; everything else is drawn faintly
    """
    place = voxel_at(case.ct.geometry, location_mm)
    axes = Axes(case.ct.geometry)
    return "".join(_Picture(case, axes, view, place, window).svg(focus) for view in VIEWS)


def voxel_at(geometry: Geometry, point: PointMm) -> tuple[int, int, int]:
    """The voxel nearest to a point, at the border if the point is outside."""
    index = geometry.nearest_slice(point)
    row, column = geometry.in_slice(index, point)
    return (
        index,
        int(np.clip(round(row), 0, geometry.shape[1] - 1)),
        int(np.clip(round(column), 0, geometry.shape[2] - 1)),
    )


class _Picture:
    """One plane of one case, cropped around a voxel."""

    def __init__(self, case: Case, axes: Axes, view: View, place: tuple[int, int, int], window: Window) -> None:
        self.case, self.axes, self.view, self.window = case, axes, view, window
        self.place = place
        self.across, self.down, self.through = (
            axes.of_patient[axis] for axis in (view.across, view.down, view.through)
        )
        spacing = case.ct.geometry.spacing_mm
        self.pixel_mm = spacing[self.down], spacing[self.across]
        at = self._flipped(self.down, place[self.down]), self._flipped(self.across, place[self.across])
        sizes = case.ct.geometry.shape[self.down], case.ct.geometry.shape[self.across]
        self.crop = tuple(
            _around(middle, size, CROP_MM / 2 / edge)
            for middle, size, edge in zip(at, sizes, self.pixel_mm, strict=True)
        )
        self.cross = at[0] - self.crop[0].start, at[1] - self.crop[1].start

    def _descends(self, voxel_axis: int) -> bool:
        """Whether a voxel axis must be turned round, so that it runs as the view wants it."""
        patient_axis = self.axes.of_patient.index(voxel_axis)
        turned = self.view.head_up and voxel_axis == self.down
        return self.axes.ascends(patient_axis) == turned

    def _flipped(self, voxel_axis: int, index: int) -> int:
        return self.case.ct.geometry.shape[voxel_axis] - 1 - index if self._descends(voxel_axis) else index

    def plane(self, volume: NDArray[Any]) -> NDArray[Any]:
        """The crop of a volume (slice, row, column) as it is seen: (down, across)."""
        order = (self.through, self.down, self.across)
        found: NDArray[Any] = np.transpose(volume, order)[self.place[self.through]]
        if self._descends(self.down):
            found = found[::-1]
        if self._descends(self.across):
            found = found[:, ::-1]
        seen: NDArray[Any] = found[self.crop[0], self.crop[1]]
        return seen

    def svg(self, focus: Sequence[tuple[int, int]]) -> str:
        rows, columns = (part.stop - part.start for part in self.crop)
        height, width = rows * self.pixel_mm[0], columns * self.pixel_mm[1]
        scale = f'transform="scale({self.pixel_mm[1]:.5g} {self.pixel_mm[0]:.5g})"'
        return (
            f'<svg class="plane" viewBox="0 0 {width:.5g} {height:.5g}" role="img" aria-label="{self.view.name} view">'
            f'<image width="{width:.5g}" height="{height:.5g}" preserveAspectRatio="none" href="{self._png()}"/>'
            f"<g {scale}>{self._contours(focus)}</g>{self._marks(width, height)}</svg>"
        )

    def _png(self) -> str:
        low, high = _window(self.case.ct, self.window, self.plane(self.case.ct.hu))
        grey = (self.plane(self.case.ct.hu).astype(np.float32) - low) * (255 / (high - low))
        stream = io.BytesIO()
        Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).save(stream, "PNG", optimize=True)
        return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()

    def _contours(self, focus: Sequence[tuple[int, int]]) -> str:
        parts = []
        for number, segmentation in enumerate(self.case.segmentations):
            planes = [self.plane(layer) for layer in segmentation.layers]
            colour = colour_class(number)
            faint = "".join(outline(plane) for plane in planes)
            if faint:
                parts.append(f'<path class="{colour} faint" d="{faint}"/>')
            strong = "".join(
                outline(planes[segmentation.segments[index].layer] == index + 1) for at, index in focus if at == number
            )
            if strong:
                parts.append(f'<path class="{colour}" d="{strong}"/>')
        return "".join(parts)

    def _marks(self, width: float, height: float) -> str:
        """Cross-hair, letters of the sides, scale bar."""
        x, y = (self.cross[1] + 0.5) * self.pixel_mm[1], (self.cross[0] + 0.5) * self.pixel_mm[0]
        gap, left, right, top, bottom = 8.0, *self.view.letters
        cross = (
            f"M{x:.4g} 0V{max(y - gap, 0):.4g}M{x:.4g} {min(y + gap, height):.4g}V{height:.4g}"
            f"M0 {y:.4g}H{max(x - gap, 0):.4g}M{min(x + gap, width):.4g} {y:.4g}H{width:.4g}"
        )
        letters = (
            (3.0, height / 2, "start", left),
            (width - 3, height / 2, "end", right),
            (width / 2, 10.0, "middle", top),
            (width / 2, height - 4, "middle", bottom),
        )
        texts = "".join(
            f'<text x="{u:.4g}" y="{v:.4g}" text-anchor="{a}">{letter}</text>' for u, v, a, letter in letters
        )
        bar = f"M4 {height - 4:.5g}h{min(SCALE_BAR_MM, width - 8):.4g}"
        return f'<path class="cross" d="{cross}"/>{texts}<path class="bar" d="{bar}"><title>50 mm</title></path>'


def _around(middle: int, size: int, half: float) -> slice:
    """Pixels within `half` of one; at the border of the volume the crop moves inwards, so that it keeps its size."""
    length = min(size, 2 * int(np.ceil(half)) + 1)
    start = int(np.clip(middle - length // 2, 0, size - length))
    return slice(start, start + length)


def _window(ct: CtVolume, window: Window, plane: NDArray[Any]) -> Window:
    """The window, or what shows the plane if its values are not HU."""
    if ct.facts.hu_defined:
        return window
    low, high = (float(value) for value in np.percentile(plane, (1, 99)))
    return (low, high) if high > low else (low, low + 1)


def outline(labels: NDArray[Any]) -> str:
    """SVG path along the pixel edges between different values of (row, column) pixels; one unit is one pixel.

    Edges at the border of the array are drawn where a label meets it. Empty for a plane without labels.
    """
    if not labels.any():
        return ""
    padded = np.pad(labels, 1)
    across = _runs(padded[1:, 1:-1] != padded[:-1, 1:-1])
    down = _runs((padded[1:-1, 1:] != padded[1:-1, :-1]).T)
    return "".join(f"M{start} {line}h{length}" for line, start, length in across) + "".join(
        f"M{line} {start}v{length}" for line, start, length in down
    )


def _runs(edges: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """(line, start, length) of the runs of True along the lines of a plane."""
    change = np.diff(np.pad(edges, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    lines, starts = np.nonzero(change == 1)
    _, stops = np.nonzero(change == -1)
    return [(int(line), int(start), int(stop - start)) for line, start, stop in zip(lines, starts, stops, strict=True)]
