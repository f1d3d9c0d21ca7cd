"""Pictures of planes for the review page, beside what others need to draw the same planes with the same contours.

``python -m benchmarks.pictures`` alone prints the table. Of each view the planes in the middle are drawn in turn, as
people scroll; the peers draw the same planes in the same run. "again" is a picture that was drawn before.
"""

from __future__ import annotations

import gc
import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.inputs import FULL_SHAPE, FULL_STRUCTURES, Request, Shape, prepared
from benchmarks.processes import anonymous_mb, run_fresh
from benchmarks.results import Limit
from benchmarks.warping import warped
from segqa_dicom.archive import Instance, Outgoing
from segqa_dicom.archive.folder import FolderArchive
from segqa_dicom.dicom.limits import Limits
from segqa_dicom.model import Case
from segqa_dicom.pictures import OpenCase, OpenCases, plane, thumbnail
from segqa_dicom.reading.scan import scan
from segqa_dicom.rendering.windows import SOFT

_VIEWS = ("axial", "coronal", "sagittal")
_BOUND_MS = 30.0
_SMALL_MS = 5.0
"""For case_A: 112 x 101 x 122 and six models."""
_COPIES = 3
_MEMORY_CASES = 2
_MANY = 6

Say = Callable[[str], None]
Draw = Callable[[NDArray[Any], list[NDArray[Any]]], object]


@dataclass(frozen=True)
class Load:
    """Size of the phantom, and how many planes of each view are drawn; slow peers draw `peer_planes` of them."""

    shape: Shape = FULL_SHAPE
    structures: int = FULL_STRUCTURES
    planes: int = 48
    peer_planes: int = 3


TINY = Load(shape=(24, 64, 64), structures=8, planes=3, peer_planes=1)


def limits(load: Load, *, real: Path | None, say: Say) -> list[Limit]:
    """Medians, with those of the peers in the notes."""
    found: list[Limit] = []
    with tempfile.TemporaryDirectory(prefix="segqa-pictures-") as name:
        folder = Path(name)
        if real is not None and real.is_dir():
            say("pictures: case_A ...")
            case, limit = _opened(folder / "real", real, "case_A")
            found += [limit, *_pictures(case, "case_A", load, _SMALL_MS, say)]
        say("pictures: making the phantom ...")
        request = Request("torso", load.shape, load.structures, models=2, copies=_COPIES, arrays=False)
        study = prepared("pictures", folder, request)
        case, limit = _opened(folder / "torso", study.case(), "phantom")
        found.append(limit)
        for models in (len(case.case.segmentations), _MANY):
            wider = OpenCase(_with_models(case.case, models))
            found += _pictures(wider, f"phantom, {models} models", load, _BOUND_MS, say)
            del wider
        del case
        found += _memory(folder, study.dicom, say)
    return found


# Opening


def _stored(folder: Path, files: Path) -> FolderArchive:
    archive = FolderArchive(folder / "archive")
    headers, _ = scan([files], Limits())
    archive.store(
        [
            Outgoing(
                Instance(one.study_instance_uid, one.series_instance_uid, one.sop_instance_uid, one.sop_class_uid),
                one.path,
            )
            for one in headers
        ]
    )
    return archive


def _opened(folder: Path, files: Path, title: str) -> tuple[OpenCase, Limit]:
    """The case, opened by a cache whose kernels are compiled, and how long that took."""
    with closing(_stored(folder, files)) as archive:
        cases = OpenCases(archive, folder=folder / "work", limits=Limits(), max_bytes=10**10)
        (ct,) = archive.list_series(modality="CT")
        cases.open(ct.study_instance_uid, ct.series_instance_uid)
        cases.forget(ct.study_instance_uid, ct.series_instance_uid)
        begin = time.perf_counter()
        found = cases.open(ct.study_instance_uid, ct.series_instance_uid)
        took = time.perf_counter() - begin
        cases.close()
    note = f"{found.size_bytes / 1e6:.0f} MB, {len(found.case.segmentations)} models, folder archive"
    return found, Limit(f"{title}, opening the case", took, "s", note=note)


def _memory(folder: Path, files: Path, say: Say) -> list[Limit]:
    """Anonymous memory that cases add when more are opened, in turn, than there is memory for; in another process."""
    say("pictures: memory of open cases ...")
    ran = run_fresh([sys.executable, "-m", "benchmarks.pictures", folder / "many", files])
    size, largest = (float(value) / 2**20 for value in ran.output.split())
    note = f"two openings of each of {_COPIES} cases of {size:.0f} MB"
    return [Limit("memory of open cases where two may be open", largest, "MB", note=note)]


def _print_memory(folder: Path, files: Path) -> None:
    """Bytes of one case, and most that were added by opening all of them twice."""
    with closing(_stored(folder, files)) as archive:
        series = archive.list_series(modality="CT") * 2
        cases = OpenCases(archive, folder=folder / "work", limits=Limits(), max_bytes=1)
        size = cases.open(series[0].study_instance_uid, series[0].series_instance_uid).size_bytes
        cases.close()
        gc.collect()
        before = anonymous_mb(os.getpid())
        cases = OpenCases(archive, folder=folder / "work", limits=Limits(), max_bytes=_MEMORY_CASES * size)
        largest = 0.0
        for one in series:
            cases.open(one.study_instance_uid, one.series_instance_uid)
            largest = max(largest, anonymous_mb(os.getpid()) - before)
        cases.close()
    print(size, largest * 2**20)


def _with_models(case: Case, count: int) -> Case:
    """The case with further models: the first one with other boundaries."""
    first = case.segmentations[0]
    steps = [min(1.0 / step, 2.0) for step in case.ct.geometry.spacing_mm]
    more = [
        replace(
            first,
            record=replace(first.record, sop_instance_uid=f"2.25.{seed}"),
            layers=tuple(warped(layer, seed=seed, voxels=(steps[0], steps[1], steps[2])) for layer in first.layers),
        )
        for seed in range(10, 10 + count - len(case.segmentations))
    ]
    return Case(case.ct, (*case.segmentations, *more))


# Drawing


def _pictures(case: OpenCase, title: str, load: Load, bound_ms: float, say: Say) -> list[Limit]:
    say(f"pictures: {title} ...")
    place = _largest(case)
    focus = [place, *case.counterparts(*place)]
    found = []
    for view in _VIEWS:
        count = case.planes[view].count
        indices = range(max(count - load.planes, 0) // 2, min((count + load.planes) // 2, count))

        def draw(index: int, view: str = view) -> None:
            plane(case, view, index, window=SOFT, focus=focus)

        drawn, again = _times(draw, indices), _times(draw, indices)
        note = f"largest {max(drawn):.1f}, again {statistics.median(again):.2f}; {_peers(case, view, indices, load)}"
        found.append(Limit(f"{title}, {view} plane", statistics.median(drawn), "ms", bound_ms, note=note))

    def draw_small(index: int) -> None:
        thumbnail(case, case.centre_mm(0, index), [(0, index)])

    times = _times(draw_small, range(len(case.case.segmentations[0].segments)))
    return [*found, Limit(f"{title}, thumbnail of 128 pixels", statistics.median(times), "ms")]


def _largest(case: OpenCase) -> tuple[int, int]:
    """The segment of the first model with the largest box."""
    boxes = {index: case.bounding_box(0, index) for index in range(len(case.case.segmentations[0].segments))}
    sizes = {index: np.prod(np.subtract(box.stop, box.start)) for index, box in boxes.items() if box is not None}
    return 0, max(sizes, key=lambda index: int(sizes[index]))


def _times(draw: Callable[[int], object], indices: Sequence[int]) -> list[float]:
    """Milliseconds of each."""
    found = []
    for index in indices:
        begin = time.perf_counter()
        draw(index)
        found.append(1000 * (time.perf_counter() - begin))
    return found


def _peers(case: OpenCase, view: str, indices: Sequence[int], load: Load) -> str:
    """Medians of those who are installed, over some of the planes."""
    some = indices[:: max(len(indices) // load.peer_planes, 1)][: load.peer_planes]
    planes, hu = case.planes[view], case.case.ct.hu
    volumes = [one.layers[0] for one in case.case.segmentations]
    texts = []
    for name, module, draw in _PEERS:
        try:
            import_module(module)
        except ImportError:
            continue

        def draw_one(index: int, draw: Draw = draw) -> None:
            draw(planes.of(hu, index), [planes.of(volume, index) for volume in volumes])

        draw_one(some[0])  # what is loaded on first use is not counted
        texts.append(f"{name} {statistics.median(_times(draw_one, some)):.0f}")
    return ", ".join(texts) or "no peer is installed"


def _grey(hu: NDArray[Any]) -> NDArray[np.uint8]:
    low, high = SOFT.range_hu
    grey: NDArray[np.uint8] = np.clip((hu.astype(np.float32) - low) * (255 / (high - low)), 0, 255).astype(np.uint8)
    return grey


def _scikit_image(hu: NDArray[Any], layers: list[NDArray[Any]]) -> object:
    """PNG by Pillow, an SVG path per structure of each model by marching squares."""
    find_contours = import_module("skimage.measure").find_contours
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(_grey(hu))).save(stream, "PNG", compress_level=1)
    paths = []
    for layer in layers:
        for value in np.unique(layer)[1:]:
            loops = find_contours(np.pad(layer == value, 1).astype(np.float32), 0.5)
            paths += ["M" + "L".join(f"{x:g} {y:g}" for y, x in loop - 0.5) + "z" for loop in loops]
    return stream.getvalue(), paths


def _simpleitk(hu: NDArray[Any], layers: list[NDArray[Any]]) -> object:
    """Contours drawn into a colour picture, PNG by Pillow."""
    sitk = import_module("SimpleITK")
    shown = np.repeat(_grey(hu)[:, :, None], 3, axis=2)
    for number, layer in enumerate(layers):
        contours = sitk.LabelContour(sitk.GetImageFromArray(np.ascontiguousarray(layer)))
        shown[sitk.GetArrayViewFromImage(contours) != 0] = (255, 40 * number, 0)
    stream = io.BytesIO()
    Image.fromarray(shown).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _matplotlib(hu: NDArray[Any], layers: list[NDArray[Any]]) -> object:
    """A figure of the plane with the contours of every structure."""
    figure_class = import_module("matplotlib.figure").Figure
    canvas = import_module("matplotlib.backends.backend_agg").FigureCanvasAgg
    figure = figure_class(figsize=(hu.shape[1] / 100, hu.shape[0] / 100), dpi=100)
    canvas(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    low, high = SOFT.range_hu
    axes.imshow(hu, cmap="gray", vmin=low, vmax=high)
    for number, layer in enumerate(layers):
        for value in np.unique(layer)[1:]:
            axes.contour(layer == value, levels=[0.5], colors=[f"C{number}"], linewidths=1)
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


_PEERS: tuple[tuple[str, str, Draw], ...] = (
    ("scikit-image + Pillow", "skimage.measure", _scikit_image),
    ("SimpleITK + Pillow", "SimpleITK", _simpleitk),
    ("matplotlib", "matplotlib", _matplotlib),
)


def _print_table() -> None:
    real = Path(__file__).resolve().parents[2] / "shared" / "data" / "case_A"
    for one in limits(Load(), real=real, say=lambda _: None):
        value = "-" if one.value is None else f"{one.value:8.2f} {one.unit}"
        print(f"{one.title:50} {value}  {one.note}")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        _print_memory(Path(sys.argv[1]), Path(sys.argv[2]))
    else:
        _print_table()
