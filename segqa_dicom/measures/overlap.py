"""How many voxels every pair of labels of two layers shares, and the overlap measures that follow from it.

Dice 1945 and Jaccard 1912 by voxel counts; Taha and Hanbury 2015 (BMC Med Imaging 15:29) for the definitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segqa_dicom.jit import kernel
from segqa_dicom.measures.packed_voxels import BLOCK_WORDS, find_marked, first_byte, read_only, whole_words
from segqa_dicom.measures.runs import Runs
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

    def transposed(self) -> JointCounts:
        """The same with a and b exchanged."""
        order = np.lexsort((self.label_a, self.label_b))
        return JointCounts(self.label_b[order], self.label_a[order], self.voxel_count[order])

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
    rows, columns = _label_limit(a), _label_limit(b)
    if rows * columns <= DENSE_LIMIT:
        return _dense_counts(a, b, rows, columns)
    return _sparse_counts(read_only(a), read_only(b))


def joint_counts_of_runs(a: Runs, b: Runs) -> JointCounts:
    """The same as `joint_counts` of the layers of `a` and `b`, which are not read again: several times as fast."""
    if a.shape != b.shape:
        raise ValueError(f"layers of shape {a.shape} and {b.shape} cannot overlap")
    present_a, present_b = (np.flatnonzero(runs.voxel_counts) for runs in (a, b))
    place_a, place_b = _places(present_a), _places(present_b)
    parts = [(present_a[:0], present_b[:0], np.zeros(0, np.int64))]
    step = max(DENSE_LIMIT // (present_b.size + 1), 1)
    for start in range(0, present_a.size, step):
        table = np.zeros((min(step, present_a.size - start), present_b.size), np.int64)
        _count_shared(
            a.row_starts, a.first, a.stop, a.labels, place_a - start,
            b.row_starts, b.first, b.stop, b.labels, place_b, table,
        )  # fmt: skip
        row, column = np.nonzero(table)
        parts.append((present_a[start + row], present_b[column], table[row, column]))
    label_a, label_b, voxel_count = (np.concatenate(part) for part in zip(*parts, strict=True))
    return _with_background(a, b, label_a, label_b, voxel_count)


def joint_counts_of_layers(a: Sequence[Runs], b: Sequence[Runs]) -> JointCounts:
    """The pairs of labels of two segmentations in several layers each, without background.

    Every label lies whole in one layer, so no pair occurs in two pairs of layers.
    """
    found = [joint_counts_of_runs(one, other) for one, other in product(a, b)]
    label_a, label_b, voxel_count = (
        np.concatenate(parts)
        for parts in zip(*((one.label_a, one.label_b, one.voxel_count) for one in found), strict=True)
    )
    kept = np.flatnonzero((label_a > 0) & (label_b > 0))
    order = kept[np.lexsort((label_b[kept], label_a[kept]))]
    return JointCounts(label_a[order], label_b[order], voxel_count[order])


def _places(labels: NDArray[np.intp]) -> NDArray[np.int64]:
    """Where each label is among `labels`, by label."""
    places = np.full(int(labels.max(initial=0)) + 1, -1, np.int64)
    places[labels] = np.arange(labels.size)
    return places


def _with_background(
    a: Runs, b: Runs, label_a: NDArray[Any], label_b: NDArray[Any], voxel_count: NDArray[np.int64]
) -> JointCounts:
    """Add the voxels that are background in one of the two: those of a label that it shares with no other."""
    parts = [(label_a, label_b, voxel_count)]
    for runs, labels, is_a in ((a, label_a, True), (b, label_b, False)):
        totals = runs.voxel_counts
        alone = totals - np.bincount(labels, weights=voxel_count, minlength=totals.size).astype(np.int64)
        found = np.flatnonzero(alone)
        background = np.zeros_like(found)
        parts.append((found, background, alone[found]) if is_a else (background, found, alone[found]))
    keys_a, keys_b, counts = (np.concatenate(part) for part in zip(*parts, strict=True))
    order = np.lexsort((keys_b, keys_a))
    return JointCounts(keys_a[order].astype(np.int32), keys_b[order].astype(np.int32), counts[order])


def dice(intersection: int, n_a: int, n_b: int) -> float | None:
    """Dice similarity coefficient, 0-1, from voxel counts; None if both masks are empty, 0 if one is."""
    return 2.0 * intersection / (n_a + n_b) if n_a + n_b else None


def iou(intersection: int, n_a: int, n_b: int) -> float | None:
    """Intersection over union (Jaccard index), 0-1, from voxel counts; None if both masks are empty, 0 if one is."""
    return intersection / (n_a + n_b - intersection) if n_a + n_b else None


def volume_difference_percent(evaluated_ml: float, reference_ml: float) -> float | None:
    """100 * (evaluated - reference) / reference; None if the reference is empty."""
    return 100.0 * (evaluated_ml - reference_ml) / reference_ml if reference_ml else None


def _label_limit(layer: LabelArray) -> int:
    """A number that is larger than every label of `layer`; for uint8 not worth a sweep."""
    if layer.dtype == np.uint8:
        return 256
    return int(layer.max()) + 1 if layer.size else 1


def _sum_per_label(labels: NDArray[np.int32], voxel_count: NDArray[np.int64]) -> NDArray[np.int64]:
    # bincount adds in float64, which is exact below 2**53 voxels.
    return np.bincount(labels, weights=voxel_count).astype(np.int64)


def _dense_counts(a: LabelArray, b: LabelArray, rows: int, columns: int) -> JointCounts:
    table = np.zeros((rows, columns), np.int64)
    if a.size:
        # One type for both: a word then holds as many voxels of one as of the other.
        dtype = np.promote_types(a.dtype, b.dtype)
        _count_pairs(*whole_words(a.astype(dtype, copy=False)), *whole_words(b.astype(dtype, copy=False)), table)
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
def _count_pairs(
    flat_a: Any, words_a: NDArray[np.uint64], flat_b: Any, words_b: NDArray[np.uint64], table: NDArray[np.int64]
) -> None:
    """Add the length of every run of one pair of labels to its counter; counters are touched at ends of runs only.

    Both layers are of one type. After the last whole word comes one for the voxels that are left.
    """
    in_voxel = (np.uint64(1) << np.uint64(8 * flat_a.itemsize)) - np.uint64(1)
    in_word = 8 // flat_a.itemsize
    marks, places = np.empty(BLOCK_WORDS, np.uint64), np.empty(BLOCK_WORDS, np.int64)
    label_a, label_b, start = flat_a[0], flat_b[0], 0
    for begin in range(0, words_a.size + 1, BLOCK_WORDS):
        count = min(BLOCK_WORDS, words_a.size - begin)
        _mark_pairs(words_a, words_b, begin, np.uint64(8 * flat_a.itemsize), marks[:count])
        if count < BLOCK_WORDS:
            marks[count] = ~np.uint64(0)
            count += 1
        for word in places[: find_marked(marks[:count], places)]:
            mark = marks[word]
            while mark != 0:
                byte = first_byte(mark) & ~np.uint64(flat_a.itemsize - 1)
                mark &= ~(in_voxel << (byte << np.uint64(3)))
                voxel = (begin + word) * in_word + (np.int64(byte) >> (flat_a.itemsize - 1))
                if voxel < flat_a.size:
                    table[label_a, label_b] += voxel - start
                    label_a, label_b, start = flat_a[voxel], flat_b[voxel], voxel
    table[label_a, label_b] += flat_a.size - start


@kernel
def _mark_pairs(
    words_a: NDArray[np.uint64], words_b: NDArray[np.uint64], begin: int, shift: np.uint64, marks: NDArray[np.uint64]
) -> None:
    """Set the bytes of `marks` of voxels whose pair of labels differs from the one before, else 0 (`mark_changes`)."""
    back = np.uint64(64) - shift
    start = max(begin, 1)
    if begin == 0 and marks.size > 0:
        marks[0] = ~np.uint64(0)
    part_a, part_b = words_a[start - 1 : begin + marks.size], words_b[start - 1 : begin + marks.size]
    rest = marks[start - begin :]
    for i in range(rest.size):
        changes_a = part_a[i + 1] ^ ((part_a[i + 1] << shift) | (part_a[i] >> back))
        changes_b = part_b[i + 1] ^ ((part_b[i + 1] << shift) | (part_b[i] >> back))
        rest[i] = changes_a | changes_b


@kernel
def _count_shared(
    row_starts_a: NDArray[np.int64], first_a: NDArray[Any], stop_a: NDArray[Any], labels_a: NDArray[Any],
    place_a: NDArray[np.int64], row_starts_b: NDArray[np.int64], first_b: NDArray[Any], stop_b: NDArray[Any],
    labels_b: NDArray[Any], place_b: NDArray[np.int64], table: NDArray[np.int64],
) -> None:  # fmt: skip
    """Add the voxels that two runs share to the counter of their labels, row by row; labels without a place not."""
    for row in range(row_starts_a.size - 1):
        run, stop = row_starts_a[row], row_starts_a[row + 1]
        other, other_stop = row_starts_b[row], row_starts_b[row + 1]
        while run < stop and other < other_stop:
            end, other_end = np.int64(stop_a[run]), np.int64(stop_b[other])
            shared = min(end, other_end) - max(np.int64(first_a[run]), np.int64(first_b[other]))
            if shared > 0:
                place = place_a[labels_a[run]]
                if 0 <= place < table.shape[0]:
                    table[place, place_b[labels_b[other]]] += shared
            if end <= other_end:
                run += 1
            if other_end <= end:
                other += 1
