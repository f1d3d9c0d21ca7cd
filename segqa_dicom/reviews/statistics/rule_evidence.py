"""What the archive holds about the worth of rules: outcomes of checks, and what readers have signed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from segqa_dicom.assessment.vocabulary import Vocabulary
from segqa_dicom.findings import FindingsIndex
from segqa_dicom.findings.filters import Filters
from segqa_dicom.findings.listing import pages
from segqa_dicom.findings.worklist import machine_segments
from segqa_dicom.model import SegmentRef
from segqa_dicom.reviews.statistics.rule_performance import Sample, said_by_place, sample_of
from segqa_dicom.reviews.workflow.model import MachineSegment, SignedReview, WorklistFilters

_PAGE = 5_000
_SEGMENTATIONS = 200
"""Asked about at a time."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """For `rule_worth`, and for `proposal` the outcomes ("WARN", "FAIL") of rules on the segments that are decided."""

    sample: Sample
    outcomes: Mapping[tuple[SegmentRef, str], str]


def evidence(index: FindingsIndex, reviews: Iterable[SignedReview], vocabulary: Vocabulary) -> Evidence:
    """All segments of current reports, and what current reviews say about them.

    Blocks; reads the index of findings only.
    """
    sample = sample_of(_machine(index), said_by_place(reviews), vocabulary)
    return Evidence(sample, _outcomes(index, sample))


def _machine(index: FindingsIndex) -> Iterable[MachineSegment]:
    offset = 0
    while True:
        found, total = machine_segments(index, WorklistFilters(), limit=_PAGE, offset=offset)
        yield from found
        offset += len(found)
        if not found or offset >= total:
            return


def _outcomes(index: FindingsIndex, sample: Sample) -> dict[tuple[SegmentRef, str], str]:
    """Of several outcomes of a rule on a segment the worst."""
    segmentations = sorted({place.segmentation for place in sample.truth})
    found: dict[tuple[SegmentRef, str], str] = {}
    for start in range(0, len(segmentations), _SEGMENTATIONS):
        chosen = tuple(segmentations[start : start + _SEGMENTATIONS])
        for rows in pages(index, Filters(kind=("check",), outcome=("WARN", "FAIL"), seg=chosen)):
            for row in rows:
                place = SegmentRef(row.seg, row.segment_number)
                if place in sample.truth and row.rule in sample.rules[place] and found.get((place, row.rule)) != "FAIL":
                    found[place, row.rule] = row.outcome
    return found
