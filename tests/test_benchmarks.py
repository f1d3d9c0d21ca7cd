"""The benchmark at a tiny size: that it runs, and that our numbers are the peers'. No time is asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from benchmarks import agreement, scaling, table
from benchmarks.inputs import Request, prepared
from benchmarks.processes import Failed, run_fresh
from benchmarks.results import Results, Row, Timing
from benchmarks.seg_writer import write_binary_seg
from benchmarks.steps import STEPS
from segqa_dicom.phantoms import torso, write_ct

ROOT = Path(__file__).resolve().parents[1]
TINY = ("--shape", "24", "64", "64", "--structures", "12", "--repeat", "1", "--every", "1", "--no-real")


def benchmark(folder: Path, *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *TINY, *arguments, "--input", folder / "input", "--json", folder / "all.json",
         "--markdown", folder / "all.md"],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "all.json").read_text())


@pytest.mark.servers
def test_every_step_runs_and_agrees_with_the_peers_that_are_there(tmp_path: Path) -> None:
    found = benchmark(tmp_path, "--same-process", "--steps", *(step.key for step in STEPS))
    rows = found["rows"]
    assert {row["step"] for row in rows} == {step.key for step in STEPS}
    assert all(row["ours"] for row in rows)
    for step in STEPS:
        for terms in step.contests:
            row = next(row for row in rows if row["peer"] == terms.name)
            missing = [name for name in terms.needs if find_spec(name) is None]
            if missing:
                assert row["peer_timing"] is None
                assert row["note"] == f"{', '.join(missing)} not installed"
            else:
                assert row["peer_timing"] is not None, row["note"]
                assert row["agreement"]["values"] > 0
                assert row["agrees"] is (None if terms.tolerance is None else True)
    shown = (tmp_path / "all.md").read_text()
    assert all(step.title in shown for step in STEPS)


@pytest.mark.servers
def test_parties_run_in_processes_of_their_own(tmp_path: Path) -> None:
    (row,) = benchmark(tmp_path, "--steps", "overlap")["rows"]
    assert row["agrees"] is (True if row["peer_timing"] else None)
    assert row["ours"]["runs"] == 1
    if Path("/proc/self/status").exists():
        assert row["ours"]["process_mb"] > 20


@pytest.mark.servers
def test_a_fresh_process_is_timed_and_its_memory_watched() -> None:
    ran = run_fresh([sys.executable, "-c", "import time; kept = b'1' * 100_000_000; time.sleep(0.2); print('done')"])
    assert ran.output == "done\n"
    assert ran.wall_s >= 0.2
    if Path("/proc/self/status").exists():
        assert ran.memory.anonymous is not None
        assert ran.memory.anonymous >= 95
    with pytest.raises(Failed, match="no luck"):
        run_fresh([sys.executable, "-c", "import sys; sys.exit('no luck')"])


def test_an_input_is_made_once_and_nothing_else_is_overwritten(tmp_path: Path) -> None:
    request = Request("torso", (16, 32, 32), 5)
    made = prepared("torso", tmp_path, request)
    assert prepared("torso", tmp_path, request) == made
    assert prepared("torso", tmp_path, replace(request, structures=6)).structures == 6
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="no input of benchmarks"):
        prepared("mine", tmp_path, request)
    assert (tmp_path / "mine" / "thesis.txt").exists()


@pytest.mark.slow
def test_more_structures_than_a_byte_can_number(tmp_path: Path) -> None:
    made = prepared("many", tmp_path, Request("torso", (24, 64, 64), 300))
    assert made.structures == 300
    assert made.array("a").dtype == np.uint16


def test_quick_seg_writer_makes_what_highdicom_makes(tmp_path: Path) -> None:
    import highdicom as hd

    phantom = torso((12, 32, 40), structure_count=40)
    ct = write_ct(phantom, tmp_path / "ct")
    frames = write_binary_seg(phantom.labels, phantom.structures, ct, tmp_path / "a.dcm", model="A")
    seg = hd.seg.segread(tmp_path / "a.dcm")
    present = [int(value) for value in np.unique(phantom.labels) if value]
    assert [item.SegmentLabel for item in seg.SegmentSequence] == [phantom.structures[n - 1].label for n in present]
    assert seg.NumberOfFrames == frames
    by_instance = seg.get_pixels_by_source_instance([one.SOPInstanceUID for one in ct], combine_segments=True)
    number_of = np.zeros(256, np.uint8)
    number_of[present] = range(1, len(present) + 1)
    np.testing.assert_array_equal(by_instance, number_of[phantom.labels])


def test_agreement_names_what_differs_most() -> None:
    ours = {"numbers": {"1": {"hd": 1.0, "nsd": None}, "2": {"hd": 2.0, "nsd": 0.5}}}
    peer = {"numbers": {"1": {"hd": 1.5, "nsd": None}, "2": {"hd": 2.0, "nsd": float("inf")}, "3": {"hd": 0.0}}}
    found = agreement.compared(ours, peer, 1e-9)
    assert found is not None
    assert (found.values, found.largest, found.where, found.undefined) == (2, 0.5, "hd of 1", 1)
    assert found.is_good is False
    assert table.numbers(found) == "DIFFER: <= 0.5 over 2, 1 undefined in one (hd of 1)"


def test_a_missing_peer_is_a_row_that_says_so() -> None:
    row = Row("torso", "seg", "a step", Timing(1, 1, 1), "some library", None, 10, None, "library not installed")
    assert row.is_reached is None
    assert table.cells(row)[-1] == "library not installed"
    facts = {"name": "torso", "shape": [1, 2, 3], "structures": 4, "frames": [5, 6]}
    results = Results(
        {"date": "", "processor": "", "cores": 1, "memory_gb": 1, "python": "", "load": 0}, [facts], [row]
    )
    assert "| a step | 1.00 / 1.00 | - | some library | - | - | - | >= 10 | - | - | library not installed |" in (
        table.markdown(results)
    )


@pytest.mark.servers  # matplotlib asks fc-list for fonts
def test_plot_and_table_of_cost_against_size(tmp_path: Path) -> None:
    points = [
        scaling.Point("structures", count, 300, 10 * count, 100.0, 0.1 * count, 0.1 * count, 300.0, 500.0, 1, 2.0)
        for count in (25, 50)
    ]
    console = Console(record=True, width=200)
    console.print(scaling.table(points))
    assert "x 2.0" in console.export_text()
    pytest.importorskip("matplotlib")
    from benchmarks.plot import draw

    draw(points, tmp_path / "docs" / "plot.png")
    assert (tmp_path / "docs" / "plot.png").read_bytes().startswith(b"\x89PNG")
