"""Reviews of readers for the tests: everything has a default and can be replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from segqa_dicom.assessment.model import Location, Review, Reviewer, ReviewFinding, SegmentReview
from segqa_dicom.assessment.vocabulary import Vocabulary, default_vocabulary
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.model import WHOLE, Case, PointMm, SegFacts, Segmentation
from segqa_dicom.reading.case import read_case
from segqa_dicom.reading.grouping import group
from segqa_dicom.reading.scan import scan
from segqa_dicom.sr import Document, Predecessor, build_review_documents

from .factories import ct_record, geometry, rich_case

MADE_AT = "20261121203015+0100"
READER = Reviewer("jmueller", "M\u00fcller^J\u00fcrgen^^Dr.", "Klinikum S\u00fcd")
HERE = Location((-20.0, -41.0, 7.4))
BOX_ON_SLICE = Location((-20.0, -41.0, 6.0), ((-30.5, -50.0, 6.0), (-9.5, -32.0, 6.0)))
BOX_ACROSS = Location((-20.0, -41.0, 6.1), ((-20.0, -50.0, 3.0), (-20.0, -32.0, 9.2)))
REPORT = Predecessor("1.2.826.0.1.99.1", "1.2.826.0.1.99")
GREEK = "\u03ba\u03ac\u03c4\u03c9 \u03b1\u03c0\u03cc"


def model() -> Segmentation:
    """The SEG of the rich case, whose segments have the numbers 1, 2, 3, 4, 5 and 9."""
    found = rich_case().segmentations[0]
    layer = np.zeros(geometry().shape, np.uint8)
    return Segmentation(found.record, tuple(one.segment for one in found.segments), (layer,), SegFacts())


def found(type_: str = "leak", severity: str = "major", location: Location | None = None, comment: str = ""):
    return ReviewFinding(type_, severity, location, comment)


def review(*segments: SegmentReview, **values: object) -> Review:
    segments = segments or (SegmentReview(1, "2", (found(location=HERE, comment="into the colon"),), "edit", "high"),)
    base = Review(model().record.sop_instance_uid, READER, segments, MADE_AT, vocabulary_version="1")
    return replace(base, **values)  # type: ignore[arg-type]


def rich_review(**values: object) -> Review:
    """Everything that can be said: located in all ways, about the whole, in several scripts."""
    return review(
        SegmentReview(WHOLE, "", (found("artefact", "minor", HERE),), "edit", "low", "\u00dcberall verrauscht"),
        SegmentReview(
            1,
            "2",
            (
                found("leak", "major", HERE, f"l\u00e4uft aus\n{GREEK} \\ 3 mm"),
                found("hole", "minor", BOX_ON_SLICE),
                found("under", "critical", BOX_ACROSS, "\u4e0b\u6975"),
                found("leak", "", None, ""),
            ),
            "edit",
            "high",
            "Zeile 1\nZeile 2",
            42.5,
        ),
        SegmentReview(2, "5", seconds=3.25),
        SegmentReview(4, "na", comment="?"),
        SegmentReview(9, "", (found("variant", "cosmetic"),), seconds=0.1),
        **values,
    )


def documents(
    said: Review, *, vocabulary: Vocabulary | None = None, report: Predecessor | None = REPORT, **values: object
) -> list[Document]:
    """The documents of a review of the rich case."""
    given: dict[str, object] = {
        "ct": ct_record(),
        "geometry": geometry(),
        "segmentation": model(),
        "segmentation_rank": 1,
        "vocabulary": vocabulary or default_vocabulary(),
        "machine_report": report,
        **values,
    }
    return build_review_documents(said, **given)  # type: ignore[arg-type]


@cache
def case_in(folder: Path) -> Case:
    """The case of a folder with one CT series."""
    headers, _ = scan([folder], Limits())
    (files,), _ = group(headers, Limits())
    case, _ = read_case(files, Limits())
    assert case is not None
    return case


def documents_on(case: Case, index: int, said: Review, **values: object) -> list[Document]:
    """The documents of a review of a SEG of a case that was read."""
    given: dict[str, object] = {
        "ct": case.ct.record,
        "geometry": case.ct.geometry,
        "segmentation": case.segmentations[index],
        "segmentation_rank": index,
        "vocabulary": default_vocabulary(),
        "machine_report": None,
        **values,
    }
    return build_review_documents(said, **given)  # type: ignore[arg-type]


def middle_of(case: Case, index: int, number: int) -> tuple[int, int, int]:
    """A voxel of a segment (slice, row, column): of its largest cross-section the one in the middle of the list."""
    segmentation = case.segmentations[index]
    at = next(n for n, one in enumerate(segmentation.segments) if one.number == number)
    layer = segmentation.layers[segmentation.segments[at].layer]
    counts = [int((plane == at + 1).sum()) for plane in layer]
    best = int(np.argmax(counts))
    rows, columns = np.nonzero(layer[best] == at + 1)
    return best, int(rows[len(rows) // 2]), int(columns[len(columns) // 2])


def box_around(case: Case, voxel: tuple[int, int, int], half: tuple[int, int, int]) -> Location:
    """A box with `half` voxels on both sides; of an axis with 0 it has no extent."""
    ends: Sequence[PointMm] = [
        case.ct.geometry.point_at(*(float(at + sign * by) for at, by in zip(voxel, half, strict=True)))
        for sign in (-1, 1)
    ]
    low, high = (tuple(pick(a, b) for a, b in zip(*ends, strict=True)) for pick in (min, max))
    return Location(case.ct.geometry.point_at(*map(float, voxel)), (low, high))  # type: ignore[arg-type]
