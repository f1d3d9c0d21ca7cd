"""`compare`: how far two SEGs of one CT agree, a TID 1501 group per structure that both have."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from segqa_dicom.checks.registry import listing
from segqa_dicom.dicom.uids import stable_uid
from segqa_dicom.measures.results import PairComparison, StructureComparison
from segqa_dicom.model import Code, Segment
from segqa_dicom.report.model import CaseReport, SegmentationReport, SegmentReport
from segqa_dicom.sr import codes, tree
from segqa_dicom.sr.ascii import counted
from segqa_dicom.sr.kinds import Kind
from segqa_dicom.sr.segment_items import finding, finding_site, name_of, pair_names
from segqa_dicom.sr.write.document import Body, Context, Document, assemble
from segqa_dicom.sr.write.summary import SEVERITY_WORDS, what

Mode: TypeAlias = Literal["auto", "pairs", "none"]

MOST_FOR_ALL_PAIRS = 3
"""More SEGs than this are compared with one reference only: six would make fifteen documents."""
_LOWEST = 10
_NAMES = 40


@dataclass(frozen=True, slots=True)
class _Column:
    name: Code
    unit: Code
    value: Callable[[StructureComparison], float | None]


_COLUMNS = (
    _Column(codes.DICE, codes.RATIO, lambda c: c.dice),
    _Column(codes.JACCARD, codes.RATIO, lambda c: c.iou),
    _Column(codes.SURFACE_DICE, codes.RATIO, lambda c: c.nsd),
    _Column(codes.HAUSDORFF, codes.MILLIMETER, lambda c: c.hd_mm),
    _Column(codes.HAUSDORFF_95, codes.MILLIMETER, lambda c: c.hd95_mm),
    _Column(codes.ASSD, codes.MILLIMETER, lambda c: c.assd_mm),
    _Column(codes.VOLUME_DIFFERENCE, codes.PERCENT, lambda c: c.volume_difference_percent),
)


class _Pair:
    """Two SEGs with their comparison, sorted into what can be shown how.

    measured : every number is defined; worst Dice first
    unmeasured : voxels on both sides, but a number is missing
    """

    def __init__(self, case: CaseReport, comparison: PairComparison) -> None:
        self.comparison = comparison
        self.evaluated = _segmentation(case, comparison.evaluated)
        self.reference = _segmentation(case, comparison.reference)
        self._evaluated = _by_number(self.evaluated)
        self._reference = _by_number(self.reference)
        both = [c for c in comparison.segments if self._voxels(c) == (True, True)]
        self.measured = sorted(
            (c for c in both if _is_complete(c)), key=lambda c: (c.dice, c.evaluated_segment, c.reference_segment)
        )
        self.unmeasured = [c for c in both if not _is_complete(c)]

    def segment(self, structure: StructureComparison) -> Segment:
        """The evaluated segment."""
        return self._evaluated[structure.evaluated_segment].segment

    def name(self, structure: StructureComparison) -> str:
        return name_of(self.segment(structure))

    def only_evaluated(self) -> list[str]:
        """Structures that only the evaluated SEG has voxels of."""
        numbers = {*self.comparison.only_evaluated, *(c.evaluated_segment for c in self._one_sided((True, False)))}
        return [name_of(self._evaluated[number].segment) for number in sorted(numbers)]

    def only_reference(self) -> list[str]:
        """Structures that only the reference SEG has voxels of."""
        numbers = {*self.comparison.only_reference, *(c.reference_segment for c in self._one_sided((False, True)))}
        return [name_of(self._reference[number].segment) for number in sorted(numbers)]

    def _one_sided(self, voxels: tuple[bool, bool]) -> list[StructureComparison]:
        return [c for c in self.comparison.segments if self._voxels(c) == voxels]

    def _voxels(self, structure: StructureComparison) -> tuple[bool, bool]:
        evaluated = self._evaluated[structure.evaluated_segment].measures.shape.voxel_count
        return evaluated > 0, self._reference[structure.reference_segment].measures.shape.voxel_count > 0


def pairs_to_write(case: CaseReport, mode: Mode, reference: str | None = None) -> list[PairComparison]:
    """The comparisons that get a document.

    mode : "pairs" = every pair; "auto" = every pair up to three SEGs, beyond that each SEG against one reference
    reference : SOP Instance UID of the reference; if it is not in this case, or not given, the SEG that agrees best
        with the others is taken where one is needed
    """
    if mode == "none":
        return []
    uids = {segmentation.record.sop_instance_uid for segmentation in case.segmentations}
    chosen = reference if reference in uids else None
    if mode == "auto" and len(uids) > MOST_FOR_ALL_PAIRS:
        chosen = chosen or _most_agreed(case)
        return [_towards(case, pair, chosen) for pair in case.comparisons if chosen in (pair.evaluated, pair.reference)]
    return [_towards(case, pair, chosen) for pair in case.comparisons]


def compare_document(context: Context, comparison: PairComparison) -> Document | None:
    """The document of one pair; None if there is no structure to show."""
    pair = _Pair(context.case, comparison)
    if not pair.measured:
        return None
    names = pair_names(pair.evaluated.record, pair.reference.record)
    shown = sorted(pair.measured[: context.max_groups], key=lambda c: (c.evaluated_segment, c.reference_segment))
    return assemble(
        context,
        Body(
            kind=Kind.COMPARE,
            title=context.title,
            about=(pair.evaluated.record, pair.reference.record),
            outcome=f"Dice {_mean_dice(pair.measured):.2f}",
            subjects=names,
            summary=_summary(context, pair, names, left_out=len(pair.measured) - len(shown)),
            groups=[_group(pair, structure, names) for structure in shown],
            parameters=_tolerances(pair, shown),
        ),
    )


# ------------------------------------------------------------------------------------------------------ groups


def _group(pair: _Pair, structure: StructureComparison, names: tuple[str, str]) -> tree.Item:
    evaluated, reference, segment = pair.evaluated.record, pair.reference.record, pair.segment(structure)
    uid = stable_uid(
        "comparison",
        evaluated.sop_instance_uid,
        reference.sop_instance_uid,
        structure.evaluated_segment,
        structure.reference_segment,
    )
    values = ((column, column.value(structure)) for column in _COLUMNS)
    children = [
        tree.text(codes.TRACKING_IDENTIFIER, f"{name_of(segment)}: {' vs '.join(names)}", tree.OBS_CONTEXT),
        tree.uid_reference(codes.TRACKING_UID, uid, tree.OBS_CONTEXT),
        finding(segment),
        *finding_site(segment),
        *(tree.number(column.name, value, column.unit) for column, value in values if value is not None),
        tree.segment_image(
            codes.SOURCE_OF_MEASUREMENT,
            evaluated.sop_class_uid,
            evaluated.sop_instance_uid,
            (structure.evaluated_segment,),
        ),
        tree.segment_image(
            codes.REFERENCE_SEGMENT, reference.sop_class_uid, reference.sop_instance_uid, (structure.reference_segment,)
        ),
    ]
    return tree.container(codes.MEASUREMENT_GROUP, children, template="1501")


def _tolerances(pair: _Pair, shown: Sequence[StructureComparison]) -> list[str]:
    """One parameter per distinct tolerance; the structures are named for all but the most frequent one."""
    uses = Counter(structure.tolerance_mm for structure in shown)
    usual = min(uses, key=lambda value: (-uses[value], value))
    parameters = []
    for tolerance in sorted(uses):
        names = ", ".join(pair.name(c) for c in shown if c.tolerance_mm == tolerance)
        scope = "" if len(uses) == 1 else f": {'all others' if tolerance == usual else names}"
        parameters.append(f"surface_tolerance_mm={float(tolerance)}{scope}")
    return parameters


# ----------------------------------------------------------------------------------------------------- summary


def _summary(context: Context, pair: _Pair, names: tuple[str, str], *, left_out: int) -> list[str]:
    worst = pair.measured[0]
    total, mean = counted(len(pair.measured), "structure"), _mean_dice(pair.measured)
    lines = [
        f"{total} compared: mean Dice {mean:.3f}, lowest {worst.dice:.3f} ({pair.name(worst)}).",
        *_complaints(context, pair),
        f"Evaluated: {names[0]}. Reference: {names[1]}; to compare with, not ground truth.",
    ]
    if len(pair.measured) > 1:
        lowest = ", ".join(f"{pair.name(c)} {c.dice:.3f}" for c in pair.measured[:_LOWEST])
        lines.append(f"Lowest Dice: {lowest}.")
    lists = (
        (f"Only in {names[0]}", pair.only_evaluated()),
        (f"Only in {names[1]}", pair.only_reference()),
        ("Not compared, surface too large", [pair.name(c) for c in pair.unmeasured]),
    )
    lines += [f"{title}: {listing(entries, most=_NAMES)}." for title, entries in lists if entries]
    if left_out:
        lines.append(f"Left out of the measurements: {counted(left_out, 'structure')} with the highest Dice.")
    return lines


def _complaints(context: Context, pair: _Pair) -> list[str]:
    """What the rules say about these two SEGs together."""
    both = {pair.evaluated.record.sop_instance_uid, pair.reference.record.sop_instance_uid}
    return [
        f"{SEVERITY_WORDS[found.severity]}: {what(found, context.titles)}"
        for found in context.case.findings
        if found.is_failed and both.issubset(found.sop_instance_uids)
    ][:_NAMES]


def _mean_dice(structures: Sequence[StructureComparison]) -> float:
    return sum(c.dice or 0.0 for c in structures) / len(structures)


# --------------------------------------------------------------------------------------------- choice of pairs


def _most_agreed(case: CaseReport) -> str:
    """The SEG with the highest mean Dice against the others; of equals the one with the smaller UID.

    A structure that only one of two has counts as Dice 0: else a SEG of the spine alone would be what six models of the
    whole body are compared with.
    """

    def agreement(uid: str) -> tuple[float, str]:
        pairs = [pair for pair in case.comparisons if uid in (pair.evaluated, pair.reference)]
        values = [one.dice for pair in pairs for one in pair.segments if one.dice is not None]
        alone = sum(len(pair.only_evaluated) + len(pair.only_reference) for pair in pairs)
        return -sum(values) / max(len(values) + alone, 1), uid

    return min((segmentation.record.sop_instance_uid for segmentation in case.segmentations), key=agreement)


def _towards(case: CaseReport, pair: PairComparison, reference: str | None) -> PairComparison:
    """`pair` with `reference` as its reference, if it is part of it."""
    if pair.evaluated != reference:
        return pair
    volumes = _volumes(_segmentation(case, pair.evaluated)), _volumes(_segmentation(case, pair.reference))
    return PairComparison(
        evaluated=pair.reference,
        reference=pair.evaluated,
        segments=tuple(_turned(structure, *volumes) for structure in pair.segments),
        only_evaluated=pair.only_reference,
        only_reference=pair.only_evaluated,
    )


def _turned(
    structure: StructureComparison, evaluated_ml: dict[int, float], reference_ml: dict[int, float]
) -> StructureComparison:
    """The same structure seen from the other side; everything but the volume difference is symmetric."""
    new_reference = evaluated_ml[structure.evaluated_segment]
    difference = reference_ml[structure.reference_segment] - new_reference
    return replace(
        structure,
        evaluated_segment=structure.reference_segment,
        reference_segment=structure.evaluated_segment,
        volume_difference_percent=100.0 * difference / new_reference if new_reference > 0 else None,
    )


def _segmentation(case: CaseReport, uid: str) -> SegmentationReport:
    return next(s for s in case.segmentations if s.record.sop_instance_uid == uid)


def _by_number(segmentation: SegmentationReport) -> dict[int, SegmentReport]:
    return {structure.segment.number: structure for structure in segmentation.segments}


def _volumes(segmentation: SegmentationReport) -> dict[int, float]:
    return {s.segment.number: s.measures.shape.volume_ml for s in segmentation.segments}


def _is_complete(structure: StructureComparison) -> bool:
    values: Iterable[float | None] = (column.value(structure) for column in _COLUMNS)
    return all(value is not None and math.isfinite(value) for value in values)
