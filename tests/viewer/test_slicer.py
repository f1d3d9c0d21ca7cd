"""What 3D Slicer's QuantitativeReporting works with: dcmqi on documents and segmentations as DICOMweb gives them."""

from __future__ import annotations

import json
import subprocess
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import requests
from pydicom import Dataset, dcmread

from tests.validators import program, tid1500_groups
from tests.viewer.conftest import Reviewed


def retrieved(reviewed: Reviewed, one: Dataset, path: Path) -> Path:
    """An object as a client gets it, as a file."""
    answer = requests.get(
        f"{reviewed.url}/dicom-web/studies/{one.StudyInstanceUID}/series/{one.SeriesInstanceUID}"
        f"/instances/{one.SOPInstanceUID}",
        headers={"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'},
        timeout=60,
    )
    assert answer.status_code == 200
    path.write_bytes(answer.content[answer.content.index(b"DICM") - 128 : answer.content.rindex(b"\r\n--")])
    return path


@pytest.mark.parametrize("model", ["Model A", "Model B"])
def test_the_table_of_a_report_has_a_row_for_each_structure_in_the_order_of_its_segments(
    embedded: Reviewed, tmp_path: Path, model: str
) -> None:
    report = embedded.document("Report", model)
    groups = tid1500_groups(retrieved(embedded, report, tmp_path / "report.dcm"), tmp_path / "report.json")
    (segmentation,) = (one for name, one in embedded.segmentations.items() if name.startswith(model))
    numbers = [int(one.SegmentNumber) for one in segmentation.SegmentSequence]
    assert [group["ReferencedSegment"] for group in groups] == numbers
    assert {group["segmentationSOPInstanceUID"] for group in groups} == {str(segmentation.SOPInstanceUID)}


def test_every_row_of_a_report_has_the_same_columns(embedded: Reviewed, tmp_path: Path) -> None:
    report = embedded.document("Report")
    groups = tid1500_groups(retrieved(embedded, report, tmp_path / "report.dcm"), tmp_path / "report.json")
    columns = {
        tuple(
            (item["quantity"]["CodeMeaning"], item.get("derivationModifier", {}).get("CodeMeaning", ""))  # type: ignore[index, attr-defined]
            for item in group["measurementItems"]  # type: ignore[attr-defined]
        )
        for group in groups
    }
    assert len(columns) == 1
    assert any(name == "Volume" for name, _ in next(iter(columns)))


def test_the_evidence_of_a_report_leads_to_its_segmentation(embedded: Reviewed) -> None:
    report = embedded.document("Report")
    (segmentation,) = (one for name, one in embedded.segmentations.items() if name.startswith("Model B"))
    named = {
        str(instance.ReferencedSOPInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
    assert str(segmentation.SOPInstanceUID) in named


def test_segmentations_are_read_by_dcmqi_as_they_were_drawn(embedded: Reviewed, tmp_path: Path) -> None:
    segmentation = embedded.segmentations["Model B 1.0"]
    path = retrieved(embedded, segmentation, tmp_path / "seg.dcm")
    assert np.array_equal(dcmread(BytesIO(path.read_bytes())).pixel_array, segmentation.pixel_array)
    out = tmp_path / "out"
    out.mkdir()
    done = subprocess.run(
        [program("segimage2itkimage"), "--inputDICOM", path, "--outputDirectory", out, "-t", "nrrd", "-p", "seg"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    described = json.loads((out / "seg-meta.json").read_text(encoding="utf-8"))
    labels = [one["SegmentLabel"] for segments in described["segmentAttributes"] for one in segments]
    assert labels == [str(one.SegmentLabel) for one in segmentation.SegmentSequence]
    assert len(list(out.glob("*.nrrd"))) == len(labels)
