"""Content of a structured report as data (PS3.3, section C.17.3), whatever wrote it."""

from __future__ import annotations

from dataclasses import dataclass, field

from segqa_dicom.model import Code


@dataclass(frozen=True, slots=True)
class ReferencedInstance:
    """An instance that a document refers to.

    study_instance_uid, series_instance_uid : empty where an item of the tree does not say them
    role : "evidence", "other evidence", "predecessor" or "item"
    frames, segments : numbers of the frames and segments that an item means; none = the whole
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str = ""
    study_instance_uid: str = ""
    role: str = "item"
    frames: tuple[int, ...] = ()
    segments: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Graphic:
    """Coordinates; `data` has at most `MAX_POINTS` numbers of them.

    frame_of_reference_uid : of coordinates in the patient (SCOORD3D)
    """

    type: str
    data: tuple[float, ...]
    frame_of_reference_uid: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """A content item.

    path : concept names of what it lies in, the document title first
    depth : 0 for the title
    group : number of the Measurement Group that it lies in, from 1; 0 = in none
    relation : to what it lies in, as Relationship Type says it
    name : its concept name; None if it has none
    code, number (with unit), text, reference, graphic : its value, by its value type; texts are also UIDs, names of
        persons, dates and times. None, or empty, if it has no value that can be used
    """

    path: tuple[Code, ...]
    depth: int
    group: int
    relation: str
    value_type: str
    name: Code | None
    code: Code | None = None
    number: float | None = None
    unit: Code | None = None
    text: str = ""
    reference: ReferencedInstance | None = None
    graphic: Graphic | None = None

    def is_named(self, *names: Code) -> bool:
        """Whether it has one of these concept names."""
        return self.name in names


@dataclass(frozen=True, slots=True)
class Group:
    """A Measurement Group (TID 1410, 1411, 1501).

    segmentation, segment : SOP Instance UID of the SEG, and Segment Number in it; "" and 0 if it names none
    other_segmentation, other_segment : what it is compared with
    source_series : Series Instance UID of the images that the SEG was drawn on, as the group says it
    label : Segment Label, which documents of segqa state
    """

    number: int
    tracking_identifier: str = ""
    tracking_uid: str = ""
    finding: Code | None = None
    finding_site: Code | None = None
    laterality: Code | None = None
    segmentation: str = ""
    segment: int = 0
    other_segmentation: str = ""
    other_segment: int = 0
    source_series: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A structured report.

    content_date, content_time : as DICOM writes them
    observers : ("person" or "device", name)
    predecessors : SOP Instance UIDs of the documents that it replaces
    references : what it names as evidence, as predecessor and in its items, without repetitions
    kind : of a document of segqa the value of its `sr.Kind`; else empty
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    title: Code | None
    content_date: str
    content_time: str
    series_description: str
    manufacturer: str
    model: str
    version: str
    completion: str
    verification: str
    is_own: bool
    kind: str
    observers: tuple[tuple[str, str], ...] = ()
    predecessors: tuple[str, ...] = ()
    references: tuple[ReferencedInstance, ...] = ()
    items: tuple[Item, ...] = field(default=(), repr=False)
    groups: tuple[Group, ...] = field(default=(), repr=False)
