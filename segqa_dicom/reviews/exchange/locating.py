"""What people drew in other programs, as findings of theirs on segments. Pure: arrays in, findings out.

A document of another program does not say which segmentation was on the screen. So an annotation belongs

- to the segment that its group names, if it names one;
- else to the segment at its place, of every model that has one there; of several of one model to the smallest one;
- else, if no model has a segment there, to the nearest one of each model within `NEAR_MM`: what is missing or cut off
  is pointed at from outside.

The place of an arrow is its tip, of a line or an area its centre.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.assessment.model import Location, ReviewFinding
from segqa_dicom.assessment.vocabulary import Vocabulary, default_vocabulary
from segqa_dicom.model import CtVolume, Geometry, PointMm, SegmentRef
from segqa_dicom.pictures import OpenCase
from segqa_dicom.reviews.workflow.model import Annotation
from segqa_dicom.reviews.workflow.patient_positions import image_point_mm
from segqa_dicom.sr.read_review import RawAnnotation

NEAR_MM = 10.0
"""How far beside a segment something may lie that is about it; provisional."""
LONGEST_TEXT = 2000
"""Characters of a comment."""
_SMALLEST_MM = 1e-3
_OTHER = "other"
_NO = re.compile(r"\b(no|not|without|never|kein|keine|nicht|ohne)\b")
_SHORTEST_PHRASE = 4


def locate(
    annotations: Sequence[RawAnnotation], open_case: OpenCase, vocabulary: Vocabulary | None = None
) -> list[Annotation]:
    """Annotations as findings, one for each segment that they belong to, in their order.

    One that lies on no segment has no place. Copies of our own markers are left out, and what was drawn on other images
    or in another frame of reference than the case's, unless it names its segment.
    """
    words = vocabulary or default_vocabulary()
    found: list[Annotation] = []
    for raw in annotations:
        if raw.is_copy:
            continue
        location = location_of(raw, open_case.case.ct)
        if raw.segmentation:
            found.append(as_annotation(raw, words, location, SegmentRef(raw.segmentation, raw.segment)))
        elif location is not None:
            places = _places(open_case, location.point_mm)
            found += [as_annotation(raw, words, location, place, distance) for place, distance in places]
            if not places:
                found.append(as_annotation(raw, words, location, None))
    return found


def as_annotation(
    raw: RawAnnotation, words: Vocabulary, location: Location | None, place: SegmentRef | None, distance_mm: float = 0.0
) -> Annotation:
    """An annotation as a finding of its author: type and severity by its text, which is the comment."""
    kind = finding_type(raw.text, words) or finding_type(raw.label, words) or _OTHER
    term = words.findings.get(kind)
    said = "; ".join(dict.fromkeys(part for part in (raw.text.strip(), raw.label.strip()) if part))
    return Annotation(
        document=raw.document,
        group=raw.group,
        author=raw.author,
        program=raw.program,
        finding=ReviewFinding(kind, term.severity if term else "", location, said[:LONGEST_TEXT]),
        study=raw.study,
        made_at=raw.made_at,
        place=place,
        distance_mm=distance_mm,
    )


# ------------------------------------------------------------------------------------------------------- where it is


def location_of(raw: RawAnnotation, ct: CtVolume) -> Location | None:
    """SegmentRef and extent in LPS mm; None if nothing was drawn, or not on this CT."""
    corners = _points_mm(raw, ct)
    if not corners:
        return None
    points = np.array(corners)
    if raw.tool == "ArrowAnnotate" or raw.graphic_type == "POINT" or len(points) == 1:
        return Location(corners[0])
    low, high = _extent(raw.graphic_type, points, ct.geometry)
    centre = _as_point((low + high) / 2)
    if np.max(high - low) < _SMALLEST_MM:
        return Location(centre)
    return Location(centre, (_as_point(low), _as_point(high)))


def _points_mm(raw: RawAnnotation, ct: CtVolume) -> list[PointMm]:
    if raw.is_in_space:
        if raw.frame_of_reference_uid not in ("", ct.record.frame_of_reference_uid):
            return []
        return [(point[0], point[1], point[2]) for point in raw.points]
    found = [image_point_mm(ct, raw.image, raw.frame, point) for point in raw.points]
    return [point for point in found if point is not None] if all(found) else []


def _extent(
    graphic_type: str, points: NDArray[np.float64], geometry: Geometry
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest corner (PS3.3, sections C.18.6.1.2 and C.18.9.1.2 for what the points of graphics mean)."""
    if graphic_type == "CIRCLE" and len(points) == 2:
        radius = points[1] - points[0]
        return _around(points[0], [radius, np.cross(geometry.normal, radius)])
    if graphic_type in ("ELLIPSE", "ELLIPSOID") and len(points) in (4, 6):
        axes = (points[1::2] - points[::2]) / 2
        return _around(points[:2].mean(axis=0), list(axes))
    return points.min(axis=0), points.max(axis=0)


def _around(
    centre: NDArray[np.float64], half_axes: Sequence[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    reach = np.sqrt(np.sum(np.square(half_axes), axis=0))
    return centre - reach, centre + reach


def _as_point(values: NDArray[np.float64]) -> PointMm:
    x, y, z = (float(value) for value in values)
    return x, y, z


# ---------------------------------------------------------------------------------------------- whose segment it is


@dataclass(frozen=True, slots=True)
class _Near:
    """A segment near a place; the smallest of the nearest ones counts."""

    distance_mm: float
    size: int
    place: SegmentRef


def _places(open_case: OpenCase, point: PointMm) -> list[tuple[SegmentRef, float]]:
    """Segments that a place belongs to, with the distance from it, at most one of each segmentation."""
    nearest = [
        min(near, key=lambda one: (one.distance_mm, one.size, one.place))
        for at in range(len(open_case.case.segmentations))
        if (near := list(_near(open_case, at, point)))
    ]
    on_it = [one for one in nearest if one.distance_mm == 0.0]
    return [(one.place, one.distance_mm) for one in on_it or nearest]


def _near(open_case: OpenCase, at: int, point: PointMm) -> Iterator[_Near]:
    """The segments of one segmentation within `NEAR_MM`."""
    segmentation, geometry = open_case.case.segmentations[at], open_case.case.ct.geometry
    window, distances = _surroundings(geometry, point)
    if distances.size == 0:
        return
    for number, layer in enumerate(segmentation.layers):
        labels = layer[window]
        for value in np.unique(labels[distances <= NEAR_MM]):
            index = int(value) - 1
            if index < 0 or segmentation.segments[index].layer != number:
                continue
            box = open_case.bounding_box(at, index)
            size = 0 if box is None else int(np.prod(np.subtract(box.stop, box.start)))
            place = SegmentRef(segmentation.record.sop_instance_uid, segmentation.segments[index].number)
            yield _Near(float(distances[labels == value].min()), size, place)


def _surroundings(geometry: Geometry, point: PointMm) -> tuple[tuple[slice, slice, slice], NDArray[np.float64]]:
    """The part of the volume within `NEAR_MM`, and how far each of its voxels is from the point; 0 = it lies in it."""
    positions = geometry.slice_positions_mm - np.asarray(point) @ geometry.normal
    half_mm = geometry.slice_extent_mm / 2
    planes = np.flatnonzero(np.abs(positions) <= NEAR_MM + half_mm)
    if planes.size == 0:
        return (slice(0), slice(0), slice(0)), np.empty((0, 0, 0))
    first, last = int(planes[0]), int(planes[-1]) + 1
    across = np.maximum(np.abs(positions[first:last]) - half_mm[first:last], 0.0)
    # A tilted gantry moves the slices along their rows, so each has its own place of the point.
    places = np.array([geometry.in_slice(k, point) for k in range(first, last)])
    steps: list[NDArray[np.float64]] = []
    bounds: list[slice] = []
    for axis in (0, 1):
        spacing = geometry.spacing_mm[axis + 1]
        reach = NEAR_MM / spacing + 1
        low = max(int(np.floor(places[:, axis].min() - reach)), 0)
        high = min(int(np.ceil(places[:, axis].max() + reach)) + 1, geometry.shape[axis + 1])
        bounds.append(slice(low, max(high, low)))
        offsets = np.abs(np.arange(low, max(high, low))[None] - places[:, axis : axis + 1]) - 0.5
        steps.append(np.maximum(offsets, 0.0) * spacing)
    squares = across[:, None, None] ** 2 + steps[0][:, :, None] ** 2 + steps[1][:, None, :] ** 2
    return (slice(first, last), bounds[0], bounds[1]), np.sqrt(squares)


# --------------------------------------------------------------------------------------------------- what it says


def finding_type(text: str, words: Vocabulary) -> str:
    """Id of the one finding type that a text names by words of its name.

    Empty if it names none or several, or says that something is not so.
    """
    plain = _plain(text)
    if not plain.strip() or _NO.search(plain):
        return ""
    named = {term.id for term in words.findings.values() if any(one in plain for one in _phrases(term.name))}
    named.discard(_OTHER)
    return named.pop() if len(named) == 1 else ""


@lru_cache(maxsize=512)
def _phrases(name: str) -> tuple[str, ...]:
    """The parts of a name: ``Over-segmentation (leak)`` is called by either word; lists in brackets are examples."""
    parts: Iterable[str] = (_plain(part) for part in re.split(r"[(),]| or ", re.sub(r"\([^)]*,[^)]*\)", "", name)))
    return tuple(part for part in parts if len(part.strip()) >= _SHORTEST_PHRASE and not _NO.search(part))


def _plain(text: str) -> str:
    """Lower case, hyphens joined, words between blanks, without the s of a plural."""
    joined = re.sub(r"\b(over|under)[- ]?(?=segment)", r"\1", text.casefold())
    words = re.sub(r"[^\w]+", " ", joined).split()
    return f" {' '.join(word.removesuffix('s') for word in words)} "
