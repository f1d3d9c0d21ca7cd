"""The steps, who does them, and what is to be reached."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import ours, peers
from benchmarks.given import Given, Prepared

Party = Callable[[Given], Prepared]


@dataclass(frozen=True)
class Contest:
    """One peer of a step.

    needs : modules without which it cannot run
    ratio : how many times our CPU time it should need at least; None = only shown
    tolerance : largest difference of the numbers; None = it has another definition, the difference is only shown
    sampled : it runs on a sample of the structures and is scaled by the voxels of their boxes
    """

    name: str
    party: Party
    needs: tuple[str, ...]
    ratio: float | None = None
    tolerance: float | None = 0.0
    sampled: bool = False
    note: str = ""


@dataclass(frozen=True)
class Step:
    """One piece of work, ours and the peers'.

    limit_s : most CPU seconds it may take, whatever the peers do
    memory_mb : largest anonymous memory of the process, interpreter and inputs included
    real : also run on the real case
    """

    key: str
    title: str
    party: Party
    contests: tuple[Contest, ...] = ()
    limit_s: float | None = None
    memory_mb: float | None = None
    real: bool = True


STEPS = (
    Step(
        "overlap",
        "label counts, all pairs",
        ours.label_counts,
        (
            Contest(
                "SimpleITK LabelOverlapMeasures",
                peers.simpleitk_overlap,
                ("SimpleITK",),
                20,
                1e-12,
                note="peer: same labels only",
            ),
        ),
    ),
    Step(
        "intensity",
        "counts and HU, one model",
        ours.counts_and_hu,
        (
            Contest(
                "skimage regionprops_table",
                peers.skimage_regionprops,
                ("skimage",),
                15,
                1e-6,
                note="ours also the median",
            ),
            Contest("SimpleITK LabelIntensityStatistics", peers.simpleitk_intensity, ("SimpleITK",), None, 1e-6),
        ),
    ),
    Step(
        "components",
        "connected components (26), one model",
        ours.components,
        (Contest("cc3d + fastremap", peers.cc3d_components, ("cc3d", "fastremap"), 4),),
    ),
    Step(
        "surfaces",
        "surface elements, NSD, HD, HD95, ASSD",
        ours.surfaces,
        (
            Contest(
                "DeepMind surface-distance, crops",
                peers.deepmind_surfaces,
                ("surface_distance",),
                70,
                1e-9,
                sampled=True,
            ),
            Contest(
                "SciPy KD-tree, crops",
                peers.kdtree_surfaces,
                ("scipy",),
                10,
                None,
                sampled=True,
                note="peer: border voxels, not areas",
            ),
        ),
    ),
    Step(
        "seg",
        "BINARY SEG to label volume",
        ours.seg_volume,
        (
            Contest("highdicom segread + get_volume", peers.highdicom_volume, ("highdicom",), 40),
            Contest("pydicom + NumPy", peers.pydicom_seg_volume, ("pydicom",), 15),
        ),
    ),
    Step(
        "ct",
        "CT files to volume",
        ours.ct_volume,
        (
            Contest("pydicom", peers.pydicom_ct, ("pydicom",), 8),
            Contest("SimpleITK ImageSeriesReader", peers.simpleitk_ct, ("SimpleITK",), 8),
        ),
    ),
    Step(
        "sr",
        "report SR",
        ours.report_sr,
        (Contest("highdicom TID 1500 classes", peers.highdicom_report, ("highdicom",), None, 1e-9),),
        limit_s=0.5,
        real=False,
    ),
    Step("files", "files to all numbers, two models", ours.files_to_numbers, limit_s=2.0, memory_mb=500),
    Step("third", "files to all numbers, three models", ours.files_of_three_to_numbers, real=False),
)

CHAIN = (("seg", 2), ("ct", 1), ("overlap", 1), ("intensity", 2), ("components", 2), ("surfaces", 1))
"""What the peers must run for the numbers of two models: (step, how often); of each step the first peer that ran."""
CHAIN_RATIO = 30.0
FURTHER_MODEL_MB = 130.0
