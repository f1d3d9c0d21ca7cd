"""How many voxels every pair of labels of two layers shares, and the overlap measures that follow from it.

Dice 1945 and Jaccard 1912 by voxel counts; Taha and Hanbury 2015 (BMC Med Imaging 15:29) for the definitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.jit import kernel
from segqa_dicom.model import LabelArray

DENSE_LIMIT = 16_000_000
"""Largest table (labels of a times labels of b) that is counted directly: 128 MB of counters."""

_SLAB_VOXELS = 4_194_304
"""Voxels whose pairs are sorted at a time if there are too many labels for a table."""

_LABEL_BITS = 16


@dataclass(frozen=True, eq=False)
class JointCounts:
    """Voxel counts of the pairs of labels that occur, sorted by (label_a, label_b); (0, 0) is left out.

    label_a, label_b : (n,) int32, 0 = background
    voxel_count : (n,) int64, > 0
    """

    label_a: NDArray[np.int32]
    label_b: NDArray[np.int32]
    voxel_count: NDArray[np.int64]

    def get(self, label_a: int, label_b: int) -> int:
        """Voxels that are `label_a` in a and `label_b` in b; 0 for a pair that does not occur and for (0, 0)."""
        key = label_a << _LABEL_BITS | label_b
        place = int(np.searchsorted(self._keys, key))
        return int(self.voxel_count[place]) if place < len(self._keys) and self._keys[place] == key else 0

    def total_a(self, label: int) -> int:
        """Voxels of `label` in a; for the background only those that are not background in b."""
        return int(self._totals_a[label]) if 0 <= label < len(self._totals_a) else 0

    def total_b(self, label: int) -> int:
        """Voxels of `label` in b; for the background only those that are not background in a."""
        return int(self._totals_b[label]) if 0 <= label < len(self._totals_b) else 0

    @cached_property
    def _keys(self) -> NDArray[np.int64]:
        return self.label_a.astype(np.int64) << _LABEL_BITS | self.label_b

    @cached_property
    def _totals_a(self) -> NDArray[np.int64]:
        return _sum_per_label(self.label_a, self.voxel_count)

    @cached_property
    def _totals_b(self) -> NDArray[np.int64]:
        return _sum_per_label(self.label_b, self.voxel_count)


def joint_counts(a: LabelArray, b: LabelArray) -> JointCounts:
    """Count the voxels of every pair of labels of two layers of the same shape, each of them read once.

    Two empty layers give no pair.
    """
    if a.shape != b.shape:
        raise ValueError(f"layers of shape {a.shape} and {b.shape} cannot overlap")
    flat_a, flat_b = np.ascontiguousarray(a).reshape(-1), np.ascontiguousarray(b).reshape(-1)
    rows, columns = _label_limit(flat_a), _label_limit(flat_b)
    if rows * columns <= DENSE_LIMIT:
        return _dense_counts(flat_a, flat_b, rows, columns)
    return _sparse_counts(flat_a, flat_b)


def dice(intersection: int, n_a: int, n_b: int) -> float | None:
    """Dice similarity coefficient, 0-1, from voxel counts; None if both masks are empty, 0 if one is."""
    return 2.0 * intersection / (n_a + n_b) if n_a + n_b else None


def iou(intersection: int, n_a: int, n_b: int) -> float | None:
    """Intersection over union (Jaccard index), 0-1, from voxel counts; None if both masks are empty, 0 if one is."""
    return intersection / (n_a + n_b - intersection) if n_a + n_b else None


def volume_difference_percent(evaluated_ml: float, reference_ml: float) -> float | None:
    """100 * (evaluated - reference) / reference; None if the reference is empty."""
    return 100.0 * (evaluated_ml - reference_ml) / reference_ml if reference_ml else None


def _label_limit(flat: NDArray[Any]) -> int:
    """A number that is larger than every label of `flat`; for uint8 not worth a sweep."""
    if flat.dtype == np.uint8:
        return 256
    return int(flat.max()) + 1 if flat.size else 1


def _sum_per_label(labels: NDArray[np.int32], voxel_count: NDArray[np.int64]) -> NDArray[np.int64]:
    # bincount adds in float64, which is exact below 2**53 voxels.
    return np.bincount(labels, weights=voxel_count).astype(np.int64)


def _dense_counts(flat_a: NDArray[Any], flat_b: NDArray[Any], rows: int, columns: int) -> JointCounts:
    table = np.zeros((rows, columns), np.int64)
    if flat_a.size:
        _count_pairs(flat_a, flat_b, table)
    table[0, 0] = 0
    label_a, label_b = np.nonzero(table)
    return JointCounts(label_a.astype(np.int32), label_b.astype(np.int32), table[label_a, label_b])


def _sparse_counts(flat_a: NDArray[Any], flat_b: NDArray[Any]) -> JointCounts:
    keys, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for start in range(0, flat_a.size, _SLAB_VOXELS):
        part = slice(start, start + _SLAB_VOXELS)
        slab_keys, slab_counts = _run_keys(flat_a[part].astype(np.int64) << _LABEL_BITS | flat_b[part])
        slab_keys, slab_counts = _merge(slab_keys, slab_counts)
        keys, counts = _merge(np.concatenate((keys, slab_keys)), np.concatenate((counts, slab_counts)))
    label_a, label_b = keys >> _LABEL_BITS, keys & (2**_LABEL_BITS - 1)
    return JointCounts(label_a.astype(np.int32), label_b.astype(np.int32), counts)


def _run_keys(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keys and lengths of the runs of equal keys, those of key 0 left out: far fewer to sort than voxels."""
    starts = np.concatenate(([0], np.flatnonzero(keys[1:] != keys[:-1]) + 1))
    lengths = np.diff(starts, append=keys.size)
    values = keys[starts]
    return values[values != 0], lengths[values != 0]


def _merge(keys: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sorted distinct keys, each with the sum of its counts."""
    if not keys.size:
        return keys, counts
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    starts = np.concatenate(([0], np.flatnonzero(keys[1:] != keys[:-1]) + 1))
    return keys[starts], np.add.reduceat(counts, starts)


@kernel
def _count_pairs(flat_a: Any, flat_b: Any, table: NDArray[np.int64]) -> None:
    """Add the length of every run of one pair of labels to its counter; counters are touched at ends of runs only."""
    block = 4096
    changes = np.zeros(block, np.uint8)
    words = changes.view(np.uint64)
    label_a, label_b, start = flat_a[0], flat_b[0], 0
    for begin in range(0, flat_a.size, block):
        end = min(begin + block, flat_a.size)
        if end - begin < block:
            changes[:] = 0
        changes[0] = flat_a[begin] != label_a or flat_b[begin] != label_b
        _mark_changes(flat_a[begin:end], flat_b[begin:end], changes)
        for word in range(words.size):
            if words[word] == 0:
                continue
            for j in range(8 * word, 8 * word + 8):
                if changes[j] != 0:
                    table[label_a, label_b] += begin + j - start
                    label_a, label_b, start = flat_a[begin + j], flat_b[begin + j], begin + j
    table[label_a, label_b] += flat_a.size - start


@kernel
def _mark_changes(part_a: Any, part_b: Any, changes: NDArray[np.uint8]) -> None:
    """Mark the voxels, but for the first, whose pair of labels differs from the one before.

    A loop of its own because the compiler vectorises it.
    """
    for j in range(1, part_a.size):
        changes[j] = (part_a[j] != part_a[j - 1]) | (part_b[j] != part_b[j - 1])
