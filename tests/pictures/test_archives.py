"""Cases out of a real Orthanc, and a real case."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.errors import PeerUnavailable
from segqa_dicom.pictures import OpenCases, plane, scene, thumbnail, to_voxel
from segqa_dicom.rendering.contours import outlines
from segqa_dicom.rendering.windows import SOFT
from tests.archive.web import archive, of_file
from tests.pictures.archives import STUDY, drawn_on, images, stored
from tests.servers.orthanc import Orthanc
from tests.servers.process import wait_until
from tests.shared import shared


@pytest.mark.servers
def test_a_case_comes_out_of_orthanc_with_what_is_sent_later(orthanc: Orthanc, tmp_path: Path) -> None:
    there = archive(orthanc)
    ct, other = images("1.2.100"), images("1.2.200")
    there.store(stored(*ct, drawn_on(ct, "1.3.100"), *other, drawn_on(other, "1.3.200")))
    cases = OpenCases(there, folder=tmp_path / "work", limits=Limits(), max_bytes=10**8)
    found = cases.open(STUDY, "1.2.100")
    assert [one.record.sop_instance_uid for one in found.case.segmentations] == ["1.3.100"]
    assert found.case.ct.hu.shape == (6, 16, 20)
    there.store(stored(drawn_on(ct, "1.3.101")))
    wait_until(lambda: there.find_instances(["1.3.101"]))
    found = cases.open(STUDY, "1.2.100", must_have="1.3.101")
    assert [one.record.sop_instance_uid for one in found.case.segmentations] == ["1.3.100", "1.3.101"]
    assert plane(found, "coronal", 7, window=SOFT, focus=[(0, 0)]).contours
    assert list((tmp_path / "work").iterdir()) == []
    orthanc.stop()
    assert cases.open(STUDY, "1.2.100") is found
    with pytest.raises(PeerUnavailable):
        cases.open(STUDY, "1.2.200")
    orthanc.start()
    assert cases.open(STUDY, "1.2.200").case.ct.record.series_instance_uid == "1.2.200"
    cases.close()


@pytest.mark.shared
def test_a_real_case_is_shown_with_all_models(tmp_path: Path) -> None:
    objects = [of_file(path) for path in sorted(shared("data", "case_A").rglob("*.dcm"))]
    there = FolderArchive(tmp_path / "archive")
    there.store(objects)
    (ct,) = there.list_series(modality="CT")
    cases = OpenCases(there, folder=tmp_path / "work", limits=Limits(), max_bytes=10**9)
    found = cases.open(ct.study_instance_uid, ct.series_instance_uid)
    assert len(found.case.segmentations) == 6
    hu, where = found.case.ct.hu, found.case.ct.geometry
    labels = {segment.label: index for index, segment in enumerate(found.case.segmentations[0].segments)}
    centres = {label: np.array(found.centre_mm(0, labels[label])) for label in ("liver", "spleen", "vertebrae_L3")}
    # LPS: the liver on the right, the spleen on the left, the spine behind both.
    assert centres["liver"][0] < centres["vertebrae_L3"][0] < centres["spleen"][0]
    for label, index in labels.items():
        place = (0, index)
        centre, box = found.centre(*place), found.bounding_box(*place)
        if centre is None or box is None:
            continue
        layer = found.case.segmentations[0].layers[0]
        assert layer[centre] == index + 1
        expected = np.argwhere(layer == index + 1)
        assert (box.start, box.stop) == (tuple(expected.min(axis=0)), tuple(expected.max(axis=0) + 1))
        point = found.centre_mm(*place)
        assert point is not None
        assert to_voxel(found, point) == centre
        described = scene(found, found.case.segmentations[0].record.sop_instance_uid, index + 1)
        assert described["segment"]["label"] == label
    liver = (0, labels["liver"])
    focus = [liver, *found.counterparts(*liver)]
    assert len(focus) >= 4
    centre = found.centre(*liver)
    assert centre is not None
    for view, planes in found.planes.items():
        drawn = plane(found, view, centre[planes.through], window=SOFT, focus=focus)
        strong = next(one for one in drawn.contours if (one.segmentation, one.kind) == (0, "strong"))
        pixels = planes.of(found.case.segmentations[0].layers[0], centre[planes.through])
        assert strong.path == outlines(pixels, {labels["liver"] + 1})[1]
        down, across = planes.pixel_of(centre)
        assert abs(float(planes.of(hu, centre[planes.through])[down, across]) - 60) < 150
    assert len(thumbnail(found, where.point_at(*centre), focus)) > 2000
    cases.close()
