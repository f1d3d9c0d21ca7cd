"""Documents for the tests: ours of phantoms and real cases, and those that other programs write."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from segqa_dicom.archive import Instance, Outgoing
from segqa_dicom.checks import RuleSet, default_ruleset
from segqa_dicom.checks.registry import rule_titles
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.pipeline import review
from segqa_dicom.reading.case import read_case
from segqa_dicom.reading.grouping import group
from segqa_dicom.reading.scan import scan
from segqa_dicom.sr import Document, build_documents
from tests.validators import program

FREE_TEXT = "island of the liver, below the bladder"


def our_documents(folder: Path, ruleset: RuleSet | None = None) -> list[Document]:
    """The documents that ``segqa review`` writes for a folder of CT and SEG files."""
    limits, found = Limits(), []
    headers, _ = scan([folder], limits)
    for files in group(headers, limits)[0]:
        case, _ = read_case(files, limits)
        assert case is not None
        found += build_documents(review(case, ruleset or default_ruleset()), rule_titles=rule_titles())
    return found


def dcmqi_document(folder: Path, seg: Path, ct: Path) -> bytes:
    """A measurement report on a segment as dcmqi writes it, which 3D Slicer and most collections of IDC use."""

    def code(value: str, scheme: str, meaning: str) -> dict[str, str]:
        return {"CodeValue": value, "CodingSchemeDesignator": scheme, "CodeMeaning": meaning}

    head = dcmread(seg, stop_before_pixels=True)
    source = sorted(ct.iterdir())
    metadata = {
        "SeriesDescription": "Measurements",
        "SeriesNumber": "1001",
        "InstanceNumber": "1",
        "compositeContext": [seg.name],
        "imageLibrary": [path.name for path in source[:3]],
        "observerContext": {"ObserverType": "PERSON", "PersonObserverName": "Reader^Rita"},
        "VerificationFlag": "VERIFIED",
        "CompletionFlag": "COMPLETE",
        "activitySession": "1",
        "timePoint": "1",
        "Measurements": [
            {
                "TrackingIdentifier": "Measurements group 1",
                "ReferencedSegment": 2,
                "SourceSeriesForImageSegmentation": dcmread(source[0], stop_before_pixels=True).SeriesInstanceUID,
                "segmentationSOPInstanceUID": head.SOPInstanceUID,
                "Finding": code("64033007", "SCT", "Kidney"),
                "FindingSite": code("64033007", "SCT", "Kidney"),
                "Laterality": code("7771000", "SCT", "Left"),
                "measurementItems": [
                    {
                        "value": value,
                        "quantity": code(*quantity),
                        "units": code(*unit),
                    }
                    for value, quantity, unit in (
                        (
                            "-778.5",
                            ("112031", "DCM", "Attenuation Coefficient"),
                            ("[hnsf'U]", "UCUM", "Hounsfield unit"),
                        ),
                        ("150.25", ("118565006", "SCT", "Volume"), ("cm3", "UCUM", "cubic centimeter")),
                    )
                ],
                "qualitativeEvaluations": [
                    {
                        "conceptCode": code("RID50149", "RADLEX", "Margin"),
                        "conceptValue": code("RID5714", "RADLEX", "Irregular"),
                    }
                ],
            }
        ],
    }
    (folder / "metadata.json").write_text(json.dumps(metadata))
    output = folder / "dcmqi.dcm"
    command = [
        program("tid1500writer"),
        *("--inputMetadata", str(folder / "metadata.json"), "--inputImageLibraryDirectory", str(ct)),
        *("--inputCompositeContextDirectory", str(seg.parent), "--outputDICOM", str(output)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return output.read_bytes()


def ohif_document(image: Dataset) -> bytes:
    """An arrow with a text as OHIF saves it: a point on an image, the text as a code of its own, no number."""
    text = hd.sr.CodedConcept("CORNERSTONEFREETEXT", "CORNERSTONEJS", FREE_TEXT)
    place = hd.sr.ImageRegion(
        graphic_type="POINT",
        graphic_data=np.array([[10.5, 12.5]]),
        source_image=hd.sr.SourceImageForRegion(image.SOPClassUID, image.SOPInstanceUID),
    )
    arrow = hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(hd.UID(), "Cornerstone3DTools@^0.1.0:ArrowAnnotate"),
        referenced_region=place,
        finding_type=text,
    )
    return _measurement_report([arrow], [image], person="Reader^Otto", manufacturer="OHIF", model="Viewer")


def highdicom_document(seg: Dataset, images: list[Dataset]) -> bytes:
    """A report on a segment as highdicom writes it."""
    measured = hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(hd.UID(), "Liver"),
        referenced_segment=hd.sr.ReferencedSegment.from_segmentation(seg, segment_number=1),
        finding_type=codes.SCT.Liver,
        measurements=[hd.sr.Measurement(codes.SCT.Volume, 1500.5, codes.UCUM.CubicMillimeter)],
        qualitative_evaluations=[
            hd.sr.QualitativeEvaluation(Code("RID50149", "RADLEX", "Margin"), Code("RID5709", "RADLEX", "Smooth"))
        ],
    )
    return _measurement_report([measured], [*images, seg], person="", manufacturer="Somebody", model="Tool 7")


def _measurement_report(
    groups: list[Any], evidence: list[Dataset], *, person: str, manufacturer: str, model: str
) -> bytes:
    observer = (
        hd.sr.ObserverContext(codes.DCM.Person, hd.sr.PersonObserverIdentifyingAttributes(person))
        if person
        else hd.sr.ObserverContext(codes.DCM.Device, hd.sr.DeviceObserverIdentifyingAttributes(hd.UID(), name=model))
    )
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_person_context=observer)
        if person
        else hd.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=groups,
    )
    document = hd.sr.ComprehensiveSR(
        evidence=evidence,
        content=content[0],
        series_instance_uid=hd.UID(),
        series_number=90,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer=manufacturer,
        manufacturer_model_name=model,
        series_description="Measurements of others",
    )
    buffer = BytesIO()
    document.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def changed(file: bytes, change: Callable[[Dataset], None]) -> bytes:
    """A document with something changed."""
    dataset = dcmread(BytesIO(file))
    change(dataset)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def renewed(file: bytes, uid: str, *predecessors: str) -> bytes:
    """The same document under another UID, in a series of its own, in place of others."""

    def change(dataset: Dataset) -> None:
        dataset.SOPInstanceUID, dataset.SeriesInstanceUID = uid, f"{uid}.9"
        if predecessors:
            study, series = Dataset(), Dataset()
            study.StudyInstanceUID, series.SeriesInstanceUID = dataset.StudyInstanceUID, f"{predecessors[0]}.9"
            series.ReferencedSOPSequence = []
            for one in predecessors:
                instance = Dataset()
                instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = dataset.SOPClassUID, one
                series.ReferencedSOPSequence.append(instance)
            study.ReferencedSeriesSequence = [series]
            dataset.PredecessorDocumentsSequence = [study]

    return changed(file, change)


def outgoing(file: bytes) -> Outgoing:
    head = dcmread(BytesIO(file), stop_before_pixels=True)
    uids = (head.StudyInstanceUID, head.SeriesInstanceUID, head.SOPInstanceUID, head.SOPClassUID)
    return Outgoing(Instance(*map(str, uids)), file)
