"""The scene of one segment as JSON: geometry, views, windows and segmentations of a case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segqa_dicom.model import WHOLE, Geometry, PointMm, Segmentation
from segqa_dicom.pictures.locations import start, to_voxel
from segqa_dicom.pictures.open_case import OpenCase, SegmentIndex
from segqa_dicom.rendering.finding_figure import colour_of, is_dashed
from segqa_dicom.rendering.patient_planes import VIEWS, Planes
from segqa_dicom.rendering.windows import BONE, LUNG, SOFT, Window

BRAIN, LIVER = Window("brain", 80, 40), Window("liver", 150, 90)
PRESETS = (SOFT, BONE, LUNG, LIVER, BRAIN)
_ENDS = (("R", "L"), ("A", "P"), ("F", "H"))
"""Sides of the patient at low and high x, y and z (LPS)."""


def scene(
    open_case: OpenCase, segmentation_uid: str, segment: int, locations_mm: Sequence[PointMm] = ()
) -> dict[str, Any]:
    """What the page shows of one segment, and how it turns pixels into voxels and those into LPS mm.

    segment : Segment Number; 0 = the segmentation as a whole
    locations_mm : points of findings, worst first

    Voxels are [slice, row, column], counted from 0; points are [x, y, z] in LPS mm; sizes of pixels are [down, across].

    - ``shape``, ``spacing_mm``: of the volume, [slice, row, column]; the slice spacing is the nominal one
    - ``geometry``, ``segment``: see `_geometry`, `_segment`; ``views``, ``segmentations``: see `_view`, `_segmentation`
    - ``start``, ``start_reason``: voxel to show first, and a `StartReason`
    - ``locations``: voxels of `locations_mm`
    - ``focus``: [[segmentation, segment], ...] to be drawn strongly: the segment and its counterparts
    - ``window``, ``windows``: {name, width_hu, level_hu} to begin with, and all presets
    - ``is_hu``: false if the values of the CT are not HU, and windows are in its own unit

    Raises `NoSuchSegment`.
    """
    place = None if segment == WHOLE else open_case.segment_place(segmentation_uid, segment)
    at = open_case.segmentation_index(segmentation_uid)
    focus = focus_of(open_case, at, place)
    first, reason = start(open_case, place, locations_mm)
    ct = open_case.case.ct
    drawn = {number for number, _ in focus}
    return {
        "shape": list(ct.geometry.shape),
        "spacing_mm": list(ct.geometry.spacing_mm),
        "geometry": _geometry(ct.geometry),
        "views": {view.name: _view(open_case.planes[view.name]) for view in VIEWS},
        "start": list(first),
        "start_reason": reason.value,
        "locations": [list(to_voxel(open_case, point)) for point in locations_mm],
        "segment": _segment(open_case, at, place),
        "focus": [list(one) for one in focus],
        "window": _window(open_case.default_window if place is None else open_case.window_of(*place)),
        "windows": [_window(one) for one in presets(open_case)],
        "is_hu": ct.facts.hu_defined,
        "segmentations": [
            _segmentation(one, number, has_structure=number in drawn)
            for number, one in enumerate(open_case.case.segmentations)
        ],
    }


def focus_of(open_case: OpenCase, at: int, place: SegmentIndex | None) -> list[SegmentIndex]:
    """What is drawn strongly: a segment and its counterparts in other models, or all segments of a segmentation."""
    if place is None:
        return [(at, index) for index in range(len(open_case.case.segmentations[at].segments))]
    return [place, *open_case.counterparts(*place)]


def presets(open_case: OpenCase) -> list[Window]:
    """Windows to choose from; those of organs only where values are HU."""
    hu = PRESETS if open_case.case.ct.facts.hu_defined else ()
    return [*hu, open_case.full_range]


def _geometry(geometry: Geometry) -> dict[str, Any]:
    """Voxel (k, i, j) lies at ``slice_origins_mm[k] + i * row_step_mm + j * column_step_mm``."""
    return {
        "slice_origins_mm": geometry.slice_origins_mm.tolist(),
        "row_step_mm": geometry.row_step_mm.tolist(),
        "column_step_mm": geometry.column_step_mm.tolist(),
    }


def _view(planes: Planes) -> dict[str, Any]:
    """One view.

    - ``count``, ``rows``, ``columns``, ``pixel_mm``: number of planes, their pixels, and size of a pixel [down, across]
    - ``axes``: which of slice (0), row (1) and column (2) is ``through``, ``down`` and ``across``
    - ``flipped``: ``down`` / ``across``: whether the voxel index falls: index = rows - 1 - down, columns - 1 - across
    - ``letters``: sides of the patient at ``left``, ``right``, ``top``, ``bottom``
    - ``ends``: sides of the patient towards plane 0 and towards the last plane
    """
    low, high = _ENDS[planes.view.through]
    return {
        "count": planes.count,
        "rows": planes.shape[0],
        "columns": planes.shape[1],
        "pixel_mm": list(planes.pixel_mm),
        "axes": {"through": planes.through, "down": planes.down, "across": planes.across},
        "flipped": {"down": planes.flipped[0], "across": planes.flipped[1]},
        "letters": dict(zip(("left", "right", "top", "bottom"), planes.view.letters, strict=True)),
        "ends": [low, high] if planes.ascends else [high, low],
    }


def _segment(open_case: OpenCase, at: int, place: SegmentIndex | None) -> dict[str, Any]:
    """The segment in focus.

    - ``place``: [segmentation, segment] as indices; the segment is null for the segmentation as a whole
    - ``number``, ``label``, ``is_empty``
    - ``box``: [lowest voxel, voxel after the highest] or null; ``centre``: voxel or null
    """
    if place is None:
        return {"place": [at, None], "number": WHOLE, "label": "", "is_empty": False, "box": None, "centre": None}
    segment, box, centre = open_case.segment(*place), open_case.bounding_box(*place), open_case.centre(*place)
    return {
        "place": list(place),
        "number": segment.number,
        "label": segment.label,
        "is_empty": box is None,
        "box": None if box is None else [list(box.start), list(box.stop)],
        "centre": None if centre is None else list(centre),
    }


def _segmentation(one: Segmentation, number: int, *, has_structure: bool) -> dict[str, Any]:
    """``uid``, ``series``, ``name``, ``colour``, ``is_dashed``, ``has_structure`` (whether it has one of ``focus``)."""
    record = one.record
    return {
        "uid": record.sop_instance_uid,
        "series": record.series_instance_uid,
        "name": record.series_description
        or f"{record.model_name} {record.model_version}".strip()
        or f"SEG {number + 1}",
        "colour": colour_of(number),
        "is_dashed": is_dashed(number),
        "has_structure": has_structure,
    }


def _window(window: Window) -> dict[str, Any]:
    return {"name": window.name, "width_hu": window.width_hu, "level_hu": window.level_hu}
