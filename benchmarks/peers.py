"""The same steps with today's libraries, used as someone who knows them well would.

Every library is imported by the step that needs it: what is not installed is missing in its row only.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks import ours
from benchmarks.given import TOLERANCE_MM, Given, Numbers, Prepared


def simpleitk_overlap(given: Given) -> Prepared:
    """LabelOverlapMeasuresImageFilter: the diagonal only."""
    sitk = import_module("SimpleITK")

    def run() -> Numbers:
        measures = sitk.LabelOverlapMeasuresImageFilter()
        measures.Execute(sitk.GetImageFromArray(given.a), sitk.GetImageFromArray(given.b))
        return {
            str(label): {"dice": measures.GetDiceCoefficient(label), "iou": measures.GetJaccardCoefficient(label)}
            for label in given.boxes
        }

    return _loaded(given, run)


def skimage_regionprops(given: Given) -> Prepared:
    """regionprops_table of one model."""
    measure = import_module("skimage.measure")
    properties = ("label", "num_pixels", "intensity_mean", "intensity_std", "intensity_min", "intensity_max")

    def run() -> Numbers:
        table = measure.regionprops_table(given.a, given.hu, properties=properties)
        names = ("voxels", "mean", "sd", "min", "max")
        columns = [table[name] for name in properties[1:]]
        return {
            str(int(label)): {name: float(column[row]) for name, column in zip(names, columns, strict=True)}
            for row, label in enumerate(table["label"])
        }

    return _loaded(given, run)


def simpleitk_intensity(given: Given) -> Prepared:
    """LabelIntensityStatisticsImageFilter of one model; its SD divides by n - 1, which is turned into ours."""
    sitk = import_module("SimpleITK")

    def run() -> Numbers:
        measures = sitk.LabelIntensityStatisticsImageFilter()
        measures.Execute(sitk.GetImageFromArray(given.a), sitk.GetImageFromArray(given.hu))
        found = {}
        for label in measures.GetLabels():
            count = measures.GetNumberOfPixels(label)
            found[str(label)] = {
                "voxels": count,
                "mean": measures.GetMean(label),
                "sd": measures.GetStandardDeviation(label) * ((count - 1) / count) ** 0.5,
                "min": measures.GetMinimum(label),
                "max": measures.GetMaximum(label),
            }
        return found

    return _loaded(given, run)


def cc3d_components(given: Given) -> Prepared:
    """All labels in one call of cc3d; which component is of which label, and sizes, by fastremap."""
    cc3d, fastremap = import_module("cc3d"), import_module("fastremap")

    def run() -> Numbers:
        pieces = cc3d.connected_components(given.b, connectivity=26)
        owners = fastremap.component_map(pieces, given.b)
        found: dict[str, dict[str, float | None]] = {}
        for piece, size in zip(*fastremap.unique(pieces, return_counts=True), strict=True):
            if piece:
                entry = found.setdefault(str(int(owners[int(piece)])), {"components": 0, "largest": 0})
                entry["components"] = (entry["components"] or 0) + 1
                entry["largest"] = max(entry["largest"] or 0, int(size))
        return found

    return _loaded(given, run)


def deepmind_surfaces(given: Given) -> Prepared:
    """surface-distance on the joint box of each structure."""
    # surface-distance 0.1 uses names that NumPy 2 no longer has.
    for name, value in (("Inf", np.inf), ("NaN", np.nan)):
        if not hasattr(np, name):
            setattr(np, name, value)
    warnings.simplefilter("ignore", DeprecationWarning)
    surface_distance = import_module("surface_distance")

    def of(label: int) -> dict[str, float | None]:
        masks = given.a[given.boxes[label]] == label, given.b[given.boxes[label]] == label
        found = surface_distance.compute_surface_distances(*masks, given.spacing_mm)
        areas = found["surfel_areas_gt"].sum(), found["surfel_areas_pred"].sum()
        means = surface_distance.compute_average_surface_distance(found)
        return {
            "nsd": float(surface_distance.compute_surface_dice_at_tolerance(found, TOLERANCE_MM)),
            "hd": float(surface_distance.compute_robust_hausdorff(found, 100)),
            "hd95": float(surface_distance.compute_robust_hausdorff(found, 95)),
            "assd": float((means[0] * areas[0] + means[1] * areas[1]) / sum(areas)),
        }

    return _sampled(given, of)


def kdtree_surfaces(given: Given) -> Prepared:
    """The recipe of experts: voxels on the border of each structure, and a KD-tree on each side."""
    from scipy.spatial import cKDTree

    def of(label: int) -> dict[str, float | None]:
        masks = given.a[given.boxes[label]] == label, given.b[given.boxes[label]] == label
        borders = [np.argwhere(mask & ~ndimage.binary_erosion(mask)) * np.array(given.spacing_mm) for mask in masks]
        one, other = cKDTree(borders[1]).query(borders[0])[0], cKDTree(borders[0]).query(borders[1])[0]
        both = np.concatenate((one, other))
        return {
            "nsd": float((both <= TOLERANCE_MM).mean()),
            "hd": float(both.max()),
            "hd95": float(max(np.percentile(one, 95), np.percentile(other, 95))),
            "assd": float(both.mean()),
        }

    return _sampled(given, of)


def highdicom_volume(given: Given) -> Prepared:
    """By segread and get_volume."""
    hd = import_module("highdicom")
    path = given.seg_file("a")

    def run() -> Any:
        return hd.seg.segread(path).get_volume(combine_segments=True, dtype=np.uint8)

    def numbers(volume: Any) -> NDArray[Any]:
        heights = [float((volume.affine @ [k, 0, 0, 1])[2]) for k in range(volume.array.shape[0])]
        return ours.as_volume(volume.array, np.array(heights), given)

    return Prepared(run, numbers)


def pydicom_seg_volume(given: Given) -> Prepared:
    """What a careful user writes: pydicom for the frames' places, NumPy for their bits."""
    pydicom = import_module("pydicom")
    path = given.seg_file("a")

    def run() -> Any:
        dataset = pydicom.dcmread(path)
        bits = np.frombuffer(dataset.PixelData, np.uint8)
        numbers, heights = [], []
        for groups in dataset.PerFrameFunctionalGroupsSequence:
            numbers.append(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
            heights.append(float(groups.PlanePositionSequence[0].ImagePositionPatient[2]))
        slices = {height: k for k, height in enumerate(sorted(set(heights)))}
        volume = np.zeros((len(slices), dataset.Rows, dataset.Columns), np.uint8)
        size = dataset.Rows * dataset.Columns // 8
        for frame, (number, height) in enumerate(zip(numbers, heights, strict=True)):
            mask = np.unpackbits(bits[frame * size : (frame + 1) * size], bitorder="little")
            volume[slices[height]][mask.reshape(volume.shape[1:]).view(bool)] = number
        return volume, np.array(sorted(slices))

    return Prepared(run, lambda result: ours.as_volume(result[0], result[1], given))


def pydicom_ct(given: Given) -> Prepared:
    """Every file read, sorted, stacked and rescaled."""
    pydicom = import_module("pydicom")
    paths = given.ct_files

    def run() -> Any:
        slices = sorted((pydicom.dcmread(path) for path in paths), key=lambda one: float(one.ImagePositionPatient[2]))
        volume = np.stack([one.pixel_array for one in slices])
        volume *= np.int16(slices[0].RescaleSlope)
        volume += np.int16(slices[0].RescaleIntercept)
        return volume

    return Prepared(run)


def simpleitk_ct(given: Given) -> Prepared:
    """ImageSeriesReader."""
    sitk = import_module("SimpleITK")
    folder = str(given.study.case() / "ct")

    def run() -> Any:
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(folder))
        return sitk.GetArrayFromImage(reader.Execute())

    return Prepared(run)


def highdicom_report(given: Given) -> Prepared:
    """The same groups, measurements and evaluations as in our report through highdicom's TID 1500 classes."""
    hd, pydicom = import_module("highdicom"), import_module("pydicom")
    our = ours.report_sr(given)
    groups = ours.groups_in_report(our.run())
    evidence = [pydicom.dcmread(path, stop_before_pixels=True) for path in given.ct_files]
    evidence.append(pydicom.dcmread(given.seg_file("a"), stop_before_pixels=True))
    path = given.scratch / "highdicom.dcm"

    def run() -> Path:
        content = _measurement_report(hd, [_roi(hd, group, evidence[-1], evidence[0]) for group in groups])
        document = hd.sr.ComprehensiveSR(
            evidence=evidence, content=content, series_instance_uid=hd.UID(), series_number=1,
            sop_instance_uid=hd.UID(), instance_number=1, manufacturer="benchmark",
        )  # fmt: skip
        document.save_as(path)
        return path

    return Prepared(run, ours.values_in_report)


def _measurement_report(hd: Any, groups: list[Any]) -> Any:
    device = hd.sr.DeviceObserverIdentifyingAttributes(uid=hd.UID())
    codes = import_module("pydicom.sr.codedict").codes
    observer = hd.sr.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
    return hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=hd.sr.CodedConcept("25045-6", "LN", "CT unspecified body region"),
        imaging_measurements=groups,
    )


def _roi(hd: Any, group: ours.MeasurementGroup, seg: Any, image: Any) -> Any:
    def concept(sequence: Any) -> Any:
        return hd.sr.CodedConcept.from_dataset(sequence[0])

    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=hd.UID(), identifier=group.identifier),
        referenced_segment=hd.sr.ReferencedSegment(
            sop_class_uid=seg.SOPClassUID,
            sop_instance_uid=seg.SOPInstanceUID,
            segment_number=group.segment,
            source_series=hd.sr.SourceSeriesForSegmentation(image.SeriesInstanceUID),
        ),
        finding_type=concept(group.finding.ConceptCodeSequence),
        finding_sites=[hd.sr.FindingSite(concept(site.ConceptCodeSequence)) for site in group.sites] or None,
        measurements=[
            hd.sr.Measurement(
                name=concept(item.ConceptNameCodeSequence),
                value=float(item.MeasuredValueSequence[0].NumericValue),
                unit=concept(item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence),
            )
            for item in group.measurements
        ],
        qualitative_evaluations=[
            hd.sr.QualitativeEvaluation(concept(item.ConceptNameCodeSequence), concept(item.ConceptCodeSequence))
            for item in group.evaluations
        ],
    )


def _loaded(given: Given, run: Any) -> Prepared:
    """A step on arrays that are in memory before the clock runs."""
    _ = given.a, given.b, given.hu, given.boxes
    return Prepared(run)


def _sampled(given: Given, of: Any) -> Prepared:
    """A step that takes the structures of the sample one by one; the smallest of all warms it up."""
    sample, smallest = given.sample, next(iter(given.boxes))
    return Prepared(
        lambda: {str(label): of(label) for label in sample},
        warm=lambda: of(smallest),
    )
