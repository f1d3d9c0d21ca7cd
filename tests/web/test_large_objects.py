"""Large objects are sent without being in memory. SEGQA_TEST_SEG_BYTES makes the segmentation larger: 250000000."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import requests
from pydicom import Dataset

from segqa_dicom.archive.base import Instance, Outgoing
from segqa_dicom.archive.folder import FolderArchive
from tests.web.conftest import Server
from tests.web.test_wado import uids, url_of

SEG_BYTES = int(os.environ.get("SEGQA_TEST_SEG_BYTES", "24000000"))
MOST_ADDED_MB = 100
SIDE = 512
FRAME_BYTES = SIDE * SIDE // 8


@pytest.fixture
def large(objects: list[Dataset], tmp_path: Path) -> Dataset:
    """A segmentation whose frames are noise, in an archive; each frame has all functional groups."""
    seg = copy.deepcopy(objects[-1])
    count = SEG_BYTES // FRAME_BYTES
    seg.Rows = seg.Columns = SIDE
    seg.NumberOfFrames = count
    groups = seg.PerFrameFunctionalGroupsSequence
    seg.PerFrameFunctionalGroupsSequence = [groups[number % len(groups)] for number in range(count)]
    seg.PixelData = np.random.default_rng(1).bytes(count * FRAME_BYTES)
    folder = tmp_path / "source"
    folder.mkdir()
    seg.save_as(folder / "seg.dcm")
    with closing(FolderArchive(tmp_path / "archive")) as archive:
        archive.store([Outgoing(Instance(*uids(seg), str(seg.SOPClassUID)), folder / "seg.dcm")])
    (folder / "seg.dcm").unlink()
    return seg


def memory_mb(server: Server, field: str) -> float:
    lines = Path(f"/proc/{server.process.pid}/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def digest(url: str, accept: str) -> tuple[str, int]:
    """SHA-256 and length of an answer, which is not kept."""
    found, length = hashlib.sha256(), 0
    with requests.get(url, headers={"Accept": accept}, timeout=300, stream=True) as answer:
        assert answer.status_code == 200
        for piece in answer.iter_content(1 << 20):
            found.update(piece)
            length += len(piece)
    return found.hexdigest(), length


def test_a_large_segmentation_is_sent_in_little_memory(large: Dataset, serve: Callable[..., Server]) -> None:
    server = serve()
    url = url_of(server, large)
    requests.get(f"{server.dicom_web}/studies", timeout=30)
    before = memory_mb(server, "VmRSS")
    octets = "multipart/related; type=application/octet-stream; transfer-syntax=*"
    pixels = hashlib.sha256(large.PixelData).hexdigest()
    assert digest(f"{url}/bulkdata/7FE00010", "application/octet-stream") == (pixels, len(large.PixelData))
    after = {"bulk data": memory_mb(server, "VmHWM") - before}
    assert digest(url, 'multipart/related; type="application/dicom"')[1] > len(large.PixelData)
    after["instance"] = memory_mb(server, "VmHWM") - before
    numbers = ",".join(map(str, range(1, min(large.NumberOfFrames, 2000) + 1)))
    assert digest(f"{url}/frames/{numbers}", octets)[1] > min(large.NumberOfFrames, 2000) * FRAME_BYTES
    last = requests.get(f"{url}/frames/{large.NumberOfFrames}", headers={"Accept": octets}, timeout=60).content
    assert large.PixelData[-FRAME_BYTES:] in last
    after["frames"] = memory_mb(server, "VmHWM") - before
    assert requests.get(f"{url}/rendered", timeout=60).status_code == 200
    after["rendered"] = memory_mb(server, "VmHWM") - before
    (found,) = json.loads(requests.get(f"{url}/metadata", timeout=300).content)
    assert len(found["52009230"]["Value"]) == large.NumberOfFrames
    after["metadata"] = memory_mb(server, "VmHWM") - before
    print("added, MB:", {name: round(value) for name, value in after.items()})
    assert max(after.values()) < MOST_ADDED_MB
