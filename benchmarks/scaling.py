"""Cost of ``segqa review`` against the number of structures: CPU, wall and peak memory on a large phantom pair.

``python -m benchmarks.scaling [--shape 300 512 512] [--structures 25 50 100 200]`` makes, for each number, a torso
phantom as DICOM with two segmentations (the truth and one with wandering boundaries), reviews it in a process of its
own and prints a table. Ratios are against the first row: a step that is worse than linear shows as a ratio above that
of the numbers of structures.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from segqa_dicom.phantoms import errors, torso, write_ct, write_seg


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", nargs=3, type=int, default=(300, 512, 512), metavar=("SLICES", "ROWS", "COLUMNS"))
    parser.add_argument("--structures", nargs="+", type=int, default=[25, 50, 100, 200])
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    options = parser.parse_args()
    rows = []
    print("structures  segments  cpu_s  wall_s  peak_MB  cpu ratio  structures ratio")
    for count in options.structures:
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(
                [sys.executable, "-m", "benchmarks.scaling_input", folder, str(count), *map(str, options.shape)],
                check=True,
            )
            row = {"structures": count, **reviewed(Path(folder))}
        rows.append(row)
        ratio = row["cpu_s"] / rows[0]["cpu_s"]
        print(
            f"{count:10d}  {row['segments']:8d}  {row['cpu_s']:5.1f}  {row['wall_s']:6.1f}  {row['peak_mb']:7.0f}  "
            f"{ratio:9.2f}  {count / rows[0]['structures']:16.2f}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


def reviewed(folder: Path) -> dict[str, float]:
    """CPU and wall seconds and peak resident memory (of the largest process) of one review."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "segqa_dicom", "review", folder / "dicom", "--out", folder / "out", "--quiet"]
    process = subprocess.Popen([*command, "--json", folder / "all.json", "--html", folder / "all.html"])
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    result = json.loads((folder / "all.json").read_text())
    return {
        "segments": sum(len(one["segments"]) for one in result["cases"][0]["segmentations"]),
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "wall_s": time.perf_counter() - started,
        "peak_mb": usage.ru_maxrss / 1024,
    }


def make(folder: Path, count: int, shape: tuple[int, int, int]) -> None:
    """The input: CT and two segmentations below `folder`/dicom."""
    phantom = torso(shape, structure_count=count)
    ct = write_ct(phantom, folder / "dicom" / "ct")
    write_seg(phantom.labels, phantom.structures, ct, folder / "dicom" / "true.dcm", model="True")
    wandering = errors.jitter(phantom.labels, seed=1, voxels=(0.8, 1.2, 1.2), smoothness=24)
    write_seg(wandering, phantom.structures, ct, folder / "dicom" / "other.dcm", model="Other")


if __name__ == "__main__":
    main()
