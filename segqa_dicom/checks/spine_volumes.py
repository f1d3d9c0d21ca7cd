"""Rules S5 and S6: volumes along the spine, number of vertebrae."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from segqa_dicom.anatomy import Group
from segqa_dicom.checks.chains import (
    L1,
    L5,
    T1,
    T12,
    Chain,
    centre,
    complete,
    members,
)
from segqa_dicom.checks.finding import Severity
from segqa_dicom.checks.numbering import lies_on, sacrum
from segqa_dicom.checks.registry import Result, Scope, SeriesResults, Unit, noted, rule, warned
from segqa_dicom.checks.ruleset import Limits
from segqa_dicom.checks.subject import MeasuredSegment, MeasuredSegmentation
from segqa_dicom.checks.vertebrae import centres_of, step_mm, vertebra_name


@rule(
    "S5",
    "Volume step along the spine",
    scope=Scope.SEGMENTATION,
    severity=Severity.WARNING,
    unit=Unit.RATIO,
    source="mean ratios of neighbours 0.97-1.12 (whole vertebrae, NLST) and 0.93-1.40 (bodies, Limthongkul 2010)",
    gate="complete neighbours from T1 to L5 beside no gap in the numbering (S2)",
)
def volume_step(context: MeasuredSegmentation, limits: Limits) -> SeriesResults:
    """Neighbours differ little in volume: one finding for all that do not fit to the next."""
    there = members(context, Chain.SPINE)
    volumes = {
        level: part.measures.shape.volume_ml
        for level, part in complete(there).items()
        if T1 <= level <= L5 and not _beside_gap(level, there)
    }
    steps = [
        (upper, lower, volumes[lower] / volumes[upper])
        for upper, lower in pairwise(volumes)
        if lower == upper + 1
        and not limits["min_ratio"] <= volumes[lower] / volumes[upper] <= _max_ratio(lower, limits)
    ]
    if steps:
        worst = max(steps, key=lambda step: abs(np.log(step[2])))
        what = ", ".join(
            f"{vertebra_name(lower)} has {ratio:.2f} of {vertebra_name(upper)}" for upper, lower, ratio in steps
        )
        levels = [worst[1], worst[0], *(level for upper, lower, _ in steps for level in (upper, lower))]
        yield warned(
            f"volumes of neighbours do not fit: {what}",
            value=worst[2],
            limit=limits["min_ratio"] if worst[2] < 1 else _max_ratio(worst[1], limits),
            location_mm=there[worst[1]].anchor_mm,
            segments=tuple(there[level].index for level in dict.fromkeys(levels)),
        )


def _max_ratio(lower: int, limits: Limits) -> float:
    """From T12 to L1 the bodies grow by 1.40 on average."""
    return limits["max_ratio_l1"] if lower == L1 else limits["max_ratio"]


def _beside_gap(level: int, there: Mapping[int, MeasuredSegment]) -> bool:
    """Whether a level next to it is missing although the chain goes on."""
    return any(min(there) < other < max(there) and other not in there for other in (level - 1, level + 1))


_ADDITIONAL = re.compile(r"\b(T13|L6)\b")


@rule(
    "S6",
    "Number of vertebrae",
    scope=Scope.SEGMENTATION,
    severity=Severity.INFO,
    unit=Unit.COUNT,
    source="VerSe 2020: 77 of 300 people have a variant of the numbering",
    gate="the whole thoracic or lumbar spine in the image",
)
def count(context: MeasuredSegmentation, limits: Limits) -> SeriesResults:
    """11 or 13 thoracic and 4 or 6 lumbar vertebrae are variants; they are worth knowing, for ribs and levels."""
    there = members(context, Chain.SPINE)
    additional = [
        part
        for part in context.segments
        if part.known.group is Group.VERTEBRA and not part.is_empty and _ADDITIONAL.search(part.known.name)
    ]
    for part in additional:
        yield noted(
            f"{part.label}: an additional vertebra is a known variant, or a wrong number",
            location_mm=part.anchor_mm,
            segments=(part.index,),
        )
    step = step_mm(centres_of(context))
    if T12 not in there and {T12 - 1, L1} <= complete(there).keys() and step is not None:
        room = float(np.linalg.norm(centre(there[L1]) - centre(there[T12 - 1]))) / step
        if room < limits["neighbours_within"]:
            yield _fewer(there[T12 - 1], "11 thoracic vertebrae: L1 follows T11")
    bone = sacrum(context)
    if bone is not None and there and max(there) == L5 - 1 and lies_on(there, bone):
        yield _fewer(there[L5 - 1], "4 lumbar vertebrae: L4 lies on the sacrum")


def _fewer(part: MeasuredSegment, message: str) -> Result:
    return noted(f"{message}; a known variant, or a wrong number", location_mm=part.anchor_mm, segments=(part.index,))
