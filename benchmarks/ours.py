"""Our steps, through functions that the pipeline uses too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.given import TOLERANCE_MM, Given, Numbers, Prepared
from segqa_dicom.checks import rule_titles
from segqa_dicom.checks.ruleset import default_ruleset
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.measures import (
    Comparand,
    JointCounts,
    StructurePair,
    compare_segmentations,
    connected_components,
    dice,
    extract_surfaces,
    find_runs,
    iou,
    joint_counts,
    measure_segmentation,
)
from segqa_dicom.measures.intensity import intensities_of_runs
from segqa_dicom.measures.runs import table_size
from segqa_dicom.pipeline import review
from segqa_dicom.reading.case import read_case
from segqa_dicom.reading.ct import read_ct
from segqa_dicom.reading.grouping import group
from segqa_dicom.reading.scan import scan
from segqa_dicom.reading.seg import read_seg
from segqa_dicom.report.model import CaseReport


def label_counts(given: Given) -> Prepared:
    """Voxels of all pairs of labels; Dice and IoU of the diagonal."""
    one, other = given.a, given.b

    def numbers(counts: JointCounts) -> Numbers:
        found = {}
        for label in given.boxes:
            values = counts.get(label, label), counts.total_a(label), counts.total_b(label)
            found[str(label)] = {"dice": dice(*values), "iou": iou(*values)}
        return found

    return Prepared(lambda: joint_counts(one, other), numbers)


def counts_and_hu(given: Given) -> Prepared:
    """Voxels, mean, SD, minimum, maximum and median HU of each structure of one model."""
    segmentation, ct = given.segmentation("a"), given.ct

    def run() -> Any:
        # As `measure_segmentation` does it: the runs are found once, and serve both.
        runs = find_runs(segmentation.layers[0])
        size = table_size(segmentation.layers[0], len(segmentation.segments))
        indices = list(range(len(segmentation.segments)))
        return runs.voxel_counts, intensities_of_runs(runs, indices, ct, size=size)

    def numbers(result: Any) -> Numbers:
        counts, intensities = result
        return {
            str(label): {
                "voxels": int(counts[label]), "mean": one.mean_hu, "sd": one.sd_hu, "min": one.min_hu,
                "max": one.max_hu,
            }
            for label, one in zip(given.labels, intensities, strict=True)
            if one is not None
        }  # fmt: skip

    return Prepared(run, numbers)


def components(given: Given) -> Prepared:
    """26-connected components of each structure of one model: how many, and the largest one."""
    layer, labels = given.b, list(given.labels)

    def numbers(result: Any) -> Numbers:
        return {
            str(label): {"components": one.count, "largest": int(one.voxel_counts[0])}
            for label, one in zip(labels, result, strict=True)
            if one.count
        }

    return Prepared(lambda: connected_components(find_runs(layer), labels), numbers)


def surfaces(given: Given) -> Prepared:
    """Surface elements of both models, and NSD, HD, HD95 and ASSD of every structure that both have."""
    models = [given.segmentation("a"), given.segmentation("b")]
    shapes = [tuple(one.shape for one in measure_segmentation(model, given.ct)) for model in models]
    pairs = [StructurePair(str(label), label - 1, label - 1, TOLERANCE_MM) for label in given.boxes]

    def run() -> Any:
        reference, evaluated = (
            Comparand(model, shape, extract_surfaces(model)) for model, shape in zip(models, shapes, strict=True)
        )
        return compare_segmentations(evaluated, reference, pairs, given.ct.geometry)

    def numbers(result: Any) -> Numbers:
        return {
            one.structure_key: {"nsd": one.nsd, "hd": one.hd_mm, "hd95": one.hd95_mm, "assd": one.assd_mm}
            for one in result
        }

    return Prepared(run, numbers)


def seg_volume(given: Given) -> Prepared:
    """A BINARY SEG to its label volume on the grid of the CT."""
    ct, path = read_ct(given.ct_files, Limits()), given.seg_file("a")

    def numbers(result: Any) -> NDArray[Any]:
        layer: NDArray[Any] = result.layers[0]
        return layer

    return Prepared(lambda: read_seg(path, ct, Limits()), numbers)


def ct_volume(given: Given) -> Prepared:
    """The files of a CT series to its volume in HU."""
    paths = given.ct_files

    def numbers(result: Any) -> NDArray[Any]:
        hu: NDArray[Any] = result.hu
        return hu

    return Prepared(lambda: read_ct(paths, Limits()), numbers)


def report_sr(given: Given) -> Prepared:
    """The report document of one segmentation, from the review as data to the file."""
    from segqa_dicom import sr

    report = reviewed(given, "a")
    path = given.scratch / "ours.dcm"

    def run() -> Path:
        document = next(one for one in sr.build_documents(report, rule_titles=rule_titles(), compare="none"))
        sr.write(document, path)
        return path

    groups = groups_in_report(run())
    measurements, evaluations = (
        max(map(len, parts)) for parts in ([one.measurements for one in groups], [one.evaluations for one in groups])
    )
    return Prepared(
        run, values_in_report, note=f"{len(groups)} groups of up to {measurements} NUM + {evaluations} CODE"
    )


def values_in_report(path: Path) -> Numbers:
    """Every measurement in a TID 1500 document: tracking identifier -> name -> value."""
    return {
        group.identifier: {
            f"{at} {item.ConceptNameCodeSequence[0].CodeValue}": float(item.MeasuredValueSequence[0].NumericValue)
            for at, item in enumerate(group.measurements)
        }
        for group in groups_in_report(path)
    }


class MeasurementGroup:
    """One measurement group of a TID 1500 document, taken apart; codes of finding and site are not evaluations."""

    def __init__(self, container: Any) -> None:
        children = list(container.ContentSequence)
        names = [item.ConceptNameCodeSequence[0].CodeValue for item in children]
        self.measurements = [item for item in children if item.ValueType == "NUM"]
        self.evaluations = [
            item
            for item, name in zip(children, names, strict=True)
            if item.ValueType == "CODE" and name not in ("121071", "363698007", "276214006")
        ]
        self.finding = next(item for item, name in zip(children, names, strict=True) if name == "121071")
        self.sites = [item for item, name in zip(children, names, strict=True) if name == "363698007"]
        self.identifier = str(
            next(item.TextValue for item, name in zip(children, names, strict=True) if name == "112039")
        )
        self.segment = int(
            next(
                item.ReferencedSOPSequence[0].ReferencedSegmentNumber
                for item in children
                if item.ValueType == "IMAGE" and "ReferencedSegmentNumber" in item.ReferencedSOPSequence[0]
            )
        )


def groups_in_report(path: Path) -> list[MeasurementGroup]:
    """The measurement groups of a document."""
    import pydicom

    found = []
    pending = list(pydicom.dcmread(path).ContentSequence)
    while pending:
        item = pending.pop(0)
        if item.ValueType == "CONTAINER" and item.ConceptNameCodeSequence[0].CodeValue == "125007":
            found.append(MeasurementGroup(item))
        elif item.ValueType == "CONTAINER" and "ContentSequence" in item:
            pending.extend(item.ContentSequence)
    return found


def files_to_numbers(given: Given, models: Sequence[str] = ("a", "b")) -> Prepared:
    """Scan, read, measure, compare, check: everything of a review but its documents."""
    paths = [given.study.case() / "ct", *(given.seg_file(model) for model in models)]
    return Prepared(lambda: _review(paths), lambda _: {})


def files_of_three_to_numbers(given: Given) -> Prepared:
    """The same with a third model."""
    return files_to_numbers(given, ("a", "b", "c"))


def reviewed(given: Given, model: str) -> CaseReport:
    """The review of one model."""
    return _review([given.study.case() / "ct", given.seg_file(model)])


def _review(paths: Sequence[Path]) -> CaseReport:
    limits = Limits()
    headers, _ = scan(paths, limits)
    cases, _ = group(headers, limits)
    case, _ = read_case(cases[0], limits)
    if case is None:
        raise ValueError("the input cannot be read")
    return review(case, default_ruleset())


def as_volume(values: NDArray[Any], z_mm: NDArray[np.float64], given: Given) -> NDArray[Any]:
    """Slices at heights `z_mm` put where they belong in a volume like the CT's; the rest is 0."""
    volume = np.zeros(given.study.shape, values.dtype)
    start = float(np.min([_height(path) for path in (given.ct_files[0], given.ct_files[-1])]))
    volume[np.rint((z_mm - start) / given.spacing_mm[0]).astype(np.intp)] = values
    return volume


def _height(path: Path) -> float:
    import pydicom

    return float(pydicom.dcmread(path, stop_before_pixels=True).ImagePositionPatient[2])
