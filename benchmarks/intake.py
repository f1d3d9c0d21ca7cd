"""The DICOM node against DCMTK's ``storescp``: objects of a CT slice's size over four associations, and one large SEG.

Both are sent to by DCMTK's ``storescu``, in turns. Our node answers when an object is safe on the disk; ``storescp``
answers when it has written it, so the ratio is not between equals. ``python -m benchmarks.intake PORT FOLDER`` is the
node that is measured.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from benchmarks.results import Limit
from segqa_dicom.config import ServiceSettings
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.node import run_node

ASSOCIATIONS = 4
INSTANCES_PER_S, MEGABYTES_PER_S, ADDED_MB = 150, 200, 100
TITLE = "SEGQA"
_CT, _SEG = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.66.4"
_UID = "1.2.826.0.1.3680043.10.1.8.100000000"
_PROGRAMS = ("storescu", "storescp")
_LARGEST_PDU = "131072"
_START_S = 20.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Load:
    """What is sent: `count` slices of `rows` rows and columns, and a SEG of so many bytes."""

    count: int = 400
    rows: int = 512
    seg_bytes: int = 250_000_000


TINY = Load(count=8, rows=16, seg_bytes=1_000_000)


def limits(load: Load, *, repeat: int, say: Say) -> list[Limit]:
    """Rates of ours with those of ``storescp`` and of the bare disk beside them, and memory."""
    if missing := [name for name in _PROGRAMS if shutil.which(name) is None]:
        return [Limit("intake by C-STORE", None, "instances/s", note=f"{', '.join(missing)} not installed (DCMTK)")]
    with tempfile.TemporaryDirectory(prefix="segqa-intake-") as name:
        folder = Path(name)
        say("input of the intake ...")
        slices, seg = _made(folder / "input", load)
        with _ours(folder / "ours") as ours, _storescp(folder / "storescp") as peer:
            say("intake: slices")
            found = _of_slices(slices, ours, peer, repeat)
            say("intake: one large SEG")
            return found + _of_seg(seg, ours, peer, repeat, folder)


@dataclass(frozen=True)
class Server:
    """A receiver: where it listens, what it is called, which process it is, and where it puts what it gets."""

    port: int
    title: str
    pid: int
    folder: Path


def _of_slices(slices: Sequence[Path], ours: Server, peer: Server, repeat: int) -> list[Limit]:
    groups = [slices[start::ASSOCIATIONS] for start in range(ASSOCIATIONS)]
    for server in (ours, peer):
        _send(groups, server)
    pairs = [(len(slices) / _send(groups, ours), len(slices) / _send(groups, peer)) for _ in range(repeat)]
    rates, peers = zip(*pairs, strict=True)
    size = slices[0].stat().st_size / 1e6
    title = f"C-STORE of {size:.2f} MB each, {ASSOCIATIONS} associations"
    return [
        Limit(
            f"{title}, on the disk before the answer",
            statistics.median(rates),
            "instances/s",
            INSTANCES_PER_S,
            at_least=True,
            note=f"storescp, which does not wait for the disk: {statistics.median(peers):.0f}",
        ),
        Limit(f"{title}, rate over storescp's", _ratio(pairs), "x"),
    ]


def _of_seg(seg: Path, ours: Server, peer: Server, repeat: int, folder: Path) -> list[Limit]:
    size = seg.stat().st_size / 1e6
    before = _memory_mb(ours.pid, "VmRSS")
    triples = [
        (size / _send([[seg]], ours), size / _send([[seg]], peer), size / _bare_disk(seg, folder / "bare"))
        for _ in range(repeat)
    ]
    rates, peers, disk = zip(*triples, strict=True)
    added = _memory_mb(ours.pid, "VmHWM") - before
    return [
        Limit(
            f"C-STORE of one SEG of {size:.0f} MB, on the disk before the answer",
            statistics.median(rates),
            "MB/s",
            MEGABYTES_PER_S,
            at_least=True,
            note=f"storescp, which does not wait: {statistics.median(peers):.0f}; "
            f"write and fsync alone: {statistics.median(disk):.0f}",
        ),
        Limit("the same, rate over storescp's", _ratio([one[:2] for one in triples]), "x"),
        Limit("the same, memory that it added", added, "MB", ADDED_MB),
    ]


def _ratio(pairs: Sequence[Sequence[float]]) -> float:
    return statistics.median(pair[0] / pair[1] for pair in pairs)


def _send(groups: Sequence[Sequence[Path]], server: Server) -> float:
    """Seconds for all groups, each on an association of its own; what arrived is removed."""
    command = ["storescu", "-R", "-aec", server.title, "127.0.0.1", str(server.port)]
    environment = os.environ | {"TCP_NODELAY": "1"}
    started = time.perf_counter()
    senders = [subprocess.Popen([*command, *map(str, group)], env=environment) for group in groups if group]
    codes = [sender.wait() for sender in senders]
    seconds = time.perf_counter() - started
    arrived = [path for path in server.folder.iterdir() if path.is_file()]
    if any(codes) or len(arrived) != sum(map(len, groups)):
        raise RuntimeError(f"{server.title} got {len(arrived)} objects; exit codes of storescu: {codes}")
    for path in arrived:
        path.unlink()
    return seconds


def _bare_disk(source: Path, target: Path) -> float:
    started = time.perf_counter()
    with source.open("rb") as reader, target.open("wb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        os.fsync(writer.fileno())
    seconds = time.perf_counter() - started
    target.unlink()
    return seconds


@contextmanager
def _ours(folder: Path) -> Iterator[Server]:
    port = free_port()
    with _running([sys.executable, "-m", "benchmarks.intake", str(port), str(folder)], port, folder) as pid:
        yield Server(port, TITLE, pid, folder)


@contextmanager
def _storescp(folder: Path) -> Iterator[Server]:
    port = free_port()
    command = ["storescp", "--fork", "-pdu", _LARGEST_PDU, "-aet", TITLE, "-od", str(folder), str(port)]
    with _running(command, port, folder) as pid:
        yield Server(port, TITLE, pid, folder)


@contextmanager
def _running(command: Sequence[str], port: int, folder: Path) -> Iterator[int]:
    folder.mkdir(parents=True)
    root = Path(__file__).resolve().parents[1]
    with subprocess.Popen(command, env=os.environ | {"TCP_NODELAY": "1"}, cwd=root) as process:
        try:
            deadline = time.monotonic() + _START_S
            while not _listens(port):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} does not start")
                time.sleep(0.05)
            yield process.pid
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _memory_mb(pid: int, field: str) -> float:
    """A field of the process's status; 0 where the system does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next((float(line.split()[1]) / 1024 for line in lines if line.startswith(field)), 0.0)


def _made(folder: Path, load: Load) -> tuple[list[Path], Path]:
    """Files of noise: slices that differ in their UIDs, and a SEG's worth of frames."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(1)
    first = folder / "first"
    _object(_CT, "CT", random.bytes(2 * load.rows**2), load.rows).save_as(first, enforce_file_format=True)
    content = first.read_bytes()
    slices = [folder / f"{number:05d}.dcm" for number in range(load.count)]
    for number, path in enumerate(slices):
        path.write_bytes(content.replace(_UID.encode(), f"{_UID[:-9]}{number + 200_000_000}".encode()))
    seg = _object(_SEG, "SEG", b"", 512)
    seg.NumberOfFrames = load.seg_bytes // (512 * 512 // 8)
    seg.PixelData = random.bytes(seg.NumberOfFrames * (512 * 512 // 8))
    seg.save_as(folder / "seg.dcm", enforce_file_format=True)
    return slices, folder / "seg.dcm"


def _object(sop_class_uid: str, modality: str, pixels: bytes, rows: int) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UID(sop_class_uid)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = UID(_UID)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.Modality = "1.2.3.1", "1.2.3.2", modality
    dataset.PatientName, dataset.PatientID = "Benchmark", "benchmark"
    dataset.Rows = dataset.Columns = rows
    dataset.BitsAllocated = dataset.BitsStored = 16 if modality == "CT" else 1
    dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = dataset.BitsStored - 1, 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = pixels
    return dataset


if __name__ == "__main__":
    run_node(
        ae_title=TITLE,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        inbox_folder=Path(sys.argv[2]),
        settings=ServiceSettings(min_free_bytes=0),
        max_file_bytes=Limits().max_file_bytes,
    )
