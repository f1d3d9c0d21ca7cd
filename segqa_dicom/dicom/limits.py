"""Size limits of objects, checked on the header before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds for one object.

    max_file_bytes : size of a file; the largest SEG in the Imaging Data Commons has 2.3 GB
    max_inflated_bytes : size of a deflated data set, or deflated frame, once inflated
    max_voxels : voxels of a CT series, or of the grid of a SEG
    max_frames : frames of one object
    max_segments : segments of one SEG; Segment Number is a 16 bit value
    max_runs : runs of equal labels along the rows of a label volume; results of 100 structures have half a million,
        noise has one per voxel, and measuring it would need tens of gigabytes
    max_compression_ratio : decoded over encoded bytes; above it a header is lying about the size of its image
    """

    max_file_bytes: int = 3_000_000_000
    max_inflated_bytes: int = 1_500_000_000
    max_voxels: int = 1_000_000_000
    max_frames: int = 200_000
    max_segments: int = 65_535
    max_runs: int = 10_000_000
    max_compression_ratio: int = 5_000
