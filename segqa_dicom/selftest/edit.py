"""Segmentations with something changed: label volumes, names, segments. Nothing here changes its input."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from segqa_dicom.anatomy import Group, Side, Structure, knowledge, side_of, structure_key
from segqa_dicom.model import Segmentation
from segqa_dicom.model.segmentation import LabelArray, Segment
from segqa_dicom.phantoms import errors

CLEAR_OF_ENDS = (2, 1, 1)
"""Slices, rows and columns between a complete structure and the end of the scan: some results end a slice too early."""
LARGE = 8
"""Voxels across that a structure needs for errors of its shape."""


@dataclass(frozen=True, eq=False)
class Part:
    """A segment with voxels.

    value : its label in its layer
    box : where it lies (slice, row, column)
    is_complete : it is clear of all sides of the volume
    """

    index: int
    label: str
    key: str
    side: Side | None
    known: Structure
    layer: int
    box: tuple[slice, slice, slice]
    is_complete: bool

    @property
    def value(self) -> int:
        """Its label in its layer."""
        return self.index + 1

    @property
    def is_large(self) -> bool:
        """Whether it is large enough in all directions to lose a layer of voxels or a slice, and still be itself."""
        return all(part.stop - part.start >= LARGE for part in self.box)

    @property
    def box_size(self) -> int:
        """Voxels of its box."""
        return int(np.prod([part.stop - part.start for part in self.box]))


def parts_of(segmentation: Segmentation) -> list[Part]:
    """All segments with voxels whose identity no other segment has, in their order."""
    boxes = [ndimage.find_objects(layer) for layer in segmentation.layers]
    keys = [structure_key(segment.codes) for segment in segmentation.segments]
    found = []
    for index, segment in enumerate(segmentation.segments):
        box = boxes[segment.layer][index] if index < len(boxes[segment.layer]) else None
        if box is None or keys.count(keys[index]) > 1:
            continue
        inside = all(
            part.start >= least and part.stop <= size - least
            for part, size, least in zip(box, segmentation.layers[0].shape, CLEAR_OF_ENDS, strict=True)
        )
        codes = segment.codes
        found.append(
            Part(index, segment.label, keys[index], side_of(codes), knowledge(codes), segment.layer, box, inside)
        )
    return found


def is_one_piece(segmentation: Segmentation, part: Part) -> bool:
    """Whether all voxels of a segment hang together (26 neighbours)."""
    mask = segmentation.layers[part.layer][part.box] == part.value
    return int(ndimage.label(mask, np.ones((3, 3, 3)))[1]) == 1


def chain(parts: Iterable[Part], group: Group, side: Side | None = None) -> dict[int, Part]:
    """The vertebrae, or the ribs of a side, by their level, head to feet."""
    found = {part.known.level: part for part in parts if part.known.group is group and part.side is side}
    return {level: found[level] for level in sorted(one for one in found if one is not None)}


def with_voxels(segmentation: Segmentation, layer: int, change: Callable[[LabelArray], NDArray[Any]]) -> Segmentation:
    """The segmentation with another label volume in the place of one of its layers."""
    layers = [*segmentation.layers]
    layers[layer] = change(segmentation.layers[layer])
    planes = _planes(layers[layer], len(segmentation.segments))
    segments = [
        replace(segment, frame_count=int(planes[index])) if segment.layer == layer else segment
        for index, segment in enumerate(segmentation.segments)
    ]
    return _anew(segmentation, segments, layers)


def with_names_of(segmentation: Segmentation, source_of: Mapping[int, int], *, labels: bool = True) -> Segmentation:
    """Segments (by index) under the codes of others, and under their labels, too, unless only codes are wanted."""
    segments = [*segmentation.segments]
    for index, source in source_of.items():
        its = segmentation.segments[source]
        named = its if labels else segmentation.segments[index]
        segments[index] = replace(
            segments[index],
            codes=its.codes,
            unlisted_codes=its.unlisted_codes,
            label=named.label,
            tracking_id=named.tracking_id,
            tracking_uid=named.tracking_uid,
        )
    return _anew(segmentation, segments, segmentation.layers)


def without(segmentation: Segmentation, index: int) -> Segmentation:
    """One segment less; the others are numbered as if it had never been there."""
    numbers = [segment.number for segment in segmentation.segments]
    left = [segment for at, segment in enumerate(segmentation.segments) if at != index]
    segments = [replace(segment, number=number) for segment, number in zip(left, numbers[:-1], strict=True)]
    moved = {value: value - 1 for value in range(index + 2, len(numbers) + 1)}
    layers = [errors.renumber(layer, {index + 1: 0, **moved}) for layer in segmentation.layers]
    return _anew(segmentation, segments, layers)


def with_copy(segmentation: Segmentation, index: int, label: str) -> Segmentation:
    """A segment a second time, in a layer of its own, under another label."""
    its = segmentation.segments[index]
    count = len(segmentation.segments)
    number, layer = segmentation.segments[-1].number + 1, len(segmentation.layers)
    copy = replace(its, number=number, label=label, layer=layer, tracking_id=label, tracking_uid="")
    alone = _layer_of(segmentation.layers[its.layer] == index + 1, count + 1)
    return _anew(segmentation, [*segmentation.segments, copy], [*segmentation.layers, alone])


def with_overlap(
    segmentation: Segmentation, index: int, change: Callable[[NDArray[np.bool_]], NDArray[np.bool_]]
) -> Segmentation:
    """A segment with another mask, which may lie over others: it gets a layer of its own."""
    its = segmentation.segments[index]
    mask = change(segmentation.layers[its.layer] == index + 1)
    frames = int(mask.any(axis=(1, 2)).sum())
    segments = [*segmentation.segments]
    segments[index] = replace(its, layer=len(segmentation.layers), frame_count=frames)
    layers = [*segmentation.layers]
    layers[its.layer] = errors.remove(layers[its.layer], index + 1)
    return _anew(segmentation, segments, [*layers, _layer_of(mask, index + 1)])


def _layer_of(mask: NDArray[np.bool_], value: int) -> LabelArray:
    if value < 256:
        return mask.astype(np.uint8) * np.uint8(value)
    return mask.astype(np.uint16) * np.uint16(value)


def with_number(segmentation: Segmentation, index: int, number: int) -> Segmentation:
    """A segment under another Segment Number."""
    segments = [*segmentation.segments]
    segments[index] = replace(segments[index], number=number)
    return _anew(segmentation, segments, segmentation.layers)


def _anew(segmentation: Segmentation, segments: Iterable[Segment], layers: Iterable[LabelArray]) -> Segmentation:
    """Everything that follows from segments and voxels, as if it had been read like this from a file."""
    segments = tuple(segments)
    # Another content than before: a twin of the original would no longer be one (rule D9).
    record = replace(segmentation.record, content_digest="")
    facts = replace(segmentation.facts, raw_segment_numbers=tuple(segment.number for segment in segments))
    return Segmentation(record, segments, tuple(layers), facts)


def _planes(layer: LabelArray, count: int) -> NDArray[np.intp]:
    """In how many slices each of `count` labels occurs; of the label n + 1 at index n."""
    found = np.zeros(count + 1, np.intp)
    for plane in layer:
        found += np.bincount(plane.reshape(-1), minlength=count + 1) > 0
    return found[1:]
