"""Phantoms as DICOM: read by others they are what was written, and written twice they are the same bytes."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
import pytest

from segqa_dicom.phantoms import demo_study, torso, write_ct, write_seg

TYPES = [hd.seg.SegmentationTypeValues.BINARY, hd.seg.SegmentationTypeValues.LABELMAP]


@pytest.mark.parametrize("type_", TYPES, ids=lambda one: one.value)
def test_highdicom_reads_back_what_was_written(tmp_path: Path, type_: hd.seg.SegmentationTypeValues) -> None:
    phantom = torso((16, 24, 32))
    ct = write_ct(phantom, tmp_path / "ct")
    write_seg(phantom.labels, phantom.structures, ct, tmp_path / "seg.dcm", model="True", type_=type_)
    seg = hd.seg.segread(tmp_path / "seg.dcm")
    numbers = {seg.get_segment_description(n).segment_label: n for n in seg.segment_numbers if n}
    uids = [str(slice_.SOPInstanceUID) for slice_ in ct]
    for label in ("liver", "kidney_left", "sacrum"):
        pixels = seg.get_pixels_by_source_instance(
            uids, segment_numbers=[numbers[label]], ignore_spatial_locations=True, assert_missing_frames_are_empty=True
        )
        assert np.array_equal(pixels[..., 0] > 0, phantom.labels == phantom.value_of(label))


def test_written_twice_the_demo_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        demo_study(tmp_path / name, shape=(24, 32, 40))
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.dcm"))
    assert len(files) == 26
    assert all((tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes() for path in files)
